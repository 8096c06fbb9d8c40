import errno
import hashlib
import io
import os
import pickle
import re
import resource
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.core import runtime
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files import arrays, atomic, pickle_writer, tables
from pipeline.core.files.parameters import read_parameters, write_parameters

Array = np.ndarray[Any, Any]
ONE_FOLDER = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def parameters(dtype: str = "f8") -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "W1": random.normal(size=(4, 3)).astype(dtype),
        "b1": random.normal(size=3).astype(dtype),
        "W2": random.normal(size=(3, 2)).astype(dtype),
        "b2": random.normal(size=2).astype(dtype),
    }


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: atomic.write_bytes(path, b"x" * 100_000),
    "text": lambda path: atomic.write_text(path, "x" * 100_000),
    "json": lambda path: tables.write_json(path, {"key": ["x" * 10] * 10_000}),
    "csv": lambda path: tables.write_csv(path, ["a"], [[0.1]] * 30_000),
    "arrays": lambda path: arrays.write_arrays(path, a=np.zeros(20_000)),
    "parameters": lambda path: write_parameters(path, {"W1": np.zeros((200, 90)), "b1": np.zeros(90)}),
    "npy": lambda path: _write_npy(path, np.zeros((20_000,))),
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def _write_npy(path: Path, array: Array) -> None:
    with arrays.atomic_npy(path, array.shape, array.dtype) as writer:
        writer.write_rows(0, array)


# Atomic writes


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """Writing past 64 KiB fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


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
@pytest.mark.usefixtures("file_size_limit")
def test_a_full_disk_leaves_the_old_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(PipelineError, match=rf"^cannot write {re.escape(str(path))}: File too large$"):
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
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=f"bytes, where at most {maximum_bytes:,} are read"):
            read(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_no_file_takes_more_than_half_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 2000)
    atomic.write_bytes(tmp_path / "file", bytes(1001))
    with pytest.raises(FormatError, match="1,001 bytes, where at most 1,000 are read"):
        atomic.read_bytes(tmp_path / "file", maximum_bytes=2**32)


# JSON and CSV


def test_json_keeps_order_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    value = {"z": 1, "a": {"loss": 0.1, "name": "é"}, "list": [1, None, True]}
    tables.write_json(path, value)
    assert path.read_text("utf-8").startswith('{\n  "z": 1,\n  "a": {\n    "loss": 0.1,\n    "name": "é"\n')
    assert path.read_bytes().endswith(b"}\n")
    assert tables.read_json(path) == value
    assert list(tables.read_json(path)) == ["z", "a", "list"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_json_refuses_what_is_not_finite_and_says_where(number: float, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"metrics\.json: test\.loss\[1\] is not a finite number$"):
        tables.write_json(tmp_path / "metrics.json", {"test": {"loss": [0.0, number]}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found nothing"),
        ("<html>", "found an HTML page"),
        ('{"a": ', "line 1 column"),
        ('{"a": NaN}', "it holds NaN"),
        ("[" * 100_000, "recursion"),
        ("[1]", "expected a JSON object, found list"),
        ('{"a": \xff}', "line 1"),
    ],
)
def test_bad_json_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "file", text)
    with pytest.raises(FormatError, match=reason) as caught:
        tables.read_json(tmp_path / "file")
    assert "\n" not in str(caught.value)


@ONE_FOLDER
@given(st.lists(st.tuples(st.floats(), st.text(st.characters(codec="utf-8")), st.integers())))
def test_csv_round_trips(tmp_path: Path, rows: list[tuple[float, str, int]]) -> None:
    tables.write_csv(tmp_path / "file", ["number", "text", "count"], rows)
    found = tables.read_csv(tmp_path / "file")
    assert [row["text"] for row in found] == [text for _, text, _ in rows]
    assert [int(row["count"]) for row in found] == [count for _, _, count in rows]
    for row, (number, _, _) in zip(found, rows, strict=True):
        assert np.array_equal(float(row["number"]), number, equal_nan=True)


def test_csv_with_one_column_keeps_empty_fields(tmp_path: Path) -> None:
    tables.write_csv(tmp_path / "file", ["a"], [[None], ["x"], [""]])
    assert tables.read_csv(tmp_path / "file") == [{"a": ""}, {"a": "x"}, {"a": ""}]


def test_csv_writes_numpy_numbers_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    tables.write_csv(
        path, ["a", "b"], [[np.float64(0.1), np.int64(3)], [None, True], [np.float32(0.5), "x,y"]]
    )
    assert path.read_bytes() == b'a,b\n0.1,3\n,True\n0.5,"x,y"\n'


def test_csv_rows_have_the_header_s_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row of 1 values under 2 columns"):
        tables.write_csv(tmp_path / "file", ["a", "b"], [[1]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"a,a\n", "a column twice"),
        (b"a,b\n1\n", "row 2 has 1 values under 2 columns"),
        (b"a\n\xff\n", "utf-8"),
        (b'a\n"1', "unexpected end"),
        (b"a\n" + b"x" * 200_000, "field larger"),
    ],
)
def test_bad_csv_is_one_line(data: bytes, reason: str, tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", data)
    with pytest.raises(FormatError, match=reason) as caught:
        tables.read_csv(tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"a,b\n" + b"1,2\n" * 5, b"a,b\n" + b'"1\n",2\n' * 5])
def test_a_table_has_a_limited_number_of_fields(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A row of two characters takes a hundred times as much in memory.
    atomic.write_bytes(tmp_path / "file", data)
    assert len(tables.read_csv(tmp_path / "file")) == 5
    monkeypatch.setattr(tables, "MAXIMUM_FIELDS", 14)
    with pytest.raises(FormatError, match="a table of more than 4 rows is not read"):
        tables.read_csv(tmp_path / "file")


def test_a_line_of_a_table_has_a_limited_length(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", b"a" + b"," * 2**21)
    with pytest.raises(FormatError, match="not a CSV table: a line of 1,048,576 characters and more"):
        tables.read_csv(tmp_path / "file")


# Arrays

ARRAYS = npst.arrays(
    st.sampled_from([np.dtype(name) for name in ("u1", "i8", "f4", "f8", "?")]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@ONE_FOLDER
@given(a=ARRAYS, b=ARRAYS)
def test_arrays_round_trip(tmp_path: Path, a: Array, b: Array) -> None:
    arrays.write_arrays(tmp_path / "file", first=a, second=b)
    found = arrays.read_arrays(tmp_path / "file")
    assert list(found) == ["first", "second"]
    with np.load(tmp_path / "file", allow_pickle=False) as theirs:
        for name, array in (("first", a), ("second", b)):
            for version in (found[name], theirs[name]):
                assert version.dtype == array.dtype
                assert version.shape == array.shape
                assert version.tobytes() == array.tobytes()
            assert found[name].flags.writeable


def test_the_bytes_of_arrays_depend_on_their_values_alone(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    arrays.write_arrays(tmp_path / "one", a=array)
    arrays.write_arrays(tmp_path / "two", a=np.asfortranarray(array).astype(">f8"))
    os.utime(tmp_path / "one", (0, 0))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:
        (entry,) = archive.infolist()
    assert (entry.date_time, entry.create_system, entry.compress_type) == ((1980, 1, 1, 0, 0, 0), 3, 0)
    # Headers of ZIP64 are not the same in all versions of Python.
    assert (entry.extract_version, entry.extra) == (20, b"")


def test_the_bytes_of_arrays_are_those_of_any_version_of_python(tmp_path: Path) -> None:
    arrays.write_arrays(tmp_path / "file", a=np.arange(3, dtype=np.int64), b=np.zeros((0, 2), np.float32))
    found = hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
    assert found == "99f2ba05574aca3134a61e01bfa9d2bedc56602cf970dc715a2b02615ab7d14a"


def _npz(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _compressed() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10**6))
    return buffer.getvalue()


def _plain_npy(shape: str, data: bytes) -> bytes:
    """A .npy file of bytes with any text for a shape."""
    fields = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(fields)) + fields + data


def _claiming(data: bytes, size: int) -> bytes:
    """An .npz whose list of entries gives the first one another size."""
    place = data.index(b"PK\1\2") + 20
    return data[:place] + struct.pack("<II", size, size) + data[place + 8 :]


def _zip_end(directory_bytes: int, *, is_64: bool) -> bytes:
    """A zip file without any entry, whose list of entries is said to have so many bytes."""
    in_32 = 2**32 - 1 if is_64 else directory_bytes
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 0, 0, directory_bytes, 0)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, 0, 1)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0, 0, in_32, 0, 0)
    return b"PK\3\4" + bytes(100) + (record + locator) * is_64 + end


def _inside_each_other(count: int, size: int) -> bytes:
    """An .npz of `count` entries, each of which has all that follow it for its data: a stored bomb."""
    inner, entries = bytes(size), []
    for number in range(count):
        name = f"{number:06d}.npy".encode()
        inner = _plain_npy(f"({len(inner)},)", inner)
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(inner), len(inner), len(inner), 10, 0)
        inner = b"PK\3\4" + fields + name + inner
        entries.append((name, fields, len(inner)))
    directory = b"".join(
        b"PK\1\2"
        + struct.pack("<H", 20)
        + fields
        + struct.pack("<HHHII", 0, 0, 0, 0, len(inner) - length)
        + name
        for name, fields, length in entries
    )
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(inner), 0)
    return inner + directory + b"PK\5\6" + end


NUMBERS = _npy(np.zeros((3, 4)))
GOOD_NPZ = _npz(a=NUMBERS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "found nothing"),
        (b"<html>", "found an HTML page"),
        (b"PK\x03\x04", "not a zip file"),
        (GOOD_NPZ[:-30], "not a zip file"),
        (GOOD_NPZ.replace(b"\0" * 8, b"\1" * 8, 1), "damaged"),
        (_npz(a=_npy(np.array([None, {}]))), "another element type"),
        (_npz(a=NUMBERS + b"x"), "takes 224 bytes, found 225"),
        (_npz(a=NUMBERS.replace(b"(3, 4)", b"(3, 9)")), "takes 344 bytes, found 224"),
        (_npz(a=b"text"), "found text that begins 'text'"),
        (_compressed(), "is compressed"),
        (GOOD_NPZ + b"x", "its end is missing"),
        (_claiming(GOOD_NPZ, 10**9), "its arrays claim more than its own"),
        (_claiming(GOOD_NPZ, 2**32 - 1), "its arrays claim more than its own|Corrupt"),
        (_zip_end(2**30, is_64=False), "a list of entries of 1,073,741,824 bytes"),
        (_zip_end(10**13, is_64=True), "a list of entries of 10,000,000,000,000 bytes"),
        (_inside_each_other(50, 20_000), "its arrays claim more than its own"),
        (_npz(a=_plain_npy("(1,)", b"x"), b=_plain_npy("(" + "1, " * 64 + "1)", b"x")), "dimension"),
    ],
)
def test_bad_arrays_are_one_line(data: bytes, reason: str, tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=reason) as caught:
            arrays.read_arrays(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("a.npy", "a.npy"), ("a.npy", "a")])
def test_an_array_that_is_there_twice_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    # Which of the two is meant? Another reader might take the other one.
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        for name, value in zip(names, (1.0, 2.0), strict=True):
            with warnings.catch_warnings(action="ignore"):  # the writer warns of what is tested here
                archive.writestr(name, _npy(np.array([value])))
    with pytest.raises(FormatError, match="an array is in it twice"):
        arrays.read_arrays(tmp_path / "file")


@ONE_FOLDER
@given(array=ARRAYS)
def test_npy_round_trips_through_a_map(tmp_path: Path, array: Array) -> None:
    path = tmp_path / "file.npy"
    with arrays.atomic_npy(path, array.shape, array.dtype) as writer:
        writer.write_bytes(array.tobytes())
    mapped = arrays.map_npy(path)
    for found in (mapped, np.load(path)):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
    assert type(mapped) is np.ndarray
    assert array.size == 0 or not mapped.flags.writeable


def test_npy_rows_come_in_any_order(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    with arrays.atomic_npy(tmp_path / "file", array.shape, array.dtype) as writer:
        for first in (4, 0, 2):
            writer.write_rows(first, array[first : first + 2])
    assert np.array_equal(arrays.map_npy(tmp_path / "file"), array)


@pytest.mark.parametrize(
    ("first", "dtype", "shape"), [(5, "f4", (2, 4)), (-1, "f4", (2, 4)), (0, "f8", (2, 4)), (0, "f4", (2, 3))]
)
def test_npy_rows_that_do_not_fit_are_a_mistake(
    first: int, dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    with (
        pytest.raises(ValueError, match="at row"),
        arrays.atomic_npy(tmp_path / "file", (6, 4), np.float32) as writer,
    ):
        writer.write_rows(first, np.zeros(shape, dtype))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_while_an_npy_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of it once, to the flush in the background; the last flush works."""
    failures = [OSError(errno.EIO, "Input/output error")]

    def fsync(descriptor: int) -> None:
        del descriptor
        if failures:
            raise failures.pop()

    monkeypatch.setattr(arrays, "_FLUSH_BYTES", 32)
    monkeypatch.setattr(atomic.os, "fsync", fsync)
    with pytest.raises(PipelineError, match=r"cannot write .*: Input/output error"):
        _write_npy(tmp_path / "file.npy", np.zeros((6, 4), np.float32))
    assert failures == []
    assert list(tmp_path.iterdir()) == []


def test_an_npy_file_is_complete_or_absent(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="16 bytes of the array were not written"),
        arrays.atomic_npy(tmp_path / "file", (6, 4), np.float32) as writer,
    ):
        writer.write_rows(0, np.zeros((5, 4), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "found nothing"),
        (b"<html>", "found an HTML page"),
        (NUMBERS[:-1], "takes 224 bytes, found 223"),
        (NUMBERS.replace(b"(3, 4)", b"(0, 9999999999)"), "damaged header"),
        (NUMBERS.replace(b"<f8", b"<f7"), "f7"),
        (NUMBERS.replace(b"<f8", b"|O8"), "another element type"),
        (NUMBERS.replace(b"(3, 4)", b"x()*42"), "damaged header"),
        # NumPy allows no more than 64 axes, and no product past 2**63, whatever an axis without length does.
        (_plain_npy("(" + "1, " * 64 + "1)", b"x"), "dimension"),
        (_plain_npy("(0, 999999999999999, 999999999999999)", b""), "too big|too large|maximum"),
        (_plain_npy("(" + "999999999999999, " * 200 + "1)", b""), r"^.{1,300} takes [\d,]{40}\.\.\. bytes"),
    ],
)
def test_a_bad_npy_is_one_line(data: bytes, reason: str, tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", data)
    with pytest.raises(FormatError, match=reason) as caught:
        arrays.map_npy(tmp_path / "file")
    assert "\n" not in str(caught.value)


# Parameter pickles


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_parameters_round_trip(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    written = parameters(dtype)
    write_parameters(path, written)
    found = read_parameters(path)
    assert list(found) == ["W1", "b1", "W2", "b2"]
    for name, array in written.items():
        assert found[name].dtype == dtype
        assert np.array_equal(found[name], array)
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable


def test_the_bytes_of_parameters_depend_on_their_values_alone(tmp_path: Path) -> None:
    # As views into one vector, and as arrays in another order of memory and of names.
    flat = np.concatenate([array.reshape(-1) for array in parameters().values()])
    views, start = {}, 0
    for name, array in parameters().items():
        views[name] = flat[start : start + array.size].reshape(array.shape)
        start += array.size
    others = {name: np.asfortranarray(array).astype(">f8") for name, array in reversed(parameters().items())}
    write_parameters(tmp_path / "views", views)
    write_parameters(tmp_path / "others", others)
    assert (tmp_path / "views").read_bytes() == (tmp_path / "others").read_bytes()


@pytest.mark.parametrize("protocol", range(6))
def test_parameters_of_other_programs(protocol: int, tmp_path: Path) -> None:
    expected = parameters("f4")
    theirs = {
        "b2": expected["b2"].reshape(1, 2).astype(">f4"),
        "w2": np.asfortranarray(expected["W2"]),
        "b1": expected["b1"],
        "W1": expected["W1"],
    }
    (tmp_path / "file").write_bytes(pickle.dumps(theirs, protocol))
    found = read_parameters(tmp_path / "file")
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.dtype(np.float32)
        assert found[name].dtype.isnative
        assert found[name].flags.c_contiguous
        assert np.array_equal(found[name], array)


def _changed(**changes: object) -> dict[str, object]:
    value: dict[str, object] = {**parameters(), **changes}
    return {name: array for name, array in value.items() if array is not None}


NAN = np.full((4, 3), np.nan)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "found a list of 2"),
        (np.zeros((2, 3)), r"found an array of shape \(2, 3\)"),
        ({}, "found a dict of 0"),
        (_changed(W3=np.zeros((2, 2))), "found W1, b1, W2, b2, W3"),
        (_changed(W2=None, b2=None, W3=np.zeros((3, 2)), b3=np.zeros(2)), "found W1, b1, W3, b3: no W2"),
        (_changed(b2=None), "found W1, b1, W2"),
        (_changed(W1=None, b1=None), "found W2, b2: no W1"),
        (_changed(weights=np.zeros(2)), "found the key weights"),
        (_changed(W01=np.zeros(2)), "found the key W01"),
        (_changed(w1=np.zeros((4, 3))), "found W1 twice"),
        (_changed(W1=[[1.0]]), "W1: expected an array, found a list of 1"),
        (_changed(W1=1.0), "W1: expected an array, found a float"),
        (_changed(W1=np.zeros((4, 3), int)), "W1: expected float32 or float64, found int64"),
        (_changed(W1=np.zeros((4, 3), np.float16)), "W1: expected float32 or float64, found float16"),
        (_changed(W1=np.zeros(3)), r"W1: expected \(inputs, outputs\), found shape \(3,\)"),
        (_changed(W1=np.zeros((0, 3))), r"W1: expected \(inputs, outputs\), found shape \(0, 3\)"),
        (_changed(W1=NAN), "W1: 12 of 12 numbers are NaN or infinite"),
        (_changed(b1=np.array([0.0, np.inf, 0.0])), "b1: 1 of 3 numbers are NaN or infinite"),
        (_changed(b1=np.zeros(4)), r"b1: expected shape \(3,\), found \(4,\)"),
        (_changed(b1=np.zeros((3, 1))), r"b1: expected shape \(3,\), found \(3, 1\)"),
        (
            _changed(W2=np.zeros((4, 2))),
            r"W2: expected 3 inputs, the outputs of the layer before, found shape \(4, 2\)",
        ),
    ],
)
def test_what_is_no_parameters_is_told_in_one_line(value: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))}: .*{reason}") as caught:
        read_parameters(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3))},
        {"b1": np.zeros((3, 1)), "b2": np.zeros((2, 1))},
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3)), "b1": np.zeros((3, 1)), "b2": np.zeros((2, 1))},
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3)), "b1": np.zeros((1, 3)), "b2": np.zeros((1, 2))},
        {"W1": np.zeros((2, 4)), "b1": np.zeros(2), "W2": None, "b2": None},
    ],
)
def test_parameters_that_would_fit_transposed_are_told_to_be(
    changes: dict[str, Array | None], tmp_path: Path
) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(_changed(**changes)))
    with pytest.raises(FormatError, match=r"; transposed\? W is \(inputs, outputs\), b is \(outputs,\)$"):
        read_parameters(path)


def test_parameters_that_fit_neither_way_are_not_told_to_be_transposed(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(_changed(W1=np.zeros((3, 5)))))
    with pytest.raises(FormatError, match=r"expected shape \(5,\), found \(3,\)$"):
        read_parameters(path)


def test_parameters_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="W1: 12 of 12 numbers are NaN"):
        write_parameters(tmp_path / "file", {**parameters(), "W1": NAN})
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_pickle_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'touch flag'\ntR.")
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))}: .*posix\.system.*nothing was run$"):
        read_parameters(path)


def test_one_array_under_thousands_of_names_is_not_copied_thousands_of_times(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    matrix, bias = np.zeros((60, 60)), np.zeros(60)
    names = range(1, 2001)
    bomb = {f"W{name}": matrix for name in names} | {f"b{name}": bias for name in names}
    path.write_bytes(pickle.dumps(bomb))
    assert path.stat().st_size < 150_000
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="one array under many names: 58,560,000 bytes in a file of"):
            read_parameters(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_shared_bias_is_no_bomb(tmp_path: Path) -> None:
    bias = np.zeros(3)
    value = {"W1": np.ones((2, 3)), "b1": bias, "W2": np.ones((3, 3)), "b2": bias}
    (tmp_path / "file").write_bytes(pickle.dumps(value))
    found = read_parameters(tmp_path / "file")
    found["b1"][0] = 1.0
    assert found["b2"].tolist() == [0.0, 0.0, 0.0]


def test_a_pickle_of_python_lists_in_place_of_arrays_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    path.write_bytes(pickle_writer.dumps({"W1": [1] * 200_000}))
    with pytest.raises(FormatError, match="more than 100,000 opcodes"):
        read_parameters(path)
