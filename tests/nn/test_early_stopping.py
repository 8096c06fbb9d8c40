"""Early stopping: when it stops, what it keeps, what it needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.core.errors import ConfigError
from pipeline.nn.examples import Examples
from pipeline.nn.training import best_value, train
from tests.nn.toys import TRAIN, UNIT, VALID, examples, toy_config, trained


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_accuracy"])
@examples
@given(
    seed=st.integers(0, 1000),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.01, 0.1]),
    rate=st.sampled_from([0.01, 0.5, 3.0]),
)
def test_early_stopping_follows_its_rule(
    monitor: str, seed: int, patience: int, min_delta: float, rate: float
) -> None:
    config = toy_config(
        seed=seed,
        optimizer__learning_rate=rate,
        training__epochs=12,
        training__early_stopping={"monitor": monitor, "patience": patience, "min_delta": min_delta},
    )
    found = trained(config)
    without = trained(with_values(config, {"training.early_stopping.monitor": None}))
    # The rule, from the history of the whole run.
    sign = 1 if monitor == "valid_accuracy" else -1
    values = [sign * row[monitor] for row in without[-1].history]
    best, last = 0, 12
    for epoch, value in enumerate(values):
        if value - values[best] > min_delta:
            best = epoch
        elif epoch - best >= patience:
            last = epoch
            break
    assert found[-1].epoch == last
    assert found[-1].finished
    assert not any(checkpoint.finished for checkpoint in found[:-1])
    # Watching does not change what is trained, and the best is what is kept.
    assert found[-1].history == without[-1].history[: last + 1]
    assert found[-1].best is not None
    assert (found[-1].best.epoch, found[-1].best.value) == (best, sign * values[best])
    np.testing.assert_array_equal(found[-1].result, without[best].parameters)
    assert best_value(found[-1]) == without[-1].history[best]["valid_accuracy"]


def test_training_that_only_does_harm_is_undone() -> None:
    # The valid images have other labels than they should: the better the training, the worse the loss.
    mislabelled = Examples(VALID.pixels, (VALID.labels + 1) % 3, VALID.indices)
    config = toy_config(
        optimizer__learning_rate=0.5,
        training__epochs=50,
        training__early_stopping={"monitor": "valid_loss", "patience": 3, "min_delta": 0.0},
    )
    first, *_, last = train(config, TRAIN, {"valid": mislabelled}, UNIT)
    assert last.epoch == 3
    assert last.best is not None
    assert last.best.epoch == 0
    np.testing.assert_array_equal(last.result, first.parameters)
    assert last.parameters.tobytes() != first.parameters.tobytes()


def test_without_early_stopping_the_latest_parameters_are_kept() -> None:
    last = trained(toy_config())[-1]
    assert last.best is None
    assert last.result is last.parameters
    assert best_value(last) == last.history[-1]["valid_accuracy"]


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_accuracy"])
def test_early_stopping_needs_valid_images(monitor: str) -> None:
    # A configuration can promise a valid part that the split of a small data set leaves empty.
    config = toy_config(training__early_stopping={"monitor": monitor, "patience": 3, "min_delta": 0.0})
    none = Examples(VALID.pixels, VALID.labels, VALID.indices[:0])
    for watched in ({"train": TRAIN}, {"valid": none}):
        with pytest.raises(ConfigError, match=rf"early_stopping\.monitor={monitor}.*no images"):
            next(train(config, TRAIN, watched, UNIT))


def test_there_is_no_best_value_without_valid_images() -> None:
    *_, last = train(toy_config(), TRAIN, {"train": TRAIN}, UNIT)
    with pytest.raises(ConfigError, match="valid part has no images"):
        best_value(last)
