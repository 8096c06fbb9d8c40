"""Losses on top of a softmax output layer, with their gradients with respect to the logits."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Calls, Floats, Integers


class Scores:
    """The logits of a batch, class by class, and the buffers that a loss needs beside them.

    Classes are few and rows many. With a class's logits of all rows side by side, what runs over the classes
    (the largest logit, the sum of the powers) works on whole vectors instead of one short row after another.

    Attributes:
        by_class: shape (classes, rows), contiguous.
        by_row: the same as a view (rows, classes).
        scratch: shape (classes, rows).
        largest: shape (rows,), and so are `sums` and `picked`.
        places: shape (rows,), where in the flattened `by_class` each row's label stands: see `locate`.
        factor: shape (), what the gradient of the sum of the losses is multiplied by.
    """

    def __init__(self, by_class: Floats, scratch: Floats, vectors: Floats, columns: Integers) -> None:
        self.by_class, self.by_row, self.scratch = by_class, by_class.T, scratch
        self.largest, self.sums, self.picked = self._vectors = vectors
        self.places: Integers = np.zeros_like(columns)
        self.factor: Floats = np.ones((), dtype=by_class.dtype)
        self._columns = columns
        self._rows = np.array(len(columns), dtype=columns.dtype)

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

    def locate(self, labels: Integers) -> None:
        """Set `places` to those of the labels (rows,)."""
        np.multiply(labels, self._rows, self.places)
        np.add(self.places, self._columns, self.places)


class Backward(NamedTuple):
    """The backward pass of a loss, bound to a batch's scores.

    Attributes:
        calls: replace the logits by the gradient, for the places and the factor in the scores.
        total: then gives the sum of the losses.
    """

    calls: Calls
    total: Callable[[], float]


class Loss(NamedTuple):
    """A loss of logits z (rows, classes) and labels (rows,), one number per row.

    Attributes:
        values: ``values(logits, labels)`` returns the loss of each row, shape (rows,); logits unchanged.
        bound: ``bound(scores)`` is the backward pass of the loss divided by `weight`.
        weight: see `bound`.
    """

    values: Callable[[Floats, Integers], Floats]
    bound: Callable[[Scores], Backward]
    weight: float = 1.0


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


def _shift(scores: Scores) -> Calls:
    """Subtract the largest logit of each row."""
    values = scores.by_class
    return [
        partial(np.maximum.reduce, values, 0, None, scores.largest),
        partial(np.subtract, values, scores.largest, values),
    ]


def _normalize(scores: Scores) -> Calls:
    """Turn shifted logits into probabilities; the sums of their powers stay in `sums`."""
    values = scores.by_class
    return [
        partial(np.exp, values, values),
        partial(np.add.reduce, values, 0, None, scores.sums),
        partial(np.divide, values, scores.sums, values),
    ]


def _subtract_one_hot(values: Floats, scores: Scores) -> Calls:
    """Subtract one-hot labels from values (classes, rows), where their ones are; overwrites `largest`."""
    flat, one = values.reshape(-1), np.ones((), values.dtype)
    return [
        partial(flat.take, scores.places, None, scores.largest, "clip"),
        partial(np.subtract, scores.largest, one, scores.largest),
        partial(flat.__setitem__, scores.places, scores.largest),
    ]


def _cross_entropy_backward(scores: Scores) -> Backward:
    values, sums, total = scores.by_class, scores.sums, np.zeros(())
    calls: Calls = [
        *_shift(scores),
        partial(values.reshape(-1).take, scores.places, None, scores.picked, "clip"),
        *_normalize(scores),
        *_subtract_one_hot(values, scores),
        partial(np.multiply, values, scores.factor, values),
        partial(np.log, sums, sums),
        partial(np.subtract, sums, scores.picked, sums),
        partial(np.add.reduce, sums, 0, np.float64, total),
    ]
    return Backward(calls, partial(float, total))


def _squared_error_values(logits: Floats, labels: Integers) -> Floats:
    probabilities = softmax(logits.copy())
    probabilities[np.arange(len(labels)), labels] -= 1
    return np.asarray(np.square(probabilities).sum(axis=1))


def _half_squared_error_values(logits: Floats, labels: Integers) -> Floats:
    return 0.5 * _squared_error_values(logits, labels)


def _half_squared_error_backward(scores: Scores) -> Backward:
    # J = diag(y) - y yᵀ is the softmax's Jacobian, so Jᵀ(y - t) = y * (y - t) - y (y·(y - t)).
    values, differences, sums = scores.by_class, scores.scratch, scores.sums
    flat, squares = differences.reshape(-1), np.zeros((), values.dtype)
    calls: Calls = [
        *_shift(scores),
        *_normalize(scores),
        partial(np.copyto, differences, values),
        *_subtract_one_hot(differences, scores),
        partial(np.dot, flat, flat, squares),
        partial(np.multiply, values, differences, differences),
        partial(np.add.reduce, differences, 0, None, sums),
        partial(np.multiply, values, sums, values),
        partial(np.subtract, differences, values, values),
        partial(np.multiply, values, scores.factor, values),
    ]
    return Backward(calls, lambda: 0.5 * float(squares))


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": Loss(_cross_entropy_values, _cross_entropy_backward),
    "squared_error": Loss(_squared_error_values, _half_squared_error_backward, weight=2.0),
    "half_squared_error": Loss(_half_squared_error_values, _half_squared_error_backward),
}
"""name -> loss, for y = softmax(z) and one-hot t.

cross_entropy: -log y[label]. squared_error: Σ(y - t)², and half_squared_error: half of it, both through the
full Jacobian of the softmax.
"""
