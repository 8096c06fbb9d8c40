"""The contents of a file, plain or gzip, read once from front to back in bounded memory."""

import contextlib
import io
import os
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import explained, reading
from pipeline.data.formats import zips

CHUNK_BYTES: Final = 1 << 18
"""How much is read at a time: what the second-level cache holds."""

_COMPRESSED_CHUNK_BYTES: Final = 1 << 16
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # zlib reads header and trailer itself, and checks CRC and length
_MAXIMUM_RATIO: Final = 1032  # of deflate: 258 bytes for two bits
_MAXIMUM_EMPTY_MEMBERS: Final = 100

_Item = TypeVar("_Item")


class _Contents(Protocol):
    def readinto(self, view: memoryview, /) -> int | None:
        """Put some bytes into a view that is not empty; 0 at the end."""

    def read(self, count: int, /) -> bytes | None:
        """Some bytes, at most `count` (which is not 0); none at the end."""


class _Gzip:
    """The contents of a gzip file: its members one after the other, as gzip(1) reads them."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        self._compressed = b""
        self._member_is_empty = True
        self._empty_members = 0

    def readinto(self, view: memoryview, /) -> int:
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, count: int, /) -> bytes:
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            compressed = self._inflater.unconsumed_tail or self._compressed or self._read_compressed()
            self._compressed = b""
            try:
                data = self._inflater.decompress(compressed, count)
            except zlib.error as error:
                raise FormatError(f"{self._path}: damaged gzip data ({error})") from None
            if data:
                self._member_is_empty = False
                return data
            if not compressed and not self._inflater.eof:
                raise FormatError(f"{self._path}: the gzip data is cut off; the file is incomplete")

    def _read_compressed(self) -> bytes:
        return self._file.read(_COMPRESSED_CHUNK_BYTES)

    def _next_member(self) -> bool:
        rest = self._inflater.unused_data.lstrip(b"\0")  # padding with zeros is usual on tapes
        while not rest:
            compressed = self._read_compressed()
            if not compressed:
                return False
            rest = compressed.lstrip(b"\0")
        self._empty_members += self._member_is_empty
        if self._empty_members > _MAXIMUM_EMPTY_MEMBERS:
            raise FormatError(f"{self._path}: damaged gzip data (many empty members)")
        self._member_is_empty = True
        self._compressed = rest
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        return True


class Stream:
    """What a file holds, unpacked if it is gzip.

    Attributes:
        path: the file.
        is_gzip: whether it is packed, told by its first bytes and not by its name.
        maximum_bytes: more than this it cannot hold; exact if it is not packed.
        position: the bytes read so far.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        self.maximum_bytes = size * _MAXIMUM_RATIO if self.is_gzip else size
        self.position = 0
        self._contents: _Contents = _Gzip(path, file) if self.is_gzip else file  # type: ignore[assignment]  # (a raw file's readinto)

    def read_some(self, view: memoryview) -> int:
        """Fill the beginning of `view`, at most `CHUNK_BYTES` of it.

        Returns:
            How many bytes; 0 at the end of the data.

        Raises:
            FormatError: the gzip data is damaged or cut off.
            PipelineError: the file cannot be read.
        """
        with explained("read", self.path):
            count = self._contents.readinto(view[:CHUNK_BYTES]) or 0
        self.position += count
        return count

    def fill(self, view: memoryview) -> int:
        """Fill all of `view`, or as much of it as there is; how many bytes that was.

        Raises:
            FormatError: the gzip data is damaged or cut off.
            PipelineError: the file cannot be read.
        """
        filled = 0
        while filled < len(view):
            count = self.read_some(view[filled:])
            if count == 0:
                break
            filled += count
        return filled

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or as many as there are.

        Raises:
            FormatError: the gzip data is damaged or cut off.
            PipelineError: the file cannot be read.
        """
        # Grows with what there is, whatever was asked for, and gives its buffer away without a copy.
        parts = io.BytesIO()
        left = count
        with explained("read", self.path):
            while left and (part := self._contents.read(min(left, CHUNK_BYTES)) or b""):
                left -= parts.write(part)
        self.position += count - left
        return parts.getvalue()

    def skip(self, count: int) -> int:
        """Read past `count` bytes, or as many as there are; how many that was.

        Raises:
            FormatError: the gzip data is damaged or cut off.
            PipelineError: the file cannot be read.
        """
        scratch = memoryview(bytearray(min(count, CHUNK_BYTES)))
        left = count
        while left and (read := self.read_some(scratch[: min(left, CHUNK_BYTES)])):
            left -= read
        return count - left


@contextlib.contextmanager
def open_stream(path: Path, member: str | None = None) -> Iterator[Stream]:
    """A file's contents, or those of a member of a zip file, to be read from front to back.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is a folder or a device, no zip file, or has no such member.
    """
    if member is None:
        with reading(path) as file:
            yield Stream(path, file, os.fstat(file.fileno()).st_size)
    else:
        with zips.open_member(path, member) as (file, size):
            yield Stream(name_of(path, member), file, size)


def name_of(path: Path, member: str | None = None) -> Path:
    """What to call a file, or a member of one, in messages: the member as if it lay in a folder."""
    return path if member is None else path / member


def one_ahead(items: Generator[_Item, None, None]) -> Generator[_Item, None, None]:
    """The items of a generator, each made by another thread while the caller is busy with the one before.

    Inflating lets go of the interpreter, so that it goes on beside what is done with its result. An error of
    the generator is raised where its item would come; leaving off early closes the generator.
    """
    with contextlib.closing(items), ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
