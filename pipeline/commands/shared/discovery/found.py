"""What discovery gives: a data set as it was found, and how names tell its parts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

EXPECTED: Final = (
    "idx files, an .npz, a .csv, Parquet files, a CIFAR or STL-10 archive, or pictures in a folder for each"
    " class (CLASS/*.png, or train/CLASS/*.png and test/CLASS/*.png) or with a .csv of their names and labels"
)
TEST: Final = re.compile(r"(^|[^a-z])(test(ing)?|t10k|val(id(ation)?)?)([^a-z]|$)", re.IGNORECASE)
TRAIN: Final = re.compile(r"(^|[^a-z])train(ing)?([^a-z]|$)", re.IGNORECASE)
VALIDATION: Final = re.compile(r"(^|[^a-z])val(id(ation)?)?([^a-z]|$)", re.IGNORECASE)
LABEL_NAMES: Final = re.compile(r"label|class|target|digit|^y$", re.IGNORECASE)
"""Of a table's column."""


@dataclass(frozen=True)
class Found:
    """A data set as it was found.

    Attributes:
        format: a key of `pipeline.data.datasets.FORMATS`.
        files: role -> the files that are read one after the other, or the folder that is to be packed.
        image_shape: height, width, channels.
        classes: their names, in the order of the labels; empty where the format itself says which.
        reading: what differs from the format's usual way, as `Reading` has it.
        has_test: whether there is a test set.
        notes: what else is worth telling, a line each.
    """

    format: str
    files: Mapping[str, Sequence[Path]]
    image_shape: tuple[int, int, int]
    classes: list[str]
    reading: dict[str, Any] = field(default_factory=dict)
    has_test: bool = True
    notes: list[str] = field(default_factory=list)
