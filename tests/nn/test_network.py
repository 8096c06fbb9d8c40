"""The network: names and views of its parameters, passes against plain loops, a step worked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError, FormatError
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Floats, random_source
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.workspace import Workspace
from tests.shared import allocating_less_than

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
examples = settings(deadline=None, max_examples=25)
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def filled(network: Network, rows: int, seed: int = 0, **choices: Any) -> Workspace:  # noqa: ANN401  (keywords of Workspace)
    random = np.random.default_rng(seed)
    workspace = Workspace(network, rows, **choices)
    workspace.parameters[:] = random.standard_normal(network.parameter_count)
    workspace.inputs[:] = random.standard_normal(workspace.inputs.shape)
    return workspace


# --- names, shapes, views


def test_parameters_have_the_textbook_names_and_shapes_in_layer_order() -> None:
    network = Network((784, 50, 100, 10), "sigmoid")
    assert list(network.shapes.items()) == [
        ("W1", (784, 50)),
        ("b1", (50,)),
        ("W2", (50, 100)),
        ("b2", (100,)),
        ("W3", (100, 10)),
        ("b3", (10,)),
    ]
    assert network.depth == 3
    assert network.parameter_count == 784 * 50 + 50 + 50 * 100 + 100 + 100 * 10 + 10


@examples
@given(sizes=layer_sizes)
def test_views_tile_the_flat_vector(sizes: tuple[int, ...]) -> None:
    network = Network(sizes, "relu")
    flat = np.arange(network.parameter_count, dtype=np.float32)
    views = network.views(flat)
    assert {name: view.shape for name, view in views.items()} == network.shapes
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in views.values()]), flat)
    for view in views.values():
        assert np.shares_memory(view, flat)
        view[...] += 1
    np.testing.assert_array_equal(flat, np.arange(network.parameter_count) + 1)


@examples
@given(sizes=layer_sizes, dtype=st.sampled_from(sorted(DTYPES)))
def test_named_arrays_become_the_flat_vector_again(sizes: tuple[int, ...], dtype: str) -> None:
    network = Network(sizes, "tanh", dtype)
    flat = np.random.default_rng(1).standard_normal(network.parameter_count).astype(dtype)
    named = {name: view.copy() for name, view in network.views(flat).items()}
    # By name, not by position, and into this network's dtype.
    backwards = {name: named[name].astype(np.float64) for name in reversed(named)}
    again = network.flatten(backwards)
    assert again.dtype == dtype
    assert not np.shares_memory(again, flat)
    np.testing.assert_array_equal(again, flat)


@pytest.mark.parametrize(
    "change",
    [
        {"W1": np.zeros((2, 4))},
        {"b2": np.zeros((2, 1))},
        {"b2": np.zeros(())},
        {"W3": np.zeros((2, 2))},
    ],
)
def test_parameters_of_another_network_are_refused(change: dict[str, Floats]) -> None:
    network = Network((4, 3, 2), "relu")
    named = network.views(np.zeros(network.parameter_count, np.float32))
    with pytest.raises(FormatError, match=r"\(4, 3\)"):
        network.flatten({**named, **change})
    with pytest.raises(FormatError):
        network.flatten({"W1": named["W1"]})


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (3, -1, 2)])
def test_impossible_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="layer sizes"):
        Network(sizes, "relu")


def test_unknown_names_are_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(ConfigError, match=r"activation=step.*sigmoid"):
        Network((2, 2), "step")
    with pytest.raises(ConfigError, match=r"dtype=float16.*float32, float64"):
        Network((2, 2), "relu", "float16")
    network = Network((2, 2), "relu")
    with pytest.raises(ConfigError, match=r"initializer\.name=ones.*he_normal"):
        network.initialize(random_source("generator", 0), "ones", 1.0)
    with pytest.raises(ConfigError, match=r"loss\.name=hinge.*cross_entropy"):
        Workspace(network, 1, loss="hinge")
    with pytest.raises(ConfigError, match=r"regularizer\.name=l1.*l2"):
        Workspace(network, 1, regularizer="l1")


@every_dtype
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_initial_weights_are_drawn_layer_by_layer_and_biases_are_zero(dtype: str, initializer: str) -> None:
    network = Network((7, 5, 4, 3), "relu", dtype)
    flat = network.initialize(random_source("legacy", 5), initializer, 0.3)
    assert flat.dtype == dtype
    random = random_source("legacy", 5)
    for name, view in network.views(flat).items():
        if name.startswith("b"):
            assert not view.any()
        else:
            inputs, outputs = view.shape
            drawn = INITIALIZERS[initializer](random, inputs, outputs, 0.3)
            np.testing.assert_array_equal(view, drawn.astype(dtype))


# --- passes


def looped_logits(network: Network, flat: Floats, row: Floats) -> list[float]:
    """The forward pass of one row, one multiplication at a time."""
    views = network.views(flat)
    values = [float(value) for value in row]
    for layer in range(1, network.depth + 1):
        weights, biases = views[f"W{layer}"], views[f"b{layer}"]
        sums = [
            math.fsum([*(value * float(weights[i, j]) for i, value in enumerate(values)), float(biases[j])])
            for j in range(weights.shape[1])
        ]
        if layer < network.depth:
            outputs = np.array(sums)
            ACTIVATIONS[network.activation].apply(outputs)
            sums = outputs.tolist()
        values = sums
    return values


@pytest.mark.parametrize("activation", ACTIVATIONS)
@examples
@given(sizes=layer_sizes, rows=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_forward_is_the_plain_loop(activation: str, sizes: tuple[int, ...], rows: int, seed: int) -> None:
    network = Network(sizes, activation, "float64")
    workspace = filled(network, rows + 2, seed)
    found = workspace.forward(rows)
    assert found.shape == (rows, sizes[-1])
    for row in range(rows):
        np.testing.assert_allclose(
            found[row],
            looped_logits(network, workspace.parameters, workspace.inputs[row]),
            rtol=1e-11,
            atol=1e-12,
        )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_the_loss_is_the_mean_over_the_rows_plus_the_penalty(loss: str, regularizer: str) -> None:
    workspace = filled(
        Network((5, 4, 3), "tanh", "float64"), 4, loss=loss, regularizer=regularizer, strength=0.3
    )
    labels = np.array([0, 2, 1])
    rows = [LOSSES[loss].values(workspace.forward(3), labels)[row] for row in range(3)]
    expected = sum(rows) / 3 + REGULARIZERS[regularizer].penalty(workspace.weights, 0.3)
    assert workspace.mean_loss(labels) == pytest.approx(expected, rel=1e-14)
    assert workspace.backward(labels) == pytest.approx(expected, rel=1e-14)
    assert workspace.penalty() == REGULARIZERS[regularizer].penalty(workspace.weights, 0.3)


# A network of two inputs, two sigmoid units and two classes, whose numbers come out even:
#
#   x = (1, 2), W1 = [[2, ln 3], [-1, 0]], b1 = 0   so  z1 = (2 - 2, ln 3 + 0) = (0, ln 3)
#   a = sigmoid(z1) = (1/2, 3/4)                       since 1 / (1 + 1/3) = 3/4
#   W2 = [[2 ln 3, 0], [4, 0]], b2 = (-3, 0)        so  z2 = (ln 3 + 3 - 3, 0) = (ln 3, 0)
#   y = softmax(z2) = (3/4, 1/4), and the label is 1, t = (0, 1)
#
# Cross-entropy: -ln 1/4 = ln 4.
#   d2 = y - t = (3/4, -3/4)
#   dW2 = aᵀ d2 = [[3/8, -3/8], [9/16, -9/16]], db2 = d2
#   d2 W2ᵀ = (3/4 · 2 ln 3, 3/4 · 4) = (3/2 ln 3, 3); a (1 - a) = (1/4, 3/16)
#   d1 = (3/8 ln 3, 9/16), dW1 = xᵀ d1 = [[3/8 ln 3, 9/16], [3/4 ln 3, 9/8]], db1 = d1
#
# Squared error: 9/16 + 9/16 = 9/8. The softmax's Jacobian is 3/16 [[1, -1], [-1, 1]], so
#   d2 = 2 · 3/16 · (3/4 + 3/4) (1, -1) = (9/16, -9/16): 3/4 of the above, and so is everything below it.
LN3 = math.log(3)
HAND_PARAMETERS: dict[str, Any] = {
    "W1": [[2, LN3], [-1, 0]],
    "b1": [0, 0],
    "W2": [[2 * LN3, 0], [4, 0]],
    "b2": [-3, 0],
}
HAND_GRADIENT: dict[str, Any] = {
    "W1": [[3 / 8 * LN3, 9 / 16], [3 / 4 * LN3, 9 / 8]],
    "b1": [3 / 8 * LN3, 9 / 16],
    "W2": [[3 / 8, -3 / 8], [9 / 16, -9 / 16]],
    "b2": [3 / 4, -3 / 4],
}


@every_dtype
@pytest.mark.parametrize(
    ("loss", "expected", "factor"),
    [
        ("cross_entropy", math.log(4), 1.0),
        ("squared_error", 9 / 8, 3 / 4),
        ("half_squared_error", 9 / 16, 3 / 8),
    ],
)
@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_a_step_worked_by_hand(
    dtype: str, loss: str, expected: float, factor: float, strength: float
) -> None:
    network = Network((2, 2, 2), "sigmoid", dtype)
    workspace = Workspace(network, 3, loss=loss, regularizer="l2", strength=strength)
    workspace.parameters[:] = network.flatten(
        {name: np.array(values, dtype=np.float64) for name, values in HAND_PARAMETERS.items()}
    )
    workspace.inputs[0] = [1, 2]
    close = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(workspace.forward(1), [[LN3, 0]], rtol=close, atol=close)
    # ½ · strength · (4 + ln² 3 + 1 + 4 ln² 3 + 16)
    penalty = strength / 2 * (21 + 5 * LN3**2)
    assert workspace.backward(np.array([1])) == pytest.approx(expected + penalty, rel=close)
    for name, gradient in network.views(workspace.gradient).items():
        decay = strength * np.array(HAND_PARAMETERS[name]) if name.startswith("W") else 0
        np.testing.assert_allclose(
            gradient, factor * np.array(HAND_GRADIENT[name]) + decay, rtol=close, atol=close
        )
    # Two rows alike have the same mean loss and the same gradient as one.
    alone = workspace.gradient.copy()
    workspace.inputs[1] = [1, 2]
    assert workspace.backward(np.array([1, 1])) == pytest.approx(expected + penalty, rel=close)
    np.testing.assert_allclose(workspace.gradient, alone, rtol=close, atol=close)
    # And θ ← θ - 0.1 g lowers the loss.
    workspace.parameters -= 0.1 * workspace.gradient
    assert workspace.mean_loss(np.array([1])) < expected + penalty


@every_dtype
@pytest.mark.parametrize("sizes", [(6, 3), (6, 5, 3), (6, 5, 4, 3)])
def test_a_divisor_is_what_it_says(dtype: str, sizes: tuple[int, ...]) -> None:
    network = Network(sizes, "tanh", dtype)
    plain = filled(network, 4, regularizer="l2", strength=0.1)
    divided = Workspace(network, 4, regularizer="l2", strength=0.1, divisor=8.0)
    divided.parameters[:] = plain.parameters
    divided.inputs[:] = plain.inputs * 8
    labels = np.array([0, 2, 1, 1])
    close = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(divided.forward(4), plain.forward(4), rtol=close, atol=close)
    assert divided.backward(labels) == pytest.approx(plain.backward(labels), rel=close)
    np.testing.assert_allclose(divided.gradient, plain.gradient, rtol=close, atol=close)


@every_dtype
def test_probabilities_are_the_softmax_of_the_logits(dtype: str) -> None:
    workspace = filled(Network((4, 3), "relu", dtype), 5)
    logits = workspace.forward(4).astype(np.float64)
    powers = np.exp(logits)
    np.testing.assert_allclose(
        workspace.probabilities(4), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5
    )


@every_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_pass_depends_on_its_own_rows_and_on_nothing_left_over(dtype: str, activation: str) -> None:
    network = Network((6, 5, 4, 3), activation, dtype)
    workspace = filled(network, 8, regularizer="l2", strength=0.1)
    labels = np.array([0, 1, 2, 0, 1])
    loss, gradient = workspace.backward(labels), workspace.gradient.copy()
    inputs, parameters = workspace.inputs.copy(), workspace.parameters.copy()

    # Other passes in between, a whole batch and what else uses the buffers.
    workspace.backward(np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    workspace.probabilities(8)
    workspace.mean_loss(labels[:2])
    assert workspace.backward(labels) == loss
    np.testing.assert_array_equal(workspace.gradient, gradient)
    np.testing.assert_array_equal(workspace.inputs, inputs)
    np.testing.assert_array_equal(workspace.parameters, parameters)

    # Rows past the batch, were they even not numbers, have no part in it.
    workspace.inputs[5:] = np.nan
    assert workspace.backward(labels) == loss
    np.testing.assert_array_equal(workspace.gradient, gradient)


def test_a_workspace_without_a_backward_pass_keeps_no_gradient() -> None:
    workspace = filled(Network((4, 3, 2), "relu"), 2, backward=False)
    assert workspace.gradient.size == 0
    assert np.isfinite(workspace.forward(2)).all()


@every_dtype
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_passes_allocate_nothing_that_grows_with_network_or_batch(
    dtype: str, loss: str, activation: str
) -> None:
    network = Network((500, 400, 300, 10), activation, dtype)
    rows = 200
    workspace = filled(network, rows, loss=loss, regularizer="l2", strength=0.1)
    workspace.parameters *= 0.1
    labels = np.arange(rows) % 10
    workspace.backward(labels)
    # NumPy adds a bias to all rows through a buffer of 8,192 numbers, whatever their count; the rest are
    # a few Python objects. The smallest of the hidden layers' outputs are 60,000 numbers.
    with allocating_less_than(np.getbufsize() * np.dtype(dtype).itemsize + 2_000):
        workspace.backward(labels)
