"""Which images train, which validate, which test: index arrays, never copies of images.

The train and valid parts index the training set, the test part the test set: nothing here can put a test
image among those trained on or selected by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.config import schema
from pipeline.core.errors import ConfigError
from pipeline.core.registry import look_up
from pipeline.nn.arrays import Integers, Random


@dataclass(frozen=True)
class Split:
    """Three parts.

    Attributes:
        train: int64 (n,) into the training set.
        valid: int64 (m,) into the training set, possibly empty; disjoint from `train`.
        test: int64 (k,) into the test set.
    """

    train: Integers
    valid: Integers
    test: Integers

    def check(self, train_count: int, test_count: int) -> None:
        """Raise ConfigError unless the parts are in range, without repeats, disjoint, and train not empty."""
        # Marks take an eighth of the indices' memory; sorting those would take several times as much.
        marks = {}
        for name, part, count in (
            ("train", self.train, train_count),
            ("valid", self.valid, train_count),
            ("test", self.test, test_count),
        ):
            if len(part) and (part.min() < 0 or part.max() >= count):
                raise ConfigError(f"split: the {name} part reaches past the {count} images there are")
            marks[name] = np.zeros(count, dtype=np.bool_)
            marks[name][part] = True
            if np.count_nonzero(marks[name]) != len(part):
                raise ConfigError(f"split: the {name} part has an image twice")
        if not len(self.train):
            raise ConfigError("split: the train part is empty")
        if np.logical_and(marks["train"], marks["valid"]).any():
            raise ConfigError("split: the train and valid parts share images")


def head_tail(train_labels: Integers, test_labels: Integers, settings: schema.Split, random: Random) -> Split:
    """Train on the first images, validate on those that follow, test on the first of the test set.

    Args:
        train_labels: shape (n,); only its length matters.
        test_labels: shape (k,); likewise.
        settings: of which the counts matter.
        random: not used.

    Raises:
        ConfigError: more images are asked for than there are.
    """
    del random
    available, valid = len(train_labels), settings.valid_count
    train = available - valid if settings.train_count is None else settings.train_count
    if train < 1 or train + valid > available:
        raise ConfigError(
            f"split: {max(train, 1)} train + {valid} valid images asked for, {available} there are"
        )
    indices = np.arange(train + valid, dtype=np.int64)
    return Split(indices[:train], indices[train:], _first_tests(test_labels, settings))


def _first_tests(labels: Integers, settings: schema.Split) -> Integers:
    count = len(labels) if settings.test_count is None else settings.test_count
    if count > len(labels):
        raise ConfigError(f"split: {count} test images asked for, {len(labels)} there are")
    return np.arange(count, dtype=np.int64)


def stratified(
    train_labels: Integers, test_labels: Integers, settings: schema.Split, random: Random
) -> Split:
    """Draw train and valid parts with every class in the same proportion as in the training set.

    Per class, `train_fraction` and `valid_fraction` of its images are drawn without replacement. The count of
    the train part and that of both parts together are rounded to the nearest image (halves to even), so
    fractions that add up to 1 leave no image out.

    Args:
        train_labels: shape (n,).
        test_labels: shape (k,); only its length matters.
        settings: of which the fractions and `test_count` matter.
        random: decides which.

    Raises:
        ConfigError: the fractions add up to more than 1, or more test images are asked for than there are.
    """
    first, both = settings.train_fraction, settings.train_fraction + settings.valid_fraction
    if both > 1 + 1e-12:
        raise ConfigError(
            f"split: fractions {first} train + {settings.valid_fraction} valid do not fit into 1"
        )
    train_parts, valid_parts = [], []
    for label in np.unique(train_labels):
        members = random.permutation(np.flatnonzero(train_labels == label))
        ends = round(first * len(members)), round(both * len(members))
        train_parts.append(members[: ends[0]])
        valid_parts.append(members[ends[0] : ends[1]])
    return Split(_joined(train_parts), _joined(valid_parts), _first_tests(test_labels, settings))


def _joined(parts: list[Integers]) -> Integers:
    """The indices of all parts in ascending order; int64."""
    joined = np.concatenate(parts).astype(np.int64, copy=False)
    # In place: there may be millions.
    joined.sort()
    return joined


SPLITTERS: Final[Mapping[str, Callable[[Integers, Integers, schema.Split, Random], Split]]] = {
    "head_tail": head_tail,
    "stratified": stratified,
}
"""name -> splitter of (train labels, test labels, settings, random source)."""


def split(settings: schema.Split, train: Integers, test: Integers, random: Random) -> Split:
    """The checked split of a data set whose training and test sets have labels `train` (n,) and `test` (k,).

    Raises:
        ConfigError: the splitter's name is unknown, or the split does not fit the data set.
    """
    found = look_up(SPLITTERS, "split.name", settings.name)(train, test, settings, random)
    found.check(len(train), len(test))
    return found
