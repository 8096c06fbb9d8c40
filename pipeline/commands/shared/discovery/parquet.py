"""Parquet as the Hugging Face hub has it: which files make which part, which columns, and the classes."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from pipeline.commands.shared.discovery.found import LABEL_NAMES, TEST, TRAIN, VALIDATION, Found
from pipeline.commands.shared.discovery.labels import describe_labels, list_classes
from pipeline.commands.shared.discovery.pictures import MOST_OPENED, common_shape
from pipeline.config.schema import Reading
from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.images import PARTS, Part
from pipeline.data.formats import parquet
from pipeline.data.formats.examples import Request

_SHARD: Final = re.compile(r"-(\d{1,9})-of-(\d{1,9})\b")
_ROWS: Final = 8  # pictures may be large
_MORE_ROWS: Final = 10_000  # of labels alone


def describe_parquet(place: Path, paths: Sequence[Path], shape: tuple[int, int, int] | None) -> Found:
    """Parquet files, one or several for each part.

    Raises:
        ConfigError: pyarrow is not installed.
        FormatError: they are none or damaged, in several folders, lack a shard, or have no such columns.
        PipelineError: a file cannot be read.
    """
    # Asked for no file at all, the reader still says what is not installed.
    list(parquet.read_part(Request({}, "train", (1, 1, 1), Reading(), None, [])))
    notes: list[str] = []
    files = _parts(place, paths, notes)
    first = files["train"][0]
    with parquet.opened(first) as table:
        columns, names = _columns(first, table, notes)
    labels = {part: _labels(files[part], columns["label"]) for part in PARTS if part in files}
    notes += [f"{part} set in {len(some)} files" for part, some in files.items() if len(some) > 1]
    if set(labels.get("test", ())) == {"-1"}:
        notes.append("the test set has no labels (-1), left aside")
        del labels["test"], files["test"]
    if names:
        how, classes = {}, names
        list_classes(first, {"train": names})
    else:
        classes = list_classes(first, labels)
        how = describe_labels(classes, notes)
    renamed = {kind: name for kind, name in columns.items() if kind != name}
    if renamed:
        how = {"columns": renamed, **how}
    shape = shape or common_shape(first, _pictures(files["train"], columns["image"]), notes)
    return Found("parquet", files, shape, classes, how, "test" in files, notes)


def _parts(place: Path, paths: Sequence[Path], notes: list[str]) -> dict[str, list[Path]]:
    """Which files are the training set and which, if any, the test set; in the order of their names."""
    folders = sorted({path.parent.relative_to(place).as_posix() for path in paths if path != place})
    if len(folders) > 1:
        raise FormatError(
            f"{place}: expected Parquet files in one folder, found some in"
            f" {shorten(', '.join(folders))}: put those of one data set side by side, as train-….parquet and"
            " test-….parquet, and name their folder"
        )
    tests = [path for path in paths if TEST.search(path.name)]
    trains = [path for path in paths if path not in tests]
    if named := [path for path in trains if TRAIN.search(path.name)]:
        trains = named
    tests = [path for path in tests if not VALIDATION.search(path.name)] or tests
    if left := [path.name for path in paths if path not in trains + tests]:
        notes.append(f"files of neither part, left aside: {shorten(', '.join(left))}")
    if not trains:
        raise FormatError(
            f"{place}: expected a training set, train-….parquet, found"
            f" {shorten(', '.join(path.name for path in tests))}"
        )
    _check_shards(place, "train", trains)
    _check_shards(place, "test", tests)
    return {"train": trains} | ({"test": tests} if tests else {})


def _check_shards(place: Path, part: Part, paths: Sequence[Path]) -> None:
    """See that the files of a part are the pieces of one, and all of them."""
    # Behind its number a shard's name may have a checksum.
    stems = {_SHARD.split(path.name)[0] if _SHARD.search(path.name) else path.name for path in paths}
    if len({re.sub(r"\d+", "0", stem) for stem in stems}) > 1:
        raise FormatError(
            f"{place}: expected one file for the {part} set, or shards whose names differ in their numbers"
            f" alone, found {shorten(', '.join(path.name for path in paths))}"
        )
    matches = [match for path in paths if (match := _SHARD.search(path.name))]
    counts = sorted({int(match[2]) for match in matches})
    numbers = {int(match[1]) for match in matches}
    if len(counts) > 1 or len(numbers) < len(matches):
        raise FormatError(
            f"{place}: expected the {part} set in shards of one number, found"
            f" {shorten(', '.join(path.name for path in paths))}"
        )
    missing = next((number for number in range(max(counts, default=0)) if number not in numbers), None)
    if missing is not None:
        raise FormatError(
            f"{place}: expected {counts[0]} shards of the {part} set, found {len(numbers)}: number"
            f" {missing:05} is not there"
        )


def _columns(path: Path, table: Any, notes: list[str]) -> tuple[dict[str, str], list[str]]:  # noqa: ANN401  (pyarrow's)
    """What the columns of pictures and of labels are called, and the classes where the file names them."""
    import pyarrow as pa

    schema = table.schema_arrow
    features = _features(schema.metadata or {})
    images, labels, all_classes = [], [], {}
    for column in schema:
        feature, kind = features.get(column.name), column.type
        feature = feature if isinstance(feature, dict) else {}
        holds = (
            kind.field("bytes").type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
            else kind
        )
        if pa.types.is_binary(holds) or pa.types.is_large_binary(holds):
            images.append(column.name)
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_integer(value) or pa.types.is_string(value) or pa.types.is_large_string(value):
            names = feature.get("names")
            if isinstance(names, list) and pa.types.is_integer(value):
                all_classes[column.name] = [str(name) for name in names]
            if column.name in all_classes or LABEL_NAMES.search(column.name):
                labels.append(column.name)
    shown = shorten(", ".join(f"{column.name} ({column.type})" for column in schema))
    chosen = {
        "image": _choose(path, "image", "pictures, {bytes, path} or bytes", images, shown, notes),
        "label": _choose(
            path, "label", "labels, integers or text,", list(all_classes) or labels, shown, notes
        ),
    }
    return chosen, all_classes.get(chosen["label"], [])


def _choose(path: Path, usual: str, what: str, names: Sequence[str], found: str, notes: list[str]) -> str:
    """The column of the usual name, or else the first of several."""
    if not names:
        raise FormatError(
            f"{path}: expected a column of {what} called {usual}, found {found}: rename or convert one"
        )
    chosen = usual if usual in names else names[0]
    if others := [name for name in names if name != chosen]:
        notes.append(f"column {chosen} is taken for the {usual}s, left aside: {shorten(', '.join(others))}")
    return chosen


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The features of the columns, as the library `datasets` notes them; none where it has not."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _labels(paths: Sequence[Path], column: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in paths:
        with parquet.opened(path) as table:
            if column not in table.schema_arrow.names:
                raise FormatError(
                    f"{path}: expected the column {column} as in the other files, found"
                    f" {shorten(', '.join(table.schema_arrow.names))}"
                )
            for rows in table.iter_batches(_MORE_ROWS, columns=[column]):
                found.update(map(str, rows.column(0).to_pylist()))
    return found


def _pictures(paths: Sequence[Path], column: str) -> Iterator[tuple[str, BinaryIO]]:
    """Some of the pictures of each file, by their rows."""
    for path in paths:
        with parquet.opened(path) as table:
            row = 0
            for rows in table.iter_batches(_ROWS, columns=[column]):
                for image in rows.column(0).to_pylist():
                    data = image.get("bytes") if isinstance(image, dict) else image
                    if not data:
                        raise FormatError(
                            f"{path}: expected a picture's bytes in row {row:,}, found none: write the"
                            " pictures into the table, not their paths alone"
                        )
                    yield f"row {row:,}", io.BytesIO(data)
                    row += 1
                if row * len(paths) >= MOST_OPENED:
                    break
