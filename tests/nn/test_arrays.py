"""Random sources: published streams, independence, and states that go back to exactly where they were."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import DTYPES, RANDOM_SOURCES, Random, random_source, random_state, set_random_state

examples = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
every_source = pytest.mark.parametrize("name", RANDOM_SOURCES)


def draw(random: Random) -> list[Any]:
    """A few draws of every kind that the project makes."""
    return [
        random.standard_normal(3).tolist(),
        random.uniform(-1, 1, 2).tolist(),
        random.choice(100, (2, 3)).tolist(),
        random.permutation(7).tolist(),
    ]


def test_the_legacy_source_gives_numpys_frozen_streams() -> None:
    # What numpy.random.seed(0) has given since NumPy 1.0.
    assert random_source("legacy", 0).choice(100, 10).tolist() == [44, 47, 64, 67, 67, 9, 83, 21, 36, 87]
    np.testing.assert_allclose(
        random_source("legacy", 0).standard_normal(3), [1.76405235, 0.40015721, 0.97873798], rtol=1e-8
    )


def test_a_single_legacy_seed_is_the_integer_and_several_are_the_list() -> None:
    assert draw(random_source("legacy", 420)) == draw(np.random.RandomState(420))
    assert draw(random_source("legacy", 420, 1)) == draw(np.random.RandomState([420, 1]))


def test_the_generator_source_is_pcg64() -> None:
    assert draw(random_source("generator", 7)) == draw(np.random.default_rng(7))


@every_source
@examples
@given(seed=seeds)
def test_a_seed_decides_the_stream(name: str, seed: int) -> None:
    assert draw(random_source(name, seed)) == draw(random_source(name, seed))
    assert draw(random_source(name, seed)) != draw(random_source(name, (seed + 1) % 2**32))


@every_source
@examples
@given(seed=seeds, streams=st.lists(st.integers(1, 2**32 - 1), min_size=2, max_size=2, unique=True))
def test_further_positive_integers_give_other_streams(name: str, seed: int, streams: list[int]) -> None:
    found = [draw(random_source(name, seed, *more)) for more in ([], [streams[0]], [streams[1]], streams)]
    assert all(found.count(one) == 1 for one in found)


@every_source
@examples
@given(seed=seeds, halves=st.integers(0, 3), normals=st.integers(0, 3))
def test_a_state_is_gone_back_to_exactly(name: str, seed: int, halves: int, normals: int) -> None:
    random = random_source(name, seed)
    # Odd numbers of these leave half a word, or the second of a pair of normals, waiting in the source.
    random.choice(10, halves)
    random.standard_normal(normals)
    state = random_state(random)
    kept = copy.deepcopy(state)
    expected = draw(random)
    np.testing.assert_equal(state, kept)
    other = random_source(name, (seed + 1) % 2**32)
    set_random_state(other, pickle.loads(pickle.dumps(state)))  # noqa: S301  (written on this line)
    assert draw(other) == expected
    set_random_state(random, state)
    assert draw(random) == expected


def test_an_unknown_source_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"random=dice: unknown; one of generator, legacy"):
        random_source("dice", 1)


def test_dtypes_are_named_as_numpy_names_them() -> None:
    assert {name: np.dtype(kind).name for name, kind in DTYPES.items()} == {name: name for name in DTYPES}
