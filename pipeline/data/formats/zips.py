"""Members of a zip archive, each read as a stream and never extracted.

The list of an archive's members is read whole by the standard library: its length is bounded here, as is what
a member may claim.
"""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from pipeline.core.descriptions import HEAD_BYTES, describe, nearest, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import reading

MAXIMUM_DIRECTORY_BYTES: Final = 2**30
"""How long the list of members may be; a member takes about 100 bytes of it."""

_MAGIC: Final = b"PK\3\4"
_EMPTY_MAGIC: Final = b"PK\5\6"
_TAIL_BYTES: Final = 2**16 + 22 + 20 + 56  # the longest comment, the end, and the 64-bit ends
_KINDS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAXIMUM_RATIO: Final = 1032  # of deflate
_ENCRYPTED: Final = 1


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does.

    Raises:
        PipelineError: it is missing or cannot be read.
    """
    with reading(path) as file:
        return file.read(4) in {_MAGIC, _EMPTY_MAGIC}


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose list of members is not too long; damage in the block is told as FormatError.

    Raises:
        FormatError: it is no zip archive, or a damaged one.
        PipelineError: it is missing or cannot be read.
    """
    with reading(path) as file, told(path):
        _check_directory(path, file)
        with zipfile.ZipFile(file) as archive:
            yield archive


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the standard library's reader raises of damaged archives into FormatError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: damaged zip archive: {shorten(str(error) or 'cut off')}") from None


def _check_directory(path: Path, file: BinaryIO) -> None:
    """See that it is a zip archive whose list of members is not too long to be read."""
    head = file.read(HEAD_BYTES)
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    end = tail.rfind(_EMPTY_MAGIC)
    if end < 0 or len(tail) < end + 22:
        found = describe(head)
        if head.startswith(_MAGIC):
            raise FormatError(f"{path}: the zip archive is cut off; the file is incomplete")
        raise FormatError(f"{path}: expected a zip archive, found {found}")
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    longer = tail.rfind(b"PK\6\6", 0, end)
    if longer >= 0:
        length = max(length, int.from_bytes(tail[longer + 40 : longer + 48], "little"))
    if length > MAXIMUM_DIRECTORY_BYTES:
        raise FormatError(f"{path}: the zip archive claims a list of members of {length:,} bytes")
    file.seek(0)


def check_member(path: Path, entry: zipfile.ZipInfo) -> None:
    """See that a member can be read, and claims no more than it can hold.

    Raises:
        FormatError: it is encrypted, packed in a way that is not read, or claims too much.
    """
    place = path / entry.filename
    if entry.flag_bits & _ENCRYPTED:
        raise FormatError(f"{place}: expected a member without a password, found an encrypted one")
    if entry.compress_type not in _KINDS:
        raise FormatError(
            f"{place}: expected a member that is stored or deflated, found method {entry.compress_type}"
        )
    ratio = 1 if entry.compress_type == zipfile.ZIP_STORED else _MAXIMUM_RATIO
    if entry.file_size > entry.compress_size * ratio:
        raise FormatError(
            f"{place}: claims {entry.file_size:,} bytes, more than its {entry.compress_size:,} packed bytes"
            " can hold"
        )


@contextlib.contextmanager
def open_member(path: Path, member: str) -> Iterator[tuple[BinaryIO, int]]:
    """A member of a zip archive as a stream, and its size.

    Args:
        path: the archive.
        member: its full name; "" for the only file that there is.

    Raises:
        FormatError: it is no zip archive, has no such member, or it is damaged.
        PipelineError: the archive is missing or cannot be read.
    """
    with open_archive(path) as archive:
        found = [entry for entry in archive.infolist() if entry.filename == member]
        if not member:
            found = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(found) != 1:
            names = [entry.filename for entry in archive.infolist()]
            near = nearest(member, names) if member else None
            hint = f", but {shorten(near)}" if near else f": {shorten(', '.join(names))}"
            wanted = f"no {member}" if member and not found else f"{len(found)} files"
            raise FormatError(
                f"{path}: expected {member or 'one file'} in the zip archive, found {wanted}{hint}"
            )
        check_member(path, found[0])
        with archive.open(found[0]) as file:
            yield cast("BinaryIO", file), found[0].file_size
