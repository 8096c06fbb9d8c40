"""How two files differ: the place, what stood there, and by how much."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.repro.difference import (
    Difference,
    array_difference,
    byte_difference,
    folder_difference,
    json_difference,
    table_difference,
    text_difference,
)


def test_the_largest_difference_of_arrays() -> None:
    old = {"W1": np.zeros((2, 3), np.float32), "b1": np.ones(2, np.float32)}
    new = {"W1": old["W1"].copy(), "b1": old["b1"].copy()}
    assert array_difference(old, new) is None
    new["W1"][1, 2], new["W1"][0, 1], new["b1"][1] = 0.5, 0.25, 1.125
    difference = array_difference(old, new)
    assert difference == Difference("W1[1, 2]", "0.0", "0.5", 0.5, 3, 8, "numbers")
    assert str(difference) == (
        "W1[1, 2]: committed 0.0, found 0.5, the largest difference: 0.5; 3 of 8 numbers differ"
    )


@pytest.mark.parametrize(
    ("old", "new", "largest"),
    [
        (0.0, -0.0, 0.0),
        (1.0, math.nan, math.inf),
        (math.inf, -math.inf, math.inf),
        (math.nan, math.nan, None),
    ],
)
def test_bits_count_in_arrays(old: float, new: float, largest: float | None) -> None:
    difference = array_difference({"a": np.array([old])}, {"a": np.array([new])})
    assert (difference.largest if difference else None) == largest


@pytest.mark.parametrize(
    ("new", "found"),
    [({}, "nothing"), ({"a": np.zeros(4)}, "float64 (4,)"), ({"a": np.zeros(3, np.float32)}, "float32 (3,)")],
)
def test_arrays_of_another_kind(new: dict[str, Any], found: str) -> None:
    difference = array_difference({"a": np.zeros(3)}, new)
    assert difference == Difference("a", "float64 (3,)", found, None, 1, 1, "arrays")


@given(st.data())
def test_one_changed_number_is_found(data: st.DataObject) -> None:
    shapes = arrays.array_shapes(max_dims=3, max_side=5)
    old = data.draw(arrays.arrays(np.int16, shapes))
    place = tuple(data.draw(st.integers(0, length - 1)) for length in old.shape)
    new = old.copy()
    new[place] ^= 1
    difference = array_difference({"a": old}, {"a": new})
    assert difference is not None
    assert difference.place == f"a[{', '.join(map(str, place))}]"
    assert (difference.largest, difference.count, difference.total) == (1.0, 1, old.size)


def test_the_key_of_json() -> None:
    old = {"test": {"accuracy": 0.5, "loss": 1.0}, "names": ["a", "b"], "none": None, "empty": {}}
    assert json_difference(old, dict(old)) is None
    new = {**old, "test": {"accuracy": 0.75, "loss": 1.5}}
    assert str(json_difference(old, new)) == (
        "test.loss: committed 1.0, found 1.5, the largest difference: 0.5; 2 of 6 values differ"
    )
    # What is no number counts for more.
    new["names"] = ["a", "c"]
    assert str(json_difference(old, new)) == ("names[1]: committed 'b', found 'c'; 3 of 6 values differ")
    del new["none"]
    assert "names[1]" in str(json_difference(old, new))
    assert str(json_difference({"a": 1}, {})) == ("a: committed 1, found nothing; 1 of 1 values differ")
    assert str(json_difference({"a": True}, {"a": 1})) == ("a: committed True, found 1; 1 of 1 values differ")


def test_the_row_of_a_table() -> None:
    old = [{"epoch": "0", "loss": "2.5"}, {"epoch": "1", "loss": "1.5"}]
    assert table_difference(old, [dict(row) for row in old]) is None
    new = [old[0], {"epoch": "1", "loss": "1.25"}]
    assert str(table_difference(old, new)) == (
        "row 2, loss: committed 1.5, found 1.25, the largest difference: 0.25; 1 of 4 values differ"
    )
    assert str(table_difference(old, old[:1])) == (
        "row 2, epoch: committed 1.0, found nothing; 2 of 4 values differ"
    )


def test_the_line_of_a_text() -> None:
    assert text_difference("a\nb\n", "a\nb\n") is None
    assert str(text_difference("a\nb\nc\n", "a\nx\n")) == (
        r"line 2: committed 'b\n', found 'x\n'; 2 of 3 lines differ"
    )
    assert str(text_difference("a\n", "a")) == r"line 1: committed 'a\n', found 'a'; 1 of 1 lines differ"


def test_the_byte_of_a_file() -> None:
    assert byte_difference(b"abc", b"abc") is None
    assert str(byte_difference(b"abc", b"aXcd")) == (
        "byte 2: committed 0x62, found 0x58; 2 of 4 bytes differ"
    )
    assert str(byte_difference(b"", b"a")) == "byte 1: committed its end, found 0x61; 1 of 1 bytes differ"


def test_the_file_of_a_folder() -> None:
    assert folder_difference({"a": "1"}, {"a": "1"}) is None
    assert str(folder_difference({"a": "1", "b": "2"}, {"a": "1", "c": "3"})) == (
        "b: committed md5 2, found nothing; 2 of 3 files differ"
    )
