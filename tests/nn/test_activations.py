"""Every activation in the registry: its values, its derivative through the output, its conduct in place."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.activations import ACTIVATIONS, Activation
from pipeline.nn.arrays import DTYPES, Floats

FORMULAS: dict[str, Callable[[float], float]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": lambda z: (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z)),
    "relu": lambda z: z if z > 0 else 0.0,
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
}
DERIVATIVES: dict[str, Callable[[float], float]] = {
    "identity": lambda z: 1.0,  # noqa: ARG005  (one signature for all)
    "sigmoid": lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2,
    "tanh": lambda z: 1 / math.cosh(z) ** 2,
    "relu": lambda z: 1.0 if z > 0 else 0.0,
    "leaky_relu": lambda z: 1.0 if z > 0 else 0.01,
}

every = pytest.mark.parametrize("name", ACTIVATIONS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
examples = settings(deadline=None, max_examples=50)
numbers = st.floats(-30, 30, allow_nan=False)


def applied(activation: Activation, values: Floats) -> Floats:
    outputs = values.copy()
    # As every caller does; anything but overflow would still be a warning, and so an error.
    with np.errstate(over="ignore"):
        activation.apply(outputs)
    return outputs


def slopes(activation: Activation, outputs: Floats) -> Floats:
    gradient = np.ones_like(outputs)
    activation.differentiate(outputs, gradient)
    return gradient


@pytest.mark.parametrize("name", FORMULAS)
@examples
@given(values=st.lists(numbers, min_size=1, max_size=20))
def test_values_and_slopes_are_those_of_the_formula(name: str, values: list[float]) -> None:
    outputs = applied(ACTIVATIONS[name], np.array(values))
    np.testing.assert_allclose(outputs, [FORMULAS[name](z) for z in values], rtol=1e-12, atol=1e-15)
    # 1 - f² and f (1 - f) cannot be better than f itself is rounded.
    np.testing.assert_allclose(
        slopes(ACTIVATIONS[name], outputs), [DERIVATIVES[name](z) for z in values], rtol=1e-9, atol=1e-15
    )


@every
@examples
@given(values=st.lists(numbers, min_size=1, max_size=20))
def test_the_slope_is_the_limit_of_differences(name: str, values: list[float]) -> None:
    activation, step = ACTIVATIONS[name], 1e-5
    points = np.array(values)
    if activation.kink is not None:
        points = points[np.abs(points - activation.kink) > 2 * step]
    differences = (applied(activation, points + step) - applied(activation, points - step)) / (2 * step)
    np.testing.assert_allclose(
        slopes(activation, applied(activation, points)), differences, rtol=1e-8, atol=1e-9
    )


@every
def test_at_a_kink_the_slope_is_the_one_from_the_left(name: str) -> None:
    activation, step = ACTIVATIONS[name], 1e-7
    point = np.array([activation.kink or 0.0])
    left = (applied(activation, point) - applied(activation, point - step)) / step
    right = (applied(activation, point + step) - applied(activation, point)) / step
    np.testing.assert_allclose(slopes(activation, applied(activation, point)), left, rtol=0, atol=1e-6)
    # `kink` is declared where there is one, and only there.
    assert (abs(float(left[0] - right[0])) > 1e-3) == (activation.kink is not None)


@every
@every_dtype
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (0, 4)])
def test_any_shape_is_treated_element_by_element_in_place(
    name: str, dtype: str, shape: tuple[int, ...]
) -> None:
    activation = ACTIVATIONS[name]
    values = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    outputs = values.copy() if shape else np.array(values)
    activation.forward(outputs, np.full_like(outputs, np.nan))
    assert outputs.dtype == dtype
    one_by_one = [applied(activation, np.array([value])).item() for value in np.ravel(values)]
    np.testing.assert_allclose(outputs.ravel(), one_by_one, rtol=1e-6 if dtype == "float32" else 1e-14)

    upstream = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    gradient, kept = np.array(upstream), outputs.copy()
    activation.backward(outputs, gradient, np.full_like(outputs, np.nan))
    np.testing.assert_array_equal(outputs, kept)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, upstream * slopes(activation, outputs))


@every
@every_dtype
def test_extreme_values_have_finite_outputs_and_slopes(name: str, dtype: str) -> None:
    values = np.array([-3e38, -1e4, -1000, -100, -1e-40, 0, 1e-40, 100, 1000, 1e4, 3e38], dtype=dtype)
    outputs = applied(ACTIVATIONS[name], values)
    assert np.isfinite(outputs).all()
    assert (np.diff(outputs) >= 0).all()
    assert np.isfinite(slopes(ACTIVATIONS[name], outputs)).all()


@every
def test_not_a_number_stays_one(name: str) -> None:
    # A run that diverges is recognised by its loss; an activation must not wash that out.
    assert np.isnan(applied(ACTIVATIONS[name], np.array([np.nan]))).all()


def test_saturated_units_have_their_limits() -> None:
    far = np.array([-1000.0, 1000.0])
    assert applied(ACTIVATIONS["sigmoid"], far).tolist() == [0, 1]
    assert applied(ACTIVATIONS["tanh"], far).tolist() == [-1, 1]
    for name in ("sigmoid", "tanh"):
        assert slopes(ACTIVATIONS[name], applied(ACTIVATIONS[name], far)).tolist() == [0, 0]
