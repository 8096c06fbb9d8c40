"""verify: what it says of a run from nothing, which is stood in for here; tests/test_dvc.py has real ones."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.commands import verify
from pipeline.config.build import with_values
from pipeline.config.compose import to_yaml
from pipeline.config.schema import Config, Preprocess
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.files.arrays import write_arrays
from pipeline.core.files.atomic import write_text
from pipeline.core.files.tables import write_csv, write_json
from pipeline.core.lockfile import file_hash, folder_hash
from pipeline.core.paths import Layout
from pipeline.nn.preprocessing import PREPROCESSORS, learn
from pipeline.repro import clone as rerun
from pipeline.repro import committed
from tests.shared import git, interrupt_what_starts

Run = Callable[..., Any]

STAGES = ["compose@tiny", "train@tiny", "evaluate@tiny", "results"]
METRICS = {"test": {"accuracy": 0.5, "loss": 1.25}}


def lock_of(root: Path, stages: Collection[str], code: str = "aa") -> str:
    """A dvc.lock of these stages with the hashes of the files that are there."""
    made = {
        "compose@tiny": ("", "config.yaml"),
        "train@tiny": ("config.yaml", "weights.npz plots"),
        "evaluate@tiny": ("weights.npz", "metrics.json"),
        "results": ("metrics.json", "table.csv"),
    }

    def entry(name: str) -> str:
        path = root / "outputs" / "tiny" / name
        known = committed.folder_hashes(path)
        found = folder_hash(known) if path.is_dir() else file_hash(path)
        return f"    - path: outputs/tiny/{name}\n      hash: md5\n      md5: {found}\n"

    text = "schema: '2.0'\nstages:\n"
    for stage in stages:
        inputs, outputs = made[stage]
        text += (
            f"  {stage}:\n    cmd: run {stage}\n    deps:\n    - path: pipeline/code.py\n      md5: {code}\n"
        )
        text += "".join(map(entry, inputs.split())) + "    outs:\n" + "".join(map(entry, outputs.split()))
    return text


class Repository:
    """A small repository with everything committed, and a run of it that a test can tamper with."""

    def __init__(self, layout: Layout, config: Config) -> None:
        self.layout = layout
        self.config = config
        self.code = "aa"
        self.asked: Sequence[str] = ()
        self.ran: Sequence[str] = STAGES
        self.tamper: Callable[[Path], None] = lambda _: None
        self.make(layout.root)
        write_text(layout.root / "dvc.lock", lock_of(layout.root, STAGES))
        write_text(layout.root / ".gitignore", "weights.npz\nplots\n")
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> None:
        git(self.layout.root, *arguments)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def make(self, root: Path) -> None:
        folder = root / "outputs" / "tiny"
        write_text(folder / "config.yaml", to_yaml(self.config))
        write_arrays(folder / "weights.npz", W1=np.arange(6.0).reshape(2, 3))
        write_text(folder / "plots" / "loss.png", "not really")
        write_text(folder / "plots" / "more.png", "not really")
        write_json(folder / "metrics.json", METRICS)
        write_csv(folder / "table.csv", ("name", "loss"), [("tiny", 1.25)])

    def reproduce(
        self,
        clone: rerun.Clone,
        made: Collection[str],
        targets: Sequence[str],
        started: Callable[[str], None],
    ) -> list[str]:
        assert "outputs/tiny/weights.npz" in made
        self.asked = targets
        for stage in self.ran:
            started(stage)
        self.make(clone.root)
        self.tamper(clone.root / "outputs" / "tiny")
        write_text(clone.root / "dvc.lock", lock_of(clone.root, self.ran, self.code))
        return list(self.ran)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def repository(
    checkout: Layout, configs: dict[str, Config], monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> Repository:
    del temporary
    repository = Repository(checkout, configs["tiny"])
    monkeypatch.setattr(rerun, "reproduce", repository.reproduce)
    monkeypatch.setattr(rerun.Clone, "stages", lambda _: STAGES)
    monkeypatch.setattr(rerun.Clone, "doubts", lambda *_: [])
    # Asking DVC takes a second.
    monkeypatch.setattr(committed.Committed, "_cached", lambda *_: None)
    return repository


def test_the_same_everywhere(repository: Repository, cli: Run, temporary: Path) -> None:
    ended = cli("verify")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["stage", "output"],
        ["compose@tiny", "outputs/tiny/config.yaml", "same"],
        ["train@tiny", "outputs/tiny/weights.npz", "same"],
    ]
    assert lines[-1].startswith("5 of 5 outputs identical (")
    assert "uncommitted" not in ended.err
    assert list(repository.asked) == []
    assert list(temporary.iterdir()) == []


def test_what_is_not_committed_is_no_part_of_it(repository: Repository, cli: Run) -> None:
    path = repository.layout.root / "outputs" / "tiny" / "metrics.json"
    path.write_text("{}")
    ended = cli("verify")
    assert ended.code == 0
    assert "uncommitted changes are not part of it: 1 file, see git status\n" in ended.err
    assert path.read_text() == "{}"


def other_weights(folder: Path) -> None:
    write_arrays(folder / "weights.npz", W1=np.arange(6.0).reshape(2, 3) + np.eye(2, 3) / 4)


def other_metrics(folder: Path) -> None:
    write_json(folder / "metrics.json", {"test": {"accuracy": 0.75, "loss": 1.25}})


def other_table(folder: Path) -> None:
    write_csv(folder / "table.csv", ("name", "loss"), [("tiny", 1.5)])


def other_picture(folder: Path) -> None:
    write_text(folder / "plots" / "more.png", "not at all")


def other_configuration(folder: Path) -> None:
    path = folder / "config.yaml"
    write_text(path, path.read_text().replace("seed: 0\n", "seed: 7\n", 1))


@pytest.mark.parametrize(
    ("tamper", "stage", "how"),
    [
        (
            other_weights,
            "train@tiny",
            "weights.npz: W1[0, 0]: committed 0.0, found 0.25, the largest",
        ),
        (
            other_metrics,
            "evaluate@tiny",
            "metrics.json: test.accuracy: committed 0.5, found 0.75, the largest difference: 0.25; 1 of 2",
        ),
        (
            other_table,
            "results",
            "table.csv: row 1, loss: committed 1.25, found 1.5, the largest difference: 0.25; 1 of 2",
        ),
        (
            other_picture,
            "train@tiny",
            "plots: 1 of 2 files differ; more.png: byte 5: committed 0x72, found 0x61; 5 of 10 bytes differ",
        ),
        (
            other_configuration,
            "compose@tiny",
            "config.yaml: line 3: committed 'seed: 0\\n', found 'seed: 7\\n'; 1 of",
        ),
    ],
    ids=["weights", "metrics", "table", "picture", "configuration"],
)
def test_a_difference(
    repository: Repository, cli: Run, tamper: Callable[[Path], None], stage: str, how: str, temporary: Path
) -> None:
    repository.tamper = tamper
    ended = cli("verify")
    assert ended.code == 1
    said = ended.err[ended.err.index("pipeline: ") :]
    assert said.startswith(
        f"pipeline: {stage} is the first stage with another result than the committed one:\n"
    )
    assert f"  outputs/tiny/{how}" in said
    assert ended.out.count("DIFFERENT") == 1
    assert ended.out.splitlines()[-1].startswith("4 of 5 outputs identical (")
    assert list(temporary.iterdir()) == []


def test_of_a_committed_file_only_the_hash_may_be_known(repository: Repository, cli: Run) -> None:
    other_weights(repository.layout.root / "outputs" / "tiny")
    (repository.layout.root / "outputs" / "tiny" / "plots" / "loss.png").unlink()
    repository.tamper = lambda folder: (
        write_arrays(folder / "weights.npz", W1=np.ones(1)),
        other_picture(folder),
    )[-1]
    ended = cli("verify")
    assert "; the committed file is not at hand, only its hash\n" in ended.err
    assert "; its files are not at hand, only the hash\n" in ended.err


def test_the_cache_of_the_checkout_helps(
    repository: Repository, cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = repository.layout.root / "outputs" / "tiny"
    kept = tmp_path / "kept"
    (folder / "weights.npz").rename(kept)
    monkeypatch.setattr(committed.Committed, "_cached", lambda *_: kept)
    repository.tamper = other_weights
    assert "the largest difference: 0.25" in cli("verify").err


def test_a_file_in_git_that_is_another_than_dvc_lock_says(repository: Repository, cli: Run) -> None:
    other_metrics(repository.layout.root / "outputs" / "tiny")
    repository.commit()
    ended = cli("verify")
    assert ended.code == 1
    assert "evaluate@tiny is the first stage" in ended.err
    how = "as dvc.lock says, but not as in git: test.accuracy: committed 0.75, found 0.5, the largest"
    assert f"  outputs/tiny/metrics.json: {how}" in ended.err


def test_code_that_dvc_lock_has_not_seen(repository: Repository, cli: Run) -> None:
    repository.code = "bb"
    ended = cli("verify")
    assert ended.code == 1
    assert ended.out.splitlines()[-1].startswith("5 of 5 outputs identical (")
    assert ended.err.endswith(
        "pipeline: dvc.lock is not of this commit's code: 4 stages saw other contents of pipeline/code.py.\n"
        "Run dvc repro and commit dvc.lock.\n"
    )


def test_a_split_that_learns_components_hangs_on_the_processor(
    repository: Repository, configs: dict[str, Config]
) -> None:
    clone: Any = SimpleNamespace(root=repository.layout.root, doubts=lambda _: ["the processor is a 6502"])
    ran = ["compose@tiny", "split@tiny", "train@tiny"]
    assert set(verify._reasons(clone, ran)) == {"train@tiny"}
    projecting = {"preprocess.name": "pca", "preprocess.components": 5, "preprocess.epsilon": 1.0}
    repository.config = with_values(configs["tiny"], projecting)
    repository.make(repository.layout.root)
    assert set(verify._reasons(clone, ran)) == {"split@tiny", "train@tiny"}


def test_which_preprocessors_compute_eigenvectors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12), dtype=np.uint8)
    values: dict[str, Any] = {"components": 3, "epsilon": 1.0}
    learnt = {
        name: learn(
            Preprocess(name, **{key: values[key] for key in entry.settings}), pixels, np.arange(20), 1
        )
        for name, entry in PREPROCESSORS.items()
    }
    assert {name for name, each in learnt.items() if each.projection is not None} == verify.BY_EIGENVECTORS


def test_where_the_promise_cannot_hold(
    repository: Repository, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerun.Clone, "doubts", lambda *_: ["the processor is a 6502"])
    repository.tamper = lambda folder: (other_weights(folder), other_table(folder))[-1]
    ended = cli("verify")
    assert ended.code == 0, ended.err
    assert ended.out.count("differs, as it may here") == 2
    told = "What train@tiny and those that follow give may differ here: the processor is a 6502\n"
    assert told in ended.out
    assert ended.out.splitlines()[-1].startswith("3 of 5 outputs identical, 2 differ as they may (")
    # The configuration does not hang on the processor.
    repository.tamper = other_configuration
    assert cli("verify").code == 1


def test_the_tier_of_the_configuration_decides_what_may_differ(
    repository: Repository, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(rerun.Clone, "doubts", lambda _, tier: asked.append(tier) or [])
    assert cli("verify").code == 0
    # The first one sees that the clone's own package runs.
    assert asked == ["portable", "portable"]
    path = repository.layout.root / "outputs" / "tiny" / "config.yaml"
    native = path.read_text().replace("name: portable", "name: native")
    repository.tamper = lambda folder: write_text(folder / "config.yaml", native)
    cli("verify")
    assert asked[2:] == ["portable", "native"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--stage", "train@tiny"], ["train@tiny"]),
        (["--stage", "train", "--stage", "results", "--stage", "train@tiny"], ["train@tiny", "results"]),
        (["--experiment", "tiny"], ["compose@tiny", "train@tiny", "evaluate@tiny"]),
        (["--quick"], ["compose@tiny", "train@tiny", "evaluate@tiny"]),
    ],
)
def test_a_part_of_it(repository: Repository, cli: Run, arguments: list[str], asked: list[str]) -> None:
    repository.ran = STAGES[:2]
    ended = cli("verify", *arguments)
    assert repository.asked == asked
    # What was asked for and did not run is missing; the rest is not spoken of.
    missing = set(asked) - set(STAGES[:2])
    assert ended.code == (1 if missing else 0)
    assert {line.split()[0] for line in ended.out.splitlines() if "NOT MADE" in line} == missing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stage", "tra"], "--stage tra: unknown; `dvc stage list` shows them"),
        (["--experiment", "x"], "--experiment x: unknown; one of tiny, tiny_grid"),
        (["--quick", "--stage", "train"], "--quick chooses by itself: leave out --stage and --experiment"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_what_cannot_be_meant(cli: Run, arguments: list[str], said: str) -> None:
    ended = cli("verify", *arguments)
    assert ended.code == 2
    assert ended.err.endswith(f"pipeline: {said}\n")


def test_the_clone_can_be_kept(repository: Repository, cli: Run, temporary: Path) -> None:
    del repository
    ended = cli("verify", "--keep")
    (folder,) = temporary.iterdir()
    assert ended.err.endswith(f"kept: {folder}\n")
    assert (folder / "clone" / "outputs" / "tiny" / "metrics.json").is_file()


def test_without_a_commit(
    checkout: Layout, cli: Run, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.root.parent))
    ended = cli("verify")
    assert ended.code == 1
    assert "verify clones the last commit of " in ended.err
    assert list(temporary.iterdir()) == []


def test_without_a_lock(repository: Repository, cli: Run) -> None:
    repository.git("rm", "--quiet", "dvc.lock")
    repository.commit()
    ended = cli("verify")
    assert ended.err.endswith("there is no dvc.lock in the last commit: run dvc repro and commit it\n")
    assert ended.code == 1


# The clone


@pytest.fixture
def clone(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  (a function)
    """Makes a clone, with the environment that is set then."""
    monkeypatch.undo()
    return lambda: rerun.fresh_clone(repository.layout.root)


def test_nothing_of_the_users_comes_along(clone: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401  (a function)
    foreign = {
        "DVC_CACHE_DIR": "/cache",
        "GIT_DIR": "/nowhere",
        "HYDRA_FULL_ERROR": "1",
        "PIPELINE_RUNTIME": "portable",
        "PIPELINE_OTHER": "1",
        "PYTHONSAFEPATH": "1",
    }
    kept = {"PIPELINE_MIRROR": "/media", "PIPELINE_WORKERS": "3", "LANG": "C"}
    for name, value in {**foreign, **kept, "PYTHONPATH": "/mine", "OPENBLAS_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime, "_found", {"OPENBLAS_NUM_THREADS": "4"})
    with clone() as made:
        environment: Mapping[str, str] = made.environment
        assert kept.items() <= environment.items()
        assert not set(foreign) & set(environment)
        # The package's own changes are taken back, for the stages to make them anew.
        assert environment["OPENBLAS_NUM_THREADS"] == "4"
        assert environment["PYTHONPATH"] == f"{made.root}{os.pathsep}/mine"
        assert not Path(environment["DVC_GLOBAL_CONFIG_DIR"]).exists()
        assert "cache" in (made.root / ".dvc" / "config.local").read_text()
        python = subprocess.run(
            ["python", "-c", "import sys; print(sys.prefix)"],  # noqa: S607  (as dvc.yaml has it)
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert python.stdout.strip() == sys.prefix
        assert not (made.root / "outputs" / "tiny" / "weights.npz").exists()
    assert not made.folder.exists()


def test_the_package_has_to_be_the_clones_own(clone: Any) -> None:  # noqa: ANN401  (a function)
    """The small repository has none: what is installed would run."""
    with clone() as made:
        with pytest.raises(PipelineError, match=r"would run .* instead of the clone's own package"):
            made.doubts("portable")
        own = Path(runtime.__file__).parents[1]
        shutil.copytree(own / "core", made.root / "pipeline" / "core")
        shutil.copy(own / "__init__.py", made.root / "pipeline")
        assert made.doubts("native") == ["runtime=native promises nothing"]


def test_git_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PipelineError, match="git is not installed"):
        rerun.git(tmp_path, "status")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print(\"Running stage 'a':\"); print('oh'); raise SystemExit(3)", "a failed in the clone:"),
        ("raise SystemExit(3)", "dvc repro failed in the clone:"),
        (
            "print(\"Stage 'a' didn't change, skipping\")",
            "a was not run anew in the clone; nothing was verified",
        ),
    ],
)
def test_a_run_that_cannot_be_compared(
    clone: Any,  # noqa: ANN401  (a function)
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    said: str,
) -> None:
    monkeypatch.setattr(rerun, "dvc", lambda *_: [sys.executable, "-c", script])
    with clone() as made, pytest.raises(PipelineError) as caught:
        rerun.reproduce(made, [], [], lambda _: None)
    assert str(caught.value).startswith(said)
    if "oh" in script:
        assert str(caught.value).endswith("\n  oh")


def test_a_run_leaves_nothing_behind_when_it_is_stopped(
    clone: Any,  # noqa: ANN401  (a function)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even a process that does not want to end."""
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(f\"Running stage '{child.pid}':\", flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(rerun, "dvc", lambda *_: [sys.executable, "-c", script])
    monkeypatch.setattr(rerun, "_SECONDS_TO_END", 0.2)
    started: list[int] = []

    def stop(stage: str) -> None:
        started.append(int(stage))
        raise KeyboardInterrupt  # as the command line makes of a signal

    with pytest.raises(KeyboardInterrupt), clone() as made:
        rerun.reproduce(made, [], [], stop)
    assert not made.folder.exists()
    # It has been killed, and may take a moment; whoever adopted it may still have to bury it.
    end = time.monotonic() + 60
    while is_running(started[0]):
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_a_run_that_is_interrupted_while_it_starts_ends(
    clone: Any,  # noqa: ANN401  (a function)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rerun, "dvc", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    with clone() as made:
        started = interrupt_what_starts(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            rerun.reproduce(made, [], [], print)
    assert started[0].returncode is not None
