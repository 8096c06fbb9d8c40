"""Every optimizer against its published formula, one scalar at a time; its state; what it allocates."""

import copy
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.arrays import DTYPES, Floats
from pipeline.nn.optimizers import OPTIMIZERS, State, decay_weights, init_state
from tests.shared import allocating_less_than

Memory = dict[str, float]
Scalar = Callable[[float, float, Memory, float, Mapping[str, float]], float]

every = pytest.mark.parametrize("name", OPTIMIZERS)


# Literal transcriptions: the parameter θ after one step, from θ, its gradient g and what is remembered.


def sgd(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    del memory, settings
    return theta - eta * g


def momentum(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    """Polyak (1964): v ← μ v - η g; θ ← θ + v."""
    memory["v"] = settings["momentum"] * memory.get("v", 0.0) - eta * g
    return theta + memory["v"]


def nesterov(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    """Sutskever et al. (2013), with the point θ + μ v where the gradient is taken as the parameter."""
    mu, before = settings["momentum"], memory.get("v", 0.0)
    memory["v"] = mu * before - eta * g
    return theta + (1 + mu) * memory["v"] - mu * before


def adagrad(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    """Duchi et al. (2011), diagonal: s ← s + g²; θ ← θ - η g / (√s + ε)."""
    memory["s"] = memory.get("s", 0.0) + g * g
    return theta - eta * g / (math.sqrt(memory["s"]) + settings["epsilon"])


def rmsprop(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    """Tieleman and Hinton (2012): s ← ρ s + (1 - ρ) g²; θ ← θ - η g / (√s + ε)."""
    rho = settings["decay"]
    memory["s"] = rho * memory.get("s", 0.0) + (1 - rho) * g * g
    return theta - eta * g / (math.sqrt(memory["s"]) + settings["epsilon"])


def adam(theta: float, g: float, memory: Memory, eta: float, settings: Mapping[str, float]) -> float:
    """Kingma and Ba (2015), algorithm 1, in its own order."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    memory["t"] = memory.get("t", 0) + 1
    memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
    memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g * g
    m_hat = memory["m"] / (1 - math.pow(beta1, memory["t"]))
    v_hat = memory["v"] / (1 - math.pow(beta2, memory["t"]))
    return theta - eta * m_hat / (math.sqrt(v_hat) + settings["epsilon"])


FORMULAS: dict[str, Scalar] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
}


def stepped(
    name: str, start: Floats, gradients: Floats, rate: float = 0.1, **given_settings: float
) -> tuple[Floats, State]:
    """Parameters and state after one step for every row of `gradients`."""
    optimizer = OPTIMIZERS[name]
    parameters = start.copy()
    state = init_state(optimizer, parameters)
    for gradient in gradients:
        state["count"] += 1
        optimizer.update(parameters, gradient.copy(), state, rate, {**optimizer.defaults, **given_settings})
    return parameters, state


def drawn(seed: int, steps: int = 6, size: int = 5, dtype: str = "float64") -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    return random.standard_normal(size).astype(dtype), random.standard_normal((steps, size)).astype(dtype)


@pytest.mark.parametrize("name", FORMULAS)
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-6, 1.0, 100.0]),
    rate=st.floats(1e-4, 1.0),
    # Large enough an epsilon shows where it is added: outside the root, after the correction of bias.
    epsilon=st.sampled_from([1e-8, 0.5]),
    fraction=st.floats(0, 0.99),
)
def test_steps_are_those_of_the_published_formula(
    name: str, seed: int, size: float, rate: float, epsilon: float, fraction: float
) -> None:
    defaults = OPTIMIZERS[name].defaults
    chosen = {key: epsilon if key == "epsilon" else fraction for key in defaults}
    start, gradients = drawn(seed)
    gradients *= size
    found, _ = stepped(name, start, gradients, rate, **chosen)
    for index, theta in enumerate(start.tolist()):
        memory: Memory = {}
        for gradient in gradients[:, index].tolist():
            theta = FORMULAS[name](theta, gradient, memory, rate, chosen)  # noqa: PLW2901  (the parameter moves on)
        assert found[index] == pytest.approx(theta, rel=1e-11, abs=1e-11)


def test_nesterov_is_the_published_look_ahead() -> None:
    # Sutskever et al. (2013), equations 3 and 4: v ← μ v - η ∇f(θ + μ v); θ ← θ + v. Ours keeps θ + μ v.
    mu, eta, velocity = 0.8, 0.05, np.zeros(4)
    theta = np.array([1.0, -2.0, 0.5, 3.0])
    curvature = np.array([0.3, 1.0, 4.0, 0.1])
    optimizer = OPTIMIZERS["nesterov"]
    ours = theta.copy()
    state = init_state(optimizer, ours)
    for _ in range(10):
        velocity = mu * velocity - eta * curvature * (theta + mu * velocity)
        theta = theta + velocity
        state["count"] += 1
        optimizer.update(ours, curvature * ours, state, eta, {"momentum": mu})
        np.testing.assert_allclose(ours, theta + mu * velocity, rtol=1e-12)


@pytest.mark.parametrize("gradient", [1e-3, 1.0, 1e6])
def test_adams_first_step_is_the_learning_rate_whatever_the_gradient(gradient: float) -> None:
    start = np.zeros(2)
    found, _ = stepped("adam", start, np.array([[gradient, -gradient]]), 0.01)
    np.testing.assert_allclose(found, [-0.01, 0.01], rtol=2e-5)


def test_momentum_zero_is_gradient_descent() -> None:
    start, gradients = drawn(1)
    plain, _ = stepped("sgd", start, gradients)
    for name in ("momentum", "nesterov"):
        np.testing.assert_allclose(stepped(name, start, gradients, momentum=0.0)[0], plain, rtol=1e-14)


@every
def test_every_hyperparameter_has_an_effect(name: str) -> None:
    start, gradients = drawn(2)
    usual, _ = stepped(name, start, gradients)
    for key in OPTIMIZERS[name].defaults.keys() - {"weight_decay"}:
        other, _ = stepped(name, start, gradients, **{key: 0.37})
        assert not np.allclose(other, usual, rtol=1e-6), key


def test_decay_is_apart_from_the_gradient_and_follows_the_learning_rate() -> None:
    # Loshchilov and Hutter (2019), algorithm 2, whose η_t α and λ are our rate and weight decay.
    weights = [np.array([[1.0, -2.0]]), np.array([[4.0]])]
    decay_weights(weights, 0.5, {"weight_decay": 0.1})
    np.testing.assert_allclose(weights[0], [[0.95, -1.9]])
    np.testing.assert_allclose(weights[1], [[3.8]])
    decay_weights(weights, 0.5, OPTIMIZERS["adam"].defaults)
    np.testing.assert_allclose(weights[1], [[3.8]])


@every
def test_the_learning_rate_scales_the_first_step(name: str) -> None:
    start, gradients = drawn(3, steps=1)
    one, _ = stepped(name, start, gradients, 0.1)
    two, _ = stepped(name, start, gradients, 0.2)
    np.testing.assert_allclose(two - start, 2 * (one - start), rtol=1e-9)


@every
def test_parameters_do_not_know_of_each_other(name: str) -> None:
    start, gradients = drawn(4)
    order = np.array([3, 0, 4, 1, 2])
    together, _ = stepped(name, start, gradients)
    reordered, _ = stepped(name, start[order], gradients[:, order])
    np.testing.assert_allclose(reordered, together[order], rtol=1e-14)


@every
def test_a_bowl_is_descended(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    parameters, curvature = np.array([1.0, -1.0, 0.5]), np.array([0.5, 1.0, 3.0])
    state = init_state(optimizer, parameters)
    start = float(curvature @ parameters**2)
    for _ in range(300):
        state["count"] += 1
        optimizer.update(parameters, curvature * parameters, state, 0.05, optimizer.defaults)
    assert float(curvature @ parameters**2) < 0.02 * start


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_state_is_plain_arrays_of_the_parameters_dtype(name: str, dtype: str) -> None:
    start, gradients = drawn(5, dtype=dtype)
    parameters, state = stepped(name, start, gradients)
    assert parameters.dtype == dtype
    assert set(state) == {*OPTIMIZERS[name].slots, "scratch", "count"}
    assert {type(value) for value in state.values()} == {np.ndarray}
    for slot in (*OPTIMIZERS[name].slots, "scratch"):
        assert state[slot].shape == start.shape
        assert state[slot].dtype == dtype
        assert not np.shares_memory(state[slot], parameters)
    # A first state is the same every time, no memory that happened to be free.
    fresh = init_state(OPTIMIZERS[name], start)
    assert not any(value.any() for value in fresh.values())


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_saved_state_goes_on_to_the_same_bits(name: str, dtype: str) -> None:
    optimizer = OPTIMIZERS[name]
    start, gradients = drawn(6, steps=8, dtype=dtype)
    whole, _ = stepped(name, start, gradients)
    parameters, state = stepped(name, start, gradients[:3])
    saved: Any = pickle.loads(pickle.dumps((parameters, state)))  # noqa: S301  (written on this line)
    # Going on with the original has no effect on what was saved.
    state["count"] += 1
    optimizer.update(parameters, gradients[3].copy(), state, 0.1, optimizer.defaults)
    parameters, state = copy.deepcopy(saved)
    for gradient in gradients[3:]:
        state["count"] += 1
        optimizer.update(parameters, gradient.copy(), state, 0.1, optimizer.defaults)
    np.testing.assert_array_equal(parameters, whole)


@every
def test_single_precision_follows_double_precision(name: str) -> None:
    # A NumPy double among the numbers of a step would give the same result at twice the cost, or fail.
    start, gradients = drawn(7)
    double, _ = stepped(name, start, gradients)
    single, _ = stepped(name, start.astype(np.float32), gradients.astype(np.float32))
    np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-6)


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_allocates_nothing_that_grows_with_the_network(name: str, dtype: str) -> None:
    optimizer = OPTIMIZERS[name]
    parameters = np.ones(100_000, dtype=dtype)
    gradient = np.full_like(parameters, 1e-3)
    state = init_state(optimizer, parameters)
    state["count"] += 1
    optimizer.update(parameters, gradient, state, 0.1, optimizer.defaults)
    with allocating_less_than(4_000):
        optimizer.update(parameters, gradient, state, 0.1, optimizer.defaults)
