"""Pictures whose labels are in a table of their names: which table, which folder, which columns."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.commands.shared.discovery.found import LABEL_NAMES, TEST, TRAIN, VALIDATION, Found
from pipeline.commands.shared.discovery.labels import list_classes
from pipeline.commands.shared.discovery.pictures import Opener, common_shape, opened
from pipeline.core.descriptions import nearest, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.images import PARTS, Part
from pipeline.data.pictures import SUFFIXES

_HEAD_BYTES: Final = 1 << 16
_MOST_BYTES: Final = 1 << 30  # as parse reads
_FEW: Final = 20  # names that folders are looked for
_SEPARATORS: Final = re.compile("[,;\t]")
_SUBMISSION: Final = re.compile(r"submission", re.IGNORECASE)  # an example of predictions, in competitions


class OtherColumnsError(FormatError):
    """A table names pictures, but its columns are not names first and labels last."""


@dataclass(frozen=True)
class _Table:
    place: Path
    labels: Mapping[str, str]  # by the names of pictures
    lines: Mapping[str, int]  # likewise: where they are
    note: str


def describe_named(
    path: Path,
    names: Sequence[str],
    pictures: Sequence[str],
    open_one: Opener,
    shape: tuple[int, int, int] | None,
    *,
    with_suffixes: bool,
) -> Found | None:
    """Pictures that a table names, with their labels; None if none does.

    Args:
        path: the folder or archive.
        names: of all the files in it, from there on.
        pictures: those of pictures.
        open_one: opens one of them.
        shape: of an image: height, width, channels; None for what most pictures have.
        with_suffixes: whether the names end in .png and the like; if not, any table that begins with such
            names is taken.

    Raises:
        OtherColumnsError: a table's columns are others.
        FormatError: it names a picture that is not there, or one twice, or there are two for one part.
    """
    notes: list[str] = []
    known = {name if with_suffixes else name.rpartition(".")[0]: name for name in pictures}
    stems = set() if with_suffixes else {name.rpartition("/")[2] for name in known}

    def is_name(cell: str) -> bool:
        return cell.rpartition("/")[2] in stems or (with_suffixes and _is_picture(cell))

    chosen = _choose(path, names, open_one, is_name, notes)
    if "train" not in chosen:
        return None
    tables = {part: _read(path, chosen[part], open_one, is_name) for part in PARTS if part in chosen}
    labels = {part: table.labels.values() for part, table in tables.items()}
    classes = list_classes(path / chosen["train"], labels)
    is_around = len({name.partition("/")[0] for name in names}) == 1  # parse passes over such a folder
    members: dict[str, str] = {}
    named: set[str] = set()
    for part, table in tables.items():
        folder = _find_folder(table, known.keys(), part, may_be_top=not is_around)
        members |= {part: folder.rstrip("/"), f"{part}_table": chosen[part]}
        named |= {known[folder + name] for name in table.labels}
    notes += [table.note for table in tables.values() if table.note]
    if unnamed := set(pictures).difference(named):
        one = shorten(min(unnamed))
        notes.append(f"pictures without a label, left aside: {len(unnamed):,}, such as {one}")
    in_order = [name for name in pictures if name in named]  # a packed archive is read from front to back
    shape = shape or common_shape(path, opened(in_order, open_one), notes)
    return Found("folder", {"archive": [path]}, shape, classes, {"members": members}, "test" in tables, notes)


def _choose(
    path: Path, names: Sequence[str], open_one: Opener, is_name: Callable[[str], bool], notes: list[str]
) -> dict[Part, str]:
    """The table of each part."""
    found: dict[Part, list[str]] = {"train": [], "test": []}
    for name in sorted(name for name in names if name.lower().endswith(".csv")):
        with open_one(name) as file:
            head = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace").splitlines()[:2]
        cells = [[cell.strip(' "') for cell in _SEPARATORS.split(line)] for line in head]
        # Where names lack suffixes, any other number may look like one.
        places = [place for row in cells for place, cell in enumerate(row) if _is_picture(cell)]
        if not places and not any(is_name(row[0]) for row in cells):
            continue
        if places and 0 not in places:
            raise OtherColumnsError(
                f"{path / name}: expected names of pictures in the first column, found them in column"
                f" {places[0] + 1}: put it first, and the labels last"
            )
        part: Part = "test" if TEST.search(name) else "train"
        if _SUBMISSION.search(name) or (part == "test" and len(cells[-1]) == 1):
            notes.append(f"{name} has no labels, left aside")
        else:
            found[part].append(name)
    if some := [name for name in found["test"] if not VALIDATION.search(name)]:
        notes += [f"{name} is of neither part, left aside" for name in found["test"] if name not in some]
        found["test"] = some
    for part, tables in found.items():
        if len(tables) > 1:
            raise FormatError(
                f"{path}: expected one table of the {part} set's pictures, found {shorten(', '.join(tables))}"
            )
    return {part: tables[0] for part, tables in found.items() if tables}


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _read(path: Path, name: str, open_one: Opener, is_name: Callable[[str], bool]) -> _Table:
    """Names in the first column, labels in the last, as parse reads them."""
    place = path / name
    with open_one(name) as file:
        text = file.read(_MOST_BYTES).decode("utf-8-sig", "replace")
    reader = csv.reader(io.StringIO(text, newline=""))
    rows = ((reader.line_num, row) for row in reader if row)
    labels: dict[str, str] = {}
    lines: dict[str, int] = {}
    try:
        first = next(rows)
        header = [] if is_name(first[1][0]) else first[1]
        if header:
            first = next(rows)
        note = _check_columns(place, header, first[1])
        for line, row in itertools.chain([first], rows):
            picture, label = row[0], row[-1].strip()
            if picture in labels:
                raise FormatError(f"{place}: line {line:,} names {shorten(picture)} a second time")
            if len(row) < 2 or not label:
                raise FormatError(f"{place}: line {line:,} has no label for {shorten(picture)}")
            labels[picture], lines[picture] = label, line
    except StopIteration:
        raise FormatError(
            f"{place}: expected names and labels, found one row: is a quotation mark open?"
        ) from None
    except csv.Error as error:
        raise FormatError(f"{place}: damaged CSV in line {reader.line_num:,}: {error}") from None
    return _Table(place, labels, lines, note)


def _check_columns(place: Path, header: Sequence[str], row: Sequence[str]) -> str:
    """See that names come first and labels last; a note of what is between them, or nothing.

    Raises:
        OtherColumnsError: they do not.
    """
    if len(row) == 1:
        other = _SEPARATORS.search(row[0])
        found = f"{other[0]!r} between names and labels" if other else "one column: are there no labels?"
        raise OtherColumnsError(f"{place}: expected a name, a comma and a label in each line, found {found}")
    if len(row) == 2:
        return ""
    if all(cell.strip() in {"0", "1", "0.0", "1.0"} for cell in row[1:]):
        raise OtherColumnsError(
            f"{place}: expected one column with the label of each picture, found {len(row) - 1} columns of 0"
            f" and 1 ({shorten(', '.join(header[1:]))}): write the name of the one that is 1"
        )
    labelled = [number for number, name in enumerate(header[1:], 2) if LABEL_NAMES.search(name)]
    if labelled and labelled[-1] != len(row):
        raise OtherColumnsError(
            f"{place}: expected labels in the last column, found {shorten(header[-1])} there, and"
            f" {shorten(header[labelled[0] - 1])} in column {labelled[0]}: put that last"
        )
    between = shorten(", ".join(header[1:-1])) or f"{len(row) - 2} columns"
    return f"{place.name}: labels from the last column, left aside: {between}"


def _find_folder(table: _Table, pictures: Collection[str], part: Part, *, may_be_top: bool) -> str:
    """The folder from which on a table names pictures, with a / behind it; nothing for the top one."""
    some = list(itertools.islice(table.labels, _FEW))
    ends = tuple(f"/{name}" for name in some)
    near_some = (picture for picture in pictures if f"/{picture}".endswith(ends))
    found = {
        picture.removesuffix(name)
        for picture in near_some
        for name in some
        if f"/{picture}".endswith(f"/{name}")
    }
    if not may_be_top:
        found.discard("")
    if not found:
        near = nearest(some[0], pictures)
        raise FormatError(
            f"{table.place}: expected the pictures that it names, found no {shorten(some[0])}"
            + (f", but {shorten(near)}" if near else "")
        )
    expression = TEST if part == "test" else TRAIN

    def rank(folder: str) -> tuple[int, bool, int, str]:
        there = sum(folder + name in pictures for name in table.labels)
        return there, bool(expression.search(folder)), -len(folder), folder

    folder = max(found, key=rank)
    missing = next((name for name in table.labels if folder + name not in pictures), None)
    if missing is not None:
        near = nearest(folder + missing, pictures)
        raise FormatError(
            f"{table.place}: line {table.lines[missing]:,} names {shorten(folder + missing)}, which is not"
            " there" + (f", but {shorten(near)} is" if near else "; add the picture, or take the line out")
        )
    return folder
