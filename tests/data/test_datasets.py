import gzip
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.config.schema import File, Source
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.images import PARTS, LabelledImages, load
from pipeline.data import datasets
from pipeline.data.formats import cifar, idx
from tests.data.formats import layouts

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def idx_files(folder: Path, **changes: Array) -> dict[str, Path]:
    """Raw files of 12 training and 5 test images, 4 by 6 pixels."""
    arrays = {
        "train_images": RANDOM.integers(0, 256, (12, 4, 6), np.uint8),
        "train_labels": RANDOM.integers(0, 3, 12, np.uint8),
        "test_images": RANDOM.integers(0, 256, (5, 4, 6), np.uint8),
        "test_labels": RANDOM.integers(0, 3, 5, np.uint8),
        **changes,
    }
    files = {role: folder / f"{role}.gz" for role in datasets.roles_of("idx")}
    for role, path in files.items():
        idx.write(path, arrays[role])
        if role.startswith("test"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    return files


class Expected(NamedTuple):
    """What the files of a data set are said to hold."""

    image_shape: tuple[int, ...]
    class_count: int
    train_count: int = 12
    test_count: int = 5


def parse(files: dict[str, Path], destination: Path, expected: Expected, name: str = "idx") -> None:
    source = Source(
        title="t",
        classes=[str(number) for number in range(expected.class_count)],
        train_count=expected.train_count,
        test_count=expected.test_count,
        files={role: File(role, 1, "0" * 64) for role in files},
        drawing="digits",
    )
    listed = {role: [path] for role, path in files.items()}
    counts = datasets.parse(name, listed, destination, expected.image_shape, source)
    assert counts == {"train": expected.train_count, "test": expected.test_count}


EXPECTED = Expected((4, 6, 1), 3)


def test_idx_becomes_images_with_a_channel_axis(tmp_path: Path) -> None:
    files = idx_files(tmp_path)
    parse(files, tmp_path / "parsed", EXPECTED)
    for part in PARTS:
        found = load(tmp_path / "parsed", part)
        assert np.array_equal(found.images[..., 0], idx.read(files[f"{part}_images"]))
        assert np.array_equal(found.labels, idx.read(files[f"{part}_labels"]))
        assert found.images.dtype == found.labels.dtype == np.uint8
        assert len(found) == len(found.labels)
        assert not found.images.flags.writeable
    names = sorted(str(path.relative_to(tmp_path / "parsed")) for path in (tmp_path / "parsed").rglob("*.*"))
    assert names == ["test/images.npy", "test/labels.npy", "train/images.npy", "train/labels.npy"]


def test_idx_with_colours_keeps_its_axes(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (12, 4, 6, 3), np.uint8)
    parse(idx_files(tmp_path, train_images=images, test_images=images[:5]), tmp_path, Expected((4, 6, 3), 3))
    assert np.array_equal(load(tmp_path, "train").images, images)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"train_images": np.zeros((12, 6, 4), "u1")},
            "expected images as uint8 (count, 4, 6), found uint8 (12, 6, 4)",
        ),
        ({"train_images": np.zeros((12, 4, 6), "i1")}, "found int8 (12, 4, 6)"),
        ({"train_images": np.zeros(12, "u1")}, "found uint8 (12,)"),
        ({"train_images": np.zeros((11, 4, 6), "u1")}, "expected 12 train images, found 11"),
        ({"test_images": np.zeros((12, 4, 6), "u1")}, "expected 5 test images, found 12"),
        (
            {"train_labels": np.zeros(11, "u1")},
            "expected 12 labels for the images of train_images.gz, found 11",
        ),
        (
            {"train_labels": np.zeros((12, 2), "u1")},
            "expected labels as integers (count,), found uint8 (12, 2); reading.label_column may name one",
        ),
        ({"train_labels": np.zeros(12, "f4")}, "found float32 (12,)"),
        ({"train_labels": np.full(12, 256, "i4")}, "expected labels from 0 to 2, found 256 in row 0"),
        ({"train_labels": np.full(12, -1, "i1")}, "expected labels from 0 to 2, found -1 in row 0"),
        ({"test_labels": np.array([0, 1, 2, 3, 0], "u1")}, "expected labels from 0 to 2, found 3 in row 3"),
    ],
)
def test_idx_that_is_not_as_expected(changes: dict[str, Array], reason: str, tmp_path: Path) -> None:
    files = idx_files(tmp_path, **changes)
    (role,) = changes
    with pytest.raises(FormatError, match=rf"^{re.escape(f'{files[role]}: ')}.*{re.escape(reason)}$"):
        parse(files, tmp_path / "parsed", EXPECTED)
    assert not list((tmp_path / "parsed").glob(f"{role.partition('_')[0]}/*"))


@pytest.mark.parametrize(
    "labels", [np.arange(12, dtype=">i4") % 3, np.arange(12, dtype="i1").reshape(12, 1) % 3]
)
def test_idx_labels_may_be_integers_of_any_kind(labels: Array, tmp_path: Path) -> None:
    parse(idx_files(tmp_path, train_labels=labels), tmp_path / "parsed", EXPECTED)
    found = load(tmp_path / "parsed", "train").labels
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.arange(12) % 3)


def test_no_images_are_an_error(tmp_path: Path) -> None:
    files = idx_files(tmp_path, test_images=np.zeros((0, 4, 6), "u1"), test_labels=np.zeros(0, "u1"))
    with pytest.raises(FormatError, match="expected 5 test images, found 0"):
        parse(files, tmp_path / "parsed", Expected((4, 6, 1), 3))


@pytest.mark.parametrize("role", datasets.roles_of("idx"))
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><title>404 Not Found</title>", "expected idx data, found an HTML page"),
        (gzip.compress(b"<html>", mtime=0), "expected idx data, found gzip data that holds an HTML page"),
        (b"", "expected idx data, found nothing"),
        (b"\x1f\x8b\x08\0", "the gzip data is cut off"),
    ],
)
def test_an_error_page_named_gz_is_told(role: str, data: bytes, reason: str, tmp_path: Path) -> None:
    files = idx_files(tmp_path)
    files[role].write_bytes(data)
    with pytest.raises(
        FormatError, match=rf"^{re.escape(f'{files[role]}: ')}.*{re.escape(reason)}"
    ) as caught:
        parse(files, tmp_path / "parsed", EXPECTED)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "parsed").glob(f"{role.partition('_')[0]}/*"))


def test_images_that_go_on_past_their_header_are_refused(tmp_path: Path) -> None:
    # A bomb: what the header promises is what is expected, and a hundred megabytes follow.
    files = idx_files(tmp_path)
    good = gzip.decompress(files["test_images"].read_bytes())
    files["test_images"].write_bytes(gzip.compress(good + bytes(10**8), 1))
    with pytest.raises(FormatError, match=r"more data than the 120 bytes that shape \(5, 4, 6\) takes$"):
        parse(files, tmp_path / "parsed", EXPECTED)
    assert not list((tmp_path / "parsed" / "test").iterdir())


@pytest.mark.parametrize("role", datasets.roles_of("idx"))
def test_a_missing_file_is_one_line(role: str, tmp_path: Path) -> None:
    files = idx_files(tmp_path)
    files[role].unlink()
    with pytest.raises(PipelineError, match=rf"^cannot read {re.escape(str(files[role]))}: No such file"):
        parse(files, tmp_path / "parsed", EXPECTED)


def cifar_archive(folder: Path) -> tuple[Path, Array, Array]:
    images = RANDOM.integers(0, 256, (15, 32, 32, 3), np.uint8)
    labels = RANDOM.integers(0, 4, 15, np.uint8)
    cifar.write_archive(folder / "raw.tar", images[:10], labels[:10], images[10:], labels[10:], list("abcd"))
    return folder / "raw.tar", images, labels


def test_cifar_is_the_same_to_what_follows(tmp_path: Path) -> None:
    path, images, labels = cifar_archive(tmp_path)
    parse({"archive": path}, tmp_path, Expected((32, 32, 3), 4, 10, 5), "cifar10")
    for part, rows in (("train", slice(10)), ("test", slice(10, 15))):
        found = load(tmp_path, "train" if part == "train" else "test")
        assert np.array_equal(found.images, images[rows])
        assert np.array_equal(found.labels, labels[rows])


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (
            Expected((28, 28, 1), 4),
            r"expected images of shape \(28, 28, 1\), but those of CIFAR-10 have \(32, 32, 3\)",
        ),
        (
            Expected((32, 32, 3), 4, 50_000),
            "expected 50,000 train images, found 2 in each of 5 batches",
        ),
        (
            Expected((32, 32, 3), 4, 10, 10_000),
            "expected 10,000 test images, found 5 in each of 1 batches",
        ),
        (Expected((32, 32, 3), 2, 10), "expected labels from 0 to 1, found"),
    ],
)
def test_cifar_that_is_not_as_expected(expected: Expected, reason: str, tmp_path: Path) -> None:
    path, _, _ = cifar_archive(tmp_path)
    with pytest.raises(FormatError, match=reason) as caught:
        parse({"archive": path}, tmp_path, expected, "cifar10")
    assert str(caught.value).startswith(str(path))
    assert not list(tmp_path.rglob("*.npy"))


def test_every_format_names_its_files() -> None:
    assert all(datasets.roles_of(name) for name in datasets.FORMATS)
    assert {"idx", "cifar10", "cifar100", "cifar100_coarse"} <= datasets.FORMATS.keys()


@pytest.mark.real_data
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official MNIST files in {OFFICIAL}")
def test_official_mnist(tmp_path: Path) -> None:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = {
        role: OFFICIAL / f"{name}-ubyte.gz"
        for role, name in zip(datasets.roles_of("idx"), names, strict=True)
    }
    parse(files, tmp_path, Expected((28, 28, 1), 10, 60_000, 10_000))
    train, test = load(tmp_path, "train"), load(tmp_path, "test")
    assert train.images.shape == (60_000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(float(train.images.mean()) / 255 - 0.1307) < 1e-4


@pytest.mark.parametrize(
    ("name", "shape"), [("idx", (28, 28, 1)), ("idx", (5, 4, 3)), ("cifar10", (32, 32, 3))]
)
def test_what_a_writer_writes_its_parser_reads(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    train, test = (
        LabelledImages(
            RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        )
        for count in (20, 10)
    )
    files = {role: tmp_path / role for role in datasets.roles_of(name)}
    datasets.WRITERS[name](files, train, test, [f"class {number}" for number in range(10)])
    parse(files, tmp_path / "parsed", Expected(shape, 10, 20, 10), name)
    for part, written in zip(PARTS, (train, test), strict=True):
        found = load(tmp_path / "parsed", part)
        assert np.array_equal(found.images, written.images)
        assert np.array_equal(found.labels, written.labels)


def test_only_known_formats_are_written() -> None:
    assert datasets.WRITERS.keys() <= datasets.FORMATS.keys()


# What a definition says of idx files


def idx_arrays(folder: Path, **arrays: Array) -> dict[str, Path]:
    for role, array in arrays.items():
        idx.write(folder / role, array)
    return {role: folder / role for role in arrays}


EMNIST = RANDOM.integers(0, 256, (6, 3, 2), np.uint8)


def test_images_stored_column_by_column_and_labels_from_one_in_a_zip_archive(tmp_path: Path) -> None:
    labels = np.array([1, 2, 3, 3, 2, 1], np.uint8)
    files = idx_arrays(tmp_path, images=EMNIST, labels=labels)
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for name, path in files.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(path.read_bytes()))
    members = {
        f"{part}_{name}": f"gzip/{name}.gz" for part in ("train", "test") for name in ("images", "labels")
    }
    images, found, *_ = layouts.parse(
        "idx", {"archive": tmp_path / "gzip.zip"}, (2, 3, 1), members=members, transpose=True, first_label=1
    )
    assert np.array_equal(images[..., 0], EMNIST.transpose(0, 2, 1))
    assert np.array_equal(found, labels - 1)


@pytest.mark.parametrize("column", [0, -1])
def test_a_column_of_labels_of_four_bytes(column: int, tmp_path: Path) -> None:
    table = np.full((6, 8), 70_000, np.int32)
    table[:, column] = np.arange(6) % 3
    files = idx_arrays(tmp_path, train_images=EMNIST, train_labels=table)
    _, found, *_ = layouts.parse("idx", files, (3, 2, 1), counts=(6, 0), label_column=column)
    assert np.array_equal(found, np.arange(6) % 3)
    said = layouts.refusal("idx", files, (3, 2, 1), counts=(6, 0), label_column=8)
    assert "expected labels as integers (count, columns) with a column 8, found int32 (6, 8)" in said


def test_a_training_set_in_several_files(tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.uint8) % 3
    one = idx_arrays(tmp_path, images1=EMNIST[:4], labels1=labels[:4], images2=EMNIST[4:], labels2=labels[4:])
    files = {
        "train_images": [one["images1"], one["images2"]],
        "train_labels": [one["labels1"], one["labels2"]],
    }
    images, found, test, _ = layouts.parse("idx", files, (3, 2, 1), counts=(6, 0), invert=True)
    assert np.array_equal(images[..., 0], 255 - EMNIST)
    assert np.array_equal(found, labels)
    assert len(test) == 0
    assert load(tmp_path / "parsed", "test").images.shape == (6, 3, 2, 1)  # the split takes it from there
    files["train_labels"].pop()
    said = layouts.refusal("idx", files, (3, 2, 1), counts=(6, 0))
    assert said == "train_labels: expected as many files as for train_images, 2, found 1"


@pytest.mark.parametrize("name", ["cifar10", "idx"])
def test_labels_left_out_and_merged(name: str, tmp_path: Path) -> None:
    path, images, labels = cifar_archive(tmp_path)
    files: dict[str, Path] = {"archive": path}
    if name == "idx":
        files = idx_arrays(
            tmp_path,
            train_images=images[:10],
            train_labels=labels[:10],
            test_images=images[10:],
            test_labels=labels[10:],
        )
    kept = labels != 2
    merged = np.array([0, 1, 9, 0])[labels]
    found = layouts.parse(
        name, files, (32, 32, 3), ("a or d", "b"), labels={"0": "a or d", "3": "a or d", "1": "b"}
    )
    for rows, one, two in ((slice(10), *found[:2]), (slice(10, 15), *found[2:])):
        assert np.array_equal(one, images[rows][kept[rows]])
        assert np.array_equal(two, merged[rows][kept[rows]])
    said = layouts.refusal(
        name, files, (32, 32, 3), ("a", "b"), counts=(9, None), labels={"0": "a", "1": "b"}
    )
    assert "expected 9 train images, found" in said


def test_a_source_without_test_files_says_so(tmp_path: Path) -> None:
    files = idx_arrays(tmp_path, train_images=EMNIST, train_labels=np.arange(6, dtype=np.uint8) % 3)
    assert layouts.refusal("idx", files, (3, 2, 1)).endswith("where there is no test set, say test_count: 0")
