"""idx, the format of MNIST and its relatives: a magic number, the shape, then the numbers, all big-endian.

The first two bytes are zero, the third is the element type, the fourth the rank; a four-byte length for each
axis follows, and then the elements in C order. (Y. LeCun, C. Cortes, C. Burges: The MNIST database.)
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from pipeline.core import runtime
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.arrays import atomic_npy
from pipeline.core.files.atomic import atomic_write
from pipeline.data.formats.streams import CHUNK_BYTES, Stream, open_stream

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


def read_header(path: Path) -> Header:
    """The type and shape that a plain or gzip idx file promises.

    Raises:
        FormatError: it is no idx file, or promises more than it can hold.
        PipelineError: it is missing or cannot be read.
    """
    with open_stream(path) as stream:
        return _header(stream)


def read(path: Path) -> Array:
    """The array in a plain or gzip idx file, in this machine's byte order.

    Raises:
        FormatError: it is no idx file, damaged, has fewer or more bytes than its header promises, or more
            than the machine has memory.
        PipelineError: it is missing or cannot be read.
    """
    with open_stream(path) as stream:
        header = _header(stream)
        if header.data_bytes > (memory_bytes := runtime.memory_bytes()):
            raise FormatError(
                f"{path}: an array of shape {header.shape} takes {header.data_bytes:,} bytes,"
                f" more than this machine's memory of {memory_bytes:,}"
            )
        array = np.empty(header.shape, header.dtype)
        flat = array.reshape(-1).view(np.uint8)
        start = 0
        for part in _elements(stream, header):
            flat[start : start + len(part)] = part
            start += len(part)
    return array


def parse_into(path: Path, destination: Path, *, shape: tuple[int, ...] | None = None) -> None:
    """Copy the array in a plain or gzip idx file into a .npy file, in bounded memory.

    The elements come out in this machine's byte order.

    Args:
        path: the idx file.
        destination: the .npy file, written atomically.
        shape: the array's shape there, say (count, 28, 28, 1) for (count, 28, 28); its own by default.

    Raises:
        FormatError: it is no idx file, damaged, has fewer or more bytes than its header promises, or another
            number of elements than `shape`.
        PipelineError: it is missing or cannot be read, or the destination cannot be written.
    """
    with open_stream(path) as stream:
        header = _header(stream)
        if shape is not None and math.prod(shape) != math.prod(header.shape):
            raise FormatError(f"{path}: expected an array of shape {shape}, found {header.shape}")
        with atomic_npy(destination, shape or header.shape, header.dtype) as writer:
            for part in _elements(stream, header):
                writer.write_bytes(part.data)


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


def _elements(stream: Stream, header: Header) -> Iterator[Array]:
    """The elements' bytes in this machine's order, chunk by chunk in one buffer; the data ends with them."""
    buffer = np.empty(min(CHUNK_BYTES, header.data_bytes), np.uint8)
    is_swapped = sys.byteorder == "little" and header.dtype.itemsize > 1
    for start in range(0, header.data_bytes, CHUNK_BYTES):  # whole elements
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
