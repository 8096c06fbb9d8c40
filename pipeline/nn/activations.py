"""Activation functions of the hidden layers, and their derivatives expressed through the output."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Floats

LEAKY_SLOPE: Final = 0.01


class Activation(NamedTuple):
    """An elementwise function f and its derivative, which work in place.

    Attributes:
        forward: ``forward(values, scratch)`` replaces values, of any shape, by f(values). Numbers may
            overflow on the way to the right limit: the caller tells NumPy not to warn.
        backward: ``backward(outputs, gradient, scratch)`` multiplies `gradient` by f'(z), where
            ``outputs = f(z)``. `outputs` is not changed. All arrays have one shape, and `scratch` is
            overwritten.
        kink: where f is not differentiable, or None. There `backward` takes the slope from the left, a
            central difference the mean of both sides: gradient checks keep away from it.
    """

    forward: Callable[[Floats, Floats], None]
    backward: Callable[[Floats, Floats, Floats], None]
    kink: float | None = None

    def apply(self, values: Floats) -> None:
        """Replace values by f(values)."""
        self.forward(values, np.empty_like(values))

    def differentiate(self, outputs: Floats, gradient: Floats) -> None:
        """Multiply `gradient` by f'(z)."""
        self.backward(outputs, gradient, np.empty_like(outputs))


def _identity(values: Floats, scratch: Floats) -> None:
    del values, scratch


def _identity_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> None:
    del outputs, gradient, scratch


def _sigmoid(values: Floats, scratch: Floats) -> None:
    del scratch
    # exp(-z) overflows to infinity for very negative z, and 1 / (1 + infinity) is the right limit, 0.
    np.negative(values, values)
    np.exp(values, values)
    np.add(values, 1, values)
    np.reciprocal(values, values)


def _sigmoid_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> None:
    np.subtract(1, outputs, scratch)
    np.multiply(scratch, outputs, scratch)
    np.multiply(gradient, scratch, gradient)


def _tanh(values: Floats, scratch: Floats) -> None:
    del scratch
    np.tanh(values, values)


def _tanh_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> None:
    np.square(outputs, scratch)
    np.subtract(1, scratch, scratch)
    np.multiply(gradient, scratch, gradient)


def _relu(values: Floats, scratch: Floats) -> None:
    # NumPy compares two arrays with vector instructions, an array with a number without.
    scratch.fill(0)
    np.maximum(values, scratch, out=values)


def _relu_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> None:
    np.greater(outputs, 0, scratch)
    np.multiply(gradient, scratch, gradient)


def _leaky_relu(values: Floats, scratch: Floats) -> None:
    # For a slope below one, the larger of z and slope * z is z where z > 0 and slope * z elsewhere.
    np.multiply(values, LEAKY_SLOPE, scratch)
    np.maximum(values, scratch, out=values)


def _leaky_relu_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> None:
    np.greater(outputs, 0, scratch)
    np.multiply(scratch, 1 - LEAKY_SLOPE, scratch)
    np.add(scratch, LEAKY_SLOPE, scratch)
    np.multiply(gradient, scratch, gradient)


ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "identity": Activation(_identity, _identity_derivative),
    "sigmoid": Activation(_sigmoid, _sigmoid_derivative),
    "tanh": Activation(_tanh, _tanh_derivative),
    "relu": Activation(_relu, _relu_derivative, kink=0.0),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_derivative, kink=0.0),
}
"""name -> activation: identity z; sigmoid 1 / (1 + e^-z); tanh; relu max(0, z); leaky_relu max(0.01 z, z)."""
