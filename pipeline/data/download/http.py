"""One HTTP request and its answer, bounded in time and in what it trusts. Opens no file."""

import http
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions as urllib3_exceptions

_REDIRECTS: Final = 5
# Who cannot be reached, or accepts and says nothing, is tried once more, and no more.
_SILENT_ATTEMPTS: Final = 2

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Limits:
    """What bounds a download.

    Attributes:
        connect_timeout_seconds: the longest wait for a connection.
        read_timeout_seconds: the longest wait for the next bytes; with the former, for an answer's head.
        attempts: how often in a row a mirror may fail before the next one's turn; an attempt that brings the
            file forward by 1 MiB or more starts the count anew.
        first_pause_seconds: the pause before the second attempt; it doubles from one to the next.
        longest_pause_seconds: the longest pause, even where the server asks for a longer one.
        slowest_bytes_per_second: a mirror slower than this, on average over `patience_seconds`, is left.
        patience_seconds: the time over which that average is taken.
    """

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 30.0
    attempts: int = 4
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    slowest_bytes_per_second: float = 4096.0
    patience_seconds: float = 30.0


class MirrorError(Exception):
    """Why an attempt failed.

    Attributes:
        text: says so, for the user.
        attempts: how often in a row a mirror may do this; 1 is once.
        pause_seconds: the pause that the mirror asks for.
        unreachable: whether there was no connection at all.
        discard: whether the bytes so far cannot be built upon.
    """

    def __init__(
        self,
        text: str,
        *,
        attempts: int = 1,
        pause_seconds: float = 0.0,
        unreachable: bool = False,
        discard: bool = False,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.attempts = attempts
        self.pause_seconds = pause_seconds
        self.unreachable = unreachable
        self.discard = discard


class _Aside:
    """A thread for calls that may have to be given up.

    A socket's timeouts bound one wait for the other side. They bound neither the look-up of a name, nor a
    head or a chunk's length that arrives byte by byte. A call that takes too long is left to the thread: it
    is a daemon, and tidies up after the call whenever that ends.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._work, daemon=True).start()

    def call(self, function: Callable[[], _Result], timeout_seconds: float) -> _Result:
        """What `function` returns or raises.

        Raises:
            TimeoutError: it did neither in time.
        """
        outcome: Future[_Result] = Future()

        def job() -> None:
            try:
                outcome.set_result(function())
            except Exception as error:  # noqa: BLE001  (it is raised again, where it is waited for)
                outcome.set_exception(error)

        self._jobs.put(job)
        return outcome.result(timeout_seconds)

    def end(self, tidy_up: Callable[[], None]) -> None:
        """Have `tidy_up` called after the last call, and do not wait for it."""
        self._jobs.put(tidy_up)
        self._jobs.put(None)

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            job()


class Answer:
    """An HTTP answer whose every wait is bounded, and whose headers are read with suspicion."""

    def __init__(self, response: requests.Response, aside: _Aside, limits: Limits) -> None:
        self._response = response
        self._headers = response.headers
        self._aside = aside
        self._limits = limits

    def read(self, most: int) -> bytes:
        """The next bytes of the body, at least one and at most `most`; none at its end.

        Raises:
            MirrorError: they did not come.
        """
        # Undecoded: a server that labels a .gz file as gzip-encoded means the file as it is. Just what there
        # is: a read that insists on `most` bytes would wait for a trickle without end.
        return _call_mirror(
            self._aside,
            lambda: self._response.raw.read1(most, decode_content=False) or b"",
            self._limits.read_timeout_seconds,
            self._limits,
        )

    @property
    def status(self) -> int:
        """The status code."""
        return self._response.status_code

    @property
    def status_text(self) -> str:
        """The status code with its usual name; never the server's own words."""
        try:
            return f"HTTP {self.status} {http.HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"HTTP {self.status}"

    @property
    def is_page(self) -> bool:
        """Whether the body is a web page."""
        return self._headers.get("Content-Type", "").strip().lower().startswith("text/html")

    @property
    def is_chunked(self) -> bool:
        """Whether the body says itself where it ends."""
        return "chunked" in self._headers.get("Transfer-Encoding", "").lower()

    @property
    def length(self) -> int | None:
        """The size of the body in bytes, if the headers tell."""
        text = self._headers.get("Content-Length", "")
        return None if self.is_chunked or not re.fullmatch(r"[0-9]{1,18}", text) else int(text)

    @property
    def range(self) -> tuple[int | None, int | None]:
        """First byte of the body and total size of the file, as far as the headers tell."""
        pattern = r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/(?:([0-9]{1,18})|\*)"
        match = re.fullmatch(pattern, self._headers.get("Content-Range", ""))
        start, total = match.groups() if match else (None, None)
        return (None if start is None else int(start)), (None if total is None else int(total))

    @property
    def validator(self) -> str | None:
        """What identifies this state of the file, fit for If-Range: a strong ETag, else a date."""
        tag = self._headers.get("ETag", "")
        return printable_validator(tag if tag.startswith('"') else self._headers.get("Last-Modified"))

    def retry_after_seconds(self, now: float) -> float:
        """How long the server asks to be left alone (RFC 9110, section 10.2.3); 0 if it does not.

        Args:
            now: seconds from the epoch, for a server that names a date.
        """
        text = self._headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def printable_validator(text: object) -> str | None:
    """`text` if it can stand in a header, else None."""
    return text if isinstance(text, str) and re.fullmatch(r"[!-~]([ -~]{0,198}[!-~])?", text) else None


@contextmanager
def exchange(
    session: requests.Session, url: str, headers: Mapping[str, str], limits: Limits
) -> Iterator[Answer]:
    """Send a GET request, follow redirects, and hand over the answer.

    Args:
        session: the proxies, certificates and credentials it has from the environment are honoured.
        url: an http(s) URL.
        headers: of the request.
        limits: the timeouts.

    Raises:
        MirrorError: there is none.
    """
    aside = _Aside()
    opened: list[requests.Response] = []

    def send() -> requests.Response:
        place = url
        for _ in range(_REDIRECTS + 1):
            response = _send_once(session, place, headers, limits)
            opened.append(response)
            location = response.headers.get("Location")
            if not response.is_redirect or location is None:
                return response
            place = _redirected(place, location)
        raise MirrorError(f"redirects more than {_REDIRECTS} times")

    def close() -> None:
        for response in opened:
            response.close()

    try:
        wait_seconds = limits.connect_timeout_seconds + limits.read_timeout_seconds
        yield Answer(_call_mirror(aside, send, wait_seconds, limits), aside, limits)
    finally:
        aside.end(close)


def _send_once(
    session: requests.Session, url: str, headers: Mapping[str, str], limits: Limits
) -> requests.Response:
    # Through the adapter, not session.send: that reads the body of a redirect, however long, and follows one
    # from https to http.
    request = session.prepare_request(requests.Request("GET", url, headers=dict(headers)))
    settings = session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
    return session.get_adapter(url).send(
        request,
        stream=True,
        timeout=(limits.connect_timeout_seconds, limits.read_timeout_seconds),
        verify=settings["verify"] or True,
        cert=settings["cert"],
        proxies=settings["proxies"],
    )


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        raise MirrorError("redirects to something that is no URL") from None
    if scheme not in {"http", "https"}:
        raise MirrorError("redirects to something that is no web address")
    if scheme == "http" and url.startswith("https:"):
        raise MirrorError("redirects from https to plain http")
    return target


def _call_mirror(
    aside: _Aside, function: Callable[[], _Result], timeout_seconds: float, limits: Limits
) -> _Result:
    """`function()`, any failure of which is told as a mirror's.

    The errors of requests and urllib3 quote the URL, which may hold a secret: nothing of them is repeated.
    """
    try:
        return aside.call(function, timeout_seconds)
    except TimeoutError:
        text = f"gives no answer within {timeout_seconds:g} s"
        raise MirrorError(text, attempts=min(_SILENT_ATTEMPTS, limits.attempts)) from None
    except (requests.RequestException, urllib3_exceptions.HTTPError, OSError, ValueError) as error:
        raise _in_our_words(error, limits) from None


def _in_our_words(error: Exception, limits: Limits) -> MirrorError:
    reason = getattr(error.args[0], "reason", None) if error.args else None

    def is_(*kinds: type[Exception]) -> bool:
        return isinstance(error, kinds) or isinstance(reason, kinds)

    attempts, unreachable = min(_SILENT_ATTEMPTS, limits.attempts), False
    if is_(requests.exceptions.ProxyError):
        text = "the proxy that the environment names does not serve it"
    elif is_(requests.exceptions.SSLError, urllib3_exceptions.SSLError):
        text = "no encrypted connection"
        if "CERTIFICATE_VERIFY_FAILED" in repr(error):
            text, attempts = "its certificate cannot be verified", 1
    elif is_(urllib3_exceptions.NameResolutionError):
        text, unreachable = "its name cannot be resolved", True
    elif is_(urllib3_exceptions.NewConnectionError):
        text, unreachable = "cannot be reached", True
    elif is_(requests.exceptions.ConnectTimeout):
        text, unreachable = f"no connection within {limits.connect_timeout_seconds:g} s", True
    elif is_(requests.exceptions.Timeout, urllib3_exceptions.TimeoutError):
        text = f"sends nothing for {limits.read_timeout_seconds:g} s"
    elif is_(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        text, attempts = "is no URL that can be opened", 1
    else:
        text, attempts = "dropped the connection", limits.attempts
    return MirrorError(text, attempts=attempts, unreachable=unreachable)
