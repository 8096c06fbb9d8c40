"""Arrays on disk: .npy written as a stream and mapped into memory, .npz with stored entries."""

import contextlib
import io
import math
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import Array, atomic_write, reading

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor
_FLUSH_BYTES: Final = 2**24  # of a .npy file, at a time
_ZIP_END_BYTES: Final = 22
_ZIP64_END_BYTES: Final = 56 + 20  # the record, and the locator that follows it
_MAXIMUM_ZIP_DIRECTORY_BYTES: Final = 2**20  # a thousand entries and more
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the format's zero
# The header as NumPy writes it for plain numbers. NumPy's own reader evaluates it as a Python literal.
_NPY_HEADER: Final = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>.{2})\{'descr': '(?P<element>[<>|][biuf][0-9]{1,2})', "
    rb"'fortran_order': (?P<fortran>False|True), "
    rb"'shape': \((?P<shape>|[0-9]{1,15},|[0-9]{1,15}(?:, [0-9]{1,15})+)\), \} *\n",
    re.DOTALL,
)
NPY_HEADER_BYTES: Final = 4096
"""More than a header takes."""


OpenShape: TypeAlias = tuple[int, ...] | tuple[int | None, *tuple[int, ...]]
"""Of an array whose number of rows may be open: None."""


class NpyWriter:
    """A .npy file under construction, filled by rows in any order; their number may be open until the end.

    Plain writes: a memory map would meet a full disk as a crash, and was slower. What has been written is
    flushed to the disk now and then by a thread of the pool, so that little is left to wait for at the end.
    """

    def __init__(
        self,
        file: BinaryIO,
        shape: OpenShape,
        dtype: DTypeLike,
        pool: "ThreadPoolExecutor",
    ) -> None:
        self._file = file
        self._pool = pool
        self._flush: Future[None] | None = None
        self._unflushed_bytes = 0
        self._element = np.dtype(dtype)
        self._count, self._row_shape = shape[0], shape[1:]
        self._row_bytes = math.prod(self._row_shape) * self._element.itemsize
        self._bytes = 0
        self._start = self._write_header(self._count or 0)

    def _write_header(self, count: int) -> int:
        """Write the header, which is equally long for any number of rows, and say where it ends."""
        header = io.BytesIO()
        fields = {
            "descr": self._element.str,
            "fortran_order": False,
            "shape": (count, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(header, fields)
        self._file.seek(0)
        self._file.write(header.getvalue())
        return self._file.tell()

    @property
    def rows(self) -> int:
        """How many rows have been written."""
        return self._bytes // self._row_bytes if self._row_bytes else 0

    def write_rows(self, first: int, rows: Array) -> None:
        """Write array elements `first`, `first` + 1 and so on along the first axis.

        Args:
            first: index of the first row.
            rows: of the file's element type, (count, ...).
        """
        fits = rows.dtype == self._element and rows.shape[1:] == self._row_shape
        if not fits or first < 0 or (self._count is not None and first + len(rows) > self._count):
            shape = (self._count, *self._row_shape)
            raise ValueError(f"{rows.dtype} {rows.shape} at row {first} of {self._element} {shape}")
        self._file.seek(self._start + first * self._row_bytes)
        self.write_bytes(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Write the next elements, in C order, as they are in memory."""
        written = self._file.write(data)
        self._bytes += written
        self._unflushed_bytes += written
        if self._unflushed_bytes >= _FLUSH_BYTES and (self._flush is None or self._flush.done()):
            self._wait()
            self._unflushed_bytes = 0
            self._flush = self._pool.submit(os.fsync, self._file.fileno())

    def _wait(self) -> None:
        # The kernel tells of a disk's failure once: here, not at the next flush.
        if self._flush is not None:
            self._flush.result()

    def finish(self) -> None:
        """See that every element was written, once."""
        self._wait()
        if self._count is None:
            end = self._file.seek(0, os.SEEK_END) - self._start
            self._write_header(self.rows)
        else:
            end = self._count * self._row_bytes
        if self._bytes != end:
            raise ValueError(f"{self._bytes:,} bytes of an array of {end:,} were written")


@contextlib.contextmanager
def atomic_npy(path: Path, shape: OpenShape, dtype: DTypeLike) -> Iterator[NpyWriter]:
    """An array of this shape, written piece by piece, that becomes the .npy file `path` when the block ends.

    Args:
        path: the file to write.
        shape: of the array; None for its first axis where the number of rows is told by what is written.
        dtype: of its elements: numbers.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    from concurrent.futures import ThreadPoolExecutor  # parse alone writes such files

    with atomic_write(path) as file, ThreadPoolExecutor(1) as pool:
        writer = NpyWriter(file, shape, dtype, pool)
        yield writer
        writer.finish()


# Arrays


def write_arrays(path: Path, **arrays: Array) -> None:
    """Write named arrays of numbers as an uncompressed .npz, its bytes a function of their values; atomic.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            entry.create_system = 3  # Unix, whichever this is
            entry.external_attr = 0o644 << 16
            plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
            # ZIP64 headers only where the size asks for them: Python before 3.11.4 writes other ones.
            entry.file_size = plain.nbytes
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, plain, (1, 0), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz that `write_arrays` wrote, by name.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is damaged, compressed, or holds anything but arrays of numbers.
    """
    with reading(path) as file:
        head = file.read(HEAD_BYTES)
        if not head.startswith(b"PK"):
            raise FormatError(f"{path}: expected an .npz file of arrays, found {describe(head)}")
        try:
            size = os.fstat(file.fileno()).st_size
            _check_directory(file, size)
            with zipfile.ZipFile(file) as archive:
                entries = _entries(archive, size)
                return {name: _read_entry(archive, entry) for name, entry in entries.items()}
        except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, TypeError, struct.error) as error:
            raise FormatError(f"{path}: damaged .npz file: {shorten(str(error))}") from None


def _check_directory(file: BinaryIO, size: int) -> None:
    """See that a zip file's list of entries is short: the standard library's reader takes all of it in.

    Raises:
        ValueError: it is long, or the file does not end as a zip file without a comment does.
    """
    file.seek(max(0, size - _ZIP64_END_BYTES - _ZIP_END_BYTES))
    tail = file.read(_ZIP64_END_BYTES + _ZIP_END_BYTES)
    end, end64 = tail[-_ZIP_END_BYTES:], tail[:-_ZIP_END_BYTES]
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise ValueError("not a zip file: its end is missing, or is not ours")
    length = int.from_bytes(end[12:16], "little")
    if end64[56:].startswith(b"PK\6\7"):
        length = max(length, int.from_bytes(end64[40:48], "little"))
    if length > _MAXIMUM_ZIP_DIRECTORY_BYTES:
        raise ValueError(f"a list of entries of {length:,} bytes")


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise ValueError("an array is in it twice")
    # Entries that claim more than there is, or that overlap, would multiply it.
    if sum(entry.compress_size for entry in entries.values()) > size:
        raise ValueError(f"its arrays claim more than its own {size:,} bytes")
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed")
    data = archive.read(entry)  # at most as long as the file, being stored; checks the CRC
    shape, order, element, offset = npy_header(data[:NPY_HEADER_BYTES], len(data))
    return np.frombuffer(data, element, offset=offset).reshape(shape, order=order).copy()


def npy_header(head: bytes, size: int) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Shape, order, element type and where the data starts, of a .npy file of `size` bytes.

    Raises:
        ValueError: it is no such file, or has another size than its header promises.
    """
    match = _NPY_HEADER.match(head)
    if match is None or int.from_bytes(match["length"], "little") != match.end() - 10:
        found = describe(head[:HEAD_BYTES])
        if head.startswith(b"\x93NUMPY"):
            found = "another element type or version, or a damaged header"
        raise ValueError(f"expected a .npy array of numbers, found {found}")
    element = np.dtype(match["element"].decode("ascii"))
    shape = tuple(int(length) for length in re.findall(rb"[0-9]+", match["shape"]))
    promised = match.end() + math.prod(shape) * element.itemsize
    if promised != size:
        taken = f"an array of shape {shorten(str(shape))} takes {shorten(f'{promised:,}', 40)} bytes"
        raise ValueError(f"{taken}, found {size:,}")
    return shape, "F" if match["fortran"] == b"True" else "C", element, match.end()


def map_npy(path: Path) -> Array:
    """The array in a .npy file, read-only and memory-mapped: pages are read when they are used.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is no .npy file of numbers, or has another size than its header promises.
    """
    with reading(path) as file:
        try:
            shape, order, element, offset = npy_header(
                file.read(NPY_HEADER_BYTES), os.fstat(file.fileno()).st_size
            )
            if math.prod(shape) == 0:
                return np.empty(shape, element)
            # As a plain array: the subclass costs time in every operation.
            return np.asarray(np.memmap(file, element, "r", offset, shape, order))
        # NumPy refuses too many axes, and too long ones even where there are no elements.
        except (ValueError, TypeError) as error:
            raise FormatError(f"{path}: {error}") from None
