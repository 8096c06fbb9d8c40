"""A real server on the loopback interface, which misbehaves on request, and a folder to download to.

Mirrors must be https, and the tests have no certificate for them: an adapter carries every request for
https://HOST/PATH to the loopback server as /HOST/PATH, and everything above it is the real thing.
"""

import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from pipeline.config.schema import File
from pipeline.core.errors import FetchError
from pipeline.data.download.fetch import Limits, fetch


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)  # noqa: S311  (bytes to send, not to keep secret)


CONTENT = some_bytes(300_000)
HALF = len(CONTENT) // 2
NAME = "images.gz"
FILE = File(NAME, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())

FIRST = "https://first.test/files/"
SECOND = "https://second.test/files/"
TAG = '"state-1"'

# None of its times passes on a machine that is busy. Of the others just the one that a test is about does.
PATIENT = Limits(connect_timeout_seconds=60, read_timeout_seconds=60)
IMPATIENT = Limits(connect_timeout_seconds=0.25, read_timeout_seconds=0.25, attempts=3)
SILENT = Limits(connect_timeout_seconds=60, read_timeout_seconds=0.25, attempts=3)
UNCONNECTED = Limits(connect_timeout_seconds=0.25, read_timeout_seconds=60, attempts=3)

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

    def has_been_asked(self, host: str, times: int) -> bool:
        """Whether it was asked so often; a request that was given up may still have to be read."""
        end = time.monotonic() + 60
        while len(self.requests(host)) < times and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.requests(host)) == times

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error of the server."""


@contextmanager
def running_server() -> Iterator[Server]:
    """A server of one test's own: what the test before gave up may not have been read yet."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


# What a server can do


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


# The parts of a test


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
