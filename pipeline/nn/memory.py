"""How much memory training may take: told before any of it is allocated."""

import numpy as np

from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import DTYPES
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.setup import total_steps, training_network_of
from pipeline.nn.workspace import EVALUATION_ROWS

_UNKNOWN_IMAGES = 1_000_000  # of a training set whose definition leaves their number open


def needed_bytes(config: Config) -> dict[str, int]:
    """A generous bound on what training allocates: bytes by the configuration key that they grow with.

    The mapped data set and what Python and NumPy take themselves are not in it. The number of images is that
    of the whole training set.

    Args:
        config: of one run: its names have to be known, and its search is not looked at.
    """
    training = config.training
    network = training_network_of(config)
    number = np.dtype(DTYPES[config.dtype]).itemsize
    images = config.dataset.source(config.source).train_count or _UNKNOWN_IMAGES
    # Copies of the parameters: the network's own, the optimizer's, and those of the checkpoints, of which a
    # second is made while the last is there.
    copies = 11 + 3 * network.batch_normalization + 3 * len(OPTIMIZERS[config.optimizer.name].slots)
    # For each image of a batch: what every layer puts out, its errors and scratch of the same size.
    # Batch normalization has two such arrays more, dropout its masks and what they leave.
    arrays = 3 + 2 * network.batch_normalization + 2 * bool(network.dropout or network.input_dropout)
    row = arrays * number * sum(network.sizes) + 200
    features, batch_row = config.dataset.features, row
    if config.augment.name != "none":
        batch_row += 12 * features  # places of pixels, and what is found there
    # Whoever has an epsilon projects rows, by a matrix that training and evaluation copy.
    projection = 0
    if config.preprocess.epsilon is not None:
        projection = 3 * number * features * network.sizes[0]
        batch_row += 2 * number * features
    if training.gradient == "numerical":
        # Each input of a layer is changed by itself, which changes all that the widest layer puts out.
        batch_row += number * (max(network.sizes) + 1) * (8 + 3 * max(network.sizes[1:]))
    return {
        "model.hidden": number * network.parameter_count * copies + projection + EVALUATION_ROWS * batch_row,
        "training.batch_size": training.batch_size * batch_row + 48 * (images + training.batch_size),
        # The losses of all steps, in the run and in two checkpoints.
        "training.steps" if training.steps is not None else "training.epochs": 24
        * total_steps(config, config.split.train_count or images),
    }


def check(config: Config) -> int:
    """See that this machine has the memory that training may take.

    Args:
        config: of one run.

    Returns:
        How much that is at most, in bytes.

    Raises:
        ConfigError: it has not.
    """
    needed = needed_bytes(config)
    total, available = sum(needed.values()), runtime.memory_bytes()
    if total > available:
        values = {
            "model.hidden": config.model.hidden,
            "training.batch_size": config.training.batch_size,
            "training.steps": config.training.steps,
            "training.epochs": config.training.epochs,
        }
        shares = ", ".join(
            f"{_format_size(needed[key])} for {key}={shorten(str(values[key]))}" for key in needed
        )
        raise ConfigError(
            f"training needs up to {_format_size(total)} of memory, and this machine has"
            f" {_format_size(available)}: {shares}"
        )
    return total


def _format_size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
