import builtins
import collections
import copyreg
import operator
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.core.errors import FormatError
from pipeline.core.files import pickle_reader, pickle_writer
from tests.shared import allocating_less_than

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DTYPES = ["i1", "u1", "<i2", ">i2", "<i4", "<i8", "<u2", ">u8", "<f2", "<f4", ">f4", "<f8", ">f8"]
ARRAYS = npst.arrays(
    st.sampled_from([np.dtype(name) for name in DTYPES]),
    npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def loads(data: bytes) -> Any:  # noqa: ANN401  (whatever the pickle held)
    return pickle_reader.restricted_loads(data, name="file.pkl")


def refusal(data: bytes) -> str:
    with pytest.raises(FormatError, match=r"^file\.pkl: not a readable pickle of arrays: ") as caught:
        loads(data)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


def same(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


# Good pickles


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=30, deadline=None)
@given(value=PLAIN)
def test_plain_containers_survive_every_protocol(protocol: int, value: object) -> None:
    assert loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=30, deadline=None)
@given(array=ARRAYS, order=st.sampled_from(["C", "F"]), axes_reversed=st.booleans())
def test_arrays_survive_every_protocol(
    protocol: int,
    array: np.ndarray[Any, Any],
    order: Literal["C", "F"],
    *,
    axes_reversed: bool,
) -> None:
    array = np.array(array, order=order)
    array = array.T if axes_reversed else array
    assert same(loads(pickle.dumps({"W1": array}, protocol))["W1"], array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_views_scalars_and_shared_objects_survive_every_protocol(protocol: int) -> None:
    cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    ordered = collections.OrderedDict(z=cube, a=cube)
    value = {"view": cube[:, ::2], "moved": cube.transpose(2, 0, 1), "number": cube[1, 1, 1], "both": ordered}
    found = loads(pickle.dumps(value, protocol))
    assert same(found["view"], cube[:, ::2])
    assert same(found["moved"], cube.transpose(2, 0, 1))
    assert type(found["number"]) is np.float32
    assert found["number"] == cube[1, 1, 1]
    assert list(found["both"]) == ["z", "a"]
    assert found["both"]["z"] is found["both"]["a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_1_names_are_known(protocol: int) -> None:
    array = np.arange(6.0).reshape(2, 3)
    data = pickle.dumps([array, array[1, 2]], protocol)
    # Lengths stand before names from protocol 4 on.
    for name in (b"multiarray", b"numeric"):
        old, new = b"numpy._core." + name, b"numpy.core." + name
        data = data.replace(bytes([0x8C, len(old)]) + old, bytes([0x8C, len(new)]) + new).replace(old, new)
    if protocol >= 4:  # the frame has become shorter
        data = data[:3] + struct.pack("<Q", len(data) - 11) + data[11:]
    assert b"_core" not in data
    found = loads(data)
    assert same(found[0], array)
    assert found[1] == 5.0


def test_python_2_text_and_arrays_of_protocol_0() -> None:
    # What Python 2's pickle writes for {"W1": array([1.5]), "name": "\xe9'"}: strings as repr() shows them.
    raw = repr(struct.pack("<d", 1.5))[1:].encode("ascii")
    data = (
        b"(dp0\nS'W1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(L1L\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n"
        b"(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS"
        + raw
        + b"\np15\ntp16\nbsS'name'\np17\nS\"\\xe9'\"\np18\ns."
    )
    found = loads(data)
    assert found["name"] == "\xe9'"
    assert same(found["W1"], np.array([1.5]))


def test_python_2_ordered_dicts_are_dicts() -> None:
    ordered = b"ccollections\nOrderedDict\n((l(lS'z'\naI1\naa(lS'a'\naI2\naatR."
    assert list(loads(ordered).items()) == [("z", 1), ("a", 2)]
    assert "not pairs" in refusal(ordered.replace(b"I2\na", b"I2\naI3\na"))
    assert "OrderedDict has not" in refusal(b"ccollections\nOrderedDict\n(I1\ntR.")


def test_python_2_strings_become_text_and_keys_always_do() -> None:
    long = "x" * 300
    assert loads(pickle_writer.dumps({"key": long}, for_python2=True)) == {"key": long}
    assert loads(pickle.dumps({b"key": b"value"})) == {"key": b"value"}


def test_arrays_are_read_only_views() -> None:
    array = loads(pickle.dumps(np.arange(1000.0), 4))
    assert not array.flags.writeable
    assert not array.flags.owndata


# Pickles that want more


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


class HasState:
    def __init__(self) -> None:
        self.attribute = 1


ESCAPES: dict[str, Callable[[str], object]] = {
    "os.system": lambda flag: Calls(os.system, f"touch {flag}"),
    "eval": lambda flag: Calls(eval, f"open({flag!r}, 'w')"),
    "exec": lambda flag: Calls(exec, f"open({flag!r}, 'w')"),
    "open": lambda flag: Calls(open, flag, "w"),
    "subprocess": lambda flag: Calls(subprocess.Popen, ["touch", flag]),
    "getattr chain": lambda flag: Calls(Calls(getattr, os, "system"), f"touch {flag}"),  # type: ignore[arg-type]  # (pickles as a call)
    "operator": lambda flag: Calls(operator.attrgetter("system"), flag),
    "__import__": lambda _: Calls(builtins.__import__, "antigravity"),
    "copyreg": lambda _: Calls(copyreg._reconstructor, HasState, object, None),  # type: ignore[attr-defined]  # (not in its stub)
    "numpy.save": lambda flag: Calls(np.save, flag, [1]),
    "numpy.load": lambda flag: Calls(np.load, flag),
    "numpy.fromfile": lambda flag: Calls(np.fromfile, flag),
    "numpy.memmap": lambda flag: Calls(np.memmap, flag, "u1", "w+", 0, (1,)),
    "numpy.ndarray": lambda _: Calls(np.ndarray, (10**9,)),
    "numpy.zeros": lambda _: Calls(np.zeros, (10**6, 10**6)),
    "class": lambda _: HasState(),
    "complex": lambda _: Calls(complex, 1, 2),
    "path": Path,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_is_run(escape: str, protocol: int, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    value = ESCAPES[escape](str(flag))
    try:
        data = pickle.dumps({"W1": value}, protocol)
    except (TypeError, AttributeError, pickle.PicklingError):
        # A module cannot be pickled: name it by hand.
        data = b"cposix\ngetattr\n(cbuiltins\nos\nS'system'\ntR(S'touch " + os.fsencode(flag) + b"'\ntR."
    message = refusal(data)
    assert "nothing was run" in message
    assert not flag.exists()


OBJECT_MAKERS = {
    "INST": b"(S'echo'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'echo'\no.",
    "NEWOBJ": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "PERSID": b"(Pfile\nl.",
    "BINPERSID": b"\x80\x02K\x01Q.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "READONLY_BUFFER": b"\x80\x05K\x01\x98.",
    "set": pickle.dumps({1, 2}),
    "module by STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
    "name of no text": b"\x80\x04K\x01K\x02\x93.",
    "call of text": b"\x80\x02S'echo'\n(S'echo'\ntR.",
    "call of a class": b"cnumpy\nndarray\n(tR.",
    "BUILD on a dict": b"}}b.",
    "BUILD on a name": b"cnumpy\nndarray\n}b.",
    "codec that is not text": b"c_codecs\nencode\n(S'eval'\nS'rot13'\ntR.",
    "bytes of a size": b"c__builtin__\nbytes\n(I1000000\ntR.",
}


@pytest.mark.parametrize("name", OBJECT_MAKERS)
def test_opcodes_that_make_objects_are_refused(name: str) -> None:
    assert "nothing was run" in refusal(OBJECT_MAKERS[name])


# The reader knows twelve names and refuses all others alike: the classics of scanners, what lies near those
# names, and what leads to one of them.
KNOWN_ESCAPES = {
    "os": "system popen",
    "builtins": "eval exec getattr __import__ type object",
    "__builtin__": "eval bytearray",
    "copyreg": "_reconstructor __newobj__",
    "operator": "attrgetter methodcaller",
    "codecs": "encode open",
    "_codecs": "decode lookup",
    "collections": "namedtuple OrderedDict.__init__",
    "numpy": "load fromfile memmap zeros array ndarray.tofile ndarray.__setstate__ dtype.__setstate__ void"
    " object_ core.multiarray._reconstruct",
    "numpy.core.multiarray": "fromfile array _reconstruct.__call__",
    "numpy._core.multiarray": "frombuffer",
    "numpy.ma.core": "_mareconstruct",
    "numpy.random._pickle": "__generator_ctor",
    "pipeline.core.files.atomic": "write_bytes",
    "__main__": "main",
    "": "system",
}
PAIRS = [(module, name) for module, names in KNOWN_ESCAPES.items() for name in names.split()]


def spellings(module: str, name: str) -> list[bytes]:
    """The ways in which a pickle can ask for a name, and call it."""
    lines = module.encode() + b"\n" + name.encode() + b"\n"
    sized = b"".join(b"\x8c" + bytes([len(text)]) + text for text in (module.encode(), name.encode()))
    return [
        b"c" + lines + b".",
        b"c" + lines + b"(S'x'\ntR.",
        b"(S'x'\ni" + lines + b".",
        b"(c" + lines + b"S'x'\no.",
        b"\x80\x02c" + lines + b")\x81.",
        b"\x80\x02c" + lines + b")}\x92.",
        b"\x80\x04" + sized + b"\x93\x8c\x01x\x85R.",
        b"\x80\x04" + sized + b"\x93)R}b.",
        # Hidden in what looks like parameters.
        b"\x80\x04}\x8c\x02W1" + sized + b"\x93\x8c\x01x\x85Rs.",
    ]


def test_every_known_escape_is_refused_in_every_spelling() -> None:
    loaded = set(sys.modules)
    for module, name in PAIRS:
        for data in spellings(module, name):
            assert "nothing was run" in refusal(data), (module, name)
    assert set(sys.modules) == loaded


AUDITED = """
import sys
from pipeline.core.errors import FormatError
from pipeline.core.files.pickle_reader import restricted_loads

def load(data):
    try:
        return restricted_loads(data, name="file.pkl")
    except FormatError:
        return None

cases = [bytes.fromhex(line) for line in sys.stdin]
for codec in ("unicode_escape", "raw_unicode_escape"):
    b"x".decode(codec)  # Python imports these two of its own on first use
events = []
sys.addaudithook(lambda event, arguments: event == "builtins.id" or events.append(event))
for data in cases:
    load(data)
print(len(cases), events)
"""


def test_python_itself_sees_nothing_being_run_opened_or_imported() -> None:
    # Python reports to an audit hook whatever imports, compiles, executes, opens, connects or starts a thing.
    cases = [data for module, name in PAIRS for data in spellings(module, name)]
    cases += OBJECT_MAKERS.values()
    cases += [pickle.dumps({"W1": np.arange(6.0)}, protocol) for protocol in PROTOCOLS]
    lines = "\n".join(data.hex() for data in cases)
    arguments = [sys.executable, "-c", AUDITED]
    root = Path(__file__).parents[3]
    result = subprocess.run(  # noqa: S603  (our own program)
        arguments, cwd=root, input=lines, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{len(cases)} []\n"


def test_the_names_that_a_pickle_may_use_are_these() -> None:
    # None of them is ever looked up; a new one needs a reason and a test of its own.
    assert set(pickle_reader._NAMES) == {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("builtins", "bytes"),
        ("__builtin__", "bytes"),
        ("collections", "OrderedDict"),
    }


@pytest.mark.parametrize("change", ["{} ", " {}", "{}\r", "{}.", ".{}", "{}\0", "{}\t", "{}.__call__"])
def test_names_are_exact(change: str) -> None:
    for module, name in pickle_reader._NAMES:
        for pair in (
            (change.format(module), name),
            (module, change.format(name)),
            (module.upper(), name),
            (module, name.swapcase()),
            (module.replace("n", "\u0578"), name) if "n" in module else ("", name),
            (f"{module}.{name}", ""),
            ("", f"{module}.{name}"),
        ):
            sized = b"".join(b"\x8c" + bytes([len(text.encode())]) + text.encode() for text in pair)
            assert "nothing was run" in refusal(b"\x80\x04" + sized + b"\x93)R.")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
FLOATS = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"
STATE = b"(I1\n(I1\nt" + FLOATS + b"I00\nS'12345678'\nt"


@pytest.mark.parametrize(
    ("data", "reason"),
    {
        # What BUILD does in the standard machine: __setstate__, else __dict__ and setattr for slots.
        "a dict for an array": (RECONSTRUCT + b"}S'__class__'\nS'x'\nsb.", "sets the state of array"),
        "slots for an array": (RECONSTRUCT + b"(N}S'shape'\nI1\nstb.", "an array's state is not one"),
        "the state of a list": (RECONSTRUCT + b"]b.", "sets the state of array"),
        "a second state": (RECONSTRUCT + STATE + b"b" + STATE + b"b.", "sets the state of array"),
        "a state after a view": (
            b"cnumpy._core.numeric\n_frombuffer\n(S'12345678'\n" + FLOATS + b"(I1\ntS'C'\ntR" + STATE + b"b.",
            "sets the state of array",
        ),
        "a state for a number": (
            b"cnumpy.core.multiarray\nscalar\n(" + FLOATS + b"S'12345678'\ntR" + STATE + b"b.",
            "sets the state of array",
        ),
        "an array inside itself": (
            RECONSTRUCT + b"p0\n0g0\n(I1\n(I1\nt" + FLOATS + b"I00\ng0\ntb.",
            "an array's data is array",
        ),
        "metadata for a type": (
            FLOATS + b"(I4\nS'<'\nNNNI-1\nI-1\nI0\n}S'key'\nI1\nstb.",
            "an array's element type is not a plain number",
        ),
        "fields for a type": (
            FLOATS + b"(I3\nS'|'\nN(S'x'\nt}S'x'\n(" + FLOATS + b"I0\ntsI8\nI1\nI16\ntb.",
            "an array's element type is not a plain number",
        ),
        "attributes for a list": (b"]}S'append'\nS'x'\nsb.", "sets the state of list"),
        "attributes for a function": (b"c_codecs\nencode\n}S'__code__'\nS'x'\nsb.", "sets the state of"),
        "attributes for an OrderedDict": (
            b"ccollections\nOrderedDict\n)R}S'x'\nI1\nsb.",
            "sets the state of",
        ),
        "a class as data": (b"(lp0\ncnumpy\nndarray\na.", "holds the name ndarray where data should be"),
        "an unfinished array": (b"}S'W1'\n" + RECONSTRUCT + b"s.", "holds array where data should be"),
        "a type as data": (b"}S'W1'\n" + FLOATS + b"s.", "holds dtype where data should be"),
        "an object array's list": (
            RECONSTRUCT + b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\n(lcos\nsystem\natb.",
            "only numbers are read",
        ),
    }.values(),
)
def test_nothing_is_built_that_a_state_could_steer(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


def test_buffers_out_of_band_are_refused() -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps({"W1": np.arange(1000.0)}, 5, buffer_callback=buffers.append)
    assert buffers
    assert "an out-of-band buffer" in refusal(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.array([1, "text", None], dtype=object),
        np.zeros(2, "i4,f4"),
        np.zeros(2, "V8"),
        np.zeros(2, "S8"),
        np.zeros(2, "U8"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, complex),
    ],
    ids=str,
)
def test_arrays_of_anything_but_numbers_are_refused(array: np.ndarray[Any, Any], protocol: int) -> None:
    assert "numbers" in refusal(pickle.dumps(array, protocol))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
            "another class than numpy.ndarray",
        ),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I9\ntS'b'\ntR.",
            "another class than numpy.ndarray",
        ),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
            "holds array where data",
        ),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I9\ntb.",
            "an array's state",
        ),
        (b"cnumpy._core.numeric\n_frombuffer\n(S'x'\ntR.", "an array's buffer"),
        (b"cnumpy.core.multiarray\nscalar\n(S'f8'\ntR.", "a NumPy number"),
        (b"cnumpy.core.multiarray\nscalar\n(S'f8'\nS'12345678'\ntR.", "an array's element type is text"),
        (b"cnumpy\ndtype\n(I1\nI0\nI1\ntR.", "an unknown element type"),
        (b"cnumpy\ndtype\n(S'f8'\nI1\nI1\ntR.", "the element type f8"),
        (b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'?'\nNNNI-1\nI-1\nI0\ntb.", "not a plain number"),
        (b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\n(NNNI-1\nI-1\nI0\ntNtb.", "not a plain number"),
    ],
)
def test_numpy_s_names_take_what_numpy_writes(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


def test_an_array_whose_data_is_a_list_of_objects_is_refused() -> None:
    # As object arrays carry theirs, under a type that claims to be numbers.
    data = pickle_writer.dumps(np.zeros(1), for_python2=True)
    start = data.index(b"T\x08\x00\x00\x00")
    assert "Python objects" in refusal(data[:start] + b"](K\x01e" + data[start + 13 :])


def test_a_subclass_is_refused() -> None:
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    assert "nothing was run" in refusal(pickle.dumps(masked))


# Damage, and claims that cost


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing (an empty file)"),
        (b"<!doctype html>", "an HTML page"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b'{"W1": [1]}', "text that begins"),
        (b"\x80\x04", "cut off"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x80\x02NN.", "2 objects"),
        (b"\x80\x02.", "0 objects"),
        (b"\x80\x02(N.", "1 objects"),
        (b"\x80\x02N.N", "1 more bytes"),
        (b"\x80\x02\xff.", "no opcode"),
        (b"\x80\x02X\xff\xff\xff\xff.", "claims 4,294,967,295 bytes"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fN.", "claims 9,223,372,036,854,775,807 bytes"),
        (b"\x80\x04\x96\x00\x00\x00\x00\x00\x01\x00\x00N.", "claims 1,099,511,627,776 bytes"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "claims 18,446,744,073,709,551,615 bytes"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "an integer of 2,147,483,647 bytes"),
        (b"(L" + b"9" * 5000 + b"L\nl.", "a number of 5,001 characters"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "memo index 4294967295"),
        (b"\x80\x02]p-1\n.", "memo index -1"),
        (b"\x80\x02h\x07.", "never stored"),
        (b"\x80\x02}(K\x01K\x01u.", "a key that is no text"),
        (b"\x80\x02}(N.", "2 objects"),
        (b"\x80\x02}(S'a'\nu.", "a key without a value"),
        (b"\x80\x02K\x01K\x01a.", "appends to int"),
        (b"\x80\x02K\x01(K\x01K\x01u.", "sets items of int"),
        (b"\x80\x02t.", "no MARK"),
        (b"\x80\x02(0a.", "an empty stack"),
        (b"(S'unquoted\nl.", "without quotes"),
        (b"(S'\\u0041'\nl.", "unknown escapes"),
        (b"(Iabc\nl.", "damaged"),
        (b"]q\x00h\x00a.", "nests more than 16"),
        (b"]" * 18 + b"a" * 17 + b".", "nests more than 16"),
        (b"(" * 5000, "cut off"),
        (b"cnumpy\ndtype\n.", "the name dtype"),
    ],
)
def test_damage_is_named(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft", "has 8 bytes of data"),
        (b"(J\xff\xff\xff\xfft", "not a short tuple of lengths"),
        (b"(\x88t", "not a short tuple of lengths"),
        (b"(" + b"K\x01" * 33 + b"t", "not a short tuple of lengths"),
        (b"(" + b"\x8a\x06\xff\xff\xff\xff\xff\0" * 30 + b"t", "bytes of data, not"),
        (b"(K\x00\x8a\x05\xff\xff\xff\xff\x7ft", "has 8 bytes of data"),
        (b"K\x01", "not a short tuple of lengths"),
    ],
)
def test_false_shapes_are_refused(shape: bytes, reason: str) -> None:
    data = pickle_writer.dumps(np.zeros(1))
    assert reason in refusal(data.replace(b"K\x01(K\x01t", b"K\x01" + shape))


def test_an_empty_array_cannot_claim_a_huge_shape() -> None:
    data = pickle_writer.dumps(np.zeros(0))
    length = b"\x8a\x05\xff\xff\xff\xff\x7f"
    assert "damaged" in refusal(data.replace(b"(K\x00t", b"(K\x00" + 2 * length + b"t"))


def test_runs_of_small_integers_are_read_and_counted_like_others() -> None:
    numbers = list(range(256)) * 4
    # Protocol 2 without its memo: MARK, the numbers, LIST, STOP.
    data = b"\x80\x02(" + b"".join(b"K%c" % number for number in numbers) + b"l."
    assert pickle_reader.restricted_loads(data, name="file.pkl") == numbers
    opcodes = 1 + 1 + len(numbers) + 2
    assert pickle_reader.restricted_loads(data, name="file.pkl", maximum_opcodes=opcodes) == numbers
    for fewer in (opcodes - 1, 2 + len(numbers), 1 + len(numbers), 10):
        with pytest.raises(FormatError, match=f"more than {fewer:,} opcodes"):
            pickle_reader.restricted_loads(data, name="file.pkl", maximum_opcodes=fewer)
    with pytest.raises(FormatError, match="cut off inside a number"):
        pickle_reader.restricted_loads(data[:-3], name="file.pkl")


def test_opcodes_are_counted() -> None:
    data = b"(" + b"N" * 100 + b"l."
    assert loads(data) == [None] * 100
    with pytest.raises(FormatError, match="more than 50 opcodes"):
        pickle_reader.restricted_loads(data, name="file.pkl", maximum_opcodes=50)


def test_one_string_cannot_be_copied_again_and_again() -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"q\x00"
    encode = b"c_codecs\nencode\n(h\x00U\x06latin1tR"
    data = b"\x80\x02](" + text + encode * 2000 + b"e."
    assert "copies its own data" in refusal(data)
    with allocating_less_than(2_000_000):  # not 200 MB
        refusal(data)


def test_long_python_2_text_takes_memory_in_proportion() -> None:
    text = b"\\x00" * 250_000
    assert loads(b"(S'" + text + b"'\nl.") == ["\0" * 250_000]
    with allocating_less_than(4_000_000):
        refusal(b"(S'" + text + b"\\q'\nl.")


def test_lists_that_double_do_not_grow() -> None:
    # List n + 1 holds list n twice: 2 ** 14 leaves in 15 lists.
    lists = b"".join(b"](h%ch%ceq%c" % (number, number, number + 1) for number in range(14))
    data = b"\x80\x02(]q\x00" + lists + b"t."
    found = loads(data)[-1]
    depth = 0
    while found:
        assert found[0] is found[1]
        found, depth = found[0], depth + 1
    assert depth == 14


LAUGHS = {
    # Each holds the one before it ten times, 10 ** 40 leaves in all, in containers of every kind.
    "lists": b"](" + b"h%c" * 10 + b"eq%c0",
    "tuples": b"(" + b"h%c" * 10 + b"tq%c0",
    "dicts": b"}(" + b"".join(b"X\x01\0\0\0%dh%%c" % digit for digit in range(10)) + b"uq%c0",
}


@pytest.mark.parametrize("kind", LAUGHS)
def test_memo_bombs_do_not_go_off(kind: str) -> None:
    levels = b"".join(LAUGHS[kind] % ((number,) * 10 + (number + 1,)) for number in range(40))
    data = b"\x80\x02X\x03\0\0\0lolq\x000" + levels + b"h(."
    assert "nests more than 16" in refusal(data)
    with allocating_less_than(1_000_000):
        refusal(data)


def test_many_arrays_of_one_buffer_share_it() -> None:
    floats = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntRq\x010"
    buffer = b"B" + struct.pack("<I", 1_000_000) + bytes(1_000_000) + b"q\x000"
    array = b"cnumpy._core.numeric\n_frombuffer\n(h\x00h\x01J@B\x0f\0\x85U\x01CtR"
    data = b"\x80\x03" + floats + buffer + b"](" + array * 2000 + b"e."
    with allocating_less_than(2_000_000):  # not 2 GB
        found = loads(data)
    assert len(found) == 2000
    assert all(array.nbytes == 1_000_000 and not array.flags.owndata for array in found)


@pytest.mark.parametrize(
    "data",
    {
        "tuples": b")" + b"\x85" * 200_000 + b".",
        "lists": b"]" * 100_000 + b"a" * 99_999 + b".",
        "lists of marks": b"(" * 100_000 + b"l" * 100_000 + b".",
        "dicts": b"}" + b"S'a'\n}" * 50_000 + b"s" * 50_000 + b".",
    }.values(),
    ids=["tuples", "lists", "lists of marks", "dicts"],
)
def test_deep_nesting_is_refused_and_cleared_away(data: bytes) -> None:
    # A reader that recurses ends the process here, and so does a destructor that does.
    assert "nests more than 16" in refusal(b"\x80\x02" + data)


def test_opcodes_are_few_enough_to_end_soon() -> None:
    assert pickle_reader.MAXIMUM_OPCODES == 1_000_000
    assert "more than 1,000,000 opcodes" in refusal(b"\x80\x02" + b"N0" * 600_000 + b"N.")


# Writing


@pytest.mark.parametrize("for_python2", [False, True])
@settings(max_examples=40, deadline=None)
@given(arrays=st.dictionaries(st.text(max_size=300).filter(str.isascii), ARRAYS, max_size=3))
def test_written_arrays_are_read_by_the_standard_library(
    arrays: dict[str, np.ndarray[Any, Any]], *, for_python2: bool
) -> None:
    data = pickle_writer.dumps(arrays, for_python2=for_python2)
    for found in (pickle.loads(data, encoding="latin1"), loads(data)):  # noqa: S301  (our own bytes)
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert same(found[name], array.astype(array.dtype.newbyteorder("<")))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=300)))
def test_written_lists_are_read_by_the_standard_library(values: list[int | str]) -> None:
    data = pickle_writer.dumps(values)
    assert pickle.loads(data) == values  # noqa: S301  (our own bytes)
    assert loads(data) == values


def test_bytes_depend_on_values_alone() -> None:
    dtype = np.dtype(np.float64)
    shared = np.arange(12.0).reshape(3, 4)
    apart = np.asfortranarray(shared.astype(">f8"))
    assert shared.dtype is dtype
    once = pickle_writer.dumps({"W1": shared, "b1": shared})
    again = pickle_writer.dumps({"W1": apart, "b1": np.arange(24.0).reshape(3, 8)[:, :4] * 0 + shared.copy()})
    assert once == again
    assert pickle.dumps({"W1": shared, "b1": shared}) != pickle.dumps({"W1": apart, "b1": shared.copy()})


def test_the_bytes_are_these() -> None:
    # The same on every version of Python and NumPy; a change here changes every versioned pickle.
    assert pickle_writer.dumps({"b1": np.array([1.0, -2.0], np.float32)}) == (
        b"\x80\x04}(\x8c\x02b1cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01(K\x02tcnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89B\x08\x00\x00\x00\x00\x00\x80?\x00\x00\x00\xc0tbu."
    )


def test_python_2_strings_are_text_or_bytes_as_the_reader_likes() -> None:
    data = pickle_writer.dumps({"labels": [1], "name": "n"}, for_python2=True)
    assert pickle.loads(data, encoding="latin1") == {"labels": [1], "name": "n"}  # noqa: S301  (our own bytes)
    assert pickle.loads(data, encoding="bytes") == {b"labels": [1], b"name": b"n"}  # noqa: S301  (our own bytes)


@pytest.mark.parametrize("value", [None, 1.5, True, {1}, object(), np.array([None]), np.zeros(1, "V4"), b"x"])
def test_other_types_are_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="not written"):
        pickle_writer.dumps([value])


def test_a_program_with_only_pickle_and_numpy_reads_them_without_a_warning(
    tmp_path: Path, python: Callable[..., Any]
) -> None:
    path = tmp_path / "parameters.pkl"
    path.write_bytes(pickle_writer.dumps({"W1": np.arange(6.0).reshape(2, 3)}))
    program = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb'))['W1'].sum())"
    # -I: our package is not on its path.
    ended = python("-I", "-W", "error", "-W", "ignore::ResourceWarning", "-c", program, cwd=tmp_path)
    assert (ended.out, ended.err) == ("15.0\n", "")


@pytest.mark.parametrize(
    ("head", "tail", "unit"),
    [
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**21), b".", "🙂a".encode().ljust(8, b"a")),
        (b"\x80\x02X" + struct.pack("<I", 2**21), b".", "Āa".encode().ljust(8, b"a")),
        (b"(V", b"\nt.", b"\\U0001f642".ljust(16, b"a")),
        (b"(V", b"\nt.", b"\\u0100aa"),
    ],
)
def test_wide_text_takes_little_memory(head: bytes, tail: bytes, unit: bytes) -> None:
    data = head + unit + b"a" * (2**21 - len(unit)) + tail
    told = "more than 1,048,576 bytes of text past Latin-1"
    with allocating_less_than(1.5 * len(data)), pytest.raises(FormatError, match=told):
        pickle_reader.restricted_loads(data, name="a.pkl")


def test_short_wide_text_and_long_narrow_text_are_read() -> None:
    for value in ("お🙂", "é" * 2**21):
        for protocol in range(6):
            assert pickle_reader.restricted_loads(pickle.dumps([value], protocol), name="a.pkl") == [value]
