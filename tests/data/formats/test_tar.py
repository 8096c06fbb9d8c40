import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import FormatError
from pipeline.data.formats.streams import open_stream
from pipeline.data.formats.tar import read_members
from tests.shared import allocating_less_than

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for info, data in members:
                info.size = len(data) or info.size
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def file(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return member(name), data


def read(path: Path, data: bytes, *names: str, maximum_bytes: int = 2**20) -> list[tuple[str, bytes]]:
    path.write_bytes(data)
    with open_stream(path) as stream:
        return list(read_members(stream, names, maximum_bytes=maximum_bytes))


def refusal(path: Path, data: bytes, *names: str) -> str:
    with pytest.raises(FormatError) as caught:
        read(path, data, *names)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208  (hidden files count)
    return str(caught.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_wanted_members_come_in_the_archive_s_order(
    form: int, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder = member("f", tarfile.DIRTYPE)
    folder.mtime = 1.5  # makes an extended header where the format has them
    data = archive(
        (folder, b""), file("f/b", b"B" * 1000), file("other", b"?" * 600), file("./f/a", b""), form=form
    )
    assert read(tmp_path / "file", pack(data), "f/a", "f/b", "f/c") == [("f/b", b"B" * 1000), ("f/a", b"")]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(st.tuples(st.text(min_size=1, max_size=300), st.binary(max_size=1500)), max_size=5),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_names_and_sizes(tmp_path: Path, contents: list[tuple[str, bytes]], form: int) -> None:
    # In other encodings and past the 100 characters of the header; the wanted member is found between them.
    usable = [(name, data) for name, data in contents if name.isprintable()]
    others = [file("other/" + name.replace("/", "_"), data) for name, data in usable]
    data = archive(*others, file("w" * 150, b"wanted"), *others, form=form)
    assert read(tmp_path / "file", data, "w" * 150) == [("w" * 150, b"wanted")]


@pytest.mark.parametrize("name", ["/f/a", "../f/a", "f/../f/a", "f//a", "F/A", "f/a/", "x/f/a", "././f/a"])
def test_a_name_is_the_name(name: str, tmp_path: Path) -> None:
    assert read(tmp_path / "file", archive(file(name, b"x")), "f/a") == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_nothing_is_written_whatever_the_names_are(
    form: int, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    # Every one of these would make a file if an extractor met it: beside the archive, above it, or anywhere.
    outside = tmp_path / "outside"
    (tmp_path / "inside").mkdir()
    names = [
        "../outside",
        str(outside),
        f"f/../../{outside.name}",
        "./../outside",
        "f/a/../../../outside",
        ".",
    ]
    links = [
        (member("link", tarfile.SYMTYPE, link=str(outside)), b""),
        (member("link", tarfile.SYMTYPE, link="../outside"), b""),
        file("link", b"through the link"),
        (member("hard", tarfile.LNKTYPE, link="../outside"), b""),
        file("link/below", b"through the link"),
        (member("f", tarfile.SYMTYPE, link=".."), b""),
        (member("null", tarfile.CHRTYPE), b""),
        (member("pipe", tarfile.FIFOTYPE), b""),
    ]
    data = archive(*(file(name, b"x") for name in names), *links, file("f/a", b"wanted"), form=form)
    path = tmp_path / "inside" / "file"
    assert read(path, pack(data), "f/a") == [("f/a", b"wanted")]
    assert [entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*")] == [
        "inside",
        "inside/file",
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp437", "shift-jis", "koi8-r"])
def test_names_in_other_encodings_are_other_names(encoding: str, tmp_path: Path) -> None:
    text = {"shift-jis": "日本", "koi8-r": "файл"}.get(encoding, "é")
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding=encoding) as tar:
            for name in (text, text * 60, "f/a"):
                info = member(name, size=1)
                tar.addfile(info, io.BytesIO(b"x"))
        data = buffer.getvalue()
    # In UTF-16 even the plain name is another one.
    wanted = [] if encoding == "utf-16" else [("f/a", b"x")]
    assert read(tmp_path / "file", data, "f/a", "é", "日本", "файл") == wanted


@pytest.mark.parametrize("name", ["f/a\0.txt", "f/a\n", "\x1b[2Jf/a", "f\\a", "f/a\u202e", "ｆ/ａ"])
def test_names_that_look_alike_are_other_names(name: str, tmp_path: Path) -> None:
    data = archive(file(name, b"x"), form=tarfile.PAX_FORMAT)
    # To the header a name ends with a zero byte; to the extended header, which counts, it does not.
    found = read(tmp_path / "file", data, "f/a")
    assert found == ([("f/a", b"x")] if "\0" in name and b"path=" not in data else [])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (b"V", "of an unknown kind"),
    ],
)
def test_only_regular_files_are_read(kind: bytes, reason: str, tmp_path: Path) -> None:
    data = archive((member("f/a", kind, link="/etc/passwd"), b""))
    assert refusal(tmp_path / "file", data, "f/a").endswith(f"f/a is {reason}, expected a regular file")


def test_a_link_to_a_wanted_member_s_place_is_only_skipped(tmp_path: Path) -> None:
    data = archive((member("f", tarfile.SYMTYPE, link="/etc"), b""), file("f/a", b"x"))
    assert read(tmp_path / "file", data, "f/a") == [("f/a", b"x")]


def _with_size(data: bytes, size: bytes) -> bytes:
    """The first header with another size field and a right checksum."""
    block = bytearray(data[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


ONE = archive(file("f/a", b"x" * 700))
TEN_TERABYTES = b"\x80" + (10**13).to_bytes(11, "big")
NEGATIVE = b"\xff" + (-5).to_bytes(11, "big", signed=True)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected a tar archive, found "),
        (b"<html>" + b" " * 1000, "an HTML page"),
        (b"text " * 200, "text that begins"),
        (ONE[:100], "expected a tar archive"),
        (ONE[:600], "cut off|claims 700 bytes"),
        (ONE[:1300], "cut off"),
        (ONE[:512] + b"x" * 1024 + b"y" * 512, "damaged tar header at byte 1,536"),
        (b"y" + ONE[1:], "damaged tar header at byte 0"),
        (ONE[:-512] + ONE, "twice"),
        (archive(file("f/a", b"1"), file("./f/a", b"2")), "f/a is in the archive twice"),
        (_with_size(ONE, TEN_TERABYTES), "f/a claims 10,000,000,000,000 bytes, expected at most 1,048,576"),
        (_with_size(ONE, NEGATIVE), "negative size"),
        (_with_size(archive(file("b", b"x")), TEN_TERABYTES), "a tar member claims 10,000,000,000,000 bytes"),
        (_with_size(archive(file("b", b"x")), b"00000100000\0"), "cut off|claims 32,768 bytes"),
        (archive((member("b", tarfile.GNUTYPE_SPARSE), b"")), "is sparse"),
        (
            _with_size(archive(file("b" * 200, b""), form=tarfile.GNU_FORMAT), TEN_TERABYTES),
            "an extended tar header",
        ),
        (
            _with_size(archive(file("b" * 200, b""), form=tarfile.PAX_FORMAT), TEN_TERABYTES),
            "an extended tar header",
        ),
        (ONE + bytes(2**21), "more data follows the end"),
    ],
)
def test_damage_is_told_in_one_line(
    data: bytes, reason: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    if reason == "twice":  # ONE without its end, then ONE again
        data = ONE[:1536] + ONE
    message = refusal(tmp_path / "file", pack(data), "f/a")
    assert any(part in message for part in reason.split("|"))


def test_a_pax_header_can_change_the_size(tmp_path: Path) -> None:
    info, data = file("f/a", b"x" * 500)
    info.pax_headers = {"size": "500", "comment": "c" * 50}
    changed = archive((info, data), form=tarfile.PAX_FORMAT)
    assert b"size=500" in changed
    assert read(tmp_path / "file", changed, "f/a") == [("f/a", data)]
    lying = changed.replace(b"size=500", b"size=999")[:2048]
    assert "claims 999 bytes, more than follow" in refusal(tmp_path / "file", lying, "f/a")


def test_headers_for_the_archive_and_for_long_links_are_skipped(tmp_path: Path) -> None:
    with io.BytesIO() as buffer:
        with tarfile.open(
            fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "f/b"}
        ) as tar:
            tar.addfile(member("f/a"))
        assert read(tmp_path / "file", buffer.getvalue(), "f/a", "f/b") == [("f/a", b"")]
    link = (member("link", tarfile.SYMTYPE, link="f/b" * 100), b"")
    data = archive(link, file("f/a", b"x"), form=tarfile.GNU_FORMAT)
    assert read(tmp_path / "file", data, "f/a", "f/b") == [("f/a", b"x")]


def test_a_damaged_pax_record_is_ignored(tmp_path: Path) -> None:
    info, data = file("f/a", b"x")
    info.pax_headers = {"path": "f/b"}
    changed = archive((info, data), form=tarfile.PAX_FORMAT)
    assert read(tmp_path / "file", changed, "f/b") == [("f/b", b"x")]
    assert read(tmp_path / "file", changed.replace(b"12 path=", b"99 path="), "f/a") == [("f/a", b"x")]


def test_a_gzip_checksum_is_checked_behind_the_last_member(tmp_path: Path) -> None:
    packed = gzip.compress(ONE)
    damaged = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    assert "incorrect data check" in refusal(tmp_path / "file", damaged, "f/a")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(archive(file("b", bytes(2**25)), file("f/a", bytes(2**24))), 9)
    with allocating_less_than(2 * 2**20):
        message = refusal(tmp_path / "file", packed, "f/a")
    assert "f/a claims 16,777,216 bytes, expected at most 1,048,576" in message


def test_an_archive_of_nothing_but_headers_ends_soon(tmp_path: Path) -> None:
    # They pack a thousandfold, and each takes time.
    block = archive(file("b", b""))[:512]
    assert read(tmp_path / "file", block * 4095 + archive(file("f/a", b"")), "f/a") == [("f/a", b"")]
    packed = gzip.compress(block * 5000)
    assert refusal(tmp_path / "file", packed, "f/a").endswith("more than 4,096 members in the tar archive")


def test_extended_headers_are_read_up_to_a_limit(tmp_path: Path) -> None:
    records = b"65000 a=" + b"a" * 64_991 + b"\n"
    header = archive(file("b", records))[:512]
    extended = _with_type(header, tarfile.XHDTYPE) + records + bytes(-len(records) % 512)
    few = extended * 15 + archive(file("f/a", b""))
    assert read(tmp_path / "file", few, "f/a") == [("f/a", b"")]
    assert refusal(tmp_path / "file", extended * 20, "f/a").endswith("too many extended tar headers")


def _with_type(block: bytes, kind: bytes) -> bytes:
    """A header of another type and with a right checksum."""
    changed = bytearray(block)
    changed[156:157] = kind
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)
