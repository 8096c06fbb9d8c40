"""CIFAR's and STL-10's files, packed or not, from there to a definition and arrays."""

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.shared.discovery import discover
from pipeline.config.compose import read_dataset
from pipeline.core.files.images import PARTS, load
from pipeline.core.paths import Layout
from pipeline.data import local

Run = Callable[..., Any]
Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.integers(0, 256, (10, 32, 32, 3)).astype(np.uint8), np.arange(10)
TEST = RANDOM.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8), np.arange(6)
CIFAR10_FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def planes(images: Array) -> Array:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def batches(names: list[str]) -> dict[str, tuple[Array, Array]]:
    """Images and labels of each file: the last one is the test set."""
    *train, test = names
    parts = [np.split(array, len(train)) for array in TRAIN]
    return {test: TEST, **dict(zip(train, zip(*parts, strict=True), strict=True))}


def write_python(folder: Path, key: str, names: list[str]) -> None:
    for name, (images, labels) in batches(names).items():
        value = {"data": planes(images), key: labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(value, protocol=2))


def write_binary(folder: Path, columns: int, names: list[str]) -> None:
    for name, (images, labels) in batches(names).items():
        column = labels.astype(np.uint8)[:, None]
        rows = [column * 0] * (columns - 1) + [column, planes(images)]
        (folder / name).write_bytes(np.concatenate(rows, axis=1).tobytes())


def write_stl10(folder: Path) -> None:
    for part, (images, labels) in {"train": TRAIN, "test": TEST}.items():
        (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(TRAIN[0][:4].tobytes())
    (folder / "class_names.txt").write_text("".join(f"bird{number}\n" for number in range(10)))


WRITTEN: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cifar-10-batches-py": ("cifar10", lambda folder: write_python(folder, "labels", CIFAR10_FILES)),
    "cifar-10-batches-bin": (
        "cifar10",
        lambda folder: write_binary(folder, 1, [f"{name}.bin" for name in CIFAR10_FILES]),
    ),
    "cifar-100-python": (
        "cifar100",
        lambda folder: write_python(folder, "fine_labels", ["train", "test"]),
    ),
    "cifar-100-binary": ("cifar100", lambda folder: write_binary(folder, 2, ["train.bin", "test.bin"])),
    "stl10_binary": ("stl10", write_stl10),
}


@pytest.mark.parametrize("kind", ["folder", "tar.gz"])
@pytest.mark.parametrize("name", WRITTEN)
def test_archives_and_their_folders_become_arrays(checkout: Layout, cli: Run, name: str, kind: str) -> None:
    form, write = WRITTEN[name]
    place = checkout.root.parent / "files"
    (place / name).mkdir(parents=True)
    write(place / name)
    if kind != "folder":
        with tarfile.open(checkout.root.parent / f"{name}.{kind}", "w:gz") as archive:
            archive.add(place / name, name)
        place = checkout.root.parent / f"{name}.{kind}"
    ended = cli("add-dataset", str(place), "--name", "mine")
    assert (ended.code, ended.err) == (0, "")
    count = 100 if form == "cifar100" else 10
    assert ended.out.splitlines()[:3] == [
        f"{place}: {form}, 32 × 32 colour images",
        f"  train: 10 images, {int(count == 10)} to 1 of each of {count} classes",
        f"  test: 6 images, 0 to 1 of each of {count} classes",
    ]
    assert ("  images without labels, left aside: 4" in ended.out.splitlines()) == (form == "stl10")
    classes = read_dataset(checkout.conf, "mine").source("local").classes
    assert classes[0] == {"cifar10": "airplane", "cifar100": "apple", "stl10": "bird0"}[form]
    assert cli("fetch", "mine", "--source", "local").code == 0
    assert cli("parse", "mine", "--source", "local").code == 0
    for part, (images, labels) in zip(PARTS, (TRAIN, TEST), strict=True):
        found = load(checkout.parsed("local", "mine"), part)
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)


def test_what_lies_beside_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "stl10_binary").mkdir()
    write_stl10(tmp_path / "stl10_binary")
    for name in ("test_X.bin", "test_y.bin", "class_names.txt", "unlabeled_X.bin"):
        (tmp_path / "stl10_binary" / name).unlink()
    (tmp_path / "film.mkv").write_bytes(b"x")
    found = discover(tmp_path)
    assert (found.has_test, found.classes) == (False, [])
    assert found.notes == [
        "files beside stl10_binary, packed with it: 1, such as film.mkv",
        "no class_names.txt: the classes are those of STL-10",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda folder: (folder / "train_y.bin").unlink(),
            "expected stl10_binary/train_y.bin as in STL-10, but it is not there",
        ),
        (
            lambda folder: (folder / "test_X.bin").unlink(),
            "expected stl10_binary/test_X.bin as in STL-10, but it is not there",
        ),
        (
            lambda folder: (folder / "train_y.bin").write_bytes(b""),
            "expected stl10_binary/train_y.bin as in STL-10, but it has no bytes",
        ),
        (
            lambda folder: (folder / "train_y.bin").write_bytes(b"\1" * 9),
            "expected square colour images for the 9 labels of train_y.bin, found 30,720 bytes in train",
        ),
        (
            lambda folder: (folder / "test_y.bin").write_bytes(b"\1" * 5),
            "test_X.bin: expected 15,360 bytes, 5 images of 32 × 32 × 3 as there are labels, found 18,432",
        ),
        (
            lambda folder: (folder / "train_y.bin").write_bytes(b"\0" * 10),
            "train_y.bin: expected labels from 1 to 10, found 0 in row 0",
        ),
        (
            lambda folder: (folder / "class_names.txt").write_text("ant"),
            "expected 2 to 256 names in class_names.txt, one for each class, found 1: ant",
        ),
    ],
)
def test_a_mistake_is_one_line(
    checkout: Layout, cli: Run, change: Callable[[Path], object], told: str
) -> None:
    folder = checkout.root.parent / "files" / "stl10_binary"
    folder.mkdir(parents=True)
    write_stl10(folder)
    ended = cli("add-dataset", str(folder), "--name", "mine")
    assert "name the folder above it, which holds stl10_binary" in ended.err
    change(folder)
    ended = cli("add-dataset", str(folder.parent), "--name", "mine")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert told in ended.err
    assert local.read_places(checkout.conf) == {}
