"""Which images train, which validate, which test: index arrays, never copies of images.

The train and valid parts index the training set, the test part the test set: nothing here can put a test
image among those trained on or selected by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

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


def head_tail(
    train_labels: Integers,
    test_labels: Integers,
    *,
    train_count: int | None,
    valid_count: int,
    test_count: int | None,
) -> Split:
    """Train on the first images, validate on those that follow, test on the first of the test set.

    Args:
        train_labels: shape (n,); only its length matters.
        test_labels: shape (k,); likewise.
        train_count: None for all that `valid_count` leaves.
        valid_count: may be 0.
        test_count: None for all.

    Raises:
        ConfigError: more images are asked for than there are.
    """
    available, tests = len(train_labels), len(test_labels)
    train = available - valid_count if train_count is None else train_count
    test = tests if test_count is None else test_count
    if train < 1 or train + valid_count > available:
        raise ConfigError(
            f"split: {max(train, 1)} train + {valid_count} valid images asked for, {available} there are"
        )
    if test > tests:
        raise ConfigError(f"split: {test} test images asked for, {tests} there are")
    return Split(
        np.arange(train, dtype=np.int64),
        np.arange(train, train + valid_count, dtype=np.int64),
        np.arange(test, dtype=np.int64),
    )


def stratified(
    train_labels: Integers,
    test_labels: Integers,
    *,
    train_fraction: float,
    valid_fraction: float,
    test_count: int | None,
    random: Random,
) -> Split:
    """Draw train and valid parts with every class in the same proportion as in the training set.

    Per class, `train_fraction` and `valid_fraction` of its images are drawn without replacement. The count of
    the train part and that of both parts together are rounded to the nearest image (halves to even), so
    fractions that add up to 1 leave no image out.

    Args:
        train_labels: shape (n,).
        test_labels: shape (k,); only its length matters.
        train_fraction: in (0, 1].
        valid_fraction: in [0, 1); the two add up to at most 1.
        test_count: None for all.
        random: decides which.

    Raises:
        ConfigError: the fractions do not fit.
    """
    if not (
        0 < train_fraction <= 1 and 0 <= valid_fraction < 1 and train_fraction + valid_fraction <= 1 + 1e-12
    ):
        raise ConfigError(
            f"split: fractions {train_fraction} train + {valid_fraction} valid do not fit into 1"
        )
    train_parts, valid_parts = [], []
    for label in np.unique(train_labels):
        members = random.permutation(np.flatnonzero(train_labels == label))
        train = round(train_fraction * len(members))
        both = round((train_fraction + valid_fraction) * len(members))
        train_parts.append(members[:train])
        valid_parts.append(members[train:both])
    test = head_tail(train_labels, test_labels, train_count=None, valid_count=0, test_count=test_count).test
    return Split(_joined(train_parts), _joined(valid_parts), test)


def _joined(parts: list[Integers]) -> Integers:
    """The indices of all parts in ascending order; int64."""
    joined = np.concatenate(parts).astype(np.int64, copy=False)
    # In place: there may be millions.
    joined.sort()
    return joined


@dataclass(frozen=True)
class SplitSettings:
    """What a split may be told; each splitter uses its own part."""

    train_count: int | None = None
    valid_count: int = 0
    test_count: int | None = None
    train_fraction: float = 1.0
    valid_fraction: float = 0.0


def _head_tail(train: Integers, test: Integers, settings: SplitSettings, random: Random) -> Split:
    del random
    return head_tail(
        train,
        test,
        train_count=settings.train_count,
        valid_count=settings.valid_count,
        test_count=settings.test_count,
    )


def _stratified(train: Integers, test: Integers, settings: SplitSettings, random: Random) -> Split:
    return stratified(
        train,
        test,
        train_fraction=settings.train_fraction,
        valid_fraction=settings.valid_fraction,
        test_count=settings.test_count,
        random=random,
    )


SPLITTERS: Final[Mapping[str, Callable[[Integers, Integers, SplitSettings, Random], Split]]] = {
    "head_tail": _head_tail,
    "stratified": _stratified,
}
"""name -> splitter of (train labels, test labels, settings, random source)."""


def split(name: str, train: Integers, test: Integers, settings: SplitSettings, random: Random) -> Split:
    """The checked split of a data set whose training and test sets have labels `train` (n,) and `test` (k,).

    Raises:
        ConfigError: the name is unknown, or the split does not fit the data set.
    """
    found = look_up(SPLITTERS, "split.name", name)(train, test, settings, random)
    found.check(len(train), len(test))
    return found
