"""Parquet files as the Hugging Face hub has them, from there to a definition and arrays."""

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.shared.discovery import discover
from pipeline.config.compose import read_dataset
from pipeline.core.errors import PipelineError
from pipeline.core.files.images import load
from pipeline.core.paths import Layout
from pipeline.data import local

Run = Callable[..., Any]
CLASS_LABEL = {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}
LABELS = [0, 1, 2, 1]


def picture(level: int, size: tuple[int, int] = (6, 4)) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def write(path: Path, features: Mapping[str, Any] | None = None, **columns: Any) -> Path:  # noqa: ANN401  (what pyarrow takes)
    pa = pytest.importorskip("pyarrow", reason="the extra parquet (pyarrow) is not installed")
    from pyarrow import parquet

    given = columns or {"label": LABELS}
    rows = len(next(iter(given.values())))
    table = pa.table({"image": [picture(10 * row) for row in range(rows)], **given})
    named = {"label": CLASS_LABEL} if features is None else features
    metadata = {"huggingface": json.dumps({"info": {"features": named}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.service
def test_a_clone_from_the_hub_becomes_a_definition_and_arrays(checkout: Layout, cli: Run) -> None:
    place = checkout.root.parent / "hub"
    for shard in range(2):
        write(place / "data" / f"train-0000{shard}-of-00002.parquet", label=LABELS[shard:])
    for part in ("test", "validation"):
        write(place / "data" / f"{part}-00000-of-00001.parquet", label=[2, 0])
    (place / "README.md").write_text("about")
    ended = cli("add-dataset", str(place), "--name", "mine")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[:6] == [
        f"{place}: parquet, 4 × 6 grey images",
        "  train: 7 images, 1 to 4 of each of 3 classes",
        "  test: 2 images, 0 to 1 of each of 3 classes",
        "  classes: ant, bee, cat",
        "  files of neither part, left aside: validation-00000-of-00001.parquet",
        "  train set in 2 files",
    ]
    # DVC looks after the folder of the files alone.
    assert local.find_place(checkout.root, "mine") == place / "data"
    files = read_dataset(checkout.conf, "mine").source("local").files_by_role
    assert [file.name for file in files["train"]] == [
        f"train-0000{shard}-of-00002.parquet" for shard in (0, 1)
    ]
    assert cli("fetch", "mine", "--source", "local").code == 0
    assert cli("parse", "mine", "--source", "local").code == 0
    train = load(checkout.parsed("local", "mine"), "train")
    np.testing.assert_array_equal(train.labels, [0, 1, 2, 1, 1, 2, 1])
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], [0, 10, 20, 30, 0, 10, 20])


@pytest.mark.service
def test_a_changed_shard_is_noted(checkout: Layout, cli: Run) -> None:
    place = checkout.root.parent / "hub"
    for shard in range(2):
        write(place / f"train-{shard}.parquet")
    assert cli("add-dataset", str(place)).code == 0
    write(place / "train-1.parquet", label=[2, 2, 2])
    assert cli("describe", "hub", "--source", "local").code == 0
    found = read_dataset(checkout.conf, "hub").source("local").files_by_role["train"]
    assert [file.sha256 for file in found] == [local.checksum(place / file.name) for file in found]


@pytest.mark.service
@pytest.mark.parametrize(
    ("features", "columns", "classes", "reading", "notes"),
    [
        ({}, {"label": ["b", "a"]}, ["a", "b"], {}, []),
        ({}, {"digit": [3, 1, 2]}, ["1", "2", "3"], {"columns": {"label": "digit"}, "first_label": 1}, [
            "labels begin with 1"
        ]),
        (
            {"fine": CLASS_LABEL, "coarse": {**CLASS_LABEL, "names": ["x", "y"]}},
            {"fine": [0, 2], "coarse": [0, 1]},
            ["ant", "bee", "cat"],
            {"columns": {"label": "fine"}},
            ["column fine is taken for the labels, left aside: coarse"],
        ),
        ({"label": "damaged"}, {"label": [0, 1]}, ["0", "1"], {}, []),
    ],
)  # fmt: skip
def test_columns_and_classes_are_found(
    tmp_path: Path,
    features: dict[str, Any],
    columns: dict[str, Any],
    classes: list[str],
    reading: dict[str, Any],
    notes: list[str],
) -> None:
    found = discover(write(tmp_path / "a.parquet", features, **columns))
    assert (found.format, found.classes, found.reading) == ("parquet", classes, reading)
    assert (found.image_shape, found.has_test, found.notes) == ((4, 6, 1), False, notes)


@pytest.mark.service
def test_shards_may_have_checksums_in_their_names(tmp_path: Path) -> None:
    for shard, checksum in enumerate(("b4aa", "07cd")):
        write(tmp_path / f"train-0000{shard}-of-00002-{checksum}.parquet")
    assert discover(tmp_path).notes == ["train set in 2 files"]


@pytest.mark.service
def test_a_test_set_without_labels_is_left_aside(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", label=[-1, -1])
    found = discover(tmp_path)
    assert (list(found.files), found.has_test) == (["train"], False)
    assert found.notes == ["the test set has no labels (-1), left aside"]


@pytest.mark.service
def test_pictures_of_several_sizes_are_told(tmp_path: Path) -> None:
    images = [picture(1), picture(2, (9, 5)), picture(3)]
    found = discover(write(tmp_path / "a.parquet", image=images, label=[0, 1, 2]))
    assert found.image_shape == (4, 6, 1)
    assert found.notes == ["pictures of 2 sizes, from 4 × 6 to 5 × 9: all are resized to one"]


def mistakes() -> dict[str, tuple[Callable[[Path], object], str]]:
    """By name: what makes the files in a folder, and a part of what is told."""

    def file(name: str, **columns: Any) -> Callable[[Path], object]:  # noqa: ANN401  (what pyarrow takes)
        return lambda folder: write(folder / name, **columns)

    def files(*names: str) -> Callable[[Path], object]:
        return lambda folder: [write(folder / name) for name in names]

    return {
        "no labels": (
            file("a.parquet", features={}, width=[1, 2]),
            "a.parquet: expected a column of labels, integers or text, called label, found image (struct<",
        ),
        "labels that are measurements": (
            file("a.parquet", features={}, label=[0.5, 1.5]),
            "expected a column of labels, integers or text, called label, found image (struct<bytes: binary",
        ),
        "no pictures": (
            file("a.parquet", image=[1, 2], label=[0, 1]),
            "expected a column of pictures, {bytes, path} or bytes called image, found image (int64), label",
        ),
        "a path alone": (
            file("a.parquet", image=[{"bytes": None, "path": "x.png"}, picture(1)], label=[0, 1]),
            "a.parquet: expected a picture's bytes in row 0, found none: write the pictures into the table",
        ),
        "a picture that is none": (
            file("a.parquet", image=[picture(0), {"bytes": b"<html>", "path": None}], label=[0, 1]),
            "a.parquet: row 1: not a picture that can be read; remove or replace it",
        ),
        "a label that has no name": (
            file("a.parquet", label=[0, 3, 1]),
            "a.parquet: expected labels from 0 to 2, found 3 in row 1",
        ),
        "two files for one part": (
            files("train.parquet", "train-more.parquet"),
            "or shards whose names differ in their numbers alone, found train-more.parquet, train.parquet",
        ),
        "a shard is missing": (
            files("train-00000-of-00003.parquet", "train-00002-of-00003.parquet"),
            "expected 3 shards of the train set, found 2: number 00001 is not there",
        ),
        "shards of two numbers": (
            files("train-00000-of-00002.parquet", "train-00000-of-00001.parquet"),
            "expected the train set in shards of one number, found train-00000-of-00001.parquet, train-00",
        ),
        "two folders": (
            files("fine/train.parquet", "coarse/train.parquet"),
            "expected Parquet files in one folder, found some in coarse, fine: put those of one data set",
        ),
        "no training set": (files("test.parquet"), "expected a training set, train-….parquet, found test"),
        "another column in the test set": (
            lambda folder: [write(folder / "train.parquet"), write(folder / "test.parquet", other=[0, 1])],
            "test.parquet: expected the column label as in the other files, found image, other",
        ),
        "a pointer": (
            lambda folder: (folder / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1"),
            "a.parquet: expected Parquet, found a Git LFS pointer, not the file it stands for",
        ),
        "cut off": (
            lambda folder: (folder / "a.parquet").write_bytes(b"PAR1 and no end"),
            "a.parquet: damaged Parquet: ",
        ),
    }  # fmt: skip


@pytest.mark.service
@pytest.mark.parametrize("mistake", mistakes())
def test_a_mistake_is_one_line_and_nothing_is_written(checkout: Layout, cli: Run, mistake: str) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet (pyarrow) is not installed")
    make, told = mistakes()[mistake]
    folder = checkout.root.parent / "files"
    folder.mkdir()
    make(folder)
    ended = cli("add-dataset", str(folder), "--name", "mine")
    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert not (checkout.conf / "dataset" / "mine.yaml").exists()
    assert local.read_places(checkout.conf) == {}


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        PipelineError, match=r"^format=parquet: needs the extra parquet: pip install '[^\n]*$"
    ):
        discover(tmp_path)
