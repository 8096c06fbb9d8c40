"""How much memory training takes: told before any of it is allocated."""

from typing import Final

import numpy as np

from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import DTYPES
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.sampling import BLOCK_STEPS
from pipeline.nn.setup import is_large, network_of, steps_per_epoch, total_steps
from pipeline.nn.training import LOOKUP_STEPS
from pipeline.nn.workspace import EVALUATION_ROWS

_INDEX_BYTES: Final = 8


def needed_bytes(config: Config) -> dict[str, int]:
    """What training allocates at its peak: bytes by the configuration key that they grow with.

    The mapped data set and what Python and NumPy take themselves are not in it. The number of images is that
    of the whole training set unless the split gives another.

    Args:
        config: of one run: its names have to be known, and its search is not looked at.
    """
    training = config.training
    network = network_of(config)
    number = np.dtype(DTYPES[config.dtype]).itemsize
    images = config.dataset.source(config.source).train_count
    count = config.split.train_count or images
    # A copy of the parameters each: the workspace's own, gradient and scratch, the evaluator's, the
    # optimizer's slots and scratch; then two checkpoints with slots and scratch, for one is made while the
    # last is there.
    slots = len(OPTIMIZERS[config.optimizer.name].slots)
    copies = 4 + (slots + 1) + 2 * (slots + 2)
    if training.early_stopping.monitor is not None:
        copies += 2
    # Units of a batch: what every layer puts out, scratch for all but the inputs, three numbers and two
    # indices for the loss. The loader has the pixels as bytes and, for float64, as float32. An evaluation has
    # arrays of the loss's own, training errors of the hidden layers and, for a second thread, another batch.
    inputs, classes = network.sizes[0], network.sizes[-1]
    outputs = sum(network.sizes[1:])
    pixels = inputs * (1 if config.dtype == "float32" else 5)
    row = number * (inputs + 2 * outputs + 3) + pixels + 4 * _INDEX_BYTES
    steps = total_steps(config, count)
    spare = inputs if is_large(config) else 0
    batch = training.batch_size * (row + number * (outputs - classes + spare))
    drawn = min(steps, steps_per_epoch(count, training.batch_size), BLOCK_STEPS)
    batch += _INDEX_BYTES * (training.batch_size * drawn if training.sampling == "replacement" else count)
    batch += _INDEX_BYTES * 4 * training.batch_size * min(drawn, LOOKUP_STEPS)
    if training.gradient == "numerical":
        batch += training.batch_size * number * _numbers_of_differences(network.sizes)
    return {
        "model.hidden": number * network.parameter_count * copies
        + EVALUATION_ROWS * (row + 3 * number * classes),
        "training.batch_size": batch + _INDEX_BYTES * images,
        # The losses of all steps, in the run and in two checkpoints.
        "training.steps" if training.steps is not None else "training.epochs": 3 * 8 * steps,
    }


def _numbers_of_differences(sizes: tuple[int, ...]) -> int:
    """Numbers per row of a batch that `gradients.numerical` holds, where no input is zero."""
    # For each input of a layer, and its bias: some of its own, and what the widest layer above makes of it.
    last = len(sizes) - 1
    return max(
        (inputs + 1) * (8 + 3 * max(sizes[min(layer + 2, last) :])) for layer, inputs in enumerate(sizes[:-1])
    )


def check(config: Config) -> int:
    """See that this machine has the memory that training takes.

    Args:
        config: of one run.

    Returns:
        How much that is, in bytes.

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
        shares = ", ".join(f"{_shown(needed[key])} for {key}={shorten(str(values[key]))}" for key in needed)
        raise ConfigError(
            f"training needs {_shown(total)} of memory, and this machine has {_shown(available)}: {shares}"
        )
    return total


def _shown(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
