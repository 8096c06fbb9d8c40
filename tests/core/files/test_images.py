import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files import arrays
from pipeline.core.files.images import images_path, labels_path, load

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (np.zeros((3, 4, 4, 1), "u1"), np.zeros(2, "u1"), "do not belong together"),
        (np.zeros((3, 4, 4), "u1"), np.zeros(3, "u1"), "do not belong together"),
        (np.zeros((3, 4, 4, 1), "f4"), np.zeros(3, "u1"), "images are float32"),
        (np.zeros((3, 4, 4, 1), "u1"), np.zeros(3, "i8"), "labels int64"),
    ],
)
def test_files_that_no_parser_wrote_are_not_loaded(
    images: Array, labels: Array, reason: str, tmp_path: Path
) -> None:
    for path, array in (
        (images_path(tmp_path, "train"), images),
        (labels_path(tmp_path, "train"), labels),
    ):
        with arrays.atomic_npy(path, array.shape, array.dtype) as writer:
            writer.write_rows(0, array)
    with pytest.raises(FormatError, match=rf"^{re.escape(str(tmp_path / 'train'))}: .*{reason}"):
        load(tmp_path, "train")


def test_a_part_that_was_not_parsed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^cannot read .*train/images\.npy: No such file or directory$"):
        load(tmp_path, "train")
