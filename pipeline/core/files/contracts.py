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

from pipeline.core.errors import FormatError

Array = npt.NDArray[Any]

_KINDS: Final = {"iu": "integers", "f": "floating-point numbers"}
_POSITIVE: Final = float(np.finfo(np.float32).tiny)
_ROUNDING: Final = 1e-5  # of probabilities, which are float32 sums


@dataclass(frozen=True)
class Rule:
    """What holds of one array.

    Attributes:
        kinds: letters of NumPy's dtype kinds, one of which it has.
        shape: lengths: a number, or a word for any; () for a single number.
        low: the least value.
        high: the greatest value; None for any finite one.
        distinct: whether no value comes twice.
        optional: whether it may be absent.
    """

    kinds: str
    shape: tuple[int | str, ...]
    low: float = -np.inf
    high: float | None = None
    distinct: bool = False
    optional: bool = False


def split_rules(train_count: int, test_count: int, features: int) -> dict[str, Rule]:
    """split.npz: different images of the parsed parts, and what divides and shifts their pixels."""
    return {
        "train": Rule("iu", ("train",), 0, train_count - 1, distinct=True),
        "valid": Rule("iu", ("valid",), 0, train_count - 1, distinct=True),
        "test": Rule("iu", ("test",), 0, test_count - 1, distinct=True),
        "divisor": Rule("f", (), _POSITIVE),
        "mean": Rule("f", (features,), optional=True),
        "deviation": Rule("f", (features,), _POSITIVE, optional=True),
    }


def probabilities_rules(classes: int, test_count: int) -> dict[str, Rule]:
    """probabilities.npz: a row for each image of the test part, its label, and its place in the test set."""
    return {
        "probabilities": Rule("f", ("images", classes), 0, 1 + _ROUNDING),
        "labels": Rule("iu", ("images",), 0, classes - 1),
        "images": Rule("iu", ("images",), 0, test_count - 1, distinct=True),
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
            complaint = _complaint(arrays[name], rules[name], lengths)
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
    if not array.size:
        return ""
    low, high = array.min(), array.max()
    if not (low >= rule.low and high <= (np.finfo(np.float64).max if rule.high is None else rule.high)):
        limit = "any finite one" if rule.high is None else f"{rule.high:,}"
        return f"found values from {low} to {high}, expected {rule.low:.6g} to {limit}"
    if rule.distinct and np.unique(array).size != array.size:
        return f"{array.size - np.unique(array).size:,} values come more than once"
    return ""


HISTORY: Final = ("epoch", "step", "learning_rate")
"""Columns of history.csv that every row has a number in."""
STEPS: Final = ("step", "loss")
"""Columns of steps.csv."""


def numbers(
    rows: Sequence[Mapping[str, str]], needed: Sequence[str], path: Path, remedy: str
) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of a table of numbers, in the order of its rows, whose first needed column rises.

    Args:
        rows: as text by column.
        needed: columns that have a number in each row; in the others a field may be empty: NaN.
        path: the file.
        remedy: what to do where something is wrong.

    Raises:
        FormatError: there is no row, a column is missing, a field is no number, or the order is another.
    """
    missing = [name for name in needed if not rows or name not in rows[0]]
    if missing:
        raise FormatError(f"{path}: {missing[0]}: {'no such column' if rows else 'no rows'}; {remedy}")
    columns = {name: np.empty(len(rows)) for name in rows[0]}
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
    if not (np.diff(columns[needed[0]]) > 0).all():
        raise FormatError(f"{path}: {needed[0]}: the rows are in another order; {remedy}")
    return columns
