"""The multilayer perceptron: its layer sizes and its parameters as one flat vector."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.registry import check_name, look_up
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Floats, Random
from pipeline.nn.initializers import INITIALIZERS


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron's architecture.

    Layer l computes ``f(A @ Wl + bl)``; the last one leaves its logits to the loss.

    Attributes:
        sizes: units per layer from the inputs to the classes, at least two numbers.
        activation: a key of `ACTIVATIONS`, for the hidden layers.
        dtype: ``float32`` or ``float64``.
    """

    sizes: tuple[int, ...]
    activation: str
    dtype: str = "float32"

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
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter in the order of the flat vector: W1, b1, W2, b2."""
        return {
            name: shape
            for layer, (inputs, outputs) in enumerate(itertools.pairwise(self.sizes), start=1)
            for name, shape in ((f"W{layer}", (inputs, outputs)), (f"b{layer}", (outputs,)))
        }

    @property
    def parameter_count(self) -> int:
        """Length of the flat vector."""
        return sum(inputs * outputs + outputs for inputs, outputs in itertools.pairwise(self.sizes))

    def views(self, flat: Floats) -> dict[str, Floats]:
        """The parameters by name, as views into `flat` of shape (parameter count,)."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            found[name] = flat[start:stop].reshape(shape)
            start = stop
        return found

    def initialize(self, random: Random, initializer: str, scale: float) -> Floats:
        """A fresh flat parameter vector: weights drawn layer by layer from the input on, biases zero.

        Raises:
            ConfigError: the initializer is unknown.
        """
        draw = look_up(INITIALIZERS, "initializer.name", initializer)
        flat: Floats = np.zeros(self.parameter_count, dtype=DTYPES[self.dtype])
        for name, view in self.views(flat).items():
            if name.startswith("W"):
                inputs, outputs = view.shape
                view[...] = draw(random, inputs, outputs, scale)
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
