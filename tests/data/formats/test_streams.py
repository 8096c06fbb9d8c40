import gzip
import random
import threading
import zlib
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import FormatError, PipelineError
from pipeline.data.formats.streams import CHUNK_BYTES, one_ahead, open_stream
from tests.shared import allocating_less_than

NOISE = random.Random(0).randbytes(3 * CHUNK_BYTES + 17)  # noqa: S311  (not a secret)


def contents(path: Path, data: bytes, count: int = 2**30) -> bytes:
    path.write_bytes(data)
    with open_stream(path) as stream:
        return stream.read(count)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    packed=st.booleans(),
    padding=st.integers(0, 3),
    sizes=st.lists(st.integers(1, 100), max_size=10),
)
def test_reads_skips_and_fills_in_any_pieces(
    tmp_path: Path, parts: list[bytes], padding: int, sizes: list[int], *, packed: bool
) -> None:
    # Members of a gzip file follow each other as one; zeros may pad it.
    data = b"".join(parts)
    stored = b"".join(gzip.compress(part) for part in parts) + bytes(padding) if packed else b"-" + data
    data = data if packed else stored
    (tmp_path / "file").write_bytes(stored)
    with open_stream(tmp_path / "file") as stream:
        assert stream.is_gzip == packed
        assert stream.maximum_bytes >= len(data)
        place = 0
        for number, size in enumerate(sizes):
            expected = data[place : place + size]
            if number % 3 == 0:
                assert stream.read(size) == expected
            elif number % 3 == 1:
                assert stream.skip(size) == len(expected)
            else:
                buffer = bytearray(size)
                assert stream.fill(memoryview(buffer)) == len(expected)
                assert buffer[: len(expected)] == expected
            place += len(expected)
            assert stream.position == place
        assert stream.read(2**20) == data[place:]
        assert stream.read(1) == b""


@pytest.mark.parametrize("name", ["plain.gz", "packed"])
def test_gzip_is_told_by_content_not_by_name(name: str, tmp_path: Path) -> None:
    data = NOISE if name == "plain.gz" else gzip.compress(NOISE)
    assert contents(tmp_path / name, data) == NOISE


def test_a_member_is_read_past_the_buffers(tmp_path: Path) -> None:
    data = gzip.compress(NOISE) + gzip.compress(b"") + gzip.compress(bytes(10 * CHUNK_BYTES)) + bytes(1000)
    assert contents(tmp_path / "file", data) == NOISE + bytes(10 * CHUNK_BYTES)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:5], "cut off"),
        (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "incorrect data check"),
        (lambda data: data[:-4] + bytes([data[-4] ^ 1]) + data[-3:], "incorrect length check"),
        (lambda data: data[:100] + bytes([data[100] ^ 255]) + data[101:], "damaged gzip data"),
        (lambda data: data + b"tail", "damaged gzip data"),
        (lambda data: data + gzip.compress(b"x")[:-1], "cut off"),
        (lambda data: data + gzip.compress(b"") * 200, "many empty members"),
        (lambda data: b"\x1f\x8b\x07" + data[3:], "damaged gzip data"),
    ],
)
def test_damaged_gzip_is_told_in_one_line(damage: object, reason: str, tmp_path: Path) -> None:
    assert callable(damage)
    data = damage(gzip.compress(NOISE, 1))
    with pytest.raises(FormatError, match=reason) as caught:
        contents(tmp_path / "file", data)
    assert str(tmp_path / "file") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_unpacked_no_further_than_asked(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    (tmp_path / "bomb").write_bytes(
        b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    )
    assert (tmp_path / "bomb").stat().st_size < 300_000
    with allocating_less_than(4 * CHUNK_BYTES), open_stream(tmp_path / "bomb") as stream:
        assert stream.read(1000) == bytes(1000)
        assert stream.skip(50 * 2**20) == 50 * 2**20


def test_a_bomb_inside_a_bomb_is_unpacked_once(tmp_path: Path) -> None:
    inner = gzip.compress(bytes(2**24), 9)
    assert contents(tmp_path / "file", gzip.compress(inner, 9)) == inner


def test_a_header_without_end_takes_no_memory(tmp_path: Path) -> None:
    # The name of the packed file stands in the header, and ends with a zero byte that never comes.
    (tmp_path / "file").write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**23)
    with (
        allocating_less_than(2 * CHUNK_BYTES),
        open_stream(tmp_path / "file") as stream,
        pytest.raises(FormatError, match="cut off"),
    ):
        stream.read(1)


def test_no_gzip_file_holds_more_than_its_maximum(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(gzip.compress(bytes(2**24), 9))
    with open_stream(tmp_path / "zeros") as stream:
        assert 2**24 <= stream.maximum_bytes < 2**25


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(PipelineError, match=r"cannot read .*: No such file or directory"),
        open_stream(tmp_path / "no"),
    ):
        pass


def test_one_item_ahead_is_made_and_no_more() -> None:
    made = []
    first_is_out, second_is_made = threading.Event(), threading.Event()

    def numbers() -> Generator[int, None, None]:
        for number in range(4):
            made.append(number)
            if number == 1:
                assert first_is_out.wait(10)
                second_is_made.set()
            yield number

    items = one_ahead(numbers())
    assert next(items) == 0
    # The caller is at work on the first while the second is made.
    first_is_out.set()
    assert second_is_made.wait(10)
    assert list(items) == [1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_an_error_ahead_comes_in_its_turn() -> None:
    def numbers() -> Generator[int, None, None]:
        yield 1
        raise FormatError("the second is damaged")

    items = one_ahead(numbers())
    assert next(items) == 1
    with pytest.raises(FormatError, match="the second is damaged"):
        next(items)


def test_leaving_off_closes_what_was_read_ahead() -> None:
    closed = threading.Event()

    def numbers() -> Generator[int, None, None]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    for _ in (items := one_ahead(numbers())):
        break
    items.close()
    assert closed.is_set()
