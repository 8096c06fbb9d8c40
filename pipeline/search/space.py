"""Which combinations a search space holds: all of them, or drawn ones."""

import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any, Final

from pipeline.config.keys import check_search_key
from pipeline.config.space import Axis, Range, Search
from pipeline.core.errors import ConfigError
from pipeline.search.trials import Values, hash_to_seed

_MOST_COMBINATIONS: Final = 1_000_000
_MOST_DRAWS_IN_VAIN: Final = 1_000  # in a row, for each draw that is wanted


def count_trials(search: Search) -> int:
    """How many different trials there are."""
    if search.name == "none":
        return 1
    if search.trials is not None:
        return search.trials
    return math.prod(len(values) for values in _list_values(search).values())


def axes_of(search: Search) -> dict[str, Axis]:
    """The axes of a search that has some.

    Raises:
        ConfigError: the space is empty, or names a key that no trial can vary.
    """
    axes = search.axes()
    if not axes:
        raise ConfigError(f"search.space: empty, and search.name={search.name} has nothing to try")
    for key in axes:
        check_search_key(key)
    return axes


def _list_values(search: Search) -> dict[str, list[Any]]:
    """The values of every axis, ranges divided as they say."""
    found = {}
    for key, axis in axes_of(search).items():
        values = axis.values() if isinstance(axis, Range) else axis
        if values is None:
            raise ConfigError(
                f"search.space.{key}: search={search.name} tries every value, and this range has no end of"
                " them: add count (such as count: 5) or, between whole numbers, integer: true"
            )
        found[key] = values
    if (count := math.prod(map(len, found.values()))) > _MOST_COMBINATIONS:
        raise ConfigError(
            f"search.space: {count:,} combinations, and at most {_MOST_COMBINATIONS:,} are tried;"
            " search=random draws some of them"
        )
    return found


def all_combinations(search: Search) -> Iterator[Values]:
    """Every combination of the axes' values, the last axis varying fastest."""
    axes = _list_values(search)
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def draw_combinations(search: Search) -> Iterator[Values]:
    """`search.trials` different combinations; each axis has a random source of its own."""
    axes, wanted = axes_of(search), needed_number(search, "trials")
    sizes = [_size(axis) for axis in axes.values()]
    if None not in sizes and (there_are := math.prod(filter(None, sizes))) < wanted:
        raise ConfigError(
            f"search.trials={wanted}: the space has only {there_are:,} combinations;"
            " search=grid tries them all"
        )
    # Python keeps the stream of `random()` from version to version; NumPy does not.
    sources = {key: random.Random(hash_to_seed([search.seed, key])) for key in axes}  # noqa: S311  (no secrets here)
    seen: set[str] = set()
    in_vain = 0
    while len(seen) < wanted:
        values = {key: _draw_value(axis, sources[key].random()) for key, axis in axes.items()}
        text = json.dumps(values)
        if text not in seen:
            seen.add(text)
            in_vain = 0
            yield values
            continue
        in_vain += 1
        # Ranges are drawn to six digits: a narrow one has an end of values too.
        if in_vain > _MOST_DRAWS_IN_VAIN * wanted:
            raise ConfigError(
                f"search.trials={wanted}: only {len(seen):,} different combinations were drawn; widen a range"
                " of search.space, or lower search.trials"
            )


def _draw_value(axis: Axis, share: float) -> Any:  # noqa: ANN401  (whatever the key takes)
    return axis.draw(share) if isinstance(axis, Range) else axis[int(share * len(axis))]


def _size(axis: Axis) -> int | None:
    """How many different values can be drawn; None for no end of them."""
    if isinstance(axis, list):
        return len({json.dumps(value, sort_keys=True) for value in axis})
    return axis.steps + 1 if axis.steps is not None else None


def needed_number(search: Search, key: str) -> int:
    """A number that the strategy cannot do without.

    Raises:
        ConfigError: it is not given.
    """
    value = getattr(search, key)
    if value is None:
        raise ConfigError(f"search.{key}: search.name={search.name} needs a number here and none is given")
    return int(value)
