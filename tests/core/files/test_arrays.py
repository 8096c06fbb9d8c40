"""The .npz and .npy files: what is written is read, and what is damaged is told in a line."""

import errno
import hashlib
import io
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files import arrays, atomic
from tests.shared import allocating_less_than

Array = np.ndarray[Any, Any]
ONE_FOLDER = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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
    with allocating_less_than(2_000_000), pytest.raises(FormatError, match=reason) as caught:
        arrays.read_arrays(tmp_path / "file")
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
@given(array=ARRAYS.filter(lambda array: array.ndim > 0))  # it has rows
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
    with (
        pytest.raises(PipelineError, match=r"cannot write .*: Input/output error"),
        arrays.atomic_npy(tmp_path / "file.npy", (6, 4), np.float32) as writer,
    ):
        writer.write_rows(0, np.zeros((6, 4), np.float32))
    assert failures == []
    assert list(tmp_path.iterdir()) == []


def test_an_npy_file_is_complete_or_absent(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="80 bytes of an array of 96 were written"),
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
