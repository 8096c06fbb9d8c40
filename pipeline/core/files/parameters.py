"""Parameter pickles: dict[str, ndarray] with the names W1, b1, W2, b2, and so on."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files import pickle_reader, pickle_writer
from pipeline.core.files.atomic import Array, read_bytes, write_bytes

MAXIMUM_PICKLE_BYTES: Final = 2**32
"""The size past which a parameter pickle is refused unread."""
_MAXIMUM_SHARING: Final = 4  # times the file's size, in arrays that stand under several names
_MAXIMUM_PARAMETER_OPCODES: Final = 100_000  # an array takes about 40
_PARAMETER_NAME: Final = re.compile(r"([Ww]|b)([1-9][0-9]{0,3})")


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
    write_bytes(path, pickle_writer.dumps(_checked_parameters(parameters, path)))


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
    value = pickle_reader.restricted_loads(data, name=str(path), maximum_opcodes=_MAXIMUM_PARAMETER_OPCODES)
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
        raise FormatError(f"{expected}, found {_describe_object(value)}")
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
    arrays = {name: _checked_array(named[name], f"{path}: {name}") for name in order}
    complaint = _misfit(arrays, order)
    if complaint is None:
        return {name: array.reshape(-1) if name[0] == "b" else array for name, array in arrays.items()}
    hint = ""
    for letters in ("W", "b", "Wb"):  # weights of other programs, columns for biases, both
        turned = {name: array.T if name[0] in letters else array for name, array in arrays.items()}
        if _misfit(turned, order) is None:
            hint = "; transposed? W is (inputs, outputs), b is (outputs,)"
    raise FormatError(f"{path}: {complaint}{hint}")


def _misfit(arrays: Mapping[str, Array], order: Sequence[str]) -> str | None:
    """What is wrong about the shapes of a network's parameters; None if nothing is."""
    inputs = None
    for weights_name, bias_name in zip(order[::2], order[1::2], strict=True):
        weights, bias = arrays[weights_name].shape, arrays[bias_name].shape
        if len(weights) != 2 or 0 in weights:
            return f"{weights_name}: expected (inputs, outputs), found shape {weights}"
        if inputs is not None and weights[0] != inputs:
            return (
                f"{weights_name}: expected {inputs} inputs, the outputs of the layer before, "
                f"found shape {weights}"
            )
        inputs = weights[1]
        if bias not in ((inputs,), (1, inputs)):
            return f"{bias_name}: expected shape ({inputs},), found {bias}"
    return None


def _checked_array(value: object, place: str) -> Array:
    """A C-contiguous copy in this machine's byte order."""
    if not isinstance(value, np.ndarray):
        raise FormatError(f"{place}: expected an array, found {_describe_object(value)}")
    if value.dtype.kind != "f" or value.dtype.itemsize not in (4, 8):
        raise FormatError(f"{place}: expected float32 or float64, found {value.dtype.name}")
    array: Array = np.array(value, value.dtype.newbyteorder("="), order="C")
    not_finite = array.size - int(np.count_nonzero(np.isfinite(array)))
    if not_finite:
        raise FormatError(f"{place}: {not_finite:,} of {array.size:,} numbers are NaN or infinite")
    return array


def _describe_object(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, Mapping | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
