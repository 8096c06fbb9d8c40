"""Learning rate schedules: their values at given moments, and what all of them have in common."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.schedules import SCHEDULES, Moment


def factor(name: str, epoch: int, step: int, total: int, **given_settings: float) -> float:
    schedule = SCHEDULES[name]
    return schedule.factor(Moment(epoch, step, total), {**schedule.defaults, **given_settings})


@pytest.mark.parametrize(
    ("name", "epoch", "step", "expected"),
    [
        ("constant", 0, 0, 1),
        ("constant", 9, 99, 1),
        ("exponential", 0, 0, 1),
        ("exponential", 0, 9, 1),
        ("exponential", 1, 10, 0.95),
        ("exponential", 3, 30, 0.857375),
        ("step", 0, 0, 1),
        ("step", 9, 99, 1),
        ("step", 10, 99, 0.1),
        ("step", 19, 99, 0.1),
        ("step", 20, 99, 0.01),
        ("cosine", 0, 0, 1),
        ("cosine", 2, 25, (2 + math.sqrt(2)) / 4),
        ("cosine", 5, 50, 0.5),
        ("cosine", 7, 75, (2 - math.sqrt(2)) / 4),
        ("linear", 0, 0, 1),
        ("linear", 2, 25, 0.75),
        ("linear", 9, 99, 0.01),
    ],
)
def test_values_in_a_run_of_100_steps(name: str, epoch: int, step: int, expected: float) -> None:
    assert factor(name, epoch, step, 100) == pytest.approx(expected, rel=1e-13)


def test_hyperparameters_are_used() -> None:
    assert factor("exponential", 2, 0, 100, decay=0.5) == 0.25
    assert factor("step", 5, 0, 100, decay=0.5, every_epochs=2) == 0.25
    # As a configuration gives it: every number a float.
    assert factor("step", 3, 0, 100, decay=0.5, every_epochs=2.0) == 0.5


def test_a_cosine_may_begin_with_a_straight_line_up() -> None:
    factors = [factor("cosine", 0, step, 100, warm_up=0.1) for step in range(101)]
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    # Then the whole half cosine over what is left.
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0, abs=1e-15)
    # Where the fraction is less than a step there is no line.
    assert factor("cosine", 0, 0, 9, warm_up=0.1) == 1


@pytest.mark.parametrize("name", SCHEDULES)
@settings(deadline=None, max_examples=50)
@given(total=st.integers(1, 100_000), fraction=st.floats(0, 1, exclude_max=True), epoch=st.integers(0, 1000))
def test_every_factor_of_a_run_is_a_plain_number_that_can_be_trained_with(
    name: str, total: int, fraction: float, epoch: int
) -> None:
    found = factor(name, epoch, int(fraction * total), total)
    # A NumPy scalar would widen float32 parameters.
    assert type(found) is float
    assert 0 <= found <= 1


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_rate_falls_with_every_step_and_is_spent_only_after_the_last(name: str) -> None:
    factors = [factor(name, 0, step, 50) for step in range(51)]
    assert all(after < before for before, after in itertools.pairwise(factors))
    assert factors[49] > 0
    assert factors[50] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_of_one_step_has_its_base_rate(name: str) -> None:
    assert factor(name, 0, 0, 1) == 1
