"""JSON and CSV."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files import atomic, tables

ONE_FOLDER = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_json_keeps_order_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    value = {"z": 1, "a": {"loss": 0.1, "name": "é"}, "list": [1, None, True]}
    tables.write_json(path, value)
    assert path.read_text("utf-8").startswith('{\n  "z": 1,\n  "a": {\n    "loss": 0.1,\n    "name": "é"\n')
    assert path.read_bytes().endswith(b"}\n")
    assert tables.read_json(path) == value
    assert list(tables.read_json(path)) == ["z", "a", "list"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_json_refuses_what_is_not_finite_and_says_where(number: float, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"metrics\.json: test\.loss\[1\] is not a finite number$"):
        tables.write_json(tmp_path / "metrics.json", {"test": {"loss": [0.0, number]}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found nothing"),
        ("<html>", "found an HTML page"),
        ('{"a": ', "line 1 column"),
        ('{"a": NaN}', "it holds NaN"),
        ("[" * 100_000, "recursion"),
        ("[1]", "expected a JSON object, found list"),
        ('{"a": \xff}', "line 1"),
    ],
)
def test_bad_json_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "file", text)
    with pytest.raises(FormatError, match=reason) as caught:
        tables.read_json(tmp_path / "file")
    assert "\n" not in str(caught.value)


@ONE_FOLDER
@given(st.lists(st.tuples(st.floats(), st.text(st.characters(codec="utf-8")), st.integers())))
def test_csv_round_trips(tmp_path: Path, rows: list[tuple[float, str, int]]) -> None:
    tables.write_csv(tmp_path / "file", ["number", "text", "count"], rows)
    found = tables.read_csv(tmp_path / "file")
    assert [row["text"] for row in found] == [text for _, text, _ in rows]
    assert [int(row["count"]) for row in found] == [count for _, _, count in rows]
    for row, (number, _, _) in zip(found, rows, strict=True):
        assert np.array_equal(float(row["number"]), number, equal_nan=True)


def test_csv_with_one_column_keeps_empty_fields(tmp_path: Path) -> None:
    tables.write_csv(tmp_path / "file", ["a"], [[None], ["x"], [""]])
    assert tables.read_csv(tmp_path / "file") == [{"a": ""}, {"a": "x"}, {"a": ""}]


def test_csv_writes_numpy_numbers_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    tables.write_csv(
        path, ["a", "b"], [[np.float64(0.1), np.int64(3)], [None, True], [np.float32(0.5), "x,y"]]
    )
    assert path.read_bytes() == b'a,b\n0.1,3\n,True\n0.5,"x,y"\n'


def test_csv_rows_have_the_header_s_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row of 1 values under 2 columns"):
        tables.write_csv(tmp_path / "file", ["a", "b"], [[1]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"a,a\n", "a column twice"),
        (b"a,b\n1\n", "row 2 has 1 values under 2 columns"),
        (b"a\n\xff\n", "utf-8"),
        (b'a\n"1', "unexpected end"),
        (b"a\n" + b"x" * 200_000, "field larger"),
    ],
)
def test_bad_csv_is_one_line(data: bytes, reason: str, tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", data)
    with pytest.raises(FormatError, match=reason) as caught:
        tables.read_csv(tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"a,b\n" + b"1,2\n" * 5, b"a,b\n" + b'"1\n",2\n' * 5])
def test_a_table_has_a_limited_number_of_fields(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A row of two characters takes a hundred times as much in memory.
    atomic.write_bytes(tmp_path / "file", data)
    assert len(tables.read_csv(tmp_path / "file")) == 5
    monkeypatch.setattr(tables, "MAXIMUM_FIELDS", 14)
    with pytest.raises(FormatError, match="a table of more than 4 rows is not read"):
        tables.read_csv(tmp_path / "file")


def test_a_line_of_a_table_has_a_limited_length(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "file", b"a" + b"," * 2**21)
    with pytest.raises(FormatError, match="not a CSV table: a line of 1,048,576 characters and more"):
        tables.read_csv(tmp_path / "file")
