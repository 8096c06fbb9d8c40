"""Atomic writes, and reads whose errors name the file.

A write goes to a temporary file in the same folder, is flushed to the disk and then renamed, so that a
crash leaves either the old file or the new one. Temporary files are named ``.NAME.RANDOM.tmp``; only a
killed process leaves one behind, and the next write of NAME removes it. Git and DVC ignore them.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pipeline.core import runtime, system
from pipeline.core.errors import FormatError, PipelineError

Array = np.ndarray[Any, Any]

_TOKEN_BYTES: Final = 6  # of chance in a temporary name


# Atomic writes


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into one line: "cannot ACTION PATH: reason".

    Raises:
        PipelineError: in place of OSError. An error about another file than `path` names that file too.
    """
    try:
        yield
    except OSError as error:
        other = path if error.filename is None else Path(os.fsdecode(error.filename))
        named = "" if other == path or other.suffix == ".tmp" else f" ({other})"
        raise PipelineError(f"cannot {action} {path}: {error.strerror or error}{named}") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """An existing regular file, open for reading without a buffer; `os.fstat` of it tells its size.

    Raises:
        PipelineError: it is missing, or cannot be read.
        FormatError: it is a folder, a pipe or a device (which might block, or have no end).
    """
    with explained("read", path):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise FormatError(
                f"{path}: expected a file, found {'a folder' if stat.S_ISDIR(mode) else 'a device'}"
            )
        with path.open("rb", buffering=0) as file:
            yield file


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends; an error in the block leaves the old file alone.

    Missing parent folders are made. The bytes are on the disk when this returns. A link is replaced, not what
    it leads to: that may be DVC's cache.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary, opened = _open_temporary(path)
        try:
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if system.REPLACES_OPEN_FILES:
                    # While the file is open, and so locked: nobody takes it for a leftover.
                    temporary.replace(path)
            if not system.REPLACES_OPEN_FILES:
                temporary.replace(path)
            system.sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, if it is there, and what killed writers left of it.

    Raises:
        PipelineError: the folder is read-only and the like.
    """
    with explained("remove", path):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _remove_leftovers(path)


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new temporary file beside `path`, locked for as long as it is open."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        file = temporary.open("xb")
        with contextlib.suppress(OSError):  # some file systems have no locks
            system.lock(file.fileno())
        if temporary.exists():
            return temporary, file
        file.close()  # another process came between, and took it for a leftover


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose writers were killed: the kernel has lifted their locks."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp")
    with contextlib.suppress(OSError):  # whatever hinders this need not hinder the write
        for leftover in [each for each in path.parent.iterdir() if name.fullmatch(each.name)]:
            descriptor = system.open_to_lock(leftover)
            try:
                if system.lock(descriptor, wait=False):  # else it is being written
                    leftover.unlink()
            finally:
                os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, its line ends as they are, atomically.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    write_bytes(path, text.encode("utf-8"))


def read_bytes(path: Path, *, maximum_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        PipelineError: it is missing or cannot be read.
        FormatError: it has more than `maximum_bytes` (or half the machine's memory), or is no file.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        maximum = min(maximum_bytes, runtime.memory_bytes() // 2)
        if size > maximum:
            raise FormatError(f"{path}: {size:,} bytes, where at most {maximum:,} are read")
        return file.read()
