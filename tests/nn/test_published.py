"""The published run by numerical gradients, to its author's own digits."""

from functools import cache

import numpy as np
import pytest

from pipeline.config.build import with_values
from pipeline.data import splitting
from pipeline.data.formats import idx
from pipeline.nn import preprocessing
from pipeline.nn.arrays import (
    Floats,
    Integers,
    Pixels,
    random_source,
)
from pipeline.nn.examples import Examples
from pipeline.nn.training import train
from tests.nn.toys import OFFICIAL_MNIST, composed

PUBLISHED = {
    0: 2.2359410604331758,
    1: 2.1760343971680407,
    2: 2.234318482464327,
    992: 0.10349291915839776,
    993: 0.10499616243219019,
    994: 0.09725474712539708,
    995: 0.0498439587858408,
    996: 0.0773463562908289,
    997: 0.16144745019785683,
    998: 0.0334531657318317,
    999: 0.1161840789493219,
}

needs_official_mnist = pytest.mark.skipif(
    not OFFICIAL_MNIST.is_dir(), reason="needs the official MNIST files in ../shared/data/mnist"
)


@cache
def official_labels_and_pixels() -> tuple[Integers, Integers, Pixels]:
    """Training labels, test labels, training pixels as rows."""
    train_labels, test_labels, images = (
        idx.read(OFFICIAL_MNIST / name)
        for name in (
            "train-labels-idx1-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
            "train-images-idx3-ubyte.gz",
        )
    )
    return train_labels, test_labels, images.reshape(len(images), -1).astype(np.uint8, copy=False)


def published_run(steps: int) -> Floats:
    config = with_values(composed("experiment=mnist_numerical", "source=official"), {"training.steps": steps})
    train_labels, test_labels, pixels = official_labels_and_pixels()
    split = splitting.split(
        config.split, train_labels, test_labels, random_source(config.random, config.seed, 1)
    )
    statistics = preprocessing.learn(config.preprocess, pixels, split.train, 1)
    *_, last = train(config, Examples(pixels, train_labels, split.train), {}, statistics)
    return last.step_losses


@pytest.mark.real_data
@needs_official_mnist
def test_the_first_published_losses_to_nine_digits() -> None:
    losses = published_run(3)
    assert losses.tolist() == pytest.approx([PUBLISHED[step] for step in range(3)], rel=1e-9)


@pytest.mark.real_data
@pytest.mark.slow
@needs_official_mnist
def test_all_published_losses_to_nine_digits() -> None:
    assert composed("experiment=mnist_numerical", "source=official").training.steps == 1000
    losses = published_run(1000)
    assert {step: losses[step] for step in PUBLISHED} == pytest.approx(PUBLISHED, rel=1e-9)
