"""The schema: ranges of values, and what does not go together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from pipeline.config.build import build, with_values
from pipeline.config.compose import check
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError
from tests.config.examples import INFINITE, KEYS, NAN, POSITIVE, complaint, plain_config, put, remove


def test_the_example_has_every_key_of_the_schema() -> None:
    found = check(OmegaConf.create(plain_config()))
    for key, _, _ in KEYS:
        value: Any = found
        for part in key.split("."):
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        assert value is not None or key in {
            "training.epochs",  # instead of steps
            "dataset.sources.bundled.drawing",  # instead of mirrors
            "dataset.sources.bundled.packaged",
            "dataset.sources.bundled.local",
            "split.test_fraction",  # the data set has a test set
        }, key


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        (
            "name",
            ["", "a/b", "../x", ".x", "-x", "a b", "é", "v1.2", "x; touch y", "$x", "-h"],
            "letters, digits, dashes and underscores, a letter or digit first",
        ),
        ("source", ["", "Official", "mnist"], "one of bundled, official, local"),
        ("seed", [-1, 2**32, 10**30], "0 <= seed < 2**32"),
        (
            "dataset.image_shape",
            [[], [28, 28], [1, 1, 1, 1], [0, 1, 1], [28, 28, -1], [28, 28, 2], [28, 28, 4]],
            "height, width, channels, which are 1 (grey) or 3 (colour)",
        ),
        (
            "dataset.name",
            ["", "a.b", "a;b"],
            "letters, digits, dashes and underscores, a letter or digit first",
        ),
        ("dataset.sources", [], "only bundled, official"),
        ("dataset.sources.bundled.classes", [[], ["a"], [str(i) for i in range(257)]], "2 to 256 names"),
        ("dataset.sources.bundled.classes", [["a", "a"], ["a", "b", "a"]], "distinct names"),
        ("dataset.sources.bundled.train_count", [0, -1, 2**31], f"{POSITIVE}, or null for all"),
        ("dataset.sources.bundled.test_count", [-1, 2**31], "0 or more below 2**31"),
        ("dataset.sources.bundled.reading.white", [0, 2**16], "1 to 65535"),
        ("dataset.sources.bundled.reading.first_label", [1], "0 beside labels"),
        ("dataset.sources.bundled.reading.labels", [{}], "at least one label, or null"),
        ("dataset.sources.bundled.reading.labels", [{"7": "z"}], "names that are among classes"),
        (
            "dataset.sources.bundled.files",
            [{"train": [{"name": "A.png", "md5": "0" * 32}, {"name": "a.png", "md5": "0" * 32}]}],
            "names that differ in more than case",
        ),
        ("dataset.sources.bundled.files.images.md5", ["0" * 31, "0" * 64], "32 lower-case hex digits"),
        ("dataset.sources.bundled.files", [{}], "at least one file"),
        (
            "dataset.sources.bundled.mirrors",
            [["https://a/"]],
            "exactly one of mirrors, drawing, packaged, local",
        ),
        ("dataset.sources.official.mirrors", [[]], "exactly one of mirrors, drawing, packaged, local"),
        (
            "dataset.sources.official.files.images.name",
            ["", ".", "..", "a/b", "../a", "/a", "a\\b"],
            "a file name without a folder",
        ),
        ("dataset.sources.official.files.images.bytes", [0, -1], "a positive number"),
        (
            "dataset.sources.official.files.images.sha256",
            ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64],
            "64 lower-case hex digits",
        ),
        ("split.train_count", [0, -1, 2**31], f"{POSITIVE}, or null for all"),
        ("split.test_count", [0, -1, 2**31], f"{POSITIVE}, or null for all"),
        ("split.valid_count", [-1, 2**31], "0 or more below 2**31"),
        ("split.train_fraction", [0.0, -0.1, 1.1, NAN, INFINITE], "0 < fraction <= 1"),
        ("split.valid_fraction", [1.0, -0.1, NAN, INFINITE], "0 <= fraction < 1"),
        ("model.hidden", [[0], [3, -1]], "positive numbers"),
        ("model.hidden", [[10**6, 10**6], [2**31], [10**30]], "fewer than 2**31 parameters"),
        ("initializer.scale", [-1.0, NAN, INFINITE], "0 or more"),
        ("regularizer.strength", [-1.0, NAN, INFINITE], "0 or more"),
        ("optimizer.learning_rate", [0.0, -1e-3, NAN, INFINITE], "a positive number"),
        ("optimizer.momentum", [1.0, -0.1, NAN], "0 <= number < 1"),
        ("optimizer.decay", [1.0, -0.1, NAN], "0 <= number < 1"),
        ("optimizer.beta1", [1.0, -0.1, NAN], "0 <= number < 1"),
        ("optimizer.beta2", [1.0, -0.1, NAN], "0 <= number < 1"),
        ("optimizer.epsilon", [0.0, -1.0, NAN, INFINITE], "a positive number"),
        ("schedule.decay", [0.0, 1.1, NAN], "0 < number <= 1"),
        ("schedule.every_epochs", [0, -1, 2**31], POSITIVE),
        ("training.batch_size", [0, -1, 2**31], POSITIVE),
        ("training.steps", [0, -1, 2**31], f"{POSITIVE}, or null"),
        ("training.epochs", [0, -1, 2**31], f"{POSITIVE}, or null"),
        ("training.step_loss", ["", "during"], "before or after"),
        ("training.early_stopping.monitor", ["", "test_accuracy"], "valid_accuracy, valid_loss or null"),
        ("training.early_stopping.patience", [0, -1], POSITIVE),
        ("training.early_stopping.min_delta", [-1.0, NAN, INFINITE], "0 or more"),
        ("search.seed", [-1, 2**31], "0 or more below 2**31"),
        (
            "search.space.model.hidden",
            [3, [], "x", None],
            "a list of values, or a range such as {low: 1e-4, high: 1e-1, log: true}",
        ),
        ("search.trials", [0, -1, 2**31], POSITIVE),
        ("search.factor", [0, 1], "2 or more below 2**31"),
        ("search.minimum_epochs", [0, -1], POSITIVE),
        ("search.batch", [0, -1], POSITIVE),
        ("published.train_accuracy", [-0.1, 1.1, 97.6, NAN], "0 <= accuracy <= 1"),
        ("published.valid_accuracy", [-0.1, 1.1, 97.6, NAN], "0 <= accuracy <= 1"),
        ("published.test_accuracy", [-0.1, 1.1, 97.6, NAN], "0 <= accuracy <= 1"),
        ("published.first_step_loss", [NAN, INFINITE], "a finite number"),
        ("published.last_step_loss", [NAN, INFINITE], "a finite number"),
    ],
)
def test_a_value_out_of_range_is_told_in_one_line(key: str, values: Sequence[object], expected: str) -> None:
    for value in values:
        said = complaint(put(plain_config(), key, value))
        assert said.startswith(f"{key}="), said
        assert said.endswith(f": expected {expected}"), said


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"training.epochs": 3},
            "training.steps=7 with epochs=3: give exactly one of the two (the other null)",
        ),
        (
            {"training.steps": None},
            "training.steps=null with epochs=null: give exactly one of the two (the other null)",
        ),
        (
            {"split.valid_count": 0, "split.valid_fraction": 0.0},
            "training.early_stopping.monitor=valid_loss: the split has no valid part to watch",
        ),
        (
            {
                "split.valid_count": 0,
                "split.valid_fraction": 0.0,
                "training.early_stopping.monitor": None,
            },
            "search.name=optuna: the split has no valid part to choose by",
        ),
        (
            {"training.gradient": "numerical"},
            (
                "training.gradient=numerical: needs dtype=float64, not float32"
                " (a float32 difference is mostly rounding)"
            ),
        ),
    ],
)
def test_values_that_do_not_go_together(changes: Mapping[str, object], expected: str) -> None:
    plain = plain_config()
    for key, value in changes.items():
        put(plain, key, value)
    assert complaint(plain) == expected


def test_a_source_that_the_data_set_does_not_have() -> None:
    plain = remove(plain_config(), "dataset.sources.bundled")
    assert complaint(plain) == (
        "source=bundled: d has no such source, only official; no stand-in is drawn for it"
    )
    plain = put(remove(plain_config(), "dataset.sources.official"), "source", "official")
    assert complaint(plain) == "source=official: d has no such source, only bundled"


def test_what_a_configuration_says_of_itself() -> None:
    config = check(OmegaConf.create(plain_config()))
    # Three components of six numbers.
    assert config.sizes == (3, 4, 2)
    assert with_values(config, {"preprocess": {"name": "unit"}}).sizes == (6, 4, 2)
    with pytest.raises(
        ConfigError, match=r"preprocess\.components=7: expected at most 6, as many as an image"
    ):
        with_values(config, {"preprocess.components": 7})
    assert (config.title, config.classes) == ("t", ["a", "b"])
    assert config.optimizer.hyperparameters() == {
        "momentum": 0.9,
        "decay": 0.9,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
    }
    assert config.schedule.hyperparameters() == {"decay": 0.5, "every_epochs": 2.0, "warm_up": 0.1}


ARRAY_NUMBERS = ["initializer.scale", "regularizer.strength", "optimizer.learning_rate", "optimizer.epsilon"]


@pytest.mark.parametrize("key", ARRAY_NUMBERS)
@pytest.mark.parametrize("value", [1e-50, 1e-40, 3.5e38, 1e300])
def test_what_the_arrays_cannot_hold_is_told(key: str, value: float) -> None:
    said = complaint(put(plain_config(), key, value))
    assert said == f"{key}={value}: expected 1.2e-38 to 3.4e+38, which dtype=float32 can hold"
    build(Config, put(put(plain_config(), key, value), "dtype", "float64"))


@pytest.mark.parametrize("key", ARRAY_NUMBERS)
@pytest.mark.parametrize("value", [np.finfo(np.float32).tiny, np.finfo(np.float32).max])
def test_the_ends_of_what_they_can_hold_are_taken(key: str, value: np.float32) -> None:
    build(Config, put(plain_config(), key, float(value)))


@pytest.mark.parametrize("key", ["initializer.scale", "regularizer.strength"])
def test_zero_is_no_small_number(key: str) -> None:
    build(Config, put(plain_config(), key, 0.0))
