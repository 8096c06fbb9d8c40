"""From files and overrides to a configuration, and to disk and back."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config import compose as compose_module
from pipeline.config.compose import check, compose, experiment_overrides, read_config, read_dataset, to_yaml
from pipeline.core.errors import ConfigError
from tests.config.examples import (
    AMBIGUOUS,
    CONF,
    KEYS,
    POSITIVE,
    plain_config,
    put,
    remove,
)

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
    plain = remove(plain_config(), "dataset.sources.bundled.reading.labels")
    put(plain, "dataset.sources.bundled.classes", [text, "another"])
    config = check(OmegaConf.create(plain))
    assert config.classes == [text, "another"]
    written = to_yaml(config)
    assert check(OmegaConf.create(written)) == config
    assert parse_yaml(written, "config.yaml")["dataset"]["sources"]["bundled"]["classes"] == [text, "another"]


def test_names_that_yaml_readers_disagree_about(tmp_path: Path) -> None:
    plain = remove(plain_config(), "dataset.sources.bundled.reading.labels")
    put(plain, "dataset.sources.bundled.classes", AMBIGUOUS)
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


def test_composing_gives_the_defaults_and_the_overrides() -> None:
    config = compose(CONF, ["experiment=mnist_two_layer", "optimizer=adam", "optimizer.learning_rate=2e-3"])
    assert (config.name, config.source, config.seed) == ("mnist_two_layer", "bundled", 0)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 2e-3)


def test_a_conf_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config directory not found"):
        compose(tmp_path / "nope")


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=re.escape(f"{path}: no such file")):
        read_config(path)
    damaged = (b"a: [", b"\xff\xfe", b"a: 1\na: 2", b"\x00", b"- 1", b"a", b"3", b"name: ${")
    for data in (*damaged, b"a: !" + b"x" * 900):
        path.write_bytes(data)
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value) or data == b"a"
        # A tag or a key of the file's may be as long as it likes.
        assert len(str(caught.value)) < len(str(path)) + 400
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
        ("nope", "a=1", "dataset=nope: unknown; one of bloodmnist, cifar10, "),
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
