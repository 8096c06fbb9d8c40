"""train: parameters, history and trials of a training, alone or after a search."""

import hashlib
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import ConfigError, DivergenceError, FormatError, PipelineError
from pipeline.core.files.parameters import read_parameters
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout, Results
from pipeline.nn import setup, training
from pipeline.search import engines, strategies
from pipeline.search.trials import Attempt, Outcome, configured
from pipeline.stages import split
from pipeline.stages.shared import trained
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import load_parts
from pipeline.stages.train import resume, stage, trials
from pipeline.stages.train.resume import TrialLog
from pipeline.stages.train.trials import WORKERS_VARIABLE, TrialTask

Run = Callable[..., Any]

FILES = ["history.csv", "parameters.pkl", "steps.csv", "trials.csv"]


@pytest.fixture
def run(parsed: Layout, configs: dict[str, Config]) -> Run:
    """Splits and trains with other values at some keys than the experiment has."""

    def run(experiment: str = "tiny", changes: Mapping[str, object] | None = None) -> tuple[Config, Results]:
        config = with_values(configs[experiment], changes or {})
        results = parsed.results(experiment)
        split.run(ExperimentContext(parsed, config, results))
        stage.run(ExperimentContext(parsed, config, results))
        return config, results

    return run


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_parameters_are_those_of_the_loop(run: Run, parsed: Layout) -> None:
    config, results = run()
    assert sorted(path.name for path in results.folder.iterdir()) == [*FILES[:2], "split.npz", *FILES[2:]]
    parts = load_parts(parsed.parsed("bundled", "tiny"), results, config)
    *_, last = training.train(
        config, parts.train, {"train": parts.train, "valid": parts.valid}, parts.statistics
    )
    with results.parameters.open("rb") as file:
        found = pickle.load(file)  # noqa: S301  (that this is enough is the point)
    expected = setup.network_of(config).views(last.result)
    assert list(found) == ["W1", "b1", "W2", "b2"]
    assert [found[name].shape for name in found] == [(784, 8), (8,), (8, 10), (10,)]
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_history_has_a_row_per_epoch_and_the_steps_one_per_step(run: Run) -> None:
    config, results = run()
    history = read_csv(results.history)
    assert list(history[0]) == [
        *("epoch", "step", "learning_rate"),
        *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"),
    ]
    assert [(row["epoch"], row["step"]) for row in history] == [
        ("0", "0"),
        ("1", "8"),
        ("2", "16"),
        ("3", "24"),
    ]
    assert all(float(row["learning_rate"]) == config.optimizer.learning_rate for row in history)
    steps = read_csv(results.steps)
    assert [row["step"] for row in steps] == [str(number) for number in range(24)]
    assert all(math.isfinite(float(row["loss"])) for row in steps)
    assert [float(row["train_loss"]) for row in history] == sorted(
        (float(row["train_loss"]) for row in history), reverse=True
    )


def test_without_a_valid_part_its_columns_are_empty(run: Run) -> None:
    _, results = run("tiny", {"split.valid_count": 0})
    rows = read_csv(results.history)
    assert {(row["valid_loss"], row["valid_accuracy"]) for row in rows} == {("", "")}
    assert read_csv(results.trials) == [{"trial": "0", "seed": "0", "valid_accuracy": "", "error": ""}]


def test_a_training_without_a_search_is_its_only_trial(run: Run) -> None:
    _, results = run()
    last = read_csv(results.history)[-1]
    assert read_csv(results.trials) == [
        {"trial": "0", "seed": "0", "valid_accuracy": last["valid_accuracy"], "error": ""}
    ]


def test_the_same_configuration_gives_the_same_bytes(run: Run) -> None:
    _, results = run()
    first = digests(results.folder)
    run()
    assert digests(results.folder) == first
    run("tiny", {"seed": 1})
    assert digests(results.folder)["parameters.pkl"] != first["parameters.pkl"]


def test_early_stopping_keeps_the_best_parameters(run: Run) -> None:
    _, results = run(
        "tiny",
        {
            "training.epochs": 30,
            "training.early_stopping.monitor": "valid_accuracy",
            "training.early_stopping.patience": 3,
            "optimizer.name": "adam",
            "optimizer.learning_rate": 0.05,
        },
    )
    history = [float(row["valid_accuracy"]) for row in read_csv(results.history)]
    assert len(history) < 31
    assert read_csv(results.trials)[0]["valid_accuracy"] == repr(max(history))
    assert history.index(max(history)) == len(history) - 4


def test_a_search_trains_its_best_trial(run: Run, parsed: Layout) -> None:
    config, results = run("tiny_grid")
    rows = read_csv(results.trials)
    assert list(rows[0]) == [
        "trial",
        "model.hidden",
        "optimizer.learning_rate",
        "seed",
        "valid_accuracy",
        "error",
    ]
    assert [(row["trial"], row["model.hidden"], row["optimizer.learning_rate"]) for row in rows] == [
        ("0", "[4]", "0.001"),
        ("1", "[4]", "0.3"),
        ("2", "[8]", "0.001"),
        ("3", "[8]", "0.3"),
    ]
    trials = trials_of(config)
    assert [int(row["seed"]) for row in rows] == [trial.seed for trial in trials]
    assert len({row["seed"] for row in rows}) == 4
    accuracies = [float(row["valid_accuracy"]) for row in rows]
    best = trials[accuracies.index(max(accuracies))]
    # The parameters are those of that configuration trained alone.
    alone = Results(parsed.root / "alone")
    split.run(ExperimentContext(parsed, best, alone))
    stage.run(ExperimentContext(parsed, best, alone))
    assert alone.parameters.read_bytes() == results.parameters.read_bytes()
    assert alone.history.read_bytes() == results.history.read_bytes()
    assert max(accuracies) == float(read_csv(results.history)[-1]["valid_accuracy"])


def test_the_number_of_processes_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, results = run("tiny_grid")
    first = digests(results.folder)
    monkeypatch.setenv(WORKERS_VARIABLE, "2")
    run("tiny_grid")
    assert digests(results.folder) == first


def test_the_number_of_processes_is_handed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recorded(name: str, workers: int) -> engines.Engine:
        asked.append(workers)
        return opened(name, 1)

    opened = engines.open_engine
    monkeypatch.setattr(engines, "open_engine", recorded)
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 2**40)
    monkeypatch.setattr(runtime, "processors", lambda: 7)
    for text in ("3", ""):
        monkeypatch.setenv(WORKERS_VARIABLE, text)
        run("tiny_grid")
    # There are four trials.
    assert asked == [3, 4]


def test_the_number_of_threads_is_handed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    def recorded(*given: Any, threads: int) -> Any:  # noqa: ANN401  (as of the loop)
        found.append(threads)
        return training.train(*given, threads=threads)

    for module in (stage, trials):
        monkeypatch.setattr(module, "train", recorded)
    monkeypatch.setenv("PIPELINE_WORKERS", "1")
    for number in (1, 2):
        monkeypatch.setenv("PIPELINE_THREADS", str(number))
        run("tiny_grid", {"search.space": {"seed": [1, 2]}})
    # Two trials, and the better one again.
    assert found == [1, 1, 1, 2, 2, 2]


def test_trials_that_come_in_any_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, results = run("tiny_grid")
    first = digests(results.folder)
    in_order = engines.run
    monkeypatch.setattr(engines, "run", lambda *given, **others: reversed(list(in_order(*given, **others))))
    run("tiny_grid")
    assert digests(results.folder) == first


def trials_of(config: Config) -> list[Config]:
    return [configured(config, trial.values) for trial in next(strategies.rounds(config.search, 3))]


def diverging(*scales: float) -> dict[str, object]:
    """A search over initial weights, some of them too large."""
    return {"model.activation": "relu", "search.space": {"initializer": {"scale": list(scales)}}}


def test_a_trial_that_diverges_is_in_the_table_and_never_wins(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    _, results = run("tiny_grid", diverging(1e30, 1.0))
    failed, sound = read_csv(results.trials)
    assert failed["valid_accuracy"] == ""
    assert failed["error"].startswith("tiny_grid diverged in epoch 1 at step 1: the loss is ")
    assert "\n" not in failed["error"]
    assert (sound["valid_accuracy"] != "", sound["error"]) == (True, "")
    assert f"trial 0 failed: {failed['error']}" in capsys.readouterr().err
    assert all(np.isfinite(array).all() for array in read_parameters(results.parameters).values())


def test_a_search_of_which_every_trial_diverges(run: Run, parsed: Layout) -> None:
    with pytest.raises(PipelineError, match=r"^all 2 trials failed; the first: tiny_grid diverged"):
        run("tiny_grid", diverging(1e30, 1e31))
    assert not parsed.results("tiny_grid").parameters.exists()


def test_a_search_of_one(run: Run) -> None:
    space = {"model": {"hidden": [[3]]}, "optimizer": {"learning_rate": [0.3]}}
    config, results = run("tiny_grid", {"search.space": space})
    (row,) = read_csv(results.trials)
    assert (row["model.hidden"], row["optimizer.learning_rate"]) == ("[3]", "0.3")
    assert row["seed"] == str(trials_of(config)[0].seed)
    assert read_parameters(results.parameters)["W1"].shape == (784, 3)


def test_worker_processes_that_compute_differently_are_found(
    run: Run, parsed: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        engines,
        "run",
        lambda _, __, trials, *___, **____: (Outcome(trial.number, 0.01 * trial.number) for trial in trials),
    )
    with pytest.raises(PipelineError) as caught:
        run("tiny_grid")
    assert str(caught.value).startswith("tiny_grid: trial 3 gave 0.03 and the same training again ")
    assert str(caught.value).endswith("; the worker processes compute differently (another runtime?)")
    assert not parsed.results("tiny_grid").parameters.exists()


def test_a_training_that_diverges_leaves_nothing(run: Run, parsed: Layout) -> None:
    with pytest.raises(DivergenceError) as caught:
        run("tiny", {"model.activation": "relu", "initializer.scale": 1e30})
    assert str(caught.value).startswith("tiny diverged in epoch 1 at step 1: the loss is ")
    assert str(caught.value).count("\n") == 1
    assert [path.name for path in parsed.results("tiny").folder.iterdir()] == ["split.npz"]


STOPPING = {"training.early_stopping.monitor": "valid_loss"}
# A fraction of a class of 20 images, rounded down to none.
NEARLY_NONE = {
    "split.name": "stratified",
    "split.valid_count": 0,
    "split.train_fraction": 0.9,
    "split.valid_fraction": 0.01,
}


@pytest.mark.parametrize(
    "changes",
    [
        {**NEARLY_NONE, **STOPPING},
        {**NEARLY_NONE, "search.name": "grid", "search.space": {"seed": [1, 2]}},
        # A number that this kind of split does not look at.
        {"split.valid_count": 0, "split.valid_fraction": 0.5, **STOPPING},
    ],
)
def test_an_empty_valid_part_where_one_is_needed(run: Run, changes: Mapping[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        run("tiny", changes)
    assert str(caught.value) == (
        "tiny: the valid part is empty, and a search or early stopping needs one (see split)"
    )


def test_fewer_names_than_classes(run: Run, parsed: Layout) -> None:
    with pytest.raises(FormatError) as caught:
        run("tiny", {"dataset.sources.bundled.classes": ["a", "b", "c"]})
    assert str(caught.value).startswith(
        f"{parsed.parsed('bundled', 'tiny')}/train: labels: found values from 0 to 9, expected 0 to 2; "
    )


@pytest.mark.usefixtures("composed")
def test_progress_is_told_in_lines(cli: Run) -> None:
    assert cli("split", "tiny_grid").code == 0
    lines = cli("train", "tiny_grid").err.splitlines()
    assert lines[0].startswith("tiny_grid: search: 1 of 4 trials (25 %), best ")
    assert any(line.startswith("tiny_grid: search: 4 of 4 trials (100 %), best ") for line in lines)
    assert any(line.startswith("tiny_grid: the best of 4 trials is model.hidden=[") for line in lines)
    assert lines[-1].startswith("tiny_grid: 3 of 3 epochs (100 %), train_loss ")


class Killed(BaseException):
    """Stands for the end of the process."""


def interrupted(monkeypatch: pytest.MonkeyPatch, module: object, name: str, after: int) -> list[int]:
    """Let calls of a function through until `after` of them are made; the list has one item per call."""
    calls: list[int] = []
    real = getattr(module, name)

    def counted(*arguments: Any) -> Any:  # noqa: ANN401  (whatever it is)
        if len(calls) == after:
            raise Killed
        calls.append(len(calls))
        return real(*arguments)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_interrupted_training_goes_on_after_its_last_epoch(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parsed: Layout, after: int
) -> None:
    _, results = run()
    undisturbed = digests(results.folder)
    for name in FILES:
        (results.folder / name).unlink()
    monkeypatch.setattr(resume, "_SHARE", 0)  # every epoch is saved, however short
    with monkeypatch.context() as patch:
        if after == 3:
            # All epochs are done, and the outputs are being written.
            interrupted(patch, stage, "write_csv", 1)
        else:
            interrupted(patch, training._Run, "epoch", after)
        with pytest.raises(Killed):
            run()
    assert set(digests(results.folder)) <= {"split.npz", "parameters.pkl", "history.csv"}
    capsys.readouterr()
    with monkeypatch.context() as patch:
        calls = interrupted(patch, training._Run, "epoch", 3)
        run()
    assert len(calls) == 3 - after
    assert f"tiny: going on after epoch {after} of 3, where it was interrupted" in capsys.readouterr().err
    assert digests(results.folder) == undisturbed
    assert list(parsed.states.glob("*")) == []


def test_an_interrupted_training_of_something_else_is_left_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, training._Run, "epoch", 1)
        with pytest.raises(Killed):
            run()
    _, results = run("tiny", {"optimizer.learning_rate": 0.3})
    assert "going on" not in capsys.readouterr().err
    changed = digests(results.folder)
    run("tiny", {"optimizer.learning_rate": 0.3})
    assert digests(results.folder) == changed


def test_an_interrupted_search_goes_on_with_its_first_unfinished_trial(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parsed: Layout
) -> None:
    _, results = run("tiny_grid")
    undisturbed = digests(results.folder)
    with monkeypatch.context() as patch:
        interrupted(patch, Attempt, "__call__", 3)
        with pytest.raises(Killed):
            run("tiny_grid")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        calls = interrupted(patch, Attempt, "__call__", 4)
        run("tiny_grid")
    assert len(calls) == 1
    assert (
        "tiny_grid: going on with a search that was interrupted: 3 trials are done" in capsys.readouterr().err
    )
    assert digests(results.folder) == undisturbed
    assert list(parsed.states.glob("*")) == []


def test_a_failed_trial_is_not_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = diverging(1e30, 1.0, 0.5)
    with monkeypatch.context() as patch:
        interrupted(patch, Attempt, "__call__", 1)
        with pytest.raises(Killed):
            run("tiny_grid", changes)
    calls = interrupted(monkeypatch, Attempt, "__call__", 9)
    _, results = run("tiny_grid", changes)
    assert len(calls) == 2
    assert [bool(row["error"]) for row in read_csv(results.trials)] == [True, False, False]


# --- halving


def halved(run: Run, **changes: object) -> list[dict[str, str]]:
    _, results = run(
        "tiny_grid",
        {
            "search.name": "halving",
            "search.factor": 2,
            "search.minimum_epochs": 1,
            "training.epochs": 5,
            "search.space": {"optimizer": {"learning_rate": [1e-3, 0.3, 0.1, 0.03]}},
            **changes,
        },
    )
    return read_csv(results.trials)


def test_halving_trains_the_best_of_each_round_longer(run: Run, parsed: Layout) -> None:
    rows = halved(run)
    assert list(rows[0])[-4:] == ["seed", "epochs", "valid_accuracy", "error"]
    assert sorted(int(row["epochs"]) for row in rows) == [1, 1, 2, 5]
    (best,) = (row for row in rows if row["epochs"] == "5")
    results = parsed.results("tiny_grid")
    assert best["valid_accuracy"] == read_csv(results.history)[-1]["valid_accuracy"]
    # Nothing is left of the rounds.
    assert not list(parsed.states.rglob("*.npz"))


def test_a_round_goes_on_where_the_one_before_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def recorded(*given: Any, **named: Any) -> Any:  # noqa: ANN401  (as of the loop)
        resumed = given[4] if len(given) > 4 else None
        started.append(0 if resumed is None else resumed.epoch)
        return training.train(*given, **named)

    for module in (stage, trials):
        monkeypatch.setattr(module, "train", recorded)
    rows = halved(run)
    # Four trials, two of them again, and the best in full, in its round and at the end.
    assert started == [0, 0, 0, 0, 1, 1, 2, 0]

    # Without what they left, they begin again, and the table is the same.
    monkeypatch.setattr(TrialTask, "state", lambda *_: None)
    started.clear()
    assert halved(run) == rows
    assert started == [0] * 8


def test_early_stopping_ends_a_trial_within_its_round(run: Run) -> None:
    stopping = {"training.early_stopping.monitor": "valid_accuracy", "training.early_stopping.patience": 1}
    rows = halved(run, **stopping)
    assert len(rows) == 4
    assert all(row["error"] == "" for row in rows)


@pytest.mark.parametrize("name", ["random", "grid"])
def test_a_range_is_searched(run: Run, name: str) -> None:
    axis = {"low": 1e-3, "high": 0.5, "log": True, "count": 3}
    config, results = run(
        "tiny_grid",
        {"search.name": name, "search.trials": 3, "search.space": {"optimizer": {"learning_rate": axis}}},
    )
    rates = [float(row["optimizer.learning_rate"]) for row in read_csv(results.trials)]
    assert rates == [each.optimizer.learning_rate for each in trials_of(config)]
    assert len(set(rates)) == 3


def test_a_search_over_seeds_can_be_evaluated(run: Run) -> None:
    config, results = run("tiny_grid", {"search.space": {"seed": [5, 9]}})
    assert [row["seed"] for row in read_csv(results.trials)] == ["5", "9"]
    assert trained.trained_config(config, results).seed in {5, 9}


# --- the log


def test_the_log_keeps_rounds_apart_and_reads_back_what_was_appended(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "a" / "key.trials", clock=lambda: 0.0)
    outcomes = [
        Outcome(3, 0.5, "", 1),
        Outcome(3, 0.75, "", 2),
        Outcome(1, 0.25),
        Outcome(0, math.nan, "it diverged,\tand how"),
    ]
    for outcome in outcomes:
        log.append(outcome)
    log.append(Outcome(3, 0.9, "", 2))
    assert repr(TrialLog(log.path).read()) == repr(outcomes)
    with log.path.open("ab") as file:
        file.write(b"\n00000000 {half a li")
    assert repr(TrialLog(log.path).read()) == repr(outcomes)
    log.close()
    log.append(Outcome(9, 0.5))
    assert TrialLog(log.path).read()[-1] == Outcome(9, 0.5)
    log.remove()
    assert not log.path.parent.exists()


def test_the_log_waits_for_the_disk_about_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    synced = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(now))
    log = TrialLog(tmp_path / "key.trials", clock=lambda: now)
    for number in range(50):
        now = number / 10
        log.append(Outcome(number, 0.5))
    assert synced == [0.0, 1.0, 2.0, 3.0, 4.0]
    log.close()
    assert len(synced) == 6
