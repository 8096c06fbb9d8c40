"""YAML that DVC and Hydra would read differently."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from ruamel.yaml import YAML

from pipeline.config import dialects
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Layout

DIFFERENT = ["0100", "-017", "00", "08", "0o17", "1:30", "1:30.5", "on", "Off", "yes", "NO"]
ALIKE = [
    "0",
    "-0",
    "7",
    "1_000",
    "0x1F",
    "0b11",
    "1e-3",
    "0.5",
    ".5",
    "true",
    "False",
    "~",
    "null",
    ".inf",
    "x",
    "a:b",
]


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("value", DIFFERENT)
@pytest.mark.parametrize("form", ["key: {}\n", "key: [1, {}]\n", "key: {{below: {}}}\n"])
def test_a_value_that_is_read_differently_is_refused_with_its_key(
    tmp_path: Path, form: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=rf"params\.yaml: key\S*: {re.escape(value)} is ") as caught:
        dialects.check_file(written(tmp_path, form.format(value)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", DIFFERENT + ALIKE)
def test_what_is_refused_is_what_the_two_readers_take_for_different_things(
    tmp_path: Path, value: str
) -> None:
    text = f"key: {value}\n"
    dvc = YAML(typ="safe", pure=True).load(text)["key"]
    hydra = OmegaConf.create(text)["key"]
    same = type(dvc) is type(hydra) and dvc == hydra
    try:
        dialects.check_file(written(tmp_path, text))
    except ConfigError:
        # 00 is nothing to both, yet octal to one.
        assert not same or value == "00"
    else:
        assert same


@pytest.mark.parametrize(
    "key", ["2024", "1.5", "1e3", "0o17", "on", "No", "true", "null", "~", "2024-01-01", ".inf", "1:30"]
)
def test_a_key_that_dvc_does_not_read_as_text_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"experiments\.{re.escape(key)}: .* quote it: '{re.escape(key)}'"):
        dialects.check_file(written(tmp_path, f"experiments:\n  {key}: {{dataset: mnist}}\n"))


@pytest.mark.parametrize("key", ["'2024'", '"on"', "2024_mnist", "3-layer", "e3", "x", "online", "a.b"])
def test_a_key_that_is_text_to_both_is_fine(tmp_path: Path, key: str) -> None:
    dialects.check_file(written(tmp_path, f"experiments:\n  {key}: {{dataset: mnist, name: '0100'}}\n"))


def laughs(count: int) -> str:
    """Lists of ten times the list before."""
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, count)]
    return "".join(["a0: &a0 [x]\n", *lines])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (laughs(9), "expected at most 20,000 values, found 2[0-9,]+ with aliases written out"),
        ("a: [" + "1, " * 20_000 + "1]\n", "expected at most 20,000 values, found 20,00[0-9] with"),
        ("a: &a [*a]\n", "expected at most 50 levels, found more, or an alias inside its value"),
        ("a: &a {b: {c: *a}}\n", "expected at most 50 levels"),
        ("a: " + "[" * 51 + "]" * 51 + "\n", "expected at most 50 levels"),
        ("a: " + "[" * 20_000 + "]" * 20_000 + "\n", "expected at most 50 levels"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60)), "at most 50 levels"),
        ("#" * 2**20 + "\n", "expected at most 1,048,576 bytes, found 1,048,577"),
    ],
)
def test_what_would_take_a_reader_long_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: .*{reason}"):
        dialects.check_file(path)


@pytest.mark.parametrize(
    "text", [laughs(4), "a: &a {b: 1}\nc: {<<: *a, d: 2}\n", "a: " + "[" * 49 + "]" * 49 + "\n", "a: [\n"]
)
def test_a_few_aliases_are_fine_and_what_is_no_yaml_is_left_to_its_reader(text: str, tmp_path: Path) -> None:
    dialects.check_file(written(tmp_path, text))
    dialects.check_file(tmp_path / "none.yaml")


def test_the_files_of_the_project_are_read_alike() -> None:
    layout = Layout(Path(__file__).resolve().parents[2])
    dialects.check_file(layout.params)
    dialects.check_folder(layout.conf)


@pytest.mark.parametrize("text", ["seed: !!int '010'", 'seed: !!int "1:30"'])
def test_a_quoted_number_with_a_tag_is_a_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="seed"):
        dialects.check_file(path)
    path.write_text("seed: '010'")
    dialects.check_file(path)
