"""Pictures in folders, zips and tars, with classes by folder or by a table; hostile ones."""

import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.folder import fitted
from tests.data.formats.layouts import Array, parse, refusal

RANDOM = np.random.default_rng(0)
SHAPE = (4, 3, 1)


def picture(levels: Array, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, form)
    return file.getvalue()


def files_of(count: int = 7, **others: bytes) -> tuple[dict[str, bytes], Array]:
    """Pictures by their names below train/ and test/, and their levels in the order of the classes."""
    levels = RANDOM.integers(0, 256, (count, 4, 3), np.uint8)
    named = {f"{'abc'[index * 3 // count]}/{index}.png": picture(image) for index, image in enumerate(levels)}
    return {
        f"{part}/{name}": data for part in ("train", "test") for name, data in named.items()
    } | others, levels


def write(folder: Path, files: dict[str, bytes], kind: str) -> Path:
    path = folder / f"data.{kind}"
    # Not in the order of the names.
    items = list(reversed(files.items()))
    if kind == "folder":
        for name, data in items:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in items:
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, data in items:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


KINDS = ["folder", "zip", "tar", "tar.gz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", ["", "outer/"])
def test_classes_by_folder(kind: str, around: str, tmp_path: Path) -> None:
    files, levels = files_of(**{"train/.DS_Store": b"x", "README.txt": b"x"} if not around else {})
    path = write(tmp_path, {around + name: data for name, data in files.items()}, kind)
    images, labels, test, test_labels = parse("folder", {"archive": path}, SHAPE, counts=(7, 7))
    assert np.array_equal(images[..., 0], levels)
    assert labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert np.array_equal(test, images)
    assert np.array_equal(test_labels, labels)


def test_a_file_for_each_part_and_folders_of_any_name(tmp_path: Path) -> None:
    files, levels = files_of()
    train = {name.removeprefix("train/"): data for name, data in files.items() if name.startswith("train")}
    (tmp_path / "one").mkdir()
    one = write(tmp_path / "one", train, "zip")
    images, labels, *_ = parse("folder", {"train": one}, SHAPE, counts=(7, 0))
    assert np.array_equal(images[..., 0], levels)
    two = write(tmp_path, {f"deep/er/{name}": data for name, data in train.items()}, "tar")
    again, *_ = parse("folder", {"archive": two}, SHAPE, counts=(7, 0), members={"train": "deep/er"})
    assert np.array_equal(again, images)
    assert labels.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_classes_called_by_numbers_are_names(tmp_path: Path) -> None:
    files, levels = files_of()
    renamed = {
        name.replace("a/", "7/").replace("b/", "10/").replace("c/", "2/"): data
        for name, data in files.items()
    }
    path = write(tmp_path, renamed, "zip")
    images, labels, *_ = parse("folder", {"archive": path}, SHAPE, ("7", "2", "10"))
    # In the order of the names: 10, 2, 7.
    assert labels.tolist() == [2, 2, 1, 1, 0, 0, 0]
    assert np.array_equal(images[..., 0], levels[[3, 4, 5, 6, 0, 1, 2]])
    images, labels, *_ = parse("folder", {"archive": path}, SHAPE, ("x", "y"), labels={"7": "y", "2": "x"})
    assert labels.tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(images[..., 0], levels[[5, 6, 0, 1, 2]])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
@pytest.mark.parametrize("names", ["", "filename,label\r\n"])
@pytest.mark.parametrize("suffix", [".png", ""])
def test_labels_by_a_table(kind: str, names: str, suffix: str, tmp_path: Path) -> None:
    levels = RANDOM.integers(0, 256, (4, 4, 3), np.uint8)
    files = {f"images/{index}.png": picture(image) for index, image in enumerate(levels)}
    files["labels.csv"] = (names + f"3{suffix},a\r\n1{suffix},b\r\n0{suffix},c\r\n").encode()
    path = write(tmp_path, files, kind)
    members = {"train": "images", "train_table": "labels.csv"}
    images, labels, *_ = parse("folder", {"archive": path}, SHAPE, counts=(3, 0), members=members)
    assert np.array_equal(images[..., 0], levels[[0, 1, 3]])
    assert labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"0.png," + b"x" * 200_000, "labels.csv: damaged CSV: field larger than field limit"),
        (None, "labels.csv"),
    ],
)
def test_a_table_that_cannot_be_read(kind: str, table: bytes | None, reason: str, tmp_path: Path) -> None:
    files = {"images/0.png": picture(np.zeros((4, 4, 3), np.uint8))}
    path = write(tmp_path, files | ({} if table is None else {"labels.csv": table}), kind)
    members = {"train": "images", "train_table": "labels.csv"}
    assert reason in refusal("folder", {"archive": path}, SHAPE, counts=(1, 0), members=members)


def test_names_in_another_encoding(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        for name, level in (("b/1.png", 9), ("a/ä.png", 8), ("c/1.png", 7), ("a/z.png", 6)):
            data = picture(np.full(SHAPE[:2], level, np.uint8))
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    images, labels, *_ = parse("folder", {"train": tmp_path / "x.tar"}, SHAPE, counts=(4, 0))
    assert images[:, 0, 0, 0].tolist() == [6, 8, 9, 7]
    assert labels.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_colours_and_kinds_of_files(form: str, tmp_path: Path) -> None:
    colours = RANDOM.integers(0, 2, (3, 4, 3, 3), np.uint8) * 255
    files = {f"{'abc'[index]}/x.{form.lower()}": picture(image, form) for index, image in enumerate(colours)}
    path = write(tmp_path, files, "zip")
    images, *_ = parse("folder", {"train": path}, (4, 3, 3), counts=(3, 0))
    assert np.array_equal(images, colours)
    grey, *_ = parse("folder", {"train": path}, SHAPE, counts=(3, 0))
    expected = np.rint(colours @ np.array([0.299, 0.587, 0.114]))
    assert abs(grey[..., 0] - expected).max() <= 1


def test_another_size_is_scaled_and_centred() -> None:
    def levels(grey: Array, opacity: float = 255) -> Array:
        return np.dstack([grey, grey, grey, np.full_like(grey, opacity)]).astype(np.float32)

    whole = np.full((8, 4), 200.0)
    found = fitted(levels(whole), (4, 4, 1), background=0)[..., 0]
    assert found.tolist() == [[0, 200, 200, 0]] * 4
    assert fitted(levels(whole), (4, 4, 1), background=255)[0, :, 0].tolist() == [255, 200, 200, 255]
    assert fitted(levels(whole, 0), (8, 4, 1), background=0).max() == 0
    assert fitted(levels(np.full((1, 1000), 9.0)), (4, 4, 3), background=0)[1].tolist() == [[9, 9, 9]] * 4
    small = fitted(levels(np.full((1, 1), 77.0)), (5, 3, 1), background=0)[..., 0]
    assert small.tolist() == [[0] * 3, [77] * 3, [77] * 3, [77] * 3, [0] * 3]


@pytest.mark.parametrize(
    "kind", ["folder", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
)
@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (
            {"train/a/x.png": b"<html>"},
            "train/a/x.png: expected an image (PNG, JPEG, GIF, BMP",
        ),
        (
            {"train/b/x.png": b"\x89PNG\r\n\x1a\n"},
            "train/b/x.png: damaged image: it begins as a PNG",
        ),
        ({"train/a/x.png": b""}, "train/a/x.png: expected an image"),
        ({"train/a/notes.txt": b"x"}, "train/a/notes.txt: expected an image file by its suffix"),
        ({"train/d/x.png": b"x"}, "the folder d is none of the classes a, b, c"),
        ({"train/a/0.PNG": b"x"}, "a/0.PNG differ only in case: rename one|a/0.png differ only in case"),
    ],
)
def test_a_folder_that_is_not_as_expected(
    others: dict[str, bytes], reason: str, kind: str, tmp_path: Path
) -> None:
    files, _ = files_of()
    said = refusal("folder", {"archive": write(tmp_path, files | others, kind)}, SHAPE)
    assert any(text in said for text in reason.split("|")), said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"classes": ("a", "b")}, "the folder c is none of the classes a, b"),
        ({"classes": ("a", "b", "c", "d")}, "expected training images of every class, found none of d"),
        ({"counts": (6, 7)}, "expected 6 train images, found"),
        ({"counts": (8, 7)}, "expected 8 train images, found 7"),
        ({"counts": (7, 0), "members": {"train": "trian"}}, "expected folders of images, one for each class"),
        ({"counts": (7, 0), "members": {"train": "train", "train_table": "nope.csv"}}, "nope.csv"),
    ],
)
def test_what_the_definition_says_otherwise(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    files, _ = files_of()
    assert reason in refusal("folder", {"archive": write(tmp_path, files, "zip")}, SHAPE, **options)


def test_a_member_of_no_archive(tmp_path: Path) -> None:
    files, _ = files_of()
    members = {"train": "train", "train_table": "labels.csv"}
    assert "expected train_table inside a file of the role archive, found the files train" in refusal(
        "folder", {"train": write(tmp_path, files, "zip")}, SHAPE, counts=(7, 0), members=members
    )


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_that_are_cut_off_or_none(kind: str, tmp_path: Path) -> None:
    files, _ = files_of()
    path = write(tmp_path, files, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert re.search("cut off|can hold|more than follow", refusal("folder", {"archive": path}, SHAPE))
    path.write_bytes(b"<html>")
    assert "found an HTML page" in refusal("folder", {"archive": path}, SHAPE)


def test_a_file_that_is_twice_in_an_archive(tmp_path: Path) -> None:
    path = write(tmp_path, {"a/x.png": b"x"}, "tar")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("a/x.png"))
    assert "a/x.png: is in the archive twice" in refusal("folder", {"train": path}, SHAPE, counts=(1, 0))
