"""The array types that the numerics speak of, and the two random sources."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.registry import look_up

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Pixels = NDArray[np.uint8]
Random = np.random.Generator | np.random.RandomState

DTYPES: Final[Mapping[str, type[np.floating[Any]]]] = {"float32": np.float32, "float64": np.float64}


def _generator(*seed: int) -> Random:
    return np.random.Generator(np.random.PCG64(list(seed)))


def _legacy(*seed: int) -> Random:
    # A single integer seeds differently from a list of one, and published seeds are single integers.
    return np.random.RandomState(seed[0] if len(seed) == 1 else list(seed))


# legacy: NumPy keeps RandomState's streams as they are for good; Generator's may change with a NumPy release.
RANDOM_SOURCES: Final[Mapping[str, Callable[..., Random]]] = {"generator": _generator, "legacy": _legacy}


def random_source(name: str, *seed: int) -> Random:
    """A fresh random source.

    Args:
        name: a key of `RANDOM_SOURCES`: ``generator`` (PCG64) or ``legacy`` (Mersenne Twister).
        *seed: one or more non-negative integers; further ones, which have to be positive (a generator takes
            trailing zeros for no difference), give independent streams of the first.

    Raises:
        ConfigError: the name is unknown.
    """
    return look_up(RANDOM_SOURCES, "random", name)(*seed)


def random_state(random: Random) -> dict[str, Any]:
    """The state of a random source as plain data; `set_random_state` takes it."""
    if isinstance(random, np.random.Generator):
        return dict(random.bit_generator.state)
    return dict(random.get_state(legacy=False))


def set_random_state(random: Random, state: dict[str, Any]) -> None:
    """Put a random source back where `random_state` saw it."""
    if isinstance(random, np.random.Generator):
        random.bit_generator.state = state
    else:
        random.set_state(state)
