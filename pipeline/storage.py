"""Files of our own: parameter pickles, arrays, JSON and CSV. Every write is atomic, no reader runs code.

A write goes to a temporary file in the same folder, is flushed to the disk and then renamed, so that a
crash leaves either the old file or the new one. Temporary files are named ``.NAME.RANDOM.tmp``; only a
killed process leaves one behind, and the next write of NAME removes it. Git and DVC ignore them.
"""

import contextlib
import csv
import errno
import fcntl
import io
import json
import math
import os
import re
import secrets
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import DTypeLike

from pipeline import pickles, runtime
from pipeline.contents import HEAD_BYTES, describe, shorten
from pipeline.errors import FormatError, PipelineError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Array = np.ndarray[Any, Any]

MAXIMUM_PICKLE_BYTES: Final = 2**32
"""The size past which a parameter pickle is refused unread."""

MAXIMUM_TEXT_BYTES: Final = 2**28
"""The size past which a text or CSV file is refused unread."""

MAXIMUM_JSON_BYTES: Final = 2**24
"""The same for JSON, which takes thirty times its size in memory."""

MAXIMUM_FIELDS: Final = 2**23
"""How many fields of a CSV table are read, a row counting as one more: about a gigabyte in memory."""

_TOKEN_BYTES: Final = 6  # of chance in a temporary name
_FLUSH_BYTES: Final = 2**24  # of a .npy file, at a time
_MAXIMUM_LINE: Final = 2**20  # of a CSV file, in characters
_MAXIMUM_SHARING: Final = 4  # times the file's size, in arrays that stand under several names
_ZIP_END_BYTES: Final = 22
_ZIP64_END_BYTES: Final = 56 + 20  # the record, and the locator that follows it
_MAXIMUM_ZIP_DIRECTORY_BYTES: Final = 2**20  # a thousand entries and more
_MAXIMUM_PARAMETER_OPCODES: Final = 100_000  # an array takes about 40
_PARAMETER_NAME: Final = re.compile(r"([Ww]|b)([1-9][0-9]{0,3})")
_CSV_SPECIAL: Final = re.compile(r'[,"\r\n]')
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the format's zero
# The header as NumPy writes it for plain numbers. NumPy's own reader evaluates it as a Python literal.
_NPY_HEADER: Final = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>.{2})\{'descr': '(?P<element>[<>|][biuf][0-9]{1,2})', "
    rb"'fortran_order': (?P<fortran>False|True), "
    rb"'shape': \((?P<shape>|[0-9]{1,15},|[0-9]{1,15}(?:, [0-9]{1,15})+)\), \} *\n",
    re.DOTALL,
)
_NPY_HEADER_BYTES: Final = 4096


# Atomic writes


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into one line: "cannot ACTION PATH: reason".

    Raises:
        PipelineError: in place of OSError. An error about another file than `path` names that file too.
    """
    try:
        yield
    except OSError as error:
        other = path if error.filename is None else Path(os.fsdecode(error.filename))
        named = "" if other == path or other.suffix == ".tmp" else f" ({other})"
        raise PipelineError(f"cannot {action} {path}: {error.strerror or error}{named}") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """An existing regular file, open for reading without a buffer; `os.fstat` of it tells its size.

    Raises:
        PipelineError: it is missing, or cannot be read.
        FormatError: it is a folder, a pipe or a device (which might block, or have no end).
    """
    with explained("read", path):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise FormatError(
                f"{path}: expected a file, found {'a folder' if stat.S_ISDIR(mode) else 'a device'}"
            )
        with path.open("rb", buffering=0) as file:
            yield file


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends; an error in the block leaves the old file alone.

    Missing parent folders are made. The bytes are on the disk when this returns. A link is replaced, not what
    it leads to: that may be DVC's cache.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary, opened = _open_temporary(path)
        try:
            # The name changes while the file is open, and so locked: nobody takes it for a leftover.
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, if it is there, and what killed writers left of it.

    Raises:
        PipelineError: the folder is read-only and the like.
    """
    with explained("remove", path):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _remove_leftovers(path)


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new temporary file beside `path`, locked for as long as it is open."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        file = temporary.open("xb")
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, file
        file.close()  # another process came between, and took it for a leftover


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose writers were killed: the kernel has lifted their locks."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp")
    with contextlib.suppress(OSError):  # whatever hinders this need not hinder the write
        for leftover in [each for each in path.parent.iterdir() if name.fullmatch(each.name)]:
            descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            except BlockingIOError:
                continue  # it is being written
            finally:
                os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last, where the file system can.

    Raises:
        OSError: the disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


class NpyWriter:
    """A .npy file under construction, filled by rows in any order.

    Plain writes: a memory map would meet a full disk as a crash, and was slower. What has been written is
    flushed to the disk now and then by a thread of the pool, so that little is left to wait for at the end.
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike, pool: "ThreadPoolExecutor"
    ) -> None:
        self._file = file
        self._pool = pool
        self._flush: Future[None] | None = None
        self._unflushed_bytes = 0
        self._element = np.dtype(dtype)
        self._shape = shape
        self._row_bytes = math.prod(shape[1:]) * self._element.itemsize
        header = io.BytesIO()
        fields = {"descr": self._element.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, fields)
        file.write(header.getvalue())
        self._start = file.tell()
        self._bytes_left = math.prod(shape) * self._element.itemsize

    def write_rows(self, first: int, rows: Array) -> None:
        """Write array elements `first`, `first` + 1 and so on along the first axis.

        Args:
            first: index of the first row.
            rows: of the file's element type, (count, ...).
        """
        fits = rows.dtype == self._element and rows.shape[1:] == self._shape[1:]
        if not fits or not 0 <= first <= self._shape[0] - len(rows):
            raise ValueError(f"{rows.dtype} {rows.shape} at row {first} of {self._element} {self._shape}")
        self._file.seek(self._start + first * self._row_bytes)
        self.write_bytes(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Write the next elements, in C order, as they are in memory."""
        written = self._file.write(data)
        self._bytes_left -= written
        self._unflushed_bytes += written
        if self._unflushed_bytes >= _FLUSH_BYTES and (self._flush is None or self._flush.done()):
            self._wait()
            self._unflushed_bytes = 0
            self._flush = self._pool.submit(os.fsync, self._file.fileno())

    def _wait(self) -> None:
        # The kernel tells of a disk's failure once: here, not at the next flush.
        if self._flush is not None:
            self._flush.result()

    def finish(self) -> None:
        """See that every element was written, once."""
        self._wait()
        if self._bytes_left:
            raise ValueError(f"{self._bytes_left} bytes of the array were not written")


@contextlib.contextmanager
def atomic_npy(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[NpyWriter]:
    """An array of this shape, written piece by piece, that becomes the .npy file `path` when the block ends.

    Args:
        path: the file to write.
        shape: of the array.
        dtype: of its elements: numbers.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (parse alone writes such files)

    with atomic_write(path) as file, ThreadPoolExecutor(1) as pool:
        writer = NpyWriter(file, shape, dtype, pool)
        yield writer
        writer.finish()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, its line ends as they are, atomically.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    write_bytes(path, text.encode("utf-8"))


def read_bytes(path: Path, *, maximum_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        PipelineError: it is missing or cannot be read.
        FormatError: it has more than `maximum_bytes` (or half the machine's memory), or is no file.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        maximum = min(maximum_bytes, runtime.memory_bytes() // 2)
        if size > maximum:
            raise FormatError(f"{path}: {size:,} bytes, where at most {maximum:,} are read")
        return file.read()


# JSON and CSV


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, indented by two spaces, keys in their given order, atomically.

    Raises:
        PipelineError: a number in it is NaN or infinite, which JSON does not have; or the file cannot be
            written.
    """
    try:
        text = json.dumps(dict(value), indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError:
        place = next(_not_finite(value, ""), "a value")
        raise PipelineError(f"cannot write {path}: {place} is not a finite number") from None
    write_text(path, text + "\n")


def _not_finite(value: object, place: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is no JSON object, or holds NaN or Infinity.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_JSON_BYTES)
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        found = str(error) if data.lstrip()[:1] in (b"{", b"[") else f"found {describe(data[:HEAD_BYTES])}"
        raise FormatError(f"{path}: not JSON: {found}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a table with "\n" line ends, atomically.

    Floating-point numbers are written with the fewest digits that read back as the same double; None is an
    empty field.

    Args:
        path: the file to write.
        header: the columns' names.
        rows: as many values each as there are columns.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    lines = [_csv_line(header)]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}: a row of {len(row)} values under {len(header)} columns")
        lines.append(_csv_line(row))
    write_text(path, "".join(lines))


def _csv_line(values: Sequence[object]) -> str:
    """RFC 4180 but for the line end; the standard writer leaves a lone carriage return unquoted."""
    fields = [_csv_field(value) for value in values]
    quoted = ['"' + text.replace('"', '""') + '"' if _CSV_SPECIAL.search(text) else text for text in fields]
    return (",".join(quoted) or '""') + "\n"


def _csv_field(value: object) -> str:
    if isinstance(value, float | np.floating):
        return repr(float(value))  # NumPy's own repr names the type
    return "" if value is None else str(value)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table as text, by column name.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is not UTF-8, has no header, a name twice, a row of another width than the header, or
            more than `MAXIMUM_FIELDS` fields.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_TEXT_BYTES)
    table = csv.reader(_lines(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")), strict=True)
    try:
        header = next(table, None)
        if header is None or len(set(header)) != len(header):
            raise FormatError(f"{path}: not a CSV table: {'a column twice' if header else 'it is empty'}")
        rows = []
        for number, line in enumerate(table, start=2):
            if len(line) != len(header):
                raise FormatError(f"{path}: row {number} has {len(line)} values under {len(header)} columns")
            if (number - 1) * (len(header) + 1) > MAXIMUM_FIELDS:
                raise FormatError(f"{path}: a table of more than {number - 2:,} rows is not read")
            rows.append(dict(zip(header, line, strict=True)))
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: not a CSV table: {error}") from None
    return rows


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_MAXIMUM_LINE):
        if len(line) == _MAXIMUM_LINE:
            raise ValueError(f"a line of {_MAXIMUM_LINE:,} characters and more")
        yield line


# Arrays


def write_arrays(path: Path, **arrays: Array) -> None:
    """Write named arrays of numbers as an uncompressed .npz, its bytes a function of their values; atomic.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            entry.create_system = 3  # Unix, whichever this is
            entry.external_attr = 0o644 << 16
            plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
            # ZIP64 headers only where the size asks for them: Python before 3.11.4 writes other ones.
            entry.file_size = plain.nbytes
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, plain, (1, 0), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz that `write_arrays` wrote, by name.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is damaged, compressed, or holds anything but arrays of numbers.
    """
    with reading(path) as file:
        head = file.read(HEAD_BYTES)
        if not head.startswith(b"PK"):
            raise FormatError(f"{path}: expected an .npz file of arrays, found {describe(head)}")
        try:
            size = os.fstat(file.fileno()).st_size
            _check_directory(file, size)
            with zipfile.ZipFile(file) as archive:
                entries = _entries(archive, size)
                return {name: _read_entry(archive, entry) for name, entry in entries.items()}
        except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, TypeError, struct.error) as error:
            raise FormatError(f"{path}: damaged .npz file: {shorten(str(error))}") from None


def _check_directory(file: BinaryIO, size: int) -> None:
    """See that a zip file's list of entries is short: the standard library's reader takes all of it in.

    Raises:
        ValueError: it is long, or the file does not end as a zip file without a comment does.
    """
    file.seek(max(0, size - _ZIP64_END_BYTES - _ZIP_END_BYTES))
    tail = file.read(_ZIP64_END_BYTES + _ZIP_END_BYTES)
    end, end64 = tail[-_ZIP_END_BYTES:], tail[:-_ZIP_END_BYTES]
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise ValueError("not a zip file: its end is missing, or is not ours")
    length = int.from_bytes(end[12:16], "little")
    if end64[56:].startswith(b"PK\6\7"):
        length = max(length, int.from_bytes(end64[40:48], "little"))
    if length > _MAXIMUM_ZIP_DIRECTORY_BYTES:
        raise ValueError(f"a list of entries of {length:,} bytes")


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise ValueError("an array is in it twice")
    # Entries that claim more than there is, or that overlap, would multiply it.
    if sum(entry.compress_size for entry in entries.values()) > size:
        raise ValueError(f"its arrays claim more than its own {size:,} bytes")
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed")
    data = archive.read(entry)  # at most as long as the file, being stored; checks the CRC
    shape, order, element, offset = _npy_header(data[:_NPY_HEADER_BYTES], len(data))
    return np.frombuffer(data, element, offset=offset).reshape(shape, order=order).copy()


def _npy_header(head: bytes, size: int) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Shape, order, element type and where the data starts, of a .npy file of `size` bytes.

    Raises:
        ValueError: it is no such file, or has another size than its header promises.
    """
    match = _NPY_HEADER.match(head)
    if match is None or int.from_bytes(match["length"], "little") != match.end() - 10:
        found = describe(head[:HEAD_BYTES])
        if head.startswith(b"\x93NUMPY"):
            found = "another element type or version, or a damaged header"
        raise ValueError(f"expected a .npy array of numbers, found {found}")
    element = np.dtype(match["element"].decode("ascii"))
    shape = tuple(int(length) for length in re.findall(rb"[0-9]+", match["shape"]))
    promised = match.end() + math.prod(shape) * element.itemsize
    if promised != size:
        taken = f"an array of shape {shorten(str(shape))} takes {shorten(f'{promised:,}', 40)} bytes"
        raise ValueError(f"{taken}, found {size:,}")
    return shape, "F" if match["fortran"] == b"True" else "C", element, match.end()


def map_npy(path: Path) -> Array:
    """The array in a .npy file, read-only and memory-mapped: pages are read when they are used.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is no .npy file of numbers, or has another size than its header promises.
    """
    with reading(path) as file:
        try:
            shape, order, element, offset = _npy_header(
                file.read(_NPY_HEADER_BYTES), os.fstat(file.fileno()).st_size
            )
            if math.prod(shape) == 0:
                return np.empty(shape, element)
            # As a plain array: the subclass costs time in every operation.
            return np.asarray(np.memmap(file, element, "r", offset, shape, order))
        # NumPy refuses too many axes, and too long ones even where there are no elements.
        except (ValueError, TypeError) as error:
            raise FormatError(f"{path}: {error}") from None


# Parameter pickles


def write_parameters(path: Path, parameters: Mapping[str, Array]) -> None:
    """Write a network's parameters as a pickle of dict[str, ndarray], its bytes a function of their values.

    ``pickle.load`` reads it back in any program that has NumPy (1.0 to 2.x) and Python 3.4 or later.

    Args:
        path: the file to write.
        parameters: W1 (inputs, outputs), b1 (outputs,), W2, b2 and so on; float32 or float64.

    Raises:
        FormatError: the names, shapes or types are others, or a number is not finite.
        PipelineError: the disk is full, the folder read-only and the like.
    """
    write_bytes(path, pickles.dumps(_checked_parameters(parameters, path)))


def read_parameters(path: Path) -> dict[str, Array]:
    """A network's parameters from a pickle in the textbook layout; nothing in it can run.

    Any protocol from 0 to 5, written by Python 2 or 3. The names may be w1, w2 for W1, W2; a bias may have
    the shape (1, outputs).

    Returns:
        W1 (inputs, outputs), b1 (outputs,), W2, b2 and so on, in this order: float32 or float64 in this
        machine's byte order and in C order, free to be written to.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is anything else than such a pickle; says what was found.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_PICKLE_BYTES)
    value = pickles.restricted_loads(data, name=str(path), maximum_opcodes=_MAXIMUM_PARAMETER_OPCODES)
    # Views of the file cost nothing, but what is returned are copies.
    arrays = value.values() if isinstance(value, dict) else ()
    size = sum(item.nbytes for item in arrays if isinstance(item, np.ndarray))
    if size > _MAXIMUM_SHARING * len(data):
        raise FormatError(
            f"{path}: expected a network's parameters, found one array under many names:"
            f" {size:,} bytes in a file of {len(data):,}"
        )
    return _checked_parameters(value, path)


def _checked_parameters(value: object, path: Path) -> dict[str, Array]:
    expected = f"{path}: expected a network's parameters (W1, b1, W2, b2, ...)"
    if not isinstance(value, Mapping) or not value:
        raise FormatError(f"{expected}, found {_found(value)}")
    named: dict[str, object] = {}
    for key, item in value.items():
        match = _PARAMETER_NAME.fullmatch(str(key))
        if match is None:
            raise FormatError(f"{expected}, found the key {shorten(str(key))}")
        name = match[1].replace("w", "W") + match[2]
        if name in named:
            raise FormatError(f"{expected}, found {name} twice")
        named[name] = item
    order = [f"{letter}{number}" for number in range(1, len(named) // 2 + 1) for letter in ("W", "b")]
    missing = [name for name in order if name not in named]
    if missing or len(named) % 2:
        found = ", ".join(list(named)[:20])
        raise FormatError(f"{expected}, found {found}" + (f": no {missing[0]}" if missing else ""))
    checked: dict[str, Array] = {}
    inputs = None
    for weights_name, bias_name in zip(order[::2], order[1::2], strict=True):
        weights = _checked_array(named[weights_name], f"{path}: {weights_name}")
        bias = _checked_array(named[bias_name], f"{path}: {bias_name}")
        if weights.ndim != 2 or 0 in weights.shape:  # noqa: PLR2004  (a matrix)
            raise FormatError(
                f"{path}: {weights_name}: expected (inputs, outputs), found shape {weights.shape}"
            )
        if inputs is not None and weights.shape[0] != inputs:
            raise FormatError(
                f"{path}: {weights_name}: expected {inputs} inputs, the outputs of the layer before, "
                f"found shape {weights.shape}"
            )
        inputs = weights.shape[1]
        if bias.shape not in ((inputs,), (1, inputs)):
            raise FormatError(f"{path}: {bias_name}: expected shape ({inputs},), found {bias.shape}")
        checked |= {weights_name: weights, bias_name: bias.reshape(inputs)}
    return checked


def _checked_array(value: object, place: str) -> Array:
    """A C-contiguous copy in this machine's byte order."""
    if not isinstance(value, np.ndarray):
        raise FormatError(f"{place}: expected an array, found {_found(value)}")
    if value.dtype.kind != "f" or value.dtype.itemsize not in (4, 8):
        raise FormatError(f"{place}: expected float32 or float64, found {value.dtype.name}")
    array: Array = np.array(value, value.dtype.newbyteorder("="), order="C")
    not_finite = array.size - int(np.count_nonzero(np.isfinite(array)))
    if not_finite:
        raise FormatError(f"{place}: {not_finite:,} of {array.size:,} numbers are NaN or infinite")
    return array


def _found(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, Mapping | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
