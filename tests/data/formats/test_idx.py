import gzip
import hashlib
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.core import runtime
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.arrays import atomic_npy
from pipeline.data.formats import idx, streams
from tests.shared import allocating_less_than

Array = np.ndarray[Any, Any]
OFFICIAL = Path(__file__).parents[4] / "shared" / "data" / "mnist"
CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
ONE_FOLDER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ARRAYS = npst.arrays(
    st.sampled_from([np.dtype(code) for code in CODES.values()]),
    npst.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=5),
)


def encoded(array: Array) -> bytes:
    """The format as its authors describe it, with none of our code."""
    (code,) = [code for code, dtype in CODES.items() if np.dtype(dtype) == array.dtype.newbyteorder(">")]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(CODES[code]).tobytes()


def copy_rows(path: Path, destination: Path) -> None:
    """What is read a few rows at a time, as a .npy file."""
    with (
        idx.open_rows(path, 1000) as (header, batches),
        atomic_npy(destination, header.shape, header.dtype) as output,
    ):
        for rows in batches:
            output.write_rows(output.rows, rows)


def same(found: Array, array: Array) -> bool:
    native = array.astype(array.dtype.newbyteorder("="))
    return (
        found.dtype == native.dtype
        and found.dtype.isnative
        and found.shape == native.shape
        and found.tobytes() == native.tobytes()
    )


@ONE_FOLDER
@given(array=ARRAYS, packed=st.booleans())
def test_every_type_and_rank_is_read(tmp_path: Path, array: Array, *, packed: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(encoded(array)) if packed else encoded(array))
    assert idx.read_header(path) == idx.Header(array.dtype.newbyteorder("="), array.shape)
    assert same(idx.read(path), array)
    copy_rows(path, tmp_path / "file.npy")
    assert same(np.load(tmp_path / "file.npy"), array)


@ONE_FOLDER
@given(array=ARRAYS, order=st.sampled_from("CF"))
def test_what_is_written_is_the_format(tmp_path: Path, array: Array, order: Any) -> None:  # noqa: ANN401  ("C" or "F")
    idx.write(tmp_path / "file", np.array(array, order=order))
    assert (tmp_path / "file").read_bytes() == encoded(array)


@pytest.mark.parametrize("dtype", CODES.values())
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_many_chunks(dtype: str, packed: bool, tmp_path: Path) -> None:  # noqa: FBT001  (a parameter of pytest)
    array = np.random.default_rng(0).integers(-100, 100, (7, 31, 1021)).astype(dtype)
    idx.write(tmp_path / "file", array)
    assert (tmp_path / "file").read_bytes() == encoded(array)
    if packed:
        (tmp_path / "file").write_bytes(gzip.compress((tmp_path / "file").read_bytes(), 1))
    assert same(idx.read(tmp_path / "file"), array)
    copy_rows(tmp_path / "file", tmp_path / "file.npy")
    assert same(np.load(tmp_path / "file.npy"), array)


def test_the_highest_rank(tmp_path: Path) -> None:
    array = np.arange(2, dtype=np.uint8).reshape((1,) * 63 + (2,))
    idx.write(tmp_path / "file", array)
    assert same(idx.read(tmp_path / "file"), array)


@pytest.mark.parametrize(
    "array", [np.zeros(3, bool), np.zeros(3, "i8"), np.zeros(3, "f2"), np.zeros((), "u1")]
)
def test_other_arrays_are_not_written(array: Array, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="idx has no arrays"):
        idx.write(tmp_path / "file", array)
    assert list(tmp_path.iterdir()) == []


def test_parsing_takes_bounded_memory(tmp_path: Path) -> None:
    images = np.zeros((20_000, 28, 28), np.uint8)
    images[::7] = 200
    (tmp_path / "file").write_bytes(gzip.compress(encoded(images), 1))
    with allocating_less_than(2_000_000):  # of 15,680,000
        copy_rows(tmp_path / "file", tmp_path / "file.npy")
    assert np.array_equal(np.load(tmp_path / "file.npy"), images)


# Hostile files

GOOD = encoded(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def header(code: int, *lengths: int, rank: int | None = None) -> bytes:
    rank = len(lengths) if rank is None else rank
    return bytes((0, 0, code, rank)) + struct.pack(f">{len(lengths)}I", *lengths)


CASES = {
    "empty": (b"", "expected idx data, found nothing"),
    "HTML": (b"<!DOCTYPE html><html>" + b" " * 100, "expected idx data, found an HTML page"),
    "text": (b"not the file you want", "expected idx data, found text that begins"),
    "pickle": (b"\x80\x04N.", "expected idx data, found a pickle"),
    "three bytes": (b"\0\0\x08", "expected idx data"),
    "wrong magic": (b"\0\1" + GOOD[2:], "expected idx data"),
    "unknown type": (header(0x0A, 3) + b"abc", "expected idx data"),
    "rank 0": (header(0x08) + b"a", "expected 1 to 64 axes, found 0"),
    "rank 65": (header(0x08, *[1] * 65) + b"a", "expected 1 to 64 axes, found 65"),
    "rank 255": (header(0x08, *[1] * 255) + b"a", "expected 1 to 64 axes, found 255"),
    "cut in the header": (header(0x08, 3, rank=2), "cut off inside the header"),
    "negative axis": (header(0x08, 2**32 - 1) + b"abc", "negative or too long"),
    "overflowing axes": (
        header(0x0E, *[2**31 - 1] * 64) + b"abc",
        r"axes that are negative or too long: shape \(2147483647, 2147483647, .*\.\.\.$",
    ),
    "overflowing axes of no element": (header(0x0E, 0, *[2**31 - 1] * 3), "negative or too long"),
    "overflowing axes, the last of no length": (header(0x08, *[2**31 - 1] * 63, 0), "negative or too long"),
    "10 TB": (header(0x08, 10_000, 10**9) + b"abc", "takes 10,000,000,000,000 bytes, found "),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_idx_is_told_in_one_line(case: str, packed: bool, tmp_path: Path) -> None:  # noqa: FBT001  (a parameter of pytest)
    data, reason = CASES[case]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    packed_reason = (
        reason.replace("found ", "found gzip data that holds ", 1) if "idx data, " in reason else reason
    )
    for read in (idx.read_header, idx.read, lambda path: copy_rows(path, tmp_path / "file.npy")):
        with pytest.raises(FormatError, match=packed_reason if packed else reason) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 200
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208  (hidden files count)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GOOD[:-1], r"shape \(2, 3, 4\) takes 24 bytes, found 23$"),
        (GOOD + b"x", r"shape \(2, 3, 4\) takes 24 bytes, found 25$"),
        (
            gzip.compress(GOOD[:-1], mtime=0),
            r"expected 24 bytes for shape \(2, 3, 4\), found 23; the file is incomplete",
        ),
        (gzip.compress(GOOD + b"x", mtime=0), r"more data than the 24 bytes that shape \(2, 3, 4\) takes"),
        (gzip.compress(GOOD, mtime=0) + gzip.compress(b"x", mtime=0), "more data than the 24 bytes"),
        (gzip.compress(GOOD, mtime=0)[:-4], "cut off"),
        (gzip.compress(GOOD, mtime=0)[:-8] + b"\0" * 8, "incorrect data check"),
        (gzip.compress(GOOD, mtime=0) + b"x" * 100, "damaged gzip data"),
        (gzip.compress(GOOD[:16] + bytes(10**8), 1, mtime=0), "more data than the 24 bytes"),
        (gzip.compress(header(0x08, 20_000) + b"abc", mtime=0), "expected 20,000 bytes .*, found 3"),
    ],
)
def test_fewer_and_more_bytes_than_promised(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for read in (idx.read, lambda path: copy_rows(path, tmp_path / "file.npy")):
        with allocating_less_than(2_000_000), pytest.raises(FormatError, match=reason) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  (hidden files count)


def test_no_more_is_read_than_there_is_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A gzip file can hold a thousand times its size, and mean it.
    (tmp_path / "file").write_bytes(gzip.compress(encoded(np.zeros(10**6, np.uint8))))
    assert len(idx.read(tmp_path / "file")) == 10**6
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 999_999)
    with pytest.raises(
        FormatError, match="takes 1,000,000 bytes, more than this machine's memory of 999,999"
    ):
        idx.read(tmp_path / "file")
    copy_rows(tmp_path / "file", tmp_path / "file.npy")  # in pieces


def test_a_bomb_is_read_no_further_than_its_header_promises(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    packed = (
        packer.compress(GOOD) + b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    )
    assert len(packed) < 200 * 2**20 // 1000  # a thousand to one
    (tmp_path / "file").write_bytes(packed)
    read_bytes = 0
    decompress = streams._Gzip.read

    def counting(self: streams._Gzip, count: int, /) -> bytes:
        nonlocal read_bytes
        data = decompress(self, count)
        read_bytes += len(data)
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams._Gzip, "read", counting)
        with pytest.raises(FormatError, match=r"more data than the 24 bytes that shape \(2, 3, 4\) takes"):
            copy_rows(tmp_path / "file", tmp_path / "file.npy")
    assert read_bytes == len(GOOD) + 1
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  (hidden files count)


def test_what_was_packed_twice_is_not_unpacked_twice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(gzip.compress(GOOD)))
    with pytest.raises(FormatError, match="expected idx data, found gzip data that holds gzip data"):
        idx.read(tmp_path / "file")


def test_members_in_sequence_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(GOOD[:10]) + gzip.compress(GOOD[10:]) + bytes(512))
    assert idx.read(tmp_path / "file").tobytes() == GOOD[16:]


def test_a_failed_parse_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(GOOD)[:-4])
    (tmp_path / "file.npy").write_bytes(b"old")
    with pytest.raises(FormatError):
        copy_rows(tmp_path / "file", tmp_path / "file.npy")
    assert (tmp_path / "file.npy").read_bytes() == b"old"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^cannot read .*: No such file or directory$"):
        idx.read(tmp_path / "missing")


# The official files


@pytest.mark.real_data
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official MNIST files in {OFFICIAL}")
@pytest.mark.parametrize(
    ("name", "shape", "start"),
    [
        ("train-images-idx3-ubyte.gz", (60_000, 28, 28), None),
        ("train-labels-idx1-ubyte.gz", (60_000,), [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        ("t10k-images-idx3-ubyte.gz", (10_000, 28, 28), None),
        ("t10k-labels-idx1-ubyte.gz", (10_000,), [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    ],
)
def test_official_mnist(name: str, shape: tuple[int, ...], start: list[int] | None, tmp_path: Path) -> None:
    array = idx.read(OFFICIAL / name)
    assert array.shape == shape
    assert array.dtype == np.uint8
    if start is not None:
        assert array[:10].tolist() == start
    with gzip.open(OFFICIAL / name) as file:
        plain = file.read()
    assert array.tobytes() == plain[4 + 4 * len(shape) :]
    idx.write(tmp_path / "plain", array)
    assert hashlib.sha256((tmp_path / "plain").read_bytes()).digest() == hashlib.sha256(plain).digest()
