"""The command line, in this process and as a stranger runs it."""

import argparse
import errno
import hashlib
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import pipeline
from pipeline.__main__ import _raise_signal, main
from pipeline.config.compose import compose, read_config
from pipeline.core.errors import ConfigError
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout
from tests.shared import said

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., Any]


def listed_commands() -> list[str]:
    """The commands that `pipeline --help` shows."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"],
        env={**os.environ, "COLUMNS": "80"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^    ([a-z][a-z-]*)(?:$| )", done.stdout, re.MULTILINE)


COMMANDS = listed_commands()


def digests(folder: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the stage that takes most of the time; its own tests draw."""
    monkeypatch.setattr("pipeline.stages.plot.run", lambda *_: None)


# Help


def test_every_stage_is_a_command() -> None:
    stages = OmegaConf.load(ROOT / "dvc.yaml")["stages"]
    assert set(stages) <= set(COMMANDS)
    assert len(set(COMMANDS)) == len(COMMANDS)


def test_without_a_command_the_help_is_shown(cli: Run) -> None:
    alone, asked = cli(), cli("--help")
    assert (alone.code, asked.code) == (2, 0)
    assert alone.out == asked.out
    assert (alone.err, asked.err) == ("", "")
    assert "pipeline COMMAND --help" in re.sub(r"\s+", " ", asked.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_and_nothing_is_cut_off(
    cli: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = cli(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: pipeline {command}")
    text = re.sub(r"\s+", " ", ended.out)
    assert f"Example: pipeline {command} " in text
    assert "%(" not in text
    assert "SUPPRESS" not in text
    assert max(map(len, ended.out.splitlines())) <= 80
    summary = re.search(rf"^    {command}\s+(.+(?:\n {{10,}}.+)*)", cli("--help").out, re.MULTILINE)
    assert summary is not None
    assert summary[1].strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_a_command_can_be_meant(
    cli: Run, checkout: Layout, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It is accepted: what it may fail with is that nothing has been run here yet."""
    del checkout
    monkeypatch.setenv("COLUMNS", "500")
    example = re.search(r"Example: pipeline (.+)", cli(command, "--help").out)
    assert example is not None
    # They would download, would work, and would become another program.
    if command in {"fetch", "source", "worker"}:
        return
    ended = cli(*example[1].split())
    assert ended.code != 2 or re.search(
        "lists no such experiment|(experiment|dataset)=.*: unknown", ended.err
    ), ended.err


@pytest.mark.usefixtures("composed")
@pytest.mark.parametrize(("flag", "before"), [(["--engine", "dask"], True), (["--engine=dask"], False)])
def test_the_engine_of_a_search_is_a_flag_of_train(
    cli: Run, monkeypatch: pytest.MonkeyPatch, flag: list[str], *, before: bool
) -> None:
    # The flag goes before what the environment says, and is not left in it.
    monkeypatch.setenv("PIPELINE_ENGINE", "local")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    assert cli("split", "tiny_grid").code == 0
    arguments = [*flag, "tiny_grid"] if before else ["tiny_grid", *flag]
    ended = cli("train", *arguments)
    assert (ended.code, "set DASK_SCHEDULER_ADDRESS to where" in said(ended)) == (2, True)
    ended = cli("train", "experiment=tiny_grid", *flag)
    assert (ended.code, "set DASK_SCHEDULER_ADDRESS to where" in ended.err) == (2, True)
    assert os.environ["PIPELINE_ENGINE"] == "local"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (["--engine", "spark"], "--engine spark: unknown; one of local, dask, ray"),
        (["--engine"], "--engine: name one of local, dask, ray"),
        (["--engine="], "--engine: name one of local, dask, ray"),
    ],
)
def test_an_unknown_engine_is_told_before_anything_runs(cli: Run, flag: list[str], told: str) -> None:
    ended = cli("train", "anything", *flag)
    assert (ended.code, said(ended)) == (2, told)


@pytest.mark.usefixtures("no_pictures")
def test_a_search_space_is_overridden_on_the_command_line_without_a_plus(cli: Run, parsed: Layout) -> None:
    space = "search.space.optimizer.learning_rate"
    ended = cli(
        *("train", "experiment=tiny_grid", f"{space}={{low: 0.01, high: 1, log: true, count: 3}}"),
        "search.space.model.activation=[tanh]",
    )
    assert ended.code == 0, ended.err
    (folder,) = (path.parent for path in (parsed.root / "runs").rglob("trials.csv"))
    rows = read_csv(folder / "trials.csv")
    assert [row["optimizer.learning_rate"] for row in rows] == ["0.01", "0.1", "1.0"] * 2
    assert {row["model.activation"] for row in rows} == {"tanh"}

    ended = cli("train", "experiment=tiny_grid", "search.space.optimizer.lerning_rate=[1]")
    wrong, meant = "search.space.optimizer.lerning_rate", "search.space.optimizer.learning_rate"
    assert (ended.code, said(ended)) == (2, f"{wrong}: no such key; did you mean {meant}?")


def test_version(cli: Run) -> None:
    ended = cli("--version")
    assert (ended.code, ended.out) == (0, f"pipeline {pipeline.__version__}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pipeline.__version__)
    module, _, name = project["scripts"]["pipeline"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_help_needs_no_third_party_module(python: Run) -> None:
    ended = python("-S", "-m", "pipeline", "--help")
    assert (ended.code, ended.err) == (0, "")


# Bad usage


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["split"], "the following arguments are required: experiment"),
        (["split", "tiny", "stray"], "unrecognized arguments: stray"),
        (["compose", "tiny", "stray"], "unrecognized arguments: stray"),
        (["train"], "the following arguments are required"),
        (["train", "tiny", "stray"], "unrecognized arguments: stray"),
        (["train", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["train", "--cfg", "nonsense"], "invalid choice: 'nonsense'"),
        (["fetch"], "the following arguments are required: dataset"),
        (["source"], "the following arguments are required: name"),
        (["source", "nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_bad_usage(cli: Run, checkout: Layout, arguments: list[str], expected: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("usage: pipeline")
    assert expected in ended.err
    assert not (checkout.root / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["compose", "nope"], "nope: params.yaml lists no such experiment, only tiny, tiny_grid"),
        (["fetch", "nope"], "dataset=nope: unknown; one of bloodmnist, cifar10, "),
        (
            ["fetch", "tiny", "--source", "nope"],
            "source=nope: tiny has no such source, only bundled, official",
        ),
        (["parse", "kmnist"], "source=bundled: kmnist has no such source, only official; no stand-in"),
        (["fetch", "tiny", "stray"], "stray: expected KEY=VALUE, such as "),
        (
            ["fetch", "tiny", "sources.bundled.train_count=x"],
            "sources.bundled.train_count=x: expected a whole",
        ),
        (["train", "tiny", "seed=1"], "tiny: beside overrides an experiment is given as experiment=tiny"),
        (["train", "experiment=nope"], "experiment=nope: no such choice; one of cifar10_grid, "),
        (["train", "sed=1"], "sed: no such key; did you mean seed?"),
        # The flags of Hydra, with which it composes on its own.
        (["train", "-m", "sed=1,2"], "sed: no such key; did you mean seed?"),
        (["train", "-m", "optimizer=adam,nope"], "optimizer=nope: no such choice; one of adagrad, "),
        (["train", "-m", "tiny"], "'tiny': expected KEY=VALUE"),
        (["train", "--cfg", "job", "sed=1"], "sed: no such key; did you mean seed?"),
        (["train", "--resolve", "seed=1"], "The --resolve flag can only be used in conjunction with --cfg"),
        (["train", "--config-dir", "nope", "seed=1"], "Additional config directory "),
        (["train", "-cn", "nope"], "Cannot find primary config 'nope'"),
        (
            ["train", "-m", "hydra/launcher=nope", "seed=1"],
            "hydra/launcher=nope: no such choice; one of basic",
        ),
        (["train", "random=nope", "experiment=tiny"], "random=nope: unknown; one of generator, legacy"),
        (
            ["train", "model.activation=nope", "experiment=tiny"],
            "model.activation=nope: unknown; one of identity, ",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_and_ends_with_2(
    cli: Run, checkout: Layout, arguments: list[str], expected: str
) -> None:
    ended = cli(*arguments)
    assert said(ended).startswith(expected)
    assert ended.code == 2
    assert not checkout.results("tiny").folder.exists()


def test_a_missing_setting_of_the_environment(
    composed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    del composed
    assert cli("split", "tiny_grid").code == 0
    for text in ("x", "0", "-1", "1.5"):
        monkeypatch.setenv("PIPELINE_WORKERS", text)
        ended = cli("train", "tiny_grid")
        assert said(ended) == f"PIPELINE_WORKERS={text}: expected a number of processes, 1 or more"
        assert ended.code == 2


def test_a_wrong_tier_in_the_environment(checkout: Layout, python: Run) -> None:
    ended = python("-m", "pipeline", "compose", "tiny", environment={"PIPELINE_RUNTIME": "nope"})
    assert said(ended) == "PIPELINE_RUNTIME=nope: unknown; one of portable, avx512, native"
    assert ended.code == 2
    assert not checkout.results("tiny").folder.exists()


# Failures


@pytest.mark.parametrize("stage", ["split", "train", "evaluate", "plot"])
def test_a_stage_whose_experiment_is_not_composed(checkout: Layout, cli: Run, stage: str) -> None:
    ended = cli(stage, "tiny")
    assert said(ended) == (
        f"{checkout.results('tiny').config} is missing: compose the experiment first, or let DVC do it:"
        f" dvc repro {stage}@tiny"
    )
    assert ended.code == 1
    ended = cli(stage, "tony")
    assert said(ended) == "experiment=tony: unknown; one of tiny, tiny_grid; did you mean tiny?"
    assert ended.code == 2


@pytest.mark.parametrize("stage", ["split", "train", "evaluate", "plot"])
def test_a_stage_without_its_data(checkout: Layout, tiny_outputs: Path, cli: Run, stage: str) -> None:
    checkout.results("tiny").folder.mkdir(parents=True)
    shutil.copy(tiny_outputs / "config.yaml", checkout.results("tiny").config)
    ended = cli(stage, "tiny")
    assert said(ended) == (
        f"{checkout.parsed('bundled', 'tiny')} is missing: an earlier stage makes it."
        f" Let DVC run what is needed: dvc repro {stage}@tiny"
    )
    assert ended.code == 1


@pytest.mark.parametrize("stage", ["train", "evaluate", "plot"])
def test_a_stage_before_its_turn(composed: Layout, cli: Run, stage: str) -> None:
    ended = cli(stage, "tiny")
    assert said(ended).startswith(f"{composed.results('tiny').split} is missing: ")
    assert said(ended).endswith(f"dvc repro {stage}@tiny")
    assert ended.code == 1


def test_parsing_before_fetching(checkout: Layout, cli: Run) -> None:
    ended = cli("parse", "tiny", "--source", "official")
    assert said(ended) == (
        f"{checkout.raw('official', 'tiny')} is missing: an earlier stage makes it."
        " Run: pipeline fetch tiny --source official"
    )
    assert ended.code == 1


def test_training_by_overrides_without_the_data(checkout: Layout, cli: Run) -> None:
    ended = cli("train", "experiment=tiny")
    assert said(ended) == (
        f"{checkout.parsed('bundled', 'tiny')} is missing: the data set has not been fetched and parsed.\n"
        "Run dvc repro parse@tiny"
    )
    assert ended.code == 1
    ended = cli("train", "experiment=tiny", "source=official")
    assert said(ended).endswith(
        "\nRun pipeline fetch tiny --source official && pipeline parse tiny --source official"
    )


def test_outside_a_checkout(tmp_path: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["compose", "tiny"], ["train", "seed=1"], ["source", "official"]):
        ended = cli(*arguments)
        assert said(ended).startswith(f"{tmp_path.resolve()} is not inside a checkout of the pipeline")
        assert ended.code == 1


def test_a_module_that_is_not_installed(checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    del checkout
    monkeypatch.setitem(sys.modules, "hydra", None)  # type: ignore[arg-type]  # how Python is told to refuse it
    for arguments in (["compose", "tiny"], ["train", "experiment=tiny"]):
        ended = cli(*arguments)
        assert said(ended) == (
            f"hydra is not installed for {sys.executable}.\n"
            "Set up and use the checkout's own environment: make setup && . .venv/bin/activate"
        )
        assert ended.code == 1
    monkeypatch.delitem(sys.modules, "hydra")


def test_an_interpreter_with_nothing_installed(checkout: Layout, python: Run) -> None:
    del checkout
    ended = python("-S", "-m", "pipeline", "compose", "tiny")
    assert re.match(r"\w+ is not installed for ", said(ended))
    assert ended.code == 1


def test_a_module_of_our_own_that_is_missing_is_a_bug(
    checkout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    del checkout
    monkeypatch.setitem(sys.modules, "pipeline.stages.compose", None)  # type: ignore[arg-type]  # refused
    with pytest.raises(ModuleNotFoundError):
        main(["compose", "tiny"])


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError("1 TB"), 1, "not enough memory: 1 TB"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (OSError("strange"), 1, "strange"),
    ],
)
def test_what_can_happen_to_anything(
    parsed: Layout,
    cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    expected: str,
) -> None:
    del parsed
    monkeypatch.setattr("pipeline.stages.compose.run", failing(error))
    monkeypatch.setattr("pipeline.commands.train.run_composed", failing(error))
    # Hydra would show a traceback of what it does not know.
    for arguments in (["compose", "tiny"], ["train", "experiment=tiny"]):
        ended = cli(*arguments)
        assert ended.err.splitlines()[-1] == f"pipeline: {expected}"
        assert "Traceback" not in ended.err
        assert ended.code == code


@pytest.mark.parametrize("arguments", [["compose", "tiny"], ["train", "experiment=tiny"]])
def test_a_bug_is_shown_with_its_traceback(
    parsed: Layout, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    del parsed
    monkeypatch.setattr("pipeline.stages.compose.run", failing(ZeroDivisionError()))
    monkeypatch.setattr("pipeline.commands.train.run_composed", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(arguments)


@pytest.mark.parametrize("arguments", [["--debug", "compose", "nope"], ["compose", "nope", "--debug"]])
def test_debug_shows_the_traceback(checkout: Layout, cli: Run, arguments: list[str]) -> None:
    del checkout
    ended = cli(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("Traceback")
    assert ended.err.endswith(
        "\npipeline: nope: params.yaml lists no such experiment, only tiny, tiny_grid\n"
    )


def test_debug_shows_where_hydras_complaint_comes_from(checkout: Layout, cli: Run) -> None:
    del checkout
    assert "ConfigCompositionException" in cli("train", "-m", "sed=1,2", "--debug").err


def test_a_reader_that_has_gone(checkout: Layout) -> None:
    del checkout
    for arguments, both in (
        (["--help"], False),
        (["train", "--cfg", "job"], False),
        (["compose", "nope"], True),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as gone:
            ended = subprocess.run(  # noqa: S603  (our own interpreter)
                [sys.executable, "-m", "pipeline", *arguments],
                # Buffered, as it is for people; else argparse is the one to meet the error, and ignores it.
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
                stdout=gone,
                stderr=gone if both else subprocess.PIPE,
                check=False,
            )
        assert ended.returncode == 1
        assert not ended.stderr


def test_a_reader_that_goes_while_hydra_tells(checkout: Layout) -> None:
    del checkout
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", "--info"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_that_others_make_an_error_of_is_told_as_a_signal(
    composed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, said: str
) -> None:
    del composed
    signals: list[int] = []
    monkeypatch.setattr("pipeline.__main__._signals", signals)

    def swallow(*_: object) -> None:
        try:
            _raise_signal(number, None)
        except BaseException:  # noqa: BLE001  (as OmegaConf does)
            raise ConfigError("something else") from None

    monkeypatch.setattr("pipeline.stages.compose.run", swallow)
    monkeypatch.setattr("pipeline.commands.train.run_composed", swallow)
    for arguments in (["compose", "tiny"], ["train", "experiment=tiny"]):
        ended = cli(*arguments)
        assert ended.err.splitlines()[-1] == f"pipeline: {said}"
        assert ended.code == 128 + number
        signals.clear()


def test_an_interrupted_training_ends_at_once_and_leaves_no_result(composed: Layout, cli: Run) -> None:
    assert cli("split", "tiny").code == 0
    config = composed.results("tiny").config
    config.write_text(config.read_text().replace("epochs: 3", "epochs: 1000000"))
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", "tiny"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert first.startswith("tiny: 0 of 1000000 epochs")
    assert rest.endswith("pipeline: interrupted\n")
    assert "Traceback" not in rest
    assert process.returncode == 128 + signal.SIGINT
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.yaml", "split.npz"]


# The stages


def test_an_experiment_stage_by_stage(parsed: Layout, cli: Run, python: Run) -> None:
    results = parsed.results("tiny")
    for stage, files in (
        ("compose", ["config.yaml"]),
        ("split", ["split.npz"]),
        ("train", ["history.csv", "parameters.pkl", "steps.csv", "trials.csv"]),
        ("evaluate", ["metrics.json", "per_class.csv", "per_part.csv", "predictions.csv", "roc.csv"]),
    ):
        ended = cli(stage, "tiny")
        assert (ended.code, ended.out) == (0, "")
        assert "Traceback" not in ended.err
        assert set(files) <= {path.name for path in results.folder.iterdir()}
    before = digests(results.folder)
    # The same again, in processes of their own: the same bits.
    for stage in ("train", "evaluate"):
        assert python("-m", "pipeline", stage, "tiny").code == 0
    assert digests(results.folder) == before


def test_stages_run_from_any_folder_of_the_checkout(
    parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(parsed.conf / "dataset")
    assert cli("compose", "tiny").code == 0
    assert cli("split", "tiny").code == 0
    assert parsed.results("tiny").split.is_file()


@pytest.mark.usefixtures("no_pictures")
def test_bundled_data_needs_no_network(parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for stage in ("compose", "split", "train", "evaluate"):
        assert cli(stage, "tiny").code == 0
    assert cli("train", "experiment=tiny").code == 0
    assert len(runs(parsed)) == 1


# train as a Hydra application


def runs(layout: Layout) -> list[Path]:
    return sorted(path.parent for path in (layout.root / "runs").rglob("config.yaml"))


def test_training_by_overrides_writes_a_run_and_touches_nothing_else(evaluated: Layout, cli: Run) -> None:
    before = digests(evaluated.root)
    argv, cwd = sys.argv, Path.cwd()
    ended = cli("train", "experiment=tiny", "optimizer.learning_rate=0.25")
    assert (ended.code, ended.out) == (0, "")
    (run,) = runs(evaluated)
    assert {path: text for path, text in digests(evaluated.root).items() if run not in path.parents} == before
    assert re.fullmatch(
        r"runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-tiny", run.relative_to(evaluated.root).as_posix()
    )
    assert ended.err.endswith(f"results in {run}\n")
    assert read_config(run / "config.yaml") == compose(
        evaluated.conf, ["experiment=tiny", "optimizer.learning_rate=0.25"]
    )
    found = {path.name for path in run.iterdir()}
    assert {path.name for path in evaluated.results("tiny").folder.iterdir()} <= found
    assert {"metrics.json", "plots"} <= found
    # Nothing of Hydra's own.
    assert not [name for name in found if name.startswith(".")]
    # What made it, and what was said.
    assert OmegaConf.load(run / "overrides.yaml") == [
        "experiment=tiny",
        "optimizer.learning_rate=0.25",
        "source=bundled",
    ]
    assert (run / "run.log").read_text() == ended.err
    assert (sys.argv, Path.cwd()) == (argv, cwd)
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.usefixtures("no_pictures")
def test_the_run_has_the_results_of_the_stages(evaluated: Layout, cli: Run) -> None:
    assert cli("train", "experiment=tiny").code == 0
    (run,) = runs(evaluated)
    results = evaluated.results("tiny")
    stages = {path.name: text for path, text in digests(results.folder).items()}
    own = {"summary.json", "overrides.yaml", "run.log"}
    assert {path.name: text for path, text in digests(run).items() if path.name not in own} == stages
    assert (run / "summary.json").read_bytes() == results.summary.read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_runs_lie_at_the_top_of_the_checkout(
    parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(parsed.conf / "dataset")
    assert cli("train", "experiment=tiny").code == 0
    assert len(runs(parsed)) == 1
    assert Path.cwd() == parsed.conf / "dataset"


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", ["a${seed}b${oc.env:HOME}", "a,b#c\nd=e f'\""])
def test_a_path_is_no_syntax(parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    moved = Layout(parsed.root.rename(parsed.root.parent / name))
    monkeypatch.chdir(moved.root)
    assert cli("train", "experiment=tiny").code == 0
    assert len(runs(moved)) == 1
    assert cli("compose", "tiny").code == 0
    assert [folder.name for folder in moved.root.parent.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_of_two(parsed: Layout, cli: Run) -> None:
    ended = cli("train", "-m", "experiment=tiny", "model.hidden=[3],[4,5]")
    assert ended.code == 0
    first, second = runs(parsed)
    assert first.parent == second.parent
    assert re.fullmatch(r"\d\d-\d\d-\d\d-tiny-sweep", first.parent.name)
    assert (first.name, second.name) == ("0", "1")
    assert [read_config(run / "config.yaml").model.hidden for run in (first, second)] == [[3], [4, 5]]
    assert all((run / "metrics.json").is_file() for run in (first, second))
    assert not parsed.results("tiny").folder.exists()
    # Which is which, while they run, in their folders and in the end.
    begun = [line for line in ended.err.splitlines() if line.startswith("#")]
    assert begun == ["#0 model.hidden=[3]", "#1 model.hidden=[4,5]"]
    assert "".join((run / "run.log").read_text() for run in (first, second)) == ended.err
    assert "model.hidden=[3]" in OmegaConf.load(first / "overrides.yaml")
    header, *rows = ended.out.splitlines()
    assert header.split() == ["run", "model.hidden", "valid", "test"]
    assert {row.split()[0] for row in rows} == {"#0", "#1"}
    accuracies = [float(row.split()[2]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("sweep", "expected", "code"),
    [
        ("initializer.scale=1e30,0.1", "tiny diverged in epoch 1 at step ", 1),
        ("seed=-1,1", "seed=-1: expected 0 <= seed < 2**32", 2),
    ],
)
def test_a_job_that_fails_does_not_stop_the_others(
    parsed: Layout, cli: Run, sweep: str, expected: str, code: int
) -> None:
    ended = cli("train", "-m", "experiment=tiny", "model.activation=relu", sweep)
    assert f"pipeline: #0: {expected}" in ended.err
    first, _, last = ended.out.splitlines()[-1].split()
    assert (first, last) == ("#0", "failed")
    assert "Traceback" not in ended.err
    assert "HYDRA_FULL_ERROR" not in ended.err
    assert ended.code == code
    done = [run for run in runs(parsed) if (run / "metrics.json").is_file()]
    assert [run.name for run in done] == ["1"]


@pytest.mark.usefixtures("parsed")
def test_a_sweep_has_its_table_whatever_happens_in_a_job(
    cli: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run_composed(layout: Layout, composed: Any, folder: Path, *_: Any) -> None:  # noqa: ANN401  (not looked at)
        del layout
        if composed.seed == 2:
            raise RuntimeError("not foreseen")
        (folder / "metrics.json").write_text('{"test": 0.75}')

    monkeypatch.setattr("pipeline.commands.train.run_composed", run_composed)
    with pytest.raises(RuntimeError, match="not foreseen"):
        cli("train", "-m", "experiment=tiny", "seed=1,2,3")
    assert [line.split() for line in capfd.readouterr().out.splitlines()[1:]] == [
        ["#0", "1", "-", "75.00", "%"],
        ["#2", "3", "-", "75.00", "%"],
        ["#1", "2", "failed"],
    ]


def test_a_run_that_diverges(parsed: Layout, cli: Run) -> None:
    del parsed
    ended = cli("train", "experiment=tiny", "model.activation=relu", "initializer.scale=1e30")
    assert "\npipeline: tiny diverged in epoch 1 at step " in ended.err
    assert "Try a smaller optimizer.learning_rate" in ended.err
    assert ended.code == 1


def test_a_wrong_value_leaves_no_folder(parsed: Layout, cli: Run) -> None:
    assert cli("train", "experiment=tiny", "seed=-1").code == 2
    assert not (parsed.root / "runs").exists()


def test_runs_that_cannot_be_written(parsed: Layout, cli: Run) -> None:
    (parsed.root / "runs").write_text("in the way")
    ended = cli("train", "experiment=tiny")
    assert said(ended).startswith(f"cannot write {parsed.root / 'runs'}")
    assert ended.code == 1


def test_showing_the_configuration(parsed: Layout, cli: Run) -> None:
    ended = cli("train", "--cfg", "job", "experiment=tiny", "optimizer=adam")
    assert (ended.code, ended.err) == (0, "")
    shown = OmegaConf.create(ended.out)
    assert (shown.name, shown.optimizer.name, shown.model.hidden) == ("tiny", "adam", [8])
    only = cli("train", "--cfg", "job", "--package", "optimizer", "optimizer=adam")
    assert OmegaConf.create(only.out) == shown.optimizer
    assert not (parsed.root / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "override", "expected"),
    [
        (["--cfg", "job"], "model.activation=nope", "model.activation=nope: unknown; one of identity, "),
        (["--cfg=job"], "optimizer.momentum=0.5", "optimizer.momentum: the choice made for optimizer has no"),
        (["-c", "all", "--resolve"], "seed=-1", "seed=-1: expected 0 <= seed"),
        (["--cfg", "job"], "dataset=kmnist", "source=bundled: kmnist has no such source"),
    ],
)
def test_what_the_run_would_refuse_is_not_shown(
    checkout: Layout, cli: Run, flags: list[str], override: str, expected: str
) -> None:
    ended = cli("train", *flags, "experiment=tiny", override)
    assert (ended.code, ended.out) == (2, "")
    assert said(ended).startswith(expected)
    assert said(cli("train", "experiment=tiny", override)) == said(ended)
    assert not (checkout.root / "runs").exists()


def test_showing_what_can_be_chosen(checkout: Layout, cli: Run) -> None:
    ended = cli("train", "--choices")
    assert (ended.code, ended.err) == (0, "")
    for group in sorted(path for path in checkout.conf.iterdir() if path.is_dir()):
        options = ", ".join(sorted(path.stem for path in group.iterdir()))
        assert f"{group.name}: {options}" in ended.out
    assert "pipeline train experiment=mnist_two_layer optimizer.learning_rate=0.2" in ended.out
    assert "--multirun" in cli("train", "--hydra-help").out
    assert "optimizer/sgd" in cli("train", "--info", "defaults").out


# The source, where none is given: that of params.yaml

BUNDLED, OFFICIAL = (
    f"source: {source}, as in params.yaml ({{}}{other} for the other)\n"
    for source, other in (("bundled", "official"), ("official", "bundled"))
)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("flags", [[], pytest.param(["-m"], marks=pytest.mark.slow)])
def test_training_by_overrides_follows_params(parsed: Layout, cli: Run, flags: list[str]) -> None:
    for selected in ("bundled", "official"):
        parsed.params.write_text(parsed.params.read_text().replace("source: bundled", f"source: {selected}"))
        ended = cli("train", *flags, "experiment=tiny")
        assert ended.code == 0, ended.err
        line = {"bundled": BUNDLED, "official": OFFICIAL}[selected].format("source=")
        assert ended.err.count(line) == 1
        (run,) = runs(parsed)
        assert read_config(run / "config.yaml").source == selected
        shutil.rmtree(parsed.root / "runs")
    # Given, it is followed and not told.
    ended = cli("train", *flags, "experiment=tiny", "source=bundled")
    assert "as in params.yaml" not in ended.err
    (run,) = runs(parsed)
    assert read_config(run / "config.yaml").source == "bundled"
    assert OmegaConf.create(cli("train", "--cfg", "job").out).source == "official"


def test_fetching_parsing_and_showing_follow_params(
    parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed.params.write_text(parsed.params.read_text().replace("source: bundled", "source: official"))
    asked: list[str] = []
    parsed.raw("official", "tiny").mkdir(parents=True)
    for stage in ("fetch", "parse"):
        monkeypatch.setattr(f"pipeline.stages.{stage}.run", lambda context: asked.append(context.source))
        ended = cli(stage, "tiny")
        assert (ended.code, ended.err) == (0, OFFICIAL.format("--source "))
        assert cli("fetch", "tiny", "--source", "bundled").err == ""
    assert asked == ["official", "bundled"] * 2
    ended = cli("show", "--dataset", "tiny")
    assert (ended.code, ended.err) == (0, OFFICIAL.format("--source "))
    assert ended.out.startswith("a few digits: ")
    ended = cli("show", "--dataset", "tiny", "--source", "bundled")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("a few drawn digits (not MNIST): ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["tiny", "--source", "bundled", "format=cifar10", "licence=x"],
        ["--source", "bundled", "tiny", "format=cifar10", "licence=x"],
        ["tiny", "format=cifar10", "licence=x", "--source", "bundled"],
        ["tiny", "format=cifar10", "--source=bundled", "licence=x"],
    ],
)
def test_overrides_of_a_data_set_stand_anywhere(
    checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    del checkout
    fetched: list[Any] = []
    monkeypatch.setattr("pipeline.stages.fetch.run", fetched.append)
    ended = cli("fetch", *arguments)
    assert ended.code == 0, ended.err
    assert [(each.source, each.dataset.format, each.dataset.licence) for each in fetched] == [
        ("bundled", "cifar10", "x")
    ]
    ended = cli("fetch", *arguments, "--nonsense")
    assert ended.code == 2
    assert "unrecognized arguments: --nonsense" in ended.err


# Speed of the first word


class StrictContainer(argparse._ActionsContainer):
    """argparse since Python 3.14, as far as help texts go: they are formatted as soon as they are added."""

    def _check_help(self, action: argparse.Action) -> None:
        if action.help and "%" in action.help:
            self._get_formatter()._expand_help(action)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:  # noqa: ANN401  (argparse's)
        action = _add_argument(self, *names, **options)
        self._check_help(action)
        return action


_add_argument = argparse._ActionsContainer.add_argument


def test_hydra_starts_where_help_texts_are_checked(
    cli: Run, checkout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    del checkout
    for name in ("_check_help", "add_argument"):
        monkeypatch.setattr(argparse._ActionsContainer, name, getattr(StrictContainer, name), raising=False)
    with pytest.raises(TypeError):
        argparse.ArgumentParser().add_argument("--lazy", help=object())
    ended = cli("train", "experiment=tiny", "--cfg", "job")
    assert ended.code == 0
    assert "name: tiny" in ended.out
    with pytest.raises(TypeError):
        argparse.ArgumentParser().add_argument("--lazy", help=object())


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_checkout_that_cannot_be_written_is_one_line(
    cli: Run, checkout: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    ended = cli("train", "experiment=tiny")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert ended.err.startswith(f"pipeline: cannot write {checkout.root}/runs/")
    assert f": {os.strerror(number)}" in ended.err
    assert ("; runs and their states are kept in the checkout" in ended.err) == (number != errno.ENOSPC)


def test_what_argparse_repeats_steers_no_terminal(cli: Run, checkout: Layout) -> None:
    del checkout
    ended = cli("predict", "\x1b[31mX\nY")
    assert ended.code == 2
    assert "\x1b" not in ended.err
    assert "?[31mX?Y" in ended.err
