"""diff: on small repositories whose outputs are in a cache made by hand; no stage of DVC's is run."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.shared.changes import markdown_lines
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.files.tables import read_csv
from pipeline.core.lockfile import file_hash
from pipeline.core.paths import Layout
from pipeline.report.changes import Changes, ExperimentChange, Side, ValueChange
from tests.shared import git

Run = Callable[..., Any]

DVC_YAML = """\
stages:
  evaluate:
    foreach: [tiny]
    do:
      cmd: python -m pipeline evaluate ${item}
      params: [code.yaml: [version]]
      outs: ["outputs/${item}/probabilities.npz", "outputs/${item}/split.npz"]
"""
LOCK = """\
schema: '2.0'
stages:
  evaluate@tiny:
    cmd: python -m pipeline evaluate tiny
    params:
      code.yaml:
        version: 1
    outs:
    - path: outputs/tiny/probabilities.npz
      hash: md5
      md5: {probabilities}
      size: 1
    - path: outputs/tiny/split.npz
      hash: md5
      md5: {split}
      size: 1
"""


class History:
    """A repository in which `tiny` was evaluated, in one commit so far."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.root = layout.root
        (self.root / "dvc.yaml").write_text(DVC_YAML)
        (self.root / "code.yaml").write_text("version: 1\n")
        self.edit("params.yaml", "  tiny_grid: {dataset: tiny}\n", "")
        (self.root / ".dvc").mkdir()
        (self.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
        (self.root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        (self.root / ".gitignore").write_text("data\n/outputs/tiny/*.npz\n")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.record()

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def cached(self, name: str) -> Path:
        """Where DVC's cache has an output of the workspace."""
        md5 = file_hash(self.layout.results("tiny").folder / name)
        return self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]

    def record(self) -> None:
        """Put the outputs into DVC's cache and their hashes into dvc.lock, and commit."""
        hashes = {}
        for name in ("probabilities", "split"):
            path = self.cached(f"{name}.npz")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.layout.results("tiny").folder / f"{name}.npz", path)
            hashes[name] = path.parent.name + path.name
        (self.root / "dvc.lock").write_text(LOCK.format(**hashes))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new))

    def files(self) -> set[Path]:
        """All apart from those of git and DVC themselves, and the states of trainings."""
        return {path for path in self.root.rglob("*") if not {".git", ".dvc", "runs"} & set(path.parts)}

    def improve(self) -> None:
        """Give the workspace a network that recognises everything, by another learning rate."""
        path = self.layout.results("tiny").probabilities
        arrays = read_arrays(path)
        arrays["probabilities"] = np.where(np.eye(10)[arrays["labels"]], 0.91, 0.01).astype(np.float32)
        write_arrays(path, **arrays)
        self.edit("outputs/tiny/config.yaml", "learning_rate: 0.1", "learning_rate: 0.25")


@pytest.fixture
def history(evaluated: Layout) -> History:
    return History(evaluated)


def only(text: str) -> dict[str, Any]:
    (experiment,) = json.loads(text)["experiments"]
    return dict(experiment)


def test_head_against_the_workspace(history: History, cli: Run) -> None:
    results = history.layout.results("tiny")
    measured = next(row for row in read_csv(results.per_part) if row["part"] == "test")
    history.improve()
    before = history.git("status", "--porcelain"), history.git("rev-parse", "HEAD")
    ended = cli("diff", "--json")
    assert (ended.code, ended.err) == (0, "")
    data = json.loads(ended.out)
    assert data["first"] == {"name": "HEAD", "commit": before[1]}
    assert data["second"] == {"name": "workspace", "commit": None}
    assert data["notes"] == [
        "The workspace has changed since the outputs of all experiments were made: dvc repro"
    ]
    found = only(ended.out)
    assert (found["name"], found["verdict"], found["images"]) == ("tiny", "better", 100)
    assert found["configuration"] == [{"key": "optimizer.learning_rate", "first": 0.1, "second": 0.25}]
    rows = {(row["part"], row["name"]): row for row in found["metrics"]}
    for name, key in (
        ("accuracy", "accuracy"),
        ("cross_entropy", "loss"),
        ("expected_calibration_error", "expected_calibration_error"),
    ):
        assert rows["test", name]["first"] == pytest.approx(float(measured[key]), rel=1e-5)
    assert rows["test", "accuracy"]["second"] == 1
    assert len(found["gained"]) == round(100 * (1 - float(measured["accuracy"])))
    assert {part for part, _ in rows} == {"test", "train", "valid"}
    # Nothing was checked out.
    assert (history.git("status", "--porcelain"), history.git("rev-parse", "HEAD")) == before


def test_the_same_in_words_and_pictures(history: History, cli: Run) -> None:
    history.improve()
    ended = cli("diff", "--picture", "new/differences.png")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("tiny: BETTER on 100 test images") for line in lines)
    assert "  optimizer.learning_rate: 0.1 → 0.25" in lines
    assert lines[-1] == "1 better"
    with Image.open(history.root / "new" / "differences.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.slow
def test_two_commits_and_exit_code_1_if_worse(history: History, cli: Run) -> None:
    history.improve()
    history.record()
    history.git("tag", "good")
    assert cli("diff", "HEAD~1", "good", "--fail-if-worse").code == 0
    ended = cli("diff", "good", "main~1", "--fail-if-worse")
    assert ended.code == 1
    assert "tiny: WORSE" in ended.out
    assert ended.err == "pipeline: worse than good: tiny\n"
    assert cli("diff", "good", "main~1").code == 0
    ended = cli("diff")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-3:] == ["Identical: tiny", "", "1 identical"]


@pytest.mark.slow
def test_a_dvc_experiment_by_its_name(history: History, cli: Run) -> None:
    base = history.git("rev-parse", "HEAD")
    history.improve()
    history.record()
    history.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/merry-mole", "HEAD")
    history.git("reset", "--quiet", "--hard", base)
    assert only(cli("diff", "HEAD", "merry-mole", "--json").out)["verdict"] == "better"
    ended = cli("diff", "HEAD", "mery-mole")
    assert ended.code == 2
    assert ended.err.startswith("pipeline: mery-mole: no commit, branch, tag or DVC experiment here")
    assert ended.err.endswith("; did you mean merry-mole?\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mian",), "did you mean main?"),
        (("--experiment", "tinny"), "known: tiny; did you mean tiny?"),
        (("--seeds", "1"), "--seeds 1: two or more"),
        (("--picture", "x.svg"), "a name that ends in .png"),
    ],
)
def test_wrong_usage(history: History, cli: Run, arguments: tuple[str, ...], told: str) -> None:
    ended = cli("diff", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    del history


def test_outputs_that_are_not_to_be_had(history: History, cli: Run) -> None:
    first = history.cached("probabilities.npz")
    history.improve()
    history.record()
    first.unlink()
    ended = cli("diff", "HEAD~1", "--json")
    assert ended.code == 0
    found = only(ended.out)
    assert found["verdict"] == "not compared"
    assert found["reason"] == (
        "outputs/tiny/probabilities.npz of HEAD~1 is neither in DVC's cache nor in a remote"
    )
    (note,) = json.loads(ended.out)["notes"]
    assert note.startswith("Outputs of HEAD~1 are missing: dvc fetch --all-commits")
    # What the disk has not, the cache may have.
    history.layout.results("tiny").probabilities.unlink()
    assert cli("diff").out.splitlines()[-1] == "1 identical"
    history.layout.results("tiny").config.unlink()
    found = only(cli("diff", "--json").out)
    assert found["reason"] == "workspace has no outputs/tiny/config.yaml: dvc repro evaluate@tiny"


@pytest.mark.slow
def test_outputs_that_are_not_what_they_should_be(history: History, cli: Run) -> None:
    path = history.layout.results("tiny").probabilities
    arrays = read_arrays(path)
    write_arrays(path, **{**arrays, "labels": arrays["labels"] + 7})
    found = only(cli("diff", "--json").out)
    assert found["reason"].startswith(
        "outputs/tiny/probabilities.npz of workspace: labels: found values from"
    )
    path.write_text("nothing")
    assert "expected an .npz file" in only(cli("diff", "--json").out)["reason"]
    history.edit("outputs/tiny/config.yaml", "loss:", "lost:")
    assert "outputs/tiny/config.yaml of workspace: 'loss'" in only(cli("diff", "--json").out)["reason"]


@pytest.mark.slow
def test_a_test_set_of_open_size_and_none_at_all(history: History, cli: Run) -> None:
    """Images then have any places, or places in the train set."""
    for count in ("null", "0"):
        history.edit("outputs/tiny/config.yaml", "test_count: 100\n", f"test_count: {count}\n")
        found = only(cli("diff", "--json").out)
        assert (found["verdict"], found["reason"]) == ("identical", "")
        history.edit("outputs/tiny/config.yaml", f"test_count: {count}\n", "test_count: 100\n")


def test_an_experiment_of_one_side_alone(history: History, cli: Run) -> None:
    history.edit("params.yaml", "  tiny:", "  tiny_grid: {dataset: tiny}\n  tiny:")
    ended = cli("diff", "--json")
    experiments = json.loads(ended.out)["experiments"]
    assert [(each["name"], each["reason"]) for each in experiments] == [
        ("tiny_grid", "only workspace has it"),
        ("tiny", ""),
    ]


@pytest.mark.slow
def test_without_git_or_a_commit(history: History, cli: Run) -> None:
    shutil.rmtree(history.root / ".git")
    config = history.root / ".dvc" / "config"
    for settings in ("", "    no_scm = true\n"):
        config.write_text(config.read_text() + settings)
        ended = cli("diff")
        assert ended.code == 1
        assert ended.err.startswith(f"pipeline: {history.root} is no git repository")
        assert ended.err.count("\n") == 1
    config.write_text(config.read_text().replace(settings, ""))
    history.git("init", "--quiet")
    ended = cli("diff")
    assert ended.code == 1
    assert "has no commit yet" in ended.err


def test_no_database_stays_open(history: History, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.13 on such a one is a warning, at a time of its own."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    history.improve()
    assert cli("diff").code == 0
    shutil.rmtree(history.root / ".git")
    assert cli("diff").code == 1
    assert opened
    for each in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("")


@pytest.mark.slow
def test_a_checkout_inside_a_repository(
    evaluated: Layout, cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "all" / "project"
    shutil.move(evaluated.root, inside)
    monkeypatch.chdir(inside)
    history = History(Layout(inside))
    shutil.move(inside / ".git", tmp_path / "all" / ".git")
    history.git("add", "--all", ".")
    history.git("commit", "--quiet", "--amend", "--message", "moved")
    history.improve()
    ended = cli("diff", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert only(ended.out)["verdict"] == "better"


def test_markdown_takes_no_orders_from_names(history: History, cli: Run) -> None:
    history.improve()
    history.edit("outputs/tiny/config.yaml", "text: nothing", "text: '<b>*a*|@b'")
    ended = cli("diff", "--markdown")
    assert (ended.code, ended.err) == (0, "")
    assert "| tiny | **better** |" in ended.out
    (line,) = [line for line in ended.out.splitlines() if line.startswith("- published.text: ")]
    assert not set("<>*|@") & set(line)
    assert "&#60;b&#62;" in line


def test_markdown_takes_no_orders_from_the_names_of_experiments() -> None:
    experiment = ExperimentChange("<b>|", reason="only b has it", configuration=(ValueChange("x", 1, 2),))
    text = "\n".join(markdown_lines(Changes(Side("a"), Side("b"), (experiment,))))
    assert "<b>" not in text
    assert text.count("&#60;b&#62;&#124;") == 2


@pytest.mark.slow
def test_seeds(history: History, cli: Run) -> None:
    history.edit("outputs/tiny/config.yaml", "learning_rate: 0.1", "learning_rate: 0.5")
    before = history.files()
    ended = cli("diff", "--seeds", "2", "--json")
    assert ended.code == 0, ended.err
    data = json.loads(ended.out)
    assert data["seeds"] == [0, 1]
    found = only(ended.out)
    assert found["configuration"] == [{"key": "optimizer.learning_rate", "first": 0.1, "second": 0.5}]
    rows = {row["name"]: row for row in found["metrics"]}
    assert set(rows) == {"accuracy", "cross_entropy", "expected_calibration_error"}
    assert rows["accuracy"]["method"] == "paired t test of the seeds' values"
    # The first of the two is the network of the commit, whose seed is 0, and another one.
    assert rows["accuracy"]["difference"] == rows["accuracy"]["second"] - rows["accuracy"]["first"]
    assert history.files() == before
    assert "Means over 2 trainings" in cli("diff", "--seeds", "2").out
    history.edit("outputs/tiny/config.yaml", "learning_rate: 0.5", "learning_rate: 0.1")
    assert "the same configuration" in only(cli("diff", "--seeds", "2", "--json").out)["reason"]
