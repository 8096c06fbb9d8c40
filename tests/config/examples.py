"""A configuration in which every key has a value, and what the tests of this folder do with it."""

import copy
import functools
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from pipeline.config.build import build, is_optional, is_union
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"

AMBIGUOUS = [
    *("on", "off", "yes", "no", "true", "null", "~", "1e-3", "1e3", "012", "12:30", "1_000", "0x1F", ".5"),
    *(
        "2024-01-01",
        "=",
        "<<",
        "- a",
        "a: b",
        "#x",
        "a #b",
        "'",
        '"',
        "é",
        "nan",
        ".inf",
        "-",
        "?",
        "",
        " a ",
    ),
]
"""Text that one or another YAML reader takes for something else, unless it is quoted."""


def plain_config() -> dict[str, Any]:
    """A configuration in which every key has a value, as YAML would give it."""
    return copy.deepcopy(_plain_config())


@functools.cache
def _plain_config() -> dict[str, Any]:
    file = {"name": "file.gz", "bytes": 10, "sha256": "0" * 64, "md5": "0" * 32}
    reading = {
        "members": {"images": "images.idx"},
        "columns": {"label": "class"},
        "label_column": 0,
        "header": True,
        "first_label": 0,
        "labels": {"7": "a"},
        "transpose": True,
        "invert": True,
        "white": 16,
    }
    source = {
        "title": "t",
        "classes": ["a", "b"],
        "train_count": 20,
        "test_count": 10,
        "packaged": None,
        "local": None,
        "reading": reading,
    }
    return {
        "name": "x",
        "source": "bundled",
        "seed": 1,
        "random": "generator",
        "dtype": "float32",
        "dataset": {
            "name": "d",
            "format": "idx",
            "image_shape": [2, 3, 1],
            "licence": "MIT",
            "citation": "c",
            "sources": {
                "bundled": {**source, "drawing": "digits", "files": {"images": dict(file)}},
                "official": {**source, "mirrors": ["https://a/"], "files": {"images": dict(file)}},
            },
        },
        "split": {
            "name": "stratified",
            "train_count": 10,
            "valid_count": 5,
            "test_count": 5,
            "test_fraction": None,
            "train_fraction": 0.5,
            "valid_fraction": 0.25,
        },
        "preprocess": {"name": "pca", "components": 3, "epsilon": 0.5},
        "augment": {
            "name": "digits",
            "rotation_degrees": 10.0,
            "scale": 0.1,
            "shear": 0.1,
            "shift_pixels": 1.0,
            "elastic_pixels": 1.0,
            "elastic_sigma_pixels": 4.0,
            "elastic_grid": 5,
            "flip_share": 0.5,
        },
        "model": {
            "hidden": [4],
            "activation": "relu",
            "batch_normalization": True,
            "dropout": 0.3,
            "input_dropout": 0.1,
        },
        "initializer": {"name": "normal", "scale": 0.01},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "regularizer": {"name": "l2", "strength": 0.5},
        "optimizer": {
            "name": "adam",
            "learning_rate": 1e-3,
            "momentum": 0.9,
            "decay": 0.9,
            "beta1": 0.9,
            "beta2": 0.99,
            "epsilon": 1e-8,
            "weight_decay": 0.01,
        },
        "schedule": {"name": "step", "decay": 0.5, "every_epochs": 2, "warm_up": 0.1},
        "training": {
            "batch_size": 5,
            "steps": 7,
            "epochs": None,
            "sampling": "shuffle",
            "gradient": "backpropagation",
            "step_loss": "before",
            "early_stopping": {"monitor": "valid_loss", "patience": 2, "min_delta": 0.0},
        },
        "search": {
            "name": "optuna",
            "seed": 0,
            "space": {"model": {"hidden": [[1], [2]]}},
            "trials": 9,
            "factor": 3,
            "minimum_epochs": 1,
            "sampler": "tpe",
            "batch": 3,
        },
        "runtime": {"name": "portable"},
        "published": {
            "text": "so",
            "train_accuracy": 0.9,
            "valid_accuracy": 0.9,
            "test_accuracy": 0.9,
            "first_step_loss": 2.3,
            "last_step_loss": 0.1,
        },
    }


def put(plain: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    *folders, last = key.split(".")
    place = plain
    for folder in folders:
        place = place[folder]
    place[last] = value
    return plain


def remove(plain: dict[str, Any], key: str) -> dict[str, Any]:
    *folders, last = key.split(".")
    place = plain
    for folder in folders:
        place = place[folder]
    del place[last]
    return plain


def complaint(plain: object) -> str:
    """The one line that is said about a configuration that is not right."""
    with pytest.raises(ConfigError) as caught:
        # What `check` does once references are resolved, which takes most of its time.
        build(Config, plain, "")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def schema_keys(schema: Any, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:  # noqa: ANN401  (any dataclass)
    """Every key of the schema: dotted, its type, and whether it has to be given."""
    hints = get_type_hints(schema)  # without what is allowed of a type
    for item in fields(schema):
        hint = hints[item.name]
        needed = item.default is MISSING and item.default_factory is MISSING
        key = f"{prefix}{item.name}"
        yield key, hint, needed
        inner = get_args(hint)[0] if is_optional(hint) else hint
        several = get_args(inner)[1] if get_origin(inner) is dict else None
        one = get_args(several)[0] if is_union(several) else several
        if is_dataclass(inner):
            yield from schema_keys(inner, f"{key}.")
        elif is_dataclass(one):
            name = {"sources": "bundled", "files": "images"}[item.name]
            yield from schema_keys(one, f"{key}.{name}.")


KEYS = list(schema_keys(Config))

NAN, INFINITE = float("nan"), float("inf")

POSITIVE = "a positive number below 2**31"

RATE = "search.space.optimizer.learning_rate"
