"""Read pickles as data, with a machine that cannot run code.

Python's unpickler imports what a pickle names and calls it. Restricting `find_class` leaves the rest of
that machine, its memory included, to the pickle's author. So `restricted_loads` is a machine of its own,
which imports nothing and calls nothing: it knows the opcodes that build numbers, text, lists, tuples, dicts
and NumPy arrays, and a handful of names that it takes as symbols. Whatever else a pickle asks for is refused
before anything happens.

The opcodes of protocols 0 to 5 are documented in the standard library's `pickletools`.
"""

import enum
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Any, Final, TypeGuard

import numpy as np

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError

MAXIMUM_OPCODES: Final = 1_000_000
"""More than any batch of the CIFAR sets has (200,000), and a second or two at worst."""

_MAXIMUM_PROTOCOL: Final = 5
_MAXIMUM_DEPTH: Final = 16
_MAXIMUM_AXES: Final = 32  # what every NumPy version can hold
_MAXIMUM_LENGTH: Final = 2**48  # of an axis; keeps products of axes inside what NumPy can compute
_MAXIMUM_KEY_LENGTH: Final = 1000
_MAXIMUM_LINE: Final = 64  # of a number written as text
# PROTO, and how protocols 0 and 1 begin a dict, a list and an array.
_FIRST_OPCODES: Final = (b"\x80", b"(", b"}", b"]", b"c")
DTYPE_CODES: Final = frozenset({"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
# What stands between the quotes of Python 2's repr() of a byte string. Possessive, so that a long one takes
# no memory for going back.
_PYTHON2_TEXT: Final = re.compile(rb"(?:[^\\]++|\\[\\'\"nrt]|\\x[0-9a-f]{2})*+", re.DOTALL)
# A run of BININT1, such as the labels of a batch: taken in one step.
_SMALL_INTEGERS: Final = re.compile(rb"(?:K.)++", re.DOTALL)


# Where UTF-8, or Python's escapes, have a character past Latin-1: the whole text takes 2 or 4 bytes for each.
_WIDE_UTF8: Final = re.compile(rb"[\xc4-\xff]")
_WIDE_ESCAPE: Final = re.compile(rb"\\(?:u(?!00)|U(?!000000))")
_MOST_WIDE_TEXT: Final = 2**20  # bytes of a pickle: names, not data


class _RefusalError(Exception):
    """Why the machine stopped; `restricted_loads` adds the file's name."""


class _Name(enum.Enum):
    """The names a pickle may use, as symbols: none is ever looked up."""

    RECONSTRUCT = enum.auto()
    FROM_BUFFER = enum.auto()
    SCALAR = enum.auto()
    NDARRAY = enum.auto()
    DTYPE = enum.auto()
    ENCODE = enum.auto()
    BYTES = enum.auto()
    ORDERED_DICT = enum.auto()


# NumPy 1 writes numpy.core, NumPy 2 numpy._core.
_NAMES: Final[Mapping[tuple[str, str], _Name]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy.core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy._core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy", "ndarray"): _Name.NDARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("_codecs", "encode"): _Name.ENCODE,  # Python 3's bytes in protocols 0 to 2
    ("builtins", "bytes"): _Name.BYTES,  # and its empty bytes
    ("__builtin__", "bytes"): _Name.BYTES,
    ("collections", "OrderedDict"): _Name.ORDERED_DICT,
}


class _Long:
    """A long string of bytes that is still where the pickle has it, so that an array can be a view of it."""

    __slots__ = ("is_text", "view")

    def __init__(self, view: memoryview, *, is_text: bool) -> None:
        self.view = view
        self.is_text = is_text  # Python 2 has one type for bytes and text

    def value(self) -> bytes | str:
        return str(self.view, "latin-1") if self.is_text else bytes(self.view)


class _Dtype:
    """An element type under construction: REDUCE gives the code, BUILD the byte order."""

    __slots__ = ("byte_order", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self.byte_order = "="


class _Array:
    """An array: REDUCE makes it, BUILD or the call itself fills it."""

    __slots__ = ("is_scalar", "value")

    def __init__(self, value: np.ndarray[Any, Any] | None = None, *, is_scalar: bool = False) -> None:
        self.value = value
        self.is_scalar = is_scalar


def _describe(value: object) -> str:
    return shorten(value, 60) if isinstance(value, str) else _kind(value)


class _Machine:
    """One pickle being read. Every step takes constant time or time in the bytes it consumes."""

    def __init__(self, data: bytes, maximum_opcodes: int) -> None:
        self.data = data
        self.position = 0
        self.maximum_opcodes = maximum_opcodes
        self.opcode_count = 0
        # The few steps that copy something a second time share this allowance, so that a pickle
        # cannot have one long string copied a million times.
        self.copies_left = 4 * len(data) + 65536
        self.wide_left = _MOST_WIDE_TEXT
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        """The object that the pickle describes."""
        data, handlers = self.data, _HANDLERS
        while True:
            if self.position >= len(data):
                raise _RefusalError("it is cut off: the data ends before its STOP")
            self.opcode_count += 1
            if self.opcode_count > self.maximum_opcodes:
                raise _RefusalError(f"it has more than {self.maximum_opcodes:,} opcodes")
            opcode = data[self.position]
            self.position += 1
            if opcode == _STOP:
                break
            handlers[opcode](self)
        if len(self.stack) != 1 or self.marks:
            raise _RefusalError(f"it ends with {len(self.stack)} objects in place of one")
        if self.position != len(data):
            raise _RefusalError(f"{len(data) - self.position} more bytes follow its end")
        return _finished(self.stack[0], 0, {})

    # Reading from the data

    def skip(self, count: int) -> int:
        """Move past `count` bytes; where they start."""
        start = self.position
        if count > len(self.data) - start:
            raise _RefusalError(f"it claims {count:,} bytes where {len(self.data) - start:,} are left")
        self.position = start + count
        return start

    def take(self, count: int) -> bytes:
        start = self.skip(count)
        return self.data[start : self.position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self, maximum: int | None = _MAXIMUM_LINE) -> bytes:
        start = self.position
        end = self.data.find(b"\n", start)
        if end < 0:
            raise _RefusalError("it is cut off inside a line")
        if maximum is not None and end - start > maximum:
            raise _RefusalError(f"it has a number of {end - start:,} characters")
        self.position = end + 1
        return self.data[start:end]

    def long(self, size: int, *, is_text: bool) -> _Long:
        """A string whose length stands before it in `size` bytes; not copied."""
        start = self.skip(self.number(size))
        return _Long(memoryview(self.data)[start : self.position], is_text=is_text)

    def text(self, data: bytes | memoryview, encoding: str, wide: re.Pattern[bytes]) -> str:
        """Text; little of it past Latin-1, whose characters take up to four times their place."""
        if wide.search(data):
            self.wide_left -= len(data)
            if self.wide_left < 0:
                raise _RefusalError(f"it has more than {_MOST_WIDE_TEXT:,} bytes of text past Latin-1")
        # "surrogatepass" is how Python writes lone surrogates.
        return str(data, encoding, "surrogatepass")

    # The stack

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _RefusalError("it takes from an empty stack")
        return self.stack.pop()

    def top(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _RefusalError("it looks at an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[object]:
        if not self.marks:
            raise _RefusalError("it has no MARK where one is needed")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_many(self, count: int) -> tuple[object, ...]:
        items = [self.pop() for _ in range(count)]
        return tuple(reversed(items))

    def charge(self, size: int) -> None:
        self.copies_left -= size
        if self.copies_left < 0:
            raise _RefusalError("it copies its own data again and again")

    # The memo

    def put(self, index: int) -> None:
        # A writer numbers what it has written, so no index can pass the opcodes so far.
        if not 0 <= index <= self.opcode_count:
            raise _RefusalError(f"memo index {index} comes after only {self.opcode_count} opcodes")
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise _RefusalError(f"memo index {index} is used but never stored")
        self.push(self.memo[index])

    # Containers

    def append(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise _RefusalError(f"it appends to {_kind(target)}")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise _RefusalError(f"it sets items of {_kind(target)}")
        target.update(_pairs(items))

    # Names

    def name(self, module: object, name: object) -> None:
        known = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise _RefusalError(
                f"it asks for {_describe(module)}.{_describe(name)}, which is not numbers or text;"
                " nothing was run"
            )
        self.push(known)

    def reduce(self) -> None:
        arguments = self.pop()
        function = self.pop()
        make = _CALLS.get(function) if isinstance(function, _Name) else None
        if make is None or not isinstance(arguments, tuple):
            raise _RefusalError(f"it calls {_kind(function)} with {_kind(arguments)}; nothing was run")
        self.push(make(self, arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, _Dtype) and isinstance(state, tuple):
            _set_dtype_state(target, state)
        elif isinstance(target, _Array) and target.value is None and isinstance(state, tuple):
            target.value = self.array_from_state(state)
        else:
            raise _RefusalError(f"it sets the state of {_kind(target)}; nothing was run")

    # NumPy's names, each with exactly the arguments that NumPy writes

    def reconstruct(self, arguments: tuple[object, ...]) -> _Array:
        match arguments:
            case (_Name.NDARRAY, (0,), _):
                return _Array()
        raise _RefusalError("it makes an array of another class than numpy.ndarray")

    def array_from_state(self, state: tuple[object, ...]) -> np.ndarray[Any, Any]:
        match state:
            case (0 | 1, shape, dtype, (0 | 1) as is_fortran, data):
                return self.array(data, dtype, shape, "F" if is_fortran else "C")
        raise _RefusalError("an array's state is not one that NumPy writes")

    def from_buffer(self, arguments: tuple[object, ...]) -> _Array:
        match arguments:
            case (data, dtype, shape, "C" | "F" as order, *rest) if rest in ([], [None]):
                return _Array(self.array(data, dtype, shape, order))
            case (data, dtype, shape, "K", axes):
                array = self.array(data, dtype, shape, "C")
                if _are_lengths(axes) and sorted(axes) == list(range(array.ndim)):
                    return _Array(array.transpose(axes))
        raise _RefusalError("an array's buffer has not the arguments that NumPy writes")

    def scalar(self, arguments: tuple[object, ...]) -> _Array:
        match arguments:
            case (dtype, data):
                return _Array(self.array(data, dtype, (), "C"), is_scalar=True)
        raise _RefusalError("a NumPy number has not the arguments that NumPy writes")

    def array(self, data: object, dtype: object, shape: object, order: str) -> np.ndarray[Any, Any]:
        if not isinstance(dtype, _Dtype):
            raise _RefusalError(f"an array's element type is {_kind(dtype)}")
        if not _are_lengths(shape) or len(shape) > _MAXIMUM_AXES or any(n > _MAXIMUM_LENGTH for n in shape):
            raise _RefusalError("an array's shape is not a short tuple of lengths")
        buffer = self.buffer(data)
        element = np.dtype(dtype.byte_order + dtype.code)
        size = element.itemsize
        for length in shape:
            size *= length
        if size != len(buffer):
            raise _RefusalError(
                f"an array of shape {shorten(str(shape), 60)} has {len(buffer):,} bytes of data,"
                f" not {shorten(f'{size:,}', 40)}"
            )
        if size == 0:
            return np.empty(shape, element)
        return np.frombuffer(buffer, element).reshape(shape, order="F" if order == "F" else "C")

    def buffer(self, data: object) -> bytes | memoryview:
        if isinstance(data, _Long):
            return data.view
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):  # Python 2 had one type for text and bytes
            self.charge(len(data))
            return data.encode("latin-1")
        raise _RefusalError(f"an array's data is {_kind(data)}: arrays of Python objects are not read")

    def dtype(self, arguments: tuple[object, ...]) -> _Dtype:
        match arguments:
            case (str() as code, 0, 1) if code in DTYPE_CODES:  # align=False, copy=True
                return _Dtype(code)
            case (str() as code, *_):
                raise _RefusalError(f"an array has the element type {_describe(code)}; only numbers are read")
        raise _RefusalError("an array has an unknown element type; only numbers are read")

    def encode(self, arguments: tuple[object, ...]) -> bytes:
        match arguments:
            case (str() as text, "latin1" | "latin-1"):
                self.charge(len(text))
                return text.encode("latin-1")
        raise _RefusalError("_codecs.encode is called otherwise than for a byte string; nothing was run")

    def empty_bytes(self, arguments: tuple[object, ...]) -> bytes:
        if arguments:
            raise _RefusalError("bytes is called with arguments; nothing was run")
        return b""

    def ordered_dict(self, arguments: tuple[object, ...]) -> dict[str, object]:
        match arguments:
            case ():
                return {}
            case ([*pairs],):  # Python 2 hands its items over as a list of pairs
                self.charge(64 * len(pairs))
                items: list[object] = []
                for pair in pairs:
                    match pair:
                        case (key, value):
                            items += (key, value)
                        case _:
                            raise _RefusalError("an OrderedDict's items are not pairs")
                return dict(_pairs(items))
        raise _RefusalError("an OrderedDict has not the arguments that Python writes")

    # What a batch has by the thousand, in as few calls as possible

    def short_text(self) -> None:
        length = self.data[self.skip(1)]
        start = self.skip(length)
        self.stack.append(str(self.data[start : self.position], "latin-1"))

    def short_put(self) -> None:
        self.put(self.data[self.skip(1)])

    def long_put(self) -> None:
        start = self.skip(4)
        self.put(int.from_bytes(self.data[start : self.position], "little"))

    def small_integers(self) -> None:
        start, left = self.position - 1, self.maximum_opcodes - self.opcode_count + 1
        run = _SMALL_INTEGERS.match(self.data, start, start + 2 * left)
        if run is None:
            raise _RefusalError("it is cut off inside a number")
        self.position = run.end()
        self.opcode_count += len(run[0]) // 2 - 1
        self.stack += run[0][1::2]

    # Numbers and text that are written as lines

    def text_integer(self) -> int | bool:
        line = self.line()
        if line in (b"00", b"01"):
            return line == b"01"
        return int(line)

    def python2_text(self) -> str:
        line = self.line(None)
        quoted = line[1:-1]
        is_closed = line[:1] in (b"'", b'"') and line.endswith(line[:1]) and line != line[:1]
        if not is_closed or _PYTHON2_TEXT.fullmatch(quoted) is None:
            raise _RefusalError("it has a string without quotes or with unknown escapes")
        return quoted.decode("unicode_escape")

    def stack_name(self) -> None:
        name = self.pop()
        module = self.pop()
        self.name(module, name)

    def frame(self) -> None:
        # Frames only tell a reader how far to read ahead; the length is checked and forgotten.
        self.position = self.skip(self.number(8))

    def protocol(self) -> None:
        number = self.number(1)
        if number > _MAXIMUM_PROTOCOL:
            raise _RefusalError(f"it says protocol {number}; {_MAXIMUM_PROTOCOL} is the highest known")

    def pop_or_unmark(self) -> None:
        # POP on top of a MARK takes the MARK away.
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()


_CALLS: Final[Mapping[_Name, Callable[[_Machine, tuple[object, ...]], object]]] = {
    _Name.RECONSTRUCT: _Machine.reconstruct,
    _Name.FROM_BUFFER: _Machine.from_buffer,
    _Name.SCALAR: _Machine.scalar,
    _Name.DTYPE: _Machine.dtype,
    _Name.ENCODE: _Machine.encode,
    _Name.BYTES: _Machine.empty_bytes,
    _Name.ORDERED_DICT: _Machine.ordered_dict,
}


def _kind(value: object) -> str:
    """What an object on the stack is, for an error message."""
    if isinstance(value, _Name):
        return f"the name {value.name.lower()}"
    return "text" if isinstance(value, (str, _Long)) else type(value).__name__.lstrip("_").lower()


def _are_lengths(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and all(type(item) is int and item >= 0 for item in value)


def _set_dtype_state(dtype: _Dtype, state: tuple[object, ...]) -> None:
    match state:
        # (version, byte order, subarray, field names, fields, item size, alignment, flags)
        case (3, "<" | ">" | "|" | "=" as byte_order, None, None, None, _, _, _):
            dtype.byte_order = byte_order
        case _:
            raise _RefusalError("an array's element type is not a plain number")


def _pairs(items: list[object]) -> Iterator[tuple[str, object]]:
    """Keys and values that alternate in `items`, each key as text.

    Keys that are numbers or tuples could be chosen to collide or to nest, and no file of ours has any.
    """
    if len(items) % 2:
        raise _RefusalError("a dict has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        size = len(key.view) if isinstance(key, _Long) else len(key) if isinstance(key, (str, bytes)) else -1
        if not 0 <= size <= _MAXIMUM_KEY_LENGTH:
            raise _RefusalError(f"a dict has a key that is {'long' if size > 0 else 'no'} text")
        text = key.value() if isinstance(key, _Long) else key
        yield (text.decode("latin-1") if isinstance(text, bytes) else str(text)), value


def _finished(value: object, depth: int, done: dict[int, object]) -> object:
    """`value` with its holders replaced by what they hold; `done` keeps what is shared shared."""
    if isinstance(value, (str, bytes, bytearray, int, float, NoneType)):
        return value
    if depth > _MAXIMUM_DEPTH:
        raise _RefusalError(f"it nests more than {_MAXIMUM_DEPTH} containers")
    if id(value) in done:
        return done[id(value)]
    result: object
    if isinstance(value, dict):
        result = {key: _finished(item, depth + 1, done) for key, item in value.items()}
    elif isinstance(value, list):
        # Of these a batch has thousands.
        plain = (int, str)
        result = [item if type(item) in plain else _finished(item, depth + 1, done) for item in value]
    elif isinstance(value, tuple):
        result = tuple(_finished(item, depth + 1, done) for item in value)
    elif isinstance(value, _Long):
        result = value.value()
    elif isinstance(value, _Array) and value.value is not None:
        result = value.value[()] if value.is_scalar else value.value
    else:
        raise _RefusalError(f"it holds {_kind(value)} where data should be")
    done[id(value)] = result
    return result


_STOP: Final = ord(".")
_Step = Callable[[_Machine], None]


def _refusing(what: str) -> _Step:
    def refuse(machine: _Machine) -> None:
        raise _RefusalError(f"it uses {what} at byte {machine.position - 1}; nothing was run")

    return refuse


def _unknown(machine: _Machine) -> None:
    code = machine.data[machine.position - 1]
    raise _RefusalError(f"byte {machine.position - 1} is 0x{code:02x}, which is no opcode")


def _signed(machine: _Machine) -> int:
    return int.from_bytes(machine.take(4), "little", signed=True)


def _long_integer(machine: _Machine, length_size: int) -> int:
    length = machine.number(length_size)
    if length > _MAXIMUM_LINE:
        raise _RefusalError(f"it has an integer of {length:,} bytes")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _float(machine: _Machine) -> float:
    (value,) = struct.unpack(">d", machine.take(8))
    return float(value)


def _utf8(machine: _Machine, length_size: int) -> str:
    start = machine.skip(machine.number(length_size))
    return machine.text(memoryview(machine.data)[start : machine.position], "utf-8", _WIDE_UTF8)


def _ascii_line(machine: _Machine) -> str:
    return machine.line(None).decode("utf-8")


_HANDLERS: Final[list[_Step]] = [_unknown] * 256


def _handlers() -> dict[str, _Step]:
    """What each opcode does, by its character; the names are `pickletools`'."""
    return {
        # MARK, POP, POP_MARK, DUP
        "(": lambda m: m.marks.append(len(m.stack)),
        "0": _Machine.pop_or_unmark,
        "1": lambda m: m.pop_to_mark().clear(),
        "2": lambda m: m.push(m.top()),
        # NONE, NEWTRUE, NEWFALSE, INT, LONG, FLOAT, BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),  # noqa: FBT003  (the value itself)
        "\x89": lambda m: m.push(False),  # noqa: FBT003  (the value itself)
        "I": lambda m: m.push(m.text_integer()),
        "L": lambda m: m.push(int(m.line().removesuffix(b"L"))),
        "F": lambda m: m.push(float(m.line())),
        "J": lambda m: m.push(_signed(m)),
        "K": _Machine.small_integers,
        "M": lambda m: m.push(m.number(2)),
        "\x8a": lambda m: m.push(_long_integer(m, 1)),
        "\x8b": lambda m: m.push(_long_integer(m, 4)),
        "G": lambda m: m.push(_float(m)),
        # STRING, SHORT_BINSTRING, BINSTRING: Python 2's text and bytes
        "S": lambda m: m.push(m.python2_text()),
        "U": _Machine.short_text,
        "T": lambda m: m.push(m.long(4, is_text=True)),
        # UNICODE, SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
        "V": lambda m: m.push(m.text(m.line(None), "raw_unicode_escape", _WIDE_ESCAPE)),
        "\x8c": lambda m: m.push(_utf8(m, 1)),
        "X": lambda m: m.push(_utf8(m, 4)),
        "\x8d": lambda m: m.push(_utf8(m, 8)),
        # SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
        "C": lambda m: m.push(m.take(m.number(1))),
        "B": lambda m: m.push(m.long(4, is_text=False)),
        "\x8e": lambda m: m.push(m.long(8, is_text=False)),
        "\x96": lambda m: m.push(m.long(8, is_text=False)),
        # EMPTY_LIST, LIST, APPEND, APPENDS
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.pop_to_mark()),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_to_mark()),
        # EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.push(m.pop_many(1)),
        "\x86": lambda m: m.push(m.pop_many(2)),
        "\x87": lambda m: m.push(m.pop_many(3)),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        # EMPTY_DICT, DICT, SETITEM, SETITEMS
        "}": lambda m: m.push({}),
        "d": lambda m: m.push(dict(_pairs(m.pop_to_mark()))),
        "s": lambda m: m.set_items(list(m.pop_many(2))),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        # PUT, BINPUT, LONG_BINPUT, MEMOIZE, GET, BINGET, LONG_BINGET
        "p": lambda m: m.put(int(m.line())),
        "q": _Machine.short_put,
        "r": _Machine.long_put,
        "\x94": lambda m: m.put(len(m.memo)),
        "g": lambda m: m.get(int(m.line())),
        "h": lambda m: m.get(m.number(1)),
        "j": lambda m: m.get(m.number(4)),
        # GLOBAL, STACK_GLOBAL, REDUCE, BUILD
        "c": lambda m: m.name(_ascii_line(m), _ascii_line(m)),
        "\x93": _Machine.stack_name,
        "R": _Machine.reduce,
        "b": _Machine.build,
        # PROTO, FRAME
        "\x80": _Machine.protocol,
        "\x95": _Machine.frame,
        # INST, OBJ, NEWOBJ, NEWOBJ_EX; PERSID, BINPERSID; EXT1, EXT2, EXT4; NEXT_BUFFER, READONLY_BUFFER;
        # EMPTY_SET, ADDITEMS, FROZENSET
        **dict.fromkeys("io\x81\x92", _refusing("an opcode that makes an object of a class")),
        **dict.fromkeys("PQ", _refusing("a persistent id")),
        **dict.fromkeys("\x82\x83\x84", _refusing("an extension code")),
        **dict.fromkeys("\x97\x98", _refusing("an out-of-band buffer")),
        **dict.fromkeys("\x8f\x90\x91", _refusing("a set")),
    }


for _character, _step in _handlers().items():
    _HANDLERS[ord(_character)] = _step


def restricted_loads(data: bytes, *, name: str, maximum_opcodes: int = MAXIMUM_OPCODES) -> object:
    """What a pickle of numbers, text, lists, tuples, dicts and NumPy arrays describes. Nothing in it can run.

    Every protocol from 0 to 5, written by Python 2 or 3 and by any NumPy since 1.0. Python 2's strings become
    text by Latin-1, as with ``pickle.load(..., encoding="latin1")``; dict keys become text in any case. An
    OrderedDict becomes a dict. Arrays hold integers or floating-point numbers in the byte order of the file
    and are read-only views of `data`.

    Refused: every other class or function, object and structured arrays, sets, keys that are not text, more
    than 16 levels of nesting, a pickle that copies its own data more than fourfold, data after the end.

    Args:
        data: the whole pickle.
        name: what to call it in an error, normally its path.
        maximum_opcodes: where to stop.

    Raises:
        FormatError: it is no pickle, damaged, or asks for anything else.
    """
    try:
        return _Machine(data, maximum_opcodes).run()
    except _RefusalError as error:
        reason = str(error)
    except ValueError as error:  # a number or text that does not decode
        reason = f"it is damaged ({shorten(str(error))})"
    if data[:1] not in _FIRST_OPCODES:
        reason = f"it is {describe(data[:HEAD_BYTES])}"
    raise FormatError(f"{name}: not a readable pickle of arrays: {reason}")
