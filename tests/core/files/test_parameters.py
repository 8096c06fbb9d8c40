"""Parameter pickles: those of this project and of others, and what is none."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import FormatError
from pipeline.core.files import pickle_writer
from pipeline.core.files.parameters import read_parameters, write_parameters
from tests.shared import allocating_less_than

Array = np.ndarray[Any, Any]


def parameters(dtype: str = "f8") -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "W1": random.normal(size=(4, 3)).astype(dtype),
        "b1": random.normal(size=3).astype(dtype),
        "W2": random.normal(size=(3, 2)).astype(dtype),
        "b2": random.normal(size=2).astype(dtype),
    }


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_parameters_round_trip(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    written = parameters(dtype)
    write_parameters(path, written)
    found = read_parameters(path)
    assert list(found) == ["W1", "b1", "W2", "b2"]
    for name, array in written.items():
        assert found[name].dtype == dtype
        assert np.array_equal(found[name], array)
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable


def test_the_bytes_of_parameters_depend_on_their_values_alone(tmp_path: Path) -> None:
    # As views into one vector, and as arrays in another order of memory and of names.
    flat = np.concatenate([array.reshape(-1) for array in parameters().values()])
    views, start = {}, 0
    for name, array in parameters().items():
        views[name] = flat[start : start + array.size].reshape(array.shape)
        start += array.size
    others = {name: np.asfortranarray(array).astype(">f8") for name, array in reversed(parameters().items())}
    write_parameters(tmp_path / "views", views)
    write_parameters(tmp_path / "others", others)
    assert (tmp_path / "views").read_bytes() == (tmp_path / "others").read_bytes()


@pytest.mark.parametrize("protocol", range(6))
def test_parameters_of_other_programs(protocol: int, tmp_path: Path) -> None:
    expected = parameters("f4")
    theirs = {
        "b2": expected["b2"].reshape(1, 2).astype(">f4"),
        "w2": np.asfortranarray(expected["W2"]),
        "b1": expected["b1"],
        "W1": expected["W1"],
    }
    (tmp_path / "file").write_bytes(pickle.dumps(theirs, protocol))
    found = read_parameters(tmp_path / "file")
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.dtype(np.float32)
        assert found[name].dtype.isnative
        assert found[name].flags.c_contiguous
        assert np.array_equal(found[name], array)


def _changed(**changes: object) -> dict[str, object]:
    value: dict[str, object] = {**parameters(), **changes}
    return {name: array for name, array in value.items() if array is not None}


NAN = np.full((4, 3), np.nan)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "found a list of 2"),
        (np.zeros((2, 3)), r"found an array of shape \(2, 3\)"),
        ({}, "found a dict of 0"),
        (_changed(W3=np.zeros((2, 2))), "found W1, b1, W2, b2, W3"),
        (_changed(W2=None, b2=None, W3=np.zeros((3, 2)), b3=np.zeros(2)), "found W1, b1, W3, b3: no W2"),
        (_changed(b2=None), "found W1, b1, W2"),
        (_changed(W1=None, b1=None), "found W2, b2: no W1"),
        (_changed(weights=np.zeros(2)), "found the key weights"),
        (_changed(W01=np.zeros(2)), "found the key W01"),
        (_changed(w1=np.zeros((4, 3))), "found W1 twice"),
        (_changed(W1=[[1.0]]), "W1: expected an array, found a list of 1"),
        (_changed(W1=1.0), "W1: expected an array, found a float"),
        (_changed(W1=np.zeros((4, 3), int)), "W1: expected float32 or float64, found int64"),
        (_changed(W1=np.zeros((4, 3), np.float16)), "W1: expected float32 or float64, found float16"),
        (_changed(W1=np.zeros(3)), r"W1: expected \(inputs, outputs\), found shape \(3,\)"),
        (_changed(W1=np.zeros((0, 3))), r"W1: expected \(inputs, outputs\), found shape \(0, 3\)"),
        (_changed(W1=NAN), "W1: 12 of 12 numbers are NaN or infinite"),
        (_changed(b1=np.array([0.0, np.inf, 0.0])), "b1: 1 of 3 numbers are NaN or infinite"),
        (_changed(b1=np.zeros(4)), r"b1: expected shape \(3,\), found \(4,\)"),
        (_changed(b1=np.zeros((3, 1))), r"b1: expected shape \(3,\), found \(3, 1\)"),
        (
            _changed(W2=np.zeros((4, 2))),
            r"W2: expected 3 inputs, the outputs of the layer before, found shape \(4, 2\)",
        ),
    ],
)
def test_what_is_no_parameters_is_told_in_one_line(value: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))}: .*{reason}") as caught:
        read_parameters(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3))},
        {"b1": np.zeros((3, 1)), "b2": np.zeros((2, 1))},
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3)), "b1": np.zeros((3, 1)), "b2": np.zeros((2, 1))},
        {"W1": np.zeros((3, 4)), "W2": np.zeros((2, 3)), "b1": np.zeros((1, 3)), "b2": np.zeros((1, 2))},
        {"W1": np.zeros((2, 4)), "b1": np.zeros(2), "W2": None, "b2": None},
    ],
)
def test_parameters_that_would_fit_transposed_are_told_to_be(
    changes: dict[str, Array | None], tmp_path: Path
) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(_changed(**changes)))
    with pytest.raises(FormatError, match=r"; transposed\? W is \(inputs, outputs\), b is \(outputs,\)$"):
        read_parameters(path)


def test_parameters_that_fit_neither_way_are_not_told_to_be_transposed(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(_changed(W1=np.zeros((3, 5)))))
    with pytest.raises(FormatError, match=r"expected shape \(5,\), found \(3,\)$"):
        read_parameters(path)


def test_parameters_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="W1: 12 of 12 numbers are NaN"):
        write_parameters(tmp_path / "file", {**parameters(), "W1": NAN})
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_pickle_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'touch flag'\ntR.")
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))}: .*posix\.system.*nothing was run$"):
        read_parameters(path)


def test_one_array_under_thousands_of_names_is_not_copied_thousands_of_times(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    matrix, bias = np.zeros((60, 60)), np.zeros(60)
    names = range(1, 2001)
    bomb = {f"W{name}": matrix for name in names} | {f"b{name}": bias for name in names}
    path.write_bytes(pickle.dumps(bomb))
    assert path.stat().st_size < 150_000
    told = "one array under many names: 58,560,000 bytes in a file of"
    with allocating_less_than(2_000_000), pytest.raises(FormatError, match=told):
        read_parameters(path)


def test_a_shared_bias_is_no_bomb(tmp_path: Path) -> None:
    bias = np.zeros(3)
    value = {"W1": np.ones((2, 3)), "b1": bias, "W2": np.ones((3, 3)), "b2": bias}
    (tmp_path / "file").write_bytes(pickle.dumps(value))
    found = read_parameters(tmp_path / "file")
    found["b1"][0] = 1.0
    assert found["b2"].tolist() == [0.0, 0.0, 0.0]


def test_a_pickle_of_python_lists_in_place_of_arrays_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "parameters.pkl"
    path.write_bytes(pickle_writer.dumps({"W1": [1] * 200_000}))
    with pytest.raises(FormatError, match="more than 100,000 opcodes"):
        read_parameters(path)
