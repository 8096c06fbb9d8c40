"""split: choose the train, valid and test parts, and learn the preprocessing from the train part."""

from pathlib import Path

from pipeline.core.errors import ConfigError
from pipeline.core.files import images
from pipeline.core.files.arrays import write_arrays
from pipeline.core.progress import say
from pipeline.data import splitting
from pipeline.nn import preprocessing
from pipeline.nn.arrays import random_source
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import flat_pixels

# A stream of its own, so that a random split and the training that follows share no draws.
_STREAM = 1


def inputs(context: ExperimentContext) -> list[Path]:
    """What the stage reads."""
    return [context.parsed]


def run(context: ExperimentContext) -> None:
    """Write split.npz: the index arrays train, valid and test, and what the preprocessing learnt.

    Raises:
        ConfigError: the split does not fit the data set.
    """
    config, parsed = context.config, context.parsed
    train, test = (images.load(parsed, part) for part in ("train", "test"))
    if train.images.shape[1:] != tuple(config.dataset.image_shape):
        raise ConfigError(
            f"dataset.image_shape={config.dataset.image_shape}: the images in {parsed} have the shape"
            f" {list(train.images.shape[1:])}"
        )
    random = random_source(config.random, config.seed, _STREAM)
    # Without a test set, `test` is the training set: the split takes the test part from it.
    test_labels = test.labels if config.dataset.source(config.source).has_test else test.labels[:0]
    chosen = splitting.split(config.split, train.labels, test_labels, random)
    statistics = preprocessing.learn(
        config.preprocess, flat_pixels(train.images), chosen.train, config.dataset.image_shape[-1]
    )
    write_arrays(
        context.results.split,
        train=chosen.train,
        valid=chosen.valid,
        test=chosen.test,
        **statistics.arrays(),
    )
    say(f"{len(chosen.train):,} train, {len(chosen.valid):,} valid and {len(chosen.test):,} test images")
