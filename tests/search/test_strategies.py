"""Searches: which trials there are, with which seeds, in which processes they run, and which one wins."""

import itertools
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.config.compose import compose
from pipeline.config.schema import Config
from pipeline.config.space import Range
from pipeline.core.errors import ConfigError, DivergenceError, FormatError, PipelineError
from pipeline.nn.examples import Examples
from pipeline.nn.preprocessing import Statistics
from pipeline.nn.training import best_value, train
from pipeline.search import engines, strategies, table
from pipeline.search.strategies import STRATEGIES
from pipeline.search.table import best
from pipeline.search.trials import Attempt, Outcome, Task, Trial, configured, failed, trial_seed

CONF = Path(__file__).resolve().parents[2] / "conf"


@cache
def base() -> Config:
    return with_values(
        compose(CONF, ["split=cifar10_49_1_1"]),
        {
            "name": "toy",
            "dataset.image_shape": [2, 3, 1],
            "dataset.sources.bundled.classes": ["a", "b", "c"],
            "model.hidden": [4],
            "training.batch_size": 4,
            "training.epochs": 3,
        },
    )


def searching(space: dict[str, Any], **values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    """A grid over `space`; further keywords are dotted keys with __ for the dots."""
    further = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(base(), {"search.name": "grid", "search.space": space, **further})


@dataclass(frozen=True)
class Tried:
    """A trial with its configuration."""

    number: int
    values: Mapping[str, Any]
    config: Config


def trials(config: Config) -> list[Tried]:
    """The first round of a search."""
    return [
        Tried(trial.number, trial.values, configured(config, trial.values))
        for trial in next(strategies.rounds(config.search, 10))
    ]


PINNED_DRAWS: list[Any] = [(0.00267047, [5], 2), (0.0156642, [5], 4), (0.0225088, [5], 5)]

SPACE: dict[str, Any] = {
    "model": {"hidden": [[3], [5]]},
    "optimizer": {"learning_rate": [0.1, 0.5, 1.0]},
    "dtype": ["float32", "float64"],
}


# --- which trials


def test_without_a_search_the_only_trial_is_the_configuration() -> None:
    (only,) = trials(base())
    assert (only.number, only.values, only.config) == (0, {}, base())


def test_a_grid_has_every_combination_the_last_axis_fastest() -> None:
    found = trials(searching(SPACE))
    assert [trial.number for trial in found] == list(range(12))
    expected = itertools.product([[3], [5]], [0.1, 0.5, 1.0], ["float32", "float64"])
    assert [tuple(trial.values.values()) for trial in found] == list(expected)
    for trial in found:
        assert list(trial.values) == ["model.hidden", "optimizer.learning_rate", "dtype"]
        config = trial.config
        assert (config.model.hidden, config.optimizer.learning_rate, config.dtype) == (
            trial.values["model.hidden"],
            trial.values["optimizer.learning_rate"],
            trial.values["dtype"],
        )


def test_a_trial_differs_from_the_configuration_in_its_values_and_seed_alone() -> None:
    for trial in trials(searching(SPACE)):
        back = {
            "model.hidden": [4],
            "optimizer.learning_rate": base().optimizer.learning_rate,
            "dtype": base().dtype,
        }
        undone = with_values(trial.config, {**back, "seed": base().seed})
        assert with_values(undone, {"search.name": "none"}) == base()
        # Nothing is left to search.
        assert [one.config for one in trials(trial.config)] == [trial.config]


def test_the_published_grid_has_45_trials_with_seeds_of_their_own() -> None:
    found = trials(compose(CONF, ["experiment=cifar10_grid"]))
    assert len(found) == 45
    assert len({trial.config.seed for trial in found}) == 45
    assert found[0].values == {
        "model.hidden": [75],
        "optimizer.learning_rate": 7e-4,
        "regularizer.strength": 0.75,
    }
    assert found[1].values["regularizer.strength"] == 1.0
    assert found[44].values == {
        "model.hidden": [125],
        "optimizer.learning_rate": 1.1e-3,
        "regularizer.strength": 1.25,
    }
    assert all(trial.config.training.steps == 1500 for trial in found)


# --- seeds


def seeds_by_values(config: Config) -> dict[str, int]:
    return {repr(sorted(trial.values.items())): trial.config.seed for trial in trials(config)}


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(sorted(SPACE)), shuffle=st.randoms(use_true_random=False))
def test_seeds_depend_neither_on_the_order_of_the_axes_nor_of_their_values(
    order: list[str], shuffle: random.Random
) -> None:
    def shuffled(node: Any) -> Any:  # noqa: ANN401  (a nested search space)
        if isinstance(node, dict):
            return {key: shuffled(value) for key, value in node.items()}
        return shuffle.sample(node, len(node))

    expected = seeds_by_values(searching(SPACE))
    assert seeds_by_values(searching({key: shuffled(SPACE[key]) for key in order})) == expected
    # Nor on what else is tried: a part of the space has its seeds.
    smaller = seeds_by_values(searching({**SPACE, "optimizer": {"learning_rate": [0.5]}}))
    assert smaller.items() <= expected.items()


def test_seeds_follow_from_both_seeds_and_the_values() -> None:
    values = {"optimizer.learning_rate": 0.1}
    known = trial_seed(0, 0, values)
    # Pinned: a trial has to have the same seed in every version.
    assert known == 746018276
    others = [
        trial_seed(1, 0, values),
        trial_seed(0, 1, values),
        trial_seed(0, 0, {"optimizer.learning_rate": 0.2}),
    ]
    assert len({known, *others}) == 4
    assert all(0 <= seed < 2**32 for seed in (known, *others))
    changed = [searching(SPACE), searching(SPACE, seed=1), searching(SPACE, search__seed=1)]
    assert len({trial.config.seed for config in changed for trial in trials(config)}) == 36


def test_the_seed_can_be_searched_itself() -> None:
    found = trials(searching({"seed": [11, 7, 3], "optimizer": {"learning_rate": [0.1, 0.2]}}))
    assert [(trial.config.seed, trial.config.optimizer.learning_rate) for trial in found] == [
        (11, 0.1),
        (11, 0.2),
        (7, 0.1),
        (7, 0.2),
        (3, 0.1),
        (3, 0.2),
    ]


# --- what is refused


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (
            {"optimizer": {"learning_rate": [0.1, -1.0]}},
            r"optimizer\.learning_rate=-1\.0: expected a positive",
        ),
        ({"optimizer": {"learning_rate": ["fast"]}}, r"optimizer\.learning_rate=fast: expected a number"),
        ({"optimizer": {"speed": [1]}}, r"^search\.space\.optimizer\.speed: no such key; known: name, "),
        (
            {"optimizer": {"lerning_rate": [1]}},
            r"^search\.space\.optimizer\.lerning_rate: no such key; .* search\.space\.optimizer\.learning_",
        ),
        (
            {"optimizer": {"learning_rate": {"hidden": [1]}}},
            r"^search\.space\.optimizer\.learning_rate\.hidden: no such key; did you mean",
        ),
        ({"speed": [1]}, r"^search\.space\.speed: no such key"),
        ({"split": {"train_count": [1]}}, r"^search\.space\.split\.train_count: split is the same for all"),
        (
            {"optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-1}}},
            r"^search\.space\.optimizer\.learning_rate: search=grid tries every value, .* add count",
        ),
        (
            {"optimizer": {"learning_rate": {"low": 1, "higth": 2}}},
            r"^search\.space\.optimizer\.learning_rate\.higth: no such key; .*\.learning_rate\.high\?$",
        ),
        (
            {"seed": {"low": 1, "high": 900_000, "integer": True}, "dtype": ["float32", "float64"]},
            r"^search\.space: 1,800,000 combinations, and at most 1,000,000",
        ),
        ({"model": {"hidden": [75, 100]}}, r"model\.hidden=75: expected a list"),
        ({"model": {"hidden": [[0]]}}, r"model\.hidden=\[0\]: expected positive"),
        (
            {"optimizer": {"learning_rate": 0.1}},
            r"search\.space\.optimizer\.learning_rate=0\.1: expected a list",
        ),
        (
            {"optimizer": {"learning_rate": []}},
            r"search\.space\.optimizer\.learning_rate=\[\]: expected a list",
        ),
        ({"seed": [-1]}, r"seed=-1: expected"),
        ({}, r"search\.space: empty"),
    ],
)
def test_a_space_that_cannot_be_meant_is_refused_by_name(space: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        trials(searching(space))


def test_a_space_without_a_search_is_asked_about() -> None:
    with pytest.raises(ConfigError, match=r"search\.space: given, .*did you mean search=grid"):
        trials(searching(SPACE, search__name="none"))


def test_an_unknown_search_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=rf"search\.name=bayes: unknown; one of {', '.join(STRATEGIES)}"):
        trials(searching(SPACE, search__name="bayes"))


def test_a_search_without_valid_images_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.name=grid: the split has no valid part"):
        searching(SPACE, split__valid_count=0)


# --- ranges


def test_ranges_are_divided_as_they_say() -> None:
    for ends, expected in (
        ({"low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"low": 0, "high": 1, "step": 0.4}, [0.0, 0.4, 0.8]),
        ({"low": 1e-4, "high": 1e-1, "log": True, "count": 4}, [1e-4, 1e-3, 1e-2, 1e-1]),
        ({"low": -1, "high": 1, "count": 3}, [-1.0, 0.0, 1.0]),
        ({"low": 10, "high": 13, "integer": True}, [10, 11, 12, 13]),
        ({"low": 10, "high": 40, "integer": True, "step": 10}, [10, 20, 30, 40]),
        ({"low": 1, "high": 4, "integer": True, "log": True, "count": 9}, [1, 2, 3, 4]),
        ({"low": 0, "high": 1}, None),
    ):
        found = Range(**ends).values()
        assert found == expected
        assert found is None or {type(value) for value in found} == {int if "integer" in ends else float}


@given(
    low=st.floats(1e-6, 1e2),
    ratio=st.floats(1.01, 1e3),
    log=st.booleans(),
    share=st.floats(0, 1, exclude_max=True),
)
def test_draws_lie_inside_the_range(low: float, ratio: float, *, log: bool, share: float) -> None:
    axis = Range(low, low * ratio, log=log)
    value = axis.draw(share)
    # Six digits are kept.
    assert axis.low * (1 - 1e-5) <= value <= axis.high * (1 + 1e-5)
    assert float(f"{value:.6g}") == value
    steps = Range(round(low), round(low * ratio) + 1, integer=True, log=log and round(low) > 0)
    whole = steps.draw(share)
    assert isinstance(whole, int)
    assert steps.low <= whole <= steps.high


def test_a_grid_of_ranges() -> None:
    space = {
        "optimizer": {"learning_rate": {"low": 0.01, "high": 1, "log": True, "count": 3}},
        "seed": [1, 2],
    }
    assert [list(trial.values.values()) for trial in trials(searching(space))] == [
        [rate, seed] for rate in (0.01, 0.1, 1.0) for seed in (1, 2)
    ]


# --- draws


def drawing(space: dict[str, Any], count: int, **values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    return searching(space, search__name="random", search__trials=count, **values)


DRAWN: dict[str, Any] = {
    "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
    "model": {"hidden": [[3], [5]]},
    "training": {"batch_size": {"low": 2, "high": 9, "integer": True}},
}


def test_draws_are_pinned_and_differ() -> None:
    found = [tuple(trial.values.values()) for trial in trials(drawing(DRAWN, 30))]
    # Pinned: a search has to give the same table in every version.
    assert found[:3] == PINNED_DRAWS
    assert len({repr(values) for values in found}) == 30
    assert {repr(values[1]) for values in found} == {"[3]", "[5]"}
    assert {values[2] for values in found} == set(range(2, 10))
    rates = np.log10([values[0] for values in found])
    assert -4 <= rates.min() < -3.5
    assert -1.5 < rates.max() <= -1
    other = [tuple(trial.values.values()) for trial in trials(drawing(DRAWN, 30, search__seed=1))]
    assert not {repr(values) for values in found} & {repr(values) for values in other}


def test_more_draws_begin_with_the_same_ones_and_an_axis_does_not_change_the_others() -> None:
    few, many = trials(drawing(DRAWN, 5)), trials(drawing(DRAWN, 9))
    assert [trial.values for trial in many[:5]] == [trial.values for trial in few]
    alone = trials(drawing({"optimizer": DRAWN["optimizer"]}, 5))
    key = "optimizer.learning_rate"
    assert [trial.values[key] for trial in alone] == [trial.values[key] for trial in few]


def test_no_combination_is_drawn_twice() -> None:
    space = {"seed": [1, 2, 3], "dtype": ["float32", "float64"]}
    found = [tuple(trial.values.values()) for trial in trials(drawing(space, 6))]
    assert len(set(found)) == 6
    with pytest.raises(
        ConfigError, match=r"^search\.trials=7: the space has only 6 combinations; search=grid"
    ):
        trials(drawing(space, 7))
    narrow = {"optimizer": {"learning_rate": {"low": 0.1, "high": 0.100001}}}
    with pytest.raises(ConfigError, match=r"^search\.trials=3: only 2 different combinations were drawn"):
        trials(drawing(narrow, 3))


# --- halving


def halving(**values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    settings = {"search__name": "halving", "search__factor": 3, "search__minimum_epochs": 2, **values}
    return searching({"seed": list(range(20))}, **settings)


def played(config: Config, full_epochs: int, accuracy: Callable[[Trial], float]) -> list[list[Trial]]:
    """The rounds of a search whose trials have the accuracies given; NaN for one that fails."""
    rounds = strategies.rounds(config.search, full_epochs)
    found = [list(next(rounds))]
    while True:
        outcomes = [
            Outcome(trial.number, accuracy(trial), "!" * math.isnan(accuracy(trial)), trial.epochs)
            for trial in found[-1]
        ]
        try:
            found.append(list(rounds.send(outcomes)))
        except StopIteration:
            return found


def test_halving_keeps_the_best_and_trains_them_longer() -> None:
    found = played(halving(), 30, lambda trial: (trial.values["seed"] * 7 % 20) / 20)
    assert [(len(trials), trials[0].epochs) for trials in found] == [(20, 2), (6, 6), (2, 18), (1, None)][
        : len(found)
    ]
    ranked = sorted(range(20), key=lambda seed: -(seed * 7 % 20))
    for trials_, count in zip(found, (20, 6, 2), strict=False):
        assert {trial.number for trial in trials_} == set(ranked[:count])
        assert [trial.number for trial in trials_] == sorted(trial.number for trial in trials_)
    assert found[-1] == [Trial(ranked[0], {"seed": ranked[0]}, None)]


def test_halving_keeps_the_earlier_of_equal_trials_and_none_that_failed() -> None:
    found = played(halving(), 9, lambda trial: math.nan if trial.number < 3 else 0.5)
    assert [[trial.number for trial in trials_] for trials_ in found] == [
        list(range(20)),
        [3, 4, 5, 6, 7, 8],
        [3, 4],
    ]
    assert [trials_[0].epochs for trials_ in found] == [2, 6, None]


def test_halving_ends_when_all_fail() -> None:
    assert len(played(halving(), 9, lambda _: math.nan)) == 1


@pytest.mark.parametrize("full_epochs", [1, 2, 3, 7, 100, 10**6])
def test_the_rounds_of_halving_are_counted_beforehand(full_epochs: int) -> None:
    found = played(halving(), full_epochs, lambda trial: trial.number)
    assert strategies.planned(halving().search, full_epochs) == sum(map(len, found))
    assert found[-1][0].epochs is None
    assert all(trial.epochs < full_epochs for trials_ in found[:-1] for trial in trials_)


def test_halving_can_begin_with_draws() -> None:
    config = searching(
        DRAWN, search__name="halving", search__factor=2, search__minimum_epochs=1, search__trials=8
    )
    assert [trial.values for trial in next(strategies.rounds(config.search, 9))] == [
        trial.values for trial in trials(drawing(DRAWN, 8))
    ]


# --- optuna


def optuna(**values: Any) -> Config:  # noqa: ANN401  (whatever the key takes)
    settings = {"search__trials": 25, "search__batch": 10, "search__sampler": "tpe", **values}
    return searching(DRAWN, search__name="optuna", **settings)


@pytest.mark.service
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_optuna_chooses_in_batches_the_same_every_time(sampler: str) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")

    def accuracy(trial: Trial) -> float:
        rate = math.log10(trial.values["optimizer.learning_rate"])
        return math.nan if trial.number == 4 else 1 - abs(rate + 2.2) / 3

    first = played(optuna(search__sampler=sampler), 9, accuracy)
    assert [len(trials_) for trials_ in first] == [10, 10, 5]
    assert [trial.number for trials_ in first for trial in trials_] == list(range(25))
    assert played(optuna(search__sampler=sampler), 9, accuracy) == first
    assert played(optuna(search__sampler=sampler, search__seed=1), 9, accuracy) != first
    assert {type(trial.values["training.batch_size"]) for trials_ in first for trial in trials_} == {int}
    for trial in first[-1]:
        configured(optuna(), trial.values)


def test_optuna_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError) as caught:
        next(strategies.rounds(optuna().search, 9))
    assert str(caught.value) == (
        "search=optuna: the package optuna is not installed: pip install -e '.[optuna]'"
    )
    # But the configuration can be checked, at the ends of every axis.
    assert len(list(strategies.foreseen(optuna()))) == 6


# --- running


def toy_task(steep: float = math.inf) -> Task:
    """Trains on a few images, with a failure for every learning rate from `steep` on.

    Made in here, it travels to other processes as it is: they need not be able to import this file.
    """

    def task(config: Config, trial: Trial) -> float:
        del trial
        if config.optimizer.learning_rate >= steep:
            raise DivergenceError(f"{config.name} with {config.optimizer.learning_rate}\nand a second line")
        numbers = np.random.default_rng(1)
        labels = numbers.integers(0, 3, 60)
        pixels = numbers.integers(0, 160, (60, 6)).astype(np.uint8)
        pixels[np.arange(60), 2 * labels] += 60
        parts = [Examples(pixels, labels, indices) for indices in (np.arange(30), np.arange(30, 60))]
        *_, last = train(config, parts[0], {"valid": parts[1]}, Statistics(255.0))
        # The parameters' bits too, on a scale on which they do not matter to anyone but this test.
        return best_value(last) + 1e-6 * float(np.abs(last.parameters).sum())

    return task


def run(config: Config, task: Task, workers: int = 1, chosen: Sequence[Trial] | None = None) -> list[Outcome]:
    """The outcomes of a grid, in the order of the trials."""
    chosen = next(strategies.rounds(config.search, 3)) if chosen is None else chosen
    with engines.open_engine("local", workers) as engine:
        outcomes = engines.run(
            engine, Attempt(config, task), chosen, lambda trial: failed(trial, "died"), print
        )
        return sorted(outcomes, key=lambda outcome: outcome.number)


def test_processes_give_the_outcomes_that_one_process_gives() -> None:
    config, task = searching(SPACE), toy_task(steep=1.0)
    alone = run(config, task)
    assert [outcome.number for outcome in alone] == list(range(12))
    together = run(config, task, workers=2)
    # NaN differs from itself: compared as text, which tells every bit of the others.
    assert [repr(outcome) for outcome in together] == [repr(outcome) for outcome in alone]
    assert len({outcome.valid_accuracy for outcome in alone if not outcome.error}) > 4
    assert best(together).number == best(alone).number


def test_the_order_of_the_trials_is_of_no_consequence() -> None:
    config, task = searching(SPACE), toy_task()
    chosen = next(strategies.rounds(config.search, 3))
    assert run(config, task, chosen=chosen[::-1]) == run(config, task)


def failing(config: Config, trial: Trial) -> float:
    if trial.number == 1:
        raise DivergenceError(f"{config.name} with {config.optimizer.learning_rate}\nand a second line")
    if trial.number == 2:
        raise MemoryError("no room\nfor 3 GB")
    if trial.number == 3:
        raise ZeroDivisionError
    return 0.5


def test_a_trial_that_fails_is_a_row_with_its_reason() -> None:
    outcomes = run(searching({"optimizer": {"learning_rate": [0.1, 5.0, 0.2, 0.3, 0.4]}}), failing)
    assert [outcome.error for outcome in outcomes] == [
        *("", "toy with 5.0", "MemoryError: no room", "ZeroDivisionError", ""),
    ]
    assert [math.isnan(outcome.valid_accuracy) for outcome in outcomes] == [False, True, True, True, False]


def test_a_combination_that_no_configuration_can_have_is_a_row() -> None:
    config = searching({"optimizer": {"learning_rate": [0.1]}})
    (outcome,) = run(config, failing, chosen=[Trial(0, {"optimizer.learning_rate": -1.0})])
    assert outcome.error == "optimizer.learning_rate=-1.0: expected a positive number"


def test_what_is_wrong_with_the_inputs_is_not_a_matter_of_one_trial() -> None:
    def task(config: Config, trial: Trial) -> float:
        del trial
        raise ConfigError(f"{config.name}: no data")

    with pytest.raises(ConfigError, match="toy: no data"):
        run(searching(SPACE), task)


# --- the table


def as_text(config: Config, rows: Sequence[Sequence[object]]) -> list[dict[str, str]]:
    names = table.header(config.search)
    assert len(set(names)) == len(names)
    return [
        {name: "" if value is None else str(value) for name, value in zip(names, row, strict=True)}
        for row in rows
    ]


@pytest.mark.parametrize(
    "config",
    [
        base(),
        searching(SPACE),
        searching({"seed": [5, 6], "optimizer": [{"name": "sgd", "learning_rate": 0.1}]}),
        drawing(DRAWN, 7),
        halving(),
    ],
    ids=lambda config: config.search.name,
)
def test_the_table_tells_the_values_without_the_strategy(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials_ = next(strategies.rounds(config.search, 9))
    outcomes = [
        Outcome(each.number, math.nan, "bad", each.epochs)
        if each.number == 1
        else Outcome(each.number, each.number / 70, epochs=None if each.number > 5 else each.epochs)
        for each in trials_
    ]
    trials_ = [replace(each, epochs=outcome.epochs) for each, outcome in zip(trials_, outcomes, strict=True)]
    rows = as_text(
        config, [table.row(config, *each, full_epochs=9) for each in zip(trials_, outcomes, strict=True)]
    )
    monkeypatch.setattr(strategies, "STRATEGIES", {})
    found = table.read_rows(config, rows)
    assert [each.trial for each in found] == trials_
    assert repr([each.outcome for each in found]) == repr(outcomes)
    for each in found:
        assert each.seed == configured(config, each.trial.values).seed


def test_a_table_of_another_search_is_refused() -> None:
    config = searching(SPACE)
    trials_ = next(strategies.rounds(config.search, 9))
    rows = as_text(config, [table.row(config, each, Outcome(each.number, 0.5), 9) for each in trials_])
    for wrong, said in (
        (rows[:-1], "expected the configuration's 12 trials, found 11"),
        (rows[1:], "trial 1 has the seed .*, expected trial 0"),
        ([{**rows[0], "seed": "7"}, *rows[1:]], "trial 0 has the seed 7, expected trial 0 with"),
        ([{**rows[0], "dtype": "float16"}, *rows[1:]], "dtype=float16: not in the search space"),
    ):
        with pytest.raises(FormatError, match=said):
            table.read_rows(config, wrong)


# --- the winner


@settings(deadline=None, max_examples=50)
@given(
    accuracies=st.lists(st.sampled_from([0.1, 0.2, 0.3, None]), min_size=1, max_size=8),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_best_is_the_earliest_of_the_highest(
    accuracies: list[float | None], shuffle: random.Random
) -> None:
    outcomes = [
        Outcome(number, math.nan, "diverged") if value is None else Outcome(number, value)
        for number, value in enumerate(accuracies)
    ]
    expected = max((value for value in accuracies if value is not None), default=None)
    shuffled = shuffle.sample(outcomes, len(outcomes))
    if expected is None:
        with pytest.raises(PipelineError, match=rf"all {len(outcomes)} trials failed; the first: diverged"):
            best(shuffled)
    else:
        assert best(shuffled).number == accuracies.index(expected)


def test_a_single_trial_without_valid_images_is_the_best_there_is() -> None:
    assert best([Outcome(0, math.nan)]).number == 0


def test_a_trial_that_was_not_trained_to_the_end_never_wins() -> None:
    assert best([Outcome(0, 0.9, epochs=3), Outcome(1, 0.5), Outcome(2, math.nan, "bad")]).number == 1
