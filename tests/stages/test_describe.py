"""describe: a data set's own files, noted anew when they change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import read_dataset
from pipeline.core.paths import Layout
from pipeline.data import local

Run = Callable[..., Any]


@pytest.fixture
def own(checkout: Layout, cli: Run) -> tuple[Layout, Path]:
    """A data set of one's own beside the checkout, added."""
    path = checkout.root.parent / "own.npz"
    write_arrays(path, 0)
    assert cli("add-dataset", str(path)).code == 0
    return checkout, path


def write_arrays(path: Path, level: int) -> None:
    images = np.arange(2 * 12 * 16, dtype=np.uint8).reshape(2, 12, 4, 4)
    images[0, 0, 0, 0] = level
    labels = np.arange(12) % 3
    np.savez(path, x_train=images[0], y_train=labels, x_test=images[1], y_test=labels)


def checksums(layout: Layout) -> list[str | None]:
    return [file.sha256 for file in read_dataset(layout.conf, "own").source("local").all_files]


def test_a_changed_file_has_its_checksum_noted_and_the_rest_stays(own: tuple[Layout, Path], cli: Run) -> None:
    layout, path = own
    definition = layout.conf / "dataset" / "own.yaml"
    text = definition.read_text().replace("title: own", 'title: "Own, edited" # by hand')
    definition.write_text(text)
    assert cli("describe", "own", "--source", "local").code == 0
    assert definition.read_text() == text
    before = local.checksum(path)
    write_arrays(path, 9)
    ended = cli("describe", "own", "--source", "local")
    assert (ended.code, ended.err) == (0, "own.npz: has changed\n")
    assert definition.read_text() == text.replace(before, local.checksum(path))
    assert checksums(layout) == [local.checksum(path)]


def test_fetch_copies_what_the_definition_describes_and_nothing_else(
    own: tuple[Layout, Path], cli: Run
) -> None:
    layout, path = own
    for source in ("local", "bundled"):
        ended = cli("fetch", "own", "--source", source)
        assert (ended.code, ended.err) == (0, f"own.npz: copied from {path}\n")
        assert (layout.raw(source, "own") / "own.npz").read_bytes() == path.read_bytes()
        assert cli("fetch", "own", "--source", source).err == ""
    write_arrays(path, 9)
    assert cli("fetch", "own", "--source", "local").err == ""  # what it has is what is wanted
    (layout.raw("local", "own") / "own.npz").unlink()
    ended = cli("fetch", "own", "--source", "local")
    assert ended.code == 1
    assert "have the files changed? pipeline describe own" in ended.err
    path.unlink()
    (layout.raw("local", "own") / "own.npz").unlink()
    ended = cli("fetch", "own", "--source", "local")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"{path} is missing: conf/local.yaml says" in ended.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("        sha256: ", "        bytes: 5\n        sha256: "), "expected `name: own.npz` with `sha256"),
        (("local: true", "drawing: digits"), "source=local is not local"),
        (("local: true", "local: false"), "exactly one of mirrors, drawing, packaged, local"),
    ],
)
def test_a_definition_that_cannot_be_edited_is_told(
    own: tuple[Layout, Path], cli: Run, change: tuple[str, str], told: str
) -> None:
    layout, path = own
    definition = layout.conf / "dataset" / "own.yaml"
    definition.write_text(definition.read_text().replace(*change))
    write_arrays(path, 9)
    ended = cli("describe", "own", "--source", "local")
    assert ended.code == 2
    assert told in ended.err
    assert ended.err.count("\n") == 1
