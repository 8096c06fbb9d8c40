"""Look-ups of names that a user gives."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError

T = TypeVar("T")


def look_up(registry: Mapping[str, T], key: str, name: str) -> T:
    """The entry of that name in a registry.

    Args:
        registry: name -> entry.
        key: what the name was given for, in full: ``optimizer.name``, or an option such as ``--loss``.
        name: as given.

    Raises:
        ConfigError: there is no such entry; the message lists those that there are.
    """
    check_name(registry, key, name)
    return registry[name]


def check_name(known: Collection[str], key: str, name: str) -> None:
    """See that a name is among those known.

    Raises:
        ConfigError: as `look_up`.
    """
    if name in known:
        return
    place = f"{key} {shorten(name)}" if key.startswith("--") else f"{key}={shorten(name)}"
    raise ConfigError(f"{place}: unknown; one of {', '.join(known)}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The known name that is nearest to `name`, as a clause for a message; empty where none is near."""
    from difflib import get_close_matches  # only needed here

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
