"""Searches: which trials there are, with which seeds, in which processes they run, and which one wins."""

import itertools
import math
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals import loky

from pipeline import config as configuration
from pipeline import search
from pipeline.config import Config
from pipeline.errors import ConfigError, DivergenceError, PipelineError
from pipeline.preprocessing import Statistics
from pipeline.search import STRATEGIES, Outcome, Task, Trial, best, trial_seed, trials
from pipeline.training import Examples, best_value, train

CONF = Path(__file__).resolve().parent.parent / "conf"


@cache
def base() -> Config:
    return configuration.replace(
        configuration.compose(CONF, ["split=cifar10_49_1_1"]),
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
    return configuration.replace(base(), {"search.name": "grid", "search.space": space, **further})


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
        undone = configuration.replace(trial.config, {**back, "seed": base().seed})
        assert configuration.replace(undone, {"search.name": "none"}) == base()
        # Nothing is left to search.
        assert [one.config for one in trials(trial.config)] == [trial.config]


def test_the_published_grid_has_45_trials_with_seeds_of_their_own() -> None:
    found = trials(configuration.compose(CONF, ["experiment=cifar10_grid"]))
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
        ({"optimizer": {"speed": [1]}}, r"optimizer\.speed: no such key"),
        ({"speed": [1]}, r"speed: no such key"),
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
    with pytest.raises(ConfigError, match=rf"search\.name=random: unknown; one of {', '.join(STRATEGIES)}"):
        trials(searching(SPACE, search__name="random"))


def test_a_search_without_valid_images_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.name=grid: the split has no valid part"):
        searching(SPACE, split__valid_count=0)


# --- running


def toy_task(steep: float = math.inf) -> Task:
    """Trains on a few images, with a failure for every learning rate from `steep` on.

    Made in here, it travels to other processes as it is: they need not be able to import this file.
    """

    def task(config: Config) -> float:
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


def in_order(outcomes: Iterator[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.number)


@pytest.fixture(autouse=True, scope="module")
def _processes() -> Iterator[None]:
    """Ends the worker processes that joblib keeps for the next call."""
    yield
    loky.get_reusable_executor().shutdown(wait=True)


def test_processes_give_the_outcomes_that_one_process_gives() -> None:
    chosen = trials(searching(SPACE))
    task = toy_task(steep=1.0)
    alone = list(search.run(chosen, task, workers=1))
    assert [outcome.number for outcome in alone] == list(range(12))
    together = in_order(search.run(chosen, task, workers=2))
    # NaN differs from itself: compared as text, which tells every bit of the others.
    assert [repr(outcome) for outcome in together] == [repr(outcome) for outcome in alone]
    assert len({outcome.valid_accuracy for outcome in alone if not outcome.error}) > 4
    assert best(together).number == best(alone).number


def test_processes_are_other_processes() -> None:
    def task(config: Config) -> float:
        raise DivergenceError(f"{config.name} in {os.getpid()}")

    outcomes = list(search.run(trials(searching(SPACE)), task, workers=2))
    assert len(outcomes) == 12
    assert all(outcome.error.startswith("toy in ") for outcome in outcomes)
    assert f"toy in {os.getpid()}" not in {outcome.error for outcome in outcomes}


def test_the_order_of_the_trials_is_of_no_consequence() -> None:
    chosen = trials(searching(SPACE))
    task = toy_task()
    assert in_order(search.run(chosen[::-1], task, workers=1)) == list(search.run(chosen, task, workers=1))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_that_diverges_is_a_row_with_its_reason(workers: int) -> None:
    chosen = trials(searching({"optimizer": {"learning_rate": [0.1, 5.0, 0.2]}}))
    outcomes = in_order(search.run(chosen, toy_task(steep=5.0), workers))
    assert [outcome.error for outcome in outcomes] == ["", "toy with 5.0", ""]
    assert [math.isnan(outcome.valid_accuracy) for outcome in outcomes] == [False, True, False]
    assert best(outcomes).number in {0, 2}


def test_any_other_error_is_not_a_matter_of_one_trial() -> None:
    def task(config: Config) -> float:
        raise ConfigError(f"{config.name}: no data")

    with pytest.raises(ConfigError, match="toy: no data"):
        list(search.run(trials(searching(SPACE)), task, workers=1))


@pytest.mark.parametrize("workers", [1, 2, None])
def test_one_trial_or_none_needs_no_process(workers: int | None) -> None:
    # A task that could not travel: it leaves its mark here.
    seen = []

    def task(config: Config) -> float:
        seen.append(config.name)
        return 0.5

    assert list(search.run(trials(base()), task, workers)) == [Outcome(0, 0.5)]
    assert seen == ["toy"]
    assert list(search.run([], task, workers)) == []


def test_outcomes_come_in_one_by_one() -> None:
    started = []

    def task(config: Config) -> float:
        started.append(config.seed)
        return 0.5

    outcomes = search.run(trials(searching(SPACE)), task, workers=1)
    assert next(outcomes).number == 0
    assert len(started) == 1


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


def test_trials_are_plain_values() -> None:
    trial = trials(searching(SPACE))[0]
    assert trial == Trial(
        0, {"model.hidden": [3], "optimizer.learning_rate": 0.1, "dtype": "float32"}, trial.config
    )
