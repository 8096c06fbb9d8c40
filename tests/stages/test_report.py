"""The page: of the experiments in params.yaml, whatever else outputs/ holds."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.config.compose import read_config
from pipeline.core.paths import Layout
from pipeline.stages import plot
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]


@pytest.fixture
def plotted(evaluated: Layout, cli: Run) -> Layout:
    params = evaluated.params.read_text().replace("  tiny_grid: {dataset: tiny}\n", "")
    evaluated.params.write_text(params)
    results = evaluated.results("tiny")
    plot._write_page(ExperimentContext(evaluated, read_config(results.config), results))
    assert cli("results").code == 0
    return evaluated


def test_the_page_is_written_and_depends_on_its_inputs_alone(plotted: Layout, cli: Run) -> None:
    ended = cli("report")
    assert (ended.code, ended.out) == (0, "open outputs/report.html in a browser\n")
    first = plotted.report.read_bytes()
    assert b"a few drawn digits (not MNIST)" in first
    assert str(plotted.root).encode() not in first
    plotted.report.unlink()
    assert cli("report").code == 0
    assert plotted.report.read_bytes() == first


def test_what_a_removed_experiment_left_is_removed(plotted: Layout, cli: Run) -> None:
    left = plotted.pages / "gone.json"
    left.write_text("{}")
    assert cli("report").code == 0
    assert not left.exists()
    assert plotted.results("tiny").page.exists()


def test_an_experiment_that_was_not_plotted_is_named(plotted: Layout, cli: Run) -> None:
    plotted.results("tiny").page.unlink()
    ended = cli("report")
    assert ended.code == 1
    assert "report.d/tiny.json is missing" in ended.err
    assert "dvc repro report" in ended.err


def test_what_is_no_page_of_an_experiment_is_refused_with_what_to_do(plotted: Layout, cli: Run) -> None:
    plotted.results("tiny").page.write_text('{"name": "tiny"}')
    ended = cli("report")
    assert ended.code == 1
    assert "tiny.json: activation: a value is needed and none is given" in ended.err
    assert "dvc repro --force --single-item plot@tiny" in ended.err
