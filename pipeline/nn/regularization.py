"""Penalties on the weights. Biases are never penalised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Floats


class Regularizer(NamedTuple):
    """A penalty on weight matrices.

    Attributes:
        penalty: ``penalty(weights, strength)`` returns the penalty, a number.
        add_gradient: ``add_gradient(weights, gradients, scratches, strength)`` adds its gradient to
            `gradients` in place; the three sequences hold arrays of the same shapes.
    """

    penalty: Callable[[Sequence[Floats], float], float]
    add_gradient: Callable[[Sequence[Floats], Sequence[Floats], Sequence[Floats], float], None]


def _no_penalty(weights: Sequence[Floats], strength: float) -> float:
    del weights, strength
    return 0.0


def _no_gradient(
    weights: Sequence[Floats], gradients: Sequence[Floats], scratches: Sequence[Floats], strength: float
) -> None:
    del weights, gradients, scratches, strength


def _l2_penalty(weights: Sequence[Floats], strength: float) -> float:
    # One after the other: since Python 3.12 sum() adds floats with a correction, in other bits.
    total = 0.0
    for weight in weights:
        total += float(np.vdot(weight, weight))
    return 0.5 * strength * total


def _l2_gradient(
    weights: Sequence[Floats], gradients: Sequence[Floats], scratches: Sequence[Floats], strength: float
) -> None:
    for weight, gradient, scratch in zip(weights, gradients, scratches, strict=True):
        np.multiply(weight, strength, out=scratch)
        np.add(gradient, scratch, out=gradient)


REGULARIZERS: Final[Mapping[str, Regularizer]] = {
    "none": Regularizer(_no_penalty, _no_gradient),
    "l2": Regularizer(_l2_penalty, _l2_gradient),
}
"""name -> regularizer: none; l2 ½·strength·ΣW²."""
