"""Data sets of any format, as a definition describes them, and what becomes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import File, Reading, Source
from pipeline.core.errors import PipelineError
from pipeline.core.files.arrays import map_npy
from pipeline.core.files.images import PARTS, images_path, labels_path
from pipeline.data import datasets

Array = np.ndarray[Any, Any]
Files = Mapping[str, Path | Sequence[Path]]


def listed(files: Files) -> dict[str, list[Path]]:
    return {role: [path] if isinstance(path, Path) else list(path) for role, path in files.items()}


def parse(
    name: str,
    files: Files,
    shape: tuple[int, int, int],
    classes: Sequence[str] = ("a", "b", "c"),
    counts: tuple[int | None, int | None] = (None, None),
    **reading: Any,  # noqa: ANN401  (the schema's own)
) -> tuple[Array, Array, Array, Array]:
    """Training images and labels, test images and labels, as they are parsed beside the files."""
    paths = listed(files)
    source = Source(
        title="t",
        classes=list(classes),
        train_count=counts[0],
        test_count=counts[1],
        files={
            role: [File(f"{role}-{index}", sha256="0" * 64) for index, _ in enumerate(some)]
            for role, some in paths.items()
        },
        packaged=True,
        reading=Reading(**reading) if reading else None,
    )
    folder = next(iter(paths.values()))[0].parent / "parsed"
    found = datasets.parse(name, paths, folder, shape, source)
    one, two, three, four = (
        map_npy(place(folder, part)) for part in PARTS for place in (images_path, labels_path)
    )
    assert found == {"train": len(one), "test": len(three)}
    return one, two, three, four


def refusal(name: str, files: Files, *arguments: Any, **options: Any) -> str:  # noqa: ANN401  (parse's)
    """The one line that says why a data set is not as its definition says; nothing of the part is left."""
    with pytest.raises(PipelineError) as caught:
        parse(name, files, *arguments, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    folder = next(iter(listed(files).values()))[0].parent / "parsed"
    assert not [path for path in folder.rglob("*") if path.suffix == ".tmp"]
    return said
