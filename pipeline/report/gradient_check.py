"""Analytic gradients against central differences of fourth order, in float64. Arrays only."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import Floats, Random
from pipeline.nn.network import Network
from pipeline.nn.workspace import Workspace

TOLERANCE: Final = 1e-7
"""The largest relative error of a gradient that is right."""

STEP: Final = 5e-4
"""h of the differences, along directions of length 1: rounding and truncation are about equal there."""

_RESOLUTION: Final = 1e9
_OFFSETS: Final = (-2, -1, 1, 2)
_WEIGHTS: Final = (1 / 12, -8 / 12, 8 / 12, -1 / 12)
_ROWS: Final = 4
_NORMALIZED_ROWS: Final = 20  # of few rows the variance may be so small that differences are too coarse
_ATTEMPTS: Final = 200
_ATTEMPTS_PER_STEP: Final = 5


def toy_network(like: Network) -> Network:
    """A network of as many layers and of the same kind, so small that every parameter can be checked."""
    hidden = itertools.islice(itertools.cycle((5, 6)), like.depth - 1)
    return replace(like, sizes=(7, *hidden, 4), dtype="float64")


def every_parameter(network: Network) -> Iterator[tuple[str, list[Floats]]]:
    """Per parameter array its name, and a direction for each of its elements."""
    for name, view in network.views(np.arange(network.parameter_count, dtype=np.float64)).items():
        directions: list[Floats] = []
        for place in view.ravel().astype(np.int64):
            direction = np.zeros(network.parameter_count)
            direction[place] = 1
            directions.append(direction)
        yield name, directions


def random_directions(network: Network, random: Random, count: int) -> Iterator[tuple[str, list[Floats]]]:
    """Per parameter array its name, and `count` directions in which all its elements move, up or down."""
    for name in network.shapes:
        directions: list[Floats] = []
        for _ in range(count):
            direction = np.zeros(network.parameter_count)
            view = network.views(direction)[name]
            view[...] = random.choice([-1.0, 1.0], view.shape) / math.sqrt(view.size)
            directions.append(direction)
        yield name, directions


def relative_errors(
    workspace: Workspace, directions: Iterable[tuple[str, Sequence[Floats]]], random: Random
) -> dict[str, float]:
    """The worst relative error of the analytic derivatives, per parameter array.

    The derivative along d is compared with (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12h, where f(t) is the mean
    loss plus penalty at θ + t d (Abramowitz and Stegun, 25.3.6, whose error is of the order h⁴). The
    difference is divided by the larger of the two. Where that is so small that the loss's own rounding would
    show, it is divided by a billion times that rounding (about 1e-3 for a loss of 2.3) instead.

    Weights and inputs are drawn for each array: such weights that signal and gradient neither vanish nor
    explode from layer to layer, whatever the activation and depth.

    Args:
        workspace: of a float64 network, with at least one row; its parameters and inputs are overwritten.
        directions: names of parameter arrays, each with vectors (parameter count,) of length 1.
        random: draws weights, inputs and labels.

    Returns:
        Name -> error.

    Raises:
        PipelineError: no inputs could be found that keep away from the activation's kink.
    """
    network = workspace.network
    errors: dict[str, float] = {}
    for name, group in directions:
        _draw_parameters(workspace, random)
        labels = random.choice(network.sizes[-1], workspace.rows)
        step = _keep_from_kinks(workspace, group, random)
        rounding = float(np.finfo(np.float64).eps) * workspace.backward(labels) / step
        gradient = workspace.gradient.copy()
        for direction in group:
            analytic = float(gradient @ direction)
            numerical = _difference(workspace, direction, labels, step)
            scale = max(abs(analytic), abs(numerical), _RESOLUTION * rounding)
            error = abs(analytic - numerical) / scale if scale else 0.0
            # What is not a number is no small error.
            errors[name] = max(errors.get(name, 0.0), error if math.isfinite(error) else math.inf)
    return errors


def check(
    network: Network,
    directions: Iterable[tuple[str, Sequence[Floats]]],
    random: Random,
    *,
    loss: str,
    label_smoothing: float = 0.0,
    regularizer: str,
    strength: float,
) -> dict[str, float]:
    """`relative_errors` of a network with a loss and a regularizer, by their names in the registries.

    Raises:
        ConfigError: a name is unknown.
        PipelineError: no inputs could be found that keep away from the activation's kink.
    """
    rows = _NORMALIZED_ROWS if network.batch_normalization else _ROWS
    workspace = Workspace(
        network, rows, loss=loss, label_smoothing=label_smoothing, regularizer=regularizer, strength=strength
    )
    # Masks are drawn once: the loss is a function of the parameters for any, and they stay.
    workspace.draw_masks(np.random.default_rng(0))
    # A wrong activation may overflow; that shows in the errors.
    with np.errstate(all="ignore"):
        return relative_errors(workspace, directions, random)


def _difference(workspace: Workspace, direction: Floats, labels: NDArray[np.int64], step: float) -> float:
    kept = workspace.parameters.copy()
    total = 0.0
    for offset, weight in zip(_OFFSETS, _WEIGHTS, strict=True):
        np.add(kept, offset * step * direction, out=workspace.parameters)
        total += weight * workspace.mean_loss(labels)
    workspace.parameters[:] = kept
    return total / step


def _draw_parameters(workspace: Workspace, random: Random) -> None:
    """Weights of variance 1 / (inputs · mean squared derivative), as He et al. (2015) derive for ReLU."""
    sums = random.standard_normal((10_000, 1))
    outputs, derivatives = sums.copy(), np.ones_like(sums)
    activation = ACTIVATIONS[workspace.network.activation]
    activation.apply(outputs)
    activation.differentiate(outputs, derivatives)
    gain = 1 / math.sqrt(float(np.square(derivatives).mean()))
    for name, array in workspace.network.views(workspace.parameters).items():
        drawn = random.standard_normal(array.shape)
        if name.startswith("W"):
            # Neither the inputs nor the logits go through an activation.
            scale = (gain if 1 < int(name[1:]) < workspace.network.depth else 1) / math.sqrt(len(array))
            array[...] = scale * drawn
        else:
            array[...] = name.startswith("gamma") + 0.1 * drawn


def _keep_from_kinks(workspace: Workspace, directions: Sequence[Floats], random: Random) -> float:
    """Fill the inputs with rows that no difference along `directions` carries over a kink; returns the step.

    On one side of all kinks the loss is a smooth function. A difference is right if all its points, and the
    one the gradient is of, lie in one such piece: if every unit stays on its side of the kink at each of
    them. Rows of which that is not so are drawn again; where that is often so, the step is halved.
    """
    workspace.inputs[:] = random.standard_normal(workspace.inputs.shape)
    step = STEP
    if workspace.activation.kink is None or workspace.network.depth == 1:
        return step
    for attempt in range(1, _ATTEMPTS + 1):
        crossing = _crossing_rows(workspace, directions, step)
        if not crossing.any():
            return step
        workspace.inputs[crossing] = random.standard_normal((int(crossing.sum()), workspace.network.sizes[0]))
        if attempt % _ATTEMPTS_PER_STEP == 0:
            step /= 2
    raise PipelineError("no inputs were found that keep away from the activation's kink")


def _crossing_rows(workspace: Workspace, directions: Sequence[Floats], step: float) -> NDArray[np.bool_]:
    kept = workspace.parameters.copy()
    before = _sides(workspace)
    crossing = np.zeros(workspace.rows, np.bool_)
    for direction in directions:
        for offset in _OFFSETS:
            np.add(kept, offset * step * direction, out=workspace.parameters)
            crossing |= (_sides(workspace) != before).any(axis=1)
    workspace.parameters[:] = kept
    return crossing


def _sides(workspace: Workspace) -> NDArray[np.bool_]:
    """On which side of the kink each hidden unit is, (rows, all hidden units)."""
    kink = np.array(workspace.activation.kink)
    # What the kink is mapped to, for only outputs are kept; activations ascend.
    workspace.activation.apply(kink)
    workspace.forward(workspace.rows)
    return np.concatenate([outputs > kink for outputs in workspace.outputs[1:-1]], axis=1)
