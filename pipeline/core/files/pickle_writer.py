"""Pickles of plain data and arrays whose bytes depend on the data alone."""

import struct
from typing import Any

import numpy as np

from pipeline.core.files.pickle_reader import DTYPE_CODES

# Writing


def dumps(value: object, *, for_python2: bool = False) -> bytes:
    """A pickle of dicts, lists, text, integers and arrays whose bytes depend on `value` alone.

    The standard writer's bytes depend on which objects happen to be shared (its memo) and on the versions
    of Python and NumPy; this one writes no memo, and NumPy's names as ``numpy.core``, which every NumPy from
    1.0 to 2.x imports without a warning (``numpy._core`` is unknown before 1.26).

    Args:
        value: dict with text keys, list, str, int, or an array of integers or floating-point numbers. Arrays
            are written in C order and in little-endian byte order.
        for_python2: protocol 2 with Python 2's strings, as in the CIFAR batches: Python 3 reads them as
            text with ``encoding="latin1"`` and as bytes with ``encoding="bytes"``. Otherwise protocol 4.

    Raises:
        TypeError: a value of any other type.
    """
    chunks = [b"\x80\x02" if for_python2 else b"\x80\x04"]
    _write(value, chunks, for_python2=for_python2)
    chunks.append(b".")
    return b"".join(chunks)


def _write(value: object, chunks: list[bytes], *, for_python2: bool) -> None:
    if isinstance(value, dict):
        chunks.append(b"}(")
        for key, item in value.items():
            _write(str(key), chunks, for_python2=for_python2)
            _write(item, chunks, for_python2=for_python2)
        chunks.append(b"u")
    elif isinstance(value, list):
        chunks.append(b"](")
        for item in value:
            _write(item, chunks, for_python2=for_python2)
        chunks.append(b"e")
    elif isinstance(value, str):
        chunks.append(_written_text(value, for_python2=for_python2))
    elif isinstance(value, np.ndarray) and value.dtype.str[1:] in DTYPE_CODES:
        _write_array(value, chunks, for_python2=for_python2)
    elif isinstance(value, int) and not isinstance(value, bool):
        chunks.append(_written_integer(value))
    else:
        raise TypeError(f"{type(value).__name__} is not written into pickles")


def _written_integer(value: int) -> bytes:
    if 0 <= value < 2**8:
        return b"K" + struct.pack("<B", value)
    if 0 <= value < 2**16:
        return b"M" + struct.pack("<H", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + struct.pack("<B", len(data)) + data


def _written_text(value: str, *, for_python2: bool) -> bytes:
    if for_python2:
        data = value.encode("latin-1")
        return (
            b"U" + struct.pack("<B", len(data)) if len(data) < 2**8 else b"T" + struct.pack("<i", len(data))
        ) + data
    data = value.encode("utf-8")
    return (
        b"\x8c" + struct.pack("<B", len(data)) if len(data) < 2**8 else b"X" + struct.pack("<I", len(data))
    ) + data


def _write_array(value: np.ndarray[Any, Any], chunks: list[bytes], *, for_python2: bool) -> None:
    little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    code = _written_text(little.dtype.str[1:], for_python2=for_python2)
    byte_order = _written_text("|" if little.itemsize == 1 else "<", for_python2=for_python2)
    data = little.tobytes()
    if for_python2:
        type_code, length = b"U\x01b", b"T" + struct.pack("<i", len(data))
    elif len(data) < 2**32:
        type_code, length = b"C\x01b", b"B" + struct.pack("<I", len(data))
    else:
        type_code, length = b"C\x01b", b"\x8e" + struct.pack("<Q", len(data))
    shape = b"(" + b"".join(_written_integer(axis) for axis in value.shape) + b"t"
    chunks += [
        # _reconstruct(ndarray, (0,), b"b"), then the state (1, shape, dtype, is_fortran=False, data)
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + type_code
        + b"\x87R(K\x01"
        + shape,
        # dtype(code, False, True), with the state (3, byte order, None, None, None, -1, -1, 0)
        b"cnumpy\ndtype\n" + code + b"\x89\x88\x87R(K\x03" + byte_order,
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        length,
        data,
        b"tb",
    ]
