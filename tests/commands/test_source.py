"""source: one word in params.yaml changes, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.config.compose import read_params
from pipeline.core.paths import Layout

Run = Callable[..., Any]


def test_only_the_word_changes(checkout: Layout, cli: Run) -> None:
    before = checkout.params.read_bytes()
    ended = cli("source", "official")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "params.yaml: source is now official (git checkout params.yaml puts it back)\n"
    assert checkout.params.read_bytes() == before.replace(b"source: bundled # or", b"source: official # or")
    assert read_params(checkout.params).source == "official"
    assert cli("source", "bundled").code == 0
    assert checkout.params.read_bytes() == before


def test_what_is_selected_already_is_left_alone(checkout: Layout, cli: Run) -> None:
    before = checkout.params.stat().st_mtime_ns
    ended = cli("source", "bundled")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert checkout.params.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source: bundled", "source: official"),
        ('source: "bundled" # x\n', "source: official # x\n"),
        ("a: 1\r\nsource:   bundled\r\nb: 2\r\n", "a: 1\r\nsource: official\r\nb: 2\r\n"),
        (
            "# source: bundled\nsource: bundled\nx:\n  source: bundled\n",
            "# source: bundled\nsource: official\nx:\n  source: bundled\n",
        ),
        ("titlé: ü\nsource: bundled\n", "titlé: ü\nsource: official\n"),
    ],
)
def test_the_rest_stays_as_it_is(checkout: Layout, cli: Run, text: str, expected: str) -> None:
    checkout.params.write_bytes(text.encode())
    assert cli("source", "official").code == 0
    assert checkout.params.read_bytes().decode() == expected


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("source:\n", 0), ("source: a\nsource: b\n", 2), ("x: 1\n", 0)]
)
def test_a_file_without_one_such_line(checkout: Layout, cli: Run, text: str, count: int) -> None:
    checkout.params.write_text(text)
    ended = cli("source", "official")
    assert ended.err == f"pipeline: {checkout.params}: expected one line `source: NAME`, found {count}\n"
    assert ended.code == 2
    assert checkout.params.read_text() == text


def test_without_params(checkout: Layout, cli: Run) -> None:
    checkout.params.unlink()
    ended = cli("source", "official")
    assert ended.err == f"pipeline: cannot read {checkout.params}: No such file or directory\n"
    assert ended.code == 1
