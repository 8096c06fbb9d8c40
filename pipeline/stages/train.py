"""train: search where the configuration asks for it, then train, and save parameters and history."""

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib

from pipeline import memory, runtime, search
from pipeline.config import Config
from pipeline.errors import ConfigError, PipelineError, UsageError
from pipeline.layout import Layout, Results
from pipeline.progress import progress, say
from pipeline.search import Outcome, Trial
from pipeline.stages.data import Parts, load_parts
from pipeline.stages.state import TrainingState, TrialLog, discard_old, state_key
from pipeline.storage import write_csv, write_parameters
from pipeline.training import (
    Checkpoint,
    best_value,
    evaluate_parts,
    network_of,
    steps_per_epoch,
    total_steps,
    train,
)

HISTORY = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
)
WORKERS_VARIABLE = "PIPELINE_WORKERS"


@dataclass(frozen=True)
class _TrialTask:
    """Trains one configuration on data that every process maps for itself; only paths travel."""

    parsed: Path
    results: Results
    driver: int

    def __call__(self, config: Config) -> float:
        if os.getpid() != self.driver:
            runtime.end_with_parent(self.driver)
        parts = load_parts(self.parsed, self.results)
        # Only early stopping looks at the valid part before the end.
        early = config.training.early_stopping.monitor is not None
        watched = {"valid": parts.valid} if early else {}
        # One checkpoint at a time: each holds the parameters several times over.
        (last,) = deque(train(config, parts.train, watched, parts.statistics), maxlen=1)
        if early:
            return best_value(last)
        final = evaluate_parts(config, last.result, parts.statistics, {"valid": parts.valid})
        return final["valid"].accuracy


def inputs(layout: Layout, config: Config) -> list[Path]:
    """What the stage reads."""
    return [layout.parsed(config.source, config.dataset.name), layout.results(config.name).split]


def run(layout: Layout, config: Config, results: Results) -> None:
    """Write parameters.pkl, history.csv, steps.csv and trials.csv.

    Raises:
        DivergenceError: a loss is not finite.
        ConfigError: there are more classes than names; or there is no valid part, and a search or early
            stopping needs one.
        PipelineError: an input is missing, or every trial of a search failed.
    """
    parsed = layout.parsed(config.source, config.dataset.name)
    parts = load_parts(parsed, results)
    highest = max(int(part.labels.max()) for part in (parts.train, parts.test))
    if highest >= len(config.classes):
        raise ConfigError(
            f"dataset.sources.{config.source}.classes: {len(config.classes)} names, but {parsed} has"
            f" the label {highest}"
        )
    trials = search.trials(config)
    if not len(parts.valid) and (config.search.space or config.training.early_stopping.monitor):
        raise ConfigError(
            f"{config.name}: the valid part is empty, and a search or early stopping needs one (see split)"
        )
    needed_bytes = max(memory.check(trial.config) for trial in trials)
    # Where an interrupted run of the same work left off.
    folder, read = layout.state(config.name), [parsed, results.split]
    discard_old(layout.states)
    log = TrialLog(folder / f"{state_key(config, read)}.trials")
    outcomes: list[Outcome] = []
    chosen = trials[0]
    if len(trials) > 1:
        outcomes = _search(trials, _TrialTask(parsed, results, os.getpid()), config.name, needed_bytes, log)
        chosen = trials[search.best(outcomes).number]
        say(f"{config.name}: the best of {len(trials)} trials is {_told(chosen)}; training it in full")
    state = TrainingState(folder / f"{state_key(chosen.config, read)}.npz")
    last = _train(chosen.config, parts, state)
    if not outcomes:
        outcomes = [Outcome(0, best_value(last) if len(parts.valid) else math.nan)]
    elif best_value(last) != outcomes[chosen.number].valid_accuracy:
        raise PipelineError(
            f"{config.name}: trial {chosen.number} gave {outcomes[chosen.number].valid_accuracy} and the same"
            f" training again {best_value(last)}; the worker processes compute differently (another runtime?)"
        )
    write_parameters(results.parameters, network_of(chosen.config).views(last.result))
    write_csv(results.history, HISTORY, ([row.get(name) for name in HISTORY] for row in last.history))
    write_csv(results.steps, ("step", "loss"), enumerate(last.step_losses.tolist()))
    write_csv(results.trials, *_trials_table(config, trials, outcomes))
    # Only now: until every output is there, a kill would cost the whole run.
    state.remove()
    log.remove()


def _search(
    trials: Sequence[Trial], task: search.Task, name: str, needed_bytes: int, log: TrialLog
) -> list[Outcome]:
    """Run every trial that is not in the log, as many at a time as there is memory for.

    Returns:
        The outcomes in the order of the trials.
    """
    outcomes = log.read()
    done = {outcome.number for outcome in outcomes}
    left = [trial for trial in trials if trial.number not in done]
    workers = min(_workers() or joblib.cpu_count(), runtime.memory_bytes() // needed_bytes)
    if done:
        say(f"{name}: going on with a search that was interrupted: {len(done)} trials are done")
    with progress(len(trials), f"{name}: search", "trials") as bar:
        if done:
            bar.advance(len(done))
        for outcome in search.run(left, task, workers):
            log.append(outcome)
            outcomes.append(outcome)
            if outcome.error:
                bar.note(f"trial {outcome.number} failed: {outcome.error}")
            sound = [each for each in outcomes if not each.error]
            bar.advance(best=search.best(sound).valid_accuracy if sound else math.nan)
    return sorted(outcomes, key=lambda outcome: outcome.number)


def _workers() -> int | None:
    text = os.environ.get(WORKERS_VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{WORKERS_VARIABLE}={text}: expected a number of processes, 1 or more")
    return int(text)


def _train(config: Config, parts: Parts, state: TrainingState) -> Checkpoint:
    """Train to the end, from the last epoch that an interrupted run has completed."""
    steps = total_steps(config, len(parts.train))
    epochs = -(-steps // steps_per_epoch(len(parts.train), config.training.batch_size))
    watched = {"train": parts.train, "valid": parts.valid}
    resumed = last = state.load()
    if resumed is not None:
        say(f"{config.name}: going on after epoch {resumed.epoch} of {epochs}, where it was interrupted")
    with progress(epochs, config.name, "epochs") as bar:
        if resumed is not None:
            bar.advance(resumed.epoch)
        for checkpoint in train(config, parts.train, watched, parts.statistics, resumed):
            state.save(checkpoint)
            row = checkpoint.history[-1]
            shown = {key: row[key] for key in HISTORY[3:] if key in row}
            bar.advance(1 if checkpoint.epoch else 0, **shown)
            last = checkpoint
    if last is None:
        raise AssertionError("a training yields at least one checkpoint")
    return last


def _told(trial: Trial) -> str:
    return ", ".join(f"{key}={value}" for key, value in trial.values.items())


def _trials_table(
    config: Config, trials: Sequence[Trial], outcomes: Sequence[Outcome]
) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
    axes = list(config.search.axes())
    header = ("trial", *axes, "seed", "valid_accuracy", "error")
    rows = (
        (
            trial.number,
            *(trial.values[axis] for axis in axes),
            trial.config.seed,
            None if math.isnan(outcome.valid_accuracy) else outcome.valid_accuracy,
            outcome.error,
        )
        for trial, outcome in zip(trials, outcomes, strict=True)
    )
    return header, rows
