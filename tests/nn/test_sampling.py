"""Batches: which images an epoch has, in which order, drawn in blocks as one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nn.arrays import (
    random_source,
    random_state,
)
from pipeline.nn.sampling import BLOCK_STEPS, SAMPLERS
from pipeline.nn.setup import steps_per_epoch
from tests.nn.toys import every_source, examples, in_turn


@pytest.mark.parametrize("sampling", SAMPLERS)
@every_source
@examples
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 50), batch_size=st.integers(1, 60), data=st.data()
)
def test_batches_are_positions_of_the_train_part(
    sampling: str, source: str, seed: int, count: int, batch_size: int, data: st.DataObject
) -> None:
    steps = data.draw(st.integers(1, steps_per_epoch(count, batch_size)))
    batches = in_turn(sampling, random_source(source, seed), count, batch_size, steps)
    assert len(batches) == steps
    for batch in batches:
        assert np.issubdtype(batch.dtype, np.integer)
        assert 1 <= len(batch) <= batch_size
        assert batch.min() >= 0
        assert batch.max() < count


@every_source
@examples
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 50), batch_size=st.integers(1, 60))
def test_a_shuffled_epoch_has_every_image_once(source: str, seed: int, count: int, batch_size: int) -> None:
    random = random_source(source, seed)
    steps = steps_per_epoch(count, batch_size)
    epochs = [in_turn("shuffle", random, count, batch_size, steps) for _ in range(2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(count))
        assert all(len(batch) == batch_size for batch in batches[:-1])
    if count > 20:
        assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()


def test_file_order_is_file_order_and_uses_no_randomness() -> None:
    random = random_source("generator", 1)
    before = random_state(random)
    batches = [batch.tolist() for batch in in_turn("sequential", random, 10, 4, 3)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    np.testing.assert_equal(random_state(random), before)


@pytest.mark.parametrize(("count", "last"), [(2 * BLOCK_STEPS, 3), (2 * BLOCK_STEPS - 1, 2), (7, 1)])
def test_an_epoch_in_order_is_cut_into_blocks_that_join_up(count: int, last: int) -> None:
    steps = steps_per_epoch(3 * count + last - 3, 3)
    batches = in_turn("sequential", random_source("generator", 1), 3 * count + last - 3, 3, steps)
    assert len(batches) == steps == count
    assert len(batches[-1]) == last
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(3 * count + last - 3))


@every_source
@pytest.mark.parametrize("count", [1, 100, 4096, 50_000])
@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("steps", [1, 999, 1000, 1001, 2005])
def test_drawing_in_blocks_is_drawing_batch_by_batch(
    source: str, count: int, batch_size: int, steps: int
) -> None:
    blocks, singles = random_source(source, 420), random_source(source, 420)
    found = in_turn("replacement", blocks, count, batch_size, steps)
    expected = [singles.choice(count, batch_size) for _ in range(steps)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_equal(random_state(blocks), random_state(singles))


@every_source
def test_drawing_with_replacement_draws_everything_alike(source: str) -> None:
    batches = in_turn("replacement", random_source(source, 1), 10, 100, 1000)
    counts = np.bincount(np.concatenate(batches), minlength=10)
    # 100,000 draws: each number 10,000 times, give or take four standard deviations of 95.
    assert np.abs(counts - 10_000).max() < 380
