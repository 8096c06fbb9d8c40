"""The generic builder: types, missing and unknown keys, changes; each message has the full key."""

from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

import pytest
import yaml
from omegaconf import OmegaConf

from pipeline.config.build import is_optional, with_values
from pipeline.config.compose import check
from pipeline.core.errors import ConfigError
from tests.config.examples import KEYS, POSITIVE, complaint, plain_config, put, remove

WRONG = {
    int: ([1.5, "x", "1", True, [1], {"a": 1}], "a whole number"),
    float: (["x", "0.5", True, [0.5], {"a": 1}, 10**400], "a number"),
    bool: ([0, 1, 1.5, "x", "true", [True], {"a": True}], "true or false"),
    str: ([1, 1.5, True, ["x"], {"a": 1}, "two\nlines"], "text"),
    list: ([1, 1.5, True, "x", {"a": 1}], "a list"),
    dict: ([1, 1.5, True, "x", ["x"]], "a mapping"),
}


@pytest.mark.parametrize(
    ("key", "hint"), [(key, hint) for key, hint, _ in KEYS], ids=[key[0] for key in KEYS]
)
def test_a_value_of_the_wrong_type_is_told_in_one_line(key: str, hint: Any) -> None:  # noqa: ANN401  (a type)
    optional = is_optional(hint)
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


def test_a_whole_number_will_do_for_a_number() -> None:
    config = check(OmegaConf.create(put(plain_config(), "optimizer.learning_rate", 1)))
    assert isinstance(config.optimizer.learning_rate, float)


def test_replace_checks_again() -> None:
    config = check(OmegaConf.create(remove(plain_config(), "dataset.sources.bundled.reading.labels")))
    changed = with_values(config, {"model.hidden": [7, 8], "optimizer.learning_rate": 1})
    assert (changed.model.hidden, changed.optimizer.learning_rate) == ([7, 8], 1.0)
    assert config.model.hidden == [4]
    assert changed.dataset is config.dataset
    below = with_values(
        config, {"dataset.sources.bundled.classes": ["x", "y"], "search.space.model.hidden": [[3]]}
    )
    assert (below.classes, below.search.axes()) == (["x", "y"], {"model.hidden": [[3]]})
    assert config.classes == ["a", "b"]
    for values, said in (
        ({"model.hiden": [1]}, "model.hiden: no such key in the configuration"),
        ({"modle.hidden": [1]}, "modle.hidden: no such key in the configuration"),
        ({"model.hidden.x": 1}, "model.hidden.x: no such key in the configuration"),
        ({"model.hidden": 3}, "model.hidden=3: expected a list"),
        ({"model.hidden": [0]}, "model.hidden=[0]: expected positive numbers"),
        ({"model": {"hiden": [1]}}, "model.hiden: no such key; did you mean model.hidden?"),
        ({"search.space.model.x": [1]}, "search.space.model.x: no such key in the configuration"),
        (
            {"dataset.sources.bundled.train_count": 0},
            f"dataset.sources.bundled.train_count=0: expected {POSITIVE}, or null for all",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            with_values(config, values)
        assert str(caught.value) == said
