"""The training loop: batches, steps, one checkpoint per epoch, early stopping, exact resumption.

Nothing here opens a file or prints: `train` yields, and whoever iterates saves and reports.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError, DivergenceError
from pipeline.nn.arrays import Floats, Integers, random_source, random_state, set_random_state
from pipeline.nn.augmentation import augmentation_of
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.examples import Examples
from pipeline.nn.gradients import GRADIENTS
from pipeline.nn.optimizers import OPTIMIZERS, State, decay_weights, init_state
from pipeline.nn.preprocessing import Loader, Statistics
from pipeline.nn.sampling import SAMPLERS
from pipeline.nn.schedules import SCHEDULES, Moment
from pipeline.nn.setup import (
    check_names,
    is_large,
    merge_hyperparameters,
    steps_per_epoch,
    total_steps,
    training_network_of,
)
from pipeline.nn.threads import Team
from pipeline.nn.workspace import Workspace

Row = Mapping[str, float]

Part = tuple[Floats, Floats, State]
"""Parameters, gradient and optimizer state, or the same slice of each."""

MASK_STREAM: Final = 2
"""Which of the seed's independent random streams dropout draws from; 1 is the split's."""

LOOKUP_STEPS: Final = 32
"""For how many of them images and labels are looked up at a time: a look-up costs more than what it finds."""


@dataclass(frozen=True)
class Best:
    """The best epoch so far by the early stopping monitor: its value and its folded parameters (count,)."""

    epoch: int
    value: float
    parameters: Floats


@dataclass(frozen=True)
class Checkpoint:
    """A training run after an epoch: enough to go on from here as if nothing had happened.

    Attributes:
        epoch: completed epochs (the last one may be cut short by the step limit).
        step: completed steps.
        parameters: flat vector (count,), as they are trained.
        running: batch normalization's running statistics, flat.
        folded: the parameters that go into a pickle, those of `setup.network_of`, flat: nothing else is ever
            evaluated. Without batch normalization they are `parameters`.
        optimizer_state: the optimizer's slots.
        random_state: of the random source that draws the batches.
        history: one row per epoch, epoch 0 being the untrained network.
        step_losses: float64 (step,), the loss of every step's batch, penalty included.
        best: with early stopping, the best epoch so far.
        finished: whether this is the last checkpoint of the run.
    """

    epoch: int
    step: int
    parameters: Floats
    running: Floats
    folded: Floats
    optimizer_state: State
    random_state: dict[str, Any]
    history: tuple[Row, ...]
    step_losses: Floats
    best: Best | None
    finished: bool

    @property
    def result(self) -> Floats:
        """The parameters to keep: the best ones with early stopping, else the latest."""
        return self.folded if self.best is None else self.best.parameters


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        config: Config,
        watched: Mapping[str, Examples],
        examples: Examples,
        statistics: Statistics,
        threads: int = 1,
    ) -> None:
        check_names(config)
        network = training_network_of(config)
        settings = config.training
        self.config, self.examples, self.watched = config, examples, watched
        self.steps = total_steps(config, len(examples))
        self.epoch_steps = steps_per_epoch(len(examples), settings.batch_size)
        self.random = random_source(config.random, config.seed)
        large = is_large(config)
        self.team = Team(threads if large else 1)
        self.loader = Loader(
            statistics,
            network.dtype,
            settings.batch_size,
            network.sizes[0],
            augmentation_of(config, settings.batch_size),
        )
        self.workspace = Workspace(
            network,
            settings.batch_size,
            loss=config.loss.name,
            label_smoothing=config.loss.label_smoothing,
            regularizer=config.regularizer.name,
            strength=config.regularizer.strength,
            divisor=self.loader.divisor,
            spare=self.team.threads > 1,
            team=self.team,
        )
        self.workspace.parameters[:] = network.initialize(
            self.random, config.initializer.name, config.initializer.scale
        )
        self.evaluator = Evaluator(network.folded, config.loss.name, statistics)
        self.optimizer = OPTIMIZERS[config.optimizer.name]
        self.optimizer_state = init_state(self.optimizer, self.workspace.parameters)
        self.update_parts = self._parts(2 if large else 1)
        self.optimizer_settings = merge_hyperparameters(
            "optimizer", self.optimizer.defaults, config.optimizer.hyperparameters()
        )
        self.schedule = SCHEDULES[config.schedule.name]
        self.schedule_settings = merge_hyperparameters(
            "schedule", self.schedule.defaults, config.schedule.hyperparameters()
        )
        self.step_losses: Floats = np.zeros(self.steps)
        self.drops_out = bool(network.dropout or network.input_dropout)
        # Indexing with NumPy's own index type spares a conversion per step.
        self.labels = examples.labels.astype(np.intp)

    def _parts(self, count: int) -> list[Part]:
        """Parameters, gradient and optimizer state cut into `count` slices: an update treats each alone."""
        size = len(self.workspace.parameters)
        bounds = [size * part // count for part in range(count + 1)]
        slices = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
        return [
            (
                self.workspace.parameters[part],
                self.workspace.gradient[part],
                {name: slot[part] if slot.ndim else slot for name, slot in self.optimizer_state.items()},
            )
            for part in slices
        ]

    def learning_rate(self, epoch: int, step: int) -> float:
        factor = self.schedule.factor(Moment(epoch, step, self.steps), self.schedule_settings)
        return self.config.optimizer.learning_rate * factor

    def epoch(self, epoch: int, step: int) -> int:
        """Train epoch number `epoch`, from 0, whose first step is `step`; the number of steps done so far."""
        settings = self.config.training
        gradient = GRADIENTS[settings.gradient]
        workspace, examples = self.workspace, self.examples
        count = min(self.epoch_steps, self.steps - step)
        blocks = SAMPLERS[settings.sampling](self.random, len(examples), settings.batch_size, count)
        # A run that diverges ends below, with an explanation; NumPy's warnings would only repeat it.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for labels in self._load_batches(blocks, step + 1):
                rate = self.learning_rate(epoch, step)
                step += 1
                if self.drops_out:
                    workspace.draw_masks(mask_source(self.config.seed, step))
                loss = gradient(workspace, labels)
                self._update(rate, step)
                if settings.step_loss == "after":
                    loss = workspace.mean_loss(labels)
                if not math.isfinite(loss):
                    raise self._divergence_error(epoch + 1, step, f"the loss is {loss}")
                self.step_losses[step - 1] = loss
        # No loss of this epoch has seen what the last update did.
        if not all(
            math.isfinite(extreme.reduce(workspace.parameters)) for extreme in (np.minimum, np.maximum)
        ):
            raise self._divergence_error(epoch + 1, step, "a parameter is not finite")
        return step

    def _update(self, rate: float, step: int) -> None:
        """The optimizer's step number `step`, from 1."""
        self.optimizer_state["count"][()] = step
        decay_weights(self.workspace.weights, rate, self.optimizer_settings)
        update, settings = self.optimizer.update, self.optimizer_settings
        if len(self.update_parts) == 1:
            update(*self.update_parts[0], rate, settings)
        else:
            self.team.together(*(partial(update, *part, rate, settings) for part in self.update_parts))

    def _load_batches(self, blocks: Iterator[Integers], first_step: int) -> Iterator[Integers]:
        """Labels of each batch, whose images are the inputs then; step numbers count from 1."""
        workspace, load, pixels = self.workspace, self.loader.load, self.examples.pixels
        batches = enumerate(self._batches(blocks), first_step)
        if self.team.threads == 1:
            for step, (chosen, labels) in batches:
                load(pixels, chosen, workspace.inputs, step)
                yield labels
            return
        # The next batch is loaded meanwhile. On one thread a second buffer would only crowd the cache.
        ready = None
        for step, (chosen, labels) in batches:
            task = self.team.start(partial(load, pixels, chosen, workspace.spare, step))
            if ready is not None:
                yield ready
            task.finish()
            workspace.swap()
            ready = labels
        if ready is not None:
            yield ready

    def _batches(self, blocks: Iterator[Integers]) -> Iterator[tuple[Integers, Integers]]:
        """Images and labels of each batch."""
        for block in blocks:
            for start in range(0, len(block), LOOKUP_STEPS):
                chosen = self.examples.indices.take(block[start : start + LOOKUP_STEPS])
                yield from zip(chosen, self.labels.take(chosen), strict=True)

    def _divergence_error(self, epoch: int, step: int, found: str) -> DivergenceError:
        """The error for epoch and step numbers from 1."""
        rate = self.learning_rate(epoch - 1, step - 1)
        return DivergenceError(
            f"{self.config.name} diverged in epoch {epoch} at step {step}: {found} with learning rate"
            f" {rate:g}.\nTry {self._remedy(rate)}; nothing was saved as a result."
        )

    def _remedy(self, rate: float) -> str:
        """What to change: a value that diverges by itself, if there is one."""
        regularizer, epsilon = self.config.regularizer, self.optimizer_settings.get("epsilon", 1.0)
        # Gradient descent on the penalty alone multiplies the weights by 1 - rate · strength in each step.
        if regularizer.name != "none" and regularizer.strength > max(1.0, 2 / rate):
            return f"a regularizer.strength well below {regularizer.strength:g}"
        # Squares of smaller gradients are rounded to 0, and a step divides by epsilon alone.
        if epsilon < math.sqrt(np.finfo(self.workspace.parameters.dtype).tiny):
            return f"an optimizer.epsilon well above {epsilon:g}"
        return "a smaller optimizer.learning_rate or initializer.scale"

    def row(self, epoch: int, step: int, folded: Floats) -> Row:
        row: dict[str, float] = {
            "epoch": epoch,
            "step": step,
            "learning_rate": self.learning_rate(max(epoch - 1, 0), max(step - 1, 0)),
        }
        for name, part in self.watched.items():
            if len(part):
                found = self.evaluator.evaluate(folded, part)
                if epoch and not math.isfinite(found.loss):
                    raise self._divergence_error(epoch, step, f"the {name} loss is {found.loss}")
                row |= {f"{name}_loss": found.loss, f"{name}_accuracy": found.accuracy}
        return row

    def restore(self, checkpoint: Checkpoint) -> None:
        self.workspace.parameters[:] = checkpoint.parameters
        self.workspace.running[:] = checkpoint.running
        for name, value in checkpoint.optimizer_state.items():
            self.optimizer_state[name][...] = value
        set_random_state(self.random, checkpoint.random_state)
        self.step_losses[: checkpoint.step] = checkpoint.step_losses

    def checkpoint(self, epoch: int, step: int, before: tuple[Row, ...], best: Best | None) -> Checkpoint:
        """The run as it is, after `before` and with the best epoch so far."""
        workspace, stopping = self.workspace, self.config.training.early_stopping
        parameters = workspace.parameters.copy()
        folded = workspace.network.fold(parameters, workspace.running)
        row = self.row(epoch, step, folded)
        if stopping.monitor is not None:
            best = self._update_best(row, folded, best)
        waited = 0 if best is None else epoch - best.epoch
        return Checkpoint(
            epoch=epoch,
            step=step,
            parameters=parameters,
            running=workspace.running.copy(),
            folded=folded,
            optimizer_state={name: value.copy() for name, value in self.optimizer_state.items()},
            random_state=random_state(self.random),
            history=(*before, row),
            step_losses=self.step_losses[:step].copy(),
            best=best,
            finished=step >= self.steps or waited >= stopping.patience,
        )

    def _update_best(self, row: Row, folded: Floats, best: Best | None) -> Best:
        stopping = self.config.training.early_stopping
        value = row[str(stopping.monitor)]
        if best is not None:
            gain = value - best.value if stopping.monitor == "valid_accuracy" else best.value - value
            if not gain > stopping.min_delta:
                return best
        return Best(int(row["epoch"]), value, folded)


def train(
    config: Config,
    examples: Examples,
    watched: Mapping[str, Examples],
    statistics: Statistics,
    resume: Checkpoint | None = None,
    *,
    threads: int = 1,
) -> Iterator[Checkpoint]:
    """Train on `examples` as `config` says, yielding a checkpoint before the first epoch and after each.

    The configuration's seed decides the initial weights and every batch. Going on from any yielded checkpoint
    gives the same bits as never having stopped.

    Args:
        config: a checked configuration; its search is not looked at.
        examples: the train part.
        watched: name (``train``, ``valid``) -> images to evaluate after every epoch for the history. A part
            without images is left out. The test part does not belong here.
        statistics: what preprocessing learnt from the train part.
        resume: a checkpoint of the same run to go on from; it is not yielded again.
        threads: 1, or more for a second one where the network is large; no bit depends on it.

    Yields:
        A `Checkpoint`; the last one is ``finished``.

    Raises:
        ConfigError: a name in the configuration is not in its registry, or early stopping has no valid part.
        DivergenceError: a loss or a parameter is not finite.
    """
    monitor = config.training.early_stopping.monitor
    if monitor and not len(watched.get("valid", ())):
        raise ConfigError(f"training.early_stopping.monitor={monitor}: the valid part has no images to watch")
    run = _Run(config, watched, examples, statistics, threads)
    if resume is None:
        latest = run.checkpoint(0, 0, (), None)
        yield latest
    else:
        run.restore(resume)
        latest = resume
    while not latest.finished:
        epoch = latest.epoch + 1
        step = run.epoch(latest.epoch, latest.step)
        latest = run.checkpoint(epoch, step, latest.history, latest.best)
        yield latest


def mask_source(seed: int, step: int) -> np.random.Generator:
    """What dropout's masks of step number `step`, from 1, are drawn from: of nothing that came before."""
    return np.random.Generator(np.random.PCG64([seed, MASK_STREAM, step]))


def best_value(checkpoint: Checkpoint) -> float:
    """The valid accuracy of the parameters that a finished run keeps: what a search chooses by.

    Raises:
        ConfigError: the run watched no valid part.
    """
    kept = checkpoint.epoch if checkpoint.best is None else checkpoint.best.epoch
    row = checkpoint.history[kept]
    if "valid_accuracy" not in row:
        raise ConfigError("search: the valid part has no images to choose by")
    return float(row["valid_accuracy"])
