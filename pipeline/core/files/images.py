"""A parsed data set: two .npy files per part, mapped into memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pipeline.core.errors import FormatError
from pipeline.core.files import contracts
from pipeline.core.files.arrays import map_npy

Array = np.ndarray[Any, Any]
Part = Literal["train", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "test")


@dataclass(frozen=True)
class LabelledImages:
    """One part of a data set.

    Attributes:
        images: uint8 (count, height, width, channels), memory-mapped and read-only.
        labels: uint8 (count,), likewise.
    """

    images: Array
    labels: Array

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise FormatError(
                f"images {self.images.shape} and labels {self.labels.shape} do not belong together"
            )
        if self.images.dtype != np.uint8 or self.labels.dtype != np.uint8:
            raise FormatError(f"images are {self.images.dtype}, labels {self.labels.dtype}; expected uint8")

    def __len__(self) -> int:
        return len(self.labels)


def images_path(folder: Path, part: Part) -> Path:
    """Where the images of `part` are, below a parsed data set's folder."""
    return folder / part / "images.npy"


def labels_path(folder: Path, part: Part) -> Path:
    """Where the labels of `part` are, below a parsed data set's folder."""
    return folder / part / "labels.npy"


def load(
    folder: Path, part: Part, image_shape: Sequence[int] | None = None, classes: int | None = None
) -> LabelledImages:
    """One part of a parsed data set; of one without a test set, the training set for both.

    The split has then taken the test part from the training set.

    Args:
        folder: of the data set.
        part: which.
        image_shape: height, width and channels that its definition gives; None for any.
        classes: how many its definition names; None for any number.

    Raises:
        PipelineError: a file is missing or cannot be read.
        FormatError: the files are not what a parser writes, or do not fit the definition.
    """
    images = map_npy(images_path(folder, part))
    labels = map_npy(labels_path(folder, part))
    try:
        found = LabelledImages(images, labels)
    except FormatError as error:
        raise FormatError(f"{folder / part}: {error}") from None
    rules = contracts.parsed_rules(image_shape, classes)
    remedy = (
        f"correct conf/dataset/{folder.name}.yaml, or parse it again: dvc repro --force --single-item"
        f" parse@{folder.name}"
    )
    contracts.check({"images": images, "labels": labels}, rules, folder / part, remedy)
    if part == "test" and not len(found):
        return load(folder, "train", image_shape, classes)
    return found
