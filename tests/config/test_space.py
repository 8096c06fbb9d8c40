"""The space of a search: lists and ranges, how they are overridden, and those that cannot be meant."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.config.compose import check, compose, experiment_overrides, to_yaml
from pipeline.config.space import Range
from tests.config.examples import CONF, INFINITE, RATE, complaint, plain_config, put


def test_a_null_among_the_values_of_a_search_is_written() -> None:
    plain = put(plain_config(), "search.space", {"split": {"train_count": [None, 5]}, "a": [{"b": None}]})
    config = check(OmegaConf.create(plain))
    assert check(OmegaConf.create(to_yaml(config))).search.axes() == {
        "split.train_count": [None, 5],
        "a": [{"b": None}],
    }


def test_the_axes_of_a_search_stand_in_their_order() -> None:
    space = {
        "optimizer": {"learning_rate": [1, 2]},
        "model": {"hidden": [[1]], "activation": ["relu"]},
        "seed": [1],
    }
    config = check(OmegaConf.create(put(plain_config(), "search.space", space)))
    assert list(config.search.axes().items()) == [
        ("optimizer.learning_rate", [1, 2]),
        ("model.hidden", [[1]]),
        ("model.activation", ["relu"]),
        ("seed", [1]),
    ]


@pytest.mark.parametrize(
    ("overrides", "axes"),
    [
        ([f"{RATE}=[1e-3,1e-4]"], {"optimizer.learning_rate": [1e-3, 1e-4]}),
        ([f"++{RATE}=[1e-3,1e-4]"], {"optimizer.learning_rate": [1e-3, 1e-4]}),
        (
            [f"{RATE}={{low: 1e-4, high: 0.1, log: true}}"],
            {"optimizer.learning_rate": Range(1e-4, 0.1, log=True)},
        ),
        ([f"{RATE}=[1]", f"{RATE}={{low:1,high:2}}"], {"optimizer.learning_rate": Range(1.0, 2.0)}),
        ([f"{RATE}={{low:1,high:2}}", f"{RATE}.high=3"], {"optimizer.learning_rate": Range(1.0, 3.0)}),
        (
            [f"{RATE}={{low:1,high:2,log:true}}", f"{RATE}={{low:3,high:4}}"],
            {"optimizer.learning_rate": Range(3.0, 4.0)},
        ),
        ([f"{RATE}={{low:1,high:2}}", f"{RATE}=[1]"], {"optimizer.learning_rate": [1]}),
        (["search.space={seed:[1,2]}"], {"seed": [1, 2]}),
        (
            ["search.space.model.hidden=[[1],[2]]", "search.space.model.activation=[relu]"],
            {"model.hidden": [[1], [2]], "model.activation": ["relu"]},
        ),
    ],
)
def test_a_search_space_is_overridden_without_a_plus(overrides: list[str], axes: dict[str, Any]) -> None:
    found = compose(CONF, ["search=grid", "split=mnist_50_10_10", *overrides])
    assert found.search.axes() == axes


def test_a_list_is_overridden_beside_the_other_axes_of_an_experiment() -> None:
    again = compose(CONF, ["experiment=cifar10_grid", f"{RATE}=[3]"])
    assert again.search.axes()["optimizer.learning_rate"] == [3]
    assert len(again.search.axes()) == 3


def test_a_range_in_params_takes_the_place_of_a_list() -> None:
    entry = {
        "dataset": "cifar10",
        "search": {"space": {"optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}}},
    }
    given = OmegaConf.create({"experiments": {"cifar10_grid": entry}})
    found = compose(CONF, experiment_overrides(given, "cifar10_grid")).search.axes()
    assert found["optimizer.learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert list(found) == ["model.hidden", "optimizer.learning_rate", "regularizer.strength"]


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ({"low": 2, "high": 1}, ".high=1.0: expected more than low=2"),
        ({"low": 1}, ".high: a value is needed and none is given"),
        ({"low": 0, "high": 1, "log": True}, ".low=0.0: expected a positive number, as log=true"),
        ({"low": 0, "high": 1, "log": "yes"}, ".log=yes: expected true or false"),
        ({"low": 0, "high": INFINITE}, ".high=inf: expected a finite number"),
        ({"low": 0, "high": 1, "step": 0}, ".step=0.0: expected a positive number, or null"),
        ({"low": 1, "high": 2, "step": 1, "log": True}, ".step=1.0: expected null, as log=true"),
        ({"low": 1, "high": 2, "step": 1, "count": 2}, ".count=2: expected null, as step is given"),
        ({"low": 1.5, "high": 2, "integer": True}, ".low=1.5: expected a whole number, as integer=true"),
        ({"low": 1, "high": 2, "count": 1}, ".count=1: expected 2 or more below 2**31, or null"),
        ({"low": 1, "high": 2, "counts": 3}, ".counts: no such key; did you mean " + RATE + ".count?"),
        ({"low": 0, "high": 1, "step": 1e-9}, ".high=1.0: expected fewer values, below a million"),
    ],
)
def test_a_range_that_cannot_be_meant_is_told_in_one_line(axis: dict[str, Any], said: str) -> None:
    assert (
        complaint(put(plain_config(), "search.space", {"optimizer": {"learning_rate": axis}})) == RATE + said
    )


def test_mappings_among_the_values_of_a_search_arrive() -> None:
    choices = [{"name": "adam", "learning_rate": 1e-3}, {"name": "sgd", "learning_rate": 0.1}]
    entry = {
        "dataset": "mnist",
        "split": "stratified",
        "search": {"name": "grid", "space": {"optimizer": choices}},
    }
    given = OmegaConf.create({"experiments": {"mnist_two_layer": entry}})
    found = compose(CONF, experiment_overrides(given, "mnist_two_layer"))
    assert found.search.axes() == {"optimizer": choices}
