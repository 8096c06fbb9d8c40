"""Right gradients pass, wrong ones do not, and no difference is taken over a kink."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import PipelineError
from pipeline.nn.activations import ACTIVATIONS, Activation
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.workspace import Workspace
from pipeline.report import gradient_check as check

Array = npt.NDArray[Any]

KINKED = [name for name, activation in ACTIVATIONS.items() if activation.kink is not None]


def toy(activation: str, hidden: int, **kind: Any) -> Network:  # noqa: ANN401  (keywords of Network)
    return check.toy_network(Network((9,) * (hidden + 2), activation, **kind))


def toy_errors(
    activation: str, hidden: int, loss: str = "cross_entropy", regularizer: str = "none", seed: int = 0
) -> dict[str, float]:
    return errors_of(toy(activation, hidden), loss, regularizer, seed)


def errors_of(
    network: Network, loss: str, regularizer: str = "none", seed: int = 0, label_smoothing: float = 0.0
) -> dict[str, float]:
    return check.check(
        network,
        check.every_parameter(network),
        np.random.default_rng(seed),
        loss=loss,
        label_smoothing=label_smoothing,
        regularizer=regularizer,
        strength=0.3,
    )


LAYERS: list[dict[str, Any]] = [
    {"batch_normalization": True},
    {"dropout": 0.4},
    {"input_dropout": 0.3},
    {"batch_normalization": True, "dropout": 0.4, "input_dropout": 0.3},
]


@pytest.mark.parametrize("kind", LAYERS, ids=" ".join)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_is_right_under_every_loss(kind: dict[str, Any], loss: str, activation: str) -> None:
    network = toy(activation, 2, **kind)
    errors = errors_of(network, loss, "l2", label_smoothing=0.1 if LOSSES[loss].smooths else 0.0)
    assert list(errors) == list(network.shapes)
    assert max(errors.values()) < check.TOLERANCE


@pytest.mark.parametrize("hidden", [0, 1, 2, 3])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_combination_is_right(activation: str, loss: str, regularizer: str, hidden: int) -> None:
    errors = toy_errors(activation, hidden, loss, regularizer)
    assert list(errors) == list(toy(activation, hidden).shapes)
    assert max(errors.values()) < check.TOLERANCE


@pytest.mark.parametrize("kind", [{}, LAYERS[-1]], ids=["plain", "all layers"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_full_size_network_is_right_along_random_directions(activation: str, kind: dict[str, Any]) -> None:
    network = Network((300, 60, 40, 10), activation, "float64", **kind)
    random = np.random.default_rng(1)
    errors = check.check(
        network,
        check.random_directions(network, random, 2),
        random,
        loss="squared_error",
        regularizer="l2",
        strength=0.5,
    )
    assert list(errors) == list(network.shapes)
    assert max(errors.values()) < check.TOLERANCE


def test_the_check_can_see_small_mistakes_in_every_array(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Workspace.backward
    network = toy("tanh", 2)
    for name in network.shapes:

        def wrong(workspace: Workspace, labels: Array, name: str = name) -> float:
            loss = right(workspace, labels)
            workspace.network.views(workspace.gradient)[name].flat[-1] += 1e-6
            return loss

        monkeypatch.setattr(Workspace, "backward", wrong)
        errors = toy_errors("tanh", 2)
        assert [bad for bad, error in errors.items() if error > check.TOLERANCE] == [name]


def test_a_wrong_derivative_shows_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(outputs: Array, gradient: Array, scratch: Array) -> None:
        # A factor of the output is missing.
        np.subtract(1.0, outputs, out=scratch)
        np.multiply(gradient, scratch, out=gradient)

    broken = Activation(ACTIVATIONS["sigmoid"].forward, wrong)
    monkeypatch.setitem(ACTIVATIONS, "sigmoid", broken)  # type: ignore[arg-type]  # a dict, seen as a Mapping
    errors = toy_errors("sigmoid", 1)
    assert min(errors["W1"], errors["b1"]) > 0.01
    assert max(errors["W2"], errors["b2"]) < check.TOLERANCE


def test_what_is_not_a_number_is_an_infinite_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined(outputs: Array, gradient: Array, scratch: Array) -> None:
        del outputs, scratch
        gradient.fill(np.nan)

    broken = Activation(ACTIVATIONS["identity"].forward, undefined)
    monkeypatch.setitem(ACTIVATIONS, "identity", broken)  # type: ignore[arg-type]  # the same
    assert toy_errors("identity", 1)["W1"] == np.inf


def sums(workspace: Workspace) -> Array:
    """What goes into the hidden units, found without the package's own kink handling."""
    found, below = [], workspace.inputs
    named = workspace.network.views(workspace.parameters)
    for layer in range(1, workspace.network.depth):
        above = below @ named[f"W{layer}"] + named[f"b{layer}"]
        found.append(above)
        below = above.copy()
        workspace.activation.apply(below)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("activation", KINKED)
def test_no_difference_crosses_a_kink(activation: str) -> None:
    network = toy(activation, 2)
    workspace = Workspace(network, 4)
    random = np.random.default_rng(5)
    drawn_again = False
    for _, directions in [*check.every_parameter(network)] * 3:
        check._draw_parameters(workspace, random)
        before = workspace.parameters.copy()
        first = np.random.default_rng(0)
        step = check._keep_from_kinks(workspace, directions, first)
        np.testing.assert_array_equal(workspace.parameters, before)
        drawn_again |= bool(
            (workspace.inputs != np.random.default_rng(0).standard_normal(workspace.inputs.shape)).any()
        )
        sides = sums(workspace) > 0
        for direction in directions:
            for offset in (-2, -1, 1, 2):
                workspace.parameters[:] = before + offset * step * direction
                np.testing.assert_array_equal(sums(workspace) > 0, sides)
        workspace.parameters[:] = before
    assert drawn_again


def test_a_kink_under_every_input_is_an_error_not_a_wrong_answer() -> None:
    workspace = Workspace(toy("relu", 1), 2)
    workspace.parameters[:] = 0  # every unit sits on its kink, whatever the inputs
    upwards = np.ones(workspace.parameters.size)
    with pytest.raises(PipelineError, match="kink"):
        check._keep_from_kinks(workspace, [upwards], np.random.default_rng(0))


def test_where_kinks_are_everywhere_the_step_gets_shorter() -> None:
    network = Network((10, 3000, 10), "relu", "float64")
    workspace = Workspace(network, 4)
    random = np.random.default_rng(0)
    check._draw_parameters(workspace, random)
    direction = np.zeros(network.parameter_count)
    direction[network.parameter_count - 3000 * 10 - 10 - 3000 :] = 1  # all biases move by a whole step
    step = check._keep_from_kinks(workspace, [direction], random)
    assert 0 < step < check.STEP


@pytest.mark.parametrize("hidden", [0, 1, 4])
def test_directions_have_length_one_and_stay_in_their_array(hidden: int) -> None:
    network = toy("relu", hidden)
    assert network.depth == hidden + 1
    groups = [
        list(check.every_parameter(network)),
        list(check.random_directions(network, np.random.default_rng(0), 2)),
    ]
    for group in groups:
        assert [name for name, _ in group] == list(network.shapes)
        for name, directions in group:
            for direction in directions:
                assert np.linalg.norm(direction) == pytest.approx(1)
                assert np.linalg.norm(network.views(direction)[name]) == pytest.approx(1)
    moved = np.sum([direction for _, directions in groups[0] for direction in directions], axis=0)
    np.testing.assert_array_equal(moved, np.ones(network.parameter_count))
