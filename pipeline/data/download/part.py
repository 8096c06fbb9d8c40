"""The part of a file that has arrived: its bytes, running checksum and lock."""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pipeline.config.schema import File
from pipeline.core import system
from pipeline.core.files.atomic import atomic_write, write_text
from pipeline.core.progress import Progress
from pipeline.data.download.http import printable_validator

PIECE_BYTES: Final = 1 << 18

MAXIMUM_BYTES: Final = 2**36
"""How much is taken of a file whose definition gives no size."""


class PartFile:
    """The bytes that have arrived: their file, their running checksum, and what identifies their origin."""

    def __init__(self, handle: io.FileIO, path: Path, file: File, bar: Progress) -> None:
        self.file = file
        self.size = 0
        self._handle = handle
        self._path = path
        self._record = _record_path(path)
        self._bar = bar
        self._hash = hashlib.new(self.file.checksum[0])
        self._maximum_bytes = file.bytes or MAXIMUM_BYTES
        if os.fstat(handle.fileno()).st_size > self._maximum_bytes:
            handle.truncate(0)
        handle.seek(0)
        while self.missing and (piece := handle.read(min(PIECE_BYTES, self.missing))):
            self._count(piece)

    @property
    def missing(self) -> int:
        """How many bytes are still to come, or may be where the size is not known."""
        return self._maximum_bytes - self.size

    @property
    def checksum(self) -> str:
        """The checksum of the bytes so far."""
        return self._hash.hexdigest()

    @property
    def is_right(self) -> bool:
        """Whether this is the whole file."""
        return self.file.bytes in {None, self.size} and self.checksum == self.file.checksum[1]

    def append(self, piece: bytes) -> None:
        """Write what came next."""
        view = memoryview(piece)
        while view:
            view = view[self._handle.write(view) :]
        self._count(piece)

    def discard(self) -> None:
        """Start from nothing."""
        if self.size:
            self._handle.truncate(0)
            self._bar.advance(-self.size)
        self.size = 0
        self._hash = hashlib.new(self.file.checksum[0])

    def remember(self, label: str, validator: str | None) -> None:
        """Keep whose bytes come next, and what identifies this state of its file."""
        write_text(self._record, json.dumps({"mirror": label, "validator": validator}))

    def validator(self, label: str) -> str | None:
        """What identified the file when its latest bytes came, if they came from that mirror."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None  # never written, or damaged: the checksum is there for the rest
        if not isinstance(record, dict) or record.get("mirror") != label:
            return None
        return printable_validator(record.get("validator"))

    def move_to(self, destination: Path) -> None:
        """Give the file its final name, at once and for good."""
        os.fsync(self._handle.fileno())
        self._record.unlink(missing_ok=True)
        try:
            if not system.REPLACES_OPEN_FILES:
                raise OSError(errno.EXDEV, "the part file is open")  # noqa: TRY301  (the same way out)
            self._path.replace(destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Another file system: copy, and let the copy appear as suddenly.
            self._handle.seek(0)
            with atomic_write(destination) as copy:
                shutil.copyfileobj(self._handle, copy, PIECE_BYTES)
            self._handle.truncate(0)
        system.sync_folder(destination.parent)

    def _count(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)
        self._bar.advance(len(piece))


def is_complete(path: Path, file: File) -> bool:
    """Whether `path` holds the whole file, by size and checksum."""
    if not path.is_file() or file.bytes not in {None, path.stat().st_size}:
        return False
    algorithm, digest = file.checksum
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest() == digest


@contextmanager
def locked_part(path: Path, report: Callable[[str], None]) -> Iterator[io.FileIO]:
    """Open `path` for appending, as the only process (and thread) that does; an empty file does not stay."""
    while True:
        with path.open("a+b", buffering=0) as handle:
            if not system.lock(handle.fileno(), wait=False):
                report(f"{path.name}: another process is fetching this file; waiting for it")
                system.lock(handle.fileno())
            try:
                is_current = os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:
                is_current = False
            # Whoever held the lock may have given the file its final name, or taken it away.
            if is_current:
                try:
                    yield handle
                finally:
                    if os.fstat(handle.fileno()).st_size == 0:
                        _record_path(path).unlink(missing_ok=True)
                        with suppress(PermissionError):  # of systems that remove no open file
                            path.unlink(missing_ok=True)
                return


def _record_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
