"""Initial weights: exact draws from the given random source, with the spread that each formula promises."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.arrays import RANDOM_SOURCES, Random, random_source
from pipeline.nn.initializers import INITIALIZERS

DEVIATIONS: dict[str, Callable[[int, int], float]] = {
    "normal": lambda inputs, outputs: 1.0,  # noqa: ARG005  (one signature for all)
    "xavier_uniform": lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),
    "xavier_normal": lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),
    "he_normal": lambda inputs, outputs: math.sqrt(2 / inputs),  # noqa: ARG005  (the same)
}

every = pytest.mark.parametrize("name", INITIALIZERS)
every_source = pytest.mark.parametrize("source", RANDOM_SOURCES)
sizes = st.integers(1, 12)


def fresh(source: str) -> Random:
    return random_source(source, 11)


@every
@every_source
@settings(deadline=None, max_examples=20)
@given(inputs=sizes, outputs=sizes)
def test_weights_are_doubles_drawn_from_the_given_source_alone(
    name: str, source: str, inputs: int, outputs: int
) -> None:
    first = INITIALIZERS[name](fresh(source), inputs, outputs, 1.0)
    assert first.shape == (inputs, outputs)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, INITIALIZERS[name](fresh(source), inputs, outputs, 1.0))


@every
@every_source
def test_the_scale_is_a_factor(name: str, source: str) -> None:
    one, three = (INITIALIZERS[name](fresh(source), 5, 4, scale) for scale in (1.0, 3.0))
    np.testing.assert_allclose(three, 3 * one, rtol=1e-13)
    assert not INITIALIZERS[name](fresh(source), 5, 4, 0.0).any()


@pytest.mark.parametrize("name", DEVIATIONS)
@every_source
@pytest.mark.parametrize(("inputs", "outputs"), [(300, 100), (100, 300)])
def test_mean_and_deviation(name: str, source: str, inputs: int, outputs: int) -> None:
    weights = INITIALIZERS[name](fresh(source), inputs, outputs, 0.7)
    deviation = 0.7 * DEVIATIONS[name](inputs, outputs)
    # Four standard errors; the source is seeded, so this holds or does not, for good.
    assert abs(weights.mean()) < 4 * deviation / math.sqrt(weights.size)
    assert abs(weights.std() / deviation - 1) < 4 / math.sqrt(2 * weights.size)
    # Neither rows nor columns share draws.
    assert np.unique(weights).size == weights.size


@every_source
def test_the_draws_are_one_array_of_standard_normals_in_row_order(source: str) -> None:
    normals = fresh(source).standard_normal(12).reshape(4, 3)
    for name in ("normal", "xavier_normal", "he_normal"):
        weights = INITIALIZERS[name](fresh(source), 4, 3, 0.01)
        np.testing.assert_allclose(weights, 0.01 * DEVIATIONS[name](4, 3) * normals, rtol=1e-14)


def test_legacy_normal_weights_are_those_of_the_textbook_expression() -> None:
    textbook = 0.01 * np.random.RandomState(11).randn(784, 50)
    np.testing.assert_array_equal(INITIALIZERS["normal"](fresh("legacy"), 784, 50, 0.01), textbook)


@every_source
def test_xavier_uniform_fills_its_interval_and_no_more(source: str) -> None:
    limit = math.sqrt(6 / (30 + 20))
    weights = INITIALIZERS["xavier_uniform"](fresh(source), 30, 20, 1.0)
    np.testing.assert_array_equal(weights, fresh(source).uniform(-limit, limit, (30, 20)))
    assert np.abs(weights).max() <= limit
    assert weights.max() > 0.98 * limit
    assert weights.min() < -0.98 * limit
