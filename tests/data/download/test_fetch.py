"""Downloads: what is delivered, what is told of faults, and what several processes do."""

import datetime as dt
import hashlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import File
from pipeline.core.errors import FetchError
from pipeline.core.progress import Progress
from pipeline.data.download.fetch import Limits, fetch
from pipeline.data.download.mirrors import MIRROR_VARIABLE
from tests.data.download.world import (
    CONTENT,
    FILE,
    FIRST,
    HALF,
    IMPATIENT,
    NAME,
    PATIENT,
    SECOND,
    SILENT,
    TAG,
    Behaviour,
    Request,
    ToLoopback,
    World,
    a_web_page,
    a_web_page_of_no_length,
    a_web_page_of_the_right_size,
    claims_fewer_bytes,
    claims_more_bytes,
    continues_without_end,
    drops,
    endless,
    good,
    half_without_a_length,
    partial_without_being_asked,
    ranged,
    redirects_in_a_loop,
    redirects_to,
    redirects_with_an_endless_body,
    refuses,
    right_size_wrong_bytes,
    running_server,
    sends_a_header_without_end,
    sends_headers_without_end,
    stalls_before_the_head,
    stalls_in_the_body,
    status,
    talks_nonsense,
    then,
    too_short_in_chunks,
    trickles_a_chunk_length,
    trickles_the_body,
    trickles_the_head,
)
from tests.shared import allocating_less_than, files_of_at_most

# Without faults


def test_a_file_is_fetched(world: World) -> None:
    world.server.script("first.test", good())
    assert world.fetch(FIRST) == world.folder / NAME
    world.assert_delivered()
    (request,) = world.server.seen
    assert request.path == f"/first.test/files/{NAME}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Range" not in request.headers
    assert world.told == [f"{NAME}: 300.0 kB from https://first.test/files/{NAME}"]


def test_a_mirror_without_a_slash_is_the_file_itself(world: World) -> None:
    world.server.script("first.test", good())
    world.fetch("https://first.test/records/7?download=1")
    assert world.server.seen[0].path == "/first.test/records/7?download=1"
    world.assert_delivered()


def test_folders_are_created(world: World, tmp_path: Path) -> None:
    world.server.script("first.test", good())
    world.folder = tmp_path / "raw" / "official" / "mnist"
    world.fetch()
    world.assert_delivered()


def test_a_file_that_is_right_is_not_fetched_again(world: World) -> None:
    (world.folder / NAME).write_bytes(CONTENT)
    world.fetch()
    assert not world.server.seen
    assert world.told == [f"{NAME}: already here"]
    world.assert_delivered()


@pytest.mark.parametrize("present", [b"", b"short", bytes(len(CONTENT)), CONTENT + b"x"])
def test_a_file_that_is_wrong_is_replaced(world: World, present: bytes) -> None:
    world.server.script("first.test", good())
    (world.folder / NAME).write_bytes(present)
    world.fetch()
    assert "not the file that is wanted" in world.told[0]
    world.assert_delivered()


def test_a_linked_file_is_replaced_and_not_written_through(world: World, tmp_path: Path) -> None:
    world.server.script("first.test", good())
    elsewhere = tmp_path / "cache"
    elsewhere.write_bytes(b"precious")
    (world.folder / NAME).symlink_to(elsewhere)
    world.fetch()
    assert elsewhere.read_bytes() == b"precious"
    assert not (world.folder / NAME).is_symlink()
    world.assert_delivered()


def test_a_wrong_file_stays_until_there_is_a_right_one(world: World) -> None:
    (world.folder / NAME).write_bytes(b"old")
    with pytest.raises(FetchError):
        world.fetch()
    assert (world.folder / NAME).read_bytes() == b"old"


def test_a_compressed_file_stays_compressed(world: World) -> None:
    world.server.script("first.test", good(Content_Encoding="gzip", Content_Type="application/gzip"))
    world.fetch()
    world.assert_delivered()


@pytest.mark.parametrize("end", [b"", b"\r\n0\r\n\r\n"])
def test_a_file_in_chunks_or_of_no_length_is_fetched(world: World, end: bytes) -> None:
    def behave(request: Request) -> None:
        request.head(200, **({"Transfer_Encoding": "chunked"} if end else {}))
        request.body((f"{len(CONTENT):x}\r\n".encode() if end else b"") + CONTENT + end)
        request.hang_up()

    world.server.script("first.test", behave)
    world.fetch()
    world.assert_delivered()


def test_progress_counts_every_byte_once(world: World) -> None:
    opened: list[Progress] = []

    def show(total: int, description: str, unit: str) -> Progress:
        opened.append(Progress(total, description, unit))
        return opened[-1]

    world.server.script("first.test", drops(HALF), drops(9, ranges=False), right_size_wrong_bytes)
    world.server.script("second.test", good())
    world.fetch(FIRST, SECOND, show_progress=show)
    (shown,) = opened
    assert (shown.total, shown.description, shown.unit) == (len(CONTENT), NAME, "B")
    assert shown.done == len(CONTENT)


# Faults

TRICKLE = Limits(
    connect_timeout_seconds=60, read_timeout_seconds=60, patience_seconds=0.1, slowest_bytes_per_second=10_000
)

FAULTS: dict[str, tuple[Behaviour, Limits, int, str]] = {
    # what the first mirror does, under which limits, how often it is asked, what is said of it
    "hangs up": (refuses, PATIENT, 4, "dropped the connection"),
    "talks nonsense": (talks_nonsense, PATIENT, 4, "dropped the connection"),
    "stalls before the head": (stalls_before_the_head, SILENT, 2, "sends nothing for 0.25 s"),
    "stalls in the body": (stalls_in_the_body, SILENT, 2, "sends nothing for 0.25 s|gives no answer"),
    "trickles the head": (trickles_the_head, IMPATIENT, 2, "gives no answer within 0.5 s|sends nothing"),
    "continues without end": (
        continues_without_end,
        IMPATIENT,
        2,
        "gives no answer within 0.5 s|sends nothing",
    ),
    "headers without end": (sends_headers_without_end, PATIENT, 4, "dropped the connection"),
    "a header without end": (sends_a_header_without_end, PATIENT, 4, "dropped the connection"),
    "trickles the body": (trickles_the_body, TRICKLE, 1, "is slower than 10.0 kB per second"),
    "trickles a chunk length": (
        trickles_a_chunk_length,
        SILENT,
        2,
        "gives no answer within 0.25 s|sends nothing",
    ),
    "closes in the body": (drops(0), PATIENT, 4, "dropped the connection"),
    "half without a length": (half_without_a_length, PATIENT, 4, "dropped the connection"),
    "claims fewer bytes": (claims_fewer_bytes, PATIENT, 1, "has 299999 bytes instead of 300000"),
    "claims more bytes": (claims_more_bytes, PATIENT, 1, "has 1000000000000000 bytes instead of 300000"),
    "too short, in chunks": (too_short_in_chunks, PATIENT, 1, "has 1000 bytes instead of 300000"),
    "a web page": (a_web_page, PATIENT, 1, "answers with a web page instead of the file"),
    "a web page of no length": (a_web_page_of_no_length, PATIENT, 1, "answers with a web page"),
    "a web page of the right size": (a_web_page_of_the_right_size, PATIENT, 1, "wrong checksum: expected"),
    "wrong bytes": (
        right_size_wrong_bytes,
        PATIENT,
        1,
        f"wrong checksum: expected {FILE.sha256}, found",
    ),
    "endless body": (endless, PATIENT, 1, "wrong checksum"),
    "not there": (status(404), PATIENT, 1, "HTTP 404 Not Found"),
    "not allowed": (status(403, b"no"), PATIENT, 1, "HTTP 403 Forbidden"),
    "too many requests": (status(429), PATIENT, 4, "HTTP 429 Too Many Requests"),
    "request timeout": (status(408), PATIENT, 4, "HTTP 408 Request Timeout"),
    "server error": (status(503), PATIENT, 4, "HTTP 503 Service Unavailable"),
    "unheard-of status": (status(599), PATIENT, 4, "HTTP 599"),
    "nothing to say": (status(204), PATIENT, 1, "HTTP 204 No Content"),
    "unasked part": (partial_without_being_asked, PATIENT, 1, "HTTP 206 Partial Content"),
    "redirect loop": (redirects_in_a_loop, PATIENT, 6, "redirects more than 5 times"),
    "redirect to http": (
        redirects_to("http://127.0.0.1:9/x"),
        PATIENT,
        1,
        "redirects from https to plain http",
    ),
    "redirect to a file": (
        redirects_to("file:///etc/passwd"),
        PATIENT,
        1,
        "redirects to something that is no web",
    ),
    "redirect to nowhere": (redirects_to("https://[x/"), PATIENT, 1, "redirects to something that is no URL"),
    "redirect to a bad port": (
        redirects_to("https://x.test:port/"),
        PATIENT,
        1,
        "is no URL that can be opened",
    ),
    "no size in the range": (ranged("bytes */*", b"x"), PATIENT, 4, "answers with another range"),
    "another size in the range": (
        ranged("bytes 150000-8/9", b""),
        PATIENT,
        2,
        "has 9 bytes instead of 300000",
    ),
    "always the first range": (
        ranged(f"bytes 0-9/{len(CONTENT)}", CONTENT[:10]),
        PATIENT,
        4,
        "answers with another range than the one asked for|dropped the connection",
    ),
    "always another state": (
        ranged(f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", CONTENT[HALF:], ETag='"other"'),
        PATIENT,
        4,
        "changed its file since the download began|dropped the connection",
    ),
    "a range that does not fit": (
        ranged(f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", bytes(HALF)),
        PATIENT,
        4,
        "does not continue what had arrived before|dropped the connection",
    ),
    "no range at all": (
        then(drops(HALF), status(416)),
        PATIENT,
        4,
        "does not accept the range asked for|dropped",
    ),
    "another size, no range": (
        then(drops(HALF), status(416, Content_Range="bytes */7")),
        PATIENT,
        2,
        "has 7 bytes instead of 300000",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_mirror_alone_is_an_error_of_three_lines(world: World, name: str) -> None:
    behaviour, limits, asked, text = FAULTS[name]
    world.server.script("first.test", behaviour)
    what, mirror, advice = world.fails(FIRST, limits=limits).splitlines()
    assert what == f"{NAME}: no mirror delivers it"
    assert re.fullmatch(rf"  https://first.test/files/{NAME}: .*({text}).*", mirror)
    assert "source: bundled" in advice
    assert f"{MIRROR_VARIABLE}=" in advice
    assert world.server.has_been_asked("first.test", asked)
    assert all(pause <= limits.longest_pause_seconds for pause in world.pauses)
    # What is left is the beginning of the file, or nothing.
    left = {path.name: path.read_bytes() for path in world.folder.iterdir() if path.suffix != ".json"}
    assert set(left) <= {f"{NAME}.part"}
    assert all(content and CONTENT.startswith(content) for content in left.values())
    assert world.record.exists() == bool(left)


@pytest.mark.parametrize(
    "name", ["hangs up", "trickles the body", "wrong bytes", "another size in the range"]
)
def test_of_a_faulty_mirror_the_user_is_told_and_the_next_one_is_tried(world: World, name: str) -> None:
    """With nothing, something, something else and a beginning left by the first."""
    behaviour, limits, _, text = FAULTS[name]
    world.server.script("first.test", behaviour)
    world.server.script("second.test", good())
    world.fetch(FIRST, SECOND, limits=limits)
    world.assert_delivered()
    *_, left, delivered = world.told
    assert re.fullmatch(rf"https://first.test/files/{NAME}: .*({text}).*; trying the next place", left)
    assert delivered == f"{NAME}: 300.0 kB from https://second.test/files/{NAME}"


def test_of_a_mirror_that_refuses_connections_too(world: World, closed_port: int) -> None:
    world.session.mount("https://first.test/", ToLoopback(f"http://127.0.0.1:{closed_port}"))
    world.server.script("second.test", good())
    world.fetch(FIRST, SECOND)
    world.assert_delivered()
    assert world.told[-2] == f"https://first.test/files/{NAME}: cannot be reached; trying the next place"
    assert len(world.pauses) == 1


@pytest.mark.parametrize("fault", [refuses, status(500), status(408), status(429), drops(1000)])
def test_a_fault_that_passes_costs_a_pause(world: World, fault: Behaviour) -> None:
    world.server.script("first.test", fault, good())
    world.fetch()
    world.assert_delivered()
    assert world.pauses == [0.5]
    assert world.told[0].endswith("; trying again in 0.5 s")


def test_pauses_grow_have_jitter_and_a_bound(world: World) -> None:
    world.server.script("first.test", status(500))
    limits = Limits(attempts=7, first_pause_seconds=2, longest_pause_seconds=20)
    world.fails(limits=limits)
    assert world.pauses == [1, 2, 4, 8, 16, 20]
    pauses: list[float] = []
    chances = iter([0.0, 0.5, 0.999])
    with pytest.raises(FetchError):
        fetch(
            FILE,
            [FIRST],
            world.folder,
            session=world.session,
            sleep=pauses.append,
            jitter=lambda: next(chances),
        )
    assert pauses == pytest.approx([0.5, 1.5, 4.0], abs=0.01)


NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("text", "pause"), [("7", 7.0), ("999999999", 60.0), ("soon", 0.5)])
def test_retry_after_is_honoured_up_to_a_bound(world: World, code: int, text: str, pause: float) -> None:
    world.server.script("first.test", status(code, Retry_After=text), good())
    world.fetch(now=NOW.timestamp)
    world.assert_delivered()
    assert world.pauses == [pause]


def test_an_endless_body_is_read_no_further_than_promised(world: World) -> None:
    sent = 0

    def behave(request: Request) -> None:
        nonlocal sent
        request.head(200)
        while not request.server.over.is_set():
            request.body(bytes(65536))
            sent += 65536
        request.hang_up()

    world.server.script("first.test", behave)
    with allocating_less_than(10_000_000):
        world.fails()
    assert sent < 50_000_000  # the sockets' buffers, at most
    assert not list(world.folder.iterdir())


def test_a_redirect_is_followed_without_reading_its_body(world: World) -> None:
    world.server.script("first.test", redirects_with_an_endless_body)
    world.server.script("second.test", good())
    world.fetch(FIRST)
    world.assert_delivered()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_may_be_relative_and_keep_the_range(world: World, code: int) -> None:
    world.leave_part(CONTENT[:HALF])
    world.server.script("first.test", status(code, Location="../store/x"), good())
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[1].path == "/first.test/store/x"
    assert world.server.seen[1].headers["Range"] == f"bytes={HALF}-"


# One file, several processes; interruptions


def test_several_fetches_at_once_all_end_right_and_download_once(world: World) -> None:
    together = threading.Barrier(4)
    waiting = threading.Semaphore(0)

    def behave(request: Request) -> None:
        for _ in range(3):
            assert waiting.acquire(timeout=50)
        good()(request)

    def tell(text: str) -> None:
        world.told.append(text)
        if "waiting for it" in text:
            waiting.release()

    def run(_: int) -> Path:
        together.wait()
        with requests.Session() as session:
            session.mount("https://", ToLoopback(world.server.url))
            return fetch(FILE, [FIRST], world.folder, session=session, limits=PATIENT, report=tell)

    world.server.script("first.test", behave)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [world.folder / NAME] * 4
    world.assert_delivered()
    assert len(world.server.seen) == 1
    assert world.told.count(f"{NAME}: fetched by another process") == 3


def test_one_that_waited_takes_over_where_the_other_failed(world: World) -> None:
    waiting, once = threading.Event(), replace(PATIENT, attempts=1)

    def fails(request: Request) -> None:
        assert waiting.wait(50)
        drops(HALF)(request)

    def tell(text: str) -> None:
        if "waiting for it" in text:
            waiting.set()

    def run(_: int) -> str:
        with requests.Session() as session:
            session.mount("https://", ToLoopback(world.server.url))
            try:
                fetch(FILE, [FIRST], world.folder, session=session, limits=once, report=tell)
            except FetchError:
                return "failed"
            return "right"

    world.server.script("first.test", fails, good())
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(run, range(2))) == ["failed", "right"]
    world.assert_delivered()
    assert world.server.seen[1].headers["Range"] == f"bytes={HALF}-"


PROGRAM = """
import sys
from pathlib import Path
from pipeline.config.schema import File
from pipeline.data.download.fetch import fetch

name, size, sha256, mirror, folder = sys.argv[1:]
fetch(File(name, int(size), sha256), [], Path(folder), own_mirror=mirror)
"""


def start_program(world: World) -> subprocess.Popen[str]:
    arguments = [NAME, str(FILE.bytes), FILE.sha256, world.server.url + "/own", str(world.folder)]
    return subprocess.Popen(  # noqa: S603  (this very interpreter, on the text above)
        [sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_a_process_ends_the_next_one_goes_on(world: World, how: signal.Signals) -> None:
    sent = threading.Event()

    def behave(request: Request) -> None:
        request.head(200, Content_Length=len(CONTENT), ETag=TAG)
        request.body(CONTENT[:1000])
        sent.set()
        request.wait()
        request.hang_up()

    world.server.script("own", behave, good())
    with start_program(world) as process:
        assert sent.wait(300)
        while world.part.stat().st_size < 1000:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(how)
        process.communicate(timeout=300)
    assert process.returncode != 0
    assert world.part.read_bytes() == CONTENT[:1000]
    world.fetch(own_mirror=world.server.url + "/own")
    world.assert_delivered()
    assert world.server.seen[1].headers["Range"] == "bytes=1000-"
    assert world.server.seen[1].headers["If-Range"] == TAG


def test_processes_at_once_download_once(world: World) -> None:
    world.server.script("own", good())
    with start_program(world) as one, start_program(world) as other:
        assert [one.wait(300), other.wait(300)] == [0, 0]
    world.assert_delivered()
    assert len(world.server.seen) == 1


# The disk


def test_a_full_disk_is_one_line_and_what_arrived_is_kept(world: World) -> None:
    world.server.script("first.test", good())
    with files_of_at_most(100_000):
        message = world.fails()
    (line,) = message.splitlines()
    assert line.startswith(f"cannot read or write {world.part}: File too large; {NAME} needs 300.0 kB.")
    assert world.part.read_bytes() == CONTENT[:100_000]
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[-1].headers["Range"] == "bytes=100000-"


def test_a_folder_that_cannot_be_made_is_one_line(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world.folder = tmp_path / "file" / "data"
    with pytest.raises(FetchError, match=r"\Acannot read or write .*file/data.*: Not a directory\Z"):
        world.fetch()


def test_a_folder_in_the_place_of_the_file_is_one_line(world: World) -> None:
    (world.folder / NAME).mkdir()
    world.server.script("first.test", good())
    with pytest.raises(FetchError, match=r"\Acannot read or write .*: Is a directory\Z"):
        world.fetch()


# Whatever comes

behaviours = st.one_of(
    st.just(good()),
    st.just(good(tag='"state-2"')),
    st.just(good(bytes(len(CONTENT)))),
    st.just(good(CONTENT[:-1])),
    st.just(refuses),
    st.just(a_web_page),
    st.just(right_size_wrong_bytes),
    st.just(half_without_a_length),
    st.builds(drops, st.integers(0, len(CONTENT)), ranges=st.booleans()),
    st.builds(drops, st.integers(0, len(CONTENT)), st.just(bytes(len(CONTENT))), st.just('"zeros"')),
    st.builds(status, st.sampled_from([200, 206, 404, 416, 429, 500, 503]), st.binary(max_size=9)),
    st.builds(
        lambda start, body: status(
            206, body, Content_Range=f"bytes {start}-{start + len(body) - 1}/{len(CONTENT)}"
        ),
        st.sampled_from([0, 1, HALF, HALF + 1, len(CONTENT)]),
        st.binary(min_size=1, max_size=9),
    ),
)


@given(
    st.lists(behaviours, min_size=1, max_size=6),
    st.lists(behaviours, min_size=1, max_size=6),
    st.one_of(st.none(), st.just(CONTENT[:HALF]), st.binary(max_size=9), st.just(bytes(HALF))),
)
@settings(deadline=None, max_examples=40)
def test_whatever_mirrors_do_the_file_is_right_or_absent(
    first: Sequence[Behaviour], second: Sequence[Behaviour], part: bytes | None
) -> None:
    with (
        running_server() as server,
        tempfile.TemporaryDirectory() as folder,
        requests.Session() as session,
    ):
        server.script("first.test", *first)
        server.script("second.test", *second)
        session.mount("https://", ToLoopback(server.url))
        world = World(server, Path(folder), session)
        if part is not None:
            world.leave_part(part)
        try:
            world.fetch(FIRST, SECOND)
        except FetchError:
            assert not (world.folder / NAME).exists()
        else:
            world.assert_delivered()
    assert len(server.seen) <= 8


# --- without a size, and by MD5


UNSIZED = File(NAME, md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())


@pytest.mark.parametrize("behaviour", [good(), too_short_in_chunks, right_size_wrong_bytes, a_web_page])
def test_a_file_whose_size_nobody_publishes(world: World, behaviour: Behaviour) -> None:
    world.server.script("first.test", behaviour)
    world.server.script("second.test", good())
    world.fetch(FIRST, SECOND, file=UNSIZED)
    world.assert_delivered()
    world.told.clear()
    assert world.fetch(FIRST, file=UNSIZED) == world.folder / NAME
    assert world.told == [f"{NAME}: already here"]


def test_a_file_of_no_known_size_is_resumed(world: World) -> None:
    world.server.script("first.test", drops(100_000), good())
    world.fetch(FIRST, file=UNSIZED)
    world.assert_delivered()
    assert "Range" in world.server.seen[1].headers


def test_a_local_copy_of_no_known_size(world: World, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / NAME).write_bytes(CONTENT)
    world.fetch(FIRST, file=UNSIZED, own_mirror=str(tmp_path / "own"))
    world.assert_delivered()
