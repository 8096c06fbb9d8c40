"""Checks of values that several classes of the schema share, and how a value is spelled in a message."""

import math
import re
from typing import Final

from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PLAIN_NAME: Final = "letters, digits, dashes and underscores, a letter or digit first"
"""What DVC can address, Hydra can override and a shell takes as one word."""

# More of anything would end in the middle of a run, in an allocation.
TOO_MANY: Final = 2**31
MOST_VALUES: Final = 1_000_000


def require(condition: bool, key: str, value: object, expected: str) -> None:  # noqa: FBT001  (an assertion)
    """Each dataclass names its own keys; `_build` puts the place of the dataclass before them."""
    if not condition:
        raise ConfigError(f"{key}={describe_value(value)}: expected {expected}")


def require_count(key: str, value: int | None, *, least: int = 1, otherwise: str = "") -> None:
    """Refuse a count that is too small, or that would end in the middle of a run, in an allocation."""
    expected = ("a positive number" if least == 1 else f"{least} or more") + " below 2**31" + otherwise
    require(value is None or least <= value < TOO_MANY, key, value, expected)


def describe_value(value: object) -> str:
    """A value in one line, as YAML spells it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shorten(str(value))


def is_finite(value: float | None) -> bool:
    """Whether a number that may be left out is neither infinite nor NaN."""
    return value is None or math.isfinite(value)
