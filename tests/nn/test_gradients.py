"""Three ways to one gradient: backpropagation, the naive loop over every parameter, and its vectorised twin.

ReLU and leaky ReLU have a kink at 0, where backpropagation takes the slope from the left and a central
difference the mean of both. So whatever compares the two here draws networks none of whose units are near
their kink, and the last tests look at the kink itself.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn import gradients
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, Floats, Integers
from pipeline.nn.gradients import GRADIENTS
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.workspace import Workspace

# No unit's sum is nearer to a kink than this; a parameter moved by gradients.STEP moves it by far less.
MARGIN = 3e-3
# The error of a central difference with h = 1e-4: about h² times a third derivative.
CLOSE = 1e-7

STRENGTH = 0.2

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_regularizer = pytest.mark.parametrize("regularizer", REGULARIZERS)


def hidden_sums(workspace: Workspace, rows: int) -> list[Floats]:
    """What goes into the activation of each hidden layer, (rows, units) each."""
    workspace.forward(rows)
    named = workspace.network.views(workspace.parameters)
    below = enumerate(workspace.outputs[:-2], start=1)
    return [outputs[:rows] @ named[f"W{layer}"] + named[f"b{layer}"] for layer, outputs in below]


def nearest_kink(workspace: Workspace, rows: int) -> float:
    """How near the nearest unit is to its kink; infinite where there is none."""
    kink = workspace.activation.kink
    sums = hidden_sums(workspace, rows)
    return float("inf") if kink is None or not sums else min(np.abs(each - kink).min() for each in sums)


def drawn(
    network: Network,
    rows: int,
    seed: int,
    loss: str = "cross_entropy",
    regularizer: str = "none",
    margin: float = MARGIN,
) -> tuple[Workspace, Integers]:
    """A workspace and labels, away from kinks, with zeros among the inputs, as images have them."""
    workspace = Workspace(network, rows, loss=loss, regularizer=regularizer, strength=STRENGTH)
    for attempt in itertools.count():
        random = np.random.default_rng([seed, attempt])
        # Sums of about unit size in every layer, whatever its width.
        workspace.parameters[:] = network.initialize(random, "xavier_normal", 1.0)
        for name, bias in network.views(workspace.parameters).items():
            if name.startswith("b"):
                bias[:] = 0.3 * random.standard_normal(bias.shape)
        workspace.inputs[:] = random.uniform(-1, 1, workspace.inputs.shape)
        workspace.inputs[random.random(workspace.inputs.shape) < 0.3] = 0
        if nearest_kink(workspace, rows) > margin:
            break
    return workspace, random.integers(0, network.sizes[-1], rows)


def places(network: Network) -> dict[str, Integers]:
    """Name -> where each of a parameter's numbers stands in the flat vector."""
    numbers = network.views(np.arange(network.parameter_count, dtype=np.float64))
    return {name: view.astype(np.intp) for name, view in numbers.items()}


def central_differences(
    workspace: Workspace, labels: Integers, places: Integers, step: float = gradients.STEP
) -> Floats:
    """Two full forward passes for each parameter at these places: the definition, and as slow."""
    flat, found = workspace.parameters, []
    for index in places:
        kept = flat[index]
        flat[index] = kept + step
        above = workspace.mean_loss(labels)
        flat[index] = kept - step
        below = workspace.mean_loss(labels)
        flat[index] = kept
        found.append((above - below) / (2 * step))
    return np.array(found)


def loop_over_parameters(workspace: Workspace, labels: Integers, step: float = gradients.STEP) -> float:
    """The definition for all parameters, as the ways of `GRADIENTS` are called."""
    workspace.gradient[:] = central_differences(workspace, labels, np.arange(len(workspace.parameters)), step)
    return workspace.mean_loss(labels)


def gradient_by(name: str, workspace: Workspace, labels: Integers) -> Floats:
    workspace.gradient[:] = np.nan
    way = {**GRADIENTS, "naive": loop_over_parameters}[name]
    way(workspace, labels)
    return workspace.gradient.copy()


def distance(found: Floats, expected: Floats) -> float:
    """Length of the difference, in units of the gradient's own length."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# --- exhaustively, on toy networks


@every_activation
@every_loss
@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple),
    rows=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    regularizer=st.sampled_from(sorted(REGULARIZERS)),
)
def test_all_ways_agree_on_every_parameter(
    activation: str, loss: str, sizes: tuple[int, ...], rows: int, seed: int, regularizer: str
) -> None:
    network = Network(sizes, activation, "float64")
    workspace, labels = drawn(network, rows, seed, loss, regularizer)
    parameters, inputs = workspace.parameters.copy(), workspace.inputs.copy()
    naive, numerical, backward = (
        gradient_by(name, workspace, labels) for name in ("naive", "numerical", "backpropagation")
    )
    # With one class, or with units that are all off, the gradient is zero and only its rounding is left.
    size = max(float(np.linalg.norm(backward)), 1e-2)
    # The definition and its short cut differ by rounding alone.
    assert np.linalg.norm(numerical - naive) < 1e-9 * size
    # The analytic gradient differs from both by the difference's own error, in every layer by itself too.
    assert np.linalg.norm(backward - naive) < CLOSE * size
    for name, expected in network.views(naive).items():
        found = network.views(backward)[name]
        assert np.abs(found - expected).max() < CLOSE * max(np.abs(expected).max(), 1e-2), name
    np.testing.assert_array_equal(workspace.parameters, parameters)
    np.testing.assert_array_equal(workspace.inputs, inputs)


# --- at full size


@every_activation
@every_loss
@every_regularizer
def test_full_size_along_random_directions(activation: str, loss: str, regularizer: str) -> None:
    network = Network((784, 50, 100, 10), activation, "float64")
    workspace, labels = drawn(network, 10, 2, loss, regularizer, margin=0)
    workspace.backward(labels)
    gradient, start = workspace.gradient.copy(), workspace.parameters.copy()
    step = 1e-5
    for name, part in places(network).items():
        # A direction within one layer: in the whole vector, W1 would drown all others.
        direction = np.zeros_like(start)
        for attempt in itertools.count():
            random = np.random.default_rng([3, attempt])
            # Leaning towards the gradient: a quite random direction is almost orthogonal to it.
            towards = gradient[part] / np.linalg.norm(gradient[part])
            away = random.standard_normal(part.shape)
            direction[part] = towards + away / np.linalg.norm(away)
            losses, signs = [], []
            for sign in (1, -1):
                workspace.parameters[:] = start + sign * step * direction
                losses.append(workspace.mean_loss(labels))
                signs.append([np.sign(each) for each in hidden_sums(workspace, 10)])
            same_sides = all(np.array_equal(a, b) for a, b in zip(*signs, strict=True))
            if same_sides or ACTIVATIONS[activation].kink is None:
                break
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(gradient @ direction, rel=CLOSE), name


@pytest.mark.parametrize("sizes", [(784, 50, 10), (784, 50, 100, 10)], ids=["784-50-10", "784-50-100-10"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_the_short_cut_equals_the_naive_loop_at_full_size(sizes: tuple[int, ...], activation: str) -> None:
    # The published experiment's own size and batch; relu with whatever units are near their kink.
    network = Network(sizes, activation, "float64")
    workspace, labels = drawn(network, 10, 4, regularizer="l2", margin=0)
    numerical = gradient_by("numerical", workspace, labels)
    random = np.random.default_rng(5)
    for name, part in places(network).items():
        chosen = random.choice(part.ravel(), min(part.size, 60), replace=False)
        expected = central_differences(workspace, labels, chosen)
        assert np.linalg.norm(numerical[chosen] - expected) < 1e-9 * np.linalg.norm(numerical), name


# --- what the ways have in common


@pytest.mark.parametrize("name", [*GRADIENTS, "naive"])
@every_loss
@every_regularizer
def test_every_way_returns_the_loss_and_fills_the_gradient_alone(
    name: str, loss: str, regularizer: str
) -> None:
    workspace, _ = drawn(Network((5, 4, 3), "tanh", "float64"), 6, 7, loss, regularizer)
    # Fewer rows than the workspace has, and a workspace that has just these.
    labels = np.array([0, 2, 1, 1])
    alone = Workspace(workspace.network, 4, loss=loss, regularizer=regularizer, strength=STRENGTH)
    alone.parameters[:], alone.inputs[:] = workspace.parameters, workspace.inputs[:4]
    parameters, inputs = workspace.parameters.copy(), workspace.inputs.copy()
    found = {**GRADIENTS, "naive": loop_over_parameters}[name](workspace, labels)
    assert type(found) is float
    assert found == pytest.approx(workspace.mean_loss(labels), rel=1e-14)
    np.testing.assert_array_equal(workspace.parameters, parameters)
    np.testing.assert_array_equal(workspace.inputs, inputs)
    first = workspace.gradient.copy()
    assert distance(first, gradient_by("backpropagation", alone, labels)) < CLOSE
    # The gradient is set, not added to, and rows past the batch have no part in it.
    workspace.inputs[4:] = 5.0
    np.testing.assert_array_equal(gradient_by(name, workspace, labels), first)


@pytest.mark.parametrize("name", [*GRADIENTS, "naive"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_an_input_that_is_zero_over_the_batch_has_exactly_zero_gradients(
    name: str, hidden: tuple[int, ...]
) -> None:
    network = Network((6, *hidden, 3), "sigmoid", "float64")
    workspace, labels = drawn(network, 4, 8)
    workspace.inputs[:, [1, 4]] = 0
    weights = network.views(gradient_by(name, workspace, labels))["W1"]
    assert not weights[[1, 4]].any()
    assert weights[[0, 2, 3, 5]].all()


@pytest.mark.parametrize("name", GRADIENTS)
def test_with_all_inputs_zero_only_the_penalty_pulls_at_the_first_weights(name: str) -> None:
    network = Network((6, 4, 3), "sigmoid", "float64")
    workspace, labels = drawn(network, 4, 9, regularizer="l2")
    workspace.inputs[:] = 0
    found = network.views(gradient_by(name, workspace, labels))
    np.testing.assert_array_equal(found["W1"], STRENGTH * network.views(workspace.parameters)["W1"])
    assert found["b1"].all()


@pytest.mark.parametrize("step", [1e-2, 1e-3])
def test_the_step_can_be_chosen(step: float) -> None:
    workspace, labels = drawn(Network((4, 3, 3), "tanh", "float64"), 4, 10)
    workspace.backward(labels)
    exact = workspace.gradient.copy()
    loop_over_parameters(workspace, labels, step)
    naive = workspace.gradient.copy()
    gradients.numerical(workspace, labels, step=step)
    assert distance(workspace.gradient, naive) < 1e-10
    # The error is that of a central difference: it grows as the square of the step.
    assert 1e-4 * step**2 < distance(naive, exact) < step**2


# --- precision


@every_activation
@every_loss
def test_single_precision_backpropagation_follows_double_precision(activation: str, loss: str) -> None:
    double, labels = drawn(Network((20, 15, 12, 5), activation, "float64"), 30, 11, loss, "l2")
    network = Network((20, 15, 12, 5), activation, "float32")
    single = Workspace(network, 30, loss=loss, regularizer="l2", strength=STRENGTH)
    single.parameters[:] = double.parameters
    single.inputs[:] = double.inputs
    assert single.backward(labels) == pytest.approx(double.backward(labels), rel=1e-5)
    assert single.gradient.dtype == np.float32
    assert distance(single.gradient.astype(np.float64), double.gradient) < 2e-5


def test_training_by_differences_is_allowed_in_double_precision_only() -> None:
    # In single precision a difference is mostly rounding; the configuration refuses it (see test_training).
    errors = {}
    for dtype in DTYPES:
        workspace, labels = drawn(Network((5, 4, 3), "tanh", dtype), 4, 12)
        exact = gradient_by("backpropagation", workspace, labels)
        errors[dtype] = distance(gradient_by("naive", workspace, labels), exact)
    assert errors["float64"] < CLOSE
    assert errors["float32"] > 1e-4


# --- kinks


def at_the_kink(activation: str) -> tuple[Workspace, Integers]:
    """One input 1, one hidden unit whose sum is exactly 0, two classes: dL/da = w · (y - t) = 2 · (½ - 0)."""
    workspace = Workspace(Network((1, 1, 2), activation, "float64"), 1)
    views = workspace.network.views(workspace.parameters)
    views["W2"][:] = [[2, 0]]
    workspace.inputs[:] = 1
    return workspace, np.array([1])


@pytest.mark.parametrize(("activation", "left"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_exactly_at_a_kink(activation: str, left: float) -> None:
    workspace, labels = at_the_kink(activation)
    names = workspace.network.views
    # Backpropagation takes the slope from the left,
    backward = names(gradient_by("backpropagation", workspace, labels))
    assert backward["W1"].item() == backward["b1"].item() == pytest.approx(left, rel=1e-14)
    # and differences the mean of both sides, on either way to them.
    for name in ("naive", "numerical"):
        found = names(gradient_by(name, workspace, labels))
        assert found["W1"].item() == pytest.approx((left + 1) / 2, rel=1e-3)
        assert found["b1"].item() == pytest.approx((left + 1) / 2, rel=1e-3)
    # What does not pass through the kink has no ambiguity.
    np.testing.assert_allclose(backward["b2"], [0.5, -0.5], rtol=1e-14)


@every_activation
@every_regularizer
def test_the_short_cut_equals_the_naive_loop_across_kinks_too(activation: str, regularizer: str) -> None:
    network = Network((4, 3, 3, 2), activation, "float64")
    workspace, labels = drawn(network, 5, 13, regularizer=regularizer)
    # Sums of the first layer at 0 or within a step of it, in some rows: every perturbation crosses.
    views = network.views(workspace.parameters)
    workspace.inputs[:3] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    views["W1"][0] = [0, gradients.STEP / 2, -gradients.STEP / 2]
    views["b1"][:] = 0
    naive, numerical = (gradient_by(name, workspace, labels) for name in ("naive", "numerical"))
    assert distance(numerical, naive) < 1e-9


def test_a_unit_that_is_off_in_every_row_gets_no_gradient() -> None:
    network = Network((3, 2, 2), "relu", "float64")
    workspace, labels = drawn(network, 4, 14)
    network.views(workspace.parameters)["b1"][1] = -100
    for name in GRADIENTS:
        views = network.views(gradient_by(name, workspace, labels))
        assert not views["W1"][:, 1].any()
        assert views["b1"][1] == 0
        assert not views["W2"][1].any()
