"""From stored pixels to a network's inputs, with statistics of the train part alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.config.schema import Preprocess
from pipeline.core.errors import ConfigError
from pipeline.core.registry import look_up
from pipeline.nn.arrays import DTYPES, Floats, Integers, Pixels
from pipeline.nn.augmentation import Augmentation

_CHUNK_ROWS: Final = 1000
_CONTRAST: Final = 10.0
"""What contrast normalization adds to the variance of an image's pixels, so that an empty one stays empty
(Coates, Ng and Lee, An analysis of single-layer networks in unsupervised feature learning, 2011)."""


@dataclass(frozen=True)
class Statistics:
    """What a preprocessor learnt from the train part: inputs are ``((x - mean) / deviation) projection``.

    x are the pixels over the divisor. With a contrast, each image's x are first taken less their own mean,
    over the root of their own variance plus the contrast.

    Attributes:
        divisor: 255 or 1.
        mean: float64 (features,), or None for 0.
        deviation: float64 (features,), all positive, or None for 1.
        contrast: positive, or None for no contrast normalization.
        projection: float32 (features, inputs), or None for the identity.
    """

    divisor: float
    mean: Floats | None = None
    deviation: Floats | None = None
    contrast: float | None = None
    projection: Floats | None = None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Statistics":
        """Those that `arrays` once gave; other names do not matter."""
        contrast = arrays.get("contrast")
        return cls(
            float(arrays["divisor"]),
            arrays.get("mean"),
            arrays.get("deviation"),
            None if contrast is None else float(contrast),
            arrays.get("projection"),
        )

    def arrays(self) -> dict[str, Floats]:
        """As arrays by name; those that are None are left out."""
        found = {
            "divisor": np.array(self.divisor),
            "mean": self.mean,
            "deviation": self.deviation,
            "contrast": None if self.contrast is None else np.array(self.contrast),
            "projection": self.projection,
        }
        return {name: array for name, array in found.items() if array is not None}

    def inputs(self, features: int) -> int:
        """How many numbers a network sees of an image of so many."""
        return features if self.projection is None else self.projection.shape[1]


def _sums(pixels: Pixels, indices: Integers) -> tuple[Integers, Integers]:
    """Per feature: the sum and the sum of squares over the rows, as exact integers."""
    total = np.zeros(pixels.shape[1], dtype=np.int64)
    squares = np.zeros(pixels.shape[1], dtype=np.int64)
    for start in range(0, len(indices), _CHUNK_ROWS):
        rows = pixels[indices[start : start + _CHUNK_ROWS]].astype(np.int64)
        total += rows.sum(axis=0)
        squares += np.square(rows).sum(axis=0)
    return total, squares


def _none(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del settings, pixels, indices, channels
    return Statistics(1.0)


def _unit(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del settings, pixels, indices, channels
    return Statistics(255.0)


def _mean_image(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del settings, channels
    total, _ = _sums(pixels, indices)
    return Statistics(1.0, mean=total / len(indices))


def _standardize(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del settings
    total, squares = _sums(pixels, indices)
    count = len(indices) * pixels.shape[1] // channels
    mean = total.reshape(-1, channels).sum(axis=0) / count
    variance = squares.reshape(-1, channels).sum(axis=0) / count - np.square(mean)
    # A channel that never varies is left unscaled.
    deviation = np.sqrt(np.where(variance > 0, variance, 255.0**2)) / 255.0
    repeats = pixels.shape[1] // channels
    return Statistics(255.0, mean=np.tile(mean / 255.0, repeats), deviation=np.tile(deviation, repeats))


def _contrast(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del settings, pixels, indices, channels
    return Statistics(1.0, contrast=_CONTRAST)


def _pca(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del channels
    mean, variances, directions = _principal_components(pixels, indices)
    count = settings.components or 0
    projection = directions[:, :count] / np.sqrt(variances[:count] + (settings.epsilon or 0))
    return Statistics(1.0, mean, contrast=_CONTRAST, projection=projection.astype(np.float32))


def _zca(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    del channels
    mean, variances, directions = _principal_components(pixels, indices)
    projection = (directions / np.sqrt(variances + (settings.epsilon or 0))) @ directions.T
    return Statistics(1.0, mean, contrast=_CONTRAST, projection=projection.astype(np.float32))


def _principal_components(pixels: Pixels, indices: Integers) -> tuple[Floats, Floats, Floats]:
    """Of the contrast-normalized images in rows `indices`, whose order makes no difference.

    Sums, products and eigenvectors are float64, by the BLAS and LAPACK that the runtime pins. The sign of an
    eigenvector is arbitrary: here the number that is the largest without its sign is positive.

    Returns:
        The mean (features,); the variances in descending order (features,); and the directions that these
        belong to, the columns of (features, features).
    """
    features = pixels.shape[1]
    loader = Loader(Statistics(1.0, contrast=_CONTRAST), "float64", _CHUNK_ROWS, features)
    buffer = np.empty((_CHUNK_ROWS, features))
    total, products = np.zeros(features), np.zeros((features, features))
    ordered = np.sort(indices)
    for start in range(0, len(ordered), _CHUNK_ROWS):
        chosen = ordered[start : start + _CHUNK_ROWS]
        loader.load(pixels, chosen, buffer)
        rows = buffer[: len(chosen)]
        total += rows.sum(axis=0)
        products += rows.T @ rows
    mean = total / len(indices)
    values, vectors = np.linalg.eigh(products / len(indices) - np.outer(mean, mean))
    variances, directions = np.maximum(values[::-1], 0), vectors[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    return mean, variances, directions * np.sign(directions[largest, np.arange(features)])


class _Preprocessor(NamedTuple):
    """One way to preprocess.

    Attributes:
        settings: those that it has to be given beside its name.
        learn: ``learn(settings, pixels (n, features), train indices, channels)``.
    """

    settings: frozenset[str]
    learn: Callable[[Preprocess, Pixels, Integers, int], Statistics]


PREPROCESSORS: Final[Mapping[str, _Preprocessor]] = {
    "none": _Preprocessor(frozenset(), _none),
    "unit": _Preprocessor(frozenset(), _unit),
    "mean_image": _Preprocessor(frozenset(), _mean_image),
    "standardize": _Preprocessor(frozenset(), _standardize),
    "contrast": _Preprocessor(frozenset(), _contrast),
    "pca": _Preprocessor(frozenset({"components", "epsilon"}), _pca),
    "zca": _Preprocessor(frozenset({"epsilon"}), _zca),
}
"""name -> how the statistics are learnt.

none: pixels as they are. unit: divided by 255. mean_image: less the mean train image. standardize: divided by
255, then per channel less the mean, over the standard deviation. contrast: each image less its own mean, over
its own standard deviation. pca: after contrast, less the mean, the first principal components of the train
part, each over the root of its variance plus epsilon. zca: all of them likewise, turned back to pixels.
"""


def check_settings(settings: Preprocess) -> None:
    """See that a preprocessor has the settings that it needs, and no others.

    Raises:
        ConfigError: it has not, or its name is unknown.
    """
    needed = look_up(PREPROCESSORS, "preprocess.name", settings.name).settings
    for key, value in (("components", settings.components), ("epsilon", settings.epsilon)):
        if (value is None) == (key in needed):
            told = "needs it" if value is None else "has no such setting"
            raise ConfigError(f"preprocess.{key}={value or 'null'}: preprocess.name={settings.name} {told}")


def learn(settings: Preprocess, pixels: Pixels, indices: Integers, channels: int) -> Statistics:
    """The statistics that a preprocessor takes of rows `indices` of pixels (n, features), channel fastest.

    Raises:
        ConfigError: the name is unknown, or the settings are not those that it needs.
    """
    check_settings(settings)
    return PREPROCESSORS[settings.name].learn(settings, pixels, indices, channels)


class Loader:
    """Fills a network's input buffer with preprocessed rows, without allocating anything of their size.

    The division is done in float32 whatever the network's dtype, as the published experiments did.

    Attributes:
        divisor: what the network still has to divide the rows by, which it can do with less work: 1, or that
            of the statistics where a float32 network's pixels need nothing else.
    """

    def __init__(
        self,
        statistics: Statistics,
        dtype: str,
        rows: int,
        inputs: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        kind = DTYPES[dtype]
        projection = statistics.projection
        features = inputs if projection is None else len(projection)
        alone = all(
            each is None for each in (statistics.mean, statistics.deviation, statistics.contrast, projection)
        )
        plain = dtype == "float32" and alone
        self.divisor = statistics.divisor if plain else 1.0
        self._divisor = np.array(1 if plain else statistics.divisor, np.float32)
        self._mean = None if statistics.mean is None else statistics.mean.astype(kind)
        self._deviation = None if statistics.deviation is None else statistics.deviation.astype(kind)
        self._contrast = statistics.contrast
        self._projection = None if projection is None else projection.astype(kind)
        self._augmentation = augmentation
        self._bytes: Pixels = np.empty((rows, features), dtype=np.uint8)
        self._scratch: Floats | None = None if dtype == "float32" else np.empty((rows, features), np.float32)
        self._unprojected: Floats | None = None if projection is None else np.empty((rows, features), kind)
        self._moments: Floats = np.empty((rows, 1), kind)

    def load(self, pixels: Pixels, indices: Integers, inputs: Floats, step: int = 0) -> None:
        """Write rows `indices` of pixels (n, features) to the first len(indices) rows of `inputs`.

        With an augmentation, they are changed as it changes those of this step.
        """
        count = len(indices)
        # Without mode="clip" take() copies into a hidden buffer first; the indices were checked by the split.
        chosen = pixels.take(indices, 0, self._bytes[:count], "clip")
        target = inputs[:count] if self._unprojected is None else self._unprojected[:count]
        single = target if self._scratch is None else self._scratch[:count]
        if self._augmentation is None:
            np.copyto(single, chosen)
        else:
            self._augmentation.apply(chosen, single, step)
        if self._divisor != 1:
            np.divide(single, self._divisor, out=single)
        if single is not target:
            np.copyto(target, single)
        if self._contrast is not None:
            _normalize_contrast(target, self._contrast, self._moments[:count])
        if self._mean is not None:
            np.subtract(target, self._mean, out=target)
        if self._deviation is not None:
            np.divide(target, self._deviation, out=target)
        if self._projection is not None:
            np.matmul(target, self._projection, out=inputs[:count])


def _normalize_contrast(rows: Floats, contrast: float, moments: Floats) -> None:
    """Take its own mean from each row (n, features), over the root of its variance plus contrast.

    Args:
        rows: changed in place.
        contrast: positive.
        moments: (n, 1), overwritten.
    """
    np.mean(rows, axis=1, keepdims=True, out=moments)
    np.subtract(rows, moments, out=rows)
    np.vecdot(rows, rows, out=moments[:, 0])
    np.divide(moments, rows.shape[1], out=moments)
    np.add(moments, contrast, out=moments)
    np.sqrt(moments, out=moments)
    np.divide(rows, moments, out=rows)
