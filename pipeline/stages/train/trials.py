"""A search inside the train stage: its trials as tasks for workers, its rounds, its progress."""

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import UsageError
from pipeline.core.paths import Results
from pipeline.core.progress import Progress, progress, say
from pipeline.nn.evaluation import evaluate_parts
from pipeline.nn.examples import Examples
from pipeline.nn.training import Checkpoint, best_value, train
from pipeline.search import engines, strategies
from pipeline.search.engines import Engine
from pipeline.search.trials import Attempt, Outcome, Trial, failed
from pipeline.stages.shared.parts import Parts, load_parts
from pipeline.stages.train import workers
from pipeline.stages.train.resume import TrainingState, TrialLog
from pipeline.stages.train.workers import Requirements

WORKERS_VARIABLE = "PIPELINE_WORKERS"
LIMIT_VARIABLE = "PIPELINE_TRIAL_TIMEOUT_SECONDS"


@dataclass(frozen=True)
class TrialTask:
    """Trains one configuration on data that every process maps for itself; only paths travel.

    Attributes:
        parsed: the folder of the data set.
        results: where the split is.
        requirements: what a worker has to have in common with this process.
        states: the beginning of the paths at which trials wait for their next round; None where there is one.
    """

    parsed: Path
    results: Results
    requirements: Requirements
    states: Path | None

    def prepare(self) -> None:
        """See that this process is fit for the work.

        Raises:
            PipelineError: it is not.
        """
        workers.check(self.requirements)

    def __call__(self, config: Config, trial: Trial) -> float:
        """Train the configuration of a trial; its valid accuracy."""
        self.prepare()
        folder = Results(self._locate(self.results.split).parent)
        parts = load_parts(self._locate(self.parsed), folder, config)
        # Only early stopping looks at the valid part before the end.
        early = config.training.early_stopping.monitor is not None
        watched = {"valid": parts.valid} if early else {}
        # Where the round before left off, or from the start: the bits are the same.
        state = self.state(trial.number)
        begun = state.load() if state is not None else None
        if begun is not None and trial.epochs is not None and begun.epoch > trial.epochs:
            begun = None
        # One checkpoint at a time: each holds the parameters several times over.
        (last,) = deque(_train_until(trial.epochs, config, parts, watched, begun), maxlen=1)
        if state is not None and trial.epochs is not None:
            state.save(last)
        if early:
            return best_value(last)
        final = evaluate_parts(config, last.result, parts.statistics, {"valid": parts.valid})
        return final["valid"].accuracy

    def state(self, number: int) -> TrainingState | None:
        """Where a trial is kept from one round to the next, on machines that share the folder."""
        if self.states is None:
            return None
        return TrainingState(self.states.with_name(f"{self.states.name}-{number}.npz"))

    def _locate(self, path: Path) -> Path:
        return workers.located(path, self.requirements.root)


def _train_until(
    epochs: int | None,
    config: Config,
    parts: Parts,
    watched: Mapping[str, Examples],
    begun: Checkpoint | None,
) -> Iterator[Checkpoint]:
    """The checkpoints of a training from where it begins up to a number of epochs; None: to the end."""
    if begun is not None:
        yield begun
        if begun.epoch == epochs:
            return
    run = train(config, parts.train, watched, parts.statistics, begun, threads=runtime.threads())
    for checkpoint in run:
        yield checkpoint
        if checkpoint.epoch == epochs:
            return


class SearchRun:
    """One search, from its first round to its last."""

    def __init__(
        self, config: Config, task: TrialTask, log: TrialLog, full_epochs: int, engine_name: str
    ) -> None:
        self.config, self.task, self.log = config, task, log
        self.full_epochs, self.engine_name = full_epochs, engine_name
        self.done = {(outcome.number, outcome.epochs): outcome for outcome in log.read()}

    def run(self, needed_bytes: int) -> list[tuple[Trial, Outcome]]:
        """Try every trial of every round that is not in the log.

        Args:
            needed_bytes: memory that a trial takes.

        Returns:
            Each trial with its last outcome, by number.
        """
        name = self.config.name
        if self.done:
            say(f"{name}: going on with a search that was interrupted: {len(self.done)} trials are done")
        latest: dict[int, tuple[Trial, Outcome]] = {}
        rounds = strategies.rounds(self.config.search, self.full_epochs)
        total = strategies.planned(self.config.search, self.full_epochs)
        with (
            progress(total, f"{name}: search", "trials") as bar,
            engines.open_engine(self.engine_name, min(_count_side_by_side(needed_bytes), total)) as engine,
        ):
            engine.everywhere(self.task.prepare)
            shown = _SearchProgress(bar, total)
            outcomes: Sequence[Outcome] | None = None
            with contextlib.suppress(StopIteration):
                while True:
                    trials = next(rounds) if outcomes is None else rounds.send(outcomes)
                    self._forget(latest.keys() - {trial.number for trial in trials})
                    self._run_round(trials, engine, shown)
                    outcomes = [self.done[trial.number, trial.epochs] for trial in trials]
                    for trial, outcome in zip(trials, outcomes, strict=True):
                        latest[trial.number] = trial, outcome
        self._forget(latest)
        return [latest[number] for number in sorted(latest)]

    def _run_round(self, trials: Sequence[Trial], engine: Engine, shown: "_SearchProgress") -> None:
        left = [trial for trial in trials if (trial.number, trial.epochs) not in self.done]
        shown.count_done(
            [outcome for trial in trials if (outcome := self.done.get((trial.number, trial.epochs)))]
        )
        attempt = Attempt(self.config, self.task)
        limit = _limit_seconds()
        for outcome in engines.run(engine, attempt, left, _outcome_of_death, shown.note, limit_seconds=limit):
            self.log.append(outcome)
            self.done[outcome.number, outcome.epochs] = outcome
            shown.count_one(outcome)

    def _forget(self, numbers: Iterable[int]) -> None:
        """Remove what trials that are in no further round left for it."""
        for number in numbers:
            if (state := self.task.state(number)) is not None:
                state.remove()


def _outcome_of_death(trial: Trial) -> Outcome:
    return failed(trial, f"its process died, {engines.ATTEMPTS} times by itself (killed, or out of memory)")


class _SearchProgress:
    """Tells the progress of a search: the best trial so far, and the time left."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar, self._total = bar, total
        self._best = -math.inf
        self._counted = 0
        self._start = time.monotonic()
        self.note = bar.note

    def count_done(self, outcomes: Sequence[Outcome]) -> None:
        """Count trials that an earlier run has done."""
        for outcome in outcomes:
            self._best = max(self._best, outcome.valid_accuracy if not outcome.error else -math.inf)
        if outcomes:
            self._bar.advance(len(outcomes))

    def count_one(self, outcome: Outcome) -> None:
        """Count one more."""
        self._counted += 1
        if outcome.error:
            self._bar.note(f"trial {outcome.number} failed: {outcome.error}")
        else:
            self._best = max(self._best, outcome.valid_accuracy)
        seconds = (time.monotonic() - self._start) / self._counted * (self._total - self._bar.done - 1)
        best = self._best if self._best > -math.inf else "none"
        self._bar.advance(best=best, left=_format_duration(seconds))


def _format_duration(seconds: float) -> str:
    """As long as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:  # from here on minutes are easier
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count_side_by_side(needed_bytes: int) -> int:
    """How many trials, of so much memory each, can run on this machine at a time."""
    return min(_read_worker_count() or runtime.processors(), runtime.memory_bytes() // needed_bytes)


def _read_worker_count() -> int | None:
    text = os.environ.get(WORKERS_VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{WORKERS_VARIABLE}={text}: expected a number of processes, 1 or more")
    return int(text)


def _limit_seconds() -> float | None:
    """How long a trial may be under way; a matter of the machines, so no value of the configuration."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise UsageError(f"{LIMIT_VARIABLE}={text}: expected a number of seconds above 0")


def describe_values(values: Mapping[str, object]) -> str:
    """Keys and their values in one line."""
    return ", ".join(f"{key}={value}" for key, value in values.items())
