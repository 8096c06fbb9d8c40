"""What a format's reader is asked for and what it gives: images and labels, some rows at a time."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pipeline.config.schema import Reading
from pipeline.core.errors import FormatError
from pipeline.core.files.images import Part

Array: TypeAlias = np.ndarray[Any, Any]
Member: TypeAlias = tuple[Path, str | None]
"""A file, and which of its members where it is an archive."""

BATCH_BYTES = 1 << 18
"""About how much of the images is read at a time."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a part.

    Attributes:
        images: numbers from 0 to the definition's `white`, (rows, height, width, channels), the axes in the
            file's own order; the reader may use their memory again for the next batch.
        labels: integers or text (rows,), as they are in the file.
        images_place: the images' file, for messages.
        labels_place: the labels' file, for messages.
        first: the first row's place in the labels' file.
        at: where each row belongs in the part, where that is not behind the one before; int64 (rows,).
    """

    images: Array
    labels: Array
    images_place: Path
    labels_place: Path
    first: int = 0
    at: Array | None = None


@dataclass(frozen=True)
class Request:
    """What is wanted of a data set's files.

    Attributes:
        files: by role; several are read one after the other.
        part: training or test set.
        shape: height, width and channels of an image as it is in the files.
        reading: how they are read.
        count: how many images the files should have; None for any number.
        classes: names, in the order of the labels.
    """

    files: Mapping[str, Sequence[Path]]
    part: Part
    shape: tuple[int, int, int]
    reading: Reading
    count: int | None
    classes: Sequence[str]

    def places(self, role: str) -> list[Member]:
        """What plays a role: files, or members of files."""
        members = self.reading.members.get(role)
        if members is None:
            return [(path, None) for path in self.files.get(role, ())]
        names = members if isinstance(members, list) else [members]
        paths = self.files.get(role) or self.files["archive"]
        return [(path, name) for path in paths for name in names]

    def pairs(self) -> list[tuple[Member, Member]]:
        """The files of images and of labels that belong together.

        Raises:
            FormatError: there are not as many of the ones as of the others.
        """
        images, labels = self.places(f"{self.part}_images"), self.places(f"{self.part}_labels")
        if len(images) != len(labels):
            raise FormatError(
                f"{self.part}_labels: expected as many files as for {self.part}_images, {len(images)}, found"
                f" {len(labels)}"
            )
        return list(zip(images, labels, strict=True))

    @property
    def rows_at_a_time(self) -> int:
        """How many images make a batch."""
        height, width, channels = self.shape
        return max(1, BATCH_BYTES // (height * width * channels))


Reader: TypeAlias = Callable[[Request], Generator[Batch, None, None]]
"""Reads a part, batch by batch, in bounded memory.

Raises FormatError for files that are not as expected, PipelineError for files that cannot be read.
"""


def check_images(
    dtype: np.dtype[Any], shape: tuple[int, ...], place: Path, image_shape: tuple[int, int, int]
) -> None:
    """See that an array holds images of that shape, with or without an axis for a single channel.

    Raises:
        FormatError: it does not.
    """
    # Grey images usually have no axis for their one channel.
    shapes = [image_shape] + [image_shape[:2]] * (image_shape[2] == 1)
    if dtype.kind not in "uf" or shape[1:] not in shapes:
        axes = ", ".join(map(str, shapes[-1]))
        raise FormatError(f"{place}: expected images as uint8 (count, {axes}), found {dtype} {shape}")


def check_labels(
    dtype: np.dtype[Any], shape: tuple[int, ...], place: Path, column: int | None
) -> Callable[[Array], Array]:
    """What takes the labels out of an array: all of it, or a column.

    Raises:
        FormatError: it holds no labels, or several and no column is named.
    """
    if dtype.kind in "iu" and column is None and shape[1:] in ((), (1,)):
        return lambda array: array.reshape(len(array))
    if dtype.kind in "iu" and column is not None and len(shape) == 2 and -shape[1] <= column < shape[1]:
        return lambda array: array[:, column]
    expected = "(count,)" if column is None else f"(count, columns) with a column {column}"
    hint = "; reading.label_column may name one" if column is None and len(shape) == 2 else ""
    raise FormatError(f"{place}: expected labels as integers {expected}, found {dtype} {shape}{hint}")
