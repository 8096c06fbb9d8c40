"""JSON and CSV files."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.core.descriptions import HEAD_BYTES, describe
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.atomic import read_bytes, write_text

MAXIMUM_TEXT_BYTES: Final = 2**28
"""The size past which a text or CSV file is refused unread."""

MAXIMUM_JSON_BYTES: Final = 2**24
"""The same for JSON, which takes thirty times its size in memory."""

MAXIMUM_FIELDS: Final = 2**23
"""How many fields of a CSV table are read, a row counting as one more: about a gigabyte in memory."""
_MAXIMUM_LINE: Final = 2**20  # of a CSV file, in characters
_CSV_SPECIAL: Final = re.compile(r'[,"\r\n]')


# JSON and CSV


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, indented by two spaces, keys in their given order, atomically.

    Raises:
        PipelineError: a number in it is NaN or infinite, which JSON does not have; or the file cannot be
            written.
    """
    try:
        text = json.dumps(dict(value), indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError:
        place = next(_not_finite(value, ""), "a value")
        raise PipelineError(f"cannot write {path}: {place} is not a finite number") from None
    write_text(path, text + "\n")


def _not_finite(value: object, place: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is no JSON object, or holds NaN or Infinity.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_JSON_BYTES)
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        found = str(error) if data.lstrip()[:1] in (b"{", b"[") else f"found {describe(data[:HEAD_BYTES])}"
        raise FormatError(f"{path}: not JSON: {found}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a table with "\n" line ends, atomically.

    Floating-point numbers are written with the fewest digits that read back as the same double; None is an
    empty field.

    Args:
        path: the file to write.
        header: the columns' names.
        rows: as many values each as there are columns.

    Raises:
        PipelineError: the disk is full, the folder read-only and the like.
    """
    lines = [_csv_line(header)]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}: a row of {len(row)} values under {len(header)} columns")
        lines.append(_csv_line(row))
    write_text(path, "".join(lines))


def _csv_line(values: Sequence[object]) -> str:
    """RFC 4180 but for the line end; the standard writer leaves a lone carriage return unquoted."""
    fields = [_csv_field(value) for value in values]
    quoted = ['"' + text.replace('"', '""') + '"' if _CSV_SPECIAL.search(text) else text for text in fields]
    return (",".join(quoted) or '""') + "\n"


def _csv_field(value: object) -> str:
    if isinstance(value, float | np.floating):
        return repr(float(value))  # NumPy's own repr names the type
    return "" if value is None else str(value)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table as text, by column name.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is not UTF-8, has no header, a name twice, a row of another width than the header, or
            more than `MAXIMUM_FIELDS` fields.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_TEXT_BYTES)
    table = csv.reader(_lines(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")), strict=True)
    try:
        header = next(table, None)
        if header is None or len(set(header)) != len(header):
            raise FormatError(f"{path}: not a CSV table: {'a column twice' if header else 'it is empty'}")
        rows = []
        for number, line in enumerate(table, start=2):
            if len(line) != len(header):
                raise FormatError(f"{path}: row {number} has {len(line)} values under {len(header)} columns")
            if (number - 1) * (len(header) + 1) > MAXIMUM_FIELDS:
                raise FormatError(f"{path}: a table of more than {number - 2:,} rows is not read")
            rows.append(dict(zip(header, line, strict=True)))
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: not a CSV table: {error}") from None
    return rows


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_MAXIMUM_LINE):
        if len(line) == _MAXIMUM_LINE:
            raise ValueError(f"a line of {_MAXIMUM_LINE:,} characters and more")
        yield line
