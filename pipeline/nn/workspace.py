"""The forward and backward passes of a network, in buffers that are allocated once."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.core.registry import look_up
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Calls, Floats, Integers, run_calls
from pipeline.nn.losses import LOSSES, Scores, softmax
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.threads import Team

SPLIT_MULTIPLICATIONS: Final = 2**24
"""From how many multiplications on a product is computed in two parts, each worth a thread of its own.

Fixed, and the same on one thread, because a part's bits can differ from those of the whole.
"""

EVALUATION_ROWS: Final = 500
"""Rows per batch where no gradient is wanted; fixed, because a product's bits can depend on its row count."""


class _Buffers(NamedTuple):
    """A workspace's arrays, or views of their first rows.

    Attributes:
        outputs: the inputs, then what each hidden layer puts out, (rows, units).
        scores: the logits.
        scratches: for each hidden layer, like its outputs.
        errors: the gradients of the loss with respect to the sums of each hidden layer, like its outputs.
        ones: shape (rows,): a product with it adds up the rows.
    """

    outputs: list[Floats]
    scores: Scores
    scratches: list[Floats]
    errors: list[Floats]
    ones: Floats

    def first(self, rows: int) -> "_Buffers":
        """Those of a smaller batch, in the same memory."""
        return _Buffers(
            [array[:rows] for array in self.outputs],
            self.scores.first(rows),
            [array[:rows] for array in self.scratches],
            [array[:rows] for array in self.errors],
            self.ones[:rows],
        )


class _Plan(NamedTuple):
    """What the passes of a batch of some number of rows do, planned once for that number.

    Attributes:
        scores: the logits.
        forward: calls that fill the scores.
        backward: calls that fill the gradient afterwards; empty where none is wanted.
        total: then gives the sum of the losses.
    """

    scores: Scores
    forward: Calls
    backward: Calls
    total: Callable[[], float]


class Workspace:
    """Preallocated buffers for one network, loss and largest batch, and the passes that use them.

    The parameters and the gradient are flat vectors that live as long as the workspace. For each number of
    rows that a batch has, the calls of a pass are bound to their arrays once. No array proportional to the
    network or the batch is allocated by a pass.

    Attributes:
        network: the architecture.
        parameters: shape (parameter count,); write into it, never replace it.
        gradient: the same shape; `backward` fills it.
        inputs: shape (rows, sizes[0]); put a batch here before a pass. The network sees it divided by
            `divisor`: dividing the sums of the first layer is less work than dividing its inputs.
        spare: the same shape if asked for; the next batch may be put here meanwhile, and then `swap`.
        outputs: the inputs, what each hidden layer puts out, and the logits, each (rows, units).
    """

    def __init__(
        self,
        network: Network,
        rows: int,
        *,
        loss: str = "cross_entropy",
        regularizer: str = "none",
        strength: float = 0.0,
        divisor: float = 1.0,
        backward: bool = True,
        spare: bool = False,
        team: Team | None = None,
    ) -> None:
        dtype: type[np.floating[Any]] = DTYPES[network.dtype]
        self.network = network
        self.rows = rows
        self.loss = look_up(LOSSES, "loss.name", loss)
        self.regularizer = look_up(REGULARIZERS, "regularizer.name", regularizer)
        self.strength = strength
        self._scale = None if divisor == 1 else np.array(1 / divisor, dtype)
        self._team = team or Team(1)
        self.activation = ACTIVATIONS[network.activation]
        self.parameters: Floats = np.zeros(network.parameter_count, dtype=dtype)
        self.weights, self.biases = _by_layer(network, self.parameters)
        below: list[Floats] = [np.zeros((rows, size), dtype=dtype) for size in network.sizes[:-1]]
        hidden = below[1:]
        self._buffers = _Buffers(
            outputs=below,
            scores=Scores.allocate(network.sizes[-1], rows, dtype),
            scratches=[np.zeros_like(array) for array in hidden],
            errors=[np.zeros_like(array) for array in hidden] if backward else [],
            ones=np.ones(rows, dtype=dtype),
        )
        self.inputs = below[0]
        self.spare: Floats = np.zeros_like(self.inputs) if spare else self.inputs[:0]
        self.outputs = [*below, self._buffers.scores.by_row]
        self.gradient: Floats = np.zeros_like(self.parameters) if backward else self.parameters[:0]
        if backward:
            self._weight_gradients, self._bias_gradients = _by_layer(network, self.gradient)
            self._weight_scratches, _ = _by_layer(network, np.empty_like(self.parameters))
        self._plans: dict[int, _Plan] = {}
        self._spare_plans: dict[int, _Plan] = {}

    def swap(self) -> None:
        """Let `inputs` and `spare` change places."""
        self.inputs, self.spare = self.spare, self.inputs
        self.outputs[0] = self._buffers.outputs[0] = self.inputs
        self._plans, self._spare_plans = self._spare_plans, self._plans

    def _plan(self, rows: int) -> _Plan:
        if rows not in self._plans:
            buffers = self._buffers if rows == self.rows else self._buffers.first(rows)
            calls, total = self.loss.bound(buffers.scores)
            if len(self.gradient):
                calls += self._backward_calls(buffers)
            self._plans[rows] = _Plan(buffers.scores, self._forward_calls(buffers), calls, total)
        return self._plans[rows]

    def _forward_calls(self, buffers: _Buffers) -> Calls:
        calls: Calls = []
        sums = [*buffers.outputs[1:], buffers.scores.by_row]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            above = sums[layer]
            calls += self._product(buffers.outputs[layer], weight, above)
            if layer == 0 and self._scale is not None:
                calls.append(partial(np.multiply, above, self._scale, above))
            calls.append(partial(np.add, above, bias, above))
            if layer < self.network.depth - 1:
                calls += self.activation.forward(above, buffers.scratches[layer])
        return calls

    def _backward_calls(self, buffers: _Buffers) -> Calls:
        """From the logits' gradient to that of every parameter."""
        calls: Calls = []
        error = buffers.scores.by_row
        for layer in range(self.network.depth - 1, -1, -1):
            below = buffers.outputs[layer]
            calls.append(partial(np.matmul, buffers.ones, error, self._bias_gradients[layer]))
            if layer == 0 and self._scale is not None:
                calls.append(partial(np.multiply, error, self._scale, error))
            calls += self._product(below.T, error, self._weight_gradients[layer])
            if layer > 0:
                previous = buffers.errors[layer - 1]
                calls += self._product(error, self.weights[layer].T, previous)
                calls += self.activation.backward(below, previous, buffers.scratches[layer - 1])
                error = previous
        return calls

    def _product(self, left: Floats, right: Floats, out: Floats) -> Calls:
        """Matrix product (n, k) by (k, m) into out (n, m), in two parts where it is large."""
        rows, columns = out.shape
        if rows * columns * len(right) < SPLIT_MULTIPLICATIONS:
            return [partial(np.matmul, left, right, out)]
        if rows > columns:
            half = rows // 2
            parts = (
                partial(np.matmul, left[:half], right, out[:half]),
                partial(np.matmul, left[half:], right, out[half:]),
            )
        else:
            half = columns // 2
            parts = (
                partial(np.matmul, left, right[:, :half], out[:, :half]),
                partial(np.matmul, left, right[:, half:], out[:, half:]),
            )
        return [partial(self._team.together, *parts)]

    def forward(self, rows: int) -> Floats:
        """Logits (rows, classes) of the first `rows` of `inputs`: a view, overwritten by the next pass."""
        plan = self._plan(rows)
        run_calls(plan.forward)
        return plan.scores.by_row

    def penalty(self) -> float:
        """The regularizer's penalty for the parameters as they are."""
        return self.regularizer.penalty(self.weights, self.strength)

    def mean_loss(self, labels: Integers) -> float:
        """Mean loss, with the penalty, of the first len(labels) rows of `inputs`."""
        values = self.loss.values(self.forward(len(labels)), labels)
        return float(values.mean(dtype=np.float64)) + self.penalty()

    def backward(self, labels: Integers, factor: float = 1.0) -> float:
        """Fill `gradient` by backpropagation for the first len(labels) rows of `inputs`.

        Args:
            labels: integers of shape (rows,), at most as many as the workspace has rows.
            factor: what the gradient is multiplied by. An optimizer's learning rate costs nothing here: it is
                the logits' gradient that is multiplied, and there are few of them.

        Returns:
            The mean loss over the rows plus the penalty: what the gradient, without the factor, is of.
        """
        rows, weight = len(labels), self.loss.weight
        plan = self._plan(rows)
        plan.scores.locate(labels)
        plan.scores.factor[()] = weight * factor / rows
        run_calls(plan.forward)
        run_calls(plan.backward)
        self.regularizer.add_gradient(
            self.weights, self._weight_gradients, self._weight_scratches, self.strength * factor
        )
        return weight * plan.total() / rows + self.penalty()

    def probabilities(self, rows: int) -> Floats:
        """Softmax outputs (rows, classes) of the first `rows` of `inputs`: a view."""
        return softmax(self.forward(rows))


def _by_layer(network: Network, flat: Floats) -> tuple[list[Floats], list[Floats]]:
    views = network.views(flat)
    weights = [view for name, view in views.items() if name.startswith("W")]
    biases = [view for name, view in views.items() if name.startswith("b")]
    return weights, biases
