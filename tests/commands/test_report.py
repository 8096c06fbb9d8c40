"""report: the page of a revision, and of the differences between two, with everything in git."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import read_config
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.paths import Layout
from pipeline.stages import plot
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]


def git(root: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *arguments], cwd=root, check=True, capture_output=True)  # noqa: S603, S607  (git)


def plot_and_tabulate(layout: Layout, cli: Run) -> None:
    results = layout.results("tiny")
    plot._write_page(ExperimentContext(layout, read_config(results.config), results))
    assert cli("results").code == 0


@pytest.fixture
def history(evaluated: Layout, cli: Run) -> Layout:
    """A repository whose last commit has the outputs of `tiny`."""
    root = evaluated.root
    evaluated.params.write_text(evaluated.params.read_text().replace("  tiny_grid: {dataset: tiny}\n", ""))
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text("/data\n/runs\n")
    plot_and_tabulate(evaluated, cli)
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "first")
    return evaluated


def data_of(page: Path) -> Any:  # noqa: ANN401  (what JSON holds)
    text = page.read_text(encoding="utf-8")
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def test_the_page_of_a_commit_is_of_its_outputs_whatever_the_workspace_has(history: Layout, cli: Run) -> None:
    assert cli("report").code == 0
    expected = history.report.read_bytes()
    history.results("tiny").page.write_text("{}")
    ended = cli("report", "main")
    assert (ended.code, ended.out) == (0, "open runs/report.html in a browser\n")
    assert (history.root / "runs" / "report.html").read_bytes() == expected


def test_with_two_revisions_the_page_is_of_the_second_and_has_their_differences(
    history: Layout, cli: Run, tmp_path: Path
) -> None:
    results = history.results("tiny")
    arrays = read_arrays(results.probabilities)
    perfect = np.eye(10, dtype=np.float32)[arrays["labels"]]
    write_arrays(results.probabilities, **{**arrays, "probabilities": perfect})
    plot_and_tabulate(history, cli)
    page = tmp_path / "page.html"
    assert cli("report", "HEAD", "workspace", "--output", str(page)).code == 0
    found = data_of(page)
    assert np.trace(found["experiments"][0]["confusion"]) == 100
    (change,) = found["changes"]["experiments"]
    assert (change["name"], change["verdict"]) == ("tiny", "better")
    assert (found["changes"]["first"]["name"], found["changes"]["second"]["name"]) == ("HEAD", "workspace")


def test_what_a_revision_lacks_is_said(history: Layout, cli: Run) -> None:
    page = history.results("tiny").page
    page.write_text('{"name": "tiny"}')
    git(history.root, "commit", "--quiet", "--all", "-m", "other")
    ended = cli("report", "main")
    assert ended.code == 1
    assert ended.err == (
        "pipeline: main: outputs/report.d/tiny.json: activation: a value is needed and none is given;"
        " it is of another version of the pipeline\n"
    )
    git(history.root, "rm", "--quiet", str(page))
    git(history.root, "commit", "--quiet", "-m", "without")
    ended = cli("report", "main")
    assert ended.code == 1
    assert "main has no outputs/report.d/tiny.json, in git or in its dvc.lock" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no commit, branch, tag or DVC experiment here"),
        (["a", "b", "c"], "3 revisions: expected one, or two to compare"),
        (["--output", "x.html"], "--output goes with a revision"),
    ],
)
def test_wrong_arguments(history: Layout, cli: Run, arguments: list[str], said: str) -> None:
    del history  # the working directory
    ended = cli("report", *arguments)
    assert ended.code == 2
    assert said in ended.err
