"""The layers of a network, each with its forward and its backward pass.

An error is the gradient of the loss with respect to a number that a layer takes or gives. The buffers of a
layer are allocated once, for the largest batch; a smaller batch uses their first rows.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, Protocol

import numpy as np

from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import Floats
from pipeline.nn.network import VARIANCE_FLOOR, Network
from pipeline.nn.threads import Team

SPLIT_MULTIPLICATIONS: Final = 2**24
"""From how many multiplications on a product is computed in two parts, each worth a thread of its own.

Fixed, and the same on one thread, because a part's bits can differ from those of the whole.
"""

RUNNING_MOMENTUM: Final = 0.9
"""How much of batch normalization's running statistics stays in each step."""

Named = Mapping[str, Floats]


class Layer(Protocol):
    """What a network is a list of."""

    def forward(self, inputs: Floats) -> Floats:
        """Outputs (rows, outputs) of inputs (rows, inputs).

        They stay as they are until the next forward pass; the inputs may be overwritten by them.
        """

    def backward(self, errors: Floats) -> Floats:
        """From the errors of the outputs of the last forward pass to those of its inputs.

        The gradients of the layer's parameters are filled on the way; `errors` may be overwritten.
        """


class Dense:
    """Z = X W / d + b. Backward: dW = Xᵀ dZ / d, db = Σ dZ over the rows, dX = dZ Wᵀ / d.

    Dividing the sums by d is less work than dividing the inputs, of which there are more.

    Args:
        number: which layer of weights this is, from 1; its parameters are W and b of that number. With batch
            normalization there is no b, which that would subtract again.
        parameters: by name.
        gradients: by name; none if there will be no backward pass.
        rows: of the largest batch.
        divisor: d.
        order: ``F`` lets outputs of one unit lie side by side, as the losses want them.
        team: shares large products.
    """

    def __init__(
        self,
        number: int,
        parameters: Named,
        gradients: Named,
        rows: int,
        *,
        divisor: float = 1.0,
        order: Literal["C", "F"] = "C",
        team: Team,
    ) -> None:
        self._weight, self._bias = parameters[f"W{number}"], parameters.get(f"b{number}")
        self._weight_gradient, self._bias_gradient = gradients.get(f"W{number}"), gradients.get(f"b{number}")
        inputs, units = self._weight.shape
        dtype = self._weight.dtype
        self._factor = None if divisor == 1 else np.array(1 / divisor, dtype)
        self._team = team
        self._outputs: Floats = np.zeros((rows, units), dtype, order)
        self._ones = np.ones(rows, dtype)
        # Below the first layer nothing asks for errors.
        self._errors: Floats | None = np.zeros((rows, inputs), dtype) if gradients and number > 1 else None

    def forward(self, inputs: Floats) -> Floats:
        """See `Layer`; the inputs stay as they are."""
        self._inputs = inputs
        outputs = _first_rows(self._outputs, len(inputs))
        multiply(inputs, self._weight, outputs, self._team)
        if self._factor is not None:
            np.multiply(outputs, self._factor, outputs)
        if self._bias is not None:
            np.add(outputs, self._bias, outputs)
        return outputs

    def backward(self, errors: Floats) -> Floats:
        """See `Layer`; the first layer gives back what it got."""
        rows = len(errors)
        if self._bias_gradient is not None:
            np.matmul(self._ones[:rows], errors, self._bias_gradient)
        if self._factor is not None:
            np.multiply(errors, self._factor, errors)
        if self._weight_gradient is not None:
            multiply(self._inputs.T, errors, self._weight_gradient, self._team)
        if self._errors is None:
            return errors
        below = self._errors[:rows]
        multiply(errors, self._weight.T, below, self._team)
        return below


class Activation:
    """A = f(Z), unit by unit, in place. Backward: dZ = dA f'(Z), from A.

    Attributes:
        outputs: A of the last forward pass.
    """

    def __init__(self, name: str, rows: int, units: int, dtype: np.dtype[np.floating]) -> None:
        self._function = ACTIVATIONS[name]
        self._scratch: Floats = np.zeros((rows, units), dtype)
        self.outputs: Floats = self._scratch[:0]

    def forward(self, inputs: Floats) -> Floats:
        """See `Layer`."""
        self._function.forward(inputs, self._scratch[: len(inputs)])
        self.outputs = inputs
        return inputs

    def backward(self, errors: Floats) -> Floats:
        """See `Layer`."""
        self._function.backward(self.outputs, errors, self._scratch[: len(errors)])
        return errors


class BatchNormalization:
    """Y = γ X̂ + β, where X̂ = (X - μ) / σ: each unit's mean and deviation over the batch become β and γ.

    Backward: dβ = Σ dY, dγ = Σ dY X̂, dX = γ / σ · (dY - dβ / n - X̂ dγ / n), for n rows (Ioffe and Szegedy,
    2015; their σ is √(variance + ε)). Sums over the rows are products with ones, whose order is fixed.

    A trained network takes the running mean and variance instead: exponential averages over the batches, a
    tenth of which is new in each backward pass, the variance with n - 1 in the denominator. They are not
    used here: `Network.fold` puts them into the weights.

    Args:
        number: which layer this is, from 1; its parameters are gamma and beta of that number.
        parameters: by name.
        gradients: by name; none if there will be no backward pass.
        running: by name; mean and variance of that number are moved.
        rows: of the largest batch.
    """

    def __init__(self, number: int, parameters: Named, gradients: Named, running: Named, rows: int) -> None:
        self._gamma, self._beta = parameters[f"gamma{number}"], parameters[f"beta{number}"]
        self._gradients = tuple(gradients[f"{name}{number}"] for name in ("gamma", "beta") if gradients)
        self._running_mean, self._running_variance = running[f"mean{number}"], running[f"variance{number}"]
        self._normalized: Floats = np.zeros((rows, len(self._gamma)), self._gamma.dtype)
        self._scratch = np.zeros_like(self._normalized)
        self._mean, self._variance, self._deviation, self._vector = np.zeros_like(
            self._gamma, shape=(4, len(self._gamma))
        )
        self._ones = np.ones(rows, self._gamma.dtype)

    def forward(self, inputs: Floats) -> Floats:
        """See `Layer`."""
        rows = len(inputs)
        ones, normalized, squares = self._ones[:rows], self._normalized[:rows], self._scratch[:rows]
        np.matmul(ones, inputs, out=self._mean)
        self._mean /= rows
        np.subtract(inputs, self._mean, out=normalized)
        np.square(normalized, out=squares)
        np.matmul(ones, squares, out=self._variance)
        self._variance /= rows
        np.add(self._variance, VARIANCE_FLOOR, out=self._deviation)
        np.sqrt(self._deviation, out=self._deviation)
        normalized /= self._deviation
        np.multiply(normalized, self._gamma, out=inputs)
        inputs += self._beta
        return inputs

    def backward(self, errors: Floats) -> Floats:
        """See `Layer`; moves the running statistics too."""
        rows = len(errors)
        ones, normalized, products = self._ones[:rows], self._normalized[:rows], self._scratch[:rows]
        gamma_gradient, beta_gradient = self._gradients
        np.matmul(ones, errors, out=beta_gradient)
        np.multiply(errors, normalized, out=products)
        np.matmul(ones, products, out=gamma_gradient)
        np.divide(beta_gradient, rows, out=self._vector)
        errors -= self._vector
        np.divide(gamma_gradient, rows, out=self._vector)
        np.multiply(normalized, self._vector, out=products)
        errors -= products
        np.divide(self._gamma, self._deviation, out=self._vector)
        errors *= self._vector
        self._move_running_statistics(rows)
        return errors

    def _move_running_statistics(self, rows: int) -> None:
        # One row has no variance to estimate; then it is that of the batch, 0.
        unbiased = rows / max(rows - 1, 1)
        self._running_mean *= RUNNING_MOMENTUM
        self._running_variance *= RUNNING_MOMENTUM
        self._running_mean += np.multiply(self._mean, 1 - RUNNING_MOMENTUM, out=self._vector)
        self._running_variance += np.multiply(
            self._variance, (1 - RUNNING_MOMENTUM) * unbiased, out=self._vector
        )


class Dropout:
    """Y = X M, where M is 0 with some probability p and 1 / (1 - p) otherwise. Backward: dX = dY M.

    The expected output is the input (Srivastava et al., 2014, scaled in training instead of afterwards), so a
    trained network has no such layer. Masks stay as they are until they are drawn anew.
    """

    def __init__(self, probability: float, rows: int, units: int, dtype: np.dtype[np.floating]) -> None:
        self._probability = probability
        self._mask: Floats = np.ones((rows, units), dtype)
        self._outputs = np.zeros_like(self._mask)

    def draw(self, random: np.random.Generator) -> None:
        """A new mask, for the largest batch."""
        random.random(dtype=self._mask.dtype.type, out=self._mask)
        np.greater_equal(self._mask, self._probability, out=self._mask)
        self._mask *= 1 / (1 - self._probability)

    def forward(self, inputs: Floats) -> Floats:
        """See `Layer`; the inputs stay as they are."""
        rows = len(inputs)
        return np.multiply(inputs, self._mask[:rows], out=self._outputs[:rows])

    def backward(self, errors: Floats) -> Floats:
        """See `Layer`."""
        errors *= self._mask[: len(errors)]
        return errors


def layers_of(
    network: Network,
    parameters: Named,
    gradients: Named,
    running: Named,
    rows: int,
    *,
    divisor: float,
    team: Team,
) -> list[Layer]:
    """The layers of a network, from the inputs to the logits; the arguments are those of `Dense`."""
    dtype = parameters["W1"].dtype
    layers: list[Layer] = []
    if network.input_dropout:
        layers.append(Dropout(network.input_dropout, rows, network.sizes[0], dtype))
    for number in range(1, network.depth):
        units = network.sizes[number]
        below = divisor if number == 1 else 1.0
        layers.append(Dense(number, parameters, gradients, rows, divisor=below, team=team))
        if network.batch_normalization:
            layers.append(BatchNormalization(number, parameters, gradients, running, rows))
        layers.append(Activation(network.activation, rows, units, dtype))
        if network.dropout:
            layers.append(Dropout(network.dropout, rows, units, dtype))
    below = divisor if network.depth == 1 else 1.0
    layers.append(Dense(network.depth, parameters, gradients, rows, divisor=below, order="F", team=team))
    return layers


def multiply(left: Floats, right: Floats, out: Floats, team: Team) -> None:
    """Matrix product (n, k) by (k, m) into out (n, m), in two parts where it is large."""
    rows, columns = out.shape
    if rows * columns * len(right) < SPLIT_MULTIPLICATIONS:
        np.matmul(left, right, out)
    elif rows > columns:
        half = rows // 2
        team.together(
            partial(np.matmul, left[:half], right, out[:half]),
            partial(np.matmul, left[half:], right, out[half:]),
        )
    else:
        half = columns // 2
        team.together(
            partial(np.matmul, left, right[:, :half], out[:, :half]),
            partial(np.matmul, left, right[:, half:], out[:, half:]),
        )


def _first_rows(buffer: Floats, rows: int) -> Floats:
    """A buffer for fewer rows in the same memory: by units as compact as the whole."""
    if rows == len(buffer):
        return buffer
    if buffer.flags.c_contiguous:
        return buffer[:rows]
    units = buffer.shape[1]
    return buffer.T.reshape(-1)[: units * rows].reshape(units, rows).T
