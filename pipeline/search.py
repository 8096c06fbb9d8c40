"""Searches: a space of configurations, tried round by round, and the best of them.

A strategy proposes rounds of trials and is told what became of each round before it proposes the next. What
a trial is, its seed included, follows from the search's own values alone, and what a strategy is told comes
in the order of the trials: neither the order in which they run, nor where, changes any result.
"""

import hashlib
import heapq
import itertools
import json
import math
import random
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from pipeline import config as configuration
from pipeline.config import Axis, Config, Range, Search, check_search_key
from pipeline.errors import ConfigError, DivergenceError, FormatError, PipelineError

Values: TypeAlias = Mapping[str, Any]

_MOST_COMBINATIONS: Final = 1_000_000
_MOST_DRAWS_IN_VAIN: Final = 1_000  # in a row, for each draw that is wanted


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


def _single(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    if search.space:
        raise ConfigError(
            "search.space: given, but search.name=none tries nothing; did you mean search=grid?"
        )
    yield [Trial(0, {})]


def _grid(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    yield [Trial(number, values) for number, values in enumerate(_combinations(search))]


def _random(search: Search, full_epochs: int) -> Rounds:
    del full_epochs
    yield [Trial(number, values) for number, values in enumerate(_draws(search))]


def _halving(search: Search, full_epochs: int) -> Rounds:
    """Successive halving over epochs.

    Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS, algorithm 1, with the number of epochs for its budget.
    """
    factor = _needed(search, "factor")
    chosen = list(enumerate(_starters(search)))
    for epochs, _ in _rungs(search, full_epochs):
        outcomes = yield [Trial(number, values, epochs) for number, values in chosen]
        sound = [outcome for outcome in outcomes if not outcome.error]
        kept = heapq.nsmallest(max(1, len(chosen) // factor), sound, key=_rank)
        numbers = {outcome.number for outcome in kept}
        chosen = [(number, values) for number, values in chosen if number in numbers]
        if not chosen:
            return


def _starters(search: Search) -> Iterator[Values]:
    return _combinations(search) if search.trials is None else _draws(search)


def _rungs(search: Search, full_epochs: int) -> Iterator[tuple[int | None, int]]:
    """Epochs (None for the whole run) and number of trials of each round of halving, failures aside."""
    factor, epochs = _needed(search, "factor"), _needed(search, "minimum_epochs")
    count = _count(search)
    # A single trial has nobody left to be compared with.
    while epochs < full_epochs and count > 1:
        yield epochs, count
        epochs, count = epochs * factor, max(1, count // factor)
    yield None, count


def _optuna(search: Search, full_epochs: int) -> Rounds:
    """Trials that one of Optuna's samplers chooses, `search.batch` at a time."""
    del full_epochs
    trials, batch, name = _needed(search, "trials"), _needed(search, "batch"), search.sampler or "tpe"
    axes = _axes(search)
    if name not in SAMPLERS:
        raise ConfigError(f"search.sampler={name}: unknown; one of {', '.join(SAMPLERS)}")
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Some options are called experimental; the lock file pins what they do.
        warnings.simplefilter("ignore")
        try:
            sampler = getattr(optuna.samplers, SAMPLERS[name].name)(
                seed=search.seed, **SAMPLERS[name].settings
            )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for start in range(0, trials, batch):
                asked = [study.ask() for _ in range(min(batch, trials - start))]
                outcomes = yield [
                    Trial(start + index, {key: _suggested(one, key, axis) for key, axis in axes.items()})
                    for index, one in enumerate(asked)
                ]
                for one, outcome in zip(asked, outcomes, strict=True):
                    if outcome.error:
                        study.tell(one, state=optuna.trial.TrialState.FAIL)
                    else:
                        study.tell(one, outcome.valid_accuracy)
        except ImportError as error:
            raise ConfigError(
                f"search.sampler={name}: needs a package that is not installed: {error.name}"
            ) from None


def _import_optuna() -> Any:  # noqa: ANN401  (a module that need not be there)
    try:
        import optuna  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError:
        raise ConfigError(
            "search=optuna: the package optuna is not installed: pip install -e '.[optuna]'"
        ) from None
    return optuna


def _suggested(asked: Any, key: str, axis: Axis) -> Any:  # noqa: ANN401  (an Optuna trial; any value)
    if isinstance(axis, list):
        # By position: a value may be a list, which Optuna does not store.
        return axis[asked.suggest_categorical(key, list(range(len(axis))))]
    if axis.integer:
        step = int(axis.step or 1)
        return asked.suggest_int(key, int(axis.low), int(axis.high), step=step, log=axis.log)
    return asked.suggest_float(key, axis.low, axis.high, step=axis.step, log=axis.log)


@dataclass(frozen=True)
class _Sampler:
    name: str
    settings: Mapping[str, Any]


SAMPLERS: Final[Mapping[str, _Sampler]] = {
    # Trials of one batch know of each other, else they would all be drawn to the same place.
    "tpe": _Sampler("TPESampler", {"constant_liar": True}),
    "random": _Sampler("RandomSampler", {}),
    "cmaes": _Sampler("CmaEsSampler", {}),
    "qmc": _Sampler("QMCSampler", {"scramble": True}),
}
"""name -> Optuna's sampler. tpe: tree of Parzen estimators. cmaes needs the package cmaes, qmc SciPy."""

STRATEGIES: Final[Mapping[str, Callable[[Search, int], Rounds]]] = {
    "none": _single,
    "grid": _grid,
    "random": _random,
    "halving": _halving,
    "optuna": _optuna,
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
    if search.name not in STRATEGIES:
        raise ConfigError(f"search.name={search.name}: unknown; one of {', '.join(STRATEGIES)}")
    return STRATEGIES[search.name](search, full_epochs)


def planned(search: Search, full_epochs: int) -> int:
    """How many trials all rounds have together, if none fails."""
    if search.name == "halving":
        return sum(count for _, count in _rungs(search, full_epochs))
    return _count(search)


def is_search(search: Search) -> bool:
    """Whether there is more than one thing to try."""
    return _count(search) > 1


def _count(search: Search) -> int:
    """How many different trials there are."""
    if search.name == "none":
        return 1
    if search.trials is not None:
        return search.trials
    return math.prod(len(values) for values in _listed(search).values())


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
        _needed(search, "trials"), _needed(search, "batch")
        for key, axis in _axes(search).items():
            ends = axis if isinstance(axis, list) else [axis.draw(0.0), axis.draw(math.nextafter(1, 0))]
            yield from (configured(config, {key: value}) for value in ends)
        return
    for trial in next(rounds(search, 2**31)):
        yield configured(config, trial.values)


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
    return configuration.replace(plain, {**values, **seed})


def trial_seed(search_seed: int, seed: int, values: Values) -> int:
    """A trial's seed, 0 to 2**32 - 1, by SHA-256 from the two seeds and the trial's own values."""
    return _hashed([search_seed, seed, dict(values)])


def _hashed(value: object) -> int:
    text = json.dumps(value, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _axes(search: Search) -> dict[str, Axis]:
    axes = search.axes()
    if not axes:
        raise ConfigError(f"search.space: empty, and search.name={search.name} has nothing to try")
    for key in axes:
        check_search_key(key)
    return axes


def _listed(search: Search) -> dict[str, list[Any]]:
    """The values of every axis, ranges divided as they say."""
    found = {}
    for key, axis in _axes(search).items():
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


def _combinations(search: Search) -> Iterator[Values]:
    axes = _listed(search)
    # The last axis varies fastest.
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _draws(search: Search) -> Iterator[Values]:
    """`search.trials` different combinations; each axis has a random source of its own."""
    axes, wanted = _axes(search), _needed(search, "trials")
    sizes = [_size(axis) for axis in axes.values()]
    if None not in sizes and (there_are := math.prod(filter(None, sizes))) < wanted:
        raise ConfigError(
            f"search.trials={wanted}: the space has only {there_are:,} combinations;"
            " search=grid tries them all"
        )
    # Python keeps the stream of `random()` from version to version; NumPy does not.
    sources = {key: random.Random(_hashed([search.seed, key])) for key in axes}  # noqa: S311  (no secrets here)
    seen: set[str] = set()
    in_vain = 0
    while len(seen) < wanted:
        values = {key: _drawn(axis, sources[key].random()) for key, axis in axes.items()}
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


def _drawn(axis: Axis, share: float) -> Any:  # noqa: ANN401  (whatever the key takes)
    return axis.draw(share) if isinstance(axis, Range) else axis[int(share * len(axis))]


def _size(axis: Axis) -> int | None:
    """How many different values can be drawn; None for no end of them."""
    if isinstance(axis, list):
        return len({json.dumps(value, sort_keys=True) for value in axis})
    return axis.steps + 1 if axis.steps is not None else None


def _needed(search: Search, key: str) -> int:
    value = getattr(search, key)
    if value is None:
        raise ConfigError(f"search.{key}: search.name={search.name} needs a number here and none is given")
    return int(value)


# --- which is the best


def _rank(outcome: Outcome) -> tuple[float, int]:
    """Better outcomes first; of equal ones the earlier trial."""
    return -outcome.valid_accuracy, outcome.number


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome with the highest valid accuracy; of equal ones the earliest trial.

    Failed ones never win, nor those that were not trained to the end.

    Raises:
        PipelineError: every trial failed.
    """
    sound = [outcome for outcome in outcomes if not outcome.error and outcome.epochs is None]
    if not sound:
        failed = [outcome for outcome in outcomes if outcome.error]
        raise PipelineError(f"all {len(failed)} trials failed; the first: {failed[0].error}")
    return sound[0] if len(sound) == 1 else min(sound, key=_rank)


# --- the table


@dataclass(frozen=True)
class Tried:
    """A trial and what became of it, as the table has it."""

    trial: Trial
    outcome: Outcome
    seed: int


def header(search: Search) -> tuple[str, ...]:
    """The columns of the table of trials."""
    axes = search.axes()
    seed = () if "seed" in axes else ("seed",)
    epochs = ("epochs",) if search.name == "halving" else ()
    return ("trial", *axes, *seed, *epochs, "valid_accuracy", "error")


def row(config: Config, trial: Trial, outcome: Outcome, full_epochs: int) -> tuple[object, ...]:
    """One trial of the table: as many values as `header` has columns."""
    search = config.search
    accuracy = None if math.isnan(outcome.valid_accuracy) else outcome.valid_accuracy
    values = (trial.values[key] for key in search.axes())
    seed: tuple[int, ...] = ()
    if "seed" not in trial.values:
        seed = (trial_seed(search.seed, config.seed, trial.values) if trial.values else config.seed,)
    epochs = (trial.epochs or full_epochs,) if search.name == "halving" else ()
    return (trial.number, *values, *seed, *epochs, accuracy, outcome.error)


def read_rows(config: Config, rows: Sequence[Mapping[str, str]]) -> list[Tried]:
    """The trials of a table, without asking the strategy again.

    Args:
        config: whose search it was.
        rows: the table's, as text by column.

    Raises:
        FormatError: they are not those of this search.
    """
    search = config.search
    # Those of halving that were trained longest were trained to the end.
    longest = max((int(line.get("epochs", 0)) for line in rows), default=0)
    found = []
    for number, line in enumerate(rows):
        values = {key: _parsed(axis, line[key], key) for key, axis in search.axes().items()}
        epochs = int(line.get("epochs", longest))
        seed = values.get("seed", trial_seed(search.seed, config.seed, values)) if values else config.seed
        if (int(line["trial"]), int(line["seed"])) != (number, seed):
            raise FormatError(
                f"trial {line['trial']} has the seed {line['seed']}, expected trial {number} with {seed}"
            )
        partly = epochs if epochs < longest else None
        accuracy = float(line["valid_accuracy"] or "nan")
        found.append(
            Tried(Trial(number, values, partly), Outcome(number, accuracy, line["error"], partly), seed)
        )
    if len(found) != _count(search):
        raise FormatError(f"expected the configuration's {_count(search)} trials, found {len(found)}")
    return found


def _parsed(axis: Axis, text: str, key: str) -> Any:  # noqa: ANN401  (whatever the key takes)
    """A value as the table spells it."""
    if isinstance(axis, Range):
        return int(text) if axis.integer else float(text)
    for value in axis:
        if text == ("" if value is None else str(value)):
            return value
    raise FormatError(f"{key}={text}: not in the search space")
