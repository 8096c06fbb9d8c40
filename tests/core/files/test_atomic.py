"""Files are written whole or not at all, and read within limits."""

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core import runtime
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files import arrays, atomic, tables
from pipeline.core.files.parameters import read_parameters
from tests.shared import allocating_less_than, files_of_at_most

# One for each way into the temporary file: at once, through a zip file, and in pieces.
WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: atomic.write_bytes(path, b"x" * 100_000),
    "arrays": lambda path: arrays.write_arrays(path, a=np.zeros(20_000)),
    "npy": lambda path: write_npy(path, np.zeros(20_000)),
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def write_npy(path: Path, array: np.ndarray[Any, Any]) -> None:
    with arrays.atomic_npy(path, array.shape, array.dtype) as writer:
        writer.write_rows(0, array)


# Atomic writes


@every_writer
def test_makes_folders_and_leaves_nothing_else(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write(path)
    assert os.listdir(path.parent) == ["file"]  # noqa: PTH208  (hidden files count)
    first = path.read_bytes()
    write(path)
    assert path.read_bytes() == first
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@every_writer
def test_a_full_disk_leaves_the_old_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    told = rf"^cannot write {re.escape(str(path))}: File too large$"
    with files_of_at_most(2**16), pytest.raises(PipelineError, match=told):
        write(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  (hidden files count)


@every_writer
def test_a_place_that_cannot_be_written_is_one_line(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(PipelineError, match=rf"^cannot write {re.escape(str(place))}: [^\n]+$"):
            write(place)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]  # noqa: PTH208  (hidden files count)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PipelineError, match="Permission denied"):
        atomic.write_bytes(tmp_path / "file", b"x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, FormatError])
def test_an_error_in_the_block_leaves_the_old_file(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic.atomic_write(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  (hidden files count)


def test_an_error_about_another_file_names_it(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"

    def write() -> None:
        with atomic.atomic_write(path):
            other.read_bytes()

    with pytest.raises(PipelineError, match=re.escape(f"{path}: No such file or directory ({other})")):
        write()


def test_the_file_appears_only_when_it_is_complete_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    events: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append(f"replace with {self.stat().st_size} bytes")
        assert self.parent == target.parent
        assert not target.exists()
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    atomic.write_bytes(path, b"12345")
    assert events == ["sync file", "replace with 5 bytes", "sync folder"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", sync)
    if code == errno.EINVAL:  # some file systems have no such thing
        atomic.write_bytes(tmp_path / "file", b"x")
    else:
        with pytest.raises(PipelineError, match="Input/output error"):
            atomic.write_bytes(tmp_path / "file", b"x")


# Reading


@pytest.mark.parametrize(
    "read",
    [tables.read_json, tables.read_csv, arrays.read_arrays, read_parameters, arrays.map_npy],
)
def test_what_is_no_file_is_one_line(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^cannot read .*/missing: No such file or directory$"):
        read(tmp_path / "missing")
    with pytest.raises(FormatError, match="expected a file, found a folder"):
        read(tmp_path)
    with pytest.raises(FormatError, match="expected a file, found a device"):
        read(Path("/dev/zero"))
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    with pytest.raises(FormatError, match="expected a file, found a device"):
        read(tmp_path / "pipe")


def test_a_file_past_its_limit_is_not_read(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", b"12345")
    assert atomic.read_bytes(tmp_path / "file", maximum_bytes=5) == b"12345"
    with pytest.raises(FormatError, match="5 bytes, where at most 4 are read"):
        atomic.read_bytes(tmp_path / "file", maximum_bytes=4)


@pytest.mark.parametrize(
    ("read", "maximum_bytes"),
    [
        (read_parameters, 2**32),
        (tables.read_csv, 2**28),
        (tables.read_json, 2**24),
    ],
)
def test_the_readers_have_limits(
    read: Callable[[Path], object], maximum_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 2**40)
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", maximum_bytes + 1)  # takes no room on the disk
    told = f"bytes, where at most {maximum_bytes:,} are read"
    with allocating_less_than(1_000_000), pytest.raises(FormatError, match=told):
        read(tmp_path / "file")


def test_no_file_takes_more_than_half_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 2000)
    atomic.write_bytes(tmp_path / "file", bytes(1001))
    with pytest.raises(FormatError, match="1,001 bytes, where at most 1,000 are read"):
        atomic.read_bytes(tmp_path / "file", maximum_bytes=2**32)
