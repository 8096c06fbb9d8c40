"""A network at work: its layers, its parameters, its loss and a batch, in buffers that are allocated once."""

from typing import Any, Final

import numpy as np

from pipeline.core.registry import look_up
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Floats, Integers
from pipeline.nn.layers import Activation, Dense, Dropout, layers_of
from pipeline.nn.losses import LOSSES, Buffers, softmax
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.threads import Team

EVALUATION_ROWS: Final = 500
"""Rows per batch where no gradient is wanted; fixed, because a product's bits can depend on its row count."""


class Workspace:
    """Preallocated buffers for one network, loss and largest batch, and the passes that use them.

    The parameters and the gradient are flat vectors that live as long as the workspace. No array proportional
    to the network or the batch is allocated by a pass.

    Attributes:
        network: the architecture.
        layers: from the inputs to the logits.
        parameters: shape (parameter count,); write into it, never replace it.
        gradient: the same shape; `backward` fills it.
        running: batch normalization's running statistics, flat; `backward` moves them.
        inputs: shape (rows, sizes[0]); put a batch here before a pass. The network sees it divided by
            `divisor`.
        spare: the same shape if asked for; the next batch may be put here meanwhile, and then `swap`.
        weights: the weight matrices, as views into the parameters.
    """

    def __init__(
        self,
        network: Network,
        rows: int,
        *,
        loss: str = "cross_entropy",
        label_smoothing: float = 0.0,
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
        self.label_smoothing = label_smoothing
        self.regularizer = look_up(REGULARIZERS, "regularizer.name", regularizer)
        self.strength = strength
        self.activation = ACTIVATIONS[network.activation]
        self.parameters: Floats = np.zeros(network.parameter_count, dtype=dtype)
        self.gradient: Floats = np.zeros_like(self.parameters) if backward else self.parameters[:0]
        self.running = network.initial_running()
        self.inputs: Floats = np.zeros((rows, network.sizes[0]), dtype=dtype)
        self.spare: Floats = np.zeros_like(self.inputs) if spare else self.inputs[:0]
        parameters = network.views(self.parameters)
        gradients = network.views(self.gradient) if backward else {}
        self.weights = [view for name, view in parameters.items() if name.startswith("W")]
        self._weight_gradients = [view for name, view in gradients.items() if name.startswith("W")]
        self._weight_scratches = [np.empty_like(gradient) for gradient in self._weight_gradients]
        self.layers = layers_of(
            network,
            parameters,
            gradients,
            network.running_views(self.running),
            rows,
            divisor=divisor,
            team=team or Team(1),
        )
        self._first = next(layer for layer in self.layers if isinstance(layer, Dense))
        self._dropouts = [layer for layer in self.layers if isinstance(layer, Dropout)]
        self._logits: Floats = np.zeros((0, network.sizes[-1]), dtype=dtype)
        self._buffers = Buffers.allocate(network.sizes[-1], rows, dtype)

    @property
    def outputs(self) -> list[Floats]:
        """Of the last forward pass: the inputs, what each activation gave, and the logits, (rows, units)."""
        hidden = [layer.outputs for layer in self.layers if isinstance(layer, Activation)]
        return [self.inputs, *hidden, self._logits]

    def swap(self) -> None:
        """Let `inputs` and `spare` change places."""
        self.inputs, self.spare = self.spare, self.inputs

    def draw_masks(self, random: np.random.Generator) -> None:
        """New masks for every dropout layer, from the inputs on."""
        for layer in self._dropouts:
            layer.draw(random)

    def forward(self, rows: int) -> Floats:
        """Logits (rows, classes) of the first `rows` of `inputs`: a view, overwritten by the next pass."""
        values = self.inputs[:rows]
        for layer in self.layers:
            values = layer.forward(values)
        self._logits = values
        return values

    def backward(self, labels: Integers) -> float:
        """Fill `gradient` by backpropagation for the first len(labels) rows of `inputs`.

        Args:
            labels: integers of shape (rows,), at most as many as the workspace has rows.

        Returns:
            What the gradient is of: the mean loss over the rows plus the penalty.
        """
        rows = len(labels)
        errors = self.forward(rows)
        # The logits make way for their errors.
        mean_loss = self.loss.backward(errors, labels, self._buffers.first(rows), self.label_smoothing)
        for layer in reversed(self.layers):
            errors = layer.backward(errors)
            if layer is self._first:
                break
        self.regularizer.add_gradient(
            self.weights, self._weight_gradients, self._weight_scratches, self.strength
        )
        return mean_loss + self.penalty()

    def penalty(self) -> float:
        """The regularizer's penalty for the parameters as they are."""
        return self.regularizer.penalty(self.weights, self.strength)

    def mean_loss(self, labels: Integers) -> float:
        """Mean loss, with the penalty, of the first len(labels) rows of `inputs`."""
        values = self.loss.values(self.forward(len(labels)), labels, self.label_smoothing)
        return float(values.mean(dtype=np.float64)) + self.penalty()

    def probabilities(self, rows: int) -> Floats:
        """Softmax outputs (rows, classes) of the first `rows` of `inputs`: a view."""
        return softmax(self.forward(rows))
