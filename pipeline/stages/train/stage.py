"""The stage itself: what it reads and writes, and from where it goes on after an interruption."""

import contextlib
import math
from pathlib import Path

from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.files import contracts
from pipeline.core.files.parameters import write_parameters
from pipeline.core.files.tables import write_csv
from pipeline.core.progress import progress, say
from pipeline.nn import memory
from pipeline.nn.setup import network_of, total_epochs
from pipeline.nn.training import Checkpoint, best_value, train
from pipeline.search import engines, strategies, table
from pipeline.search.trials import Outcome, Trial, configured
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import Parts, load_parts
from pipeline.stages.train import workers
from pipeline.stages.train.resume import TrainingState, TrialLog, discard_old, state_key
from pipeline.stages.train.trials import SearchRun, TrialTask, describe_values


def inputs(context: ExperimentContext) -> list[Path]:
    """What the stage reads."""
    return [context.parsed, context.results.split]


def run(context: ExperimentContext) -> None:
    """Write parameters.pkl, history.csv, steps.csv and trials.csv.

    Raises:
        DivergenceError: a loss is not finite.
        ConfigError: there is no valid part, and a search or early stopping needs one.
        PipelineError: an input is missing or not what it should be, or every trial of a search failed.
    """
    layout, config, results = context.layout, context.config, context.results
    if doubts := runtime.doubts():
        # The other stages of this machine have the same to say.
        say(f"{config.name}: the results may have other bits than on other machines: {'; '.join(doubts)}")
    parts = load_parts(context.parsed, results, config)
    if not len(parts.valid) and (config.search.space or config.training.early_stopping.monitor):
        raise ConfigError(
            f"{config.name}: the valid part is empty, and a search or early stopping needs one (see split)"
        )
    needed_bytes = max(memory.check(each) for each in strategies.foreseen(config))
    # Where an interrupted run of the same work left off.
    folder, read = layout.state(config.name), inputs(context)
    discard_old(layout.states)
    key = state_key(config, read)
    log = TrialLog(folder / f"{key}.trials")
    full_epochs = total_epochs(config, len(parts.train))
    tried: list[tuple[Trial, Outcome]] = []
    trial = Trial(0, {})
    if config.search.name != "none":
        states = folder / key if config.search.name == "halving" else None
        task = TrialTask(context.parsed, results, workers.requirements_of(layout.root, read), states)
        with contextlib.closing(log):
            tried = SearchRun(config, task, log, full_epochs, engines.select(context.engine)).run(
                needed_bytes
            )
        best = table.best([outcome for _, outcome in tried])
        trial = tried[best.number][0]
        say(
            f"{config.name}: the best of {len(tried)} trials is {describe_values(trial.values)};"
            " training it in full"
        )
    chosen = configured(config, trial.values)
    state = TrainingState(folder / f"{state_key(chosen, read)}.npz")
    last = _train(chosen, parts, state)
    if not tried:
        tried = [(trial, Outcome(0, best_value(last) if len(parts.valid) else math.nan))]
    elif best_value(last) != best.valid_accuracy:
        raise PipelineError(
            f"{config.name}: trial {trial.number} gave {best.valid_accuracy} and the same training again"
            f" {best_value(last)}; the worker processes compute differently (another runtime?)"
        )
    write_parameters(results.parameters, network_of(chosen).views(last.result))
    write_csv(
        results.history,
        contracts.HISTORY,
        ([row.get(name) for name in contracts.HISTORY] for row in last.history),
    )
    write_csv(results.steps, contracts.STEPS, enumerate(last.step_losses.tolist()))
    rows = (table.row(config, *each, full_epochs) for each in tried)
    write_csv(results.trials, table.header(config.search), rows)
    # Only now: until every output is there, a kill would cost the whole run.
    state.remove()
    log.remove()


def _train(config: Config, parts: Parts, state: TrainingState) -> Checkpoint:
    """Train to the end, from the last epoch that an interrupted run has completed."""
    epochs = total_epochs(config, len(parts.train))
    watched = {"train": parts.train, "valid": parts.valid}
    resumed = last = state.load()
    if resumed is not None:
        say(f"{config.name}: going on after epoch {resumed.epoch} of {epochs}, where it was interrupted")
    with progress(epochs, config.name, "epochs") as bar:
        if resumed is not None:
            bar.advance(resumed.epoch)
        run = train(config, parts.train, watched, parts.statistics, resumed, threads=runtime.threads())
        for checkpoint in run:
            state.save(checkpoint)
            row = checkpoint.history[-1]
            shown = {key: row[key] for key in contracts.MEASURED if key in row}
            bar.advance(1 if checkpoint.epoch else 0, **shown)
            last = checkpoint
    if last is None:
        raise AssertionError("a training yields at least one checkpoint")
    return last
