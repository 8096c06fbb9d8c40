"""The table of results: of the experiments in params.yaml, whatever else outputs/ holds."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.schema import Config, Published
from pipeline.core.files.tables import read_json, write_json
from pipeline.core.paths import Layout, Results
from pipeline.stages import evaluate
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]


@pytest.fixture
def both(evaluated: Layout) -> Layout:
    """A summary of either experiment."""
    summary = read_json(evaluated.results("tiny").summary)
    write_json(evaluated.results("tiny_grid").summary, {**summary, "experiment": "tiny_grid"})
    return evaluated


def listed(layout: Layout) -> list[str]:
    """The experiments in the table, of which each has a row."""
    return [row["experiment"] for row in read_json(layout.results_data)["rows"]]


def test_a_row_is_what_evaluate_measured(both: Layout, cli: Run) -> None:
    ended = cli("results")
    assert ended.code == 0, ended.err
    assert ended.out == both.results_table.read_text()
    measured = read_json(both.results("tiny").metrics)
    first, second = read_json(both.results_data)["rows"]
    assert first["ours"] == second["ours"] == measured["test"]
    assert first["dataset"] == "a few drawn digits (not MNIST)"
    assert read_json(both.results_data)["published"] == {"tiny": "nothing", "tiny_grid": "nothing"}


def test_removing_an_experiment_is_one_line(both: Layout, cli: Run) -> None:
    """With its outputs there, as with none, the files are the same: those of a fresh clone."""
    assert cli("results").code == 0
    assert listed(both) == ["tiny", "tiny_grid"]
    text = both.params.read_text()
    both.params.write_text(text.replace("  tiny_grid: {dataset: tiny}\n", ""))
    assert cli("results").code == 0
    assert listed(both) == ["tiny"]
    assert [path.name for path in both.summaries.iterdir()] == ["tiny.json"]
    both.params.write_text(text)
    ended = cli("results")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"pipeline: {both.results('tiny_grid').summary} is missing: an earlier stage makes it."
        " Let DVC run what is needed: dvc repro results\n"
    )


def test_an_experiment_of_which_nothing_was_published(
    both: Layout, configs: dict[str, Config], cli: Run
) -> None:
    config = replace(configs["tiny"], published=Published())
    evaluate.run(ExperimentContext(both, config, both.results("tiny")))
    assert cli("results").code == 0
    assert listed(both) == ["tiny", "tiny_grid"]
    assert "- tiny:" not in both.results_table.read_text()
    assert "- tiny_grid: nothing" in both.results_table.read_text()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("figures", {}, "figures=: expected test_accuracy, first_step_loss, last_step_loss among them"),
        ("figures", {"test_accuracy": 97}, "figures.test_accuracy=97.0: expected an accuracy from 0 to 1"),
        ("figures", {"test_accuracy": "high"}, "figures.test_accuracy=high: expected a number"),
        ("figures", {"test_accuracy": 0.5, "speed": 1}, "figures=speed: expected one of train_accuracy, "),
        ("source", 5, "source=5: expected text"),
        ("published", None, "published=null: expected a mapping"),
        ("experiment", "other", "experiment=other: expected tiny"),
        ("more", 1, "more: no such key"),
    ],
)
def test_a_summary_that_says_something_else(
    both: Layout, cli: Run, key: str, value: object, said: str
) -> None:
    path = both.results("tiny").summary
    path.write_text(json.dumps({**read_json(path), key: value}))
    ended = cli("results")
    assert ended.err.startswith(f"pipeline: {path}: {said}")
    assert ended.err.endswith("; make it again: dvc repro --force --single-item evaluate@tiny\n")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert not both.results_table.exists()


@pytest.mark.usefixtures("both")
def test_over_seeds_nothing_is_written(both: Layout, configs: dict[str, Config], cli: Run) -> None:
    from pipeline.config.compose import to_yaml

    both.results("tiny_grid").folder.mkdir()
    both.results("tiny_grid").config.write_text(to_yaml(configs["tiny_grid"]))
    before = sorted(both.root.glob("outputs/**/*"))
    ended = cli("results", "--seeds", "2")
    assert ended.code == 0, ended.err
    assert "(2 seeds)" in ended.out
    assert sorted(both.root.glob("outputs/**/*")) == before


def test_a_run_apart_from_dvc_has_its_summary_beside_the_rest(evaluated: Layout) -> None:
    folder = evaluated.root / "runs" / "a"
    assert Results(folder).summary == folder / "summary.json"
    assert evaluated.results("tiny").summary == evaluated.root / "outputs" / "results.d" / "tiny.json"
