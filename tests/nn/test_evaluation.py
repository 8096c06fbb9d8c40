"""Loss, accuracy and probabilities over many images, in batches of a fixed size."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ConfigError
from pipeline.nn import setup
from pipeline.nn.evaluation import Evaluator, evaluate_parts
from pipeline.nn.examples import Examples
from pipeline.nn.losses import LOSSES
from pipeline.nn.setup import network_of
from pipeline.nn.workspace import EVALUATION_ROWS
from tests.nn.toys import TRAIN, UNIT, VALID, toy_config, trained


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("count", [1, EVALUATION_ROWS - 1, EVALUATION_ROWS, 2 * EVALUATION_ROWS + 3])
def test_evaluation_is_the_mean_over_all_images(loss: str, count: int) -> None:
    config = toy_config(loss__name=loss, dtype="float64", regularizer={"name": "l2", "strength": 5.0})
    random = np.random.default_rng(count)
    pixels = random.integers(0, 256, (1500, 6)).astype(np.uint8)
    part = Examples(pixels, random.integers(0, 3, 1500).astype(np.uint8), random.permutation(1500)[:count])
    network = network_of(config)
    parameters = random.standard_normal(network.parameter_count)
    views = network.views(parameters)
    a = np.tanh((pixels[part.indices].astype(np.float32) / np.float32(255)) @ views["W1"] + views["b1"])
    logits = a @ views["W2"] + views["b2"]
    labels = part.labels[part.indices]
    evaluator = Evaluator(network, loss, UNIT)
    # Twice: an evaluator keeps its buffers.
    for _ in range(2):
        found = evaluator.evaluate(parameters, part)
        assert found.loss == pytest.approx(LOSSES[loss].values(logits, labels).mean(), rel=1e-12)
        assert found.accuracy == (logits.argmax(axis=1) == labels).mean()
    probabilities = evaluator.probabilities(parameters, part)
    assert probabilities.dtype == np.float64
    powers = np.exp(logits)
    np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)


def test_evaluation_takes_as_much_memory_for_many_images_as_for_few(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.ones((20_000, 6), np.uint8))
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    labels, indices = np.zeros(20_000, np.uint8), np.arange(20_000)
    config = toy_config()
    evaluator = Evaluator(network_of(config), "cross_entropy", UNIT)
    parameters = setup.initial_parameters(config)

    def peak(count: int) -> int:
        part = Examples(pixels, labels, indices[:count])
        tracemalloc.start()
        try:
            evaluator.evaluate(parameters, part)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(EVALUATION_ROWS)
    assert peak(20_000) < peak(2 * EVALUATION_ROWS) + 2_000


def test_the_history_is_what_evaluation_says_of_each_checkpoint() -> None:
    config = toy_config(training__epochs=3)
    for checkpoint in trained(config):
        parts = {
            "train": TRAIN,
            "valid": VALID,
            "test": Examples(VALID.pixels, VALID.labels, VALID.indices[:0]),
        }
        found = evaluate_parts(config, checkpoint.parameters, UNIT, parts)
        assert list(found) == ["train", "valid"]
        for name, evaluation in found.items():
            row = checkpoint.history[-1]
            assert (row[f"{name}_loss"], row[f"{name}_accuracy"]) == (evaluation.loss, evaluation.accuracy)


def test_an_evaluator_refuses_an_unknown_loss() -> None:
    with pytest.raises(ConfigError, match=r"loss\.name=hinge"):
        Evaluator(network_of(toy_config()), "hinge", UNIT)
