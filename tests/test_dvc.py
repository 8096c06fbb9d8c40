"""The seam between DVC and Hydra, with the real `dvc` and `git` in a checkout of its own."""

import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENTS = ("tiny", "other")
OTHER = """\
# @package _global_
# The same with another optimizer: what is changed for the one must leave this alone.
defaults:
  - tiny
  - override /optimizer: momentum
  - _self_

name: other
"""
PARAMS = """\
# What is run.
source: official # or bundled

datasets: [tiny]

# One line each.
experiments:
  tiny: {dataset: tiny} # quick
  other: {dataset: tiny}
"""


class Checkout:
    """A clone with everything in place, and `dvc` and `git` to run in it."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.environment = dict(environment)

    def run(self, *command: str, code: int | None = 0) -> str:
        """What a command printed, on either stream; `code` None for whatever it ends with."""
        done = subprocess.run(  # noqa: S603  (dvc and git, in a checkout of its own)
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, code=code)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def repro(self, *arguments: str, code: int | None = 0) -> set[str]:
        """The stages that ran, and with a ~ those whose results DVC brought from its cache."""
        printed = self.dvc("repro", *arguments, code=code)
        return set(re.findall(r"Running stage '(.+?)'", printed)) | {
            f"~{name}" for name in re.findall(r"Stage '(.+?)' is cached", printed)
        }

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    def outputs(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.glob("outputs/**/*"))
            if path.is_file() and path.name != ".gitignore"
        }


def environment_in(folder: Path, mirror: Path) -> dict[str, str]:
    """Nothing of the user's: no configuration, no cache, no identity, no hooks."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, arguments in (("python", ""), ("dvc", "-m dvc")):
        if not (programs / name).exists():
            # A link to the interpreter would not find the packages of its environment.
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            (programs / name).chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "PYTEST_"))
    }
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder / "system"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.invalid",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.invalid",
        "PIPELINE_MIRROR": str(mirror),
        "PIPELINE_WORKERS": "1",
        # Beside the copied sources, where the next stage finds it.
        "PYTHONDONTWRITEBYTECODE": "",
    }


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
) -> Checkout:
    """Everything committed and reproduced once; made by the first worker that needs it."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent / "dvc" if "PYTEST_XDIST_WORKER" in os.environ else base / "dvc"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror = folder / "mirror"
        if not mirror.exists():
            shutil.copytree(tiny.raw, mirror)
        checkout = Checkout(folder / "checkout", environment_in(folder, mirror))
        if not (folder / "ready").exists():
            prepare(checkout, tiny)
            (folder / "ready").touch()
    return checkout


def stages(*names: str, experiments: tuple[str, ...] = EXPERIMENTS) -> set[str]:
    return {f"{name}@{experiment}" for name in names for experiment in experiments}


def all_but_pictures(checkout: Checkout) -> list[str]:
    """Targets that reproduce everything; pictures take most of the time; the page alone waits for them."""
    definitions = OmegaConf.load(checkout.root / "dvc.yaml")["stages"]
    single = {name for name, stage in definitions.items() if "foreach" not in stage}
    return sorted({*stages("evaluate"), *single} - {"report"})


def prepare(checkout: Checkout, tiny: Any) -> None:  # noqa: ANN401  (of conftest.py)
    root = checkout.root
    hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("conf", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=hidden)
    for name in (".dvcignore", ".gitignore", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    (root / "params.yaml").write_text(PARAMS)
    (root / "conf" / "dataset" / "tiny.yaml").write_text(tiny.definition)
    # Experiments of the fixtures for all tests, by their text.
    (root / "conf" / "experiment" / "tiny.yaml").write_text(tiny.experiment)
    (root / "conf" / "experiment" / "other.yaml").write_text(OTHER)
    checkout.git("init", "--quiet", "--initial-branch=main")
    checkout.dvc("init", "--quiet")
    for name in ("config", "plots.html"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    ran = checkout.repro(*all_but_pictures(checkout))
    assert ran == {
        "fetch@tiny",
        "parse@tiny",
        *stages("compose", "split", "train"),
        *all_but_pictures(checkout),
    }
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "all of it")


@pytest.fixture
def checkout(template: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the template: committed, reproduced, nothing to do."""
    shutil.copytree(template.root, tmp_path / "checkout", symlinks=True)
    return Checkout(
        tmp_path / "checkout", {**template.environment, "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    )


@pytest.mark.slow
def test_a_second_time_nothing_runs_and_nothing_is_left_to_commit(checkout: Checkout) -> None:
    before = checkout.outputs()
    assert checkout.repro(*all_but_pictures(checkout)) == set()
    assert checkout.outputs() == before
    assert checkout.git("status", "--porcelain") == ""
    # In git is what DVC does not keep, and nothing of what it does.
    kept = set(checkout.git("ls-files", "outputs").split())
    for name in ("config.yaml", "metrics.json", "per_part.csv", "history.csv"):
        assert {f"outputs/{experiment}/{name}" for experiment in EXPERIMENTS} <= kept
    assert not any(path.endswith(".pkl") for path in kept)
    assert not checkout.git("ls-files", "data", "runs")


@pytest.mark.slow
def test_every_experiment_is_in_the_table_of_metrics(checkout: Checkout) -> None:
    (revision,) = json.loads(checkout.dvc("metrics", "show", "--json")).values()
    assert set(revision["data"]) == {f"outputs/{experiment}/metrics.json" for experiment in EXPERIMENTS}
    for file in revision["data"].values():
        assert 0 <= file["data"]["test"] <= 1


@pytest.mark.slow
def test_an_edit_in_conf_runs_the_stages_whose_values_changed(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.edit("conf/optimizer/momentum.yaml", "momentum: 0.9", "momentum: 0.5")
    # One chain, when it is asked for.
    assert checkout.repro("train@other") == stages("compose", "train", experiments=("other",))
    # Now only a comment: both are composed anew, and but for what is due from before that is all.
    checkout.edit("conf/optimizer/momentum.yaml", "momentum: 0.5", "momentum: 0.5 # half")
    assert checkout.repro("evaluate@tiny", "evaluate@other") == {*stages("compose"), "evaluate@other"}
    after = checkout.outputs()
    changed = {path for path in before if before[path] != after[path]}
    assert {path.split("/")[1] for path in changed} == {"other", "results.d"}
    assert {path for path in changed if "results.d" in path} <= {
        "outputs/results.d",
        "outputs/results.d/other.json",
    }


@pytest.mark.slow
def test_pipeline_diff_tells_what_an_edit_did(checkout: Checkout) -> None:
    diff = (sys.executable, "-m", "pipeline", "diff")
    store = checkout.root.parent / "store"
    # Not in the commit that is read later.
    checkout.dvc("remote", "add", "--quiet", "--local", "--default", "store", str(store))
    checkout.dvc("push", "--quiet", *stages("split", "evaluate"))
    assert checkout.run(*diff).splitlines()[-1] == "2 identical"
    checkout.edit(
        "params.yaml", "tiny: {dataset: tiny}", "tiny: {dataset: tiny, optimizer: {learning_rate: 3.0}}"
    )
    # Nothing has been trained yet, and it says so.
    assert "! The workspace has changed since the outputs of tiny were made" in checkout.run(*diff)
    checkout.repro("evaluate@tiny", "evaluate@other")
    data = json.loads(checkout.run(*diff, "--json"))
    tiny, other = data["experiments"]
    assert (data["notes"], other["verdict"]) == ([], "identical")
    assert tiny["configuration"] == [{"key": "optimizer.learning_rate", "first": 0.1, "second": 3.0}]
    for side, revision in (("first", "HEAD"), ("second", "workspace")):
        shown = json.loads(checkout.dvc("metrics", "diff", "--all", "--json"))["outputs/tiny/metrics.json"]
        accuracy = shown["test"]["old" if revision == "HEAD" else "new"]
        assert tiny["metrics"][0][side] == accuracy
    # With the cache gone the commit's outputs come from a remote, and without that they are missed.
    checkout.git("commit", "--quiet", "--all", "--message", "another rate")
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    assert json.loads(checkout.run(*diff, "HEAD~1", "--json"))["experiments"] == data["experiments"]
    shutil.rmtree(store)
    shutil.rmtree(checkout.root / ".dvc" / "cache", ignore_errors=True)
    assert "Outputs of HEAD~1 are missing" in checkout.run(*diff, "HEAD~1")


@dataclass
class Mirror:
    """A server of the raw files: its folder, and the paths that it was asked for."""

    folder: Path
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def mirror(checkout: Checkout, tmp_path: Path) -> Iterator[Mirror]:
    """What the checkout fetches from, from now on."""
    mirror = Mirror(tmp_path / "mirror")
    shutil.copytree(checkout.environment["PIPELINE_MIRROR"], mirror.folder / "tiny")

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            mirror.asked.append(self.path)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    handler = functools.partial(Handler, directory=mirror.folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        checkout.environment["PIPELINE_MIRROR"] = f"http://127.0.0.1:{server.server_port}/"
        yield mirror
        server.shutdown()


def comment(checkout: Checkout, *paths: str) -> None:
    for path in paths:
        file = checkout.root / path
        file.write_text(file.read_text() + "# A comment.\n")


DEFINITION = "conf/dataset/tiny.yaml"
CODE_OF_FETCH = (
    "core/progress.py",
    "core/files/pickle_reader.py",
    "data/standins/drawing.py",
    "data/download/fetch.py",
    "stages/fetch.py",
)


@pytest.mark.slow
def test_an_edit_that_leaves_the_files_alone_fetches_nothing(checkout: Checkout, mirror: Mirror) -> None:
    folder = checkout.root / "data" / "raw" / "official" / "tiny"

    def files() -> dict[str, tuple[int, int]]:
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}

    before = files()
    assert len(before) == 4
    # To DVC these change no parameter of either stage.
    comment(checkout, DEFINITION)
    checkout.edit(DEFINITION, "citation: nobody (2000)", "citation: somebody (2000)")
    checkout.edit(DEFINITION, "title: a few drawn digits", "title: some drawn digits")
    assert checkout.repro("parse@tiny") == set()
    checkout.edit(DEFINITION, "title: a few digits", "title: some digits")
    both = {"fetch@tiny", "parse@tiny"}
    assert checkout.repro("parse@tiny") == both
    comment(checkout, *(f"pipeline/{name}" for name in CODE_OF_FETCH))
    assert "fetch@tiny" in checkout.repro("parse@tiny")
    # Where the files would come from does not matter while they are here.
    checkout.edit(DEFINITION, "https://mirror.invalid/", "https://other.invalid/")
    assert checkout.repro("parse@tiny") == both
    assert checkout.repro("--force", "--single-item", "fetch@tiny") == {"fetch@tiny"}
    assert files() == before
    assert mirror.asked == []


@pytest.mark.slow
def test_only_what_has_another_name_or_checksum_is_fetched(checkout: Checkout, mirror: Mirror) -> None:
    folder = checkout.root / "data" / "raw" / "official" / "tiny"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    definition = OmegaConf.load(checkout.root / DEFINITION)
    labels = definition.sources.official.files.test_labels
    (mirror.folder / "tiny" / labels.name).rename(mirror.folder / "tiny" / "labels")
    expected = {**before, "labels": before[labels.name]}
    del expected[labels.name]
    labels.name = "labels"
    OmegaConf.save(definition, checkout.root / DEFINITION)
    assert "fetch@tiny" in checkout.repro("parse@tiny")
    assert mirror.asked == ["/tiny/labels"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    # Another content.
    other = before["train-labels-idx1-ubyte"]
    (mirror.folder / "tiny" / "labels").write_bytes(other)
    labels.bytes, labels.sha256 = len(other), hashlib.sha256(other).hexdigest()
    OmegaConf.save(definition, checkout.root / DEFINITION)
    assert checkout.repro("fetch@tiny") == {"fetch@tiny"}
    assert mirror.asked == ["/tiny/labels"] * 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**expected, "labels": other}
    # The folder's hash is that of a checkout that never knew the old name.
    lock = (checkout.root / "dvc.lock").read_bytes()
    shutil.rmtree(folder)
    assert checkout.repro("--force", "--single-item", "fetch@tiny") == {"fetch@tiny"}
    assert len(mirror.asked) == 2 + 4
    assert (checkout.root / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
def test_what_the_cache_has_is_not_fetched_again(checkout: Checkout, mirror: Mirror) -> None:
    """An output that persists has no run cache; DVC's cache of files is asked by `dvc checkout` alone."""
    shutil.rmtree(checkout.root / "data")
    checkout.dvc("checkout", "fetch@tiny", "parse@tiny")
    assert checkout.repro("evaluate@tiny") == set()
    # Elsewhere DVC does so itself.
    comment(checkout, "pipeline/stages/fetch.py")
    checkout.git("commit", "--all", "--quiet", "--message", "a comment")
    printed = checkout.dvc("exp", "run", "--temp", "fetch@tiny")
    assert "Running stage 'fetch@tiny'" in printed
    assert mirror.asked == []
    # Without it the files come from where they came from.
    shutil.rmtree(checkout.root / "data" / "raw")
    assert checkout.repro("fetch@tiny") == {"fetch@tiny"}
    assert len(mirror.asked) == 4


@pytest.mark.slow
def test_an_experiment_from_the_command_line(checkout: Checkout) -> None:
    """params.yaml keeps its comments, only that experiment runs, and what differs is shown."""
    before = (checkout.root / "params.yaml").read_text()
    printed = checkout.dvc(
        "exp", "run", "-S", "++experiments.tiny.optimizer.learning_rate=0.2", "evaluate@tiny"
    )
    ran = set(re.findall(r"Running stage '(.+?)'", printed))
    assert ran == stages("compose", "train", "evaluate", experiments=("tiny",))
    after = (checkout.root / "params.yaml").read_text()
    assert re.findall(r"#.*", after) == re.findall(r"#.*", before)
    assert OmegaConf.create(after).experiments.tiny.optimizer.learning_rate == 0.2
    assert json.loads(checkout.dvc("params", "diff", "--json")) == {
        "outputs/tiny/config.yaml": {"optimizer.learning_rate": {"old": 0.1, "new": 0.2, "diff": 0.1}},
        "params.yaml": {"experiments.tiny.optimizer.learning_rate": {"old": None, "new": 0.2}},
    }
    metrics = json.loads(checkout.dvc("metrics", "diff", "--json"))
    assert set(metrics) == {"outputs/tiny/metrics.json"}
    assert metrics["outputs/tiny/metrics.json"]["loss"]["diff"] != 0
    # Nothing is composed behind the user's back: the change stays, until it is taken back.
    assert "outputs/other" not in checkout.git("status", "--porcelain")


@pytest.mark.slow
def test_the_plots_of_two_commits(checkout: Checkout) -> None:
    """The page says of itself what it needs the network for; pictures lie beside it, and fit."""
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: tiny, seed: 1} #")
    assert "plot@tiny" in checkout.repro("plot@tiny")
    checkout.dvc(
        "plots", "diff", "HEAD", "workspace", "--targets", "outputs/tiny/history.csv", "outputs/tiny/plots"
    )
    page = (checkout.root / "dvc_plots" / "index.html").read_text()
    assert "take their scripts from the network" in page
    assert re.search(r"img \{ max-width: calc\(50vw", page)
    assert not re.search(r"\{(scripts|plot_divs|refresh_tag)\}", page)
    assert "outputs_tiny_history_csv" in page or "history.csv" in page
    pictures = re.findall(r'<img src="(static/[^"]+_training_curves\.png)"', page)
    assert pictures
    assert all((checkout.root / "dvc_plots" / name).is_file() for name in pictures)
    # Nothing of it is to be committed.
    assert "dvc_plots" not in checkout.git("status", "--porcelain")


@pytest.mark.slow
def test_an_experiment_that_fails_does_not_stop_the_others(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: tiny, seed: -1} #")
    checkout.edit("conf/optimizer/momentum.yaml", "momentum: 0.9", "momentum: 0.5")
    printed = checkout.dvc("repro", "--keep-going", "evaluate@tiny", "evaluate@other", code=None)
    assert "pipeline: seed=-1: expected 0 <= seed < 2**32\n" in printed
    assert "Traceback" not in printed
    ran = set(re.findall(r"Running stage '(.+?)'", printed))
    assert stages("compose", "train", "evaluate", experiments=("other",)) <= ran
    assert not stages("train", "evaluate", experiments=("tiny",)) & ran
    # Of the failed one the results of before are still there (its configuration DVC took away first).
    assert checkout.git("status", "--porcelain", "outputs/tiny") == " D outputs/tiny/config.yaml\n"


@pytest.mark.slow
def test_an_experiment_is_removed_and_brought_back_by_its_line(checkout: Checkout) -> None:
    before = checkout.outputs()
    params = (checkout.root / "params.yaml").read_text()
    line = next(line for line in params.splitlines(keepends=True) if line.startswith("  other: "))
    checkout.edit("params.yaml", line, "")
    assert checkout.repro("results") == {"results"}
    summaries = checkout.root / "outputs" / "results.d"
    assert [path.name for path in summaries.glob("*.json")] == ["tiny.json"]
    assert "other" not in (checkout.root / "outputs" / "results.md").read_text()
    assert checkout.repro("results") == set()
    (checkout.root / "params.yaml").write_text(params)
    ran = checkout.repro("results")
    assert {stage.removeprefix("~") for stage in ran} == {"evaluate@other", "results"}
    assert checkout.outputs() == before


@pytest.mark.slow
def test_a_data_set_that_is_not_among_those_to_parse_is_told_in_a_line(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: mnist} #")
    printed = checkout.dvc("repro", "results", code=None)
    assert (
        "params.yaml: experiments.tiny.dataset: mnist is not among `datasets` (tiny): add it there\n"
        in printed
    )
    assert "Errno 2" not in printed
    assert "Running stage 'split" not in printed


def edit_while_running(checkout: Checkout, stage: str, path: str) -> None:
    """Let a stage of this checkout change `path` in the middle of its work."""
    module = checkout.root / "pipeline" / "stages" / f"{stage}.py"
    module.write_text(
        module.read_text()
        + "\n\n_unhurried = run\n\n\ndef run(context):  # noqa: ANN001, ANN201, D103, F811\n"
        "    _unhurried(context)\n"
        f"    path = context.layout.root / {path!r}\n"
        "    if (context.layout.root / 'edit').exists():\n"
        "        path.write_bytes(path.read_bytes() + b'# edited\\n')\n"
    )
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "a slow stage")
    (checkout.root / "edit").touch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("split", "outputs/tiny/config.yaml"),
        pytest.param("split", "pipeline/data/splitting.py", marks=pytest.mark.slow),
        pytest.param("split", "data/parsed/official/tiny/train/labels.npy", marks=pytest.mark.slow),
        pytest.param("compose", "conf/optimizer/sgd.yaml", marks=pytest.mark.slow),
        pytest.param("compose", "params.yaml", marks=pytest.mark.slow),
        pytest.param("parse", "conf/dataset/tiny.yaml", marks=pytest.mark.slow),
    ],
    ids=["config", "code", "data", "conf", "params", "dataset"],
)
def test_what_is_edited_while_its_stage_runs_is_not_recorded(
    checkout: Checkout, stage: str, path: str
) -> None:
    name = f"{stage}@tiny"
    edit_while_running(checkout, stage, path)
    lock = (checkout.root / "dvc.lock").read_bytes()
    printed = checkout.dvc("repro", "--single-item", name, code=None)
    assert f"pipeline: {path} changed while {name} ran; nothing was recorded.\n" in printed
    assert "run `dvc repro` again" in printed
    assert f"failed to reproduce '{name}'" in printed
    assert (checkout.root / "dvc.lock").read_bytes() == lock
    # Not so without the guard: this is what DVC records of such a stage.
    (checkout.root / "edit").unlink()
    assert name in json.loads(checkout.dvc("status", "--json", name))
    if not path.endswith(".npy"):  # which the edit has damaged
        # The same command again does it, with what is there now.
        assert checkout.repro("--single-item", name) == {name}
        assert checkout.repro("--single-item", name) == set()


def edit_in_the_gap(checkout: Checkout, stage: str, path: str, old: str, new: str) -> None:
    """Let the next run of a stage be followed by an edit, before DVC hashes what it depends on."""
    script = checkout.root.parent / "edit.py"
    script.write_text(
        "from pathlib import Path\n"
        f"path = Path({path!r})\n"
        f"path.write_text(path.read_text().replace({old!r}, {new!r}, 1))\n"
    )
    definition = checkout.root / "dvc.yaml"
    command = f"cmd: python -m pipeline {stage} ${{{'item' if stage == 'fetch' else 'key'}}}"
    command += " --source ${source}" if stage == "fetch" else ""
    checkout.edit("dvc.yaml", f"{command}\n", f"{command} && python {script}\n")
    assert definition.read_text().count(str(script)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "path", "old", "new", "named", "following"),
    [
        pytest.param(
            "evaluate",
            "pipeline/report/metrics.py",
            '"""',
            '# edited\n"""',
            "pipeline/report/metrics.py",
            "plot",
        ),
        (
            "fetch",
            "conf/dataset/tiny.yaml",
            "title: a few digits",
            "title: other digits",
            "sources.official in conf/dataset/tiny.yaml",
            "parse",
        ),
        pytest.param(
            "compose",
            "pipeline/search/space.py",
            '"""',
            '# edited\n"""',
            "pipeline/search",
            "split",
        ),
    ],
    ids=["evaluate-metrics", "fetch-definition", "compose-search"],
)
def test_what_is_edited_between_a_stage_and_its_recording_is_found(
    checkout: Checkout, stage: str, path: str, old: str, new: str, named: str, following: str
) -> None:
    """DVC alone calls it up to date; those who look next do not, until it has run again."""
    name = f"{stage}@tiny"
    edit_in_the_gap(checkout, stage, path, old, new)
    assert checkout.repro("--single-item", name) == {name}
    assert new in (checkout.root / path).read_text()
    assert name not in json.loads(checkout.dvc("status", "--json", name))
    said = (
        f"dvc.lock: {named} was edited after {name} had run and before DVC recorded it, so its results are"
        f" of the former contents; run: dvc repro --force --single-item {name}\n"
    )
    printed = checkout.dvc("repro", "--force", "--single-item", f"{following}@tiny", code=None)
    assert f"pipeline: {said}" in printed
    assert f"failed to reproduce '{following}@tiny'" in printed
    printed = checkout.run(sys.executable, "-m", "pipeline", "verify", code=1)
    assert printed == f"pipeline: {said}"
    (checkout.root.parent / "edit.py").write_text("")
    checkout.dvc("repro", "--force", "--single-item", name)
    printed = checkout.dvc("repro", "--force", "--single-item", f"{following}@tiny")
    assert "was edited" not in printed


@pytest.mark.slow
def test_what_a_killed_process_leaves_behind_is_in_no_hash(checkout: Checkout) -> None:
    lock = (checkout.root / "dvc.lock").read_bytes()
    for path in (
        "data/raw/official/tiny/.train-labels-idx1-ubyte.0123456789ab.tmp",
        "data/parsed/official/tiny/train/.labels.npy.0123456789ab.tmp",
        "data/parsed/official/tiny/labels.npy.part",
        "conf/.config.yaml.0123456789ab.tmp",
        "outputs/tiny/.parameters.pkl.0123456789ab.tmp",
        # And editors.
        "conf/config.yaml~",
        "conf/.config.yaml.swp",
        "pipeline/nn/.network.py.swo",
        "pipeline/nn/#network.py#",
    ):
        (checkout.root / path).write_bytes(b"half of it")
    (checkout.root / "pipeline/nn/.#network.py").symlink_to("nobody@nowhere.1")
    assert checkout.repro(*all_but_pictures(checkout)) == set()
    # Not even where the hashes are asked for anew.
    checkout.dvc("commit", "--force", "fetch@tiny", "parse@tiny", "compose@tiny", "train@tiny")
    assert (checkout.root / "dvc.lock").read_bytes() == lock
    assert checkout.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_fresh_clone_gives_the_same_hashes(checkout: Checkout, tmp_path: Path) -> None:
    clone = Checkout(tmp_path / "clone", checkout.environment)
    checkout.run("git", "clone", "--quiet", str(checkout.root), str(clone.root))
    ran = clone.repro(*all_but_pictures(clone))
    assert {"fetch@tiny", "parse@tiny", *stages("train", "evaluate")} <= ran
    assert clone.git("status", "--porcelain") == ""
    assert (clone.root / "dvc.lock").read_bytes() == (checkout.root / "dvc.lock").read_bytes()
    # The pictures too, twice: the same bytes.
    assert clone.repro() == {*stages("plot"), "report"}
    assert checkout.repro() == {*stages("plot"), "report"}
    assert clone.git("status", "--porcelain") == checkout.git("status", "--porcelain") == " M dvc.lock\n"
    assert (clone.root / "dvc.lock").read_bytes() == (checkout.root / "dvc.lock").read_bytes()
    assert clone.repro() == set()


@pytest.mark.slow
def test_side_by_side_gives_the_same_lock_file(checkout: Checkout, tmp_path: Path) -> None:
    clone = Checkout(tmp_path / "clone", checkout.environment)
    checkout.run("git", "clone", "--quiet", str(checkout.root), str(clone.root))
    command = (sys.executable, "-m", "pipeline", "repro", "--jobs", "3")
    printed = clone.run(*command, *all_but_pictures(clone))
    assert "tiny | Running stage 'train@tiny'" in printed
    assert clone.git("status", "--porcelain") == ""
    assert (clone.root / "dvc.lock").read_bytes() == (checkout.root / "dvc.lock").read_bytes()
    # Without one from before, and with the pictures.
    (clone.root / "dvc.lock").unlink()
    clone.run(*command)
    (checkout.root / "dvc.lock").unlink()
    checkout.repro()
    assert (clone.root / "dvc.lock").read_bytes() == (checkout.root / "dvc.lock").read_bytes()


@pytest.mark.slow
def test_side_by_side_a_failure_is_named(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: tiny, seed: -1} #")
    printed = checkout.run(sys.executable, "-m", "pipeline", "repro", "--jobs", "2", code=1)
    assert "| pipeline: seed=-1: expected 0 <= seed < 2**32\n" in printed
    assert "pipeline: compose@tiny failed (see above)" in printed
    assert "Running stage 'results'" not in printed


@pytest.mark.slow
def test_an_edit_of_code_runs_the_stages_that_import_it(checkout: Checkout) -> None:
    path = checkout.root / "pipeline" / "stages" / "train" / "stage.py"
    path.write_text(path.read_text() + "# A comment.\n")
    # The same parameters come out, so nothing after it runs.
    assert checkout.repro("evaluate@tiny") == stages("train", experiments=("tiny",))
    path = checkout.root / "pipeline" / "__main__.py"
    path.write_text(path.read_text() + "# A comment.\n")
    assert checkout.repro("evaluate@tiny") == set()


@pytest.mark.slow
def test_taking_a_change_back_computes_nothing(checkout: Checkout) -> None:
    """The results of before come from DVC's run cache."""
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: tiny, seed: 1} #")
    expected = stages("compose", "train", "evaluate", experiments=("tiny",))
    assert expected <= checkout.repro("evaluate@tiny")
    checkout.git("checkout", "--quiet", "params.yaml")
    assert not stages("split", "train", "evaluate") & checkout.repro("evaluate@tiny")
    assert checkout.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_without_git(checkout: Checkout) -> None:
    """As from a downloaded archive."""
    shutil.rmtree(checkout.root / ".git")
    checkout.dvc("config", "--local", "core.no_scm", "true")
    assert checkout.repro("evaluate@tiny") == set()
    assert "test" in checkout.dvc("metrics", "show").splitlines()[0].split()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_hashes(
    checkout: Checkout, tmp_path: Path
) -> None:
    clone = Checkout(tmp_path / "clone", checkout.environment)
    checkout.run("git", "clone", "--quiet", str(checkout.root), str(clone.root))
    targets = all_but_pictures(clone)
    chance = random.Random(0)  # noqa: S311  (moments to kill at)
    # The whole run as Ctrl-C and a power cut end it, and DVC alone, whose stage runs on.
    ends = [(os.killpg, signal.SIGINT), (os.killpg, signal.SIGKILL), (os.kill, signal.SIGKILL)]
    for send, number in ends * 3:
        run = subprocess.Popen(  # noqa: S603  (dvc, in a checkout of its own)
            [sys.executable, "-m", "dvc", "repro", *targets],
            cwd=clone.root,
            env=clone.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(1, 8))
        send(run.pid, number)
        run.wait(timeout=600)
    clone.dvc("repro", *targets)
    assert (clone.root / "dvc.lock").read_bytes() == (checkout.root / "dvc.lock").read_bytes()
    assert clone.git("status", "--porcelain") == ""
    assert {
        name: data for name, data in clone.outputs().items() if not name.endswith(".tmp")
    } == checkout.outputs()
    assert clone.repro(*targets) == set()


# Remotes


@dataclass
class Storage:
    """Where a remote keeps its objects, seen past DVC's back."""

    url: str
    options: dict[str, str] = field(default_factory=dict)
    address: str = ""

    def ask(self, method: str, name: str, data: bytes | None = None) -> bytes:
        # The server wants a signature, and takes any.
        headers = {"Authorization": "AWS a:b"}
        answer = requests.request(method, f"{self.address}/{name}", data=data, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.content

    def read(self, name: str) -> bytes:
        return self.ask("GET", name) if self.address else (Path(self.url) / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Leave everything about the object as it was, but for its bytes."""
        if self.address:
            self.ask("PUT", name, data)
            return
        path = Path(self.url) / name
        before = path.stat()
        path.chmod(0o644)
        path.write_bytes(data)
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def remove(self, name: str) -> None:
        if self.address:
            self.ask("DELETE", name)
        else:
            (Path(self.url) / name).unlink()


SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def s3() -> Iterator[Storage]:
    """A bucket of a real server that speaks S3, on loopback."""
    for package in ("dvc_s3", "moto", "flask"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install -e '.[s3,service]'")
    with subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        requests.put(f"{address}/outputs", timeout=60).raise_for_status()
        yield Storage("s3://outputs/of/this", {"endpointurl": address}, f"{address}/outputs/of/this")
        server.stdin.close()


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return request.getfixturevalue("s3") if request.param == "s3" else Storage(str(tmp_path / "storage"))


every_storage = pytest.mark.parametrize(
    "storage",
    ["folder", pytest.param("s3", marks=pytest.mark.service)],
    indirect=True,
)


def set_up_remote(checkout: Checkout, storage: Storage) -> None:
    """As the README says, and commit it."""
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*.lock")):
        shutil.copy(path, checkout.root)
    # The environment is there already.
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / ".ready").touch()
    checkout.run("make", "remote", f"URL={storage.url}")
    for name, value in storage.options.items():
        checkout.dvc("remote", "modify", "storage", name, value)
    # The pictures have not been drawn, and so cannot be pulled.
    definition = OmegaConf.load(checkout.root / "dvc.yaml")
    del definition.stages["plot"], definition.stages["report"]
    OmegaConf.save(definition, checkout.root / "dvc.yaml")
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "a remote")


@pytest.fixture
def clone(checkout: Checkout, tmp_path: Path) -> Callable[[str], Checkout]:
    """Makes a fresh clone that has never seen the remote."""

    def make(name: str) -> Checkout:
        site = {"DVC_SITE_CACHE_DIR": str(tmp_path / f"site of {name}"), "AWS_ACCESS_KEY_ID": "a"}
        made = Checkout(tmp_path / name, {**checkout.environment, **site, "AWS_SECRET_ACCESS_KEY": "b"})
        checkout.run("git", "clone", "--quiet", str(checkout.root), str(made.root))
        return made

    checkout.environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return make


def in_storage(checkout: Checkout, path: str) -> str:
    """The name under which a remote has the object of an output."""
    for stage in OmegaConf.load(checkout.root / "dvc.lock").stages.values():
        for out in stage.outs:
            if out.path == path:
                return f"files/md5/{out.md5[:2]}/{out.md5[2:]}"
    raise AssertionError(path)


@pytest.mark.slow
def test_the_documented_remote_checks_what_it_brings(checkout: Checkout, tmp_path: Path) -> None:
    """Without `verify` DVC takes garbage of the right size; so there is one recipe, and it sets it."""
    set_up_remote(checkout, Storage(str(tmp_path / "storage")))
    listed = checkout.dvc("config", "--list").split()
    assert {"remote.storage.verify=true", "core.remote=storage"} <= set(listed)
    # A second time, to another place.
    checkout.run("make", "remote", "URL=s3://bucket/folder")
    listed = checkout.dvc("config", "--list").split()
    assert {"remote.storage.verify=true", "remote.storage.url=s3://bucket/folder"} <= set(listed)
    assert "make remote URL=/media/storage" in checkout.run("make", "remote", code=2)
    for document in ROOT.glob("*.md"):
        assert "dvc remote add" not in document.read_text(), document


@pytest.mark.slow
@every_storage
def test_push_clone_pull_and_nothing_is_left_to_run(
    checkout: Checkout, clone: Callable[[str], Checkout], storage: Storage
) -> None:
    set_up_remote(checkout, storage)
    assert re.search(r"\b[1-9][0-9]* files pushed", checkout.dvc("push"))
    assert "Everything is up to date." in checkout.dvc("push")
    fresh = clone("fresh")
    assert not (fresh.root / "outputs" / "tiny" / "parameters.pkl").exists()
    fresh.dvc("pull")
    assert fresh.outputs() == checkout.outputs()
    assert "Data and pipelines are up to date." in fresh.dvc("repro")
    assert fresh.git("status", "--porcelain") == ""
    assert "objects are as they should be" in fresh.run("python", "-m", "pipeline", "check-remote")


@pytest.mark.slow
@every_storage
def test_what_is_damaged_on_a_remote_is_found_told_and_repaired(
    checkout: Checkout, clone: Callable[[str], Checkout], storage: Storage
) -> None:
    set_up_remote(checkout, storage)
    checkout.dvc("push")
    folder = "data/parsed/official/tiny"
    garbage, truncated, missing = (
        in_storage(checkout, f"outputs/tiny/{name}")
        for name in ("parameters.pkl", "probabilities.npz", "steps.csv")
    )
    listed = json.loads(storage.read(in_storage(checkout, folder)))
    (labels,) = (entry["md5"] for entry in listed if entry["relpath"] == "train/labels.npy")
    right = storage.read(garbage)
    for name in (garbage, f"files/md5/{labels[:2]}/{labels[2:]}"):
        data = bytearray(storage.read(name))
        data[-1] ^= 255
        storage.write(name, bytes(data))
    storage.write(truncated, storage.read(truncated)[:-1])
    storage.remove(missing)
    fresh = clone("fresh")
    printed = fresh.dvc("pull", code=1)
    _, _, failed = printed.partition("Checkout failed for following targets:\n")
    damaged = {
        folder,
        *(f"outputs/tiny/{name}" for name in ("parameters.pkl", "probabilities.npz", "steps.csv")),
    }
    assert set(failed.partition("\nIs your cache")[0].split()) == damaged
    # Nothing wrong has been taken over, and what is missing is made again.
    assert not (fresh.root / "outputs" / "tiny" / "parameters.pkl").exists()
    assert fresh.repro() == {"parse@tiny", *stages("train", "evaluate", experiments=("tiny",))}
    assert fresh.outputs() == checkout.outputs()
    assert fresh.git("status", "--porcelain") == ""
    # Pushing alone would not replace what is there under the right name.
    fresh.dvc("push")
    assert storage.read(garbage) != right
    found = fresh.run("python", "-m", "pipeline", "check-remote", code=1)
    told = dict(re.findall(r"^(\S+): [0-9a-f]{32}(?:\.dir)? is (damaged|missing)", found, re.MULTILINE))
    assert told["outputs/tiny/parameters.pkl"] == told["outputs/tiny/probabilities.npz"] == "damaged"
    assert told[f"{folder}/train/labels.npy"] == "damaged"
    assert "Traceback" not in found
    fresh.run("python", "-m", "pipeline", "check-remote", "--repair")
    assert fresh.repro() == set()
    fresh.dvc("push")
    assert storage.read(garbage) == right
    last = clone("last")
    last.dvc("pull")
    assert last.outputs() == checkout.outputs()
    assert last.repro() == set()
    assert "objects are as they should be" in last.run("python", "-m", "pipeline", "check-remote")


@pytest.mark.slow
def test_a_remote_out_of_reach_does_not_keep_anything_from_running(checkout: Checkout) -> None:
    set_up_remote(
        checkout, Storage("http://127.0.0.1:9/storage")
    )  # the port of discard, where nobody listens
    checkout.edit("params.yaml", "tiny: {dataset: tiny} #", "tiny: {dataset: tiny, seed: 1} #")
    assert stages("compose", "train", experiments=("tiny",)) <= checkout.repro("train@tiny")
    for command in (["dvc", "push"], ["python", "-m", "pipeline", "check-remote"]):
        printed = checkout.run(*command, code=None)
        assert "Traceback" not in printed
        assert re.search("cannot read the remote|ERROR", printed)


@pytest.mark.slow
def test_a_remote_that_is_not_there_is_one_line(checkout: Checkout) -> None:
    printed = checkout.run("python", "-m", "pipeline", "check-remote", code=2)
    assert "To set one up: make remote URL=/media/storage\n" in printed
    assert "Traceback" not in printed


# verify: pictures are left out, as above


VERIFY = ("python", "-m", "pipeline", "verify", "--stage", "evaluate", "--stage", "results")


@pytest.fixture
def temporary(checkout: Checkout, tmp_path: Path) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    checkout.environment["TMPDIR"] = str(folder)
    return folder


@pytest.mark.slow
def test_a_run_from_nothing_gives_what_is_committed(
    checkout: Checkout, temporary: Path, tmp_path: Path
) -> None:
    """From a shallow clone with uncommitted changes, whatever tier and cache the environment names."""
    cache = str(checkout.root / ".dvc" / "cache")
    environment = {**checkout.environment, "PIPELINE_RUNTIME": "native", "DVC_CACHE_DIR": cache}
    shallow = Checkout(tmp_path / "shallow", environment)
    checkout.run("git", "clone", "--quiet", "--depth=1", checkout.root.as_uri(), str(shallow.root))
    shallow.edit("conf/optimizer/momentum.yaml", "momentum: 0.9", "momentum: 0.5")
    printed = shallow.run(*VERIFY)
    assert "uncommitted changes are not part of it: 1 file, see git status\n" in printed
    assert re.search(r"^(\d+) of \1 outputs identical \(", printed, re.MULTILINE)
    for experiment in EXPERIMENTS:
        assert re.search(
            rf"^train@{experiment} +outputs/{experiment}/parameters.pkl +same$", printed, re.MULTILINE
        )
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_run_from_nothing_where_paths_look_like_something_else(template: Checkout, tmp_path: Path) -> None:
    """Like references to Hydra, lists, comments and the end of a line to whoever reads a path as text."""
    root, temporary = tmp_path / "a${oc.env:HOME},#b\nc", tmp_path / "t${seed},#b\nc"
    shutil.copytree(template.root, root, symlinks=True)
    temporary.mkdir()
    environment = {"DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "TMPDIR": str(temporary)}
    checkout = Checkout(root, {**template.environment, **environment})
    printed = checkout.run(*VERIFY[:4], "--stage", "train@tiny")
    assert re.search(r"^(\d+) of \1 outputs identical \(", printed, re.MULTILINE)
    assert list(temporary.iterdir()) == []
    assert checkout.git("status", "--porcelain") == ""
    assert {path.name for path in tmp_path.iterdir()} <= {root.name, temporary.name, "site"}


@pytest.mark.slow
def test_another_result_is_named_by_its_stage_and_largest_difference(
    checkout: Checkout, temporary: Path
) -> None:
    stage = checkout.root / "pipeline" / "stages" / "train" / "stage.py"
    text = stage.read_text()
    assert text.count("write_parameters(results.parameters, ") == 1
    stage.write_text(
        text.replace("write_parameters(results.parameters, ", "_shift_and_write(results.parameters, ")
        + "\n\ndef _shift_and_write(path, parameters):\n"
        "    parameters['b1'][3] += 0.5\n"
        "    write_parameters(path, parameters)\n"
    )
    checkout.git("commit", "--quiet", "--all", "--message", "something else")
    printed = checkout.run(*VERIFY, "--stage", "train@tiny", code=1)
    assert re.search(r"^split@tiny +outputs/tiny/split.npz +same$", printed, re.MULTILINE)
    assert re.search(r"^train@tiny +outputs/tiny/parameters.pkl +DIFFERENT$", printed, re.MULTILINE)
    assert re.search(r"^train@tiny +outputs/tiny/history.csv +same$", printed, re.MULTILINE)
    assert re.search(
        r"pipeline: train@\w+ is the first stage with another result than the committed", printed
    )
    how = (
        r"/parameters.pkl: b1\[3\]: committed .+, found .+, the largest difference: 0.5; 1 of [0-9,]+ numbers"
    )
    assert re.search(how, printed)
    assert re.search(r"saw other contents of pipeline/stages/train\b", printed)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_tampered_output_is_found(checkout: Checkout, temporary: Path) -> None:
    metrics = checkout.root / "outputs" / "other" / "metrics.json"
    accuracy = json.loads(metrics.read_text())["test"]
    checkout.edit("outputs/other/metrics.json", f'"test": {accuracy}', '"test": 1.0')
    checkout.git("commit", "--quiet", "--all", "--message", "better")
    printed = checkout.run("python", "-m", "pipeline", "verify", "--stage", "evaluate@other", code=1)
    assert "pipeline: evaluate@other is the first stage with another result" in printed
    assert f"as dvc.lock says, but not as in git: test: committed 1.0, found {accuracy}" in printed
    assert printed.count("DIFFERENT") == 1
    assert list(temporary.iterdir()) == []
