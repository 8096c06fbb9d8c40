"""From stored pixels to a network's inputs, with statistics of the train part alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.core.registry import look_up
from pipeline.nn.arrays import DTYPES, Floats, Integers, Pixels

_CHUNK_ROWS: Final = 1000


@dataclass(frozen=True)
class Statistics:
    """What a preprocessor learnt from the train part: inputs are ``(pixels / divisor - mean) / deviation``.

    Attributes:
        divisor: 255 or 1.
        mean: float64 (features,), or None for 0.
        deviation: float64 (features,), all positive, or None for 1.
    """

    divisor: float
    mean: Floats | None = None
    deviation: Floats | None = None


def _sums(pixels: Pixels, indices: Integers) -> tuple[Integers, Integers]:
    """Per feature: the sum and the sum of squares over the rows, as exact integers."""
    total = np.zeros(pixels.shape[1], dtype=np.int64)
    squares = np.zeros(pixels.shape[1], dtype=np.int64)
    for start in range(0, len(indices), _CHUNK_ROWS):
        rows = pixels[indices[start : start + _CHUNK_ROWS]].astype(np.int64)
        total += rows.sum(axis=0)
        squares += np.square(rows).sum(axis=0)
    return total, squares


def _none(pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del pixels, indices, channels
    return Statistics(1.0)


def _unit(pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del pixels, indices, channels
    return Statistics(255.0)


def _mean_image(pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del channels
    total, _ = _sums(pixels, indices)
    return Statistics(1.0, mean=total / len(indices))


def _standardize(pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    total, squares = _sums(pixels, indices)
    count = len(indices) * pixels.shape[1] // channels
    mean = total.reshape(-1, channels).sum(axis=0) / count
    variance = squares.reshape(-1, channels).sum(axis=0) / count - np.square(mean)
    # A channel that never varies is left unscaled.
    deviation = np.sqrt(np.where(variance > 0, variance, 255.0**2)) / 255.0
    repeats = pixels.shape[1] // channels
    return Statistics(255.0, mean=np.tile(mean / 255.0, repeats), deviation=np.tile(deviation, repeats))


PREPROCESSORS: Final[Mapping[str, Callable[[Pixels, Integers, int], Statistics]]] = {
    "none": _none,
    "unit": _unit,
    "mean_image": _mean_image,
    "standardize": _standardize,
}
"""name -> what learns the statistics from ``(pixels (n, features), train indices, channels)``.

none: pixels as they are. unit: divided by 255. mean_image: less the mean train image. standardize: divided by
255, then per channel less the mean, over the standard deviation.
"""


def learn(name: str, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    """The statistics of preprocessor `name` on rows `indices` of pixels (n, features), channel fastest.

    Raises:
        ConfigError: the name is unknown.
    """
    return look_up(PREPROCESSORS, "preprocess.name", name)(pixels, indices, channels)


class Loader:
    """Fills a network's input buffer with preprocessed rows, without allocating.

    The division is done in float32 whatever the network's dtype, as the published experiments did.

    Attributes:
        divisor: what the network still has to divide the rows by, which it can do with less work: 1, or that
            of the statistics where a float32 network's pixels need nothing else.
    """

    def __init__(self, statistics: Statistics, dtype: str, rows: int, features: int) -> None:
        kind = DTYPES[dtype]
        plain = dtype == "float32" and statistics.mean is None and statistics.deviation is None
        self.divisor = statistics.divisor if plain else 1.0
        self._divisor = np.array(1 if plain else statistics.divisor, np.float32)
        self._mean = None if statistics.mean is None else statistics.mean.astype(kind)
        self._deviation = None if statistics.deviation is None else statistics.deviation.astype(kind)
        self._bytes: Pixels = np.empty((rows, features), dtype=np.uint8)
        self._scratch: Floats | None = None if dtype == "float32" else np.empty((rows, features), np.float32)

    def load(self, pixels: Pixels, indices: Integers, inputs: Floats) -> None:
        """Write rows `indices` of pixels (n, features) to the first len(indices) rows of `inputs`."""
        count = len(indices)
        # Without mode="clip" take() copies into a hidden buffer first; the indices were checked by the split.
        chosen = pixels.take(indices, 0, self._bytes[:count], "clip")
        target = inputs[:count]
        single = target if self._scratch is None else self._scratch[:count]
        np.copyto(single, chosen)
        if self._divisor != 1:
            np.divide(single, self._divisor, out=single)
        if single is not target:
            np.copyto(target, single)
        if self._mean is not None:
            np.subtract(target, self._mean, out=target)
        if self._deviation is not None:
            np.divide(target, self._deviation, out=target)
