"""Gradients by central differences: to train with, and to check the analytic ones against.

The textbook loop perturbs each parameter and runs two whole forward passes. `numerical` gives the same
numbers from what a perturbation changes: moving W[i, j] by ±h moves one unit's sum by ±h times input i,
in the rows where that input is not zero. Only these (row, input) pairs go on through the layers above.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from pipeline.nn.arrays import Floats, Integers
from pipeline.nn.workspace import Workspace

STEP: Final = 1e-4
"""h of the central difference (f(θ + h) - f(θ - h)) / 2h."""


def numerical(workspace: Workspace, labels: Integers, *, step: float = STEP) -> float:
    """Fill the workspace's gradient, from the rows and units that each perturbation reaches.

    The penalty's part is added in closed form: a central difference of a quadratic is its derivative.

    Args:
        workspace: holds the parameters and the batch (the first len(labels) rows of its inputs), float64; its
            inputs are what the network sees (no divisor), and each row goes through it by itself.
        labels: integers (rows,).
        step: h.

    Returns:
        The mean loss plus penalty at the parameters themselves.
    """
    rows = len(labels)
    network = workspace.network
    sums = _layer_sums(workspace, rows)
    gradients = network.views(workspace.gradient)
    for layer in range(1, network.depth + 1):
        below = workspace.outputs[layer - 1][:rows]
        pair_rows, pair_inputs = np.nonzero(below)
        # The bias is a further input that is 1 in every row.
        pair_rows = np.concatenate([pair_rows, np.arange(rows)])
        pair_inputs = np.concatenate([pair_inputs, np.full(rows, below.shape[1])])
        moves = step * np.concatenate([below[pair_rows[:-rows], pair_inputs[:-rows]], np.ones(rows)])
        for unit in range(network.sizes[layer]):
            above = _losses_after(workspace, sums, layer, unit, pair_rows, moves, labels)
            under = _losses_after(workspace, sums, layer, unit, pair_rows, -moves, labels)
            differences = np.bincount(pair_inputs, weights=above - under, minlength=below.shape[1] + 1)
            slopes = differences / (2 * step * rows)
            gradients[f"W{layer}"][:, unit] = slopes[:-1]
            gradients[f"b{layer}"][unit] = slopes[-1]
    loss = (
        float(workspace.loss.values(sums[-1], labels, workspace.label_smoothing).mean()) + workspace.penalty()
    )
    weights = [gradients[f"W{layer}"] for layer in range(1, network.depth + 1)]
    workspace.regularizer.add_gradient(
        workspace.weights, weights, [np.empty_like(weight) for weight in weights], workspace.strength
    )
    return loss


def _layer_sums(workspace: Workspace, rows: int) -> list[Floats]:
    """What goes into each layer's activation, (rows, units) each; leaves the outputs in the workspace."""
    workspace.forward(rows)
    named = workspace.network.views(workspace.parameters)
    return [
        below[:rows] @ named[f"W{layer}"] + named[f"b{layer}"]
        for layer, below in enumerate(workspace.outputs[:-1], start=1)
    ]


def _losses_after(
    workspace: Workspace,
    sums: list[Floats],
    layer: int,
    unit: int,
    pair_rows: Integers,
    moves: Floats,
    labels: Integers,
) -> Floats:
    """Loss (pairs,) of row pair_rows[p] after moves[p] is added to what goes into `unit` of `layer`."""
    moved = sums[layer - 1][pair_rows, unit] + moves
    if layer == workspace.network.depth:
        logits = sums[-1][pair_rows]
        logits[:, unit] = moved
        return workspace.loss.values(logits, labels[pair_rows], workspace.label_smoothing)
    workspace.activation.apply(moved)
    change = moved - workspace.outputs[layer][pair_rows, unit]
    values = np.multiply.outer(change, workspace.weights[layer][unit])
    values += sums[layer][pair_rows]
    named = workspace.network.views(workspace.parameters)
    for above in range(layer + 2, workspace.network.depth + 1):
        workspace.activation.apply(values)
        values = values @ named[f"W{above}"] + named[f"b{above}"]
    return workspace.loss.values(values, labels[pair_rows], workspace.label_smoothing)


def backpropagation(workspace: Workspace, labels: Integers) -> float:
    """Fill the workspace's gradient analytically; returns the mean loss plus penalty."""
    return workspace.backward(labels)


GRADIENTS: Final[Mapping[str, Callable[[Workspace, Integers], float]]] = {
    "backpropagation": backpropagation,
    "numerical": numerical,
}
"""name -> what fills a workspace's gradient for a batch and returns its loss."""
