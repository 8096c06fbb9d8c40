"""Downloads from a real server on the loopback interface, which misbehaves on request.

Mirrors must be https, and the tests have no certificate for them: an adapter carries every request for
https://HOST/PATH to the loopback server as /HOST/PATH, and everything above it is the real thing.
"""

import datetime as dt
import hashlib
import ipaddress
import json
import os
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from pipeline.config.schema import File
from pipeline.core.errors import ConfigError, FetchError
from pipeline.core.progress import Progress
from pipeline.data.download.fetch import Limits, fetch
from pipeline.data.download.http import Answer
from pipeline.data.download.mirrors import MIRROR_VARIABLE, mirror_from_environment, places_of


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)  # noqa: S311  (bytes to send, not to keep secret)


CONTENT = some_bytes(300_000)
HALF = len(CONTENT) // 2
NAME = "images.gz"
FILE = File(NAME, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())

FIRST = "https://first.test/files/"
SECOND = "https://second.test/files/"
TAG = '"state-1"'

PATIENT = Limits(connect_timeout_seconds=10, read_timeout_seconds=20)
IMPATIENT = Limits(connect_timeout_seconds=0.25, read_timeout_seconds=0.25, attempts=3)

Behaviour: TypeAlias = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, with the means to answer it well or badly."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        host = self.path.split("/")[1] if self.path.startswith("/") else "proxied"
        try:
            self.server.next_behaviour(host, self)(self)
        except OSError:
            self.close_connection = True  # the client has left

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.close_connection = True

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait; true if the test is over."""
        return self.server.over.wait(seconds)

    def range_start(self) -> int:
        """The first byte asked for; 0 if this is no request for a range, or one for another state."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(asked[1]) if asked else 0


@dataclass
class Seen:
    """What a request looked like."""

    host: str
    path: str
    headers: dict[str, str]


class Server(ThreadingHTTPServer):
    """Answers the requests for each host with the behaviours of its script; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.over = threading.Event()
        self.scripts: dict[str, list[Behaviour]] = {}
        self.seen: list[Seen] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def script(self, host: str, *behaviours: Behaviour) -> None:
        self.scripts[host] = list(behaviours)

    def next_behaviour(self, host: str, request: Request) -> Behaviour:
        with self.lock:
            self.seen.append(Seen(host, request.path, dict(request.headers.items())))
            behaviours = self.scripts.get(host) or [status(404)]
            return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]

    def requests(self, host: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.host == host]

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error of the server."""


# What a server can do ---------------------------------------------------------------------------------------


def good(content: bytes = CONTENT, tag: str | None = TAG, **more: object) -> Behaviour:
    """A server without fault: ranges, If-Range, a strong ETag."""

    def behave(request: Request) -> None:
        headers = {"ETag": tag, **more} if tag else more
        start = request.range_start()
        if request.headers.get("If-Range", tag) != tag:
            start = 0
        if start:
            content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.head(206, Content_Range=content_range, Content_Length=len(content) - start, **headers)
        else:
            request.head(200, Content_Length=len(content), **headers)
        request.body(content[start:])

    return behave


def drops(after: int, content: bytes = CONTENT, tag: str = TAG, *, ranges: bool = True) -> Behaviour:
    """Closes the connection `after` bytes into the body."""

    def behave(request: Request) -> None:
        start = request.range_start() if ranges else 0
        length = len(content) - start
        if start:
            request.head(
                206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", Content_Length=length
            )
        else:
            request.head(200, Content_Length=length, ETag=tag)
        request.body(content[start : start + after])
        request.hang_up()

    return behave


def status(code: int, body: bytes = b"", **headers: object) -> Behaviour:
    def behave(request: Request) -> None:
        request.head(code, Content_Length=len(body), **headers)
        request.body(body)

    return behave


def refuses(request: Request) -> None:
    request.hang_up()


def stalls_before_the_head(request: Request) -> None:
    request.wait()
    request.hang_up()


def stalls_in_the_body(request: Request) -> None:
    request.head(200, Content_Length=len(CONTENT))
    request.body(CONTENT[:1000])
    request.wait()
    request.hang_up()


def trickles_the_head(request: Request) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 60_000:
        request.body(bytes([byte]))
        if request.wait(0.01):
            break
    request.hang_up()


def continues_without_end(request: Request) -> None:
    while not request.wait(0.01):
        request.body(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
    request.hang_up()


def sends_headers_without_end(request: Request) -> None:
    request.body(b"HTTP/1.1 200 OK\r\n")
    while not request.server.over.is_set():
        request.body(b"X-Padding: x\r\n" * 1000)
    request.hang_up()


def sends_a_header_without_end(request: Request) -> None:
    request.body(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not request.server.over.is_set():
        request.body(bytes(65536))
    request.hang_up()


def trickles_the_body(request: Request) -> None:
    request.head(200, Content_Length=len(CONTENT))
    for byte in CONTENT:
        request.body(bytes([byte]))
        if request.wait(0.01):
            break
    request.hang_up()


def trickles_a_chunk_length(request: Request) -> None:
    request.head(200, Transfer_Encoding="chunked")
    for byte in b"10000;" + b"x" * 60_000:
        request.body(bytes([byte]))
        if request.wait(0.01):
            break
    request.hang_up()


def claims_fewer_bytes(request: Request) -> None:
    request.head(200, Content_Length=len(CONTENT) - 1)
    request.body(CONTENT)
    request.hang_up()


def claims_more_bytes(request: Request) -> None:
    request.head(200, Content_Length=10**15)
    request.body(CONTENT)
    request.hang_up()


def a_web_page(request: Request) -> None:
    page = b"<!DOCTYPE html><title>Please log in</title>"
    request.head(200, Content_Type="text/html; charset=utf-8", Content_Length=len(page))
    request.body(page)


def a_web_page_of_the_right_size(request: Request) -> None:
    request.head(200, Content_Type="text/html", Content_Length=len(CONTENT))
    request.body(b"<html>Please log in</html>".ljust(len(CONTENT)))


def a_web_page_of_no_length(request: Request) -> None:
    request.head(200, Content_Type="text/html")
    request.body(b"<html>Please log in</html>")
    request.hang_up()


def right_size_wrong_bytes(request: Request) -> None:
    good(bytes(len(CONTENT)))(request)


def endless(request: Request) -> None:
    request.head(200)
    while not request.server.over.is_set():
        request.body(bytes(65536))
    request.hang_up()


def too_short_in_chunks(request: Request) -> None:
    request.head(200, Transfer_Encoding="chunked")
    request.body(b"3e8\r\n" + CONTENT[:1000] + b"\r\n0\r\n\r\n")


def half_without_a_length(request: Request) -> None:
    request.head(200)
    request.body(CONTENT[:HALF])
    request.hang_up()


def talks_nonsense(request: Request) -> None:
    request.body(b"\x00\x01 220 ready\r\n\r\n")
    request.hang_up()


def partial_without_being_asked(request: Request) -> None:
    request.head(206, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}", Content_Length=len(CONTENT))
    request.body(CONTENT)


def redirects_in_a_loop(request: Request) -> None:
    request.head(302, Location=f"/files/{NAME}?again", Content_Length=0)


def redirects_to(location: str, body: bytes = b"") -> Behaviour:
    return status(302, body, Location=location)


def redirects_with_an_endless_body(request: Request) -> None:
    request.head(302, Location=f"https://second.test/files/{NAME}")
    while not request.server.over.is_set():
        request.body(bytes(65536))
    request.hang_up()


def then(first: Behaviour, second: Behaviour) -> Behaviour:
    """`first` for whole files, `second` for the rest of one."""
    return lambda request: (second if "Range" in request.headers else first)(request)


def ranged(content_range: str, body: bytes, **headers: object) -> Behaviour:
    return then(drops(HALF), status(206, body, Content_Range=content_range, **headers))


# The parts of a test ----------------------------------------------------------------------------------------


class ToLoopback(HTTPAdapter):
    """Carries requests for https://HOST/PATH to a loopback server, as /HOST/PATH."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401  (passed on as they are)
        carried = request.copy()
        parts = urlsplit(request.url or "")
        carried.url = f"{self.target}/{parts.hostname}{parts.path}{f'?{parts.query}' if parts.query else ''}"
        return super().send(carried, *arguments, **options)


@dataclass
class World:
    """A server, a folder, and a record of what the user was told."""

    server: Server
    folder: Path
    session: requests.Session
    told: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def fetch(self, *mirrors: str, file: File = FILE, limits: Limits = PATIENT, **options: Any) -> Path:  # noqa: ANN401  (passed on as they are)
        return fetch(
            file,
            mirrors or (FIRST,),
            self.folder,
            limits=limits,
            session=self.session,
            report=self.told.append,
            sleep=self.pauses.append,
            jitter=lambda: 0.0,
            **options,
        )

    def fails(self, *mirrors: str, **options: Any) -> str:  # noqa: ANN401  (passed on as they are)
        with pytest.raises(FetchError) as caught:
            self.fetch(*mirrors, **options)
        assert not (self.folder / NAME).exists()
        return str(caught.value)

    @property
    def part(self) -> Path:
        return self.folder / f"{NAME}.part"

    @property
    def record(self) -> Path:
        return self.folder / f"{NAME}.part.json"

    def leave_part(self, content: bytes, host: str = "first.test", validator: str | None = TAG) -> None:
        self.part.write_bytes(content)
        self.record.write_text(json.dumps({"mirror": f"https://{host}/files/{NAME}", "validator": validator}))

    def assert_delivered(self) -> None:
        """The file is right, and nothing else is left."""
        assert [path.name for path in self.folder.iterdir()] == [NAME]
        assert (self.folder / NAME).read_bytes() == CONTENT


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            MIRROR_VARIABLE,
        }:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture
def world(shared_server: Server, tmp_path: Path) -> Iterator[World]:
    shared_server.over.clear()
    shared_server.scripts.clear()
    shared_server.seen.clear()
    folder = tmp_path / "data"
    folder.mkdir()
    with requests.Session() as session:
        session.mount("https://", ToLoopback(shared_server.url))
        yield World(shared_server, folder, session)
    shared_server.over.set()


# Without faults ---------------------------------------------------------------------------------------------


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


# Faults -----------------------------------------------------------------------------------------------------

TRICKLE = Limits(
    connect_timeout_seconds=5, read_timeout_seconds=5, patience_seconds=0.1, slowest_bytes_per_second=10_000
)

FAULTS: dict[str, tuple[Behaviour, Limits, int, str]] = {
    # what the first mirror does, under which limits, how often it is asked, what is said of it
    "hangs up": (refuses, PATIENT, 4, "dropped the connection"),
    "talks nonsense": (talks_nonsense, PATIENT, 4, "dropped the connection"),
    "stalls before the head": (stalls_before_the_head, IMPATIENT, 2, "sends nothing for 0.25 s"),
    "stalls in the body": (stalls_in_the_body, IMPATIENT, 2, "sends nothing for 0.25 s|gives no answer"),
    "trickles the head": (trickles_the_head, IMPATIENT, 2, "gives no answer within 0.5 s|sends nothing"),
    "continues without end": (continues_without_end, IMPATIENT, 2, "gives no answer within 0.5 s"),
    "headers without end": (sends_headers_without_end, PATIENT, 4, "dropped the connection"),
    "a header without end": (sends_a_header_without_end, PATIENT, 4, "dropped the connection"),
    "trickles the body": (trickles_the_body, TRICKLE, 1, "is slower than 10.0 kB per second"),
    "trickles a chunk length": (
        trickles_a_chunk_length,
        IMPATIENT,
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
    "right size, wrong bytes": (
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
def test_of_a_faulty_mirror_the_user_is_told_and_the_next_one_is_tried(world: World, name: str) -> None:
    behaviour, limits, asked, text = FAULTS[name]
    world.server.script("first.test", behaviour)
    world.server.script("second.test", good())
    world.fetch(FIRST, SECOND, limits=limits)
    world.assert_delivered()
    assert len(world.server.requests("first.test")) == asked
    *_, left, delivered = world.told
    assert re.fullmatch(rf"https://first.test/files/{NAME}: .*({text}).*; trying the next place", left)
    assert delivered == f"{NAME}: 300.0 kB from https://second.test/files/{NAME}"
    assert all(pause <= limits.longest_pause_seconds for pause in world.pauses)


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_mirror_alone_is_an_error_of_three_lines(world: World, name: str) -> None:
    behaviour, limits, _, text = FAULTS[name]
    world.server.script("first.test", behaviour)
    what, mirror, advice = world.fails(FIRST, limits=limits).splitlines()
    assert what == f"{NAME}: no mirror delivers it"
    assert re.fullmatch(rf"  https://first.test/files/{NAME}: .*({text}).*", mirror)
    assert "source: bundled" in advice
    assert f"{MIRROR_VARIABLE}=" in advice
    # What is left is the beginning of the file, or nothing.
    left = {path.name: path.read_bytes() for path in world.folder.iterdir() if path.suffix != ".json"}
    assert set(left) <= {f"{NAME}.part"}
    assert all(content and CONTENT.startswith(content) for content in left.values())
    assert world.record.exists() == bool(left)


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


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("7", 7.0),
        ("0", 0.5),
        (format_datetime(NOW + dt.timedelta(seconds=9), usegmt=True), 9.0),
        (format_datetime(NOW - dt.timedelta(days=9), usegmt=True), 0.5),
        ("Wed, 04 Mar 2026 05:06:16 -0000", 9.0),
        ("3600", 60.0),
        ("999999999", 60.0),
        ("9" * 5000, 0.5),
        ("-5", 0.5),
        ("1e3", 0.5),
        ("soon", 0.5),
        ("Wed, 99 Mar 99999999999999 05:06:16 GMT", 0.5),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 60.0),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
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
    tracemalloc.start()
    world.fails()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent < 50_000_000  # the sockets' buffers, at most
    assert peak < 10_000_000
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


# Going on where a download ended ----------------------------------------------------------------------------


def test_a_dropped_download_goes_on_where_it_ended(world: World) -> None:
    world.server.script("first.test", drops(1000), drops(2000), good())
    world.fetch()
    world.assert_delivered()
    ranges = [request.headers.get("Range") for request in world.server.seen]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]
    # The second answer brought no ETag, and was in answer to the first one's.
    assert [request.headers.get("If-Range") for request in world.server.seen] == [None, TAG, TAG]


def test_a_later_run_goes_on_where_the_former_ended(world: World) -> None:
    world.server.script("first.test", drops(HALF), status(404))
    world.fails()
    assert world.part.read_bytes() == CONTENT[:HALF]
    assert json.loads(world.record.read_text()) == {
        "mirror": f"https://first.test/files/{NAME}",
        "validator": TAG,
    }
    world.server.script("first.test", good())
    world.told.clear()
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[-1].headers["Range"] == f"bytes={HALF}-"
    assert world.server.seen[-1].headers["If-Range"] == TAG
    assert world.told[0] == f"{NAME}: going on at 150.0 kB"


def test_a_date_identifies_a_file_without_a_strong_tag(world: World) -> None:
    date = "Wed, 04 Mar 2026 05:06:07 GMT"

    def behave(request: Request) -> None:
        request.head(200, Content_Length=len(CONTENT), ETag='W/"weak"', Last_Modified=date)
        request.body(CONTENT[:HALF])
        request.hang_up()

    world.server.script("first.test", behave, good(tag=None))
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[1].headers["If-Range"] == date


def test_a_file_that_changed_is_sent_anew(world: World) -> None:
    world.leave_part(bytes(HALF), validator='"state-0"')
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 1
    assert not world.pauses


def test_a_file_that_changed_is_noticed_where_the_server_does_not_care(world: World) -> None:
    rest = CONTENT[HALF:]
    world.leave_part(bytes(HALF), validator='"state-0"')
    world.server.script(
        "first.test",
        status(206, rest, Content_Range=f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", ETag=TAG),
        good(),
    )
    world.fetch()
    world.assert_delivered()
    assert "changed its file" in world.told[1]
    assert "Range" not in world.server.seen[1].headers


def test_an_ignored_range_starts_from_nothing(world: World) -> None:
    world.leave_part(CONTENT[:HALF])
    world.server.script("first.test", status(200, CONTENT))
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 1


def test_a_server_may_send_less_than_the_rest(world: World) -> None:
    def behave(request: Request) -> None:
        start = request.range_start()
        piece = CONTENT[start : start + 100_000]
        content_range = f"bytes {start}-{start + len(piece) - 1}/{len(CONTENT)}"
        request.head(206, Content_Range=content_range, Content_Length=len(piece), ETag=TAG)
        request.body(piece)

    world.leave_part(CONTENT[:50_000])
    world.server.script("first.test", behave)
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 3


def test_another_mirror_goes_on_where_the_first_ended(world: World) -> None:
    world.server.script("first.test", drops(HALF), status(404))
    world.server.script("second.test", good(tag='"another"'))
    world.fetch(FIRST, SECOND)
    world.assert_delivered()
    (request,) = world.server.requests("second.test")
    assert request.headers["Range"] == f"bytes={HALF}-"
    assert "If-Range" not in request.headers


@pytest.mark.parametrize("validator", [TAG, None, '"state-0"'])
@pytest.mark.parametrize("host", ["first.test", "second.test"])
def test_a_bad_beginning_is_not_blamed_on_the_mirror_that_adds_the_rest(
    world: World, host: str, validator: str | None
) -> None:
    world.leave_part(bytes(HALF), host=host, validator=validator)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()


@pytest.mark.parametrize(
    "record", ["", "{", "[]", '"x"', '{"mirror": 1}', "\x00", '{"validator": "a\\r\\nb"}']
)
def test_a_damaged_record_is_ignored(world: World, record: str) -> None:
    world.part.write_bytes(CONTENT[:HALF])
    world.record.write_text(record)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert "If-Range" not in world.server.seen[0].headers


def test_a_part_that_is_the_whole_file_needs_no_network(world: World) -> None:
    world.leave_part(CONTENT)
    world.fetch()
    assert not world.server.seen
    world.assert_delivered()


@pytest.mark.parametrize("part", [b"", bytes(len(CONTENT)), CONTENT + b"x", bytes(2 * len(CONTENT))])
def test_a_part_of_no_use_is_discarded(world: World, part: bytes) -> None:
    world.leave_part(part)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert "Range" not in world.server.seen[0].headers


def test_attempts_that_bring_the_file_forward_do_not_count(world: World) -> None:
    content = some_bytes(6 * 2**20)
    file = File(NAME, len(content), hashlib.sha256(content).hexdigest())
    world.server.script("first.test", drops(2**20, content))
    world.fetch(file=file, limits=Limits(attempts=2))
    assert (world.folder / NAME).read_bytes() == content
    assert len(world.server.seen) == 6


def test_attempts_that_only_repeat_the_beginning_do_count(world: World) -> None:
    content = some_bytes(3 * 2**20)
    file = File(NAME, len(content), hashlib.sha256(content).hexdigest())
    world.server.script("first.test", drops(2**21, content, ranges=False))
    world.fails(file=file, limits=Limits(attempts=3))
    assert len(world.server.seen) == 3


def test_parts_may_wait_elsewhere(world: World, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting" / "mnist"
    world.server.script("first.test", drops(HALF), status(404))
    world.fails(part_folder=waiting)
    assert sorted(path.name for path in waiting.iterdir()) == [f"{NAME}.part", f"{NAME}.part.json"]
    assert not list(world.folder.iterdir())
    world.server.script("first.test", good())
    world.fetch(part_folder=waiting)
    world.assert_delivered()
    assert not list(waiting.iterdir())


def test_parts_may_wait_on_another_file_system(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(18, os.strerror(18))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    world.server.script("first.test", good())
    world.fetch(part_folder=tmp_path / "waiting")
    world.assert_delivered()
    assert not list((tmp_path / "waiting").iterdir())


# One file, several processes; interruptions -----------------------------------------------------------------


def test_several_fetches_at_once_all_end_right_and_download_once(world: World) -> None:
    together = threading.Barrier(4)
    waiting = threading.Semaphore(0)

    def behave(request: Request) -> None:
        for _ in range(3):
            assert waiting.acquire(timeout=30)
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
    waiting = threading.Event()

    def fails(request: Request) -> None:
        assert waiting.wait(30)
        drops(HALF)(request)

    def tell(text: str) -> None:
        if "waiting for it" in text:
            waiting.set()

    def run(_: int) -> str:
        with requests.Session() as session:
            session.mount("https://", ToLoopback(world.server.url))
            try:
                fetch(FILE, [FIRST], world.folder, session=session, limits=Limits(attempts=1), report=tell)
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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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
        assert sent.wait(60)
        while world.part.stat().st_size < 1000:
            assert process.poll() is None
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert world.part.read_bytes() == CONTENT[:1000]
    world.fetch(own_mirror=world.server.url + "/own")
    world.assert_delivered()
    assert world.server.seen[1].headers["Range"] == "bytes=1000-"
    assert world.server.seen[1].headers["If-Range"] == TAG


def test_processes_at_once_download_once(world: World) -> None:
    world.server.script("own", good())
    with start_program(world) as one, start_program(world) as other:
        assert [one.wait(60), other.wait(60)] == [0, 0]
    world.assert_delivered()
    assert len(world.server.seen) == 1


# A mirror of one's own --------------------------------------------------------------------------------------


def test_the_environment_names_a_mirror() -> None:
    assert mirror_from_environment({}) is None
    assert mirror_from_environment({MIRROR_VARIABLE: " "}) is None
    assert mirror_from_environment({MIRROR_VARIABLE: " ../data/mnist\n"}) == "../data/mnist"


@pytest.mark.parametrize("end", ["", "/"])
def test_an_own_server_goes_first_and_may_be_plain_http(world: World, end: str) -> None:
    world.server.script("own", good())
    world.fetch(FIRST, own_mirror=f"{world.server.url}/own/some%20where{end}")
    assert [seen.path for seen in world.server.seen] == [f"/own/some%20where/{NAME}"]
    world.assert_delivered()


def test_an_own_server_is_looked_into_below_the_dataset_first(world: World) -> None:
    world.server.script("own", status(404), good())
    world.fetch(FIRST, own_mirror=f"{world.server.url}/own", dataset="mnist")
    assert [seen.path for seen in world.server.seen] == [f"/own/mnist/{NAME}", f"/own/{NAME}"]
    world.assert_delivered()


@pytest.mark.parametrize(
    "form", ["path", "path/", "file:", "FILE://", "file://", "file://localhost", "quoted"]
)
@pytest.mark.parametrize("below", ["", "mnist"])
def test_an_own_folder_goes_first(world: World, tmp_path: Path, form: str, below: str) -> None:
    own = tmp_path / "my own"
    (own / below).mkdir(parents=True)
    (own / below / NAME).write_bytes(CONTENT)
    mirror = {
        "path": str(own),
        "path/": f"{own}/",
        "file:": f"file:{own}",
        "FILE://": f"FILE://{own}",
        "file://": f"file://{own}",
        "file://localhost": f"file://localhost{own}",
        "quoted": own.as_uri(),
    }[form]
    world.leave_part(CONTENT[:10])
    world.fetch(FIRST, own_mirror=mirror, dataset="mnist")
    assert not world.server.seen
    world.assert_delivered()
    assert (own / below / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("present", "text"),
    [
        (None, "no such file"),
        (b"", "has 0 bytes instead of 300000: it holds nothing (an empty file)"),
        (b"\0\0\x08\x01\0\0\0\1\7", "has 9 bytes instead of 300000: it holds idx data, unpacked; the packed"),
        (b"<html>", "has 6 bytes instead of 300000: it holds an HTML page"),
        (bytes(len(CONTENT)), "wrong checksum"),
    ],
)
def test_in_an_own_folder_too_the_checksum_decides(
    world: World, tmp_path: Path, present: bytes | None, text: str
) -> None:
    if present is not None:
        (tmp_path / NAME).write_bytes(present)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert world.told[0].startswith(f"{tmp_path / NAME}: {text}")
    world.assert_delivered()


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.parametrize(
    "near", [NAME.replace(".gz", " (1).gz"), NAME.removesuffix(".gz"), f"{NAME}.download", f"Copy of {NAME}"]
)
def test_a_file_of_nearly_the_name_is_named(world: World, tmp_path: Path, near: str, below: str) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / near).write_bytes(CONTENT)
    (tmp_path / below / "readme.txt").write_bytes(b"x")
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path), dataset=below or None)
    assert f"{tmp_path / below / NAME}: no such file, but {near} is there: rename it" in world.told[0]
    world.assert_delivered()


@pytest.mark.parametrize("scheme", ["HTTP", "Http"])
def test_the_scheme_of_an_own_mirror_may_be_in_capitals(world: World, scheme: str) -> None:
    world.server.script("own", good())
    world.fetch(FIRST, own_mirror=world.server.url.replace("http", scheme) + "/own")
    assert [seen.path for seen in world.server.seen] == [f"/own/{NAME}"]
    world.assert_delivered()


@pytest.mark.parametrize("end", ["/", f"/{NAME}"])
def test_the_scheme_of_a_mirror_may_be_in_capitals(end: str) -> None:
    (place,) = places_of(FILE, [f"HTTPS://first.test{end}"], None, None)
    assert str(place.place).lower() == f"https://first.test/{NAME}".lower()


def test_only_a_data_set_with_a_stand_in_is_told_to_use_it(world: World) -> None:
    world.server.script("first.test", status(404), status(404))
    assert "source: bundled" in str(world.fails(FIRST))
    assert "bundled" not in str(world.fails(FIRST, has_stand_in=False))


def test_in_an_own_folder_only_plain_files_are_opened(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert "no such file" in world.told[0]


def test_an_own_folder_that_cannot_be_read_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    plain_open = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (passed on as they are)
        if self == tmp_path / NAME:
            raise PermissionError(13, os.strerror(13), str(self))
        return plain_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert world.told[0] == f"{tmp_path / NAME}: cannot be read: Permission denied; trying the next place"
    world.assert_delivered()


def test_an_own_mirror_alone_will_do(world: World, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    fetch(FILE, [], world.folder, own_mirror=str(tmp_path))
    world.assert_delivered()


@pytest.mark.parametrize(
    "mirror", ["ftp://user:secret@example.test/x", "s3://bucket", "file://elsewhere/data"]
)
def test_an_own_mirror_of_another_kind_is_refused(world: World, mirror: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a folder, or an http, https or file URL") as caught:
        world.fetch(own_mirror=mirror)
    assert "secret" not in str(caught.value)


def test_a_folder_of_a_user_that_there_is_not(world: World) -> None:
    with pytest.raises(ConfigError, match=r"=~nobody-of-this-name/x: there is no such user"):
        world.fetch(own_mirror="~nobody-of-this-name/x")


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mirror", ["http://user:secret@first.test/", "ftp://first.test/", "/data/", "first.test/"]
)
def test_mirrors_are_https(world: World, mirror: str) -> None:
    with pytest.raises(ConfigError, match="expected an https URL") as caught:
        world.fetch(SECOND, mirror)
    assert "secret" not in str(caught.value)
    assert not world.server.seen


@pytest.mark.parametrize(
    ("mirrors", "own"),
    [(["https://[x:secret@y]/"], None), ([], "http://[secret"), ([], "http://x\u2100y:secret@host/")],
)
def test_a_mirror_is_a_url(tmp_path: Path, mirrors: list[str], own: str | None) -> None:
    with pytest.raises(ConfigError, match=f"{NAME}: a mirror is no URL") as caught:
        fetch(FILE, mirrors, tmp_path, own_mirror=own)
    assert "secret" not in str(caught.value)


def test_no_mirror_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no mirror"):
        fetch(FILE, [], tmp_path / "data")
    assert not (tmp_path / "data").exists()


# No network, proxies, certificates, secrets -----------------------------------------------------------------


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def assert_no_network(message: str) -> None:
    what, ways_out = message.splitlines()
    assert what == f"{NAME}: no network? None of the mirrors can be reached (first.test, second.test)"
    assert "`source: bundled` in params.yaml" in ways_out
    assert f"{MIRROR_VARIABLE}=FOLDER-OR-URL" in ways_out


def test_without_network_two_lines_name_the_ways_out(world: World, closed_port: int) -> None:
    world.session.mount("https://", ToLoopback(f"http://127.0.0.1:{closed_port}"))
    assert_no_network(world.fails(FIRST, SECOND))
    assert len(world.pauses) == 2  # one for each mirror: that there is no network is said soon
    assert not list(world.folder.iterdir())


def test_without_name_resolution_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object) -> NoReturn:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    world.session.mount("https://", HTTPAdapter())
    assert_no_network(world.fails(FIRST, SECOND))
    assert "its name cannot be resolved" in world.told[0]


def test_a_name_resolution_that_hangs_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object) -> NoReturn:
        world.server.over.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    world.session.mount("https://", HTTPAdapter())
    assert "gives no answer within 0.5 s" in world.fails(limits=IMPATIENT)


def test_a_connection_that_hangs_is_given_up(world: World) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill its queue: from here on nobody gets through
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003  (its only parameter)
            waiting.connect_ex(listener.getsockname())
        world.session.mount("https://", ToLoopback(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        assert_no_network(world.fails(FIRST, SECOND, limits=IMPATIENT))
    assert "no connection within 0.25 s" in world.told[0]


def test_a_proxy_from_the_environment_is_honoured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", world.server.url.replace("http://", "http://user:secret@"))
    world.server.script("proxied", good())
    world.fetch(own_mirror="http://mirror.test/data")
    world.assert_delivered()
    (request,) = world.server.seen
    assert request.path == f"http://mirror.test/data/{NAME}"
    assert request.headers["Proxy-Authorization"].startswith("Basic ")
    assert not any("secret" in text for text in world.told)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_work_is_named_as_the_cause(
    world: World, monkeypatch: pytest.MonkeyPatch, closed_port: int, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:secret@127.0.0.1:{closed_port}")
    with pytest.raises(FetchError, match="the proxy that the environment names") as caught:
        fetch(FILE, [], world.folder, own_mirror=f"{scheme}://mirror.test/", sleep=world.pauses.append)
    assert "secret" not in str(caught.value)


def test_certificates_are_verified(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.script("own", good())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        mirror = server.url.replace("http:", "https:") + "/own/"
        try:
            with pytest.raises(FetchError, match="its certificate cannot be verified"):
                fetch(FILE, [mirror], world.folder)
            assert not server.seen
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_path))
            fetch(FILE, [mirror], world.folder)
        finally:
            server.shutdown()
            thread.join()
    world.assert_delivered()


@pytest.mark.parametrize(
    "behaviour",
    [status(500), drops(1000), right_size_wrong_bytes, redirects_to("https://x:secret@y.test:bad/")],
)
def test_no_secret_of_a_url_is_told_or_kept(
    world: World, behaviour: Behaviour, capfd: pytest.CaptureFixture[str]
) -> None:
    world.server.script("own", behaviour)
    own = world.server.url.replace("://", "://user:secret@") + "/own?token=secret#secret"
    with pytest.raises(FetchError) as caught:
        world.fetch("https://user:secret@first.test/x?signature=secret", own_mirror=own)
    assert world.server.requests("own")[0].headers["Authorization"].startswith("Basic ")
    assert world.server.requests("own")[0].path == f"/own/{NAME}?token=secret"
    assert world.server.requests("first.test")[0].path.endswith("signature=secret")
    kept = [path.read_bytes() for path in world.folder.iterdir()]
    assert b"secret" not in b"".join(kept)
    assert "secret" not in "\n".join([*world.told, str(caught.value), *capfd.readouterr()])
    assert caught.value.__cause__ is None


def test_credentials_do_not_follow_a_redirect_to_another_host(world: World) -> None:
    world.server.script("first.test", redirects_to(f"{SECOND}{NAME}"))
    world.server.script("second.test", good())
    world.fetch("https://user:secret@first.test/files/")
    first, second = world.server.seen
    assert first.headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in second.headers
    world.assert_delivered()


# The disk ---------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_what_arrived_is_kept(world: World) -> None:
    world.server.script("first.test", good())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        message = world.fails()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
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


# Whatever comes ---------------------------------------------------------------------------------------------

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
    shared_server: Server, first: Sequence[Behaviour], second: Sequence[Behaviour], part: bytes | None
) -> None:
    shared_server.over.clear()
    shared_server.seen.clear()
    shared_server.script("first.test", *first)
    shared_server.script("second.test", *second)
    with tempfile.TemporaryDirectory() as folder, requests.Session() as session:
        session.mount("https://", ToLoopback(shared_server.url))
        world = World(shared_server, Path(folder), session)
        if part is not None:
            world.leave_part(part)
        try:
            world.fetch(FIRST, SECOND)
        except FetchError:
            assert not (world.folder / NAME).exists()
        else:
            world.assert_delivered()
    assert len(shared_server.seen) <= 8


header_names = st.sampled_from(
    ["Content-Range", "Content-Length", "ETag", "Last-Modified", "Retry-After", "Content-Type"]
)
header_texts = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.from_regex(r"\Abytes [0-9]{1,30}-[0-9]{1,30}/[0-9]{1,30}\Z"),
    st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Dec) [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} .{0,6}\Z"),
)


@given(st.dictionaries(header_names, header_texts))
@settings(deadline=None, max_examples=80)
def test_whatever_headers_say_reading_them_does_no_harm(headers: dict[str, str]) -> None:
    response = requests.Response()
    response.status_code = 200
    response.headers.update(headers)
    answer = Answer(response, None, PATIENT)  # type: ignore[arg-type]  # nothing is read from it
    assert answer.retry_after_seconds(0.0) >= 0
    assert answer.length is None or answer.length >= 0
    assert all(number is None or number >= 0 for number in answer.range)
    assert answer.validator is None or answer.validator.isprintable()
    assert answer.is_page in {True, False}
