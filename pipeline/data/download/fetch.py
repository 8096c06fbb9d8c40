"""Download one file from the first mirror that delivers it: resumable, bounded in time, checked, atomic.

A mirror is an https URL: one that ends in "/" is a folder to which the file's name is appended, any other is
the file itself. Checksum and size (where one is published) decide what is right, never the mirror. Bytes
arrive in `NAME.part`, beside which `NAME.part.json` keeps what identifies the mirror's copy; whatever ends
the download, the next one goes on from there. Only a file whose checksum is right gets its final name.
"""

import errno
import http
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import requests

from pipeline.config.schema import File
from pipeline.core.descriptions import HEAD_BYTES, describe, nearest, shorten
from pipeline.core.errors import ConfigError, FetchError
from pipeline.core.progress import BYTES, Progress, ShowProgress, format_bytes
from pipeline.data.download.http import Answer, Limits, MirrorError, exchange
from pipeline.data.download.mirrors import MIRROR_VARIABLE, Place, places_of
from pipeline.data.download.part import PIECE_BYTES, PartFile, is_complete, locked_part

# An attempt that brings this much starts the count anew: a long download may be dropped many times.
_WORTHWHILE_BYTES: Final = 1 << 20
_MOST_NAMES: Final = 1000  # of a folder, looked at for one that is near a missing one


def fetch(
    file: File,
    mirrors: Sequence[str],
    destination_folder: Path,
    *,
    part_folder: Path | None = None,
    own_mirror: str | None = None,
    dataset: str | None = None,
    has_stand_in: bool = True,
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
        part_folder: where the unfinished file waits to be resumed, by default `destination_folder`. What is
            one of DVC's outputs is to hold whole files only.
        own_mirror: a mirror that goes before all others, and that may be plain http, a local folder or a file
            URL; it is a folder in any case. See `mirror_from_environment`.
        dataset: the folder below `own_mirror` that is looked into before `own_mirror` itself, because data
            sets share file names.
        has_stand_in: whether advice may name the bundled data.
        limits: timeouts, retries and the least speed.
        session: an HTTP session; by default a new one, which takes proxies from the environment.
        show_progress: opens the progress, in bytes (`pipeline.core.progress`); by default a silent one.
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
        sources = places_of(file, mirrors, own_mirror, dataset)
    except ValueError:  # from urlsplit, which may quote user and password: so nothing of it is repeated
        raise ConfigError(f"{file.name}: a mirror is no URL that can be read (is its host right?)") from None
    destination = destination_folder / file.name
    part_path = (part_folder or destination_folder) / f"{file.name}.part"
    try:
        if is_complete(destination, file):
            report(f"{file.name}: already here")
            return destination
        if destination.exists():
            report(f"{destination}: not the file that is wanted; fetching it anew")
        destination_folder.mkdir(parents=True, exist_ok=True)
        part_path.parent.mkdir(parents=True, exist_ok=True)
        with (
            locked_part(part_path, report) as handle,
            nullcontext(session) if session else requests.Session() as open_session,
        ):
            if is_complete(destination, file):
                report(f"{file.name}: fetched by another process")
                return destination
            with show_progress(file.bytes or 0, file.name, BYTES) as bar:
                part = PartFile(handle, part_path, file, bar)
                if part.size:
                    report(f"{file.name}: going on at {format_bytes(part.size)}")
                waiting = _Waiting(sleep=sleep, clock=clock, now=now, jitter=jitter)
                download = _Download(part, limits or Limits(), open_session, report, waiting)
                source = download.run(sources, has_stand_in=has_stand_in)
            part.move_to(destination)
        report(f"{file.name}: {format_bytes(destination.stat().st_size)} from {source}")
    except OSError as error:
        place = error.filename or part_path
        message = f"cannot read or write {place}: {error.strerror or error}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            message += (
                f"; {file.name} needs {format_bytes(file.bytes) if file.bytes else 'more'}. "
                "What has arrived is kept: make room and run it again"
            )
        raise FetchError(message) from error
    return destination


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
        part: PartFile,
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

    def run(self, sources: Sequence[Place], *, has_stand_in: bool) -> str:
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
        raise FetchError(_failure(self._file, sources, troubles, has_stand_in=has_stand_in))

    def _try(self, source: Place) -> MirrorError | None:
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
                raise MirrorError(f"no such file{_near(path)}")
            local = path.open("rb", buffering=0)
        except OSError as error:
            raise MirrorError(f"cannot be read: {error.strerror or error}") from None
        with local:
            size = os.fstat(local.fileno()).st_size
            if self._file.bytes not in {None, size}:
                raise MirrorError(_wrong_size(size, self._file) + _held(local, path.suffix))
            self._part.discard()
            while self._part.missing:
                try:
                    piece = local.read(min(PIECE_BYTES, self._part.missing))
                except OSError as error:
                    raise MirrorError(f"cannot be read: {error.strerror or error}", discard=True) from None
                if not piece and self._file.bytes is None:
                    break
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
            if self._file.bytes is not None and self._part.missing:
                raise self._ended_early(answer)
        self._check(from_the_start=start == 0)

    def _examine(self, answer: Answer, have: int, validator: str | None) -> int:
        """Where in the file the body of an answer starts: at `have`, or at 0.

        Raises:
            MirrorError: nowhere.
        """
        if answer.status == http.HTTPStatus.OK:
            if answer.is_page and (self._file.bytes is None or answer.length != self._file.bytes):
                raise MirrorError("answers with a web page instead of the file")
            if self._file.bytes is not None and answer.length not in {None, self._file.bytes}:
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
        if self._file.bytes is not None and total not in {None, self._file.bytes}:
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
            piece = answer.read(min(PIECE_BYTES, self._part.missing))
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
            text = f"wrong checksum: expected {self._file.checksum[1]}, found {self._part.checksum}"
            raise MirrorError(text, discard=True)
        text = "does not continue what had arrived before"
        raise MirrorError(text, attempts=max(2, self._limits.attempts), discard=True)


def _near(path: Path) -> str:
    """The file beside a missing one that may be meant, as a clause: a browser's copy, or without its .gz."""
    try:
        names = sorted(other.name for other in islice(path.parent.iterdir(), _MOST_NAMES) if other.is_file())
    except OSError:
        return ""
    near = nearest(path.name, names)
    if near is None:
        return ""
    still = ", still packed" if path.suffix in {".gz", ".tgz"} else ""
    return f", but {shorten(near)} is there: rename it if it is the same file{still}"


def _held(file: BinaryIO, suffix: str) -> str:
    """What a file of the wrong size holds, as a clause, where that says more than its size."""
    found = describe(file.read(HEAD_BYTES) or b"")
    if suffix in {".gz", ".tgz"} and found in {"idx data", "a tar archive", "a pickle"}:
        return f": it holds {found}, unpacked; the packed original is wanted"
    return f": it holds {found}"


def _wrong_size(found: int | None, file: File) -> str:
    return f"has {found} bytes instead of {file.bytes}"


def _failure(
    file: File, sources: Sequence[Place], troubles: Sequence[MirrorError], *, has_stand_in: bool
) -> str:
    """The error of a download that failed everywhere: what happened at each place, and what to do."""
    ways = [f"name a copy of your own ({MIRROR_VARIABLE}=FOLDER-OR-URL)"]
    if has_stand_in:
        ways.append("use the bundled data (`source: bundled` in params.yaml)")
    if all(trouble.unreachable for trouble in troubles) and not any(source.own for source in sources):
        hosts = ", ".join(dict.fromkeys(urlsplit(source.label).netloc for source in sources))
        return (
            f"{file.name}: no network? None of the mirrors can be reached ({hosts})\n"
            f"Without network: {', or '.join(ways)}"
        )
    lines = [f"  {source.label}: {trouble.text}" for source, trouble in zip(sources, troubles, strict=True)]
    advice = ", or ".join(["Try again later (what has arrived is kept)", *ways])
    return "\n".join([f"{file.name}: no mirror delivers it", *lines, advice])
