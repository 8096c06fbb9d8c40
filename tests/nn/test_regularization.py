"""Penalties: their value and their gradient, by hand and by differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.arrays import DTYPES, Floats
from pipeline.nn.network import Network
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.workspace import Workspace

every = pytest.mark.parametrize("name", REGULARIZERS)


def matrices(seed: int, dtype: str = "float64") -> list[Floats]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(dtype) for shape in ((4, 3), (3, 1), (1, 5))]


def gradient_of(name: str, weights: list[Floats], strength: float, onto: list[Floats]) -> list[Floats]:
    REGULARIZERS[name].add_gradient(
        weights, onto, [np.full_like(weight, np.nan) for weight in weights], strength
    )
    return onto


def test_l2_by_hand() -> None:
    weights = [np.array([[1.0, -2.0]]), np.array([[3.0]])]
    # ½ · 0.1 · (1 + 4 + 9), and 0.1 · W on top of what is there.
    assert REGULARIZERS["l2"].penalty(weights, 0.1) == pytest.approx(0.7, rel=1e-15)
    found = gradient_of("l2", weights, 0.1, [np.array([[10.0, 20.0]]), np.array([[30.0]])])
    np.testing.assert_allclose(found[0], [[10.1, 19.8]], rtol=1e-15)
    np.testing.assert_allclose(found[1], [[30.3]], rtol=1e-15)


def test_none_is_nothing() -> None:
    weights = matrices(1)
    assert REGULARIZERS["none"].penalty(weights, 5.0) == 0
    for found, kept in zip(gradient_of("none", weights, 5.0, matrices(2)), matrices(2), strict=True):
        np.testing.assert_array_equal(found, kept)


@every
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), strength=st.floats(0, 10))
def test_the_gradient_is_the_limit_of_differences(name: str, seed: int, strength: float) -> None:
    weights = matrices(seed)
    found = gradient_of(name, weights, strength, [np.zeros_like(weight) for weight in weights])
    step = 1e-4
    for weight, slopes in zip(weights, found, strict=True):
        for index in np.ndindex(weight.shape):
            kept = weight[index]
            weight[index] = kept + step
            above = REGULARIZERS[name].penalty(weights, strength)
            weight[index] = kept - step
            below = REGULARIZERS[name].penalty(weights, strength)
            weight[index] = kept
            assert slopes[index] == pytest.approx((above - below) / (2 * step), rel=1e-7, abs=1e-8)


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_and_dtypes_stay_as_they_are(name: str, dtype: str) -> None:
    weights, kept = matrices(3, dtype), matrices(3, dtype)
    onto = gradient_of(name, weights, 0.5, matrices(4, dtype))
    assert all(array.dtype == dtype for array in (*weights, *onto))
    for weight, before in zip(weights, kept, strict=True):
        np.testing.assert_array_equal(weight, before)
    assert type(REGULARIZERS[name].penalty(weights, 0.5)) is float


@every
def test_strength_zero_changes_nothing(name: str) -> None:
    assert REGULARIZERS[name].penalty(matrices(5), 0.0) == 0
    for found, kept in zip(gradient_of(name, matrices(5), 0.0, matrices(6)), matrices(6), strict=True):
        np.testing.assert_array_equal(found, kept)


@every
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_a_networks_biases_are_not_penalised(name: str, hidden: tuple[int, ...]) -> None:
    network = Network((5, *hidden, 3), "tanh", "float64")
    workspace = Workspace(network, 2, regularizer=name, strength=0.7)
    plain = Workspace(network, 2)
    for space in (workspace, plain):
        space.parameters[:] = np.random.default_rng(7).standard_normal(network.parameter_count)
        space.inputs[:] = np.random.default_rng(8).standard_normal((2, 5))
    labels = np.array([0, 2])
    added = network.views(workspace.parameters.copy())
    total = workspace.backward(labels) - plain.backward(labels)
    assert total == pytest.approx(
        REGULARIZERS[name].penalty([added[key] for key in added if key[0] == "W"], 0.7), rel=1e-12
    )
    difference = network.views(workspace.gradient - plain.gradient)
    for key, values in difference.items():
        if key.startswith("b"):
            assert not values.any()
        elif name == "l2":
            np.testing.assert_allclose(values, 0.7 * added[key], rtol=1e-9, atol=1e-12)
