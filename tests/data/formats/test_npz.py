"""NumPy's .npz as Keras and MedMNIST lay it out, or an array in each; hostile ones."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.data.formats.layouts import Array, parse, refusal
from tests.shared import allocating_less_than

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 2, 3), np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0], np.uint8)
SHAPE = (2, 3, 1)


def keras(folder: Path, **changes: Any) -> dict[str, Path]:  # noqa: ANN401  (arrays)
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:3], "y_test": LABELS[:3], **changes}
    np.savez_compressed(folder / "file.npz", **arrays)
    return {"archive": folder / "file.npz"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    images=npst.arrays(np.uint8, st.tuples(st.integers(3, 9), st.just(2), st.just(3), st.just(3))),
    labels=st.sampled_from(["u1", ">i2", "<i4", ">i8", "<u8"]),
    first=st.integers(0, 100),
    packed=st.booleans(),
)
def test_what_numpy_writes_is_read(
    tmp_path: Path,
    images: Array,
    labels: str,
    first: int,
    packed: bool,  # noqa: FBT001  (drawn)
) -> None:
    numbers = np.arange(len(images)) % 3
    (np.savez_compressed if packed else np.savez)(
        tmp_path / "f.npz",
        x_train=images,
        y_train=(numbers + first).astype(labels),
        x_test=images[:1],
        y_test=np.full((1, 1), first, labels),
    )
    train, train_labels, test, test_labels = parse(
        "npz", {"archive": tmp_path / "f.npz"}, (2, 3, 3), first_label=first
    )
    assert np.array_equal(train, images)
    assert np.array_equal(train_labels, numbers)
    assert np.array_equal(test, images[:1])
    assert test_labels.tolist() == [0]


def test_arrays_of_any_names_and_several_for_a_part(tmp_path: Path) -> None:
    # As MedMNIST: images and labels of train, val and test, the labels in a column.
    names = ("train", "val", "test")
    parts = dict(zip(names, np.split(np.arange(6), 3), strict=True))
    arrays = {f"{part}_images": IMAGES[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": LABELS[rows].reshape(-1, 1) for part, rows in parts.items()}
    np.savez(tmp_path / "file.npz", **arrays)
    members = {
        "train_images": ["train_images", "val_images"],
        "train_labels": ["train_labels", "val_labels"],
        "test_images": "test_images",
        "test_labels": "test_labels",
    }
    train, train_labels, test, test_labels = parse(
        "npz", {"archive": tmp_path / "file.npz"}, SHAPE, counts=(4, 2), members=members
    )
    assert np.array_equal(train[..., 0], IMAGES[:4])
    assert np.array_equal(train_labels, LABELS[:4])
    assert np.array_equal(test[..., 0], IMAGES[4:])
    assert np.array_equal(test_labels, LABELS[4:])


def test_an_array_for_each_role_in_a_file_of_its_own(tmp_path: Path) -> None:
    # An array called arr_0 in each.
    files = {}
    for role, array in (("train_images", IMAGES), ("train_labels", LABELS)):
        files[role] = tmp_path / f"{role}.npz"
        np.savez_compressed(files[role], array)
    train, labels, test, _ = parse("npz", files, SHAPE, counts=(6, 0))
    assert np.array_equal(train[..., 0], IMAGES)
    assert np.array_equal(labels, LABELS)
    assert test.shape == (0, 2, 3, 1)


def test_levels_of_other_kinds_become_bytes(tmp_path: Path) -> None:
    files = keras(tmp_path, x_train=IMAGES.astype(np.uint16) * 257, x_test=IMAGES[:3].astype(np.uint16) * 257)
    assert np.array_equal(parse("npz", files, SHAPE, white=65535)[0][..., 0], IMAGES)
    files = keras(tmp_path, x_train=IMAGES / 255, x_test=IMAGES[:3] / 255)
    assert np.array_equal(parse("npz", files, SHAPE, white=1)[0][..., 0], IMAGES)


def test_bounded_memory(tmp_path: Path) -> None:
    images = np.zeros((20_000, 28, 28), np.uint8)
    files = keras(tmp_path, x_train=images, y_train=np.arange(20_000, dtype=np.uint8) % 3, x_test=images[:3])
    with allocating_less_than(6_000_000):  # of 15,680,000
        parse("npz", files, (28, 28, 1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x_train": IMAGES[:5]}, "expected 5 labels for the images of x_train, found 6"),
        (
            {"x_train": IMAGES.reshape(6, 3, 2)},
            "expected images as uint8 (count, 2, 3), found uint8 (6, 3, 2)",
        ),
        ({"x_train": IMAGES.astype("i4")}, "expected images as uint8 (count, 2, 3), found int32"),
        ({"x_train": np.full((6, 2, 3), 300.0)}, "levels from 0 to 255 (reading.white), found 300.0"),
        ({"x_train": np.full((6, 2, 3), np.nan)}, "levels from 0 to 255 (reading.white), found nan"),
        ({"y_train": LABELS.astype(float)}, "expected labels as integers (count,), found float64 (6,)"),
        ({"y_train": LABELS + 1}, "expected labels from 0 to 2, found 3 in row 2"),
        ({"y_train": LABELS * 0}, "expected training images of every class, found none of b, c"),
        ({"x_train": np.array([object()])}, "expected a .npy array of numbers, found another element type"),
        ({"x_train": np.asfortranarray(IMAGES)}, "expected rows one after the other (C order)"),
    ],
)
def test_arrays_that_are_not_as_expected(changes: dict[str, Array], reason: str, tmp_path: Path) -> None:
    assert reason in refusal("npz", keras(tmp_path, **changes), SHAPE)


def test_an_array_that_is_missing_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", x_train=IMAGES, y_trian=LABELS, x_test=IMAGES, y_test=LABELS)
    said = refusal("npz", {"archive": tmp_path / "file.npz"}, SHAPE)
    assert "expected the array y_train, found x_train, y_trian, x_test, y_test" in said


def test_counts_that_are_not_as_defined(tmp_path: Path) -> None:
    assert "expected 7 train images, found 6" in refusal("npz", keras(tmp_path), SHAPE, counts=(7, 3))


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"", "expected a zip archive, found nothing"),
        (lambda _: b"<!DOCTYPE html><title>404</title>", "expected a zip archive, found an HTML page"),
        (lambda data: data[: len(data) // 2], "the zip archive is cut off"),
        (
            lambda data: data.replace(b"\x93NUMPY", b"\x93NUMPX"),
            "damaged zip archive: Bad CRC-32|expected a .npy",
        ),
        (lambda data: data[:200] + bytes(20) + data[220:], "damaged|expected"),
    ],
)
def test_damage_is_one_line(change: Any, reason: str, tmp_path: Path) -> None:  # noqa: ANN401  (a function)
    files = keras(tmp_path)
    np.savez(files["archive"], x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    files["archive"].write_bytes(change(files["archive"].read_bytes()))
    said = refusal("npz", files, SHAPE)
    assert any(text in said for text in reason.split("|")), said


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    data = npy(IMAGES).replace(b"(6, 2, 3)", b"(9, 2, 3)")
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("x_train.npy", data)
        for name, array in (("y_train", LABELS), ("x_test", IMAGES), ("y_test", LABELS)):
            archive.writestr(f"{name}.npy", npy(array))
    said = refusal("npz", {"archive": tmp_path / "file.npz"}, SHAPE)
    assert "an array of shape (9, 2, 3) takes 182 bytes, found 164" in said


def test_a_member_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    files = keras(tmp_path)
    with zipfile.ZipFile(files["archive"]) as archive:
        entry = archive.getinfo("x_train.npy")
    data = bytearray(files["archive"].read_bytes())
    start = data.index(b"PK\1\2")  # the list's first entry is x_train
    data[start + 24 : start + 28] = (entry.compress_size * 2000).to_bytes(4, "little")
    files["archive"].write_bytes(data)
    assert "packed bytes can hold" in refusal("npz", files, SHAPE)
