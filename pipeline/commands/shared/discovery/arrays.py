"""Arrays and tables of pixels: idx files, .npz and .csv; which holds what, and the labels in them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pipeline.commands.shared.discovery.found import LABEL_NAMES, TEST, TRAIN, VALIDATION, Found
from pipeline.commands.shared.discovery.labels import describe_labels, list_classes
from pipeline.config.schema import Reading
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.images import PARTS, Part
from pipeline.data.formats import csv_table, idx, npz, zips
from pipeline.data.formats.examples import Reader, Request
from pipeline.data.formats.streams import open_stream
from pipeline.data.pictures import SUFFIXES

_LABELS: Final = re.compile(r"label|target|(^|[^a-z])y([^a-z]|$)", re.IGNORECASE)
_READERS: Final[Mapping[str, Reader]] = {
    "idx": idx.read_part,
    "npz": npz.read_part,
    "csv": csv_table.read_part,
}


def is_idx(path: Path) -> bool:
    """Whether a file begins as an idx file does."""
    try:
        idx.read_header(path)
    except FormatError:
        return False
    return True


def describe_idx(folder: Path, paths: Sequence[Path]) -> Found:
    """Idx files: images and labels of each part.

    Raises:
        FormatError: they are not images with their labels.
    """
    files = _roles(folder, paths)
    shape = idx.read_header(files["train_images"]).shape
    return _with_labels("idx", files, _image_shape(files["train_images"], shape), {})


def describe_npz(folder: Path, paths: Sequence[Path]) -> Found:
    """An .npz with all arrays, or one for each.

    Raises:
        FormatError: they have no images with their labels.
    """
    files = _roles(folder, paths) if len(paths) > 1 else {"archive": paths[0]}
    members: dict[str, str] = {}
    names: list[str] = []
    if "archive" in files:
        with zips.open_archive(files["archive"]) as archive:
            names = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
        for name in names:
            if re.search(r"val", name, re.IGNORECASE) or not (TRAIN.search(name) or TEST.search(name)):
                continue
            part = "test" if TEST.search(name) else "train"
            members.setdefault(f"{part}_{'labels' if _LABELS.search(name) else 'images'}", name)
        if not members:
            raise FormatError(
                f"{files['archive']}: expected arrays such as {', '.join(npz.MEMBERS.values())}, found"
                f" {shorten(', '.join(names)) or 'none'}"
            )
        _check_pairs(files["archive"], members)
    path = files.get("train_images") or files["archive"]
    with npz.open_array(path, members.get("train_images")) as rows:
        shape = _image_shape(rows.place, rows.shape)
    usual = members == npz.MEMBERS or not members
    found = _with_labels("npz", files, shape, {} if usual else {"members": members})
    if left := [name for name in names if name not in members.values()]:
        found.notes.append(f"arrays left aside: {shorten(', '.join(left))}")
    return found


def _image_shape(place: Path, shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[1], shape[2], 1
    if len(shape) == 4 and shape[3] in {1, 3}:
        return shape[1], shape[2], shape[3]
    raise FormatError(
        f"{place}: expected images (count, height, width) or (count, height, width, 1 or 3), found the shape"
        f" {tuple(shape)}"
    )


def describe_csv(folder: Path, paths: Sequence[Path], shape: tuple[int, int, int] | None) -> Found:
    """A .csv for each part, whose rows are a label and pixels.

    Raises:
        FormatError: they are something else, or no squares where no shape is given.
    """
    files = _parts(folder, paths)
    path = files["train"]
    left = [other.name for other in paths if other not in files.values()]
    with open_stream(path, "" if zips.is_zip(path) else None) as stream:
        text = stream.read(1 << 22).decode("utf-8", "replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines()[:3] if line.strip()]
    if len(lines) < 2:
        raise FormatError(
            f"{path}: expected a label and the pixels of an image in each row, found"
            f" {describe(text[:HEAD_BYTES].encode())}"
        )
    rows = [[cell.strip().strip('"') for cell in line.split(",")] for line in lines]
    if any(PurePosixPath(cell).suffix.lower() in SUFFIXES for cell in rows[1]):
        raise FormatError(
            f"{path}: expected pixels, found names of pictures: name the folder or archive that holds the"
            " pictures with it"
        )
    pixels = len(rows[1]) - 1
    header = not all(map(csv_table.is_number, rows[0][1:-1]))
    looks = [_is_label(rows[1][place]) for place in (0, -1)]
    named = [header and bool(LABEL_NAMES.search(rows[0][place])) for place in (0, -1)]
    last = (named[1] and not named[0]) or (named == [False, False] and looks == [False, True])
    how = {"label_column": -1} if last else {}
    # A name before numbers is a label, where the first row is no header.
    known = () if header else (rows[0][-1 if last else 0],)
    found = _with_labels("csv", files, shape or _square(path, pixels), how, known)
    if left:
        found.notes.append(f"files of neither part, left aside: {shorten(', '.join(left))}")
    if not any((*named, *looks)):
        found.notes.append(
            "labels: taken from the first column, for nothing says where they are; if they are in the last,"
            " begin with a row of names whose last is label"
        )
    return found


def _square(path: Path, pixels: int) -> tuple[int, int, int]:
    for channels in (1, 3):
        side = round((pixels / channels) ** 0.5)
        if side and side * side * channels == pixels:
            return side, side, channels
    hint = ""
    for less, words in ((1, "one column more than"), (-1, "one column less than")):
        side = round((pixels - less) ** 0.5)
        if side > 1 and side * side == pixels - less:
            hint = f" ({words} a label and {side} × {side} pixels: is there an index, or no label?)"
    raise FormatError(
        f"{path}: found {pixels + 1} columns, a label and {pixels} pixels, which are no square{hint};"
        " say with --shape HEIGHT WIDTH CHANNELS"
    )


def _is_label(text: str) -> bool:
    """Whether a cell can only be a label: a name."""
    return bool(text) and not csv_table.is_number(text)


def _with_labels(
    form: str,
    files: Mapping[str, Path],
    shape: tuple[int, int, int],
    how: dict[str, Any],
    known: Sequence[str] = (),
) -> Found:
    """The same with its classes: the labels that there are; some may be known already."""
    has_test = any(role.startswith("test") for role in {**files, **how.get("members", {})}) or (
        "archive" in files and "members" not in how
    )
    notes: list[str] = []
    counts: dict[Part, Counter[str]] = {}
    for part in PARTS if has_test else PARTS[:1]:
        counts[part], how = _count_labels(form, files, part, shape, how, notes, known)
    place = next(iter(files.values()))
    classes = list_classes(place, counts)
    how = {**how, **describe_labels(classes, notes)}
    return Found(form, {role: [path] for role, path in files.items()}, shape, classes, how, has_test, notes)


def _count_labels(
    form: str,
    files: Mapping[str, Path],
    part: Part,
    shape: tuple[int, int, int],
    how: dict[str, Any],
    notes: list[str],
    known: Sequence[str],
) -> tuple[Counter[str], dict[str, Any]]:
    """How many images each label has; where labels are rows of numbers, the first of each is it."""
    usual = npz.MEMBERS if form == "npz" and "archive" in files and "members" not in how else {}
    settings = {**how, "members": how.get("members", dict(usual))}
    lists = {role: [path] for role, path in files.items()}

    def labels(given: dict[str, Any]) -> Iterator[Any]:
        for batch in _READERS[form](Request(lists, part, shape, Reading(**given), None, known)):
            yield from batch.labels.tolist()

    def counted(given: dict[str, Any]) -> Counter[str]:
        # 7.0, as some programs write it, is 7, as it is for parse.
        return Counter(re.sub(r"^([+-]?[0-9]+)\.0*$", r"\1", str(label)) for label in labels(given))

    try:
        return counted(settings), how
    except FormatError as error:
        if "reading.label_column may name one" not in str(error):
            raise
        notes.append("labels are rows of numbers, the first of each is taken (reading.label_column)")
        return counted({**settings, "label_column": 0}), {**how, "label_column": 0}


def _parts(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Which file is the training set, and which, if any, the test set."""
    if len(paths) == 1:
        return {"train": paths[0]}
    tests = [path for path in paths if TEST.search(path.name)]
    trains = [path for path in paths if path not in tests]
    tests = [path for path in tests if not VALIDATION.search(path.name)] or tests
    if len(trains) != 1 or len(tests) > 1:
        raise FormatError(
            f"{folder}: expected one file for the training set and at most one with `test` in its name, found"
            f" {shorten(', '.join(path.name for path in paths))}"
        )
    return {"train": trains[0]} | ({"test": tests[0]} if tests else {})


def _roles(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Which file has the images and which the labels, of which part."""
    roles: dict[str, Path] = {}
    for path in paths:
        part = "test" if TEST.search(path.name) else "train"
        role = f"{part}_{'labels' if _LABELS.search(path.name) else 'images'}"
        if role in roles:
            raise FormatError(
                f"{folder}: both {roles[role].name} and {path.name} seem to be the {part} part's"
                f" {role.partition('_')[2]}; names with train or test, and images or labels, tell them apart"
            )
        roles[role] = path
    _check_pairs(folder, roles)
    return roles


def _check_pairs(place: Path, roles: Mapping[str, object]) -> None:
    for one, other in (("images", "labels"), ("labels", "images")):
        for part in PARTS:
            if f"{part}_{one}" in roles and f"{part}_{other}" not in roles:
                raise FormatError(f"{place}: found {part} {one} but no {part} {other}")
    if "train_images" not in roles:
        raise FormatError(f"{place}: expected a training set, found {shorten(', '.join(roles)) or 'none'}")
