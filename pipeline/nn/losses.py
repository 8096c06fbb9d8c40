"""Losses on top of a softmax output layer, with their gradients with respect to the logits."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from pipeline.nn.arrays import Floats, Integers


class Buffers(NamedTuple):
    """What a loss needs beside the logits of a batch.

    Classes are few and rows many. With a class's logits of all rows side by side, what runs over the classes
    (the largest logit, the sum of the powers) works on whole vectors instead of one short row after another.

    Attributes:
        scratch: shape (classes, rows).
        largest: shape (rows,), and so are `sums` and `picked`.
        columns: 0, 1, … for the rows.
        places: shape (rows,), where in the flattened (classes, rows) each row's label stands.
    """

    scratch: Floats
    largest: Floats
    sums: Floats
    picked: Floats
    columns: Integers
    places: Integers

    @classmethod
    def allocate(cls, classes: int, rows: int, dtype: type[np.floating[Any]]) -> "Buffers":
        """Those of a batch of that many rows."""
        largest, sums, picked = np.zeros((3, rows), dtype=dtype)
        scratch, columns = np.zeros((classes, rows), dtype=dtype), np.arange(rows)
        return cls(scratch, largest, sums, picked, columns, np.zeros_like(columns))

    def first(self, rows: int) -> "Buffers":
        """Those of a smaller batch, in the same memory."""
        if rows == len(self.columns):
            return self
        classes = len(self.scratch)
        return Buffers(
            self.scratch.reshape(-1)[: classes * rows].reshape(classes, rows),
            self.largest[:rows],
            self.sums[:rows],
            self.picked[:rows],
            self.columns[:rows],
            self.places[:rows],
        )

    def locate(self, labels: Integers) -> None:
        """Set `places` to those of the labels (rows,)."""
        np.multiply(labels, len(self.columns), self.places)
        np.add(self.places, self.columns, self.places)


class Values(Protocol):
    """The loss of each row, shape (rows,), of logits (rows, classes), unchanged, and labels (rows,)."""

    def __call__(self, logits: Floats, labels: Integers, smoothing: float = 0.0, /) -> Floats:
        """Do it."""


class Backward(Protocol):
    """Replace logits (rows, classes) by the gradient of the mean loss, which is returned.

    The logits are the transpose of a contiguous array, the buffers those of as many rows.
    """

    def __call__(
        self, logits: Floats, labels: Integers, buffers: Buffers, smoothing: float = 0.0, /
    ) -> float:
        """Do it."""


class Loss(NamedTuple):
    """A loss of logits z (rows, classes) and labels (rows,), one number per row.

    Attributes:
        values: gives the loss of each row.
        backward: gives the mean of the losses, and puts its gradient in the logits' place.
        smooths: whether the loss knows smoothed labels; any other is only ever given 0.
    """

    values: Values
    backward: Backward
    smooths: bool = False


def softmax(logits: Floats) -> Floats:
    """Replace logits (rows, classes) by probabilities, in place, and return them.

    The largest logit of each row is subtracted first, so that nothing overflows.
    """
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _cross_entropy_values(logits: Floats, labels: Integers, smoothing: float = 0.0, /) -> Floats:
    # log-sum-exp: -log softmax(z)[t] = log(sum exp(z - m)) - (z[t] - m), with no logarithm of zero
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * shifted.mean(axis=1)
    np.exp(shifted, out=shifted)
    return np.asarray(np.log(shifted.sum(axis=1)) - picked)


def _shift(values: Floats, buffers: Buffers) -> None:
    """Subtract the largest logit of each row from logits (classes, rows)."""
    np.maximum.reduce(values, 0, out=buffers.largest)
    np.subtract(values, buffers.largest, values)


def _normalize(values: Floats, buffers: Buffers) -> None:
    """Turn shifted logits (classes, rows) into probabilities; the sums of their powers stay in `sums`."""
    np.exp(values, values)
    np.add.reduce(values, 0, out=buffers.sums)
    np.divide(values, buffers.sums, values)


def _subtract_one_hot(values: Floats, buffers: Buffers, height: float = 1.0) -> None:
    """Subtract labels' ones, or what is left of them, from values (classes, rows); overwrites `largest`."""
    flat = values.reshape(-1)
    flat.take(buffers.places, None, buffers.largest, "clip")
    np.subtract(buffers.largest, height, buffers.largest)
    flat[buffers.places] = buffers.largest


def _cross_entropy_backward(
    logits: Floats, labels: Integers, buffers: Buffers, smoothing: float = 0.0, /
) -> float:
    values, sums, picked, rows = logits.T, buffers.sums, buffers.picked, len(labels)
    buffers.locate(labels)
    _shift(values, buffers)
    values.reshape(-1).take(buffers.places, None, picked, "clip")
    if smoothing:
        np.multiply(picked, 1 - smoothing, picked)
        np.add.reduce(values, 0, out=sums)
        np.multiply(sums, smoothing / len(values), sums)
        np.add(picked, sums, picked)
    _normalize(values, buffers)
    _subtract_one_hot(values, buffers, 1 - smoothing)
    if smoothing:
        np.subtract(values, smoothing / len(values), values)
    np.multiply(values, 1 / rows, values)
    np.log(sums, sums)
    np.subtract(sums, picked, sums)
    return float(np.add.reduce(sums, 0, np.float64)) / rows


def _squared_error_values(
    scale: float, logits: Floats, labels: Integers, smoothing: float = 0.0, /
) -> Floats:
    del smoothing
    probabilities = softmax(logits.copy())
    probabilities[np.arange(len(labels)), labels] -= 1
    return np.asarray(scale * np.square(probabilities).sum(axis=1))


def _squared_error_backward(
    scale: float, logits: Floats, labels: Integers, buffers: Buffers, smoothing: float = 0.0, /
) -> float:
    # J = diag(y) - y yᵀ is the softmax's Jacobian, so Jᵀ(y - t) = y * (y - t) - y (y·(y - t)).
    del smoothing
    values, differences, sums, rows = logits.T, buffers.scratch, buffers.sums, len(labels)
    buffers.locate(labels)
    _shift(values, buffers)
    _normalize(values, buffers)
    np.copyto(differences, values)
    _subtract_one_hot(differences, buffers)
    flat = differences.reshape(-1)
    squares = float(np.dot(flat, flat))
    np.multiply(values, differences, differences)
    np.add.reduce(differences, 0, out=sums)
    np.multiply(values, sums, values)
    np.subtract(differences, values, values)
    np.multiply(values, 2 * scale / rows, values)
    return scale * squares / rows


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": Loss(_cross_entropy_values, _cross_entropy_backward, smooths=True),
    "squared_error": Loss(partial(_squared_error_values, 1.0), partial(_squared_error_backward, 1.0)),
    "half_squared_error": Loss(partial(_squared_error_values, 0.5), partial(_squared_error_backward, 0.5)),
}
"""name -> loss, for y = softmax(z) and one-hot t.

cross_entropy: -Σ t log y, where label smoothing ε makes t (1 - ε) t + ε / classes (Szegedy et al., 2016).
squared_error: Σ(y - t)², and half_squared_error: half of it, both through the full Jacobian of the softmax.
"""
