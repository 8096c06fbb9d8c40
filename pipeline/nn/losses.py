"""Losses on top of a softmax output layer, with their gradients with respect to the logits."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Floats, Integers


class Loss(NamedTuple):
    """A loss of logits z (rows, classes) and labels (rows,), one number per row.

    Attributes:
        values: ``values(logits, labels)`` returns the loss of each row, shape (rows,); logits unchanged.
        backward: ``backward(logits, labels, rows, scratch)`` replaces logits in place by the gradient of the
            mean loss with respect to them and returns the sum of the losses. `rows` is arange(rows);
            `scratch` has the shape of logits and is overwritten.
    """

    values: Callable[[Floats, Integers], Floats]
    backward: Callable[[Floats, Integers, Integers, Floats], float]


def softmax(logits: Floats) -> Floats:
    """Replace logits (rows, classes) by probabilities, in place, and return them.

    The largest logit of each row is subtracted first, so that nothing overflows.
    """
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _cross_entropy_values(logits: Floats, labels: Integers) -> Floats:
    # log-sum-exp: -log softmax(z)[t] = log(sum exp(z - m)) - (z[t] - m), with no logarithm of zero
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    np.exp(shifted, out=shifted)
    return np.asarray(np.log(shifted.sum(axis=1)) - picked)


def _cross_entropy_backward(logits: Floats, labels: Integers, rows: Integers, scratch: Floats) -> float:
    del scratch
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[rows, labels]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1, keepdims=True)
    logits /= sums
    logits[rows, labels] -= 1
    logits /= len(labels)
    return float((np.log(sums[:, 0]) - picked).sum(dtype=np.float64))


def _squared_error_values(logits: Floats, labels: Integers) -> Floats:
    probabilities = softmax(logits.copy())
    probabilities[np.arange(len(labels)), labels] -= 1
    return np.asarray(np.square(probabilities).sum(axis=1))


def _squared_error_backward(logits: Floats, labels: Integers, rows: Integers, scratch: Floats) -> float:
    # J = diag(y) - y yᵀ is the softmax's Jacobian, so 2 Jᵀ(y - t) = 2 y * ((y - t) - y·(y - t)).
    probabilities = softmax(logits)
    np.copyto(scratch, probabilities)
    scratch[rows, labels] -= 1
    total = float(np.vdot(scratch, scratch))
    inner = np.einsum("ij,ij->i", probabilities, scratch)
    scratch -= inner[:, None]
    probabilities *= scratch
    probabilities *= 2 / len(labels)
    return total


def _half_squared_error_values(logits: Floats, labels: Integers) -> Floats:
    return 0.5 * _squared_error_values(logits, labels)


def _half_squared_error_backward(logits: Floats, labels: Integers, rows: Integers, scratch: Floats) -> float:
    total = _squared_error_backward(logits, labels, rows, scratch)
    logits *= 0.5
    return 0.5 * total


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": Loss(_cross_entropy_values, _cross_entropy_backward),
    "squared_error": Loss(_squared_error_values, _squared_error_backward),
    "half_squared_error": Loss(_half_squared_error_values, _half_squared_error_backward),
}
"""name -> loss, for y = softmax(z) and one-hot t.

cross_entropy: -log y[label]. squared_error: Σ(y - t)², and half_squared_error: half of it, both through the
full Jacobian of the softmax.
"""
