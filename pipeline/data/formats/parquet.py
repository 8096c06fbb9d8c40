"""Apache Parquet as the Hugging Face hub has it: a column of pictures, {bytes, path}, and one of labels.

Needs the extra ``parquet``. Pictures are fitted to the data set's size as those in folders are.
"""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files.atomic import reading
from pipeline.data import pictures
from pipeline.data.formats.examples import Batch, Request
from pipeline.data.formats.folder import fitted

_ROWS = 8  # a table may have one large picture once and name it in each row: what is read repeats it
_MAGIC = b"PAR1"


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from files with the role of the part's name.

    Yields:
        Batches whose images are uint8 (rows, height, width, channels), and whose labels are integers or text.

    Raises:
        ConfigError: pyarrow is not installed.
        FormatError: a file is no Parquet, damaged, or has no such columns.
        PipelineError: a file is missing or cannot be read.
    """
    try:
        import pyarrow as pa  # noqa: F401  (whether it is there)
    except ImportError:
        raise ConfigError(
            "format=parquet: needs the extra parquet: pip install 'pipeline[parquet]' (pyarrow)"
        ) from None
    names = [request.reading.columns.get(name, name) for name in ("image", "label")]
    with pictures.decoder() as decoder:
        for path, _ in request.places(request.part):
            first = 0
            with opened(path) as table:
                known = table.schema_arrow.names
                missing = [name for name in names if name not in known]
                if missing:
                    raise FormatError(
                        f"{path}: expected the columns {', '.join(names)}, found"
                        f" {shorten(', '.join(known))} (reading.columns names them)"
                    )
                for rows in table.iter_batches(_ROWS, columns=names):
                    images, labels = rows.column(names[0]), rows.column(names[1]).to_pylist()
                    levels = np.empty((len(images), *request.shape), np.uint8)
                    for row, image in enumerate(images):
                        place = path / f"row {first + row:,}"
                        decoded = decoder.decode(_bytes(image.as_py(), place), place)
                        background = 255.0 * request.reading.invert
                        levels[row] = fitted(decoded, request.shape, background=background)
                    yield Batch(levels, _labels(labels, path, first), path, path, first)
                    first += len(images)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file's reader, which is pyarrow's; damage that is met in the block is told as FormatError.

    Raises:
        FormatError: the file is no Parquet, or damaged.
        PipelineError: it is missing or cannot be read.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with reading(path) as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(_MAGIC):
        raise FormatError(f"{path}: expected Parquet, found {describe(head)}")
    try:
        with ParquetFile(path) as table:
            yield table
    # What its reader raises of damage, and of system calls.
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: damaged Parquet: {shorten(str(error).strip())}") from None


def _bytes(image: object, place: Path) -> bytes:
    """The file of a picture: alone, or in a mapping."""
    found = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(found, bytes):
        raise FormatError(f"{place}: expected a picture's bytes, found {type(found).__name__}")
    if len(found) > pictures.MAXIMUM_BYTES:
        raise FormatError(f"{place}: expected a picture of at most {pictures.MAXIMUM_BYTES:,} bytes")
    return found


def _labels(labels: list[Any], path: Path, first: int) -> np.ndarray[Any, Any]:
    """Integers, or text."""
    for row, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise FormatError(
                f"{path}: expected labels as integers or text, found {type(label).__name__} in row"
                f" {first + row:,}"
            )
    return np.array(labels)
