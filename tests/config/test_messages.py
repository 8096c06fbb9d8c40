"""What is said about mistakes in overrides, in conf/ and in params.yaml: one line, in our own words."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.compose import compose, experiment_overrides
from pipeline.core.errors import ConfigError
from tests.config.examples import CONF


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
        (
            ["model.zzz=1"],
            "model.zzz: no such key; known: hidden, activation, batch_normalization, dropout, input_dropout",
        ),
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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "search.space.seed=0,1",
            "search.space.seed=0,1: several values: write a list: 'search.space.seed=[0,1]'",
        ),
        (
            "++search.space.model.hidden=[1],[2]",
            (
                "search.space.model.hidden=[1],[2]: several values: write a list:"
                " 'search.space.model.hidden=[[1],[2]]'"
            ),
        ),
        ("model.hidden=50,20", "model.hidden=50,20: several values: write a list: 'model.hidden=[50,20]'"),
        (
            "model.hidden=[50],[20]",
            "model.hidden=[50],[20]: several values: add -m for a run with each, or quote them",
        ),
        ("seed=0,1", "seed=0,1: several values: add -m for a run with each, or quote them"),
        ("nope.hidden=0,1", "nope.hidden=0,1: several values: add -m for a run with each, or quote them"),
    ],
)
def test_several_values_are_a_list_where_the_key_has_one(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(CONF, [override])
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.learning_rate=-1", "optimizer.learning_rate=-1.0: expected a positive number"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate=fast: expected a number"),
        (
            "optimizer.learning_rte=1",
            "optimizer.learning_rte: no such key; did you mean optimizer.learning_rate?",
        ),
        ("model.hidden=[50,1.5]", "model.hidden[1]=1.5: expected a whole number"),
        ("seed=null", "seed=null: expected a whole number"),
        ("split.valid_count=-1", "split.valid_count=-1: expected 0 or more below 2**31"),
        (
            "training.early_stopping.monitor=test_accuracy",
            "training.early_stopping.monitor=test_accuracy: expected valid_accuracy, valid_loss or null",
        ),
        (
            "training.steps=3",
            "training.steps=3 with epochs=10: give exactly one of the two (the other null)",
        ),
        ("regularizer=l3", "regularizer=l3: no such choice; one of l2, none"),
        ("seed=1,2", "seed=1,2: several values: add -m for a run with each, or quote them"),
    ],
)
def test_ten_mistakes_in_full(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(CONF, [override])
    assert str(caught.value) == said
