"""The space of a search: axes of listed values or ranges, and the settings of a strategy."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias

from pipeline.config.build import build
from pipeline.config.checks import TOO_MANY, Allowed, Count, CountOrZero, Finite, require

_Step: TypeAlias = Annotated[float, Allowed(lambda step: 0 < step < math.inf, "a positive number, or null")]
_TWO_OR_MORE: Final = range(2, TOO_MANY)
_Division: TypeAlias = Annotated[int, Allowed(_TWO_OR_MORE.__contains__, "2 or more below 2**31, or null")]
_Factor: TypeAlias = Annotated[int, Allowed(_TWO_OR_MORE.__contains__, "2 or more below 2**31")]


@dataclass(frozen=True)
class Range:
    """An axis of a search given by its ends, both included.

    Attributes:
        low: the smallest value.
        high: the largest.
        log: whether every order of magnitude is as likely (or as finely divided) as any other.
        integer: whether the values are whole numbers.
        step: the distance between neighbouring values; null where any value in between will do.
        count: into how many values a grid divides the range; null where `step` or `integer` does.
    """

    low: Finite
    high: Finite
    log: bool = False
    integer: bool = False
    step: _Step | None = None
    count: _Division | None = None

    def __post_init__(self) -> None:
        require(self.low < self.high, "high", self.high, f"more than low={self.low:g}")
        require(not self.log or self.low > 0, "low", self.low, "a positive number, as log=true")
        if self.step is not None:
            require(not self.log, "step", self.step, "null, as log=true")
            require(self.count is None, "count", self.count, "null, as step is given")
        if self.integer:
            for key in ("low", "high", "step"):
                value = getattr(self, key)
                require(value is None or value == int(value), key, value, "a whole number, as integer=true")
        require(
            (self.steps or self.count or 0) < 1_000_000, "high", self.high, "fewer values, below a million"
        )

    @property
    def steps(self) -> int | None:
        """How many steps, of 1 between whole numbers, lie between low and high; None without steps."""
        step = self.step or (1.0 if self.integer else None)
        # A hundredth of a step for the rounding of 0.1 + 0.1 + …
        return None if step is None else int((self.high - self.low) / step + 0.01)

    def values(self) -> list[float] | list[int] | None:
        """The values that `step`, `count` or `integer` divides the range into; None for a continuous one."""
        if self.count is not None:
            found = [self.at(index / (self.count - 1)) for index in range(self.count)]
        elif self.steps is not None:
            found = [self.low + index * (self.step or 1.0) for index in range(self.steps + 1)]
        else:
            return None
        return (
            sorted({round(value) for value in found})
            if self.integer
            else [_round_to_six_digits(each) for each in found]
        )

    def at(self, share: float) -> float:
        """The value that lies at a share, 0 to 1, of the way from low to high."""
        if share in {0, 1}:
            return float(self.high if share else self.low)
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def draw(self, share: float) -> float | int:
        """The value for an even draw from 0 up to 1; every step is as likely, where they are not log."""
        if self.steps is not None and not self.log:
            value = self.low + int(share * (self.steps + 1)) * (self.step or 1.0)
        else:
            value = self.at(share)
        return round(value) if self.integer else _round_to_six_digits(value)


def _round_to_six_digits(value: float) -> float:
    # Six digits: nobody tunes finer, and libraries differ in the last digits of a power.
    return float(f"{value:.6g}")


Axis: TypeAlias = list[Any] | Range
"""What a search varies: values to try, or a range."""


@dataclass(frozen=True)
class Search:
    """Which configurations to try before training the best.

    Attributes:
        name: a key of `pipeline.search.strategies.STRATEGIES`.
        space: configuration keys, nested as in the configuration, down to a list of values or a `Range`.
        seed: draws and trials derive theirs from it, trials also from their own values.
        trials: how many to try (random, optuna), or to begin with (halving; null: every combination).
        factor: of how many trials halving keeps one when it trains those it keeps so many times longer.
        minimum_epochs: how long halving trains every trial.
        sampler: a key of `pipeline.search.samplers.SAMPLERS` (optuna).
        batch: how many trials optuna chooses at a time, whatever the number of workers.
    """

    name: str
    space: dict[str, Any] = field(default_factory=dict)
    seed: CountOrZero = 0
    trials: Count | None = None
    factor: _Factor | None = None
    minimum_epochs: Count | None = None
    sampler: str | None = None
    batch: Count | None = None

    def axes(self) -> dict[str, Axis]:
        """Dotted configuration key -> values or range, in the order in which they stand.

        Raises:
            ConfigError: something else stands where values are expected; the message has the full key.
        """
        return dict(_axes(self.space, ""))


def _axes(space: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Axis]]:
    for key, value in space.items():
        name = f"{prefix}{key}"
        if is_range(value):
            yield name, build(Range, value, f"search.space.{name}")
        elif isinstance(value, Mapping):
            yield from _axes(value, f"{name}.")
        else:
            require(
                isinstance(value, list) and bool(value),
                f"search.space.{name}",
                value,
                "a list of values, or a range such as {low: 1e-4, high: 1e-1, log: true}",
            )
            yield name, value


def is_range(value: object) -> bool:
    """Whether plain YAML data looks like a `Range`."""
    return isinstance(value, Mapping) and not value.keys().isdisjoint({"low", "high"})
