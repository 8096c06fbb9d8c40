"""Searches: a space of configurations, tried one by one or side by side, and the best of them.

A trial's configuration and seed follow from the search's own values alone, so neither the order in which
trials run nor the number of processes changes any result.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline import config as configuration
from pipeline.config import Config, Search
from pipeline.errors import ConfigError, DivergenceError, PipelineError

Task = Callable[[Config], float]
"""Trains a configuration and returns its valid accuracy; it has to be picklable."""


@dataclass(frozen=True)
class Trial:
    """One configuration to try.

    Attributes:
        number: from 0, in the order of the search space.
        values: searched key -> value.
        config: the whole configuration, with its own seed and nothing left to search.
    """

    number: int
    values: Mapping[str, Any]
    config: Config


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        number: the trial's.
        valid_accuracy: NaN where the trial failed or there is no valid part.
        error: why it failed; empty where it did not.
    """

    number: int
    valid_accuracy: float
    error: str = ""


def _single(search: Search) -> Iterator[dict[str, Any]]:
    if search.space:
        raise ConfigError(
            "search.space: given, but search.name=none tries nothing; did you mean search=grid?"
        )
    yield {}


def _grid(search: Search) -> Iterator[dict[str, Any]]:
    axes = search.axes()
    if not axes:
        raise ConfigError("search.space: empty, and search.name=grid has nothing to try")
    # The last axis varies fastest.
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


STRATEGIES: Final[Mapping[str, Callable[[Search], Iterator[dict[str, Any]]]]] = {
    "none": _single,
    "grid": _grid,
}
"""name -> the combinations of values to try. none: the configuration itself. grid: all combinations."""


def trials(config: Config) -> list[Trial]:
    """Every trial of a configuration's search, each checked; without a search, the configuration itself.

    Raises:
        ConfigError: the strategy is unknown, the space empty, or a combination not a valid configuration.
    """
    search = config.search
    if search.name not in STRATEGIES:
        raise ConfigError(f"search.name={search.name}: unknown; one of {', '.join(STRATEGIES)}")
    plain = replace(config, search=replace(search, name="none", space={}))
    return [
        Trial(number, values, _configured(plain, values) if values else plain)
        for number, values in enumerate(STRATEGIES[search.name](search))
    ]


def _configured(config: Config, values: Mapping[str, Any]) -> Config:
    # A trial that sets the seed itself means that seed.
    seed = {} if "seed" in values else {"seed": trial_seed(config.search.seed, config.seed, values)}
    return configuration.replace(config, {**values, **seed})


def trial_seed(search_seed: int, seed: int, values: Mapping[str, Any]) -> int:
    """A trial's seed, 0 to 2**32 - 1, by SHA-256 from the two seeds and the trial's own values."""
    text = json.dumps([search_seed, seed, dict(values)], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def run(chosen: Sequence[Trial], task: Task, workers: int | None = None) -> Iterator[Outcome]:
    """Try configurations in processes side by side, yielding outcomes as they come in, in any order.

    A trial that fails is an outcome with its error, not the end of the search.

    Args:
        chosen: the trials to run.
        task: what a trial does.
        workers: processes; by default one per processor. With one, everything runs in this process.
    """
    import joblib  # noqa: PLC0415  (slow to import, and most stages only list trials)

    workers = min(workers or joblib.cpu_count(), len(chosen))
    if workers <= 1:
        for trial in chosen:
            yield _attempt(task, trial)
        return
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    yield from parallel(joblib.delayed(_attempt)(task, trial) for trial in chosen)


def _attempt(task: Task, trial: Trial) -> Outcome:
    try:
        return Outcome(trial.number, task(trial.config))
    except DivergenceError as error:
        return Outcome(trial.number, math.nan, str(error).splitlines()[0])


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome with the highest valid accuracy; of equal ones the earliest trial. Failed ones never win.

    Raises:
        PipelineError: every trial failed.
    """
    sound = [outcome for outcome in outcomes if not outcome.error]
    if not sound:
        raise PipelineError(f"all {len(outcomes)} trials failed; the first: {outcomes[0].error}")
    if len(sound) == 1:
        return sound[0]
    return max(sound, key=lambda outcome: (outcome.valid_accuracy, -outcome.number))
