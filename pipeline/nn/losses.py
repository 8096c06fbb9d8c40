"""Losses on top of a softmax output layer, with their gradients with respect to the logits."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Floats, Integers


class Scores:
    """The logits of a batch, class by class, and the buffers that a loss needs beside them.

    Classes are few and rows many. With a class's logits of all rows side by side, what runs over the classes
    (the largest logit, the sum of the powers) works on whole vectors instead of one short row after another.

    Attributes:
        by_class: shape (classes, rows), contiguous.
        by_row: the same as a view (rows, classes).
        scratch: shape (classes, rows).
        largest: shape (rows,), and so are `sums` and `picked`.
    """

    def __init__(self, by_class: Floats, scratch: Floats, vectors: Floats, columns: Integers) -> None:
        self.by_class, self.by_row, self.scratch = by_class, by_class.T, scratch
        self.largest, self.sums, self.picked = self._vectors = vectors
        self._columns = columns
        self._places: Integers = np.empty_like(columns)

    @classmethod
    def allocate(cls, classes: int, rows: int, dtype: type[np.floating[Any]]) -> "Scores":
        """Those of a batch of that many rows, all zero."""
        values: Floats = np.zeros((classes, rows), dtype=dtype)
        return cls(values, np.zeros_like(values), np.zeros((3, rows), dtype=dtype), np.arange(rows))

    def first(self, rows: int) -> "Scores":
        """Those of a smaller batch, in the same memory."""
        shape = (len(self.by_class), rows)
        values, scratch = (
            array.reshape(-1)[: shape[0] * rows].reshape(shape) for array in (self.by_class, self.scratch)
        )
        return Scores(values, scratch, self._vectors[:, :rows], self._columns[:rows])

    def locate(self, labels: Integers) -> Integers:
        """Where in the flattened `by_class` each row's label stands: (rows,), until the next call."""
        np.multiply(labels, len(self._columns), out=self._places, dtype=self._places.dtype)
        np.add(self._places, self._columns, out=self._places)
        return self._places


class Loss(NamedTuple):
    """A loss of logits z (rows, classes) and labels (rows,), one number per row.

    Attributes:
        values: ``values(logits, labels)`` returns the loss of each row, shape (rows,); logits unchanged.
        backward: ``backward(scores, labels, factor)`` replaces the logits in scores by the gradient of the
            mean loss with respect to them, times the factor, and returns the sum of the losses.
    """

    values: Callable[[Floats, Integers], Floats]
    backward: Callable[[Scores, Integers, float], float]


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


def _cross_entropy_backward(scores: Scores, labels: Integers, factor: float) -> float:
    values, flat, places = scores.by_class, scores.by_class.reshape(-1), scores.locate(labels)
    np.subtract(values, np.maximum.reduce(values, axis=0, out=scores.largest), out=values)
    picked = flat.take(places, out=scores.picked, mode="clip")
    np.exp(values, out=values)
    sums = np.add.reduce(values, axis=0, out=scores.sums)
    values /= sums
    # The probabilities less one-hot labels, of which only the ones are there.
    _subtract_one(flat, places, scores.largest)
    values *= factor / len(labels)
    np.log(sums, out=sums)
    sums -= picked
    return float(np.add.reduce(sums, dtype=np.float64))


def _subtract_one(flat: Floats, places: Integers, scratch: Floats) -> None:
    """Subtract 1 where `places` (rows,) point in `flat`; `scratch` (rows,) is overwritten."""
    flat.take(places, out=scratch, mode="clip")
    scratch -= 1
    flat.put(places, scratch)


def _squared_error_values(logits: Floats, labels: Integers) -> Floats:
    probabilities = softmax(logits.copy())
    probabilities[np.arange(len(labels)), labels] -= 1
    return np.asarray(np.square(probabilities).sum(axis=1))


def _squared_error_backward(scores: Scores, labels: Integers, factor: float) -> float:
    # J = diag(y) - y yᵀ is the softmax's Jacobian, so 2 Jᵀ(y - t) = 2 (y * (y - t) - y (y·(y - t))).
    values, differences = scores.by_class, scores.scratch
    np.subtract(values, np.maximum.reduce(values, axis=0, out=scores.largest), out=values)
    np.exp(values, out=values)
    values /= np.add.reduce(values, axis=0, out=scores.sums)
    np.copyto(differences, values)
    _subtract_one(differences.reshape(-1), scores.locate(labels), scores.picked)
    total = float(np.vdot(differences, differences))
    products = np.multiply(values, differences, out=differences)
    values *= np.add.reduce(products, axis=0, out=scores.sums)
    np.subtract(products, values, out=values)
    values *= 2 * factor / len(labels)
    return total


def _half_squared_error_values(logits: Floats, labels: Integers) -> Floats:
    return 0.5 * _squared_error_values(logits, labels)


def _half_squared_error_backward(scores: Scores, labels: Integers, factor: float) -> float:
    return 0.5 * _squared_error_backward(scores, labels, 0.5 * factor)


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": Loss(_cross_entropy_values, _cross_entropy_backward),
    "squared_error": Loss(_squared_error_values, _squared_error_backward),
    "half_squared_error": Loss(_half_squared_error_values, _half_squared_error_backward),
}
"""name -> loss, for y = softmax(z) and one-hot t.

cross_entropy: -log y[label]. squared_error: Σ(y - t)², and half_squared_error: half of it, both through the
full Jacobian of the softmax.
"""
