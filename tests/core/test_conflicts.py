"""Conflict markers of a merge: one line that names the first, wherever the project reads the file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.compose import read_config
from pipeline.core.conflicts import refuse_conflicts, refuse_conflicts_in
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Layout
from pipeline.repro.lock import read_lock

Run = Callable[..., Any]

CONFLICT = "<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> other: a commit's title\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "marker", ["<<<<<<< HEAD", "<<<<<<<", "||||||| 1a2b3c4", "=======", ">>>>>>> other: a commit's title"]
)
def test_each_marker_is_found_with_its_line(marker: str, end: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_conflicts(f"a: 1{end}b: 2{end}{marker}{end}".encode(), "conf/x.yaml")
    assert str(caught.value) == (
        f"conf/x.yaml: line 3: found '{marker}', which a merge left there: keep the lines you want and delete"
        " the markers"
    )


@pytest.mark.parametrize(
    "text",
    ["", "a: 1", "# ====\n", "text: |\n  <<<<<<< HEAD\n", "========\n", "a: '>>>>>>> b'\n", "=======x\n"],
)
def test_what_only_resembles_one_is_none(text: str) -> None:
    refuse_conflicts(text.encode(), "x")


@pytest.mark.parametrize("name", ["dvc.lock", "the committed dvc.lock", "outputs/x/config.yaml"])
def test_what_dvc_writes_anew_needs_no_judgement(name: str) -> None:
    with pytest.raises(ConfigError, match=r"take either side .* run dvc repro and commit what it writes$"):
        refuse_conflicts(CONFLICT.encode(), name)


def test_bytes_of_any_kind_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_conflicts(b"\xff\n<<<<<<< \xff\x1b[31m\n", "x")
    assert str(caught.value).isprintable()
    refuse_conflicts_in(tmp_path / "none", tmp_path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, "check-params") for name in ("params.yaml", "dvc.yaml", "dvc.lock")),
        *((name, "repro") for name in ("params.yaml", "dvc.yaml", "dvc.lock")),
        ("params.yaml", "compose tiny"),
        ("conf/config.yaml", "compose tiny"),
        ("conf/experiment/tiny.yaml", "compose tiny"),
        ("conf/optimizer/adam.yaml", "compose tiny"),
        ("conf/experiment/tiny.yaml", "train experiment=tiny"),
        ("conf/dataset/tiny.yaml", "fetch tiny"),
    ],
)
def test_every_command_that_reads_the_file_says_so(
    checkout: Layout, cli: Run, name: str, command: str
) -> None:
    path = checkout.root / name
    path.write_text((path.read_text() if path.exists() else "") + CONFLICT)
    line = path.read_text().split("<<<<<<<", maxsplit=1)[0].count("\n") + 1
    ended = cli(*command.split())
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(
        rf"pipeline: \S*{re.escape(name)}: line {line}: found '<<<<<<< HEAD', which a merge left there: .*\n",
        ended.err,
    ), ended.err


def test_a_lock_file_and_a_composed_configuration_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^the committed dvc\.lock: line 2: found '<<<<<<< HEAD'"):
        read_lock("schema: '2.0'\n" + CONFLICT, "the committed dvc.lock")
    path = tmp_path / "config.yaml"
    path.write_text("name: x\n" + CONFLICT)
    with pytest.raises(ConfigError, match=r"config\.yaml: line 2: found '<<<<<<< HEAD'.* run dvc repro"):
        read_config(path)
