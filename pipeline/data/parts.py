"""From what a format's reader gives to images.npy and labels.npy: levels, orientation, classes, counts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.config.schema import Reading, Source
from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.arrays import atomic_npy
from pipeline.core.files.images import Part, images_path, labels_path
from pipeline.core.registry import did_you_mean
from pipeline.data.formats.examples import Array, Batch

_LEFT_OUT: Final = -1
_UNKNOWN: Final = -2


def write_part(
    batches: Iterator[Batch], folder: Path, part: Part, shape: tuple[int, int, int], source: Source
) -> int:
    """Write images.npy, uint8 (count, height, width, channels), and labels.npy, uint8 (count,), of a part.

    Args:
        batches: what a reader gives.
        folder: of the parsed data set.
        part: which.
        shape: of an image.
        source: says which labels, levels and counts are right.

    Returns:
        How many images there are.

    Raises:
        FormatError: the files are not as the source says.
        PipelineError: a file cannot be read or written.
    """
    coder = LabelCoder(source)
    expected = source.count(part)
    place: Path | str = ", ".join(file.name for file in source.all_files)  # where nothing is read
    with (
        atomic_npy(images_path(folder, part), (None, *shape), np.uint8) as images,
        atomic_npy(labels_path(folder, part), (None,), np.uint8) as labels,
    ):
        for batch in batches:
            place = batch.images_place
            codes = coder.encode(batch.labels, batch.labels_place, batch.first)
            pictures = as_images(batch.images, source.how, place)
            if len(codes) != len(pictures):
                raise FormatError(f"{place}: {len(pictures):,} images but {len(codes):,} labels")
            if batch.at is not None:
                for row, place_in_part in enumerate(batch.at.tolist()):
                    images.write_rows(place_in_part, pictures[row : row + 1])
                    labels.write_rows(place_in_part, codes[row : row + 1].astype(np.uint8))
                continue
            if source.how.labels is not None:
                pictures, codes = pictures[codes != _LEFT_OUT], codes[codes != _LEFT_OUT]
            images.write_rows(images.rows, pictures)
            labels.write_rows(labels.rows, codes.astype(np.uint8))
            if expected is not None and images.rows > expected:
                raise FormatError(f"{place}: expected {expected:,} {part} images, found more")
        if expected not in (None, images.rows):
            raise FormatError(f"{place}: expected {expected:,} {part} images, found {images.rows:,}")
        if not images.rows and (part == "train" or source.has_test):
            raise FormatError(f"{place}: expected {part} images, found none")
        if part == "train":
            coder.check_every_class(place)
        return images.rows


def _number(label: str) -> int | None:
    """The whole number that text stands for, if it does: 7, or 7.0 as some programs write it."""
    whole = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", label)
    return int(whole[1]) if whole else None


class LabelCoder:
    """Turns labels as they are in files into places among the classes."""

    def __init__(self, source: Source) -> None:
        self._classes = source.classes
        self._first = source.how.first_label
        self._labels = source.how.labels
        self._places = {name: place for place, name in enumerate(source.classes)}
        self._counts = np.zeros(len(source.classes), np.int64)

    def encode(self, labels: Array, place: Path | str, first: int = 0) -> Array:
        """The classes' places (rows,), int64; -1 for images to be left out.

        Args:
            labels: integers or text (rows,).
            place: their file, for messages.
            first: the first row's place in the file.

        Raises:
            FormatError: a label is none of the definition's.
        """
        if labels.dtype.kind in "iu" and self._labels is None:
            low, high = self._first, self._first + len(self._classes) - 1
            wrong = np.flatnonzero((labels < low) | (labels > high))
            if len(wrong):
                raise self._out_of_range(labels[wrong[0]], place, first + int(wrong[0]))
            codes = labels.astype(np.int64) - self._first
        else:
            distinct, inverse = np.unique(labels, return_inverse=True)
            table = np.array([self._place(str(label)) for label in distinct], np.int64)
            codes = table[inverse] if len(labels) else np.zeros(0, np.int64)
            wrong = np.flatnonzero(codes < _LEFT_OUT)
            if len(wrong):
                label = str(labels[wrong[0]])
                if _number(label) is not None and self._labels is None:
                    raise self._out_of_range(label, place, first + int(wrong[0]))
                raise FormatError(
                    f"{place}: expected labels {shorten(', '.join(self._classes))}, found {shorten(label)} in"
                    f" row {first + int(wrong[0]):,}{did_you_mean(label, self._classes)}"
                )
        self._counts += np.bincount(codes[codes != _LEFT_OUT], minlength=len(self._counts))
        return codes

    def _out_of_range(self, label: object, place: Path | str, row: int) -> FormatError:
        low, high = self._first, self._first + len(self._classes) - 1
        return FormatError(f"{place}: expected labels from {low} to {high}, found {label} in row {row:,}")

    def _place(self, label: str) -> int:
        """The place of a label's class: text that is a number counts, other text names."""
        number = _number(label)
        if self._labels is not None:
            label = label if label in self._labels or number is None else str(number)
            return self._places[self._labels[label]] if label in self._labels else _LEFT_OUT
        if number is not None:
            return number - self._first if 0 <= number - self._first < len(self._classes) else _UNKNOWN
        return self._places.get(label, _UNKNOWN)

    def check_every_class(self, place: Path | str) -> None:
        """See that every class has had an image.

        Raises:
            FormatError: one has had none.
        """
        empty = [name for name, count in zip(self._classes, self._counts, strict=True) if not count]
        if empty:
            raise FormatError(
                f"{place}: expected training images of every class, found none of"
                f" {shorten(', '.join(empty))}: take it out of `classes`, or add images"
            )


def as_images(images: Array, reading: Reading, place: Path | str) -> Array:
    """Levels of any kind as uint8, upright and white on black.

    Args:
        images: numbers from 0 to `reading.white`, (rows, height, width, channels).
        reading: how they are read.
        place: their file, for messages.

    Raises:
        FormatError: a level is out of range.
    """
    if images.dtype != np.uint8 or reading.white < 255:
        low, high = (images.min(), images.max()) if images.size else (0, 0)
        if not (low >= 0 and high <= reading.white):
            found = high if low >= 0 else low
            raise FormatError(
                f"{place}: expected levels from 0 to {reading.white} (reading.white), found {found}"
            )
    if images.dtype != np.uint8 or reading.white != 255:
        # float32 holds every level, and rint every half the same way.
        images = np.rint(images.astype(np.float32) * np.float32(255 / reading.white)).astype(np.uint8)
    if reading.invert:
        images = 255 - images
    return images.swapaxes(1, 2) if reading.transpose else images
