"""CSV with an image in each row: a label, then the pixels (or the other way round), as on Kaggle.

The pixels of a row are in the order height, width, channels. A file may be plain, gzip or in a zip archive;
whether its first row has names is told by its look. It is read line by line: no line may be much longer than
an image's pixels take.
"""

import csv
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import ConfigError, FormatError
from pipeline.data.formats import zips
from pipeline.data.formats.examples import Array, Batch, Request
from pipeline.data.formats.streams import CHUNK_BYTES, Stream, name_of, open_stream

_NUMBER_BYTES = 32  # the longest that a pixel is written with
_LABEL_BYTES = 4096
_EMPTY_FIELD = re.compile(rb"(?:^|,)\s*(?:,|$)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from files with the role of the part's name.

    Yields:
        Batches whose labels are text, and whose images are numbers (rows, height, width, channels).

    Raises:
        FormatError: a file is no such table, damaged, or its rows are not of the images' shape.
        ConfigError: the label's column is neither the first nor the last.
        PipelineError: a file is missing or cannot be read.
    """
    if request.reading.label_column not in (None, 0, -1):
        raise ConfigError(
            f"reading.label_column={request.reading.label_column}: expected 0, the first, or -1, the last"
        )
    for path, member in request.places(request.part):
        # The only member of a zip archive needs no name.
        inside = "" if member is None and zips.is_zip(path) else member
        with open_stream(path, inside) as stream:
            yield from _Table(name_of(path, member), stream, request).batches()


class _Table:
    def __init__(self, place: Path, stream: Stream, request: Request) -> None:
        self._place = place
        self._stream = stream
        self._shape = request.shape
        self._pixels = int(np.prod(request.shape))
        self._header = request.reading.header
        self._is_last = request.reading.label_column == -1
        self._classes = {*request.classes, *(request.reading.labels or ())}
        self._rows = request.rows_at_a_time

    def batches(self) -> Iterator[Batch]:
        """Every row of the table."""
        batch: list[tuple[bytes, bytes]] = []
        start, number = 0, 0
        for number, line in enumerate(self._lines()):
            label, pixels = self._divided(line, number)
            if number == 0 and self._is_header(label, pixels):
                start = 1
                continue
            batch.append((label, pixels))
            if len(batch) == self._rows:
                yield self._batch(batch, number + 1 - len(batch), start)
                batch = []
        if batch:
            yield self._batch(batch, number + 1 - len(batch), start)

    def _lines(self) -> Iterator[bytes]:
        """The lines that are not empty, without their ends."""
        longest = self._pixels * _NUMBER_BYTES + _LABEL_BYTES
        rest = b""
        is_first = True
        while chunk := self._stream.read(CHUNK_BYTES):
            if is_first:
                chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
                if b"\0" in chunk[:HEAD_BYTES]:
                    raise FormatError(f"{self._place}: expected CSV, found {describe(chunk[:HEAD_BYTES])}")
                is_first = False
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if stripped := line.rstrip(b"\r "):
                    yield stripped
            if len(rest) > longest:
                raise FormatError(
                    f"{self._place}: a line is longer than {longest:,} bytes;"
                    f" expected {self._columns} numbers"
                )
        if stripped := rest.rstrip(b"\r "):
            yield stripped

    @property
    def _columns(self) -> int:
        return 1 + self._pixels

    def _divided(self, line: bytes, number: int) -> tuple[bytes, bytes]:
        """The label and the pixels of a row."""
        if b'"' in line:
            try:
                fields = next(csv.reader([line.decode("utf-8", "replace")]))
            except csv.Error as error:
                raise FormatError(f"{self._place}: damaged CSV in row {number:,}: {error}") from None
            columns = len(fields)
            label = fields.pop(-1 if self._is_last else 0).encode()
            pixels = ",".join(fields).encode()
        else:
            columns = line.count(b",") + 1
            if self._is_last:
                pixels, _, label = line.rpartition(b",")
            else:
                label, _, pixels = line.partition(b",")
        if columns != self._columns:
            height, width, channels = self._shape
            hint = ""
            if number == 0 and line[:1] in b"<{[":
                hint = f": it is {describe(line[:HEAD_BYTES])}"
            elif columns == self._pixels:
                hint = "; are there no labels?"
            elif columns == 1:
                hint = "; are they set apart by commas?"
            raise FormatError(
                f"{self._place}: expected {self._columns} columns,"
                f" a label and {height} × {width} × {channels} pixels,"
                f" found {columns} in row {number:,}{hint}"
            )
        return label.strip(), pixels

    def _is_header(self, label: bytes, pixels: bytes) -> bool:
        """Whether the first row has names.

        Raises:
            FormatError: the definition says that it has, and it has not, or the other way round.
        """
        numbers = self._numbers(pixels)
        text = label.decode("utf-8", "replace")
        # Names may be numbers, as a table without names is written by pandas; but no two are the same.
        distinct = numbers is None or len(np.unique(numbers)) == len(numbers)
        looks_so = numbers is None or (distinct and not is_number(text) and text not in self._classes)
        if self._header is None or self._header == looks_so:
            return looks_so
        if looks_so:
            raise FormatError(
                f"{self._place}: expected no header (reading.header), found one:"
                f" {shorten((label + b',' + pixels).decode('utf-8', 'replace'), 40)}"
            )
        if not distinct:
            raise FormatError(
                f"{self._place}: expected a header (reading.header), found a row of numbers:"
                " say header: false"
            )
        return True

    def _batch(self, batch: list[tuple[bytes, bytes]], first: int, start: int) -> Batch:
        numbers = self._numbers(b",".join(pixels for _, pixels in batch))
        if numbers is None or len(numbers) != len(batch) * self._pixels:
            for row, (_, pixels) in enumerate(batch):
                found = self._numbers(pixels)
                if found is None or len(found) != self._pixels:
                    raise FormatError(
                        f"{self._place}: expected {self._pixels} pixels as numbers, found"
                        f" {shorten(_odd_field(pixels))} in row {first + row - start:,}"
                    )
        images = np.asarray(numbers).reshape(-1, *self._shape)
        low, high = images.min(), images.max()
        if images.dtype.kind == "i" and low >= 0 and high <= 255:
            images = images.astype(np.uint8)
        labels = np.array([label.decode("utf-8", "replace") for label, _ in batch])
        return Batch(images, labels, self._place, self._place, first - start)

    @staticmethod
    def _numbers(text: bytes) -> Array | None:
        """Whole numbers as int64, others as float64; None if some are none."""
        # NumPy takes a field of nothing but white space for any number at all.
        if text.split(maxsplit=1) != [text] and _EMPTY_FIELD.search(text):
            return None
        for kind in (np.int64, np.float64):
            try:
                return np.fromstring(text, kind, sep=",")
            except ValueError:
                continue
        return None


def is_number(text: str) -> bool:
    """Whether text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _odd_field(pixels: bytes) -> str:
    """The first field that is no number, as a message shows it."""
    fields = pixels.decode("utf-8", "replace").split(",")
    return next((repr(field) for field in fields if not is_number(field)), "other numbers")
