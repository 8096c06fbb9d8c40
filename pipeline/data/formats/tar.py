"""Members of a tar archive, plain or gzip, read as a stream: by exact name, never extracted.

The standard library's reader keeps every header it has seen and reads extended headers of any claimed size
into memory; here, everything that an archive claims is bounded before it is read.
"""

import re
import tarfile
from collections.abc import Callable, Collection, Iterator
from typing import Final

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.data.formats.streams import Stream

MAXIMUM_ARCHIVE_BYTES: Final = 2**30
"""How much of an archive's contents is read; the CIFAR archives hold 0.2 GB."""

MAXIMUM_PICTURES: Final = 2**24
"""How many members an archive of pictures may have; how large it is has no other limit than theirs."""

_BLOCK: Final = tarfile.BLOCKSIZE
# An archive of nothing but headers packs a thousandfold, and each costs time. CIFAR's have eight members.
_MAXIMUM_HEADERS: Final = 4096
_MAXIMUM_EXTENSION_BYTES: Final = 2**16
_MAXIMUM_EXTENSIONS_BYTES: Final = 2**20
_MAXIMUM_PADDING_BYTES: Final = 2**20
_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a link",
    tarfile.DIRTYPE: "a folder",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def read_members(
    stream: Stream, names: Collection[str], *, maximum_bytes: int, others: list[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """The wanted members of a tar archive, one after the other, in the archive's order.

    Reads to the end of the archive: a member that comes twice is found, a gzip checksum is checked.

    Args:
        stream: the archive.
        names: the members' names; a "./" before them in the archive is ignored.
        maximum_bytes: the size past which a member is refused.
        others: takes the names of the members that are not wanted.

    Yields:
        Name and content.

    Raises:
        FormatError: it is no tar archive, damaged, cut off or too large, has thousands of members, or a
            wanted one is there twice, too large, or no regular file.
        PipelineError: the archive cannot be read.
    """
    found: set[str] = set()
    for name, member in _headers(stream):
        if name not in names:
            if others is not None:
                others.append(name)
            _skip(stream, _data_bytes(member))
            continue
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = _KINDS.get(member.type, "of an unknown kind")
            raise FormatError(f"{stream.path}: {name} is {kind}, expected a regular file")
        if name in found:
            raise FormatError(f"{stream.path}: {name} is in the archive twice")
        if member.size > maximum_bytes:
            raise FormatError(
                f"{stream.path}: {name} claims {member.size:,} bytes, expected at most {maximum_bytes:,}"
            )
        found.add(name)
        yield name, _take(stream, member.size)
    # What pads the last record of a tape; beyond lies the checksum of gzip.
    if stream.skip(_MAXIMUM_PADDING_BYTES) == _MAXIMUM_PADDING_BYTES:
        raise FormatError(f"{stream.path}: more data follows the end of the tar archive")


def read_pictures(
    stream: Stream, is_wanted: Callable[[str], bool], *, maximum_bytes: int
) -> Iterator[tuple[str, bytes]]:
    """The regular files of a tar archive of many small ones that are wanted, in the archive's order.

    Args:
        stream: the archive.
        is_wanted: tells it from a file's full name.
        maximum_bytes: the size past which a wanted file is refused.

    Yields:
        Name and content.

    Raises:
        FormatError: it is no tar archive, damaged or cut off, or a file is too large.
        PipelineError: the archive cannot be read.
    """
    end = -1
    for name, member in _headers(stream, MAXIMUM_PICTURES):
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not is_wanted(name):
            _skip(stream, _data_bytes(member), stream.maximum_bytes)
            end = stream.position
            continue
        if member.size > maximum_bytes:
            raise FormatError(
                f"{stream.path / name}: claims {member.size:,} bytes, expected at most {maximum_bytes:,}"
            )
        yield name, _take(stream, member.size, stream.maximum_bytes)
        end = stream.position
    # A block of zeros ends an archive: without it, pictures may be missing that nothing else would miss.
    if stream.position == end:
        raise FormatError(f"{stream.path}: the tar archive is cut off; the file is incomplete")


def find_member(stream: Stream, name: str) -> int:
    """Read on to the content of a regular file of a tar archive, and tell its size.

    Raises:
        FormatError: it is no tar archive, damaged, cut off, or has no such file.
        PipelineError: the archive cannot be read.
    """
    others: list[str] = []
    for found, member in _headers(stream):
        if found == name and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            return member.size
        others.append(found)
        _skip(stream, _data_bytes(member), stream.maximum_bytes)
    raise FormatError(
        f"{stream.path}: expected {name} in the tar archive, found {shorten(', '.join(others))}"
    )


def _headers(stream: Stream, maximum_count: int = _MAXIMUM_HEADERS) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Each member's full name and header; the stream then stands at its content, which has to be read."""
    extended: dict[str, str] = {}
    extensions_bytes = 0
    for count, member in enumerate(iter(lambda: _header(stream), None)):
        if count == maximum_count:
            raise FormatError(f"{stream.path}: more than {maximum_count:,} members in the tar archive")
        if member.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            extended |= _extension(stream, member)
            extensions_bytes += member.size
            if extensions_bytes > _MAXIMUM_EXTENSIONS_BYTES * maximum_count // _MAXIMUM_HEADERS:
                raise FormatError(f"{stream.path}: too many extended tar headers")
            continue
        if member.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            _skip(stream, member.size)
            continue
        if extended.get("size", "").isascii() and extended.get("size", "").isdigit():
            member.size = int(extended["size"][:20])
        name = extended.get("path", member.name)
        extended = {}
        yield name.removeprefix("./"), member


def _header(stream: Stream) -> tarfile.TarInfo | None:
    """The header that follows; None at the end of the archive."""
    start = stream.position
    block = stream.read(_BLOCK)
    if not block.strip(b"\0") and (start or block):
        return None
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        found = describe(block[:HEAD_BYTES])
        if start == 0 and found != "a tar archive":
            packed = "gzip data that holds " if stream.is_gzip else ""
            raise FormatError(f"{stream.path}: expected a tar archive, found {packed}{found}") from None
        raise FormatError(f"{stream.path}: damaged tar header at byte {start:,} ({error})") from None
    if member.size < 0 or member.type == tarfile.GNUTYPE_SPARSE:
        raise FormatError(f"{stream.path}: the tar header at byte {start:,} is sparse or has a negative size")
    return member


def _extension(stream: Stream, member: tarfile.TarInfo) -> dict[str, str]:
    """What a header that precedes a member's own says of it: its long name, its large size."""
    if member.size > _MAXIMUM_EXTENSION_BYTES:
        raise FormatError(f"{stream.path}: an extended tar header claims {member.size:,} bytes")
    data = _take(stream, member.size)
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    records: dict[str, str] = {}
    while record := re.match(rb"([0-9]{1,5}) ([^=]+)=", data):
        length = int(record[1])
        if length < record.end() + 1 or length > len(data):
            break
        records[record[2].decode("utf-8", "replace")] = data[record.end() : length - 1].decode(
            "utf-8", "replace"
        )
        data = data[length:]
    return records


def _data_bytes(member: tarfile.TarInfo) -> int:
    # Links, folders and devices have no content, whatever size they state.
    return member.size if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES else 0


def _check_room(stream: Stream, size: int, maximum_bytes: int) -> None:
    claim = f"{stream.path}: a tar member claims {size:,} bytes"
    if stream.position + size > maximum_bytes and maximum_bytes < stream.maximum_bytes:
        raise FormatError(f"{claim}; {maximum_bytes:,} of an archive are read")
    if stream.position + size > stream.maximum_bytes:
        raise FormatError(f"{claim}, more than follow; the file is incomplete or damaged")


def _take(stream: Stream, size: int, maximum_bytes: int = MAXIMUM_ARCHIVE_BYTES) -> bytes:
    _check_room(stream, size, maximum_bytes)
    data = stream.read(size)
    padding = -size % _BLOCK
    if len(data) < size or stream.skip(padding) < padding:
        raise FormatError(f"{stream.path}: the tar archive is cut off; the file is incomplete")
    return data


def _skip(stream: Stream, size: int, maximum_bytes: int = MAXIMUM_ARCHIVE_BYTES) -> None:
    padded = size + -size % _BLOCK
    _check_room(stream, size, maximum_bytes)
    if stream.skip(padded) < padded:
        raise FormatError(f"{stream.path}: the tar archive is cut off; the file is incomplete")
