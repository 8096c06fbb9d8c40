"""What a revision says of an experiment, read through DVC's file system (here the disk's)."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # it ships no types

from pipeline.core.errors import FormatError
from pipeline.core.files.tables import read_csv, write_json
from pipeline.core.paths import Layout
from pipeline.report.changes import Side
from pipeline.repro.revisions import WORKSPACE, Revision


@pytest.fixture
def revision(evaluated: Layout, tmp_path: Path) -> Revision:
    files: Any = LocalFileSystem()
    return Revision(Side(WORKSPACE, None), files, PurePosixPath(evaluated.root), tmp_path / "copies")


def test_the_figures_of_the_parts(evaluated: Layout, revision: Revision) -> None:
    results = evaluated.results("tiny")
    last = read_csv(results.history)[-1]
    figures = revision.version("tiny").metrics
    for part in ("train", "valid"):
        expected = {name: float(last[f"{part}_{name}"]) for name in ("accuracy", "loss")}
        assert figures[part] == expected
    # As versions before per_part.csv had them.
    results.per_part.unlink()
    write_json(results.metrics, {"source": "bundled", **figures})
    assert revision.version("tiny").metrics == figures


def test_a_table_of_parts_that_is_damaged(evaluated: Layout, revision: Revision) -> None:
    evaluated.results("tiny").per_part.write_text("part,accuracy\ntrain,0.5\n")
    with pytest.raises(FormatError, match=r"per_part\.csv of workspace: not a table of the parts: 'loss'"):
        revision.version("tiny")
