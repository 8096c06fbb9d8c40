"""Batch normalization and dropout: their formulas, what is left of them after training, exact resumption."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError
from pipeline.nn import setup, training
from pipeline.nn.arrays import DTYPES, Floats
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.layers import RUNNING_MOMENTUM, BatchNormalization, Dropout
from pipeline.nn.network import VARIANCE_FLOOR, Network
from pipeline.nn.workspace import Workspace
from tests.nn.toys import TRAIN, UNIT, VALID, assert_same, composed, noise, toy_config, trained

examples = settings(deadline=None, max_examples=25)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
NORMALIZED = Network((5, 4, 3, 2), "relu", "float64", batch_normalization=True)


def modern_config(**values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    modern: dict[str, Any] = {
        "model__batch_normalization": True,
        "model__dropout": 0.3,
        "model__input_dropout": 0.1,
        "loss__label_smoothing": 0.1,
        "optimizer": {"name": "adamw", "learning_rate": 0.05},
        "schedule": {"name": "cosine", "warm_up": 0.2},
    }
    return toy_config(**{**modern, **values})


# --- batch normalization


@examples
@given(rows=st.integers(2, 9), units=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_each_unit_gets_mean_beta_and_deviation_gamma(rows: int, units: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    parameters = {"gamma1": random.normal(size=units), "beta1": random.normal(size=units)}
    running = {"mean1": random.normal(size=units), "variance1": random.uniform(1, 2, units)}
    before = {name: array.copy() for name, array in running.items()}
    gradients = {name: np.full(units, np.nan) for name in parameters}
    # Of a batch smaller than the buffers are for.
    layer = BatchNormalization(1, parameters, gradients, running, rows + 2)
    inputs = random.normal(3, 2, (rows, units))
    mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
    normalized = (inputs - mean) / np.sqrt(variance + VARIANCE_FLOOR)
    found = layer.forward(inputs.copy())
    np.testing.assert_allclose(found, parameters["gamma1"] * normalized + parameters["beta1"], rtol=1e-9)
    # A forward pass alone moves nothing.
    np.testing.assert_equal(running, before)
    errors = random.normal(size=(rows, units))
    layer.backward(errors.copy())
    np.testing.assert_allclose(gradients["beta1"], errors.sum(axis=0))
    np.testing.assert_allclose(gradients["gamma1"], (errors * normalized).sum(axis=0), atol=1e-12)
    kept, new = RUNNING_MOMENTUM, 1 - RUNNING_MOMENTUM
    np.testing.assert_allclose(running["mean1"], kept * before["mean1"] + new * mean)
    unbiased = inputs.var(axis=0, ddof=1)
    np.testing.assert_allclose(running["variance1"], kept * before["variance1"] + new * unbiased)


def test_a_batch_of_one_row_has_no_variance() -> None:
    workspace = Workspace(NORMALIZED, 3)
    workspace.parameters[:] = 1
    workspace.inputs[:] = 1
    assert np.isfinite(workspace.backward(np.array([1])))
    named = NORMALIZED.running_views(workspace.running)
    np.testing.assert_allclose(named["variance1"], RUNNING_MOMENTUM)
    np.testing.assert_allclose(named["mean1"], (1 - RUNNING_MOMENTUM) * 5)


def test_parameters_of_a_normalized_layer() -> None:
    assert list(NORMALIZED.shapes) == ["W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3", "b3"]
    flat = NORMALIZED.initialize(np.random.default_rng(1), "he_normal", 1.0)
    named = NORMALIZED.views(flat)
    assert (named["gamma1"] == 1).all()
    assert not np.concatenate([named["beta1"], named["b3"]]).any()
    running = NORMALIZED.running_views(NORMALIZED.initial_running())
    assert {name: array.tolist() for name, array in running.items()} == {
        "mean1": [0] * 4,
        "variance1": [1] * 4,
        "mean2": [0] * 3,
        "variance2": [1] * 3,
    }


# --- folding


def normalized_by_hand(network: Network, flat: Floats, running: Floats, inputs: Floats) -> Floats:
    """Logits of a trained network, its normalization written out with the running statistics."""
    named, statistics = network.views(flat), network.running_views(running)
    values = inputs
    for layer in range(1, network.depth):
        values = values @ named[f"W{layer}"] - statistics[f"mean{layer}"]
        values = values / np.sqrt(statistics[f"variance{layer}"] + VARIANCE_FLOOR)
        values = np.maximum(values * named[f"gamma{layer}"] + named[f"beta{layer}"], 0)
    return values @ named[f"W{network.depth}"] + named[f"b{network.depth}"]


@every_dtype
@examples
@given(seed=st.integers(0, 2**32 - 1))
def test_folded_parameters_alone_predict_the_same(dtype: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    network = replace(NORMALIZED, dtype=dtype, dropout=0.5, input_dropout=0.5)
    flat = random.normal(size=network.parameter_count).astype(dtype)
    running = np.abs(random.normal(1, 0.3, len(network.initial_running()))).astype(dtype)
    folded = network.fold(flat, running)
    assert network.folded == Network((5, 4, 3, 2), "relu", dtype)
    assert (folded.dtype, folded.shape) == (dtype, (network.folded.parameter_count,))
    inputs = random.normal(size=(6, 5))
    named = network.folded.views(folded.astype(np.float64))
    a = np.maximum(inputs @ named["W1"] + named["b1"], 0)
    a = np.maximum(a @ named["W2"] + named["b2"], 0)
    expected = normalized_by_hand(network, flat.astype(np.float64), running.astype(np.float64), inputs)
    close = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(
        a @ named["W3"] + named["b3"], expected, rtol=close, atol=close * np.abs(expected).max()
    )


def test_without_normalization_there_is_nothing_to_fold() -> None:
    network = Network((5, 4, 2), "relu", dropout=0.5)
    flat = np.zeros(network.parameter_count, np.float32)
    assert network.initial_running().size == 0
    assert network.fold(flat, network.initial_running()) is flat


def test_only_folded_parameters_are_ever_evaluated() -> None:
    config = modern_config()
    evaluator = Evaluator(setup.network_of(config), config.loss.name, UNIT)
    network = setup.training_network_of(config)
    for checkpoint in trained(config):
        folded = network.fold(checkpoint.parameters, checkpoint.running)
        np.testing.assert_array_equal(checkpoint.folded, folded)
        assert checkpoint.result is checkpoint.folded
        for name, part in (("train", TRAIN), ("valid", VALID)):
            found = evaluator.evaluate(folded, part)
            row = checkpoint.history[-1]
            assert (row[f"{name}_loss"], row[f"{name}_accuracy"]) == (found.loss, found.accuracy)
    first = trained(config)[0]
    np.testing.assert_array_equal(first.folded, setup.initial_parameters(config))


# --- dropout


def test_masks_leave_out_as_many_as_they_should_and_keep_the_expectation() -> None:
    layer = Dropout(0.3, 500, 400, np.dtype("float32"))
    ones = np.ones((500, 400), np.float32)
    np.testing.assert_array_equal(layer.forward(ones), ones)
    layer.draw(np.random.default_rng(1))
    outputs = layer.forward(ones).copy()
    assert set(np.unique(outputs).tolist()) == {0.0, float(np.float32(1 / 0.7))}
    # 200,000 draws: four standard deviations are 820.
    assert abs(np.count_nonzero(outputs) - 140_000) < 820
    np.testing.assert_array_equal(layer.backward(ones.copy()), outputs)
    np.testing.assert_array_equal(layer.forward(ones[:7]), outputs[:7])
    layer.draw(np.random.default_rng(2))
    assert (layer.forward(ones) != outputs).any()


def test_masks_come_from_the_seed_and_the_step_alone() -> None:
    draws = {
        (seed, step): training.mask_source(seed, step).random(4).tobytes()
        for seed in (0, 1)
        for step in (1, 2)
    }
    assert len(set(draws.values())) == 4
    assert training.mask_source(1, 2).random(4).tobytes() == draws[1, 2]
    # Batches and initial weights are the same with dropout and without.
    plain, dropped = (
        trained(toy_config(model__dropout=share, training__sampling="replacement")) for share in (0.0, 0.5)
    )
    assert plain[0].parameters.tobytes() == dropped[0].parameters.tobytes()
    np.testing.assert_equal(plain[-1].random_state, dropped[-1].random_state)
    assert plain[-1].parameters.tobytes() != dropped[-1].parameters.tobytes()


def test_every_step_has_masks_of_its_own_and_the_loss_after_it_the_same_ones() -> None:
    config = toy_config(
        model__input_dropout=0.5,
        training__batch_size=22,
        training__sampling="sequential",
        optimizer__learning_rate=1e-30,
    )
    before = trained(config)[-1].step_losses
    # Nothing but the masks changes.
    assert len(set(before.tolist())) == 3
    after = trained(with_values(config, {"training.step_loss": "after"}))[-1].step_losses
    np.testing.assert_allclose(after, before, rtol=1e-6)


# --- training with all of it


@pytest.mark.parametrize("monitor", [None, "valid_loss"])
def test_going_on_from_any_checkpoint_gives_the_same_bits(monitor: str | None) -> None:
    config = modern_config(training__epochs=4, training__early_stopping={"monitor": monitor, "patience": 3})
    whole = trained(config)
    for checkpoint in whole:
        rest = trained(config, pickle.loads(pickle.dumps(checkpoint)))  # noqa: S301  (written on this line)
        for found, expected in zip(rest, whole[checkpoint.epoch + 1 :], strict=True):
            assert_same(found, expected)


def test_two_threads_give_the_bits_of_one() -> None:
    config = with_values(
        modern_config(),
        {"model.hidden": [300, 260], "training.batch_size": 230, "dataset.image_shape": [28, 28, 1]},
    )
    part = noise(700, 784, 3)
    runs = []
    for threads in (1, 2):
        *_, last = training.train(config, part, {"train": part}, UNIT, threads=threads)
        runs.append(last)
    assert_same(runs[1], runs[0])


@pytest.mark.parametrize("left_out", ["batch_normalization", "dropout", "input_dropout"])
def test_it_learns(left_out: str) -> None:
    config = modern_config(
        **{f"model__{left_out}": 0 if "dropout" in left_out else False}, training__epochs=30
    )
    first, *_, last = trained(config)
    assert last.history[-1]["train_loss"] < 0.5 * first.history[0]["train_loss"]


def test_weights_decay_and_nothing_else() -> None:
    config = modern_config(training__epochs=1, training__batch_size=22, schedule={"name": "constant"})
    decayed, kept = (trained(with_values(config, {"optimizer.weight_decay": decay})) for decay in (0.5, 0.0))
    network = setup.training_network_of(config)
    begun = network.views(decayed[0].parameters)
    for name, view in network.views(kept[1].parameters - decayed[1].parameters).items():
        expected = 0.05 * 0.5 * begun[name] if name.startswith("W") else 0
        np.testing.assert_allclose(view, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model.batch_normalization": True}, r"model\.batch_normalization=true: expected none of it"),
        ({"model.dropout": 0.5}, r"model\.dropout=0\.5: expected none of it"),
        ({"model.input_dropout": 0.5}, r"model\.input_dropout=0\.5: expected none of it"),
    ],
)
def test_numerical_gradients_need_rows_that_know_nothing_of_each_other(
    values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        with_values(composed("training=numerical", "dtype=float64"), values)


def test_labels_are_smoothed_for_cross_entropy_alone() -> None:
    setup.check_names(toy_config(loss__label_smoothing=0.1))
    config = toy_config(loss={"name": "squared_error", "label_smoothing": 0.1})
    with pytest.raises(
        ConfigError, match=r"loss\.label_smoothing=0\.1: squared_error takes no .* cross_entropy"
    ):
        setup.check_names(config)
