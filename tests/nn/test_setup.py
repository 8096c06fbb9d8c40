"""What a configuration means: whole steps per epoch, and names that are looked up before anything runs."""

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.core.errors import ConfigError
from pipeline.nn import setup
from pipeline.nn.setup import steps_per_epoch
from pipeline.nn.training import train
from pipeline.stages.compose import check_names
from tests.nn.toys import TRAIN, UNIT, examples, toy_config


@examples
@given(count=st.integers(1, 10**7), batch_size=st.integers(1, 10**4))
@example(count=600_001, batch_size=10_000)
@example(count=600_000, batch_size=10_000)
@example(count=2**53 + 1, batch_size=1)
def test_an_epoch_is_a_whole_number_of_steps(count: int, batch_size: int) -> None:
    found = steps_per_epoch(count, batch_size)
    assert type(found) is int
    assert found == math.ceil(Fraction(count, batch_size))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("random", "dice"),
        ("dtype", "float16"),
        ("model.activation", "step"),
        ("initializer.name", "ones"),
        ("loss.name", "hinge"),
        ("regularizer.name", "l1"),
        ("optimizer.name", "newton"),
        ("schedule.name", "warm"),
        ("training.sampling", "weighted"),
        ("training.gradient", "forward"),
    ],
)
def test_an_unknown_name_is_found_before_anything_runs(key: str, value: str) -> None:
    config = with_values(toy_config(), {key: value})
    last_part = key.removesuffix(".name").rpartition(".")[2]
    for check in (setup.check_names, check_names):
        with pytest.raises(ConfigError, match=rf"{last_part}(\.name)?={value}: unknown; one of \w+"):
            check(config)
    with pytest.raises(ConfigError, match=f"={value}: unknown"):
        next(train(config, TRAIN, {}, UNIT))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split.name", "folds"),
        ("preprocess.name", "whiten"),
        ("runtime.name", "gpu"),
        ("search.name", "evolution"),
    ],
)
def test_unknown_names_of_what_comes_before_training_are_found_too(key: str, value: str) -> None:
    config = with_values(toy_config(), {key: value})
    with pytest.raises(ConfigError, match=rf"{key.replace('.', '[.]')}={value}: unknown; one of \w+"):
        check_names(config)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"optimizer.momentum": 0.9}, r"optimizer\.momentum: the chosen optimizer has no such"),
        ({"schedule.decay": 0.9}, r"schedule\.decay: the chosen schedule has no such"),
        (
            {"schedule.name": "exponential", "schedule.every_epochs": 3},
            r"schedule\.every_epochs: the chosen schedule",
        ),
    ],
)
def test_a_hyperparameter_that_the_choice_does_not_have_is_refused(values: dict[str, Any], told: str) -> None:
    config = with_values(toy_config(), values)
    with pytest.raises(ConfigError, match=told):
        setup.check_names(config)
    with pytest.raises(ConfigError, match=told):
        next(train(config, TRAIN, {}, UNIT))


def test_sound_names_pass() -> None:
    setup.check_names(toy_config())
    setup.check_names(toy_config(training__early_stopping={"monitor": "valid_loss"}))


def test_numerical_gradients_are_refused_in_single_precision() -> None:
    with pytest.raises(ConfigError, match=r"training\.gradient=numerical: needs dtype=float64"):
        toy_config(training__gradient="numerical")
