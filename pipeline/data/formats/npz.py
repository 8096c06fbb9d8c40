"""NumPy's .npz: a zip archive of .npy arrays, as Keras and others publish data sets; never pickled objects.

Arrays are read as streams, some rows at a time, whether they are packed or not.
(NumPy enhancement proposal 1: a simple file format for NumPy arrays.)
"""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from pipeline.core import runtime
from pipeline.core.descriptions import nearest, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.arrays import NPY_HEADER_BYTES, npy_header
from pipeline.data.formats import zips
from pipeline.data.formats.examples import Array, Batch, Member, Request, check_images, check_labels

MEMBERS: Final = {
    "train_images": "x_train",
    "train_labels": "y_train",
    "test_images": "x_test",
    "test_labels": "y_test",
}
"""The arrays' names where a definition gives none: those of Keras."""

_SUFFIX: Final = ".npy"


class Rows:
    """An array in an .npz, read from front to back.

    Attributes:
        place: the array, for messages.
        dtype: of its elements, in the file's byte order.
        shape: of the array.
    """

    def __init__(self, place: Path, file: BinaryIO, size: int) -> None:
        self.place = place
        self._file = file
        with zips.told(place):
            head = file.read(min(size, NPY_HEADER_BYTES))
            try:
                self.shape, order, self.dtype, start = npy_header(head, size)
            except ValueError as error:
                raise FormatError(f"{place}: {error}") from None
        if order == "F" and len(self.shape) > 1 and np.prod(self.shape) > max(self.shape):
            raise FormatError(
                f"{place}: expected rows one after the other (C order), found columns (F order)"
            )
        self._rest = head[start:]

    def read(self, count: int) -> Array:
        """The next rows in this machine's byte order; fewer at the end."""
        with zips.told(self.place):
            row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
            wanted = count * row_bytes
            parts = [self._rest[:wanted]]
            self._rest = self._rest[wanted:]
            missing = wanted - len(parts[0])
            while missing and (part := self._file.read(missing)):
                parts.append(part)
                missing -= len(part)
            data = b"".join(parts)
        if row_bytes and len(data) % row_bytes:
            raise FormatError(f"{self.place}: the array is cut off; the file is incomplete")
        rows = np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
        return rows.astype(self.dtype.newbyteorder("="), copy=False)

    def batches(self, count: int) -> Iterator[Array]:
        """All rows, so many at a time."""
        left = self.shape[0]
        while left:
            rows = self.read(min(count, left))
            if not len(rows):
                raise FormatError(f"{self.place}: the array is cut off; the file is incomplete")
            left -= len(rows)
            yield rows
        # Past the end, the archive's reader checks what has been read.
        with zips.told(self.place):
            self._file.read(1)


@contextlib.contextmanager
def open_array(path: Path, name: str | None) -> Iterator[Rows]:
    """An array of an .npz.

    Args:
        path: the file.
        name: of the array; None for the only one that there is.

    Raises:
        FormatError: it is no .npz, damaged, has no such array, or one of anything but numbers.
        PipelineError: it is missing or cannot be read.
    """
    with zips.open_archive(path) as archive:
        entries = {entry.filename.removesuffix(_SUFFIX): entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise FormatError(f"{path}: an array is in it twice")
        if name is None and len(entries) == 1:
            (name,) = entries
        if name is None or name not in entries:
            near = nearest(name or "", entries)
            raise FormatError(
                f"{path}: expected {f'the array {name}' if name else 'one array'}, found"
                f" {shorten(', '.join(entries)) or 'none'}{f'; is it {near}?' if near else ''}"
                " (reading.members names them)"
            )
        zips.check_member(path, entries[name])
        with archive.open(entries[name]) as file:
            yield Rows(path / name, cast("BinaryIO", file), entries[name].file_size)


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from arrays with the roles PART_images and PART_labels.

    Yields:
        Batches whose images are unsigned integers or floating-point numbers, (rows, height, width, channels).

    Raises:
        FormatError: the arrays are damaged, have other shapes or counts, or do not agree.
        PipelineError: a file is missing or cannot be read.
    """
    pairs = request.pairs()
    total = 0
    for images, labels in pairs:
        with open_array(*images) as rows:
            check_images(rows.dtype, rows.shape, rows.place, request.shape)
            total += rows.shape[0]
            last = rows.place
        with open_array(*labels) as found:
            check_labels(found.dtype, found.shape, found.place, request.reading.label_column)
            if found.shape[0] != rows.shape[0]:
                raise FormatError(
                    f"{found.place}: expected {rows.shape[0]:,} labels for the images of {rows.place.name},"
                    f" found {found.shape[0]:,}"
                )
    if request.count not in (None, total):
        raise FormatError(f"{last}: expected {request.count:,} {request.part} images, found {total:,}")
    for pair in pairs:
        yield from _read_pair(request, *pair)


def _read_pair(request: Request, images: Member, labels: Member) -> Generator[Batch, None, None]:
    with open_array(*labels) as found:
        needed = int(np.prod(found.shape, dtype=np.int64)) * found.dtype.itemsize
        if needed > runtime.memory_bytes():
            raise FormatError(
                f"{found.place}: labels of {needed:,} bytes are more than this machine's memory"
            )
        take = check_labels(found.dtype, found.shape, found.place, request.reading.label_column)
        parts: list[Any] = [take(part) for part in found.batches(1 << 16)]
        numbers = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    first = 0
    with open_array(*images) as rows:
        for batch in rows.batches(request.rows_at_a_time):
            shaped = batch.reshape(-1, *request.shape)
            taken = numbers[first : first + len(batch)]
            yield Batch(shaped, taken, rows.place, found.place, first)
            first += len(batch)
