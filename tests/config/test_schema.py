"""The schema: what a configuration may say, what is said of one that may not, and the ways in and out."""

import copy
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config import compose as compose_module
from pipeline.config.build import build, with_values
from pipeline.config.compose import check, compose, experiment_overrides, read_config, read_dataset, to_yaml
from pipeline.config.schema import Config
from pipeline.config.space import Range
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
    file = {"name": "file.gz", "bytes": 10, "sha256": "0" * 64}
    source = {"title": "t", "classes": ["a", "b"], "train_count": 20, "test_count": 10}
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
            "train_fraction": 0.5,
            "valid_fraction": 0.25,
        },
        "preprocess": {"name": "unit"},
        "model": {"hidden": [4], "activation": "relu"},
        "initializer": {"name": "normal", "scale": 0.01},
        "loss": {"name": "cross_entropy"},
        "regularizer": {"name": "l2", "strength": 0.5},
        "optimizer": {
            "name": "adam",
            "learning_rate": 1e-3,
            "momentum": 0.9,
            "decay": 0.9,
            "beta1": 0.9,
            "beta2": 0.99,
            "epsilon": 1e-8,
        },
        "schedule": {"name": "step", "decay": 0.5, "every_epochs": 2},
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
    hints = get_type_hints(schema)
    for item in fields(schema):
        hint = hints[item.name]
        needed = item.default is MISSING and item.default_factory is MISSING
        key = f"{prefix}{item.name}"
        yield key, hint, needed
        inner = get_args(hint)[0] if get_origin(hint) is UnionType else hint
        if is_dataclass(inner):
            yield from schema_keys(inner, f"{key}.")
        elif get_origin(inner) is dict and is_dataclass(get_args(inner)[1]):
            name = {"sources": "bundled", "files": "images"}[item.name]
            yield from schema_keys(get_args(inner)[1], f"{key}.{name}.")


KEYS = list(schema_keys(Config))
WRONG = {
    int: ([1.5, "x", "1", True, [1], {"a": 1}], "a whole number"),
    float: (["x", "0.5", True, [0.5], {"a": 1}, 10**400], "a number"),
    str: ([1, 1.5, True, ["x"], {"a": 1}, "two\nlines"], "text"),
    list: ([1, 1.5, True, "x", {"a": 1}], "a list"),
    dict: ([1, 1.5, True, "x", ["x"]], "a mapping"),
}


def test_the_example_has_every_key_of_the_schema() -> None:
    found = check(OmegaConf.create(plain_config()))
    for key, _, _ in KEYS:
        value: Any = found
        for part in key.split("."):
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        assert value is not None or key in {
            "training.epochs",  # instead of steps
            "dataset.sources.bundled.drawing",  # instead of mirrors
        }, key


@pytest.mark.parametrize(
    ("key", "hint"), [(key, hint) for key, hint, _ in KEYS], ids=[key[0] for key in KEYS]
)
def test_a_value_of_the_wrong_type_is_told_in_one_line(key: str, hint: Any) -> None:  # noqa: ANN401  (a type)
    optional = get_origin(hint) is UnionType
    kind = get_args(hint)[0] if optional else hint
    kind = dict if is_dataclass(kind) else (get_origin(kind) or kind)
    values, expected = WRONG[kind]
    for value in [*values, *([] if optional else [None])]:
        said = complaint(put(plain_config(), key, value))
        assert said.startswith(f"{key}="), said
        assert f": expected {expected}" in said


@pytest.mark.parametrize("key", [key for key, _, needed in KEYS if needed])
def test_a_value_that_is_missing_is_named(key: str) -> None:
    assert complaint(remove(plain_config(), key)) == f"{key}: a value is needed and none is given"


@pytest.mark.parametrize("key", [key for key, _, needed in KEYS if not needed])
def test_what_may_be_left_out_has_a_default(key: str) -> None:
    plain = plain_config()
    if key != "dataset.sources.bundled.mirrors":  # it has a drawing instead
        remove(plain, key)
    if key == "training.steps":
        plain["training"]["epochs"] = 1
    if key == "dataset.sources.bundled.drawing":
        plain["dataset"]["sources"]["bundled"]["mirrors"] = ["https://a/"]
    check(OmegaConf.create(plain))


@pytest.mark.parametrize("value", ["???", "${nowhere}", "${oc.env:NO_SUCH_VARIABLE}"])
def test_a_value_to_be_filled_in_is_named(value: str) -> None:
    given = yaml.safe_dump(put(plain_config(), "optimizer.learning_rate", value))
    with pytest.raises(ConfigError) as caught:
        check(OmegaConf.create(given))
    assert str(caught.value).startswith("optimizer.learning_rate")
    assert "\n" not in str(caught.value)


MAPPINGS = [
    "",
    *(key for key, hint, _ in KEYS if is_dataclass(hint)),
    "published",
    "dataset.sources.bundled",
    "dataset.sources.official.files.images",
]


@pytest.mark.parametrize("place", MAPPINGS)
def test_an_unknown_key_is_named(place: str) -> None:
    key = f"{place}.nonsense".removeprefix(".")
    said = complaint(put(plain_config(), key, 1))
    assert said.startswith(f"{key}: no such key; known: ")


@pytest.mark.parametrize("given", [[], [1], ["a"]])
def test_what_is_no_mapping_is_no_configuration(given: object) -> None:
    assert "expected a mapping" in complaint(given)


NAN, INFINITE = float("nan"), float("inf")
POSITIVE = "a positive number below 2**31"


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        (
            "name",
            ["", "a/b", "../x", ".x", "-x", "a b", "é", "v1.2", "x; touch y", "$x", "-h"],
            "letters, digits, dashes and underscores, a letter or digit first",
        ),
        ("source", ["", "Official", "mnist"], "one of bundled, official"),
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
        ("dataset.sources.bundled.train_count", [0, -1, 2**31], POSITIVE),
        ("dataset.sources.bundled.test_count", [0, -1, 2**31], POSITIVE),
        ("dataset.sources.bundled.files", [{}], "at least one file"),
        ("dataset.sources.bundled.mirrors", [["https://a/"]], "mirrors or a drawing, not both"),
        ("dataset.sources.official.mirrors", [[]], "mirrors or a drawing, not both"),
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


def test_a_long_value_is_cut_short() -> None:
    said = complaint(put(plain_config(), "name", "x" * 10_000 + "!"))
    assert len(said) < 300


def test_a_message_in_full() -> None:
    assert (
        complaint(put(plain_config(), "optimizer.learning_rate", -1.0))
        == "optimizer.learning_rate=-1.0: expected a positive number"
    )
    assert (
        complaint(put(plain_config(), "model.hidden", [50, 1.5]))
        == "model.hidden[1]=1.5: expected a whole number"
    )
    assert complaint(put(plain_config(), "seed", None)) == "seed=null: expected a whole number"


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


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**32, 2**63, 10**400])
    | st.floats()
    | st.sampled_from([1e-3, 0.0, -0.0, 1e300, 5e-324])
    | st.text(max_size=8)
    | st.sampled_from([*AMBIGUOUS, "${seed}", "${nowhere}", "???", "${", "\\${x}", "bundled", "float64"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["name", "hidden", "seed"]) | st.integers(),
            inner,
            max_size=2,
        )
    ),
    max_leaves=5,
)


@settings(max_examples=120)
@given(key=st.sampled_from([key for key, _, _ in KEYS]), value=JUNK)
def test_junk_anywhere_is_refused_in_one_line_or_survives_the_way_to_disk_and_back(
    key: str, value: object
) -> None:
    written = yaml.safe_dump(put(plain_config(), key, value), allow_unicode=True)
    try:
        config = compose_module.check(OmegaConf.create(written))
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017  (raising is one of two good ends)
        return
    except (yaml.YAMLError, OmegaConfBaseException):
        assume(False)  # noqa: FBT003  (OmegaConf refuses to load it: `read_config` is tested with that below)
    again = compose_module.check(OmegaConf.create(to_yaml(config)))
    # As text, for a search space may hold NaN, which equals nothing.
    assert repr(again) == repr(config)


@settings(max_examples=30)
@given(text=st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(AMBIGUOUS))
def test_text_survives_the_way_to_disk_and_back_by_our_reader_and_by_dvcs(text: str) -> None:
    assume(text.isprintable() and "${" not in text and text != "another")
    # DVC reads YAML 1.2, in which this is an octal number; it is written unquoted.
    assume(not re.fullmatch(r"0o[0-7]+", text))
    plain = put(plain_config(), "dataset.sources.bundled.classes", [text, "another"])
    config = check(OmegaConf.create(plain))
    assert config.classes == [text, "another"]
    written = to_yaml(config)
    assert check(OmegaConf.create(written)) == config
    assert parse_yaml(written, "config.yaml")["dataset"]["sources"]["bundled"]["classes"] == [text, "another"]


def test_names_that_yaml_readers_disagree_about(tmp_path: Path) -> None:
    plain = put(plain_config(), "dataset.sources.bundled.classes", AMBIGUOUS)
    for key, value in {
        "name": "1e-3",
        "dataset.name": "012",
        "random": "on",
        "published.text": "12:30",
    }.items():
        put(plain, key, value)
    plain["optimizer"].update(learning_rate=1e-3, epsilon=1e-16)
    config = check(OmegaConf.create(plain))
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read_config(path) == config
    by_dvc = parse_yaml(path.read_text(encoding="utf-8"), "config.yaml")
    assert by_dvc["name"] == "1e-3"
    assert by_dvc["dataset"]["name"] == "012"
    assert by_dvc["random"] == "on"
    assert by_dvc["published"]["text"] == "12:30"
    assert by_dvc["dataset"]["sources"]["bundled"]["classes"] == AMBIGUOUS
    assert (by_dvc["optimizer"]["learning_rate"], by_dvc["optimizer"]["epsilon"]) == (1e-3, 1e-16)


def test_values_that_are_not_set_are_not_written() -> None:
    config = check(OmegaConf.create(remove(plain_config(), "published")))
    assert "null" not in to_yaml(config)
    assert "epochs" not in to_yaml(config).replace("every_epochs", "").replace("minimum_epochs", "")


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


RATE = "search.space.optimizer.learning_rate"


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
    # And from params.yaml, where one key may take the place of the other kind.
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


def test_what_a_configuration_says_of_itself() -> None:
    config = check(OmegaConf.create(plain_config()))
    assert config.sizes == (6, 4, 2)
    assert (config.title, config.classes) == ("t", ["a", "b"])
    assert config.optimizer.hyperparameters() == {
        "momentum": 0.9,
        "decay": 0.9,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-8,
    }
    assert config.schedule.hyperparameters() == {"decay": 0.5, "every_epochs": 2.0}


def test_a_whole_number_will_do_for_a_number() -> None:
    config = check(OmegaConf.create(put(plain_config(), "optimizer.learning_rate", 1)))
    assert isinstance(config.optimizer.learning_rate, float)


def test_replace_checks_again() -> None:
    config = check(OmegaConf.create(plain_config()))
    changed = with_values(config, {"model.hidden": [7, 8], "optimizer.learning_rate": 1})
    assert (changed.model.hidden, changed.optimizer.learning_rate) == ([7, 8], 1.0)
    assert config.model.hidden == [4]
    for values, said in (
        ({"model.hiden": [1]}, "model.hiden: no such key in the configuration"),
        ({"modle.hidden": [1]}, "modle.hidden: no such key in the configuration"),
        ({"model.hidden.x": 1}, "model.hidden.x: no such key in the configuration"),
        ({"model.hidden": 3}, "model.hidden=3: expected a list"),
        ({"model.hidden": [0]}, "model.hidden=[0]: expected positive numbers"),
    ):
        with pytest.raises(ConfigError) as caught:
            with_values(config, values)
        assert str(caught.value) == said


# Composing with Hydra


def test_composing_gives_the_defaults_and_the_overrides() -> None:
    config = compose(CONF, ["experiment=mnist_two_layer", "optimizer=adam", "optimizer.learning_rate=2e-3"])
    assert (config.name, config.source, config.seed) == ("mnist_two_layer", "bundled", 0)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 2e-3)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["optimizer.learning_rte=1"],
            "optimizer.learning_rte: no such key; did you mean optimizer.learning_rate?",
        ),
        (
            ["optimzer.learning_rate=1"],
            "optimzer.learning_rate: no such key; did you mean optimizer.learning_rate?",
        ),
        (["learning_rate=1"], "learning_rate: no such key; did you mean optimizer.learning_rate?"),
        (["dtyp=float64"], "dtyp: no such key; did you mean dtype?"),
        (["+dtyp=float64"], "dtyp: no such key; did you mean dtype?"),
        (["model.hiden=[1]"], "model.hiden: no such key; did you mean model.hidden?"),
        (
            ["dataset.sources.bundled.titel=x"],
            "dataset.sources.bundled.titel: no such key; did you mean dataset.sources.bundled.title?",
        ),
        (["model.zzz=1"], "model.zzz: no such key; known: hidden, activation"),
        (["optimizer.momentum=0.9"], "optimizer.momentum: the choice made for optimizer has no such key"),
        (
            ["loss=cross"],
            "loss=cross: no such choice; one of cross_entropy, half_squared_error, squared_error",
        ),
        (["seed=1,2"], "seed=1,2: several values: add -m for a run with each, or quote them"),
        (["seed=range(1,3)"], "seed=range(1,3): several values: add -m for a run with each, or quote them"),
        (["seed=???"], "seed: a value is needed and none is given"),
        (["~optimizer"], "optimizer: a value is needed and none is given"),
        (["~foo"], "Could not delete from config. 'foo' does not exist."),
    ],
)
def test_what_is_said_about_a_wrong_override(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(CONF, overrides)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "override",
    [
        "",
        "x",
        "=3",
        "@x=3",
        "a=[1",
        "a={",
        "seed='1",
        "optimizer=3",
        "optimizer=null",
        "++optimizer=adam",
    ],
)
def test_an_override_that_cannot_be_read_is_shown(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(CONF, [override])
    assert override in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "expected ',' or ']'"),
        ("a: 1\na: 2\n", "found duplicate key a"),
        ("name: x\n", "a file in conf/experiment begins with # @package _global_"),
        ("- 1\n", "a file in conf/experiment begins with # @package _global_"),
        ("# @package _global_\ndefaults:\n  - override /loss: nope\n", "loss=nope: no such choice; one of "),
        ("# @package _global_\ndefaults:\n  - override /nope: nope\n", "Could not override 'nope'"),
        ("# @package _global_\ndefaults: 3\n", "defaults must be a list"),
        ("# @package _global_\nseed: !!python/name:os.system\n", "could not determine a constructor"),
        ("\tx", "cannot start any token"),
    ],
)
def test_what_is_said_about_a_wrong_file_in_conf(tmp_path: Path, text: str, said: str) -> None:
    conf = tmp_path / "conf"
    for path in [CONF / "config.yaml", *CONF.glob("*/*.yaml")]:
        copy_of = conf / path.relative_to(CONF)
        copy_of.parent.mkdir(parents=True, exist_ok=True)
        copy_of.write_bytes(path.read_bytes())
    (conf / "experiment" / "wrong.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose(conf, ["experiment=wrong"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_conf_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config directory not found"):
        compose(tmp_path / "nope")


# Files


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=re.escape(f"{path}: no such file")):
        read_config(path)
    for data in (b"a: [", b"\xff\xfe", b"a: 1\na: 2", b"\x00", b"- 1", b"a", b"3", b"name: ${"):
        path.write_bytes(data)
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value) or data == b"a"
    path.write_text("")
    with pytest.raises(ConfigError, match="a value is needed and none is given"):
        read_config(path)


def test_a_data_set_with_overrides() -> None:
    dataset = read_dataset(
        CONF, "mnist", ["sources.official.files.test_labels.bytes=7", "sources.official.mirrors=[https://a/]"]
    )
    assert dataset.source("official").files["test_labels"].bytes == 7
    assert dataset.source("official").mirrors == ["https://a/"]
    assert dataset.source("bundled") == read_dataset(CONF, "mnist").source("bundled")
    assert dataset.features == 784


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("nope", "a=1", "dataset=nope: unknown; one of cifar10, "),
        ("mnist", "x", "x: expected KEY=VALUE, such as sources.official.files.archive.bytes=1"),
        ("mnist", "formt=idx", "formt: no such key; did you mean format?"),
        ("mnist", "sources=1", "sources=1: expected a mapping"),
        ("mnist", "sources.bundled.train_count=x", "sources.bundled.train_count=x: expected a whole number"),
        ("mnist", "sources.bundled.train_count=0", f"sources.bundled.train_count=0: expected {POSITIVE}"),
        ("mnist", "sources.official.files.new.bytes=1", "sources.official.files.new.name: a value is needed"),
        (
            "mnist",
            "sources.official.mirrors=[1",
            "sources.official.mirrors=[1: while parsing a flow sequence",
        ),
        ("mnist", "image_shape.0=3", "image_shape.0=3: Cannot merge DictConfig with ListConfig"),
        ("mnist", "name=${nowhere}", "name: Interpolation key 'nowhere' not found"),
    ],
)
def test_what_is_said_about_a_wrong_data_set(name: str, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_dataset(CONF, name, [override])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_data_set_refers_to_nothing_that_dvc_would_not_see(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    text = (CONF / "dataset" / "mnist.yaml").read_text()
    path = tmp_path / "dataset" / "mnist.yaml"
    path.write_text(text.replace("title: MNIST", "title: ${citation}"))
    with pytest.raises(ConfigError, match=r"mnist\.yaml: found \$\{…\}, expected plain values"):
        read_dataset(tmp_path, "mnist")


# params.yaml


def params(text: str) -> Any:  # noqa: ANN401  (what read_params gives)
    return OmegaConf.create(text)


def test_an_entry_becomes_overrides_in_its_order() -> None:
    found = experiment_overrides(
        params(
            "source: official\n"
            "experiments: {x: {dataset: mnist, optimizer: adam, seed: 7, model: {hidden: [[1, 2], []]},"
            ' training: {steps: null, early_stopping: {patience: 3}}, a: true, b: "it\'s, \\"so\\""}}'
        ),
        "x",
    )
    assert found == [
        "experiment='x'",
        "source='official'",
        "dataset='mnist'",
        "optimizer='adam'",
        "seed=7",
        "++model.hidden=[[1,2],[]]",
        "++training.steps=null",
        "++training.early_stopping.patience=3",
        "a=true",
        "b='it\\'s, \"so\"'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "x: params.yaml lists no such experiment, only none"),
        ("experiments:", "x: params.yaml lists no such experiment, only none"),
        (
            "experiments: {a: {dataset: m}, 12: {dataset: m}}",
            "x: params.yaml lists no such experiment, only a, 12",
        ),
        ("experiments: [x]", "params.yaml: experiments=['x']: expected a mapping"),
        ("experiments: x", "params.yaml: experiments=x: expected a mapping"),
        ("experiments: {x: }", "params.yaml: experiments.x has to be a mapping with the key dataset"),
        ("experiments: {x: mnist}", "params.yaml: experiments.x has to be a mapping with the key dataset"),
        (
            "experiments: {x: {seed: 1}}",
            "params.yaml: experiments.x has to be a mapping with the key dataset",
        ),
    ],
)
def test_what_is_said_about_wrong_params(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment_overrides(params(text), "x")
    assert str(caught.value) == said


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([1e-3, 1e-5, 1e22, -1e-7])
    | st.text(st.characters(codec="utf-8"), max_size=10)
    | st.sampled_from(
        [*AMBIGUOUS, "it's", "a\\", "\\'", "a\\'b", "\\\\", '"', "a,b", "[1]", "{a: 1}", "a=b", "\n"]
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(value=VALUES)
def test_any_value_survives_hydras_grammar(value: object) -> None:
    # A reference would be resolved; OmegaConf itself refuses a broken one.
    assume("$" not in repr(value))
    entry = {"experiments": {"x": {"dataset": "mnist", "key": value}}}
    override = experiment_overrides(OmegaConf.create(entry), "x")[-1]
    found = OverridesParser.create().parse_override(override).value()
    assert repr(found) == repr(value)


@pytest.mark.parametrize("text", ['it\'s, "so": 100 % été', "a\\b\\", "null", "1e-3"])
def test_text_in_params_arrives_in_the_configuration(text: str) -> None:
    entry = {"dataset": "mnist", "published": {"text": text}, "optimizer": {"learning_rate": 1e-3}}
    found = compose(
        CONF,
        experiment_overrides(
            OmegaConf.create({"experiments": {"mnist_two_layer": entry}}), "mnist_two_layer"
        ),
    )
    assert found.published is not None
    assert found.published.text == text
    assert found.optimizer.learning_rate == 1e-3


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


def test_params_have_the_last_word() -> None:
    entry = {
        "dataset": "cifar10",
        "split": "stratified",
        "optimizer": "adam",
        "model": {"hidden": []},
        "search": {"name": "grid", "space": {"seed": [1, 2]}},
    }
    given = {"source": "official", "experiments": {"mnist_two_layer": entry}}
    alone = compose(CONF, ["experiment=mnist_two_layer"])
    found = compose(CONF, experiment_overrides(OmegaConf.create(given), "mnist_two_layer"))
    assert (alone.dataset.name, found.dataset.name) == ("mnist", "cifar10")
    assert found.source == "official"
    assert (found.split.name, found.optimizer.name, found.model.hidden) == ("stratified", "adam", [])
    assert found.search.axes() == {"seed": [1, 2]}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"optimizer": {"learning_rte": 1}},
            "optimizer.learning_rte: no such key; did you mean optimizer.learning_rate?",
        ),
        ({"sed": 1}, "sed: no such key; did you mean seed?"),
        ({"optimizer": "adamx"}, "optimizer=adamx: no such choice; one of adagrad, adam, "),
        ({"seed": "x"}, "seed=x: expected a whole number"),
        ({"model": {"hidden": "x"}}, "model.hidden=x: expected a list"),
    ],
)
def test_what_is_said_about_a_wrong_entry(entry: Mapping[str, object], said: str) -> None:
    given = {"experiments": {"mnist_two_layer": {"dataset": "mnist", **entry}}}
    with pytest.raises(ConfigError) as caught:
        compose(CONF, experiment_overrides(OmegaConf.create(given), "mnist_two_layer"))
    assert str(caught.value).startswith(said)
