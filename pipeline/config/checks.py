"""What the fields of the schema allow beyond their types, and how a value is spelled in a message."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PLAIN_NAME: Final = "letters, digits, dashes and underscores, a letter or digit first"
"""What DVC can address, Hydra can override and a shell takes as one word."""

# More of anything would end in the middle of a run, in an allocation.
TOO_MANY: Final = 2**31


@dataclass(frozen=True)
class Allowed:
    """Beside a field's type, in ``Annotated``: what its values have to pass, and the words for those."""

    test: Callable[[Any], bool]
    words: str


_is_count: Final = range(1, TOO_MANY).__contains__

Count: TypeAlias = Annotated[int, Allowed(_is_count, "a positive number below 2**31")]
CountOrNull: TypeAlias = Annotated[int, Allowed(_is_count, "a positive number below 2**31, or null")]
CountOrAll: TypeAlias = Annotated[int, Allowed(_is_count, "a positive number below 2**31, or null for all")]
CountOrZero: TypeAlias = Annotated[int, Allowed(range(TOO_MANY).__contains__, "0 or more below 2**31")]
Finite: TypeAlias = Annotated[float, Allowed(math.isfinite, "a finite number")]
Positive: TypeAlias = Annotated[float, Allowed(lambda value: 0 < value < math.inf, "a positive number")]
NotNegative: TypeAlias = Annotated[float, Allowed(lambda value: 0 <= value < math.inf, "0 or more")]
Momentum: TypeAlias = Annotated[float, Allowed(lambda value: 0 <= value < 1, "0 <= number < 1")]
Accuracy: TypeAlias = Annotated[float, Allowed(lambda value: 0 <= value <= 1, "0 <= accuracy <= 1")]
PlainName: TypeAlias = Annotated[str, Allowed(lambda text: bool(NAME.fullmatch(text)), PLAIN_NAME)]


def require(condition: bool, key: str, value: object, expected: str) -> None:  # noqa: FBT001  (an assertion)
    """Each dataclass names its own keys; `build` puts the place of the dataclass before them."""
    if not condition:
        raise ConfigError(f"{key}={describe_value(value)}: expected {expected}")


def describe_value(value: object) -> str:
    """A value in one line, as YAML spells it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shorten(str(value))
