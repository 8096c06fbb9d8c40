"""Pictures with a CSV of their names and labels, from there to a definition and arrays."""

import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.shared.discovery import discover
from pipeline.config.compose import read_dataset
from pipeline.core.files.images import load
from pipeline.core.paths import Layout
from pipeline.data import local

Run = Callable[..., Any]


def write(folder: Path, pictures: Sequence[str], **tables: str) -> Path:
    """Pictures of levels 10, 20, … and tables by their names, lines apart by spaces."""
    for number, name in enumerate(pictures, 1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), 10 * number).save(folder / name)
    for name, text in tables.items():
        path = folder / f"{name.replace('__', '/')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(" ", "\n") + "\n")
    return folder


def pack(folder: Path, kind: str) -> Path:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    archive = folder.parent / f"packed.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for name in names:
                zipped.write(folder / name, name)
    else:
        with tarfile.open(archive, "w:gz") as packed:
            for name in names:
                packed.add(folder / name, f"./{name}")
    return archive


LAYOUTS: list[tuple[list[str], dict[str, str], dict[str, str]]] = [
    (["images/b.png", "images/a.png"], {"labels": "file,label a.png,dog b.png,cat"}, {"train": "images"}),
    (["b.png", "a.png"], {"labels": "a.png,dog b.png,cat"}, {"train": ""}),
    (["images/b.png", "images/a.png"], {"labels": "images/a.png,dog images/b.png,cat"}, {"train": ""}),
    (["x/i/b.png", "x/i/a.png"], {"x__labels": "a.png,dog b.png,cat"}, {"train": "x/i"}),
    (
        ["train/b.png", "train/a.png", "test/a.png"],
        {"train": "a.png,dog b.png,cat", "test": "a.png,dog"},
        {"train": "train", "test": "test"},
    ),
    (
        ["all/b.png", "all/a.png", "all/c.png"],
        {"train": "a.png,dog b.png,cat", "test": "c.png,dog"},
        {"train": "all", "test": "all"},
    ),
    (["train/2.png", "train/1.png"], {"trainLabels": "id,label 1,dog 2,cat"}, {"train": "train"}),
]


@pytest.mark.parametrize(("pictures", "tables", "folders"), LAYOUTS)
def test_the_folders_of_pictures_and_their_tables_are_found(
    tmp_path: Path, pictures: list[str], tables: dict[str, str], folders: dict[str, str]
) -> None:
    folder = write(tmp_path / "files", pictures, **tables)
    names = [f"{name.replace('__', '/')}.csv" for name in tables]
    members = {**folders, **{f"{part}_table": name for part, name in zip(folders, names, strict=True)}}
    for place in (folder, pack(folder, "zip"), pack(folder, "tar.gz")):
        found = discover(place)
        assert (found.format, found.image_shape, found.classes) == ("folder", (4, 6, 1), ["cat", "dog"])
        assert (found.reading, found.notes) == ({"members": members}, [])
        assert found.has_test == ("test" in folders)


@pytest.mark.parametrize(("layout", "kind"), [(1, "folder"), (3, "zip"), (4, "tar.gz"), (6, "tar.gz")])
def test_pictures_and_their_table_become_arrays(checkout: Layout, cli: Run, layout: int, kind: str) -> None:
    pictures, tables, folders = LAYOUTS[layout]
    place = write(checkout.root.parent / "files", pictures, **tables)
    place = place if kind == "folder" else pack(place, kind)
    ended = cli("add-dataset", str(place), "--name", "mine")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == f"{place}: folder, 4 × 6 grey images"
    assert read_dataset(checkout.conf, "mine").source("local").has_test == ("test" in folders)
    assert cli("fetch", "mine", "--source", "local").code == 0
    assert cli("parse", "mine", "--source", "local").code == 0
    train = load(checkout.parsed("local", "mine"), "train")
    # In the order of the names: a, the second one written, is a dog.
    np.testing.assert_array_equal(train.labels, [1, 0])
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], [20, 10])
    if "test" in folders:
        test = load(checkout.parsed("local", "mine"), "test")
        np.testing.assert_array_equal(test.images[:, 0, 0, 0], [30])


def test_what_is_left_aside_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        [f"images/{name}.png" for name in "abcd"],
        data="name,width,age,label a.png,6,1,ant b.png,6,2,bee",
        test="name c.png",
        sample_submission="name,label c.png,ant",
    )
    found = discover(tmp_path)
    assert (found.classes, found.has_test) == (["ant", "bee"], False)
    assert found.reading == {"members": {"train": "images", "train_table": "data.csv"}}
    assert found.notes == [
        "sample_submission.csv has no labels, left aside",
        "test.csv has no labels, left aside",
        "data.csv: labels from the last column, left aside: width, age",
        "pictures without a label, left aside: 2, such as images/c.png",
    ]


def test_tables_of_other_things_beside_folders_are_passed_over(tmp_path: Path) -> None:
    for name, text in {
        "boxes": "width,path 6,a/1.png 6,b/1.png",
        "list": "a/1.png b/1.png",
        "runs": "epoch,loss 1,0.5 2,0.25",
    }.items():
        write(tmp_path, ["a/1.png", "b/1.png"], **{name: text})
        found = discover(tmp_path)
        assert (found.classes, found.reading) == (["a", "b"], {})
        assert found.notes == ["files that are no pictures, left aside: 1"]
        (tmp_path / f"{name}.csv").unlink()


def test_a_validation_table_gives_way_to_a_test_table(tmp_path: Path) -> None:
    write(
        tmp_path, [f"{name}.png" for name in "abcd"], train="a.png,x b.png,y", val="a.png,x", test="b.png,y"
    )
    assert discover(tmp_path).notes[0] == "val.csv is of neither part, left aside"
    (tmp_path / "test.csv").unlink()
    assert discover(tmp_path).reading["members"]["test_table"] == "val.csv"


MISTAKES = {
    "no labels": (
        {"labels": "a.png b.png"},
        "labels.csv: expected a name, a comma and a label in each line, found one column: are there no lab",
    ),
    "semicolons": ({"labels": "a.png;ant b.png;bee"}, "found ';' between names and labels"),
    "a label that is not there": ({"labels": "a.png,ant b.png,"}, "line 2 has no label for b.png"),
    "a picture that is not there": (
        {"labels": "name,label a.png,ant b.png,bee d.png,ant"},
        "labels.csv: line 4 names images/d.png, which is not there; add the picture, or take the line out",
    ),
    "a picture of another case": (
        {"labels": "a.png,ant B.PNG,bee"},
        "labels.csv: line 2 names images/B.PNG, which is not there, but images/b.png is",
    ),
    "a picture twice": ({"labels": "a.png,ant b.png,bee a.png,bee"}, "line 3 names a.png a second time"),
    "none of the pictures": (
        {"labels": "d.png,ant e.png,bee"},
        "labels.csv: expected the pictures that it names, found no d.png",
    ),
    "an open quotation mark": (
        {"labels": '"name,label a.png,ant b.png,bee'},
        "labels.csv: expected names and labels, found one row: is a quotation mark open?",
    ),
    "two tables": (
        {"one": "a.png,ant b.png,bee", "two": "a.png,ant b.png,bee"},
        "expected one table of the train set's pictures, found one.csv, two.csv",
    ),
    "names elsewhere": (
        {"labels": "id,name,label 1,a.png,ant 2,b.png,bee"},
        "expected names of pictures in the first column, found them in column 2: put it first, and the lab",
    ),
    "labels elsewhere": (
        {"labels": "name,label,split a.png,ant,train b.png,bee,train"},
        "expected labels in the last column, found split there, and label in column 2: put that last",
    ),
    "a column for each class": (
        {"labels": "name,ant,bee a.png,1,0 b.png,0,1"},
        "expected one column with the label of each picture, found 2 columns of 0 and 1 (ant, bee): write",
    ),
    "one class": (
        {"labels": "a.png,ant b.png,ant"},
        "labels.csv: expected 2 to 256 labels, one for each class, found 1: ant",
    ),
    "a new label in the test set": (
        {"train": "a.png,ant b.png,bee", "test": "a.png,cat"},
        "the test set has labels that the training set has not: cat",
    ),
    "no table": ({}, "expected 2 to 256 folders, one for each class, found 1: images"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(checkout: Layout, cli: Run, mistake: str) -> None:
    tables, told = MISTAKES[mistake]
    folder = write(checkout.root.parent / "files", [f"images/{name}.png" for name in "abc"], **tables)
    ended = cli("add-dataset", str(folder), "--name", "mine")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert told in ended.err
    assert not (checkout.conf / "dataset" / "mine.yaml").exists()
    assert local.read_places(checkout.conf) == {}


def test_parts_without_classes_are_no_classes(checkout: Layout, cli: Run) -> None:
    folder = write(checkout.root.parent / "files", ["train/a.png", "test/b.png"])
    ended = cli("add-dataset", str(folder))
    assert "expected a folder for each class in test, train, or a .csv of the pictures' names" in ended.err


def test_a_table_of_names_alone_is_told(checkout: Layout, cli: Run) -> None:
    folder = write(checkout.root.parent / "files", [], labels="name,label a.png,ant b.png,bee")
    ended = cli("add-dataset", str(folder))
    assert "labels.csv: expected pixels, found names of pictures: name the folder or archive" in ended.err


def test_a_damaged_picture_is_told_by_its_own_place(checkout: Layout, cli: Run) -> None:
    folder = write(checkout.root.parent / "files", ["a.png", "b.png"], labels="a.png,ant b.png,bee")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:45])  # its size is still there
    ended = cli("add-dataset", str(folder))
    assert f"{folder}/b.png: " in ended.err
