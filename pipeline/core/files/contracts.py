"""What the files that stages hand on have to mean, beyond being sound containers: one place for all readers.

Each `…_rules` names the arrays of a file with their dtype kinds and shapes, and what holds of their values.
A word in a shape is a length: the same word is the same number everywhere in a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError

Array = npt.NDArray[Any]

_KINDS: Final = {"u": "unsigned integers", "iu": "integers", "f": "floating-point numbers"}
_POSITIVE: Final = float(np.finfo(np.float32).tiny)
_LARGEST: Final = float(np.finfo(np.float32).max)  # what training computes in can hold no more
_ROUNDING: Final = 1e-5  # of probabilities, which are float32 sums
_SUM: Final = 1e-3  # of as many of them as there are classes


@dataclass(frozen=True)
class Rule:
    """What holds of one array.

    Attributes:
        kinds: letters of NumPy's dtype kinds, one of which it has.
        shape: lengths: a number, or a word for any; () for a single number.
        low: the least value.
        high: the greatest value; None for any finite one.
        distinct: whether no value comes twice.
        apart_from: another array of the file, with which it has no value in common.
        row_sum: what each row adds up to; None for anything.
        optional: whether it may be absent.
        may_be_empty: whether it may hold nothing.
    """

    kinds: str
    shape: tuple[int | str, ...]
    low: float = -np.inf
    high: float | None = None
    distinct: bool = False
    apart_from: str = ""
    row_sum: float | None = None
    optional: bool = False
    may_be_empty: bool = True


def parsed_rules(image_shape: Sequence[int] | None, classes: int | None) -> dict[str, Rule]:
    """A part of a parsed data set: its images and a label for each; None for what is not known."""
    return {
        "images": Rule("u", ("count", *(image_shape or ("height", "width", "channels")))),
        "labels": Rule("u", ("count",), 0, None if classes is None else classes - 1),
    }


def split_rules(
    train_count: int | None, test_count: int | None, features: int, inputs: int
) -> dict[str, Rule]:
    """split.npz: different images of the parsed parts, and what becomes of their pixels.

    Args:
        train_count: images of the training set; None where it is not at hand.
        test_count: of the test set, likewise.
        features: numbers of an image.
        inputs: numbers that a network sees of it.
    """
    last_train, last_test = (None if count is None else count - 1 for count in (train_count, test_count))
    return {
        "train": Rule("iu", ("train",), 0, last_train, distinct=True, may_be_empty=False),
        "valid": Rule("iu", ("valid",), 0, last_train, distinct=True, apart_from="train"),
        "test": Rule("iu", ("test",), 0, last_test, distinct=True, may_be_empty=False),
        "divisor": Rule("f", (), _POSITIVE, _LARGEST),
        "mean": Rule("f", (features,), -_LARGEST, _LARGEST, optional=True),
        "deviation": Rule("f", (features,), _POSITIVE, _LARGEST, optional=True),
        "contrast": Rule("f", (), _POSITIVE, _LARGEST, optional=True),
        "projection": Rule("f", (features, inputs), -_LARGEST, _LARGEST, optional=inputs == features),
    }


def probabilities_rules(classes: int, test_count: int) -> dict[str, Rule]:
    """probabilities.npz: a row for each image of the test part, its label, and its place in the test set."""
    return {
        "probabilities": Rule("f", ("images", classes), 0, 1 + _ROUNDING, row_sum=1),
        "labels": Rule("iu", ("images",), 0, classes - 1),
        "images": Rule("iu", ("images",), 0, test_count - 1, distinct=True, may_be_empty=False),
    }


def check(arrays: Mapping[str, Array], rules: Mapping[str, Rule], path: Path, remedy: str) -> None:
    """See that a file's arrays obey its rules.

    Args:
        arrays: as they were read.
        rules: name -> what holds of it.
        path: the file.
        remedy: what to do where they do not.

    Raises:
        FormatError: one does not; in one line, what was found and what was expected.
    """
    lengths: dict[str, int] = {}
    names = set(arrays) | {name for name, rule in rules.items() if not rule.optional}
    for name in sorted(names):
        if name not in arrays:
            complaint = "missing"
        elif name not in rules:
            complaint = f"unknown; known are {', '.join(rules)}"
        else:
            rule = rules[name]
            complaint = _complaint(arrays[name], rule, lengths)
            other = arrays.get(rule.apart_from)
            if not complaint and other is not None and (shared := np.intersect1d(arrays[name], other)).size:
                complaint = f"{shared.size:,} values are in {rule.apart_from} too"
        if complaint:
            raise FormatError(f"{path}: {name}: {complaint}; {remedy}")


def _complaint(array: Array, rule: Rule, lengths: dict[str, int]) -> str:
    """What is wrong with an array; nothing where nothing is. Words of shapes go into `lengths`."""
    if array.dtype.kind not in rule.kinds:
        return f"found {array.dtype}, expected {_KINDS[rule.kinds]}"
    shape = tuple(
        each if isinstance(each, int) else lengths.setdefault(each, length)
        for each, length in zip(rule.shape, array.shape, strict=False)
    )
    if array.ndim != len(rule.shape) or array.shape != shape:
        expected = ", ".join(map(str, shape if len(shape) == len(rule.shape) else rule.shape))
        return f"found the shape {list(array.shape)}, expected [{expected}]"
    if not array.size and not rule.may_be_empty:
        return "found none, expected one or more"
    return _value_complaint(array, rule)


def _value_complaint(array: Array, rule: Rule) -> str:
    is_unbounded = rule.low == -np.inf and rule.high is None and array.dtype.kind in "iu"
    if not array.size or is_unbounded:
        return ""
    low, high = array.min(), array.max()
    if not (low >= rule.low and high <= (np.finfo(np.float64).max if rule.high is None else rule.high)):
        limit = "any finite one" if rule.high is None else f"{rule.high:,}"
        return f"found values from {low} to {high}, expected {rule.low:.6g} to {limit}"
    if rule.distinct and np.unique(array).size != array.size:
        return f"{array.size - np.unique(array).size:,} values come more than once"
    if rule.row_sum is not None and (worst := float(np.abs(array.sum(axis=1) - rule.row_sum).max())) > _SUM:
        return f"a row adds up to {rule.row_sum:g} but for {worst:.3g}"
    return ""


def check_columns(
    rows: Sequence[Mapping[str, str]], expected: Sequence[str], path: Path, remedy: str
) -> None:
    """See that a table has rows, and these columns in this order.

    Raises:
        FormatError: it has not.
    """
    if not rows or tuple(rows[0]) != tuple(expected):
        found = f"the columns {shorten(', '.join(rows[0]))}" if rows else "no rows"
        raise FormatError(f"{path}: found {found}, expected the columns {', '.join(expected)}; {remedy}")


MEASURED: Final = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
"""Columns of history.csv that are empty where a part has no images or was not measured."""
HISTORY: Final = ("epoch", "step", "learning_rate", *MEASURED)
"""Columns of history.csv."""
STEPS: Final = ("step", "loss")
"""Columns of steps.csv."""


def numbers(
    rows: Sequence[Mapping[str, str]], expected: Sequence[str], path: Path, remedy: str
) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of a table of numbers, in the order of its rows, whose first column counts from 0.

    Args:
        rows: as text by column.
        expected: the columns. All have a number in each row but those in `MEASURED`, where an empty field
            is NaN.
        path: the file.
        remedy: what to do where something is wrong.

    Raises:
        FormatError: there is no row, the columns are others, a field is no number, or the order is another.
    """
    check_columns(rows, expected, path, remedy)
    needed = [name for name in expected if name not in MEASURED]
    columns = {name: np.empty(len(rows)) for name in expected}
    for index, row in enumerate(rows):
        for name, text in row.items():
            try:
                columns[name][index] = float(text) if text or name in needed else np.nan
            except ValueError:
                raise FormatError(
                    f"{path}: row {index + 1}: {name}={text!r}: expected a number; {remedy}"
                ) from None
    for name in needed:
        if not np.isfinite(columns[name]).all():
            raise FormatError(f"{path}: {name}: found a value that is not finite; {remedy}")
    if not np.array_equal(columns[needed[0]], np.arange(len(rows))):
        raise FormatError(
            f"{path}: {needed[0]}: expected 0 to {len(rows) - 1}, found others or another order; {remedy}"
        )
    for name, column in columns.items():
        low, high = 0, 1 if name.endswith("_accuracy") else np.inf
        if not (np.isnan(column) | ((low <= column) & (column <= high))).all():
            raise FormatError(f"{path}: {name}: found a value beyond {low} to {high}; {remedy}")
    return columns
