"""A table of hostile files and servers: case, what happened, seconds, peak memory.

    python benchmarks/hostile.py                     everything, a few minutes
    python benchmarks/hostile.py pickles archives    without the network faults, which wait a lot

Each case runs in a process of its own, whose address space is limited and which Python's audit hooks watch.
The network faults are those of tests/test_fetching.py, on the loopback interface alone, with the limits that
a user has; the first mirror is at fault and the second is not. Seconds do not count Python's start, but the
hooks, which make a million small objects take several times as long; memory is the process's peak, of which
Python, NumPy and the HTTP library take what the first line of each table shows.
"""

import argparse
import gzip
import importlib.util
import io
import itertools
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from fuzz import Watch

from pipeline.core.errors import PipelineError
from pipeline.core.files import arrays, atomic, pickle_reader, pickle_writer, tables
from pipeline.core.files.images import load
from pipeline.core.files.parameters import (
    read_parameters,
)  # before NumPy, whose environment the package fixes
from pipeline.data import datasets
from pipeline.data.formats import cifar, idx

import numpy as np  # isort: skip

LONGEST_SECONDS: Final = 300
ADDRESS_SPACE_BYTES: Final = 8 << 30
NETWORK_CASES_AT_ONCE: Final = 8
SHOWN_CHARACTERS: Final = 170
WRONG: Final = ("UNEXPECTED", "DONE BY THE FILE", "LEFT BEHIND", "STILL RUNNING", "DIED", "NOT DELIVERED")

Array = np.ndarray[Any, Any]
Make = Callable[[Path], bytes]


@dataclass(frozen=True)
class Case:
    """One file to read.

    Attributes:
        name: in the table.
        reader: a key of `READERS`.
        make: the file's bytes; gets the path of a file that a hostile one may try to make.
        replaces: for a data set of several files, which of them it takes the place of.
    """

    name: str
    reader: str
    make: Make
    replaces: str = ""


@dataclass(frozen=True)
class Result:
    """What became of it."""

    happened: str
    seconds: float
    peak_bytes: int


# Readers: what a process of its own does --------------------------------------------------------------------


def _read_parameters(path: Path) -> str:
    parameters = read_parameters(path)
    return f"read: {', '.join(f'{name} {array.shape}' for name, array in parameters.items())}"


def _read_pickle(path: Path) -> str:
    data = atomic.read_bytes(path, maximum_bytes=cifar.MAXIMUM_BATCH_BYTES)
    value = pickle_reader.restricted_loads(data, name=str(path))
    return f"read: a {type(value).__name__} of {len(value):,}"  # type: ignore[arg-type]  # (a container in each case)


def _parsed(folder: Path) -> str:
    return f"read: {len(load(folder, 'train'))} train and {len(load(folder, 'test'))} test images"


def _read_cifar(path: Path) -> str:
    expected = datasets.Expected((32, 32, 3), 10, 10, 2)
    datasets.FORMATS["cifar10"]({"archive": path}, path.parent / "parsed", expected)
    return _parsed(path.parent / "parsed")


def _read_idx(path: Path) -> str:
    files = {role: path.parent / f"{role}.gz" for role in datasets.ROLES["idx"]}
    datasets.FORMATS["idx"](files, path.parent / "parsed", datasets.Expected((28, 28, 1), 10, 20, 10))
    return _parsed(path.parent / "parsed")


def _read_arrays(path: Path) -> str:
    return f"read: {', '.join(arrays.read_arrays(path))}"


def _read_csv(path: Path) -> str:
    return f"read: {len(tables.read_csv(path)):,} rows"


def _read_json(path: Path) -> str:
    return f"read: {len(tables.read_json(path))} keys"


def _fetch(path: Path) -> str:
    import requests  # not in the processes that read files
    from requests.adapters import HTTPAdapter

    from pipeline.data.download.fetch import fetch
    from pipeline.data.download.part import RemoteFile

    class Carrier(HTTPAdapter):
        """Takes what is for https://HOST/PATH to the loopback server, as /HOST/PATH."""

        def send(
            self,
            request: requests.PreparedRequest,
            *arguments: Any,  # noqa: ANN401  (passed on as they are)
            **options: Any,  # noqa: ANN401  (the same)
        ) -> requests.Response:
            carried = request.copy()
            host, _, rest = (request.url or "").removeprefix("https://").partition("/")
            carried.url = f"{settings['servers'][host]}/{host}/{rest}"
            return super().send(carried, *arguments, **options)

    settings = json.loads(path.read_text(encoding="utf-8"))
    told: list[str] = []
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Carrier())
        fetch(
            RemoteFile(settings["name"], settings["bytes"], settings["sha256"]),
            settings["mirrors"],
            Path(settings["folder"]),
            session=session,
            report=told.append,
        )
    return " / ".join(_shortened(told, settings["name"]))


def _shortened(told: Sequence[str], name: str) -> Iterator[str]:
    """What the user was told, with the mirrors' names for their URLs, and repeated troubles counted."""
    for trouble, lines in itertools.groupby(told, lambda line: line.partition("; trying")[0]):
        times = list(lines)
        text = times[0] if len(times) == 1 else f"{trouble}, {len(times)} times"
        for mirror in ("first", "second"):
            url = f"https://{mirror}.test/files/{name}"
            text = text.replace(f"{url}: ", "").replace(
                f"{name}: 300.0 kB from {url}", f"the {mirror} delivers"
            )
        yield text.removesuffix("; trying the next place")


READERS: Final[Mapping[str, Callable[[Path], str]]] = {
    "parameters": _read_parameters,
    "pickle": _read_pickle,
    "cifar": _read_cifar,
    "idx": _read_idx,
    "arrays": _read_arrays,
    "csv": _read_csv,
    "json": _read_json,
    "fetch": _fetch,
}


def child(reader: str, path: Path) -> None:
    """Read one file and print what happened, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES,) * 2)
    # What Python and NumPy import of their own on first use is no deed of the file.
    importlib.import_module("mmap")
    for codec in ("unicode_escape", "raw_unicode_escape", "cp437"):
        b"x".decode(codec)
    watch = Watch()
    if reader != "fetch":  # which has to connect, and imports as it goes
        sys.addaudithook(watch.hook)
        watch.folder = str(path.parent)
    started = time.perf_counter()
    try:
        happened = READERS[reader](path)
    except PipelineError as error:
        happened = " / ".join(str(error).splitlines())
    except Exception as error:  # noqa: BLE001  (what the table is there to show)
        happened = f"UNEXPECTED {type(error).__name__}: {error}"
    seconds = time.perf_counter() - started
    watch.folder = None
    if watch.events:
        happened = f"DONE BY THE FILE: {watch.events[0]}"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"happened": happened, "seconds": seconds, "peak_bytes": peak * 1024}))


def result_of(process: subprocess.Popen[str], hide: Path) -> Result:
    """Wait for a child and say what it said."""
    try:
        output, complaint = process.communicate(timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Result(f"STILL RUNNING after {LONGEST_SECONDS} s", LONGEST_SECONDS, 0)
    if process.returncode:
        return Result(f"DIED with {process.returncode}: {complaint[-200:]}", 0.0, 0)
    found = Result(**json.loads(output))
    return Result(found.happened.replace(f"{hide}/", ""), found.seconds, found.peak_bytes)


def start(reader: str, path: Path) -> subprocess.Popen[str]:
    """A process that reads one file."""
    arguments = [sys.executable, str(Path(__file__).resolve()), "--child", reader, str(path)]
    return subprocess.Popen(  # noqa: S603  (this program)
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# Pickles ----------------------------------------------------------------------------------------------------


class _Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


def _called(module: str, name: str, argument: Callable[[Path], str]) -> Make:
    def make(flag: Path) -> bytes:
        return f"c{module}\n{name}\n(S{argument(flag)!r}\ntR.".encode()

    return make


def _network(hidden: int) -> dict[str, Array]:
    values = np.random.default_rng(0)
    shapes = {"W1": (784, hidden), "b1": (hidden,), "W2": (hidden, 10), "b2": (10,)}
    return {name: values.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _shared_array(_: Path) -> bytes:
    matrix, bias = np.zeros((1000, 1000)), np.zeros(1000)
    return pickle.dumps(
        {f"{letter}{n}": array for n in range(1, 10_000) for letter, array in (("W", matrix), ("b", bias))}
    )


def _laughs(_: Path) -> bytes:
    level = "".join(f"](h{chr(n)}" + f"h{chr(n)}" * 9 + f"eq{chr(n + 1)}0" for n in range(100))
    return b"\x80\x02]q\x000" + level.encode("latin-1") + b"h\x64."


def _out_of_band(_: Path) -> bytes:
    return pickle.dumps(_network(100), 5, buffer_callback=lambda _: None)


def _touches(flag: Path) -> str:
    return f"touch {flag}"


def _opens(flag: Path) -> str:
    return f"open({str(flag)!r}, 'w')"


ARRAY: Final = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
PICKLES: Final = (
    Case("good: 784-100-10, 318 kB", "parameters", lambda _: pickle_writer.dumps(dict(_network(100)))),
    Case("os.system", "parameters", _called("os", "system", _touches)),
    Case(
        "posix.system, by STACK_GLOBAL",
        "parameters",
        lambda flag: pickle.dumps(_Calls(os.system, _touches(flag)), 4),
    ),
    Case("builtins.eval", "parameters", _called("builtins", "eval", _opens)),
    Case("builtins.exec", "parameters", _called("builtins", "exec", _opens)),
    Case(
        "nested getattr",
        "parameters",
        lambda flag: (
            b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch "
            + os.fsencode(flag)
            + b"'\ntR."
        ),
    ),
    Case(
        "subprocess.Popen by INST", "parameters", lambda flag: f"(S'{flag}'\nisubprocess\nPopen\n.".encode()
    ),
    Case(
        "copyreg",
        "parameters",
        lambda _: b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
    ),
    Case("numpy that runs code", "parameters", _called("numpy.testing._private.utils", "runstring", _opens)),
    Case(
        "numpy that writes a file",
        "parameters",
        lambda flag: pickle.dumps(_Calls(np.memmap, str(flag), "u1", "w+", 0, (9,))),
    ),
    Case("numpy that reads a file", "parameters", _called("numpy", "load", str)),
    Case(
        "array of objects",
        "parameters",
        lambda flag: pickle.dumps({"W1": np.array([_Calls(os.system, _touches(flag))])}),
    ),
    Case("BUILD with attributes", "parameters", lambda _: ARRAY + b"}S'__class__'\nI1\nsb."),
    Case("BUILD with slots", "parameters", lambda _: ARRAY + b"(N}S'shape'\nI1\nstb."),
    Case("persistent id", "parameters", lambda _: b"(Pfile\nl."),
    Case("extension code", "parameters", lambda _: b"\x80\x02\x82\x01."),
    Case("protocol 5, buffers out of band", "parameters", _out_of_band),
    Case("claims 4 EB of bytes", "parameters", lambda _: b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x."),
    Case("claims a frame of 16 EB", "parameters", lambda _: b"\x80\x04\x95" + b"\xff" * 8 + b"N."),
    Case(
        "claims an array of 8 TB",
        "parameters",
        lambda _: pickle_writer.dumps({"W1": np.zeros(1)}).replace(b"(K\x01t", b"(\x8a\x06\0\0\0\0\0\x01t"),
    ),
    Case("an integer of 2 GB", "parameters", lambda _: b"\x80\x02\x8b\xff\xff\xff\x7f."),
    Case("a memo index of 4 billion", "parameters", lambda _: b"\x80\x02]r\xff\xff\xff\xff."),
    Case("a memo bomb, 10 ** 100 leaves", "parameters", _laughs),
    Case("one array of 8 MB under 19,998 names", "parameters", _shared_array),
    Case("400,000 tuples inside each other", "pickle", lambda _: b"\x80\x02)" + b"\x85" * 400_000 + b"."),
    Case(
        "300,000 lists inside each other",
        "pickle",
        lambda _: b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    ),
    Case("2,000,000 opcodes", "pickle", lambda _: b"\x80\x02" + b"N0" * 1_000_000 + b"N."),
    Case("the most that is read: 999,990 lists", "pickle", lambda _: b"\x80\x02](" + b"]" * 999_990 + b"e."),
    Case("the same of dicts", "pickle", lambda _: b"\x80\x02](" + b"}" * 999_990 + b"e."),
    Case(
        "one string of 100 kB, copied 2,000 times",
        "pickle",
        lambda _: (
            b"\x80\x02](X"
            + struct.pack("<I", 100_000)
            + b"x" * 100_000
            + b"q\0"
            + b"c_codecs\nencode\n(h\0U\x06latin1tR" * 2000
            + b"e."
        ),
    ),
    Case("a file of 5 GB (of zeros)", "parameters", lambda _: b""),
    Case("cut in the middle", "parameters", lambda _: pickle_writer.dumps(dict(_network(100)))[:100_000]),
    Case("a web page", "parameters", lambda _: b"<!doctype html><title>Not found</title>"),
)
SPARSE: Final = {"a file of 5 GB (of zeros)": 5 << 30}


# Archives ---------------------------------------------------------------------------------------------------


def _images(count: int, shape: tuple[int, ...]) -> Array:
    return np.arange(count * int(np.prod(shape))).astype(np.uint8).reshape(count, *shape)


def _cifar(folder: Path) -> bytes:
    path = folder / "good.tar"
    train, test = _images(10, (32, 32, 3)), _images(2, (32, 32, 3))
    cifar.write_archive(path, train, np.arange(10), test, np.arange(2), list("abcdefghij"))
    return path.read_bytes()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    header = info.tobuf(tarfile.GNU_FORMAT, "latin-1", "surrogateescape")
    return header + data + bytes(-len(data) % 512)


def _with_size(block: bytes, size: int) -> bytes:
    changed = bytearray(block)
    changed[124:136] = b"\x80" + size.to_bytes(11, "big")
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


def _repeated(piece: bytes, times: int, end: bytes = b"", start: bytes = b"") -> bytes:
    """`piece` many times over, packed."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(start)]
    block = piece * max(1, (1 << 20) // len(piece))
    for _ in range(times * len(piece) // len(block)):
        parts.append(packer.compress(block))  # noqa: PERF401  (a comprehension would hide the state)
    return b"".join([*parts, packer.compress(end), packer.flush()])


def _before(*members: bytes) -> Make:
    return lambda flag: b"".join(members) + _cifar(flag.parent)


TEST_BATCH: Final = "cifar-10-batches-py/test_batch"
PAX: Final = b"5 a=\n" * 13_000


def _in_place(member: Callable[[Path], bytes]) -> Make:
    """The good archive with its last batch replaced."""

    def make(flag: Path) -> bytes:
        good = _cifar(flag.parent)
        return good[: good.index(TEST_BATCH.encode())] + member(flag) + bytes(1024)

    return make


def _last_member(flag: Path) -> bytes:
    good = _cifar(flag.parent)
    start = good.index(TEST_BATCH.encode())
    size = int(good[start + 124 : start + 135], 8)
    return good[start : start + 512 + size + -size % 512]


TARS: Final = (
    Case("good: CIFAR-10 of 12 images", "cifar", lambda flag: _cifar(flag.parent)),
    Case(
        "tar: a name with ../",
        "cifar",
        lambda flag: _member(f"../{flag.name}", data=b"x") + _cifar(flag.parent),
    ),
    Case("tar: an absolute name", "cifar", lambda flag: _member(str(flag), data=b"x") + _cifar(flag.parent)),
    Case(
        "tar: a symbolic link, and a file through it",
        "cifar",
        lambda flag: (
            _member("l", tarfile.SYMTYPE, str(flag.parent))
            + _member(f"l/{flag.name}", data=b"x")
            + _cifar(flag.parent)
        ),
    ),
    Case(
        "tar: a symbolic link for a batch",
        "cifar",
        _in_place(lambda _: _member(TEST_BATCH, tarfile.SYMTYPE, "/etc/passwd")),
    ),
    Case(
        "tar: a hard link for a batch",
        "cifar",
        _in_place(lambda _: _member(TEST_BATCH, tarfile.LNKTYPE, "/etc/passwd")),
    ),
    Case("tar: a device for a batch", "cifar", _in_place(lambda _: _member(TEST_BATCH, tarfile.CHRTYPE))),
    Case("tar: a pipe for a batch", "cifar", _in_place(lambda _: _member(TEST_BATCH, tarfile.FIFOTYPE))),
    Case("tar: a batch twice", "cifar", _in_place(lambda flag: 2 * _last_member(flag))),
    Case("tar: a batch of 10 TB", "cifar", _in_place(lambda _: _with_size(_member(TEST_BATCH), 10**13))),
    Case("tar: another member of 10 TB", "cifar", _before(_with_size(_member("x"), 10**13))),
    Case("tar: names in Latin-1 and Shift-JIS", "cifar", _before(_member("\xe9"), _member("\x93\xfa\x96{"))),
    Case(
        "tar: a batch that is os.system",
        "cifar",
        _in_place(lambda flag: _member(TEST_BATCH, data=_called("os", "system", _touches)(flag))),
    ),
    Case("tar.gz: 2 million headers in 2 MB", "cifar", lambda _: _repeated(_member("x"), 1 << 21)),
    Case(
        "tar.gz: 16,000 extended headers in 6 MB",
        "cifar",
        lambda _: _repeated(_member("x", tarfile.XHDTYPE, data=PAX), 16_000),
    ),
    Case(
        "tar.gz: 1 GB of zeros in another member",
        "cifar",
        lambda flag: _repeated(
            bytes(512), (1020 << 20) // 512, _cifar(flag.parent), _with_size(_member("x"), 1020 << 20)
        ),
    ),
    Case(
        "tar.gz: 1 GB of zeros behind the end",
        "cifar",
        lambda flag: _repeated(bytes(512), 1 << 21, start=_cifar(flag.parent)),
    ),
    Case("tar.gz: cut in the middle", "cifar", lambda flag: gzip.compress(_cifar(flag.parent))[:-300]),
    Case("tar.gz: wrong checksum", "cifar", lambda flag: gzip.compress(_cifar(flag.parent))[:-8] + bytes(8)),
    Case(
        "tar.gz: two members of gzip",
        "cifar",
        lambda flag: gzip.compress(_cifar(flag.parent)[:9000]) + gzip.compress(_cifar(flag.parent)[9000:]),
    ),
    Case("a web page named tar.gz", "cifar", lambda _: b"<!doctype html><title>404</title>"),
)


def _idx(code: int, *lengths: int, data: bytes = b"", rank: int | None = None) -> bytes:
    rank = len(lengths) if rank is None else rank
    return bytes((0, 0, code, rank)) + struct.pack(f">{len(lengths)}I", *lengths) + data


PIXELS: Final = bytes(20 * 784)
IMAGES: Final = _idx(8, 20, 28, 28, data=PIXELS)
IDXS: Final = (
    Case("good: idx of 30 images", "idx", lambda _: gzip.compress(IMAGES), "train_images"),
    Case("idx: wrong magic", "idx", lambda _: b"\1\2\3\4" + PIXELS, "train_images"),
    Case("idx: unknown type", "idx", lambda _: _idx(0x0A, 20, 28, 28, data=PIXELS), "train_images"),
    Case("idx: rank 0", "idx", lambda _: _idx(8, data=PIXELS), "train_images"),
    Case("idx: rank 255", "idx", lambda _: _idx(8, *[1] * 255, data=PIXELS), "train_images"),
    Case("idx: a negative length", "idx", lambda _: _idx(8, 2**32 - 20, 28, 28, data=PIXELS), "train_images"),
    Case(
        "idx: lengths that overflow",
        "idx",
        lambda _: _idx(14, *[2**31 - 1] * 64, data=PIXELS),
        "train_images",
    ),
    Case(
        "idx: lengths that overflow, one of them 0",
        "idx",
        lambda _: _idx(14, 0, *[2**31 - 1] * 3),
        "train_images",
    ),
    Case("idx: 10 TB promised", "idx", lambda _: _idx(8, 10**4, 10**9, data=PIXELS), "train_images"),
    Case("idx: fewer bytes than promised", "idx", lambda _: IMAGES[:-1], "train_images"),
    Case("idx: more bytes than promised", "idx", lambda _: IMAGES + b"x", "train_images"),
    Case("idx.gz: fewer bytes than promised", "idx", lambda _: gzip.compress(IMAGES[:-1]), "train_images"),
    Case("idx.gz: more bytes than promised", "idx", lambda _: gzip.compress(IMAGES + b"x"), "train_images"),
    Case(
        "idx.gz: 1 GB behind the promised bytes, in 1 MB",
        "idx",
        lambda _: _repeated(bytes(512), 1 << 21, start=IMAGES),
        "train_images",
    ),
    Case("idx.gz: cut in the middle", "idx", lambda _: gzip.compress(IMAGES)[:-10], "train_images"),
    Case("idx.gz: wrong checksum", "idx", lambda _: gzip.compress(IMAGES)[:-8] + bytes(8), "train_images"),
    Case(
        "idx.gz: two members of gzip",
        "idx",
        lambda _: gzip.compress(IMAGES[:500]) + gzip.compress(IMAGES[500:]),
        "train_images",
    ),
    Case("idx.gz: packed twice", "idx", lambda _: gzip.compress(gzip.compress(IMAGES)), "train_images"),
    Case(
        "idx: a label past the classes",
        "idx",
        lambda _: _idx(8, 20, data=bytes(19) + b"\x0a"),
        "train_labels",
    ),
    Case("idx: 19 labels for 20 images", "idx", lambda _: _idx(8, 19, data=bytes(19)), "train_labels"),
    Case(
        "a web page named gz", "idx", lambda _: b"<!DOCTYPE html><title>403 Forbidden</title>", "test_labels"
    ),
    Case("an empty file named gz", "idx", lambda _: b"", "test_images"),
)


def _nested_arrays(_: Path) -> bytes:
    """An .npz of entries inside each other: the first one's data are all that follow it."""
    inner, entries = bytes(1_000_000), []
    for number in range(500):
        name = f"{number:06d}.npy".encode()
        fields = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(inner)},), }}\n".encode()
        inner = b"\x93NUMPY\1\0" + struct.pack("<H", len(fields)) + fields + inner
        head = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(inner), len(inner), len(inner), 10, 0)
        inner = b"PK\3\4" + head + name + inner
        entries.append((name, head, len(inner)))
    directory = b"".join(
        b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(inner) - size) + name
        for name, head, size in entries
    )
    return (
        inner + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 500, 500, len(directory), len(inner), 0)
    )


def _claiming_arrays(_: Path) -> bytes:
    with io.BytesIO() as buffer:
        np.savez(buffer, a=np.zeros(3))
        data = buffer.getvalue()
    place = data.index(b"PK\1\2") + 20
    return data[:place] + struct.pack("<II", 2**32 - 2, 2**32 - 2) + data[place + 8 :]


OTHERS: Final = (
    Case("npz: 500 arrays inside each other, in 1 MB", "arrays", _nested_arrays),
    Case("npz: an array of 4 GB claimed", "arrays", _claiming_arrays),
    Case("csv: 200 MB of short rows", "csv", lambda _: b"a\n" + b"1\n" * 100_000_000),
    Case("csv: one line of 200 MB", "csv", lambda _: b"a" + b"," * 200_000_000),
    Case("json: 100,000 lists inside each other", "json", lambda _: b'{"a": ' + b"[" * 100_000),
    Case("json: 16 MB of small lists", "json", lambda _: b'{"a": [' + b"[]," * 5_000_000 + b"0]}"),
)


def _run(case: Case) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "case"
        folder.mkdir()
        flag = folder / "flag"
        data = case.make(flag)
        if case.replaces:
            for part, count in (("train", 20), ("test", 10)):
                idx.write(folder / f"{part}_images.gz", _images(count, (28, 28)))
                idx.write(folder / f"{part}_labels.gz", np.arange(count).astype(np.uint8) % 10)
        path = folder / (f"{case.replaces}.gz" if case.replaces else "file")
        path.write_bytes(data)
        if case.name in SPARSE:
            os.truncate(path, SPARSE[case.name])
        result = result_of(start(case.reader, path), folder)
        left = [str(entry) for entry in folder.rglob("*") if entry.name == "flag" or entry.suffix == ".tmp"]
        return Result(f"LEFT BEHIND: {left}", result.seconds, result.peak_bytes) if left else result


# Network ----------------------------------------------------------------------------------------------------


def _faults() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "tests" / "data" / "download" / "test_fetch.py"
    specification = importlib.util.spec_from_file_location("test_fetching", path)
    if specification is None or specification.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(specification)
    sys.modules["test_fetching"] = module
    specification.loader.exec_module(module)
    return module


def _network_cases(tests: ModuleType) -> dict[str, tuple[Sequence[Any], bytes, int]]:
    """Behaviours of the first mirror, what an earlier run left of the file, how many fetch at once."""
    good, half = tests.good(), tests.CONTENT[: tests.HALF]
    cases: dict[str, tuple[Sequence[Any], bytes, int]] = {
        "good": ([good], b"", 1),
        "refuses the connection": ([], b"", 1),
        "429 with Retry-After: 3, then the file": ([tests.status(429, Retry_After="3"), good], b"", 1),
        "500, then the file": ([tests.status(500), good], b"", 1),
        "drops twice, then the rest": ([tests.drops(1000), tests.drops(2000), good], b"", 1),
        "ignores Range": ([tests.status(200, tests.CONTENT)], half, 1),
        "changes the file between two ranges": (
            [
                tests.drops(tests.HALF, bytes(len(tests.CONTENT)), '"old"'),
                tests.status(
                    206,
                    tests.CONTENT[tests.HALF :],
                    Content_Range=f"bytes {tests.HALF}-{len(tests.CONTENT) - 1}/{len(tests.CONTENT)}",
                    ETag='"new"',
                ),
                good,
            ],
            b"",
            1,
        ),
        "is slow, and two processes fetch at once": (
            [lambda request: request.wait(5) or good(request)],
            b"",
            2,
        ),
    }
    return cases | {name: ([fault[0]], b"", 1) for name, fault in tests.FAULTS.items()}


def _run_network(tests: ModuleType, behaviours: Sequence[Any], part: bytes, processes: int) -> Result:
    with tempfile.TemporaryDirectory() as name, tests.Server() as server:
        server.script("first.test", *behaviours)
        server.script("second.test", tests.good())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        folder = Path(name)
        if part:
            (folder / f"{tests.NAME}.part").write_bytes(part)
        # Port 9 is for discarding, and nothing listens there.
        settings = {
            "name": tests.NAME,
            "bytes": tests.FILE.bytes,
            "sha256": tests.FILE.sha256,
            "mirrors": [tests.FIRST, tests.SECOND],
            "folder": str(folder),
            "servers": {
                "first.test": server.url if behaviours else "http://127.0.0.1:9",
                "second.test": server.url,
            },
        }
        path = folder / "settings.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        try:
            started = [start("fetch", path) for _ in range(processes)]
            results = [result_of(process, folder) for process in started]
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
        left = sorted(entry.name for entry in folder.iterdir() if entry != path)
        right = left == [tests.NAME] and (folder / tests.NAME).read_bytes() == tests.CONTENT
    happened = " // ".join(result.happened for result in results)
    return Result(
        happened if right else f"NOT DELIVERED, left {left}: {happened}",
        max(result.seconds for result in results),
        max(result.peak_bytes for result in results),
    )


# The table --------------------------------------------------------------------------------------------------


def _row(name: str, result: Result) -> str:
    text = "".join(character if character.isprintable() else "?" for character in result.happened)
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[: SHOWN_CHARACTERS * 2 // 3]} … {text[-SHOWN_CHARACTERS // 3 :]}"
    text = text.replace("|", "\\|")
    return f"| {name} | {text} | {result.seconds:.2f} | {result.peak_bytes / 1e6:.0f} MB |"


def _print_table(title: str, rows: Iterator[tuple[str, Result]]) -> bool:
    """Print one; whether anything in it is not as it should be."""
    print(f"\n### {title}\n\n| case | what happened | seconds | peak memory |\n| --- | --- | ---: | ---: |")
    wrong = False
    for name, result in rows:
        print(_row(name, result), flush=True)
        wrong |= result.happened.startswith(WRONG)
    return wrong


def main() -> int:
    """Print the tables; 1 if a case did not end in a value or in a clear line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help="pickles, archives, network (default: all)"
    )
    parser.add_argument("--child", nargs=2, metavar=("READER", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return 0
    groups = options.groups or ["pickles", "archives", "network"]
    wrong = False
    if "pickles" in groups:
        wrong |= _print_table("Pickles", ((case.name, _run(case)) for case in PICKLES))
    if "archives" in groups:
        cases = (*TARS, *IDXS, *OTHERS)
        wrong |= _print_table("Archives and other files", ((case.name, _run(case)) for case in cases))
    if "network" in groups:
        tests = _faults()
        chosen = _network_cases(tests)
        with ThreadPoolExecutor(NETWORK_CASES_AT_ONCE) as pool:
            results = pool.map(lambda case: _run_network(tests, *case), chosen.values())
            wrong |= _print_table("Network: what the first mirror does", zip(chosen, results, strict=True))
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
