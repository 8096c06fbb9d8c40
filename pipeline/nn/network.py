"""The multilayer perceptron: its layer sizes and its parameters as one flat vector."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.registry import check_name, look_up
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Floats, Random
from pipeline.nn.initializers import INITIALIZERS

VARIANCE_FLOOR: Final = 1e-5
"""ε of batch normalization's √(variance + ε)."""


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron's architecture.

    Layer l computes ``f(A @ Wl + bl)``; the last one leaves its logits to the loss. With batch normalization
    a hidden layer has ``gamma`` and ``beta`` in place of ``b``, until `fold` makes it one without.

    Attributes:
        sizes: units per layer from the inputs to the classes, at least two numbers.
        activation: a key of `ACTIVATIONS`, for the hidden layers.
        dtype: ``float32`` or ``float64``.
        batch_normalization: whether hidden layers normalize their sums.
        dropout: how probably a hidden unit is left out of a training step.
        input_dropout: the same of an input.
    """

    sizes: tuple[int, ...]
    activation: str
    dtype: str = "float32"
    batch_normalization: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or any(size < 1 for size in self.sizes):
            raise ConfigError(f"layer sizes {list(self.sizes)}: expected at least two positive numbers")
        check_name(ACTIVATIONS, "model.activation", self.activation)
        check_name(DTYPES, "dtype", self.dtype)

    @property
    def depth(self) -> int:
        """Number of weight matrices."""
        return len(self.sizes) - 1

    @property
    def folded(self) -> "Network":
        """The network of the same layers as it is used once it is trained: `fold` has its parameters."""
        return Network(self.sizes, self.activation, self.dtype)

    @property
    def _normalized(self) -> dict[int, int]:
        """Number of each layer that is normalized -> its units."""
        hidden = self.sizes[1:-1] if self.batch_normalization else ()
        return dict(enumerate(hidden, start=1))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter in the order of the flat vector: W1, b1, W2, b2."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(self.sizes), start=1):
            shapes[f"W{layer}"] = (inputs, outputs)
            vectors = ("gamma", "beta") if layer in self._normalized else ("b",)
            shapes |= {f"{name}{layer}": (outputs,) for name in vectors}
        return shapes

    @property
    def parameter_count(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def views(self, flat: Floats) -> dict[str, Floats]:
        """The parameters by name, as views into `flat` of shape (parameter count,)."""
        return _views(flat, self.shapes)

    def initial_running(self) -> Floats:
        """Batch normalization's running statistics before the first step: means 0, variances 1; flat."""
        flat: Floats = np.zeros(2 * sum(self._normalized.values()), dtype=DTYPES[self.dtype])
        for name, view in self.running_views(flat).items():
            if name.startswith("variance"):
                view.fill(1)
        return flat

    def running_views(self, flat: Floats) -> dict[str, Floats]:
        """The running statistics by name, mean1, variance1, mean2 and so on, as views into `flat`."""
        shapes = {
            f"{name}{layer}": (units,)
            for layer, units in self._normalized.items()
            for name in ("mean", "variance")
        }
        return _views(flat, shapes)

    def fold(self, flat: Floats, running: Floats) -> Floats:
        """The parameters of `folded`, which give the same with no more than a weight matrix and a bias.

        γ (X W - mean) / σ + β is X W' + b' with W' = W · γ / σ and b' = β - mean · γ / σ. It is computed in
        float64 and rounded once.

        Args:
            flat: parameters, shape (parameter count,).
            running: running statistics, shape of `initial_running`.

        Returns:
            Shape (folded.parameter_count,); `flat` itself where nothing is normalized.
        """
        if not self.batch_normalization:
            return flat
        trained, statistics = self.views(flat), self.running_views(running.astype(np.float64))
        found: Floats = np.empty(self.folded.parameter_count, dtype=flat.dtype)
        for name, view in self.folded.views(found).items():
            layer = int(name[1:])
            if layer not in self._normalized:
                view[...] = trained[name]
                continue
            factor = trained[f"gamma{layer}"] / np.sqrt(statistics[f"variance{layer}"] + VARIANCE_FLOOR)
            if name.startswith("W"):
                np.multiply(trained[name], factor, out=view, casting="same_kind")
            else:
                view[...] = trained[f"beta{layer}"] - statistics[f"mean{layer}"] * factor
        return found

    def initialize(self, random: Random, initializer: str, scale: float) -> Floats:
        """A fresh flat parameter vector: weights drawn layer by layer from the input on, biases zero, γ one.

        Raises:
            ConfigError: the initializer is unknown.
        """
        draw = look_up(INITIALIZERS, "initializer.name", initializer)
        flat: Floats = np.zeros(self.parameter_count, dtype=DTYPES[self.dtype])
        for name, view in self.views(flat).items():
            if name.startswith("W"):
                inputs, outputs = view.shape
                view[...] = draw(random, inputs, outputs, scale)
            elif name.startswith("gamma"):
                view.fill(1)
        return flat

    def flatten(self, parameters: Mapping[str, Floats]) -> Floats:
        """Named arrays, as read from a parameter pickle, as one flat vector of this network's dtype.

        Raises:
            FormatError: a name or a shape is not this network's.
        """
        flat: Floats = np.empty(self.parameter_count, dtype=DTYPES[self.dtype])
        found = {name: np.shape(array) for name, array in parameters.items()}
        if found != self.shapes:
            raise FormatError(f"parameters of shapes {found} do not fit a network of shapes {self.shapes}")
        for name, view in self.views(flat).items():
            view[...] = parameters[name]
        return flat


def _views(flat: Floats, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Consecutive parts of `flat` by name, of these shapes."""
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        found[name] = flat[start:stop].reshape(shape)
        start = stop
    return found
