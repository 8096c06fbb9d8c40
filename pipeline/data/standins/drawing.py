"""What both bundled data sets share: the result's type, and random numbers that are the same everywhere."""

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.core.errors import ConfigError

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

CLASS_COUNT = 10


@dataclass(frozen=True)
class Drawing:
    """A data set that was drawn by code.

    Attributes:
        train_images: uint8, (train count, height, width, channels).
        train_labels: uint8, (train count,): indices into `class_names`.
        test_images: uint8, (test count, height, width, channels).
        test_labels: uint8, (test count,).
        class_names: one name per label.
    """

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    class_names: tuple[str, ...]


def balanced_labels(random: RandomState, count: int) -> Bytes:
    """Labels of `count` images in random order; every class occurs equally often.

    Raises:
        ConfigError: `count` is not a positive multiple of the number of classes.
    """
    if count < CLASS_COUNT or count % CLASS_COUNT:
        raise ConfigError(
            f"count={count}: expected a positive multiple of {CLASS_COUNT}, one share per class"
        )
    return random.permutation(np.arange(count, dtype=np.int64) % CLASS_COUNT).astype(np.uint8)


def uniform(random: RandomState, low: float, high: float, shape: tuple[int, ...]) -> Floats:
    """Evenly spread numbers in [low, high), float64 of `shape`."""
    return low + (high - low) * random.random_sample(shape)


def bell(random: RandomState, shape: tuple[int, ...]) -> Floats:
    """Numbers spread much as a standard normal's: mean 0, standard deviation 1, within [-3, 3); float64.

    Three evenly spread numbers added up, for a true normal's bits depend on the logarithm of the machine.
    """
    return (
        2.0 * (random.random_sample(shape) + random.random_sample(shape) + random.random_sample(shape)) - 3.0
    )
