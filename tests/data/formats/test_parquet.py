"""Parquet as the Hugging Face hub has it; hostile ones."""

import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.formats.layouts import parse, refusal

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 4, 3), np.uint8)
LABELS = [0, 1, 2, 2, 1, 0]
SHAPE = (4, 3, 1)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = refusal("parquet", {"train": tmp_path / "f"}, SHAPE, counts=(6, 0))
    assert said == "format=parquet: needs the extra parquet: pip install 'pipeline[parquet]' (pyarrow)"


def picture(levels: Any) -> bytes:  # noqa: ANN401  (an array)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def write(path: Path, **columns: Any) -> dict[str, Path]:  # noqa: ANN401  (what pyarrow takes)
    pa = pytest.importorskip("pyarrow", reason="the extra parquet (pyarrow) is not installed")
    from pyarrow import parquet

    given = {"image": [{"bytes": picture(image), "path": "x.png"} for image in IMAGES], "label": LABELS}
    table = {name: column for name, column in (given | columns).items() if column is not None}
    parquet.write_table(pa.table(table), path / "train.parquet", row_group_size=4)
    return {"train": path / "train.parquet"}


@pytest.mark.service
@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({}, {}),
        ({"image": [picture(image) for image in IMAGES]}, {}),
        ({"label": ["abc"[label] for label in LABELS]}, {}),
        ({"label": None, "fine label": LABELS}, {"columns": {"label": "fine label"}}),
        ({"label": [label + 7 for label in LABELS]}, {"first_label": 7}),
    ],
)
def test_what_the_hub_has(columns: dict[str, Any], options: dict[str, Any], tmp_path: Path) -> None:
    images, labels, *_ = parse("parquet", write(tmp_path, **columns), SHAPE, counts=(6, 0), **options)
    assert np.array_equal(images[..., 0], IMAGES)
    assert labels.tolist() == LABELS


@pytest.mark.service
@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"label": None}, "expected the columns image, label, found image (reading.columns names them)"),
        ({"label": [0.5] * 6}, "expected labels as integers or text, found float in row 0"),
        ({"label": [0, None, 0, 0, 0, 0]}, "expected labels as integers or text, found NoneType in row 1"),
        ({"label": [0, 1, 2, 3, 0, 0]}, "expected labels from 0 to 2, found 3 in row 3"),
        ({"image": [b"<html>"] * 6}, "row 0: expected an image (PNG"),
        ({"image": ["x.png"] * 6}, "row 0: expected a picture's bytes, found str"),
        (
            {"image": [{"bytes": None, "path": "x.png"}] * 6},
            "a picture's bytes, found NoneType",
        ),
    ],
)
def test_a_table_that_is_not_as_expected(columns: dict[str, Any], reason: str, tmp_path: Path) -> None:
    assert reason in refusal("parquet", write(tmp_path, **columns), SHAPE, counts=(6, 0))


@pytest.mark.service
def test_a_large_picture_in_every_row_takes_the_memory_of_a_few(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra parquet (pyarrow) is not installed")
    rows, large = 96, picture(IMAGES[0]) + bytes(1_000_000)
    files = write(tmp_path, image=[large] * rows, label=[row % 3 for row in range(rows)])
    assert files["train"].stat().st_size < 10_000_000
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        images, *_ = parse("parquet", files, SHAPE, counts=(rows, 0))
        peak = tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert np.array_equal(images[-1, ..., 0], IMAGES[0])
    assert peak < 40_000_000


@pytest.mark.service
def test_damage_is_one_line(tmp_path: Path) -> None:
    files = write(tmp_path)
    good = files["train"].read_bytes()
    for data, reason in (
        (b"<html>", "expected Parquet, found an HTML page"),
        (b"", "expected Parquet, found nothing"),
        (good[: len(good) // 2], "damaged Parquet"),
        (good[:-8] + b"\xff\xff\xff\x7fPAR1", "damaged Parquet"),
        (good[:40] + bytes(40) + good[80:], "damaged|expected"),
    ):
        files["train"].write_bytes(data)
        said = refusal("parquet", files, SHAPE, counts=(6, 0))
        assert any(text in said for text in reason.split("|")), said
