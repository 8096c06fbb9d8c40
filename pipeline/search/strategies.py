"""Strategies: what a search tries, round by round.

A strategy proposes rounds of trials and is told what became of each round before it proposes the next. What
a trial is, its seed included, follows from the search's own values alone, and what a strategy is told comes
in the order of the trials: neither the order in which they run, nor where, changes any result.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pipeline.config.schema import Config
from pipeline.config.space import Search
from pipeline.core.errors import ConfigError
from pipeline.core.registry import look_up
from pipeline.search.samplers import optuna_rounds
from pipeline.search.space import all_combinations, axes_of, count_trials, draw_combinations, needed_number
from pipeline.search.table import ranking
from pipeline.search.trials import Rounds, Trial, Values, configured


def _single(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    if search.space:
        raise ConfigError(
            "search.space: given, but search.name=none tries nothing; did you mean search=grid?"
        )
    yield [Trial(0, {})]


def _grid(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    yield [Trial(number, values) for number, values in enumerate(all_combinations(search))]


def _random(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    yield [Trial(number, values) for number, values in enumerate(draw_combinations(search))]


def _halving(search: Search, full_epochs: int) -> Rounds:
    """Successive halving over epochs.

    Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS, algorithm 1, with the number of epochs for its budget.
    """
    factor = needed_number(search, "factor")
    chosen = list(enumerate(_starters(search)))
    for epochs, _ in _rungs(search, full_epochs):
        outcomes = yield [Trial(number, values, epochs) for number, values in chosen]
        sound = [outcome for outcome in outcomes if not outcome.error]
        kept = heapq.nsmallest(max(1, len(chosen) // factor), sound, key=ranking)
        numbers = {outcome.number for outcome in kept}
        chosen = [(number, values) for number, values in chosen if number in numbers]
        if not chosen:
            return


def _starters(search: Search) -> Iterator[Values]:
    return all_combinations(search) if search.trials is None else draw_combinations(search)


def _rungs(search: Search, full_epochs: int) -> Iterator[tuple[int | None, int]]:
    """Epochs (None for the whole run) and number of trials of each round of halving, failures aside."""
    factor, epochs = needed_number(search, "factor"), needed_number(search, "minimum_epochs")
    count = count_trials(search)
    # A single trial has nobody left to be compared with.
    while epochs < full_epochs and count > 1:
        yield epochs, count
        epochs, count = epochs * factor, max(1, count // factor)
    yield None, count


STRATEGIES: Final[Mapping[str, Callable[[Search, int], Rounds]]] = {
    "none": _single,
    "grid": _grid,
    "random": _random,
    "halving": _halving,
    "optuna": optuna_rounds,
}
"""name -> ``(search, epochs of a whole run)`` -> rounds of trials.

none: the configuration itself. grid: all combinations. random: draws. halving: many trials for a few epochs,
the best of them for longer. optuna: what one of its samplers chooses.
"""


def rounds(search: Search, full_epochs: int) -> Rounds:
    """What a search tries, round by round.

    Args:
        search: of the configuration.
        full_epochs: how long a whole run is.

    Raises:
        ConfigError: (when it is iterated) the strategy is unknown or lacks a value, an axis is no key of a
            configuration, or the space is empty.
    """
    return look_up(STRATEGIES, "search.name", search.name)(search, full_epochs)


def planned(search: Search, full_epochs: int) -> int:
    """How many trials all rounds have together, if none fails."""
    if search.name == "halving":
        return sum(count for _, count in _rungs(search, full_epochs))
    return count_trials(search)


def is_search(search: Search) -> bool:
    """Whether there is more than one thing to try."""
    return count_trials(search) > 1


def foreseen(config: Config) -> Iterator[Config]:
    """Every configuration that a search begins with, checked.

    Those that a strategy comes upon later are not known yet; of them every axis is tried out by itself, at
    its ends or at each of its values.

    Raises:
        ConfigError: the strategy is unknown or lacks a value, the space is empty or names an unknown key, or
            a combination is not a valid configuration.
    """
    search = config.search
    if search.name == "optuna":
        for setting in ("trials", "batch"):
            needed_number(search, setting)
        for key, axis in axes_of(search).items():
            ends = axis if isinstance(axis, list) else [axis.draw(0.0), axis.draw(math.nextafter(1, 0))]
            yield from (configured(config, {key: value}) for value in ends)
        return
    for trial in next(rounds(search, 2**31)):
        yield configured(config, trial.values)
