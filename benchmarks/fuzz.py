"""Mutated files against every reader of files from elsewhere: each has to end in a value or in one line.

    python benchmarks/fuzz.py                                     ten seconds for each reader
    python benchmarks/fuzz.py --target pickle --count 1000000
    python benchmarks/fuzz.py --seconds 600 --processes 2
    python benchmarks/fuzz.py --target pickle --replay runs/fuzz/pickle-17.bin

Input number n of a reader is a function of the seed, the reader's name and n: a good file, changed in one to
six places, and in part repaired afterwards (packed again, its checksum put right) so that the change gets
past the first gate. A finding is an exception that is not ours, a message of several lines, a value that
should not have come out, ten seconds for one input, memory past the limit, and, as Python's audit hooks tell,
anything run, imported, opened or connected to on the way. The first of each kind is saved, and the program
ends with 1.
"""

import argparse
import csv
import gzip
import io
import json
import multiprocessing
import os
import pickle
import pickletools
import random
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.config.schema import File, Source
from pipeline.core.errors import PipelineError
from pipeline.core.files import pickle_reader, pickle_writer, tables
from pipeline.core.files.arrays import (
    map_npy,
    read_arrays,
    write_arrays,
)  # before NumPy, whose environment the package fixes
from pipeline.core.files.parameters import read_parameters
from pipeline.data.formats import cifar, idx
from pipeline.data.formats.streams import open_stream
from pipeline.data.formats.tar import read_members
from pipeline.data.parts import LabelCoder

import numpy as np  # isort: skip

LONGEST_SECONDS: Final = 10
LONGEST_MESSAGE: Final = 500

_TEN: Final = Source(
    title="ten",
    classes=[str(number) for number in range(10)],
    files={"archive": File("archive", sha256="0" * 64)},
    packaged=True,
)

Finish = Callable[[bytes], bytes]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Target:
    """A reader and what to feed it.

    Attributes:
        read: reads one input; gets the input and a folder for its files.
        seeds: good inputs, each with what is done to it after the change.
        tokens: pieces that mean something in the format.
    """

    read: Callable[[bytes, Path], object]
    seeds: Sequence[tuple[bytes, Finish]]
    tokens: Sequence[bytes] = ()


@dataclass
class Tally:
    """What became of a number of inputs."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    findings: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    finding_count: int = 0

    def add(self, other: "Tally") -> None:
        """Add what another process counted meanwhile."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.refused += other.refused
        self.seconds = max(self.seconds, other.seconds)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.finding_count += other.finding_count
        for kind, finding in other.findings.items():
            self.findings.setdefault(kind, finding)


class WrongValueError(Exception):
    """A reader returned what it should have refused."""


class TooSlowError(BaseException):
    """An input takes longer than `LONGEST_SECONDS`; not an Exception, so that no reader catches it."""


# Good inputs ------------------------------------------------------------------------------------------------


def _as_it_is(data: bytes) -> bytes:
    return data


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _parameters() -> dict[str, Array]:
    values = np.random.default_rng(0).standard_normal(40)
    return {
        "W1": values[:12].reshape(3, 4).astype(np.float32),
        "b1": values[12:16].astype(np.float32),
        "W2": values[16:24].reshape(4, 2).astype(np.float32),
        "b2": values[24:26].astype(np.float32),
    }


def _pickle_seeds() -> list[bytes]:
    parameters = _parameters()
    mixed = {
        "fortran": np.asfortranarray(parameters["W1"].astype(">f8")),
        "number": parameters["W1"][0, 0],
        "plain": [1, -1, 2**40, 1.5, None, True, "text", b"bytes", (1, 2), {"a": {}}],
        "shared": [parameters["b1"], parameters["b1"]],
        "integers": [parameters["W1"].astype(code) for code in ("i1", "u1", "<i2", ">u4", "i8")],
    }
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    return [
        *(pickle.dumps(value, protocol) for value in (parameters, mixed) for protocol in protocols),
        pickle_writer.dumps(dict(parameters)),
        *_batch_seeds(),
    ]


def _batch(rows: int = 2) -> dict[str, object]:
    return {
        "batch_label": "training batch 1 of 5",
        "labels": [row % 10 for row in range(rows)],
        "data": (np.arange(rows * 3072) % 251).astype(np.uint8).reshape(rows, 3072),
        "filenames": [f"cat_s_{row:06d}.png" for row in range(rows)],
    }


def _batch_seeds() -> list[bytes]:
    return [
        pickle_writer.dumps(_batch(), for_python2=True),
        *(pickle.dumps(_batch(), number) for number in (0, 2, 4)),
    ]


def _tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for info, data in members:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue().rstrip(b"\0") + bytes(1024)


def _tar_seeds() -> list[bytes]:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "../f/a"
    wide = tarfile.TarInfo("f/b")
    wide.pax_headers = {"comment": "é" * 20, "size": "5"}
    members = [
        (tarfile.TarInfo("./f/a"), b"wanted" * 100),
        (link, b""),
        (tarfile.TarInfo("n" * 60 + "/" + "n" * 60), b"other"),
        (wide, b"12345"),
    ]
    return [_tar(members, form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def _repaired_tar(data: bytes) -> bytes:
    """The archive with right checksums in whatever stands where its headers may stand."""
    repaired = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        if repaired[start + 257 : start + 262] == b"ustar":
            repaired[start + 148 : start + 156] = b" " * 8
            repaired[start + 148 : start + 156] = b"%06o\0 " % sum(repaired[start : start + 512])
    return bytes(repaired)


def _cifar_archive(batch: bytes) -> bytes:
    """CIFAR-10 whose third batch is `batch`."""
    good = pickle_writer.dumps(_batch(), for_python2=True)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    return _tar(
        (
            (tarfile.TarInfo(f"cifar-10-batches-py/{name}"), batch if name == "data_batch_3" else good)
            for name in names
        ),
        tarfile.USTAR_FORMAT,
    )


def _idx_seeds() -> list[bytes]:
    arrays = [np.arange(24).reshape(2, 3, 4), np.arange(30), np.zeros((0, 3)), np.ones((1,) * 9 + (2,))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        found = []
        for array in arrays:
            for dtype in idx.DTYPES.values():
                idx.write(path, array.astype(dtype))
                found.append(path.read_bytes())
        return found


def _arrays_seeds() -> list[bytes]:
    arrays = {"train": np.arange(9), "mean": np.linspace(0, 1, 5), "divisor": np.array(255.0)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        write_arrays(path, **arrays)
        ours = path.read_bytes()
    theirs = io.BytesIO()
    np.savez(theirs, a=np.arange(6).reshape(2, 3), b=np.asfortranarray(np.ones((2, 3), np.float32)))
    return [ours, theirs.getvalue()]


def _npy_seeds() -> list[bytes]:
    found = []
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.uint8), np.array(3, ">i4")):
        with io.BytesIO() as buffer:
            np.save(buffer, array)
            found.append(buffer.getvalue())
    return found


def _zipped(npy: bytes) -> bytes:
    """An .npz whose one array is `npy`, with a right checksum."""
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a.npy"), npy)
        return buffer.getvalue()


def _json_seeds() -> list[bytes]:
    metrics = {
        "source": "bundled",
        "train": {"accuracy": 0.93, "loss": 1e-3},
        "list": [1, -2.5, None, True, "é\n"],
    }
    return [json.dumps(metrics, indent=2).encode(), json.dumps(metrics, ensure_ascii=False).encode()]


def _csv_seeds() -> list[bytes]:
    with io.StringIO(newline="") as buffer:
        rows = [
            ("epoch", "loss", "name"),
            (0, 0.5, "plain"),
            (1, "", 'a "quoted",\r\nname'),
            (2, "1e-9", "é"),
        ]
        csv.writer(buffer).writerows(rows)
        return [buffer.getvalue().encode(), b"a\n1\n2\n"]


# Readers ----------------------------------------------------------------------------------------------------


def _file(data: bytes, folder: Path) -> Path:
    path = folder / "input"
    path.write_bytes(data)
    return path


def _read_pickle(data: bytes, folder: Path) -> object:
    del folder
    value = pickle_reader.restricted_loads(data, name="input")
    _check_plain(value, set())
    return value


def _check_plain(value: object, seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if type(value) in {dict, list, tuple}:
        for item in value.values() if isinstance(value, dict) else value:  # type: ignore[attr-defined]  # (one of the three)
            _check_plain(item, seen)
    elif isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "iuf" or type(value) not in {np.ndarray, value.dtype.type}:
            raise WrongValueError(f"an array of {value.dtype}")
    elif type(value) not in {str, bytes, int, float, bool, type(None)}:
        raise WrongValueError(f"a {type(value).__name__}")


def _read_parameters(data: bytes, folder: Path) -> object:
    parameters = read_parameters(_file(data, folder))
    for name, array in parameters.items():
        if array.dtype not in (np.float32, np.float64) or not np.isfinite(array).all():
            raise WrongValueError(name)
    return parameters


def _read_cifar(data: bytes, folder: Path) -> object:
    train, test = (
        cifar.Destination(folder / f"{part}-images.npy", folder / f"{part}-labels.npy")
        for part in ("train", "test")
    )
    cifar.parse_into(
        _file(data, folder), cifar.CIFAR10, train=train, test=test, encode=LabelCoder(_TEN).encode
    )
    labels = map_npy(train.labels)
    if labels.max() > 9 or map_npy(train.images).shape != (len(labels), 32, 32, 3):
        raise WrongValueError("labels or images")
    return labels


def _read_idx(data: bytes, folder: Path) -> object:
    array = idx.read(_file(data, folder))
    if not data.startswith(b"\x1f\x8b"):
        again = bytes((0, 0, data[2], array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        if again + array.astype(array.dtype.newbyteorder(">")).tobytes() != data:
            raise WrongValueError("another array than the file's")
    return array


def _parse_idx(data: bytes, folder: Path) -> object:
    with idx.open_rows(_file(data, folder), 100) as (header, batches):
        rows = [batch.copy() for batch in batches]
    return np.concatenate(rows) if rows else np.zeros(header.shape, header.dtype)


def _read_stream(data: bytes, folder: Path) -> object:
    with open_stream(_file(data, folder)) as stream:
        return stream.read(2**20)


def _read_tar(data: bytes, folder: Path) -> object:
    with open_stream(_file(data, folder)) as stream:
        members = list(read_members(stream, ("f/a", "f/b"), maximum_bytes=2**20))
    if len({name for name, _ in members}) != len(members) or not {name for name, _ in members} <= {
        "f/a",
        "f/b",
    }:
        raise WrongValueError("other members than those wanted")
    return members


def _opcodes() -> list[bytes]:
    lines = (
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
        b"(ios\nsystem\n",
    )
    return [*lines, *(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)]


def targets() -> dict[str, Target]:
    """Every reader, by name."""
    parameter_seeds = [*_pickle_seeds()[:6], pickle_writer.dumps(dict(_parameters()))]
    archive = _cifar_archive(pickle_writer.dumps(_batch(), for_python2=True))
    tar_tokens = [
        b"\0" * 512,
        b"\x80" + (10**13).to_bytes(11, "big"),
        b"../",
        b"ustar\0",
        b"path=f/a\n",
        b"L",
        b"x",
    ]
    text_tokens = [
        b'"',
        b",",
        b"\n",
        b"\r",
        b"{",
        b"[" * 50,
        b"1e999",
        b"NaN",
        b"\\ud800",
        b"9" * 400,
        b"\xff",
    ]
    return {
        "pickle": Target(_read_pickle, [(seed, _as_it_is) for seed in _pickle_seeds()], _opcodes()),
        "parameters": Target(_read_parameters, [(seed, _as_it_is) for seed in parameter_seeds], _opcodes()),
        "cifar": Target(
            _read_cifar,
            [
                *((seed, _cifar_archive) for seed in _batch_seeds()),
                (archive, _repaired_tar),
                (archive, _packed),
            ],
            _opcodes(),
        ),
        "idx": Target(
            _read_idx, [(seed, finish) for seed in _idx_seeds() for finish in (_as_it_is, _packed)]
        ),
        "idx_packed": Target(_read_idx, [(_packed(seed), _as_it_is) for seed in _idx_seeds()]),
        "idx_parse": Target(
            _parse_idx, [(seed, finish) for seed in _idx_seeds() for finish in (_as_it_is, _packed)]
        ),
        "gzip": Target(
            _read_stream,
            [
                (_packed(bytes(5000)) + bytes(3) + _packed(b"tail"), _as_it_is),
                (_packed(b"") * 3, _as_it_is),
            ],
            [b"\x1f\x8b\x08", b"\0" * 40],
        ),
        "tar": Target(
            _read_tar,
            [(seed, finish) for seed in _tar_seeds() for finish in (_as_it_is, _repaired_tar, _packed)],
            tar_tokens,
        ),
        "tar_packed": Target(_read_tar, [(_packed(seed), _as_it_is) for seed in _tar_seeds()], tar_tokens),
        "npz": Target(
            lambda data, folder: read_arrays(_file(data, folder)),
            [*((seed, _as_it_is) for seed in _arrays_seeds()), *((seed, _zipped) for seed in _npy_seeds())],
            [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"|O8", b"(0, 9999999999)"],
        ),
        "npy": Target(
            lambda data, folder: map_npy(_file(data, folder)),
            [(seed, _as_it_is) for seed in _npy_seeds()],
            [b"1, " * 70, b"999999999999999, ", b"0, ", b"|O8", b"<f2", b">i1", b"True"],
        ),
        "json": Target(
            lambda data, folder: tables.read_json(_file(data, folder)),
            [(seed, _as_it_is) for seed in _json_seeds()],
            text_tokens,
        ),
        "csv": Target(
            lambda data, folder: tables.read_csv(_file(data, folder)),
            [(seed, _as_it_is) for seed in _csv_seeds()],
            text_tokens,
        ),
    }


# Mutation ---------------------------------------------------------------------------------------------------

_NUMBERS: Final = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)


def mutated(target: Target, chance: random.Random) -> bytes:
    """One of the target's seeds, changed, and finished."""
    seed, finish = chance.choice(target.seeds)
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 6))):
        _change(data, target, chance)
    return finish(bytes(data))


def _change(data: bytearray, target: Target, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    length = chance.choice((1, 1, 2, 4, 8, 40))
    match chance.randrange(10):
        case 0 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 1:
            data[place : place + 1] = bytes([chance.randrange(256)])
        case 2:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(_NUMBERS) % 256**size
            data[place : place + size] = number.to_bytes(size, chance.choice(("little", "big")))
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = data[place : place + length] * chance.choice((1, 2, 50))
        case 5 | 6 if target.tokens:
            data[place : place + chance.choice((0, 0, 1, 8))] = chance.choice(target.tokens)
        case 7:
            other, _ = chance.choice(target.seeds)
            start = chance.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + length]
        case 8 if chance.random() < 0.3:  # a cut rarely gets far
            del data[place:]
        case _:
            data[place:place] = chance.randbytes(length)


# Running ----------------------------------------------------------------------------------------------------

# Reading, writing and renaming in the folder, and what is no deed at all.
_HARMLESS: Final = (
    "builtins.id",
    "object.",
    "gc.",
    "mmap.",
    "os.listdir",
    "os.remove",
    "os.rename",
    "os.mkdir",
)
_LIMITS: Final = ("/proc/self/cgroup", "/sys/fs/cgroup/")  # how much memory there is


class Watch:
    """Python's own account of what an input had it do, beside reading and writing in its folder."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.events: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """For `sys.addaudithook`, which has no way to take it back."""
        if self.folder is None or event.startswith(_HARMLESS):
            return
        if event == "open":
            path, mode, _ = arguments
            # A number is a file that is open already.
            if isinstance(path, int) or str(path).startswith(self.folder):
                return
            if mode == "r" and str(path).startswith(_LIMITS):
                return
        self.events.append(f"{event} {arguments!r:.100}")


WATCH: Final = Watch()


def run(
    name: str,
    target: Target,
    numbers: Iterable[int],
    *,
    seed: int,
    folder: Path,
    seconds: float | None = None,
) -> Tally:
    """Feed a target its inputs of these numbers.

    Args:
        name: of the target.
        target: the reader and its seeds.
        numbers: which inputs.
        seed: for all of them.
        folder: for the files.
        seconds: when to stop; None for never.
    """
    tally = Tally()
    started = time.perf_counter()
    before = signal.signal(signal.SIGALRM, _too_slow)
    try:
        for number in numbers:
            data = mutated(target, random.Random(f"{seed}/{name}/{number}"))  # noqa: S311  (not a secret)
            finding = _try(target, data, folder, tally)
            tally.inputs += 1
            if finding is not None:
                tally.finding_count += 1
                tally.findings.setdefault(finding, (number, data))
            tally.seconds = time.perf_counter() - started
            if seconds is not None and tally.seconds >= seconds:
                break
    finally:
        signal.signal(signal.SIGALRM, before)
    tally.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return tally


def _try(target: Target, data: bytes, folder: Path, tally: Tally) -> str | None:
    """Read one input; what is wrong about how that ended."""
    WATCH.folder = str(folder)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        target.read(data, folder)
    except PipelineError as error:
        tally.refused += 1
        text = str(error)
        finding = None
        if "\n" in text or not text.isprintable() or len(text) > LONGEST_MESSAGE:
            finding = f"a message that is not one line: {text[:200]!r}"
    except (Exception, TooSlowError) as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        place = traceback.extract_tb(error.__traceback__)[-1]
        finding = (
            f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {str(error)[:200]!r}"
        )
    else:
        tally.accepted += 1
        finding = None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        WATCH.folder = None
    if WATCH.events:
        finding = f"something was done: {WATCH.events[0]}"
        WATCH.events.clear()
    return finding


def _too_slow(*_: object) -> None:
    raise TooSlowError(f"longer than {LONGEST_SECONDS} s")


@dataclass(frozen=True)
class Job:
    """What one process does."""

    name: str
    first: int
    step: int
    count: int | None
    seconds: float | None
    seed: int
    memory_bytes: int


def work(job: Job) -> Tally:
    """Run one target in this process, with bounded memory and under watch."""
    target = targets()[job.name]
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  (a fresh folder in it)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        # What Python imports on first use is no finding.
        for codec in ("unicode_escape", "raw_unicode_escape"):
            b"x".decode(codec)
        for data, finish in target.seeds:
            target.read(finish(data), Path(folder))
        # NumPy formats a number, and the standard library an error, with modules that they load when needed.
        run(job.name, target, range(-300, 0), seed=job.seed, folder=Path(folder))
        sys.addaudithook(WATCH.hook)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + job.memory_bytes,) * 2)
        last = sys.maxsize if job.count is None else job.count
        numbers = range(job.first, last, job.step)
        return run(job.name, target, numbers, seed=job.seed, folder=Path(folder), seconds=job.seconds)


def _results(jobs: Sequence[Job], processes: int) -> Iterator[Tally]:
    # A process for each job: limits and audit hooks stay for good.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap(work, jobs, chunksize=1)


def _arguments(names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", choices=names, help="which reader (default: every one)")
    parser.add_argument("--count", type=int, help="inputs for each reader")
    parser.add_argument("--seconds", type=float, help="time for each reader (default: 10, without --count)")
    parser.add_argument("--processes", type=int, default=1, help="side by side (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default: 0)")
    parser.add_argument("--memory-mb", type=int, default=256, help="allowed beyond the start (default: 256)")
    parser.add_argument("--save", type=Path, default=Path("runs/fuzz"), help="folder for findings")
    parser.add_argument("--replay", type=Path, help="read this one file with the chosen target")
    options = parser.parse_args()
    if options.count is None and options.seconds is None:
        options.seconds = 10.0
    return options


def main() -> int:
    """Print a table; 1 if there is a finding."""
    known = targets()
    options = _arguments(list(known))
    names = options.target or list(known)
    if options.replay is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(known[names[0]].read(options.replay.read_bytes(), Path(folder)))
        return 0
    print("| reader | inputs | read | refused | findings | seconds | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    total = Tally()
    for name in names:
        jobs = [
            Job(
                name,
                first,
                options.processes,
                options.count,
                options.seconds,
                options.seed,
                options.memory_mb << 20,
            )
            for first in range(options.processes)
        ]
        tally = Tally()
        for result in _results(jobs, options.processes):
            tally.add(result)
        print(_row(name, tally), flush=True)
        seconds = total.seconds + tally.seconds
        total.add(tally)
        total.seconds = seconds
        _save(name, tally.findings, options.save)
    print(_row("all", total))
    return 1 if total.finding_count else 0


def _row(name: str, tally: Tally) -> str:
    return (
        f"| {name} | {tally.inputs:,} | {tally.accepted:,} | {tally.refused:,} | {tally.finding_count:,} |"
        f" {tally.seconds:.0f} | {tally.peak_bytes / 1e6:.0f} MB |"
    )


def _save(name: str, findings: Mapping[str, tuple[int, bytes]], folder: Path) -> None:
    for kind, (number, data) in findings.items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{number}.bin"
        path.write_bytes(data)
        print(f"finding: {path}: {kind}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
