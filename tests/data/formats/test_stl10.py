"""STL-10's binary version; archives that are something else."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.layouts import parse, refusal

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
LABELS = np.array([1, 2, 3, 3, 2, 1], np.uint8)
SHAPE = (4, 5, 3)


def archive(folder: Path, mode: str = "w:gz", **changes: bytes | None) -> dict[str, Path]:
    # Planes red, green, blue; in each the first column from top to bottom, then the second.
    pixels = b"".join(image[:, :, channel].tobytes("F") for image in IMAGES for channel in range(3))
    files: dict[str, bytes | None] = {
        "test_X": pixels,
        "test_y": LABELS.tobytes(),
        "train_X": pixels,
        "train_y": LABELS.tobytes(),
        "unlabeled_X": bytes(1000),
        **changes,
    }
    with tarfile.open(folder / "stl10.tar", mode) as tar:
        for name, data in files.items():
            if data is not None:
                entry = tarfile.TarInfo(f"stl10_binary/{name}.bin")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return {"archive": folder / "stl10.tar"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_planes_by_columns_become_images(mode: str, tmp_path: Path) -> None:
    images, labels, test, test_labels = parse(
        "stl10", archive(tmp_path, mode), SHAPE, counts=(6, 6), first_label=1
    )
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(test, IMAGES)
    assert np.array_equal(labels, LABELS - 1)
    assert np.array_equal(test_labels, labels)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"train_X": bytes(359)},
            "expected 360 bytes, 6 images of 4 × 5 × 3 as there are labels",
        ),
        ({"train_y": LABELS.tobytes()[1:]}, "expected 300 bytes, 5 images of 4 × 5 × 3 as there are labels"),
        ({"train_y": bytes(6)}, "train_y.bin: expected labels from 1 to 3, found 0 in row 0"),
        (
            {"train_y": None},
            "expected stl10_binary/train_y.bin in the tar archive, found",
        ),
        ({"test_y": b"", "test_X": b""}, "expected test images, found none"),
    ],
)
def test_an_archive_that_is_not_as_expected(
    changes: dict[str, bytes | None], reason: str, tmp_path: Path
) -> None:
    assert reason in refusal("stl10", archive(tmp_path, **changes), SHAPE, first_label=1)


def test_an_archive_that_is_cut_off_or_none(tmp_path: Path) -> None:
    files = archive(tmp_path, "w")
    data = files["archive"].read_bytes()
    for size in (700, 1000):
        files["archive"].write_bytes(data[:size])
        assert "incomplete" in refusal("stl10", files, SHAPE, first_label=1)
    files["archive"].write_bytes(b"<html>")
    assert "expected a tar archive, found an HTML page" in refusal("stl10", files, SHAPE, first_label=1)
    assert "expected 7 train images, found 6" in refusal(
        "stl10", archive(tmp_path), SHAPE, counts=(7, 6), first_label=1
    )
