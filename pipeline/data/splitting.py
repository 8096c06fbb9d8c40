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
        test: int64 (k,) into the test set; into the training set where the data set has no test set.
    """

    train: Integers
    valid: Integers
    test: Integers

    def check(self, train_count: int, test_count: int) -> None:
        """Raise ConfigError unless the parts are in range, without repeats, disjoint, and train not empty.

        Args:
            train_count: images in the training set.
            test_count: images in the test set; 0 where the test part is taken from the training set.
        """
        # Marks take an eighth of the indices' memory; sorting those would take several times as much.
        marks = {}
        for name, part, count in (
            ("train", self.train, train_count),
            ("valid", self.valid, train_count),
            ("test", self.test, test_count or train_count),
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
        if not test_count and np.logical_and(marks["train"] | marks["valid"], marks["test"]).any():
            raise ConfigError("split: the test part shares images with the train or valid part")


def head_tail(train_labels: Integers, test_labels: Integers, settings: schema.Split, random: Random) -> Split:
    """Train on the first images, validate on those that follow, test on the first of the test set.

    Where there is no test set, the test part follows the valid part.

    Args:
        train_labels: shape (n,); only its length matters.
        test_labels: shape (k,); likewise; empty where there is no test set.
        settings: of which the counts matter.
        random: not used.

    Raises:
        ConfigError: more images are asked for than there are.
    """
    del random
    available, valid = len(train_labels), settings.valid_count
    test = 0 if len(test_labels) else settings.test_count or 0
    train = available - valid - test if settings.train_count is None else settings.train_count
    if train < 1 or train + valid + test > available:
        asked = f"{max(train, 1)} train + {valid} valid" + f" + {test} test" * bool(test)
        raise ConfigError(f"split: {asked} images asked for, {available} there are")
    indices = np.arange(train + valid + test, dtype=np.int64)
    if not len(test_labels):
        return Split(indices[:train], indices[train : train + valid], indices[train + valid :])
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
    fractions that add up to 1 leave no image out. Where there is no test set, `test_fraction` of each class
    is the test part.

    Args:
        train_labels: shape (n,).
        test_labels: shape (k,); only its length matters; empty where there is no test set.
        settings: of which the fractions and `test_count` matter.
        random: decides which.

    Raises:
        ConfigError: the fractions add up to more than 1, or more test images are asked for than there are.
    """
    tested = 0.0 if len(test_labels) else settings.test_fraction or 0.0
    first, both = settings.train_fraction, settings.train_fraction + settings.valid_fraction
    if both + tested > 1 + 1e-12:
        asked = f"{first} train + {settings.valid_fraction} valid" + f" + {tested} test" * bool(tested)
        raise ConfigError(f"split: fractions {asked} do not fit into 1")
    train_parts, valid_parts, test_parts = [], [], []
    for label in np.unique(train_labels):
        members = random.permutation(np.flatnonzero(train_labels == label))
        ends = [round(fraction * len(members)) for fraction in (first, both, both + tested)]
        train_parts.append(members[: ends[0]])
        valid_parts.append(members[ends[0] : ends[1]])
        test_parts.append(members[ends[1] : ends[2]])
    test = _first_tests(test_labels, settings) if len(test_labels) else _joined(test_parts)
    return Split(_joined(train_parts), _joined(valid_parts), test)


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

    Where there is no test set (k = 0), the test part is taken from the training set.

    Raises:
        ConfigError: the splitter's name is unknown, or the split does not fit the data set.
    """
    found = look_up(SPLITTERS, "split.name", settings.name)(train, test, settings, random)
    found.check(len(train), len(test))
    if not len(test) and not len(found.test):
        key = "test_count" if settings.name == "head_tail" else "test_fraction"
        raise ConfigError(
            f"split.{key}: the data set has no test set: say how much of the training set tests"
        )
    return found
