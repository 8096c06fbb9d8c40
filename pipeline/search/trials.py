"""A trial of a search: its values and seed, what became of it, and how it is run."""

import hashlib
import json
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.config.space import Search
from pipeline.core.errors import ConfigError, DivergenceError, PipelineError

Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """Something to try.

    Attributes:
        number: from 0, in the order in which the strategy came upon it.
        values: searched key -> value.
        epochs: how many to train; None for the whole run.
    """

    number: int
    values: Values
    epochs: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        number: the trial's.
        valid_accuracy: NaN where the trial failed or there is no valid part.
        error: why it failed, in one line; empty where it did not.
        epochs: the trial's.
    """

    number: int
    valid_accuracy: float
    error: str = ""
    epochs: int | None = None


Task: TypeAlias = Callable[[Config, Trial], float]
"""Trains the configuration of a trial and returns its valid accuracy; it has to be picklable."""


@dataclass(frozen=True)
class Attempt:
    """Runs trials of one search, wherever it is called; picklable.

    Attributes:
        config: with the search.
        task: what a trial does.
    """

    config: Config
    task: Task

    def __call__(self, trial: Trial) -> Outcome:
        """What becomes of a trial. One that fails is an outcome with its error, not the end of the search.

        Raises:
            PipelineError: something is wrong that is not a matter of this trial, such as with its inputs.
        """
        try:
            config = configured(self.config, trial.values)
        except ConfigError as error:
            return failed(trial, str(error))
        try:
            return Outcome(trial.number, self.task(config, trial), epochs=trial.epochs)
        except DivergenceError as error:
            return failed(trial, str(error))
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the other trials go on)
            return failed(trial, f"{type(error).__name__}: {error}")


def failed(trial: Trial, error: str) -> Outcome:
    """The outcome of a trial that ended with an error, of which the first line is kept."""
    return Outcome(trial.number, math.nan, (error.splitlines() or ["?"])[0].strip(" :"), trial.epochs)


Rounds: TypeAlias = Generator[Sequence[Trial], Sequence[Outcome], None]
"""Yields what to try next and is sent the outcomes in the same order, until nothing is left to try."""


def configured(config: Config, values: Values) -> Config:
    """The configuration of a trial: with its values and its own seed, and nothing left to search.

    Raises:
        ConfigError: it is not valid.
    """
    plain = replace(config, search=Search("none", seed=config.search.seed))
    if not values:
        return plain
    # A trial that sets the seed itself means that seed.
    seed = {} if "seed" in values else {"seed": trial_seed(config.search.seed, config.seed, values)}
    return with_values(plain, {**values, **seed})


def trial_seed(search_seed: int, seed: int, values: Values) -> int:
    """A trial's seed, 0 to 2**32 - 1, by SHA-256 from the two seeds and the trial's own values."""
    return hash_to_seed([search_seed, seed, dict(values)])


def hash_to_seed(value: object) -> int:
    """0 to 2**32 - 1, by SHA-256 of the value as JSON."""
    text = json.dumps(value, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
