"""check-params: no name in params.yaml is one that a shell reads as something else, wherever it is used."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.core.paths import Layout

Run = Callable[..., Any]

NAMES = [
    "x; touch y",
    "-h",
    "",
    "$(touch y)",
    "`touch y`",
    "a b",
    "a|b",
    "../x",
    "v1.2",
    "x\\n",
    "é",
    "a&",
    "~x",
]


def said(cli: Run, *arguments: str) -> str:
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    return str(ended.err)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("source", 'source: "{}"\ndatasets: [tiny]\nexperiments: {{tiny: {{dataset: tiny}}}}\n'),
        ("datasets", 'source: bundled\ndatasets: [tiny, "{}"]\nexperiments: {{tiny: {{dataset: tiny}}}}\n'),
        ("experiments", 'source: bundled\ndatasets: [tiny]\nexperiments: {{"{}": {{dataset: tiny}}}}\n'),
        (
            "experiments.tiny.dataset",
            'source: bundled\ndatasets: [tiny]\nexperiments: {{tiny: {{dataset: "{}"}}}}\n',
        ),
    ],
)
def test_a_name_that_a_shell_would_read_is_refused(
    checkout: Layout, cli: Run, key: str, text: str, name: str
) -> None:
    checkout.params.write_text(text.format(name))
    line = said(cli, "check-params")
    assert f"params.yaml: {key}: '" in line
    assert "expected letters, digits, dashes and underscores, a letter or digit first" in line


@pytest.mark.parametrize("command", [("repro", "--jobs", "1"), ("compose", "tiny")])
def test_what_runs_stages_checks_first(checkout: Layout, cli: Run, command: tuple[str, ...]) -> None:
    checkout.params.write_text(checkout.params.read_text() + '\n  "x; touch y": {dataset: tiny}\n')
    assert "experiments: 'x; touch y': expected letters" in said(cli, *command)


@pytest.mark.usefixtures("checkout")
def test_plain_names_pass_in_silence(cli: Run) -> None:
    ended = cli("check-params")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.parametrize(
    "text",
    [
        'datasets: {tiny: "x; touch y; /../tiny"}\nexperiments: {}\n',
        "datasets: tiny\nexperiments: {}\n",
        'datasets: [tiny]\nexperiments: ["x; touch y"]\n',
        "datasets: [tiny]\n",
        'datasets: [tiny]\nexperiments: {tiny: "x; touch y"}\n',
        "datasets: [tiny]\nexperiments: {tiny: {}}\n",
    ],
)
def test_what_dvc_would_take_in_another_form_is_refused(checkout: Layout, cli: Run, text: str) -> None:
    checkout.params.write_text(f"source: bundled\n{text}")
    ended = cli("check-params")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert f"{checkout.params}: " in ended.err
    assert "expected a" in ended.err
