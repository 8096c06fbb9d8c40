"""Lock files against each other: which stage differs, and what may."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pipeline.repro.lock import Lock, Recorded, followers, needed
from pipeline.repro.outcome import State, compare


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


def test_what_a_stage_needs() -> None:
    assert needed(LOCK, ["evaluate@x"]) == {"evaluate@x", "train@x", "split@x", "fetch@d"}
    assert needed(LOCK, ["train@y", "new"]) == {"train@y", "fetch@d", "new"}
    assert needed(LOCK, LOCK) == set(LOCK)


def test_a_folder_of_several_stages_is_made_by_all_of_them() -> None:
    lock = {
        **LOCK,
        "plot@x": stage("parameters-x", "pages/x.json"),
        "plot@y": stage("parameters-y", "pages/y.json"),
        "report": stage("pages", "page"),
    }
    assert needed(lock, ["report"]) == {*needed(lock, ["plot@x", "plot@y"]), "report"}
    assert {"plot@x", "report"} <= followers(lock, ["train@x"])
    # What differs in it is told of the stages that made it, not as something outdated.
    fresh = {**lock, "report": stage("pages", "page", {"pages": "other"})}
    assert compare(lock, fresh).outdated == {}


def test_what_follows_from_stages() -> None:
    """The table of all included, and nothing before."""
    assert followers(LOCK, ["train@x"]) == {"train@x", "evaluate@x", "results"}
    assert followers(LOCK, ["train@x", "train@y"]) == {"train@x", "evaluate@x", "train@y", "results"}
    assert followers(LOCK, ["train@z"]) == set()


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
    free = followers(LOCK, ["train@x"])
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
