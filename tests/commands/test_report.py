"""report: the page of a revision, and of the differences between two, with everything in git."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.paths import Layout
from tests.report.page.repositories import commit_outputs, plot_and_tabulate, train_again
from tests.shared import git

Run = Callable[..., Any]


@pytest.fixture
def history(evaluated: Layout) -> Layout:
    """A repository whose last commit has the outputs of `tiny`."""
    commit_outputs(evaluated)
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
    plot_and_tabulate(history)
    page = tmp_path / "page.html"
    assert cli("report", "HEAD", "workspace", "--output", str(page)).code == 0
    found = data_of(page)
    assert np.trace(found["experiments"][0]["confusion"]) == 100
    (change,) = found["changes"]["experiments"]
    assert (change["name"], change["verdict"]) == ("tiny", "better")
    assert (found["changes"]["first"]["name"], found["changes"]["second"]["name"]) == ("HEAD", "workspace")


def test_images_that_moved_have_their_pixels_and_curves_that_differ_are_there(
    history: Layout,
    cli: Run,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
) -> None:
    history_before = history.results("tiny").history.read_text().splitlines()
    train_again(history, optimizer__learning_rate=0.5)
    assert cli("report", "HEAD", "workspace").code == 0
    page = history.root / "runs" / "report.html"
    (change,) = data_of(page)["changes"]["experiments"]
    assert change["remarks"] == []
    shown = [each for kind in ("gained", "lost") for each in change["moved"][kind]]
    for each in shown:
        picture = Image.open(io.BytesIO(base64.b64decode(each["picture"])))
        assert (np.asarray(picture) == tiny.drawing.test_images[each["image"], ..., 0]).all()
        assert each["actual"] == tiny.drawing.test_labels[each["image"]]
    assert {each["image"] for each in shown} <= {*change["gained"], *change["lost"]}
    assert shown
    assert len(change["history"]["epoch"]) == len(history_before) - 1
    first = page.read_bytes()
    assert cli("report", "HEAD", "workspace").code == 0
    assert page.read_bytes() == first
    # The other way round, the second revision has no data: its images are told in words.
    assert cli("report", "workspace", "HEAD").code == 0
    (other,) = data_of(page)["changes"]["experiments"]
    assert [each["image"] for each in other["moved"]["lost"]] == [
        each["image"] for each in change["moved"]["gained"]
    ]
    assert {each["picture"] for kind in ("gained", "lost") for each in other["moved"][kind]} == {""}
    (remark,) = other["remarks"]
    assert remark.startswith("images are shown without their pictures: HEAD has no data/parsed/bundled/tiny/")


def test_curves_that_are_the_same_or_of_another_version_are_not_overlaid(history: Layout, cli: Run) -> None:
    page = history.root / "runs" / "report.html"
    assert cli("report", "HEAD", "workspace").code == 0
    (change,) = data_of(page)["changes"]["experiments"]
    assert (change["history"], change["moved"], change["remarks"]) == (None, {}, [])
    table = history.results("tiny").history
    table.write_text(table.read_text().replace("learning_rate", "rate", 1))
    git(history.root, "commit", "--quiet", "--all", "-m", "as it was once")
    table.write_text(table.read_text().replace("rate", "learning_rate", 1))
    assert cli("report", "HEAD", "workspace").code == 0
    (change,) = data_of(page)["changes"]["experiments"]
    assert change["history"] is None
    assert change["remarks"][0].startswith(
        "curves are those of workspace alone: outputs/tiny/history.csv of HEAD: found the columns epoch,"
    )


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
