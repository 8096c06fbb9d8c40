"""search-report: which trials are listed, and what each axis is said to change."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.commands.search_report import Effect, effects, ranking
from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.config.space import Range
from pipeline.core.paths import Layout
from pipeline.search.table import Tried
from pipeline.search.trials import Outcome, Trial
from pipeline.stages import split
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.train import stage as train

Run = Callable[..., Any]


def tried(
    accuracies: list[float | None], values: list[object], epochs: list[int | None] | None = None
) -> list[Tried]:
    return [
        Tried(
            Trial(number, {"seed": value}, budget),
            Outcome(number, math.nan, "bad", budget)
            if accuracy is None
            else Outcome(number, accuracy, "", budget),
            7,
        )
        for number, (accuracy, value, budget) in enumerate(
            zip(accuracies, values, epochs or [None] * len(values), strict=True)
        )
    ]


def test_trials_are_ranked_by_how_long_they_were_trained_and_then_by_accuracy() -> None:
    found = ranking(tried([0.5, 0.9, None, 0.7, 0.7], list(range(5)), [None, 2, None, 6, 6]))
    assert [each.trial.number for each in found] == [0, 3, 4, 1]


def test_the_effect_of_a_listed_axis() -> None:
    found = effects("seed", [1, 2, 3], tried([0.2, 0.4, None, 0.9, 0.6, None], [1, 1, 2, 2, 2, 3]))
    assert found == [
        Effect("1", 2, 0, pytest.approx(0.3), pytest.approx(0.3), 0.4),
        Effect("2", 3, 1, pytest.approx(0.75), pytest.approx(0.75), 0.9),
        Effect("3", 1, 1, None, None, None),
    ]


def test_the_effect_of_a_range_is_told_by_parts_of_equal_size() -> None:
    count = 23
    found = effects(
        "seed", Range(0, 99), tried([number / 100 for number in range(count)], list(range(count))[::-1])
    )
    assert [row.value for row in found] == ["0 to 4", "5 to 8", "9 to 13", "14 to 17", "18 to 22"]
    assert sum(row.trials for row in found) == count
    assert [row.best for row in found] == sorted((row.best for row in found if row.best), reverse=True)
    assert found[0].median == pytest.approx(0.20)


@pytest.fixture
def searched(composed: Layout, configs: dict[str, Config]) -> Layout:
    for stage in (split, train):
        stage.run(ExperimentContext(composed, configs["tiny_grid"], composed.results("tiny_grid")))
    return composed


def test_the_report_of_a_search(searched: Layout, cli: Run) -> None:
    del searched
    ended = cli("search-report", "tiny_grid")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "tiny_grid on a few drawn digits (not MNIST): grid, 4 trials, 0 failed"
    assert lines[2].split("  ")[0] == "trial"
    assert sorted(line.split()[0] for line in lines[3:7]) == ["0", "1", "2", "3"]
    shown = [float(line.split()[1]) for line in lines[3:7]]
    assert shown == sorted(shown, reverse=True)
    for word in ("model.hidden", "optimizer.learning_rate", "median", "[4]", "0.001"):
        assert word in ended.out

    found = json.loads(cli("search-report", "tiny_grid", "--json").out)
    assert found["trials"] == 4
    assert [row["value"] for row in found["axes"]["model.hidden"]] == ["[4]", "[8]"]
    best = found["best"][0]
    assert best["valid_accuracy"] == max(row["best"] for row in found["axes"]["optimizer.learning_rate"])
    assert set(best["values"]) == {"model.hidden", "optimizer.learning_rate"}


def test_what_is_no_search_is_told(evaluated: Layout, cli: Run) -> None:
    del evaluated
    ended = cli("search-report", "tiny")
    assert (ended.code, ended.err) == (1, "pipeline: tiny: nothing was searched (search.name=none)\n")
    ended = cli("search-report", "nothing")
    assert ended.code == 2
    assert ended.err.startswith("pipeline: nothing: params.yaml lists no such experiment, only tiny, ")


def test_a_search_that_has_not_been_run_is_told(composed: Layout, cli: Run) -> None:
    composed.results("tiny_grid").config.unlink()
    ended = cli("search-report", "tiny_grid")
    assert ended.code == 1
    assert "is missing: run the search: dvc repro train@tiny_grid" in ended.err


def test_a_search_by_halving_is_reported_with_its_epochs(
    parsed: Layout, configs: dict[str, Config], cli: Run
) -> None:
    from pipeline.config.compose import to_yaml  # here alone
    from pipeline.core.files.atomic import write_text

    config = with_values(
        configs["tiny_grid"], {"search.name": "halving", "search.factor": 2, "search.minimum_epochs": 1}
    )
    results = parsed.results("tiny_grid")
    write_text(results.config, to_yaml(config))
    for stage in (split, train):
        stage.run(ExperimentContext(parsed, config, results))
    lines = cli("search-report", "tiny_grid").out.splitlines()
    assert [line.split()[-1] for line in lines[2:7]] == ["epochs", "all", "2", "1", "1"]
