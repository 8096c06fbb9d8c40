"""Download one file from the first mirror that delivers it: resumable, bounded in time, checked, atomic.

A mirror is an https URL: one that ends in "/" is a folder to which the file's name is appended, any other is
the file itself. Size and SHA-256 decide what is right, never the mirror. Bytes arrive in `NAME.part`, beside
which `NAME.part.json` keeps what identifies the mirror's copy; whatever ends the download, the next one goes
on from there. Only a file whose checksum is right gets its final name.
"""

import errno
import fcntl
import hashlib
import http
import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import url2pathname

import requests

from pipeline.errors import ConfigError, FetchError
from pipeline.progress import BYTES, Progress, ShowProgress, format_bytes
from pipeline.storage import atomic_write, sync_folder, write_text
from pipeline.transport import Answer, Limits, MirrorError, exchange, printable_validator

__all__ = ["MIRROR_VARIABLE", "Limits", "RemoteFile", "fetch", "mirror_from_environment"]

MIRROR_VARIABLE: Final = "PIPELINE_MIRROR"
"""The environment variable that names a mirror of the user's own: a folder, or the URL of one."""

_PIECE_BYTES: Final = 1 << 18
# An attempt that brings this much starts the count anew: a long download may be dropped many times.
_WORTHWHILE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file that mirrors promise to have.

    Attributes:
        name: its plain name, on the mirrors and on disk.
        bytes: its exact size.
        sha256: its SHA-256 in 64 lower-case hexadecimal digits.

    Raises:
        ConfigError: the name has a folder in it, the size is not positive, or the checksum is malformed.
    """

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if self.name in {"", ".", ".."} or not re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", self.name):
            raise ConfigError(f"file name {self.name!r}: expected a plain name without a folder")
        if self.bytes < 1:
            raise ConfigError(f"{self.name}: bytes={self.bytes}: expected the file's size, at least 1")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ConfigError(
                f"{self.name}: sha256={self.sha256!r}: expected 64 lower-case hexadecimal digits"
            )


def mirror_from_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """The mirror that the user names in PIPELINE_MIRROR, for `fetch(own_mirror=...)`; None without one."""
    return environment.get(MIRROR_VARIABLE, "").strip() or None


def fetch(
    file: RemoteFile,
    mirrors: Sequence[str],
    destination_folder: Path,
    *,
    part_folder: Path | None = None,
    own_mirror: str | None = None,
    dataset: str | None = None,
    limits: Limits | None = None,
    session: requests.Session | None = None,
    show_progress: ShowProgress = Progress,
    report: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
) -> Path:
    """Make sure that `destination_folder` holds `file`, downloading it where it does not.

    Several processes may do so at once: one of them downloads, under a lock on the part file (which the
    kernel lifts however the process ends), and the others wait for it and find the file there. Part files of
    their own would need no lock, but every process would download everything, and none could resume.

    Args:
        file: what is wanted.
        mirrors: https URLs, the healthiest first.
        destination_folder: created if needed.
        part_folder: where the unfinished file lives, by default `destination_folder`. DVC empties a stage's
            outputs before it runs the stage: a download that is to be resumed has to wait elsewhere.
        own_mirror: a mirror that goes before all others, and that may be plain http, a local folder or a file
            URL; it is a folder in any case. See `mirror_from_environment`.
        dataset: the folder below `own_mirror` that is looked into before `own_mirror` itself, because data
            sets share file names.
        limits: timeouts, retries and the least speed.
        session: an HTTP session; by default a new one, which takes proxies from the environment.
        show_progress: opens the progress, in bytes (`pipeline.progress.progress`); by default a silent one.
        report: takes a line of text whenever something is worth telling; by default nobody is told.
        sleep: waits for a number of seconds.
        clock: seconds from any fixed moment.
        now: seconds from the epoch, for a Retry-After that gives a date.
        jitter: a random number in [0, 1), to keep clients that failed together from returning together.

    Returns:
        The path of the file, whose size and checksum are right.

    Raises:
        FetchError: no mirror delivered the file, or it cannot be written.
        ConfigError: there is no mirror, or one is neither https nor the user's own.
    """
    try:
        sources = _sources(file, mirrors, own_mirror, dataset)
    except ValueError:  # from urlsplit, which may quote user and password: so nothing of it is repeated
        raise ConfigError(f"{file.name}: a mirror is no URL that can be read (is its host right?)") from None
    destination = destination_folder / file.name
    part_path = (part_folder or destination_folder) / f"{file.name}.part"
    try:
        if _is_right(destination, file):
            report(f"{file.name}: already here")
            return destination
        if destination.exists():
            report(f"{destination}: not the file that is wanted; fetching it anew")
        destination_folder.mkdir(parents=True, exist_ok=True)
        part_path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _locked(part_path, report) as handle,
            nullcontext(session) if session else requests.Session() as open_session,
        ):
            if _is_right(destination, file):
                report(f"{file.name}: fetched by another process")
                return destination
            with show_progress(file.bytes, file.name, BYTES) as bar:
                part = _Part(handle, part_path, file, bar)
                if part.size:
                    report(f"{file.name}: going on at {format_bytes(part.size)}")
                waiting = _Waiting(sleep=sleep, clock=clock, now=now, jitter=jitter)
                download = _Download(part, limits or Limits(), open_session, report, waiting)
                source = download.run(sources)
            part.move_to(destination)
        report(f"{file.name}: {format_bytes(file.bytes)} from {source}")
    except OSError as error:
        place = error.filename or part_path
        message = f"cannot read or write {place}: {error.strerror or error}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            message += (
                f"; {file.name} needs {format_bytes(file.bytes)}. "
                "What has arrived is kept: make room and run it again"
            )
        raise FetchError(message) from error
    return destination


@dataclass(frozen=True)
class _Source:
    """One place to take the file from.

    Attributes:
        place: a URL, or the path of a local file.
        label: the same without credentials and query, which may be shown.
        own: whether it is the user's own mirror.
    """

    place: str | Path
    label: str
    own: bool = False


def _sources(
    file: RemoteFile, mirrors: Sequence[str], own_mirror: str | None, dataset: str | None
) -> list[_Source]:
    sources = _own_sources(own_mirror, dataset, file.name) if own_mirror else []
    for mirror in mirrors:
        url = _below(mirror, file.name) if mirror.endswith("/") else mirror
        if not url.startswith("https://"):
            raise ConfigError(
                f"mirror {_label(url)}: expected an https URL; one of your own goes into {MIRROR_VARIABLE}"
            )
        sources.append(_Source(url, _label(url)))
    if not sources:
        raise ConfigError(f"{file.name}: there is no mirror to fetch it from")
    return sources


def _own_sources(mirror: str, dataset: str | None, name: str) -> list[_Source]:
    scheme, separator, _ = mirror.partition("://")
    names = [f"{dataset}/{name}", name] if dataset else [name]
    if separator and scheme in {"http", "https"}:
        urls = [_below(mirror, below) for below in names]
        return [_Source(url, _label(url), own=True) for url in urls]
    folder = Path(mirror).expanduser()
    if separator:
        parts = urlsplit(mirror)
        if scheme != "file" or parts.netloc not in {"", "localhost"}:
            raise ConfigError(
                f"{MIRROR_VARIABLE}={_label(mirror)}: expected a folder, or an http, https or file URL of one"
            )
        folder = Path(url2pathname(parts.path))
    return [_Source(folder / below, str(folder / below), own=True) for below in names]


def _below(folder_url: str, name: str) -> str:
    parts = urlsplit(folder_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}"))


def _label(url: str) -> str:
    """`url` without user, password, query and fragment: all that may be a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _Part:
    """The bytes that have arrived: their file, their running checksum, and what identifies their origin."""

    def __init__(self, handle: io.FileIO, path: Path, file: RemoteFile, bar: Progress) -> None:
        self.file = file
        self.size = 0
        self._handle = handle
        self._path = path
        self._record = _record_path(path)
        self._bar = bar
        self._hash = hashlib.sha256()
        if os.fstat(handle.fileno()).st_size > file.bytes:
            handle.truncate(0)
        handle.seek(0)
        while self.missing and (piece := handle.read(min(_PIECE_BYTES, self.missing))):
            self._count(piece)

    @property
    def missing(self) -> int:
        """How many bytes are still to come."""
        return self.file.bytes - self.size

    @property
    def sha256(self) -> str:
        """The checksum of the bytes so far."""
        return self._hash.hexdigest()

    @property
    def is_right(self) -> bool:
        """Whether this is the whole file."""
        return self.missing == 0 and self.sha256 == self.file.sha256

    def append(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._handle.write(view) :]
        self._count(piece)

    def discard(self) -> None:
        """Start from nothing."""
        if self.size:
            self._handle.truncate(0)
            self._bar.advance(-self.size)
        self.size = 0
        self._hash = hashlib.sha256()

    def remember(self, label: str, validator: str | None) -> None:
        """Keep whose bytes come next, and what identifies this state of its file."""
        write_text(self._record, json.dumps({"mirror": label, "validator": validator}))

    def validator(self, label: str) -> str | None:
        """What identified the file when its latest bytes came, if they came from that mirror."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None  # never written, or damaged: the checksum is there for the rest
        if not isinstance(record, dict) or record.get("mirror") != label:
            return None
        return printable_validator(record.get("validator"))

    def move_to(self, destination: Path) -> None:
        """Give the file its final name, at once and for good."""
        os.fsync(self._handle.fileno())
        self._record.unlink(missing_ok=True)
        try:
            self._path.replace(destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Another file system: copy, and let the copy appear as suddenly.
            with self._path.open("rb") as part, atomic_write(destination) as copy:
                shutil.copyfileobj(part, copy, _PIECE_BYTES)
            self._path.unlink()
        sync_folder(destination.parent)

    def _count(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)
        self._bar.advance(len(piece))


@dataclass(frozen=True)
class _Waiting:
    """Time and chance, which tests replace."""

    sleep: Callable[[float], None]
    clock: Callable[[], float]
    now: Callable[[], float]
    jitter: Callable[[], float]


class _Download:
    """Fills a part from the first source that has the rest of it."""

    def __init__(
        self,
        part: _Part,
        limits: Limits,
        session: requests.Session,
        report: Callable[[str], None],
        waiting: _Waiting,
    ) -> None:
        self._part = part
        self._file = part.file
        self._limits = limits
        self._session = session
        self._report = report
        self._waiting = waiting

    def run(self, sources: Sequence[_Source]) -> str:
        """Try the sources in turn, and say which one delivered.

        Raises:
            FetchError: none did.
        """
        if self._part.is_right:
            return "an earlier download"
        if self._part.missing == 0:
            self._part.discard()
        troubles: list[MirrorError] = []
        for source in sources:
            trouble = self._try(source)
            if trouble is None:
                return source.label
            troubles.append(trouble)
            more = "trying the next place" if len(troubles) < len(sources) else "no place left to try"
            self._report(f"{source.label}: {trouble.text}; {more}")
        raise FetchError(_failure(self._file, sources, troubles))

    def _try(self, source: _Source) -> MirrorError | None:
        """Take the file from one source, with retries; the last trouble if that did not work."""
        failures = 0
        furthest = self._part.size
        while True:
            try:
                if isinstance(source.place, Path):
                    self._copy(source.place)
                else:
                    self._download(source.place, source.label)
            except MirrorError as trouble:
                if self._part.size >= furthest + _WORTHWHILE_BYTES:
                    failures = 0
                furthest = max(furthest, self._part.size)
                if trouble.discard:
                    self._part.discard()
                failures += 1
                if failures >= trouble.attempts:
                    return trouble
                pause = self._pause_seconds(failures, trouble)
                self._report(f"{source.label}: {trouble.text}; trying again in {pause:.1f} s")
                self._waiting.sleep(pause)
            else:
                return None

    def _pause_seconds(self, failures: int, trouble: MirrorError) -> float:
        backoff = self._limits.first_pause_seconds * 2.0 ** (failures - 1)
        wanted = max(backoff * (0.5 + self._waiting.jitter() / 2), trouble.pause_seconds)
        return min(wanted, self._limits.longest_pause_seconds)

    def _copy(self, path: Path) -> None:
        """Take the file from a local folder."""
        try:
            if not path.is_file():
                raise MirrorError("no such file")
            if path.stat().st_size != self._file.bytes:
                raise MirrorError(_wrong_size(path.stat().st_size, self._file))
            local = path.open("rb", buffering=0)
        except OSError as error:
            raise MirrorError(f"cannot be read: {error.strerror or error}") from None
        with local:
            self._part.discard()
            while self._part.missing:
                try:
                    piece = local.read(min(_PIECE_BYTES, self._part.missing))
                except OSError as error:
                    raise MirrorError(f"cannot be read: {error.strerror or error}", discard=True) from None
                if not piece:
                    raise MirrorError("became shorter while it was read", discard=True)
                self._part.append(piece)
        self._check(from_the_start=True)

    def _download(self, url: str, label: str) -> None:
        """Take the file, or the rest of it, from a server: one request."""
        have = self._part.size
        validator = self._part.validator(label) if have else None
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        with exchange(self._session, url, headers, self._limits) as answer:
            start = self._examine(answer, have, validator)
            if start == 0:
                self._part.discard()
            self._part.remember(label, answer.validator or (validator if start else None))
            self._receive(answer)
            if self._part.missing:
                raise self._ended_early(answer)
        self._check(from_the_start=start == 0)

    def _examine(self, answer: Answer, have: int, validator: str | None) -> int:
        """Where in the file the body of an answer starts: at `have`, or at 0.

        Raises:
            MirrorError: nowhere.
        """
        if answer.status == http.HTTPStatus.OK:
            if answer.is_page and answer.length != self._file.bytes:
                raise MirrorError("answers with a web page instead of the file")
            if answer.length not in {None, self._file.bytes}:
                raise MirrorError(_wrong_size(answer.length, self._file))
            return 0
        ranged = {http.HTTPStatus.PARTIAL_CONTENT, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
        if have and answer.status in ranged:
            self._examine_range(answer, have, validator)
            return have
        again = answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in {
            http.HTTPStatus.REQUEST_TIMEOUT,
            http.HTTPStatus.TOO_MANY_REQUESTS,
        }
        raise MirrorError(
            answer.status_text,
            attempts=self._limits.attempts if again else 1,
            pause_seconds=answer.retry_after_seconds(self._waiting.now()),
        )

    def _examine_range(self, answer: Answer, have: int, validator: str | None) -> None:
        start, total = answer.range
        if total not in {None, self._file.bytes}:
            raise MirrorError(_wrong_size(total, self._file))
        if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            text = "does not accept the range asked for"
        elif start != have:
            text = "answers with another range than the one asked for"
        elif validator and answer.validator not in {None, validator}:
            text = "changed its file since the download began"
        else:
            return
        raise MirrorError(text, attempts=self._limits.attempts, discard=True)

    def _receive(self, answer: Answer) -> None:
        """Append the body, up to the promised size and no further."""
        window_start = self._waiting.clock()
        window_bytes = 0
        while self._part.missing:
            piece = answer.read(min(_PIECE_BYTES, self._part.missing))
            if not piece:
                return
            self._part.append(piece)
            window_bytes += len(piece)
            elapsed = self._waiting.clock() - window_start
            if elapsed >= self._limits.patience_seconds:
                if window_bytes < self._limits.slowest_bytes_per_second * elapsed:
                    slowest = format_bytes(round(self._limits.slowest_bytes_per_second))
                    raise MirrorError(f"is slower than {slowest} per second")
                window_start += elapsed
                window_bytes = 0

    def _ended_early(self, answer: Answer) -> MirrorError:
        """What it means that a body ended, in good order, before the promised size."""
        if answer.status == http.HTTPStatus.OK and answer.is_chunked:
            return MirrorError(_wrong_size(self._part.size, self._file), discard=True)
        # Without a length, a connection that was cut looks the same as the end of the file.
        return MirrorError("dropped the connection", attempts=self._limits.attempts)

    def _check(self, *, from_the_start: bool) -> None:
        """Compare the checksum of the whole file.

        Raises:
            MirrorError: it differs. Bytes that came in several answers, maybe of several mirrors, are no
                proof against this one: it may send the file once more.
        """
        if self._part.is_right:
            return
        if from_the_start:
            text = f"wrong checksum: expected {self._file.sha256}, found {self._part.sha256}"
            raise MirrorError(text, discard=True)
        text = "does not continue what had arrived before"
        raise MirrorError(text, attempts=max(2, self._limits.attempts), discard=True)


def _is_right(path: Path, file: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == file.sha256


@contextmanager
def _locked(path: Path, report: Callable[[str], None]) -> Iterator[io.FileIO]:
    """Open `path` for appending, as the only process (and thread) that does; an empty file does not stay."""
    while True:
        with path.open("a+b", buffering=0) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"{path.name}: another process is fetching this file; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                is_current = os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:
                is_current = False
            # Whoever held the lock may have given the file its final name, or taken it away.
            if is_current:
                try:
                    yield handle
                finally:
                    if os.fstat(handle.fileno()).st_size == 0:
                        path.unlink(missing_ok=True)
                        _record_path(path).unlink(missing_ok=True)
                return


def _record_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _wrong_size(found: int | None, file: RemoteFile) -> str:
    return f"has {found} bytes instead of {file.bytes}"


def _failure(file: RemoteFile, sources: Sequence[_Source], troubles: Sequence[MirrorError]) -> str:
    """The error of a download that failed everywhere: what happened at each place, and what to do."""
    if all(trouble.unreachable for trouble in troubles) and not any(source.own for source in sources):
        hosts = ", ".join(dict.fromkeys(urlsplit(source.label).netloc for source in sources))
        return (
            f"{file.name}: no network? None of the mirrors can be reached ({hosts})\n"
            "Without network: the bundled data (`source: bundled` in params.yaml), "
            f"or a copy of your own ({MIRROR_VARIABLE}=FOLDER-OR-URL)"
        )
    lines = [f"  {source.label}: {trouble.text}" for source, trouble in zip(sources, troubles, strict=True)]
    advice = (
        "Try again later (what has arrived is kept), name a copy of your own "
        f"({MIRROR_VARIABLE}=FOLDER-OR-URL), or use the bundled data (`source: bundled` in params.yaml)"
    )
    return "\n".join([f"{file.name}: no mirror delivers it", *lines, advice])
