"""Lock files and outputs against each other: which stage differs, what may, and how files differ."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.core.errors import FormatError
from pipeline.repro.difference import (
    Difference,
    array_difference,
    byte_difference,
    folder_difference,
    json_difference,
    table_difference,
    text_difference,
)
from pipeline.repro.lock import Lock, Recorded, needed, numeric_stages, read_lock
from pipeline.repro.outcome import State, compare

TEXT = """\
schema: '2.0'
stages:
  fetch@tiny:
    cmd: python -m pipeline fetch tiny
    deps:
    - path: pipeline/data/download/fetch.py
      hash: md5
      md5: aa
      size: 3
    outs:
    - path: data/raw/tiny
      hash: md5
      md5: bb.dir
      size: 9
      nfiles: 2
  train@x:
    cmd: python -m pipeline train x
    deps:
    - path: data/raw/tiny
      hash: md5
      md5: bb.dir
    params:
      outputs/x/config.yaml:
        seed: 0
        text: ${not.resolved}
    outs:
    - path: outputs/x/parameters.pkl
      md5: cc
"""


def stage(inputs: str = "", outputs: str = "", hashes: Mapping[str, str] | None = None) -> Recorded:
    """A stage by the names of what it reads and makes; the hash of a file is its name unless given."""
    known = hashes or {}
    return Recorded(
        "run it",
        {name: known.get(name, name) for name in inputs.split()},
        {},
        {name: known.get(name, name) for name in outputs.split()},
    )


# Two experiments on one data set, and a table of both.
LOCK: Lock = {
    "fetch@d": stage("code", "raw"),
    "split@x": stage("code raw", "split-x"),
    "train@x": stage("code raw split-x", "parameters-x history-x"),
    "evaluate@x": stage("code parameters-x", "metrics-x"),
    "train@y": stage("code raw", "parameters-y"),
    "results": stage("metrics-x parameters-y", "table"),
}


def changed(name: str, **hashes: str) -> dict[str, Recorded]:
    old = LOCK[name]
    names = {key.replace("_", "-"): value for key, value in hashes.items()}
    return {
        **LOCK,
        name: replace(
            old,
            inputs={path: names.get(path, value) for path, value in old.inputs.items()},
            outputs={path: names.get(path, value) for path, value in old.outputs.items()},
        ),
    }


def test_what_a_lock_says() -> None:
    lock = read_lock(TEXT)
    assert lock == {
        "fetch@tiny": Recorded(
            "python -m pipeline fetch tiny",
            {"pipeline/data/download/fetch.py": "aa"},
            {},
            {"data/raw/tiny": "bb.dir"},
        ),
        "train@x": Recorded(
            "python -m pipeline train x",
            {"data/raw/tiny": "bb.dir"},
            {"outputs/x/config.yaml": {"seed": 0, "text": "${not.resolved}"}},
            {"outputs/x/parameters.pkl": "cc"},
        ),
    }
    assert read_lock("schema: '2.0'\n") == {}


@pytest.mark.parametrize(
    "text", ["[]", "stages: [1]", "stages: {a: {}}", "stages: {a: {cmd: b, outs: [c]}}", "{"]
)
def test_what_is_no_lock(text: str) -> None:
    with pytest.raises(FormatError, match=r"^mine: not what DVC writes: "):
        read_lock(text, "mine")


def test_what_a_stage_needs() -> None:
    assert needed(LOCK, ["evaluate@x"]) == {"evaluate@x", "train@x", "split@x", "fetch@d"}
    assert needed(LOCK, ["train@y", "new"]) == {"train@y", "fetch@d", "new"}
    assert needed(LOCK, LOCK) == set(LOCK)


def test_what_hangs_on_the_numeric_environment() -> None:
    """Training and what follows from it, the table of all included, and nothing before."""
    assert numeric_stages(LOCK, ["x"]) == {"train@x", "evaluate@x", "results"}
    assert numeric_stages(LOCK, ["x", "y"]) == {"train@x", "evaluate@x", "train@y", "results"}
    assert numeric_stages(LOCK, []) == set()


def test_equal_locks() -> None:
    report = compare(LOCK, LOCK)
    assert (report.identical, len(report.rows)) == (7, 7)
    assert not report.failed
    assert [row.stage for row in report.rows] == [
        "fetch@d",
        "split@x",
        *["train@x"] * 2,
        "evaluate@x",
        "train@y",
        "results",
    ]


def test_the_first_stage_that_differs_comes_first_in_the_order_of_the_run() -> None:
    fresh = changed("train@x", parameters_x="other")
    fresh["evaluate@x"] = changed("evaluate@x", metrics_x="other")["evaluate@x"]
    committed = dict(reversed(LOCK.items()))
    report = compare(committed, fresh)
    assert [(row.stage, row.output) for row in report.wrong] == [
        ("train@x", "parameters-x"),
        ("evaluate@x", "metrics-x"),
    ]
    assert [row.state for row in report.wrong] == [State.DIFFERENT] * 2
    assert report.wrong[0].committed == "parameters-x"
    assert not report.wrong[0].lock_agrees
    assert report.identical == 5
    assert report.failed
    # That an input differs which a stage has made is that stage's own fault.
    assert not report.outdated


def test_a_file_in_git_that_is_not_what_the_lock_says() -> None:
    report = compare(LOCK, LOCK, edited=["metrics-x"])
    (row,) = report.wrong
    assert (row.stage, row.state, row.lock_agrees) == ("evaluate@x", State.DIFFERENT, True)


def test_what_may_differ_does_not_fail() -> None:
    free = numeric_stages(LOCK, ["x"])
    fresh = changed("train@x", parameters_x="other")
    report = compare(LOCK, fresh, may_differ=free)
    assert not report.failed
    assert [row.output for row in report.free] == ["parameters-x"]
    assert report.identical == 6
    # Everything else has to be the same, and what may differ has to be there.
    assert compare(LOCK, changed("train@y", parameters_y="other"), may_differ=free).failed
    del fresh["evaluate@x"]
    assert [row.state for row in compare(LOCK, fresh, may_differ=free).wrong] == [State.MISSING]


@pytest.mark.parametrize("side", ["committed", "fresh"])
def test_a_stage_that_only_one_has(side: str) -> None:
    fewer = {name: recorded for name, recorded in LOCK.items() if name != "train@y"}
    report = compare(fewer, LOCK) if side == "committed" else compare(LOCK, fewer)
    (row,) = report.wrong
    assert row.state is (State.UNRECORDED if side == "committed" else State.MISSING)
    assert report.failed


def test_a_stage_that_is_defined_no_longer() -> None:
    """DVC leaves it in the lock for good."""
    report = compare({**LOCK, "train@old": stage("", "parameters-old")}, LOCK, existing=list(LOCK))
    assert report.forgotten == ["train@old"]
    assert not report.failed
    assert len(report.rows) == 7


def test_other_code_is_told_apart_from_other_results() -> None:
    report = compare(LOCK, changed("train@x", code="other"))
    assert report.outdated == {"train@x": ["code"]}
    assert not report.wrong
    assert report.failed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": "another"}, ["its command"]),
        ({"parameters": {"params.yaml": {"source": "official"}}}, ["parameters in params.yaml"]),
        # The values are those of a file that a stage makes, but another key is looked at.
        ({"parameters": {"raw": {"seed": 1}}}, ["parameters in raw"]),
        ({"inputs": {"raw": "raw", "code": "code", "more": "1"}}, ["more", "split-x"]),
    ],
)
def test_other_ways_to_be_out_of_date(change: dict[str, Any], said: list[str]) -> None:
    report = compare(LOCK, {**LOCK, "train@x": replace(LOCK["train@x"], **change)})
    assert report.outdated == {"train@x": [each for each in said if each != "split-x"]}


def test_values_of_a_file_that_a_stage_makes_are_that_stages_own_fault() -> None:
    old, new = (
        {**LOCK, "train@x": replace(LOCK["train@x"], parameters={"raw": {"seed": seed}})} for seed in (0, 1)
    )
    assert not compare(old, new).failed


def test_only_what_was_chosen() -> None:
    fresh = changed("train@x", parameters_x="other")
    report = compare(
        LOCK, {name: fresh[name] for name in ("fetch@d", "train@y")}, chosen=["fetch@d", "train@y"]
    )
    assert (report.identical, len(report.rows), report.failed) == (2, 2, False)


# How files differ


def test_the_largest_difference_of_arrays() -> None:
    old = {"W1": np.zeros((2, 3), np.float32), "b1": np.ones(2, np.float32)}
    new = {"W1": old["W1"].copy(), "b1": old["b1"].copy()}
    assert array_difference(old, new) is None
    new["W1"][1, 2], new["W1"][0, 1], new["b1"][1] = 0.5, 0.25, 1.125
    difference = array_difference(old, new)
    assert difference == Difference("W1[1, 2]", "0.0", "0.5", 0.5, 3, 8, "numbers")
    assert str(difference) == (
        "W1[1, 2]: committed 0.0, found 0.5, the largest difference: 0.5; 3 of 8 numbers differ"
    )


@pytest.mark.parametrize(
    ("old", "new", "largest"),
    [
        (0.0, -0.0, 0.0),
        (1.0, math.nan, math.inf),
        (math.inf, -math.inf, math.inf),
        (math.nan, math.nan, None),
    ],
)
def test_bits_count_in_arrays(old: float, new: float, largest: float | None) -> None:
    difference = array_difference({"a": np.array([old])}, {"a": np.array([new])})
    assert (difference.largest if difference else None) == largest


@pytest.mark.parametrize(
    ("new", "found"),
    [({}, "nothing"), ({"a": np.zeros(4)}, "float64 (4,)"), ({"a": np.zeros(3, np.float32)}, "float32 (3,)")],
)
def test_arrays_of_another_kind(new: dict[str, Any], found: str) -> None:
    difference = array_difference({"a": np.zeros(3)}, new)
    assert difference == Difference("a", "float64 (3,)", found, None, 1, 1, "arrays")


@given(st.data())
def test_one_changed_number_is_found(data: st.DataObject) -> None:
    shapes = arrays.array_shapes(max_dims=3, max_side=5)
    old = data.draw(arrays.arrays(np.int16, shapes))
    place = tuple(data.draw(st.integers(0, length - 1)) for length in old.shape)
    new = old.copy()
    new[place] ^= 1
    difference = array_difference({"a": old}, {"a": new})
    assert difference is not None
    assert difference.place == f"a[{', '.join(map(str, place))}]"
    assert (difference.largest, difference.count, difference.total) == (1.0, 1, old.size)


def test_the_key_of_json() -> None:
    old = {"test": {"accuracy": 0.5, "loss": 1.0}, "names": ["a", "b"], "none": None, "empty": {}}
    assert json_difference(old, dict(old)) is None
    new = {**old, "test": {"accuracy": 0.75, "loss": 1.5}}
    assert str(json_difference(old, new)) == (
        "test.loss: committed 1.0, found 1.5, the largest difference: 0.5; 2 of 6 values differ"
    )
    # What is no number counts for more.
    new["names"] = ["a", "c"]
    assert str(json_difference(old, new)) == ("names[1]: committed 'b', found 'c'; 3 of 6 values differ")
    del new["none"]
    assert "names[1]" in str(json_difference(old, new))
    assert str(json_difference({"a": 1}, {})) == ("a: committed 1, found nothing; 1 of 1 values differ")
    assert str(json_difference({"a": True}, {"a": 1})) == ("a: committed True, found 1; 1 of 1 values differ")


def test_the_row_of_a_table() -> None:
    old = [{"epoch": "0", "loss": "2.5"}, {"epoch": "1", "loss": "1.5"}]
    assert table_difference(old, [dict(row) for row in old]) is None
    new = [old[0], {"epoch": "1", "loss": "1.25"}]
    assert str(table_difference(old, new)) == (
        "row 2, loss: committed 1.5, found 1.25, the largest difference: 0.25; 1 of 4 values differ"
    )
    assert str(table_difference(old, old[:1])) == (
        "row 2, epoch: committed 1.0, found nothing; 2 of 4 values differ"
    )


def test_the_line_of_a_text() -> None:
    assert text_difference("a\nb\n", "a\nb\n") is None
    assert str(text_difference("a\nb\nc\n", "a\nx\n")) == (
        r"line 2: committed 'b\n', found 'x\n'; 2 of 3 lines differ"
    )
    assert str(text_difference("a\n", "a")) == r"line 1: committed 'a\n', found 'a'; 1 of 1 lines differ"


def test_the_byte_of_a_file() -> None:
    assert byte_difference(b"abc", b"abc") is None
    assert str(byte_difference(b"abc", b"aXcd")) == (
        "byte 2: committed 0x62, found 0x58; 2 of 4 bytes differ"
    )
    assert str(byte_difference(b"", b"a")) == "byte 1: committed its end, found 0x61; 1 of 1 bytes differ"


def test_the_file_of_a_folder() -> None:
    assert folder_difference({"a": "1"}, {"a": "1"}) is None
    assert str(folder_difference({"a": "1", "b": "2"}, {"a": "1", "c": "3"})) == (
        "b: committed md5 2, found nothing; 2 of 3 files differ"
    )
