"""The order in which training takes its examples."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from pipeline.nn.arrays import Integers, Random

BLOCK_STEPS: Final = 1000
"""How many batches are drawn at a time: for each alone that takes much longer."""


def _with_replacement(random: Random, count: int, batch_size: int, steps: int) -> Iterator[Integers]:
    # The same stream as batch by batch.
    for start in range(0, steps, BLOCK_STEPS):
        yield random.choice(count, (min(BLOCK_STEPS, steps - start), batch_size))


def _in_order(order: Integers, batch_size: int, steps: int) -> Iterator[Integers]:
    whole = min(steps, len(order) // batch_size)
    for start in range(0, whole, BLOCK_STEPS):
        stop = min(start + BLOCK_STEPS, whole)
        yield order[start * batch_size : stop * batch_size].reshape(-1, batch_size)
    if steps > whole:
        yield order[np.newaxis, whole * batch_size :]


def _shuffled(random: Random, count: int, batch_size: int, steps: int) -> Iterator[Integers]:
    return _in_order(random.permutation(count), batch_size, steps)


def _sequential(random: Random, count: int, batch_size: int, steps: int) -> Iterator[Integers]:
    del random
    return _in_order(np.arange(count), batch_size, steps)


SAMPLERS: Final[Mapping[str, Callable[[Random, int, int, int], Iterator[Integers]]]] = {
    "replacement": _with_replacement,
    "shuffle": _shuffled,
    "sequential": _sequential,
}
"""name -> ``(random, count, batch size, steps)`` -> the batches of one epoch, in blocks.

A block is an array (batches, rows) of positions in 0..count-1. The last batch of an epoch may be smaller with
shuffle and sequential; it is a block of its own.
"""
