"""Activation functions of the hidden layers, and their derivatives expressed through the output."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Calls, Floats, run_calls

LEAKY_SLOPE: Final = 0.01


class Activation(NamedTuple):
    """An elementwise function f and its derivative, as calls that work in place.

    Attributes:
        forward: ``forward(values, scratch)`` gives the calls that replace values, of any shape, by f(values).
            Numbers may overflow on the way to the right limit: the caller tells NumPy not to warn.
        backward: ``backward(outputs, gradient, scratch)`` gives those that multiply `gradient` by f'(z),
            where ``outputs = f(z)``. `outputs` is not changed. All arrays have one shape, and `scratch` is
            overwritten.
        kink: where f is not differentiable, or None. There `backward` takes the slope from the left, a
            central difference the mean of both sides: gradient checks keep away from it.
    """

    forward: Callable[[Floats, Floats], Calls]
    backward: Callable[[Floats, Floats, Floats], Calls]
    kink: float | None = None

    def apply(self, values: Floats) -> None:
        """Replace values by f(values), here and now."""
        run_calls(self.forward(values, np.empty_like(values)))

    def differentiate(self, outputs: Floats, gradient: Floats) -> None:
        """Multiply `gradient` by f'(z), here and now."""
        run_calls(self.backward(outputs, gradient, np.empty_like(outputs)))


def _identity(values: Floats, scratch: Floats) -> Calls:
    del values, scratch
    return []


def _identity_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> Calls:
    del outputs, gradient, scratch
    return []


def _sigmoid(values: Floats, scratch: Floats) -> Calls:
    del scratch
    one = np.ones((), values.dtype)
    # exp(-z) overflows to infinity for very negative z, and 1 / (1 + infinity) is the right limit, 0.
    return [
        partial(np.negative, values, values),
        partial(np.exp, values, values),
        partial(np.add, values, one, values),
        partial(np.reciprocal, values, values),
    ]


def _sigmoid_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> Calls:
    one = np.ones((), outputs.dtype)
    return [
        partial(np.subtract, one, outputs, scratch),
        partial(np.multiply, scratch, outputs, scratch),
        partial(np.multiply, gradient, scratch, gradient),
    ]


def _tanh(values: Floats, scratch: Floats) -> Calls:
    del scratch
    return [partial(np.tanh, values, values)]


def _tanh_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> Calls:
    one = np.ones((), outputs.dtype)
    return [
        partial(np.square, outputs, scratch),
        partial(np.subtract, one, scratch, scratch),
        partial(np.multiply, gradient, scratch, gradient),
    ]


def _relu(values: Floats, scratch: Floats) -> Calls:
    # NumPy compares two arrays with vector instructions, an array with a number without.
    return [partial(scratch.fill, 0), lambda: np.maximum(values, scratch, out=values)]


def _relu_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> Calls:
    # The sign of a ReLU's output is its derivative. No output is negative, so ⌈min(output, 1)⌉ is its sign.
    return [
        partial(scratch.fill, 1),
        lambda: np.minimum(outputs, scratch, out=scratch),
        partial(np.ceil, scratch, scratch),
        partial(np.multiply, gradient, scratch, gradient),
    ]


def _leaky_relu(values: Floats, scratch: Floats) -> Calls:
    slope = np.array(LEAKY_SLOPE, values.dtype)
    # For a slope below one, the larger of z and slope * z is z where z > 0 and slope * z elsewhere.
    return [partial(np.multiply, values, slope, scratch), lambda: np.maximum(values, scratch, out=values)]


def _leaky_relu_derivative(outputs: Floats, gradient: Floats, scratch: Floats) -> Calls:
    zero, slope, rest = (np.array(number, outputs.dtype) for number in (0, LEAKY_SLOPE, 1 - LEAKY_SLOPE))
    return [
        partial(np.heaviside, outputs, zero, scratch),
        partial(np.multiply, scratch, rest, scratch),
        partial(np.add, scratch, slope, scratch),
        partial(np.multiply, gradient, scratch, gradient),
    ]


ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "identity": Activation(_identity, _identity_derivative),
    "sigmoid": Activation(_sigmoid, _sigmoid_derivative),
    "tanh": Activation(_tanh, _tanh_derivative),
    "relu": Activation(_relu, _relu_derivative, kink=0.0),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_derivative, kink=0.0),
}
"""name -> activation: identity z; sigmoid 1 / (1 + e^-z); tanh; relu max(0, z); leaky_relu max(0.01 z, z)."""
