"""What stages hand on: sound files whose contents mean something else are told in one line.

That the stages ask, and that nothing comes of such a file, is in test_mutations.py.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import FormatError
from pipeline.core.files import contracts

Change = Callable[[dict[str, Any]], dict[str, Any]]

SPLIT: dict[str, Any] = {
    "train": np.arange(160),
    "valid": np.arange(160, 200),
    "test": np.arange(100),
    "divisor": np.array(255.0),
}
SPLIT_RULES = contracts.split_rules(200, 100, 784, 784)
PROBABILITIES: dict[str, Any] = {
    "probabilities": np.full((50, 10), 0.1, np.float32),
    "labels": np.arange(50) % 10,
    "images": np.arange(50),
}
PROBABILITIES_RULES = contracts.probabilities_rules(10, 100)


def one(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda arrays: {**arrays, name: change(arrays[name].copy())}


def put(index: int, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:  # noqa: ANN401  (an array)
        array[index] = value
        return array

    return change


def without(name: str) -> Change:
    return lambda arrays: {other: array for other, array in arrays.items() if other != name}


def expect(said: str, check: Callable[[Path, str], object]) -> None:
    with pytest.raises(FormatError) as caught:
        check(Path("outputs/tiny/file"), "make it again")
    assert re.fullmatch(rf"outputs/tiny/file: {said}.*; make it again", str(caught.value))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one("test", put(0, -1)), "test: found values from -1 to 99, expected 0 to 99"),
        (one("test", put(0, 100)), "test: found values from 1 to 100, expected 0 to 99"),
        (one("test", put(0, 1)), "test: 1 values come more than once"),
        (one("train", lambda array: array[:0]), "train: found none, expected one or more"),
        (one("valid", put(0, 0)), "valid: 1 values are in train too"),
        (one("valid", lambda array: array.astype(float)), "valid: found float64, expected integers"),
        (
            one("train", lambda array: array[:, None]),
            r"train: found the shape \[160, 1\], expected \[160\]",
        ),
        (one("divisor", lambda array: array * 0), "divisor: found values from 0.0 to 0.0"),
        (one("divisor", lambda array: array * np.nan), "divisor: found values from nan"),
        (without("test"), "test: missing"),
        (lambda arrays: {**arrays, "mean": np.zeros(3)}, r"mean: found the shape \[3\], expected \[784\]"),
        (lambda arrays: {**arrays, "more": np.zeros(3)}, "more: unknown; known are train, valid, test"),
    ],
)
def test_a_split_that_means_something_else_is_told(change: Change, said: str) -> None:
    expect(said, lambda path, remedy: contracts.check(change(SPLIT), SPLIT_RULES, path, remedy))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one("labels", put(0, 99)), "labels: found values from 0 to 99, expected 0 to 9"),
        (one("images", put(0, -1)), "images: found values from -1"),
        (one("images", lambda array: array[1:]), r"labels: found the shape \[50\], expected \[49\]"),
        (one("probabilities", lambda array: array[:, :3]), r"probabilities: found the shape \[50, 3\]"),
        (one("probabilities", lambda array: array * np.nan), "probabilities: found values from nan"),
        (one("probabilities", lambda array: array / 2), "probabilities: a row adds up to 1 but for 0.5"),
        (without("labels"), "labels: missing"),
    ],
)
def test_probabilities_that_mean_something_else_are_told(change: Change, said: str) -> None:
    rules = PROBABILITIES_RULES
    expect(said, lambda path, remedy: contracts.check(change(PROBABILITIES), rules, path, remedy))


def test_what_is_right_is_taken() -> None:
    contracts.check(SPLIT, SPLIT_RULES, Path("file"), "")
    contracts.check(PROBABILITIES, PROBABILITIES_RULES, Path("file"), "")
    rows = [{"step": "0", "loss": "2.5"}, {"step": "1", "loss": "1e-3"}]
    found = contracts.numbers(rows, contracts.STEPS, Path("file"), "")
    assert {name: column.tolist() for name, column in found.items()} == {"step": [0, 1], "loss": [2.5, 1e-3]}
    # Only what was measured may be empty.
    row = dict.fromkeys(contracts.HISTORY, "0") | dict.fromkeys(contracts.MEASURED, "")
    assert np.isnan(contracts.numbers([row], contracts.HISTORY, Path("file"), "")["valid_loss"]).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "found no rows, expected the columns step, loss"),
        ([{"loss": "1"}], "found the columns loss, expected the columns step, loss"),
        ([{"step": "0", "cost": "1"}], "found the columns step, cost, expected the columns step, loss"),
        ([{"step": "0", "loss": "1", "more": "1"}], "found the columns step, loss, more, expected"),
        ([{"step": "x", "loss": "1"}], "row 1: step='x': expected a number"),
        ([{"step": "0", "loss": ""}], "row 1: loss='': expected a number"),
        ([{"step": "0", "loss": "nan"}], "loss: found a value that is not finite"),
        ([{"step": "0", "loss": "-1"}], "loss: found a value beyond 0 to inf"),
        ([{"step": "1", "loss": "1"}], "step: expected 0 to 0, found others or another order"),
    ],
)
def test_a_table_that_means_something_else_is_told(rows: list[dict[str, str]], said: str) -> None:
    expect(said, lambda path, remedy: contracts.numbers(rows, contracts.STEPS, path, remedy))
