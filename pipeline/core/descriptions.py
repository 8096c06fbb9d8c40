"""What a file holds, told from its first bytes, and other strangers' text: for error messages of one line."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

HEAD_BYTES: Final = 512
"""How much of a file `describe` looks at; a tar header is the longest thing it knows."""

_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"BZh", "bzip2 data"),
    (0, b"\xfd7zXZ\x00", "xz data"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x93NUMPY", "a NumPy .npy array"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
    (257, b"ustar", "a tar archive"),
)
_PICKLE_PROTOCOLS: Final = range(1, 6)
_IDX_TYPES: Final = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)


def describe(head: bytes) -> str:
    """A noun phrase for a file that begins with `head` (up to `HEAD_BYTES` of it), such as "an HTML page"."""
    if not head:
        return "nothing (an empty file)"
    return _signature(head) or _text(head) or f"data that begins with the bytes {head[:4].hex(' ')}"


def shorten(text: str, maximum: int = 100) -> str:
    """Text from a file as an error message can show it: printable, `maximum` characters and dots."""
    printable = "".join(character if character.isprintable() else "?" for character in text[:maximum])
    return printable + "..." * (len(text) > maximum)


def nearest(name: str, others: Iterable[str]) -> str | None:
    """Which of the other names is likely to be the file `name`: one that lies elsewhere, or that was renamed.

    Browsers and unpackers add " (1)" or ".download", take ".gz" away, or put a full stop for a dash.
    """
    known = [other for other in others if other != name]
    last = PurePosixPath(name).name
    below = [other for other in known if PurePosixPath(other).name == last]
    begins = _letters(_PACKED.sub("", last))
    renamed = [other for other in known if _letters(PurePosixPath(other).name).startswith(begins)]
    return next(iter(below or renamed), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]|^copy of", "", name.lower())


_PACKED: Final = re.compile(r"(\.tar|\.gz|\.tgz|\.bin)+$")


def harmless(text: str) -> str:
    """Text of several lines without what would steer a terminal: each such character as a question mark."""
    return _STEERING.sub("?", text)


def one_line(text: str) -> str:
    """Text that is to be one line, whatever names are in it: the same for the ends of lines too."""
    return harmless(text).replace("\n", "?")


# Control characters apart from the line feed, and what ends lines or turns the direction of writing.
_STEERING: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _signature(head: bytes) -> str | None:
    for offset, signature, name in _SIGNATURES:
        if head.startswith(signature, offset):
            return name
    match list(head[:4]):
        case [0x80, protocol, *_] if protocol in _PICKLE_PROTOCOLS:
            return "a pickle"
        case [0, 0, code, rank] if code in _IDX_TYPES and rank:
            return "idx data"
    return None


def _text(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, perhaps a server's error message"
    if text.startswith(b"<"):
        return "an XML or HTML document, perhaps a server's error message"
    beginning = head[:24]
    if beginning.isascii() and all(character >= 0x20 or character in b"\t\r\n" for character in beginning):
        return f"text that begins {beginning.decode('ascii')!r}"
    return None
