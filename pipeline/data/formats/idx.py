"""idx, the format of MNIST and its relatives: a magic number, the shape, then the numbers, all big-endian.

The first two bytes are zero, the third is the element type, the fourth the rank; a four-byte length for each
axis follows, and then the elements in C order. (Y. LeCun, C. Cortes, C. Burges: The MNIST database.)
"""

import contextlib
import math
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from pipeline.core import runtime
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import atomic_write
from pipeline.data.formats.examples import Batch, Member, Request, check_images, check_labels
from pipeline.data.formats.streams import CHUNK_BYTES, Stream, name_of, open_stream

Array = np.ndarray[Any, Any]

DTYPES: Final[Mapping[int, DTypeLike]] = {
    0x08: np.uint8,
    0x09: np.int8,
    0x0B: np.int16,
    0x0C: np.int32,
    0x0D: np.float32,
    0x0E: np.float64,
}
"""Element type by its code in the header's third byte."""

_MAXIMUM_RANK: Final = 64  # the axes that NumPy can hold; the format's own limit is 255
_MAXIMUM_LENGTH: Final = 2**31  # lengths are signed four-byte integers
_MAXIMUM_BYTES: Final = 2**63


@dataclass(frozen=True)
class Header:
    """What an idx file promises.

    Attributes:
        dtype: the elements' type, in this machine's byte order.
        shape: of the array.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def data_bytes(self) -> int:
        """The size of the elements, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path, member: str | None = None) -> Header:
    """The type and shape that a plain or gzip idx file promises; `member` names it in a zip file.

    Raises:
        FormatError: it is no idx file, or promises more than it can hold.
        PipelineError: it is missing or cannot be read.
    """
    with open_stream(path, member) as stream:
        return _header(stream)


def read(path: Path, member: str | None = None) -> Array:
    """The array in a plain or gzip idx file, in this machine's byte order; `member` names it in a zip file.

    Raises:
        FormatError: it is no idx file, damaged, has fewer or more bytes than its header promises, or more
            than the machine has memory.
        PipelineError: it is missing or cannot be read.
    """
    with open_stream(path, member) as stream:
        header = _header(stream)
        if header.data_bytes > (memory_bytes := runtime.memory_bytes()):
            raise FormatError(
                f"{path}: an array of shape {header.shape} takes {header.data_bytes:,} bytes,"
                f" more than this machine's memory of {memory_bytes:,}"
            )
        array = np.empty(header.shape, header.dtype)
        flat = array.reshape(-1).view(np.uint8)
        start = 0
        for part in _elements(stream, header, CHUNK_BYTES):
            flat[start : start + len(part)] = part
            start += len(part)
    return array


@contextlib.contextmanager
def open_rows(
    path: Path, rows: int, member: str | None = None
) -> Generator[tuple[Header, Iterator[Array]], None, None]:
    """The array in a plain or gzip idx file, some rows at a time, in this machine's byte order.

    Args:
        path: the idx file, or a zip file that holds it.
        rows: how many at a time, along the first axis; their memory is used again for the next ones.
        member: which file of a zip.

    Raises:
        FormatError: it is no idx file, damaged, or has fewer or more bytes than its header promises.
        PipelineError: it is missing or cannot be read.
    """
    with open_stream(path, member) as stream:
        header = _header(stream)
        row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
        parts = _elements(stream, header, max(1, rows * row_bytes))
        yield header, (part.view(header.dtype).reshape(-1, *header.shape[1:]) for part in parts)


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from files with the roles PART_images and PART_labels.

    Yields:
        Batches whose images are uint8, or floating-point numbers, (rows, height, width, channels).

    Raises:
        FormatError: the files are damaged, have other shapes or counts, or do not agree.
        PipelineError: a file is missing or cannot be read.
    """
    pairs = request.pairs()
    counts = []
    for images, _ in pairs:
        header = read_header(*images)
        check_images(header.dtype, header.shape, name_of(*images), request.shape)
        counts.append(header.shape[0])
    if request.count is not None and sum(counts) != request.count:
        place = name_of(*pairs[-1][0])
        raise FormatError(f"{place}: expected {request.count:,} {request.part} images, found {sum(counts):,}")
    for (images, labels_place), count in zip(pairs, counts, strict=True):
        yield from _read_pair(request, images, labels_place, count)


def _read_pair(request: Request, images: Member, labels_place: Member, count: int) -> Iterator[Batch]:
    place = name_of(*labels_place)
    header = read_header(*labels_place)
    take = check_labels(header.dtype, header.shape, place, request.reading.label_column)
    if header.shape[0] != count:
        raise FormatError(
            f"{place}: expected {count:,} labels for the images of {name_of(*images).name}, "
            f"found {header.shape[0]:,}"
        )
    labels = take(read(*labels_place))
    first = 0
    with open_rows(images[0], request.rows_at_a_time, images[1]) as (_, batches):
        for rows in batches:
            taken = labels[first : first + len(rows)]
            shaped = rows.reshape(-1, *request.shape)
            yield Batch(shaped, taken, name_of(*images), place, first)
            first += len(rows)


def write(path: Path, array: Array) -> None:
    """Write an array as a plain idx file, atomically; the same array gives the same bytes everywhere.

    Args:
        path: the file to write.
        array: of uint8, int8, int16, int32, float32 or float64, with at least one axis.

    Raises:
        ValueError: the array has another type, or no axis.
        PipelineError: the disk is full, the folder read-only and the like.
    """
    codes = [code for code, dtype in DTYPES.items() if array.dtype.newbyteorder("=") == dtype]
    if not codes or array.ndim < 1 or max(array.shape) >= _MAXIMUM_LENGTH:
        raise ValueError(f"idx has no arrays of type {array.dtype} and shape {array.shape}")
    with atomic_write(path) as file:
        file.write(bytes((0, 0, codes[0], array.ndim)))
        file.write(np.asarray(array.shape, ">u4").tobytes())
        flat = np.ascontiguousarray(array).reshape(-1)
        elements = CHUNK_BYTES // array.itemsize
        for start in range(0, flat.size, elements):
            part = flat[start : start + elements]
            file.write(part.astype(part.dtype.newbyteorder(">"), copy=False).tobytes())


def _header(stream: Stream) -> Header:
    magic = stream.read(4)
    # (zero, zero, element type, rank)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        found = describe(magic + stream.read(HEAD_BYTES))
        raise FormatError(f"{stream.path}: expected idx data, found {_packed(stream)}{found}")
    rank = magic[3]
    if not 1 <= rank <= _MAXIMUM_RANK:
        raise FormatError(f"{stream.path}: expected 1 to {_MAXIMUM_RANK} axes, found {rank}")
    lengths = stream.read(4 * rank)
    if len(lengths) < 4 * rank:
        raise FormatError(f"{stream.path}: cut off inside the header")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    header = Header(np.dtype(DTYPES[magic[2]]), shape)
    # The second is NumPy's own limit, which holds even where another axis has no length at all.
    reach = math.prod(length or 1 for length in shape) * header.dtype.itemsize
    if max(shape) >= _MAXIMUM_LENGTH or reach >= _MAXIMUM_BYTES:
        raise FormatError(f"{stream.path}: axes that are negative or too long: shape {shorten(str(shape))}")
    left = stream.maximum_bytes - stream.position
    if header.data_bytes > left or (header.data_bytes != left and not stream.is_gzip):
        raise FormatError(
            f"{stream.path}: an array of shape {shape} takes {header.data_bytes:,} bytes, "
            f"found {'room for at most ' if stream.is_gzip else ''}{left:,}"
        )
    return header


def _elements(stream: Stream, header: Header, chunk_bytes: int) -> Iterator[Array]:
    """The elements' bytes in this machine's order, chunk by chunk in one buffer; the data ends with them."""
    buffer = np.empty(min(chunk_bytes, header.data_bytes), np.uint8)
    is_swapped = sys.byteorder == "little" and header.dtype.itemsize > 1
    for start in range(0, header.data_bytes, chunk_bytes):  # whole elements
        part = buffer[: header.data_bytes - start]
        count = stream.fill(part.data)
        if count < len(part):
            raise FormatError(
                f"{stream.path}: expected {header.data_bytes:,} bytes for shape {header.shape}, "
                f"found {start + count:,}; the file is incomplete"
            )
        if is_swapped:
            part.view(header.dtype).byteswap(inplace=True)
        yield part
    if stream.skip(1):
        raise FormatError(
            f"{stream.path}: more data than the {header.data_bytes:,} bytes that shape {header.shape} takes"
        )


def _packed(stream: Stream) -> str:
    return "gzip data that holds " if stream.is_gzip else ""
