"""A toy data set, a configuration for it, and what tests of training do with them."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from pipeline.config.build import with_values
from pipeline.config.compose import compose
from pipeline.config.schema import Config
from pipeline.nn.arrays import (
    RANDOM_SOURCES,
    Integers,
    Random,
)
from pipeline.nn.examples import Examples
from pipeline.nn.preprocessing import Statistics
from pipeline.nn.sampling import BLOCK_STEPS, SAMPLERS
from pipeline.nn.training import Checkpoint, train

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
OFFICIAL_MNIST = ROOT.parent / "shared" / "data" / "mnist"

examples = settings(deadline=None, max_examples=25)
every_source = pytest.mark.parametrize("source", RANDOM_SOURCES)
every_sampler = pytest.mark.parametrize("sampling", SAMPLERS)


@cache
def composed(*overrides: str) -> Config:
    return compose(CONF, overrides)


def toy_config(**values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    """A small configuration; keywords are dotted keys with __ for the dots."""
    toy = {
        "name": "toy",
        "dataset.image_shape": [2, 3, 1],
        "dataset.sources.bundled.classes": ["a", "b", "c"],
        "split.valid_count": 9,
        "model.hidden": [4],
        "model.activation": "tanh",
        "training.batch_size": 4,
        "training.epochs": 3,
    }
    return with_values(
        composed(), {**toy, **{key.replace("__", "."): value for key, value in values.items()}}
    )


def toy_parts(train_count: int = 22, valid_count: int = 9, seed: int = 1) -> tuple[Examples, Examples]:
    """Two disjoint parts of 60 images of 6 pixels, in no order; class k is bright at pixels 2k and 2k + 1."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, 60).astype(np.uint8)
    pixels = random.integers(0, 160, (60, 6)).astype(np.uint8)
    for offset in (0, 1):
        pixels[np.arange(60), 2 * labels + offset] += 90
    order = random.permutation(60)
    parts = (order[:train_count], order[train_count : train_count + valid_count])
    return Examples(pixels, labels, parts[0]), Examples(pixels, labels, parts[1])


TRAIN, VALID = toy_parts()
UNIT = Statistics(255.0)


def trained(config: Config, resume: Checkpoint | None = None) -> list[Checkpoint]:
    return list(train(config, TRAIN, {"train": TRAIN, "valid": VALID}, UNIT, resume))


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    """Every field, to the bit."""
    assert (found.epoch, found.step, found.finished) == (expected.epoch, expected.step, expected.finished)
    for name in ("parameters", "running", "folded"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert found.step_losses.tobytes() == expected.step_losses.tobytes()
    assert found.history == expected.history
    assert list(found.optimizer_state) == list(expected.optimizer_state)
    for name, slot in found.optimizer_state.items():
        assert slot.tobytes() == expected.optimizer_state[name].tobytes(), name
    np.testing.assert_equal(found.random_state, expected.random_state)
    assert (found.best is None) == (expected.best is None)
    if found.best and expected.best:
        assert (found.best.epoch, found.best.value) == (expected.best.epoch, expected.best.value)
        assert found.best.parameters.tobytes() == expected.best.parameters.tobytes()


def noise(count: int, features: int, classes: int) -> Examples:
    """Images of noise with labels by chance, the train part being all of them."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (count, features), dtype=np.uint8)
    return Examples(pixels, random.integers(0, classes, count), np.arange(count))


def in_turn(sampling: str, random: Random, count: int, batch_size: int, steps: int) -> list[Integers]:
    """The batches of an epoch, one after the other."""
    blocks = list(SAMPLERS[sampling](random, count, batch_size, steps))
    assert all(1 <= len(block) <= BLOCK_STEPS for block in blocks)
    return [batch for block in blocks for batch in block]
