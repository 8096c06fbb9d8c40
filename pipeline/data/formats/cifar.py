"""CIFAR-10 and CIFAR-100, the python and the binary version, from a tar, a tar.gz or a folder.

The python version has pickled batches: dicts with "data", uint8 (rows, 3072), and lists of labels. The binary
version has records of one label byte (CIFAR-100: coarse and fine) and 3,072 bytes of pixels. The pixels of an
image are a red, a green and a blue plane of 32 by 32, each row by row. All batches of a part have the same
number of rows.
(A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.)
"""

import contextlib
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pipeline.core.descriptions import nearest, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files import pickle_reader, pickle_writer
from pipeline.core.files.arrays import NpyWriter, atomic_npy
from pipeline.core.files.atomic import atomic_write, read_bytes
from pipeline.data.formats.streams import one_ahead, open_stream
from pipeline.data.formats.tar import read_members

Array = np.ndarray[Any, Any]
Part = Literal["train", "test"]

IMAGE_SHAPE: Final = (32, 32, 3)
"""Height, width, channels."""

MAXIMUM_BATCH_BYTES: Final = 2**28
"""The size past which a batch is refused; CIFAR-100's train batch has 155 MB."""

_PLANE: Final = 32 * 32
_PIXELS: Final = 3 * _PLANE
_TRAIN_BATCHES: Final = 5
_MOST_NAMES: Final = 1000  # of a folder, looked at for one that is near a missing one
_ROWS_AT_A_TIME: Final = 64  # what the caches hold, so that three passes over them cost little
_PYTHON_FOLDER: Final = "cifar-10-batches-py"


@dataclass(frozen=True)
class _Version:
    """Where an archive keeps its batches."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    is_binary: bool

    def batches(self) -> dict[str, tuple[Part, int]]:
        """Part and position of each batch, by its file's name."""
        train: dict[str, tuple[Part, int]] = {name: ("train", index) for index, name in enumerate(self.train)}
        return train | {name: ("test", index) for index, name in enumerate(self.test)}


@dataclass(frozen=True)
class Variant:
    """A data set and which of its labels to read.

    Attributes:
        title: for messages.
        label_key: of the labels in a python batch.
        label_column: the label byte's place in a binary record.
        label_columns: how many label bytes a binary record has.
        versions: where the batches are.
    """

    title: str
    label_key: str
    label_column: int
    label_columns: int
    versions: tuple[_Version, ...]


_VERSIONS_10: Final = (
    _Version(_PYTHON_FOLDER, tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",), is_binary=False),
    _Version(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{n}.bin" for n in range(1, 6)),
        ("test_batch.bin",),
        is_binary=True,
    ),
)
_VERSIONS_100: Final = (
    _Version("cifar-100-python", ("train",), ("test",), is_binary=False),
    _Version("cifar-100-binary", ("train.bin",), ("test.bin",), is_binary=True),
)

CIFAR10: Final = Variant("CIFAR-10", "labels", 0, 1, _VERSIONS_10)
CIFAR100_FINE: Final = Variant("CIFAR-100", "fine_labels", 1, 2, _VERSIONS_100)
CIFAR100_COARSE: Final = Variant("CIFAR-100", "coarse_labels", 0, 2, _VERSIONS_100)


@dataclass(frozen=True)
class Destination:
    """Where a part goes.

    Attributes:
        images: .npy file, uint8 (count, 32, 32, 3).
        labels: .npy file, uint8 (count,).
        count: how many images to expect; None for any number.
    """

    images: Path
    labels: Path
    count: int | None = None


@dataclass(frozen=True)
class _Batch:
    place: str  # its name in messages
    part: Part
    index: int
    pixels: Array  # uint8 (rows, 3072)
    labels: Array  # integers (rows,)


_Member = tuple[_Version, str, str, bytes]  # which of its version's batches, its place, what it holds


@dataclass(frozen=True)
class _Output:
    rows: int  # of a batch
    images: NpyWriter
    labels: NpyWriter


def parse_into(
    source: Path,
    variant: Variant,
    *,
    train: Destination,
    test: Destination,
    encode: Callable[[Array, str], Array],
    adjust: Callable[[Array], Array] = lambda images: images,
    may_leave_out: bool = False,
) -> None:
    """Copy images and labels into .npy files, one batch at a time, in whatever order the archive has them.

    Where images may be left out, the archive is read twice: first for the labels.

    Args:
        source: a tar, a tar.gz, or a folder that holds the batches or the archive's own folder.
        variant: what to read.
        train: where the training part goes.
        test: where the test part goes.
        encode: turns labels (rows,), and the batch's name for messages, into places among the classes; -1 is
            for images to be left out.
        adjust: changes images, uint8 (rows, 32, 32, 3).
        may_leave_out: whether `encode` may.

    Raises:
        FormatError: it is no such archive, damaged, lacks a batch, or has other counts, shapes or labels.
        PipelineError: it is missing or cannot be read, or a destination cannot be written.
    """
    destinations: Mapping[Part, Destination] = {"train": train, "test": test}
    outputs: dict[Part, _Output] = {}
    starts = _starts(source, variant, encode) if may_leave_out else None
    # Closed, not left to whoever drops the last error: its traceback would keep the archive open.
    with contextlib.ExitStack() as stack, contextlib.closing(_batches(source, variant)) as found:
        for batch, batches in found:
            rows = len(batch.labels)
            if rows == 0:
                raise FormatError(f"{batch.place}: expected images, found none")
            codes = encode(batch.labels, batch.place)
            if batch.part not in outputs:
                # The first batch tells the size of all.
                destination = destinations[batch.part]
                count = rows * batches if starts is None else starts[batch.part][-1]
                if destination.count not in (None, count):
                    shown = f"{rows:,} in each of {batches} batches" if starts is None else f"{count:,}"
                    raise FormatError(
                        f"{batch.place}: expected {destination.count:,} {batch.part} images, found {shown}"
                    )
                outputs[batch.part] = _Output(
                    rows,
                    stack.enter_context(atomic_npy(destination.images, (count, *IMAGE_SHAPE), np.uint8)),
                    stack.enter_context(atomic_npy(destination.labels, (count,), np.uint8)),
                )
            output = outputs[batch.part]
            if rows != output.rows:
                raise FormatError(
                    f"{batch.place}: expected {output.rows:,} rows as in the other batches, found {rows:,}"
                )
            kept = codes >= 0
            at = batch.index * rows if starts is None else starts[batch.part][batch.index]
            output.labels.write_rows(at, codes[kept].astype(np.uint8))
            for start, images in _interleaved(batch.pixels):
                chosen = adjust(images if starts is None else images[kept[start : start + len(images)]])
                output.images.write_rows(at, chosen)
                at += len(chosen)


def _starts(source: Path, variant: Variant, encode: Callable[[Array, str], Array]) -> dict[Part, list[int]]:
    """Where each batch of a part begins among the images that are kept, and where the last one ends."""
    counts: dict[Part, dict[int, int]] = {"train": {}, "test": {}}
    with contextlib.closing(_batches(source, variant)) as found:
        for batch, _ in found:
            counts[batch.part][batch.index] = int(np.count_nonzero(encode(batch.labels, batch.place) >= 0))
    return {
        part: [0, *accumulate(count for _, count in sorted(by_index.items()))]
        for part, by_index in counts.items()
    }


def _interleaved(pixels: Array) -> Iterator[tuple[int, Array]]:
    """Planes (rows, 3072) as images, 64 at a time in one buffer, with the row of the first of them."""
    buffer = np.empty((_ROWS_AT_A_TIME, _PLANE, 3), np.uint8)
    for start in range(0, len(pixels), _ROWS_AT_A_TIME):
        planes = pixels[start : start + _ROWS_AT_A_TIME]
        images = buffer[: len(planes)]
        for channel in range(3):
            images[:, :, channel] = planes[:, channel * _PLANE : (channel + 1) * _PLANE]
        yield start, images.reshape(-1, *IMAGE_SHAPE)


def _batches(source: Path, variant: Variant) -> Generator[tuple[_Batch, int], None, None]:
    """Every batch, and how many its part has."""
    others: list[str] = []
    members = (
        _folder_members(source, variant, others)
        if source.is_dir()
        else _archive_members(source, variant, others)
    )
    seen: dict[_Version, set[str]] = {}
    with contextlib.closing(one_ahead(members)) as ahead:
        for version, name, place, data in ahead:
            seen.setdefault(version, set()).add(name)
            if len(seen) > 1:
                raise FormatError(f"{place}: expected the python or the binary version, found both")
            part, index = version.batches()[name]
            pixels, labels = (_binary if version.is_binary else _pickled)(data, place, variant)
            yield _Batch(place, part, index, pixels, labels), len(getattr(version, part))
    version = next(iter(seen), variant.versions[0])
    missing = [name for name in version.batches() if name not in seen.get(version, ())]
    if missing:
        wanted = f"{version.folder}/{missing[0]}"
        raise FormatError(f"{source}: expected {variant.title}, found no {wanted}{_instead(wanted, others)}")


def _instead(wanted: str, others: Sequence[str]) -> str:
    """What may have been meant for a batch that is missing: it lies one folder deeper, or was renamed."""
    near = nearest(wanted, others)
    return "" if near is None else f", but {shorten(near)}: expected it without other folders and by its name"


def _archive_members(source: Path, variant: Variant, others: list[str]) -> Generator[_Member, None, None]:
    names = {
        f"{version.folder}/{name}": (version, name)
        for version in variant.versions
        for name in version.batches()
    }
    with open_stream(source) as stream:
        for member, data in read_members(stream, names, maximum_bytes=MAXIMUM_BATCH_BYTES, others=others):
            yield *names[member], f"{source}: {member}", data


def _folder_members(source: Path, variant: Variant, others: list[str]) -> Generator[_Member, None, None]:
    for version in variant.versions:
        for name in version.batches():
            for path in (source / version.folder / name, source / name):
                if path.is_file():
                    yield version, name, str(path), read_bytes(path, maximum_bytes=MAXIMUM_BATCH_BYTES)
                    break
    wanted = {f"{version.folder}/{name}" for version in variant.versions for name in version.batches()}
    found = (path.relative_to(source).as_posix() for path in islice(source.rglob("*"), _MOST_NAMES))
    others += sorted(name for name in found if name not in wanted)


def _pickled(data: bytes, place: str, variant: Variant) -> tuple[Array, Array]:
    batch = pickle_reader.restricted_loads(data, name=place)
    if not isinstance(batch, dict) or not {"data", variant.label_key} <= batch.keys():
        found = f"the keys {shorten(', '.join(batch))}" if isinstance(batch, dict) else type(batch).__name__
        raise FormatError(f"{place}: expected a dict with data and {variant.label_key}, found {found}")
    pixels = batch["data"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        found = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise FormatError(f"{place}: expected data as uint8 (rows, {_PIXELS}), found {found}")
    labels = _labels(batch[variant.label_key], f"{place}: expected {variant.label_key} as a list of integers")
    if len(labels) != len(pixels):
        raise FormatError(f"{place}: {len(pixels):,} images but {len(labels):,} {variant.label_key}")
    return pixels, labels


def _labels(value: object, expected: str) -> Array:
    """Integers (rows,), however they were put: a list or tuple of any kind of integer, an array, a column.

    Raises:
        FormatError: they are something else; the message begins with `expected`.
    """
    if isinstance(value, list | tuple):
        numbers = [_alone(item) for item in value]
        for row, number in enumerate(numbers):
            if (
                isinstance(number, bool)
                or not isinstance(number, int | np.integer)
                or abs(int(number)) >= 2**31
            ):
                raise FormatError(f"{expected}, found {_described(value[row])} in row {row:,}")
        return np.array([int(number) for number in numbers], np.int64)  # type: ignore[call-overload]  # (checked)
    if (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "iu"
        and value.shape in ((value.size,), (value.size, 1))
    ):
        return value.reshape(value.size)
    raise FormatError(f"{expected}, found {_described(value)}")


def _alone(item: object) -> object:
    """What a list, tuple or array of one item holds, as a row of a column is; anything else as it is."""
    if isinstance(item, list | tuple) and len(item) == 1:
        return item[0]
    if isinstance(item, np.ndarray) and item.size == 1:
        return item.reshape(())[()]
    return item


def _described(value: object) -> str:
    """Some strangers' value, shortly."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value):,}"
    if isinstance(value, str | bytes):
        return f"the text {shorten(repr(value[:40]))}"
    return f"the {type(value).__name__} {shorten(str(value), 40)}"


def _binary(data: bytes, place: str, variant: Variant) -> tuple[Array, Array]:
    record = variant.label_columns + _PIXELS
    if len(data) % record:
        raise FormatError(f"{place}: expected records of {record:,} bytes, found {len(data):,} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, variant.label_columns :], records[:, variant.label_column]


def write_archive(
    path: Path,
    train_images: Array,
    train_labels: Array,
    test_images: Array,
    test_labels: Array,
    class_names: Sequence[str],
) -> None:
    """Write CIFAR-10's python version as a plain tar, its bytes a function of the arguments alone; atomic.

    Args:
        path: the file to write.
        train_images: uint8 (count, 32, 32, 3); the count a multiple of five, for as many batches.
        train_labels: (count,), from 0.
        test_images: uint8 (count, 32, 32, 3).
        test_labels: (count,), from 0.
        class_names: one for each label.

    Raises:
        ValueError: shapes, types or counts are others.
        PipelineError: the disk is full, the folder read-only and the like.
    """
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.dtype != np.uint8 or images.shape != (len(labels), *IMAGE_SHAPE):
            raise ValueError(f"{len(labels)} labels for images of {images.dtype} {images.shape}")
    if len(train_labels) % _TRAIN_BATCHES:
        raise ValueError(f"{len(train_labels)} images do not make {_TRAIN_BATCHES} equal batches")
    rows = len(train_labels) // _TRAIN_BATCHES
    meta = {"num_cases_per_batch": rows, "label_names": list(class_names), "num_vis": _PIXELS}
    with atomic_write(path) as file:

        def add(name: str, value: object) -> None:
            data = pickle_writer.dumps(value, for_python2=True)
            file.write(_tar_header(f"{_PYTHON_FOLDER}/{name}", len(data)))
            file.write(data)
            file.write(bytes(-len(data) % tarfile.BLOCKSIZE))

        add("batches.meta", meta)
        for batch in range(_TRAIN_BATCHES):
            part = slice(batch * rows, (batch + 1) * rows)
            title = f"training batch {batch + 1} of {_TRAIN_BATCHES}"
            value = _batch_value(title, train_images[part], train_labels[part], class_names, part.start)
            add(f"data_batch_{batch + 1}", value)
        add("test_batch", _batch_value("testing batch 1 of 1", test_images, test_labels, class_names, 0))
        file.write(bytes(2 * tarfile.BLOCKSIZE))
        file.write(bytes(-file.tell() % tarfile.RECORDSIZE))


def _tar_header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)  # owner 0, date 0, mode 644
    header.size = size
    return header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _batch_value(
    title: str, images: Array, labels: Array, class_names: Sequence[str], first: int
) -> dict[str, object]:
    planes = images.reshape(len(images), _PLANE, 3).transpose(0, 2, 1).reshape(len(images), _PIXELS)
    numbers = [int(label) for label in labels]
    return {
        "batch_label": title,
        "labels": numbers,
        "data": planes,
        "filenames": [
            f"{class_names[label].replace(' ', '_')}_s_{row:06d}.png"
            for row, label in enumerate(numbers, start=first)
        ],
    }
