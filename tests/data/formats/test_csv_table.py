"""CSV with an image in each row, as on Kaggle; hostile ones."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.data.formats import csv_table
from tests.data.formats.layouts import Array, parse, refusal
from tests.shared import allocating_less_than

SHAPE = (2, 2, 1)
ROWS = [f"{index % 3},{index},0,{255 - index},7" for index in range(6)]
NAMES = "label,pixel0,pixel1,pixel2,pixel3"


def table(folder: Path, lines: list[str], name: str = "train.csv") -> dict[str, Path]:
    (folder / name).write_text("\n".join(lines) + "\n")
    return {"train": folder / name}


def parsed(files: dict[str, Path], **options: Any) -> tuple[Array, Array]:  # noqa: ANN401  (parse's)
    images, labels, test, _ = parse("csv", files, SHAPE, counts=(None, 0), **options)
    assert len(test) == 0
    return images, labels


def as_expected(images: Array, labels: Array) -> bool:
    rows = np.array([[int(field) for field in row.split(",")] for row in ROWS])
    return np.array_equal(images.reshape(6, 4), rows[:, 1:]) and np.array_equal(labels, rows[:, 0])


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(ROWS),
        "\n".join([NAMES, *ROWS]) + "\n",
        "\r\n".join([NAMES, *ROWS, "", ""]),
        "\ufeff" + "\n".join([NAMES, *ROWS]),
        "\n".join([NAMES, *ROWS]).replace("7\n", '"7"\n'),
        "\n".join(row.replace(",", ".0,", 1) for row in ROWS),
        "\n".join(row.replace(",", ", ") for row in ROWS),
        "\n".join(row.replace("255", "255.0") for row in ROWS),
    ],
    ids=["plain", "header", "windows", "mark", "quotes", "label-7.0", "blanks", "floats"],
)
def test_tables_as_programs_write_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert as_expected(*parsed({"train": tmp_path / "t.csv"}))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    images=npst.arrays(np.uint8, st.tuples(st.integers(3, 9), st.just(2), st.just(1), st.just(3))),
    is_last=st.booleans(),
    has_names=st.booleans(),
    packed=st.sampled_from(["", "gz", "zip"]),
    rows=st.integers(1, 4),
)
def test_what_is_written_is_read(
    tmp_path: Path,
    images: Array,
    is_last: bool,  # noqa: FBT001  (drawn)
    has_names: bool,  # noqa: FBT001  (drawn)
    packed: str,
    rows: int,
) -> None:
    labels = np.arange(len(images)) % 3
    lines = [",".join(map(str, image.reshape(-1))) for image in images]
    lines = [
        f"{line},{label}" if is_last else f"{label},{line}" for line, label in zip(lines, labels, strict=True)
    ]
    names = [",".join(f"column {number}" for number in range(7))] if has_names else []
    data = "\n".join([*names, *lines]).encode()
    path = tmp_path / "table"
    if packed == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("table.csv", data)
    else:
        path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.data.formats.examples.BATCH_BYTES", rows * 6)
        found, found_labels, _, _ = parse(
            "csv", {"train": path}, (2, 1, 3), counts=(len(images), 0), label_column=-1 if is_last else 0
        )
    assert np.array_equal(found, images)
    assert np.array_equal(found_labels, labels)


def test_a_member_of_an_archive_with_others(tmp_path: Path) -> None:
    # As Kaggle's: the test table there has no labels.
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as archive:
        archive.writestr("train.csv", "\n".join([NAMES, *ROWS]))
        archive.writestr("test.csv", "pixel0\n1")
    files = {"archive": tmp_path / "file.zip"}
    assert as_expected(*parsed(files, members={"train": "train.csv"}))
    said = refusal("csv", files, SHAPE, counts=(None, 0), members={"train": "trian.csv"})
    assert said.endswith("expected trian.csv in the zip archive, found no trian.csv: train.csv, test.csv")
    said = refusal("csv", {"train": tmp_path / "file.zip"}, SHAPE, counts=(None, 0))
    assert "expected one file in the zip archive, found 2 files" in said


def test_several_tables_are_read_one_after_the_other(tmp_path: Path) -> None:
    one = table(tmp_path, [NAMES, *ROWS[:2]], "one")["train"]
    two = table(tmp_path, ROWS[2:], "two")["train"]
    images, labels, _, _ = parse("csv", {"train": [one, two]}, SHAPE, counts=(6, 0))
    assert as_expected(images, labels)


def test_labels_that_are_names(tmp_path: Path) -> None:
    named = [row.replace(row[0], "xyz"[int(row[0])], 1) for row in ROWS]
    for lines in (named, [NAMES, *named]):
        images, labels, _, _ = parse("csv", table(tmp_path, lines), SHAPE, ("x", "y", "z"), counts=(6, 0))
        assert as_expected(images, labels)
    said = refusal("csv", table(tmp_path, [NAMES, "X,0,0,0,0"]), SHAPE, ("x", "yes"), counts=(1, 0))
    assert "expected labels x, yes, found X in row 0" in said


def test_names_that_are_numbers_are_a_header_where_that_is_said(tmp_path: Path) -> None:
    lines = ["0,1,2,3,4", *ROWS]
    assert as_expected(*parsed(table(tmp_path, lines), header=True))
    assert len(parsed(table(tmp_path, lines))[0]) == 7


def test_levels_that_are_not_bytes(tmp_path: Path) -> None:
    lines = ["0,0,1,15,16", "1,8,8,8,8", "2,0,0,0,0"]
    images, _ = parsed(table(tmp_path, lines), white=16)
    assert images[0].reshape(-1).tolist() == [0, 16, 239, 255]  # 15.9375, 239.0625
    lines = ["0,0.0,0.5,1.0,0.25", "1,0,0,0,0", "2,1,1,1,1"]
    assert parsed(table(tmp_path, lines), white=1)[0][0].reshape(-1).tolist() == [0, 128, 255, 64]


def test_labels_left_out_merged_and_turned(tmp_path: Path) -> None:
    lines = [f"{index % 5},{index},1,2,3" for index in range(10)]
    images, labels, _, _ = parse(
        "csv",
        table(tmp_path, lines),
        SHAPE,
        ("even", "odd"),
        counts=(6, 0),
        labels={"0": "even", "4": "even", "1": "odd"},
        transpose=True,
        invert=True,
    )
    assert labels.tolist() == [0, 1, 0, 0, 1, 0]
    assert images[1, ..., 0].tolist() == [[254, 253], [254, 252]]


@pytest.mark.parametrize(
    ("lines", "options", "reason"),
    [
        (
            [row + ",1" for row in ROWS],
            {},
            "5 columns, a label and 2 × 2 × 1 pixels, found 6 in row 0",
        ),
        ([row[2:] for row in ROWS], {}, "found 4 in row 0; are there no labels?"),
        ([row.replace(",", ";") for row in ROWS], {}, "found 1 in row 0; are they set apart by commas?"),
        ([*ROWS, "1,2,3,4"], {}, "found 4 in row 6; are there no labels?"),
        ([*ROWS, "0,1,x,3,4"], {}, "expected 4 pixels as numbers, found 'x' in row 6"),
        ([NAMES, *ROWS, "0,1,,3,4"], {}, "expected 4 pixels as numbers, found '' in row 6"),
        (["q,1,1,3,4", *ROWS], {}, "expected labels a, b, c, found q in row 0"),
        ([*ROWS, "0,1, ,3,4"], {}, "expected 4 pixels as numbers, found ' ' in row 6"),
        ([*ROWS, "0, ,2,3,4", *ROWS], {}, "expected 4 pixels as numbers, found ' ' in row 6"),
        ([*ROWS, "0,1,2,3,\t", *ROWS], {}, "expected 4 pixels as numbers, found '\\t' in row 6"),
        ([*ROWS, "0,1.5,\t,3,4"], {}, "expected 4 pixels as numbers, found '\\t' in row 6"),
        ([*ROWS, '"0"\r,1,2,3,4'], {}, "damaged CSV in row 6: new-line character seen"),
        ([*ROWS, "0,1,256,3,4"], {}, "expected levels from 0 to 255 (reading.white), found 256"),
        ([*ROWS, "0,1,-1,3,4"], {}, "expected levels from 0 to 255 (reading.white), found -1"),
        ([*ROWS, "0,1,nan,3,4"], {}, "expected levels from 0 to 255 (reading.white), found nan"),
        ([*ROWS, "0,1,1e300,3,4"], {}, "expected levels from 0 to 255 (reading.white), found 1e+300"),
        ([*ROWS, "3,1,2,3,4"], {}, "expected labels from 0 to 2, found 3 in row 6"),
        ([*ROWS, "0.5,1,2,3,4"], {}, "expected labels a, b, c, found 0.5 in row 6"),
        ([*ROWS, ",1,2,3,4"], {}, "expected labels a, b, c, found  in row 6"),
        (ROWS, {"header": True}, "expected a header (reading.header), found a row of numbers"),
        ([NAMES, *ROWS], {"header": False}, "expected no header (reading.header), found one: label,pixel0"),
        (ROWS, {"label_column": 2}, "reading.label_column=2: expected 0, the first, or -1, the last"),
        (["<!DOCTYPE html>"], {}, "found 1 in row 0: it is an HTML page"),
        ([NAMES], {}, "expected train images, found none"),
        ([], {}, "expected train images, found none"),
        (["0," + "1" * 10_000_000], {}, "a line is longer than 4,224 bytes; expected 5 numbers"),
        (["\0\0\0"], {}, "expected CSV, found data that begins with the bytes 00 00 00"),
        ([row for row in ROWS if row[0] != "1"], {}, "images of every class, found none of b"),
    ],
)
def test_a_table_that_is_not_as_expected(
    lines: list[str], options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    assert reason in refusal("csv", table(tmp_path, lines), SHAPE, counts=(None, 0), **options)


def test_counts_that_are_not_as_defined(tmp_path: Path) -> None:
    files = table(tmp_path, ROWS)
    assert "expected 5 train images, found more" in refusal("csv", files, SHAPE, counts=(5, 0))
    assert "expected 7 train images, found 6" in refusal("csv", files, SHAPE, counts=(7, 0))
    assert "say test_count: 0" in refusal("csv", files, SHAPE, counts=(6, None))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(gzip.compress(bytes([48]) * 10**8, 1))
    with allocating_less_than(3_000_000):
        assert "a line is longer" in refusal("csv", {"train": tmp_path / "t.csv"}, SHAPE, counts=(None, 0))


def test_bounded_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt", 1) as file:
        file.writelines(f"{index % 3}{',200' * 784}\n" for index in range(3000))
    with allocating_less_than(9_000_000):  # the text has 9,420,000 bytes, as numbers of 8 bytes 18,800,000
        parse("csv", {"train": tmp_path / "t.csv.gz"}, (28, 28, 1), counts=(3000, 0))


def test_the_longest_number_has_room() -> None:
    assert len(repr(-1.7976931348623157e308)) < csv_table._NUMBER_BYTES
