"""What stages hand on: sound files whose contents mean something else are told in one line."""

import csv
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.paths import Layout

Run = Callable[..., Any]
Change = Callable[[dict[str, Any]], dict[str, Any]]


def one(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda arrays: {**arrays, name: change(arrays[name].copy())}


def put(index: int, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:  # noqa: ANN401  (an array)
        array[index] = value
        return array

    return change


SPLITS: list[tuple[Change, str]] = [
    (one("test", put(0, -1)), "test: found values from -1 to"),
    (one("test", put(0, 100)), "test: found values from"),
    (one("test", lambda array: put(0, array[1])(array)), "test: 1 values come more than once"),
    (one("train", lambda array: array * 0), "train: .* values come more than once"),
    (one("valid", lambda array: array.astype(float)), "valid: found float64, expected integers"),
    (one("train", lambda array: array[:, None]), r"train: found the shape"),
    (one("divisor", lambda array: array * 0), "divisor: found values from 0.0 to 0.0"),
    (one("divisor", lambda array: array * np.nan), "divisor: found values from nan"),
    (lambda arrays: {name: array for name, array in arrays.items() if name != "test"}, "test: missing"),
    (lambda arrays: {**arrays, "mean": np.zeros(3)}, r"mean: found the shape \[3\], expected \[784\]"),
    (lambda arrays: {**arrays, "more": np.zeros(3)}, "more: unknown; known are train, valid, test"),
]


@pytest.mark.parametrize(("change", "said"), SPLITS)
def test_a_split_that_means_something_else_is_told(
    evaluated: Layout, cli: Run, change: Change, said: str
) -> None:
    results = evaluated.results("tiny")
    write_arrays(results.split, **change(read_arrays(results.split)))
    before = results.metrics.read_bytes()
    for stage in ("train", "evaluate"):
        expect(cli(stage, "tiny"), rf"split\.npz: {said}.*split@tiny\n")
    assert results.metrics.read_bytes() == before


PROBABILITIES: list[tuple[Change, str]] = [
    (one("labels", put(0, 99)), "labels: found values from 0 to 99, expected 0 to 9"),
    (one("images", put(0, -1)), "images: found values from -1"),
    (one("images", lambda array: array[1:]), r"(images|labels|probabilities): found the shape"),
    (one("probabilities", lambda array: array[:, :3]), r"probabilities: found the shape"),
    (one("probabilities", lambda array: array * np.nan), "probabilities: found values from nan"),
    (lambda arrays: {name: array for name, array in arrays.items() if name != "labels"}, "labels: missing"),
]


@pytest.mark.parametrize(("change", "said"), PROBABILITIES)
def test_probabilities_that_mean_something_else_are_told(
    evaluated: Layout, cli: Run, change: Change, said: str
) -> None:
    path = evaluated.results("tiny").probabilities
    write_arrays(path, **change(read_arrays(path)))
    expect(cli("plot", "tiny"), rf"probabilities\.npz: {said}.*evaluate@tiny\n")


@pytest.mark.parametrize("name", ["history", "steps"])
def test_a_table_that_means_something_else_is_told(evaluated: Layout, cli: Run, name: str) -> None:
    path = getattr(evaluated.results("tiny"), name)
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    for changed, said in (
        ([header], "found no rows, expected the columns"),
        ([header[1:], *(row[1:] for row in rows)], f"found the columns {header[1]}.*, expected the columns"),
        ([[*header[:-1], "other"], *rows], f"found the columns {header[0]}.*other, expected the columns"),
        ([header, *reversed(rows)], f"{header[0]}: expected 0 to .*, found others or another order"),
        ([header, ["x", *rows[0][1:]], *rows[1:]], f"row 1: {header[0]}='x': expected a number"),
        ([header, [rows[0][0], "nan", *rows[0][2:]], *rows[1:]], f"{header[1]}: found a value that is not"),
    ):
        path.write_text("".join(",".join(row) + "\n" for row in changed))
        expect(cli("plot", "tiny"), rf"{name}\.csv: {said}.*train@tiny\n")


def expect(ended: Any, said: str) -> None:  # noqa: ANN401  (how a command ended)
    assert ended.code == 1, ended.err
    assert re.fullmatch(rf"pipeline: \S*{said}", ended.err), ended.err
