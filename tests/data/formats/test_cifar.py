import gzip
import hashlib
import importlib.util
import io
import itertools
import os
import pickle
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import File, Source
from pipeline.core.errors import PipelineError
from pipeline.core.files import pickle_reader
from pipeline.data.formats import cifar
from pipeline.data.parts import LabelCoder

Array = np.ndarray[Any, Any]
Files = dict[str, bytes]
OFFICIAL = Path(__file__).parents[4] / "shared" / "data" / "cifar10"
real_data = pytest.mark.real_data
needs_official = pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official CIFAR-10 files in {OFFICIAL}")

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
ROWS = 7  # of a batch
RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.integers(0, 256, (5 * ROWS, 32, 32, 3), np.uint8)
TEST = RANDOM.integers(0, 256, (3, 32, 32, 3), np.uint8)
TRAIN_LABELS = RANDOM.integers(0, 10, 5 * ROWS)
TEST_LABELS = np.array([9, 0, 4])
# A fine label and its coarse one, for CIFAR-100.
FINE, COARSE = TRAIN_LABELS * 11, TRAIN_LABELS * 2


def planes(images: Array) -> Array:
    """The format's order of pixels, written out."""
    return np.array(
        [[image[y, x, c] for c in range(3) for y in range(32) for x in range(32)] for image in images],
        np.uint8,
    )


TRAIN_PLANES, TEST_PLANES = planes(TRAIN), planes(TEST)


def python_batch(pixels: Array, labels: Array, protocol: int = 2) -> bytes:
    value = {
        "batch_label": "a batch",
        "labels": labels.tolist(),
        "data": pixels,
        "filenames": ["x.png"] * len(labels),
    }
    return pickle.dumps(value, protocol)


def records(pixels: Array, *labels: Array) -> bytes:
    return np.column_stack([*(column.astype(np.uint8) for column in labels), pixels]).tobytes()


def python_10(protocol: int = 2) -> Files:
    files = {
        f"cifar-10-batches-py/{name}": python_batch(TRAIN_PLANES[rows], TRAIN_LABELS[rows], protocol)
        for name, rows in zip(BATCHES, thirds(), strict=True)
    }
    return files | {
        "cifar-10-batches-py/test_batch": python_batch(TEST_PLANES, TEST_LABELS, protocol),
        "cifar-10-batches-py/batches.meta": b"anything",
        "cifar-10-batches-py/readme.html": b"<html>",
    }


def thirds() -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, 5 * ROWS, ROWS))


def binary_10() -> Files:
    files = {
        f"cifar-10-batches-bin/{name}.bin": records(TRAIN_PLANES[rows], TRAIN_LABELS[rows])
        for name, rows in zip(BATCHES, thirds(), strict=True)
    }
    return files | {"cifar-10-batches-bin/test_batch.bin": records(TEST_PLANES, TEST_LABELS)}


def python_100() -> Files:
    def batch(pixels: Array, fine: Array, coarse: Array) -> bytes:
        return pickle.dumps(
            {"data": pixels, "fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()}, 2
        )

    return {
        "cifar-100-python/train": batch(TRAIN_PLANES, FINE, COARSE),
        "cifar-100-python/test": batch(TEST_PLANES, TEST_LABELS * 11, TEST_LABELS * 2),
    }


def binary_100() -> Files:
    return {
        "cifar-100-binary/train.bin": records(TRAIN_PLANES, COARSE, FINE),
        "cifar-100-binary/test.bin": records(TEST_PLANES, TEST_LABELS * 2, TEST_LABELS * 11),
    }


def archive(files: Mapping[str, bytes], seed: int = 0) -> bytes:
    """A tar of the files in random order."""
    names = list(files)
    random.Random(seed).shuffle(names)  # noqa: S311  (not a secret)
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(files[name])
                tar.addfile(info, io.BytesIO(files[name]))
        return buffer.getvalue()


def parse(
    source: Path,
    variant: cifar.Variant = cifar.CIFAR10,
    class_count: int = 10,
    counts: tuple[int | None, ...] = (None, None),
) -> tuple[Array, Array, Array, Array]:
    folder = source.parent / "parsed"
    train, test = (
        cifar.Destination(folder / part / "images.npy", folder / part / "labels.npy", count)
        for part, count in zip(("train", "test"), counts, strict=True)
    )
    names = [str(number) for number in range(class_count)]
    files = {"archive": File("f", sha256="0" * 64)}
    encode = LabelCoder(Source(title="t", classes=names, files=files, drawing="d")).encode
    cifar.parse_into(source, variant, train=train, test=test, encode=encode)
    one, two, three, four = (np.load(path) for part in (train, test) for path in (part.images, part.labels))
    return one, two, three, four


def refusal(source: Path, **arguments: Any) -> str:  # noqa: ANN401  (parse's)
    with pytest.raises(PipelineError) as caught:
        parse(source, **arguments)
    assert str(caught.value).startswith(str(source))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert list((source.parent / "parsed").rglob("*.*")) == []
    # Though the error, with all the frames of its traceback, is still there.
    assert not [path for path in open_files() if path.is_relative_to(source.resolve())]
    return str(caught.value)


def open_files() -> list[Path]:
    return [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def folder(files: Mapping[str, bytes], source: Path, prefix: str = "") -> Path:
    for name, data in files.items():
        (source / name.removeprefix(prefix)).parent.mkdir(parents=True, exist_ok=True)
        (source / name.removeprefix(prefix)).write_bytes(data)
    return source


def tar(files: Mapping[str, bytes], source: Path) -> Path:
    source.write_bytes(archive(files))
    return source


def tar_gz(files: Mapping[str, bytes], source: Path) -> Path:
    source.write_bytes(gzip.compress(archive(files)))
    return source


# Reading


@pytest.mark.parametrize("place", [folder, tar, tar_gz])
@pytest.mark.parametrize(
    ("files", "variant", "labels", "test_labels"),
    [
        (python_10, cifar.CIFAR10, TRAIN_LABELS, TEST_LABELS),
        (binary_10, cifar.CIFAR10, TRAIN_LABELS, TEST_LABELS),
        (python_100, cifar.CIFAR100_FINE, FINE, TEST_LABELS * 11),
        (python_100, cifar.CIFAR100_COARSE, COARSE, TEST_LABELS * 2),
        (binary_100, cifar.CIFAR100_FINE, FINE, TEST_LABELS * 11),
        (binary_100, cifar.CIFAR100_COARSE, COARSE, TEST_LABELS * 2),
    ],
)
def test_every_version_from_every_place(
    files: Callable[[], Files],
    variant: cifar.Variant,
    labels: Array,
    test_labels: Array,
    place: Callable[[Files, Path], Path],
    tmp_path: Path,
) -> None:
    found = parse(place(files(), tmp_path / "source"), variant, 100)
    for array, expected in zip(found, (TRAIN, labels, TEST, test_labels), strict=True):
        assert array.dtype == np.uint8
        assert np.array_equal(array, expected)
    assert len(os.listdir(tmp_path / "parsed" / "train")) == 2  # noqa: PTH208  (hidden files count)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_the_archive_does_not_matter(seed: int, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(archive(python_10(), seed))
    images, labels, _, _ = parse(tmp_path / "source")
    assert np.array_equal(images, TRAIN)
    assert np.array_equal(labels, TRAIN_LABELS)


@pytest.mark.parametrize("protocol", range(6))
def test_batches_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    assert np.array_equal(parse(tar(python_10(protocol), tmp_path / "source"))[0], TRAIN)


def test_the_folder_can_be_the_archive_s_own(tmp_path: Path) -> None:
    source = folder(python_10(), tmp_path / "source", "cifar-10-batches-py/")
    assert np.array_equal(parse(source)[0], TRAIN)


def test_labels_may_be_an_array(tmp_path: Path) -> None:
    files = python_10()
    files["cifar-10-batches-py/test_batch"] = pickle.dumps({b"labels": TEST_LABELS, b"data": TEST_PLANES})
    assert np.array_equal(parse(tar(files, tmp_path / "source"))[3], TEST_LABELS)


@pytest.mark.parametrize(
    "labels",
    [
        tuple(TEST_LABELS.tolist()),
        list(TEST_LABELS),
        list(TEST_LABELS.astype(np.uint8)),
        TEST_LABELS.astype(">i2"),
        TEST_LABELS.reshape(-1, 1),
        TEST_LABELS.reshape(-1, 1).tolist(),
        [(label,) for label in TEST_LABELS],
        [np.array([label]) for label in TEST_LABELS],
    ],
    ids=["tuple", "numpy", "uint8", "big-endian", "column", "lists", "tuples", "arrays"],
)
def test_labels_may_be_integers_of_any_kind(labels: object, tmp_path: Path) -> None:
    files = python_10()
    files[TEST_NAME] = pickle.dumps({"labels": labels, "data": TEST_PLANES})
    assert np.array_equal(parse(tar(files, tmp_path / "source"))[3], TEST_LABELS)


def test_more_images_than_a_block(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (200, 3072), np.uint8)
    files = python_100() | {
        "cifar-100-python/train": pickle.dumps({"data": np.asfortranarray(pixels), "fine_labels": [0] * 200})
    }
    images = parse(tar(files, tmp_path / "source"), cifar.CIFAR100_FINE, 100)[0]
    assert np.array_equal(images, pixels.reshape(200, 3, 32, 32).transpose(0, 2, 3, 1))


# Refusing

TEST_NAME = "cifar-10-batches-py/test_batch"
BATCH_3 = "cifar-10-batches-py/data_batch_3"


def batch(**changes: object) -> bytes:
    value = {"labels": [0] * ROWS, "data": TRAIN_PLANES[:ROWS], **changes}
    return pickle.dumps({key: item for key, item in value.items() if item is not None})


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (TEST_NAME, b"", "it is nothing (an empty file)"),
        (TEST_NAME, b"<html>", "it is an HTML page"),
        (TEST_NAME, b"cposix\nsystem\n(S'touch flag'\ntR.", "it asks for posix.system"),
        (TEST_NAME, pickle.dumps([1]), "expected a dict with data and labels, found list"),
        (TEST_NAME, batch(labels=None), "expected a dict with data and labels, found the keys data"),
        (TEST_NAME, batch(data=None), "expected a dict with data and labels, found the keys labels"),
        (TEST_NAME, batch(data=[1]), "expected data as uint8 (rows, 3072), found list"),
        (TEST_NAME, batch(data=TRAIN), "expected data as uint8 (rows, 3072), found uint8 (35, 32, 32, 3)"),
        (TEST_NAME, batch(data=TRAIN_PLANES[:ROWS].astype("i4")), "found int32 (7, 3072)"),
        (TEST_NAME, batch(data=np.zeros((0, 3072), "u1"), labels=[]), "expected images, found none"),
        (TEST_NAME, batch(labels=[0] * 6), "7 images but 6 labels"),
        (
            TEST_NAME,
            batch(labels=[0, "0"]),
            "expected labels as a list of integers, found the text '0' in row 1",
        ),
        (TEST_NAME, batch(labels=[[0, 1]] * ROWS), "a list of integers, found a list of 2 in row 0"),
        (TEST_NAME, batch(labels=[2**70] * ROWS), "found the int 1180591620717411303424 in row 0"),
        (TEST_NAME, batch(labels=[True] * ROWS), "found the bool True in row 0"),
        (TEST_NAME, batch(labels=[0.0] * ROWS), "found the float 0.0 in row 0"),
        (TEST_NAME, batch(labels={"a": 1}), "found a dict of 1"),
        (TEST_NAME, batch(labels=np.zeros(ROWS)), "a list of integers, found an array of float64 (7,)"),
        (TEST_NAME, batch(labels=np.eye(ROWS, dtype=int)), "found an array of int64 (7, 7)"),
        (TEST_NAME, batch(labels=np.array(3)), "found an array of int64 ()"),
        (TEST_NAME, batch(labels=[0, 1, 10, 3, 4, 5, 6]), "expected labels from 0 to 9, found 10 in row 2"),
        (TEST_NAME, batch(labels=[0, 1, 2, 3, 4, 5, -1]), "expected labels from 0 to 9, found -1 in row 6"),
        (BATCH_3, batch(data=TRAIN_PLANES[:6], labels=[0] * 6), "rows as in the other batches, found"),
    ],
)
def test_a_bad_batch_is_named(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    message = refusal(tar(python_10() | {name: data}, tmp_path / "source"))
    assert reason in message
    assert reason.startswith("rows") or f"source: {name}: " in message  # either batch differs from the other


@pytest.mark.parametrize("place", [folder, tar])
@pytest.mark.parametrize("missing", [TEST_NAME, BATCH_3])
def test_a_missing_batch_is_named(missing: str, place: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    files = python_10()
    del files[missing]
    assert refusal(place(files, tmp_path / "source")).endswith(f"expected CIFAR-10, found no {missing}")


@pytest.mark.parametrize("place", [folder, tar])
@pytest.mark.parametrize("above", ["cifar", "a/b"])
def test_a_folder_too_many_is_named(above: str, place: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    files = {f"{above}/{name}": data for name, data in python_10().items()}
    message = refusal(place(files, tmp_path / "source"))
    assert (
        f"found no cifar-10-batches-py/data_batch_1, but {above}/cifar-10-batches-py/data_batch_1" in message
    )


@pytest.mark.parametrize("place", [folder, tar])
def test_a_renamed_batch_is_named(place: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    files = python_10()
    files[f"{BATCH_3} (1)"] = files.pop(BATCH_3)
    message = refusal(place(files, tmp_path / "source"))
    assert f"found no {BATCH_3}, but {BATCH_3} (1): " in message


def test_both_versions_at_once_are_refused(tmp_path: Path) -> None:
    assert "found both" in refusal(tar(python_10() | binary_10(), tmp_path / "source"))


@pytest.mark.parametrize("place", [folder, tar])
def test_another_data_set_is_told(place: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    message = refusal(place(python_10(), tmp_path / "source"), variant=cifar.CIFAR100_FINE)
    assert message.endswith("expected CIFAR-100, found no cifar-100-python/train")


def test_records_have_to_be_whole(tmp_path: Path) -> None:
    files = binary_10()
    files["cifar-10-batches-bin/data_batch_2.bin"] += b"x"
    assert "expected records of 3,073 bytes, found 21,512 bytes" in refusal(tar(files, tmp_path / "source"))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((50_000, 3), "expected 50,000 train images, found 7 in each of 5 batches"),
        ((35, 4), "expected 4 test images, found 3 in each of 1 batches"),
    ],
)
def test_counts_are_checked(counts: tuple[int, int], reason: str, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(archive(python_10()))
    assert reason in refusal(tmp_path / "source", counts=counts)


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="No such file or directory"):
        parse(tmp_path / "missing")


def test_a_cut_archive_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress(archive(python_10()))
    (tmp_path / "source").write_bytes(packed[: len(packed) * 2 // 3])
    assert "cut off" in refusal(tmp_path / "source")


# Writing


def write(path: Path, **changes: Array) -> None:
    arguments = {
        "train_images": TRAIN,
        "train_labels": TRAIN_LABELS,
        "test_images": TEST,
        "test_labels": TEST_LABELS,
        **changes,
    }
    cifar.write_archive(path, **arguments, class_names=NAMES)


def test_a_written_archive_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "source")
    for array, expected in zip(
        parse(tmp_path / "source"), (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS), strict=True
    ):
        assert np.array_equal(array, expected)


@pytest.mark.parametrize("encoding", ["latin1", "bytes"])
def test_a_written_archive_is_the_official_format(encoding: str, tmp_path: Path) -> None:
    write(tmp_path / "source")
    convert: Callable[[str], object] = (lambda text: text) if encoding == "latin1" else str.encode
    with tarfile.open(tmp_path / "source") as tar_file:
        contents = {}
        for member in tar_file:
            assert member.isreg()
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            file = tar_file.extractfile(member)
            assert file is not None
            contents[member.name] = pickle.load(file, encoding=encoding)  # noqa: S301  (our own bytes)
    assert sorted(contents) == sorted(
        f"cifar-10-batches-py/{name}" for name in ["batches.meta", *BATCHES, "test_batch"]
    )
    meta = contents["cifar-10-batches-py/batches.meta"]
    assert meta == {
        convert("num_cases_per_batch"): ROWS,
        convert("label_names"): [convert(name) for name in NAMES],
        convert("num_vis"): 3072,
    }
    third = contents[BATCH_3]
    assert list(third) == [convert(key) for key in ("batch_label", "labels", "data", "filenames")]
    assert third[convert("batch_label")] == convert("training batch 3 of 5")
    assert third[convert("labels")] == TRAIN_LABELS[2 * ROWS : 3 * ROWS].tolist()
    assert np.array_equal(third[convert("data")], TRAIN_PLANES[2 * ROWS : 3 * ROWS])
    assert len(set(third[convert("filenames")])) == ROWS
    assert contents[TEST_NAME][convert("batch_label")] == convert("testing batch 1 of 1")


def test_the_bytes_are_these(tmp_path: Path) -> None:
    # The same on every version of Python and NumPy; a change here changes every bundled archive.
    images = np.arange(5 * 3072, dtype=np.uint32).astype(np.uint8).reshape(5, 32, 32, 3)
    labels = np.arange(5)
    write(tmp_path / "one", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    write(
        tmp_path / "two",
        train_images=np.asfortranarray(images),
        train_labels=labels.astype(np.uint8),
        test_images=images[::-1][::-1],
        test_labels=labels,
    )
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    assert len(data) % tarfile.RECORDSIZE == 0
    assert (
        hashlib.sha256(data).hexdigest() == "9ddf240d1ce3b0bb0fbeb0b791e61d8fea98739236dcd8a3535e11c8eeca5c41"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"train_images": TRAIN[:-1]},
        {"train_images": TRAIN[:-1], "train_labels": TRAIN_LABELS[:-1]},
        {"test_images": TEST.astype(float)},
        {"test_images": TEST[:, :31]},
    ],
)
def test_arrays_that_do_not_fit_are_a_mistake(changes: dict[str, Array], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images"):
        write(tmp_path / "source", **changes)
    assert list(tmp_path.iterdir()) == []


# The official files


def build_archive() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build_archive", OFFICIAL / "build_archive.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@real_data
@needs_official
def test_an_official_batch() -> None:
    builder = build_archive()
    labels, images, names = builder.read_batch("test_batch")
    data = builder.batch_pickle(b"testing batch 1 of 1", labels, images, names)
    assert hashlib.md5(data, usedforsecurity=False).hexdigest() == builder.MD5["test_batch"]
    found = pickle_reader.restricted_loads(data, name="test_batch")
    assert isinstance(found, dict)
    assert list(found) == ["batch_label", "labels", "data", "filenames"]
    assert found["labels"] == labels
    assert found["filenames"] == [name.decode() for name in names]
    assert np.array_equal(found["data"], images.transpose(0, 3, 1, 2).reshape(10_000, 3072))
    meta = pickle_reader.restricted_loads((OFFICIAL / "batches.meta").read_bytes(), name="batches.meta")
    assert meta == {"num_cases_per_batch": 10_000, "label_names": NAMES, "num_vis": 3072}


@real_data
@needs_official
@pytest.mark.slow
def test_the_official_archive(tmp_path: Path) -> None:
    builder = build_archive()
    builder.main(tmp_path / "official")
    from_archive = parse(tmp_path / "official" / "cifar-10-python.tar.gz", counts=(50_000, 10_000))
    from_folder = parse(tmp_path / "official", counts=(50_000, 10_000))
    for one, other in itertools.zip_longest(from_archive, from_folder):
        assert np.array_equal(one, other)
    assert np.bincount(from_archive[1]).tolist() == [5000] * 10
    assert np.bincount(from_archive[3]).tolist() == [1000] * 10
    labels, images, _ = builder.read_batch("data_batch_4")
    assert np.array_equal(from_archive[0][30_000:40_000], images)
    assert from_archive[1][30_000:40_000].tolist() == labels
