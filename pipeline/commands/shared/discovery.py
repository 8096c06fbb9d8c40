"""What a stranger's files are: their format, what plays which role, the images' shape, the labels.

Names and first bytes are looked at, labels are read; whether everything fits is then seen by parsing it.
"""

import functools
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from pipeline.commands.shared.picture_folders import (
    EXPECTED,
    MOST_CLASSES,
    TEST,
    TRAIN,
    Found,
    describe_pictures,
    tar_member,
    zip_member,
)
from pipeline.config.schema import Reading
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import reading
from pipeline.core.files.images import PARTS, Part
from pipeline.data import local
from pipeline.data.formats import cifar, csv_table, idx, npz, zips
from pipeline.data.formats.examples import Reader, Request
from pipeline.data.formats.streams import open_stream
from pipeline.data.pictures import SUFFIXES

_LABELS: Final = re.compile(r"label|target|(^|[^a-z])y([^a-z]|$)", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_LABEL_NAMES: Final = re.compile(r"label|class|target|digit|^y$", re.IGNORECASE)
_READERS: Final[Mapping[str, Reader]] = {
    "idx": idx.read_part,
    "npz": npz.read_part,
    "csv": csv_table.read_part,
}
_CIFAR: Final = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100_FINE}


def discover(path: Path, shape: tuple[int, int, int] | None = None) -> Found:
    """What a file, or the files in a folder, are.

    Args:
        path: of the file or folder.
        shape: of an image: height, width, channels; None to tell by the files.

    Raises:
        FormatError: they are nothing that can be read, or something is missing.
        PipelineError: a file cannot be read.
    """
    if not path.exists():
        near = sorted(other.name for other in path.parent.glob("*"))[:5] if path.parent.is_dir() else []
        there = f"; beside it are {', '.join(near)}" if near else ""
        raise FormatError(f"{path}: no such file or folder{there}")
    return _in_folder(path, shape) if path.is_dir() else _in_file(path, shape)


def _in_file(path: Path, shape: tuple[int, int, int] | None) -> Found:
    head = _head(path)
    if _is_npz(path):
        return _npz({"archive": path})
    if zips.is_zip(path):
        with zips.open_archive(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        if [name for name in names if name.lower().endswith(".csv")] == names and len(names) == 1:
            return _csv({"train": path}, shape)
        with zips.open_archive(path) as archive:
            return describe_pictures(path, names, functools.partial(zip_member, archive), shape)
    if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return _in_tar(path, shape)
    if _is_csv(path):
        return _csv({"train": path}, shape)
    if _is_idx(path):
        raise FormatError(
            f"{path}: one idx file alone; name the folder that holds it with its labels (or its images)"
        )
    raise FormatError(f"{path}: expected {EXPECTED}; found {describe(head)}")


def _in_folder(folder: Path, shape: tuple[int, int, int] | None) -> Found:
    files = dict(local.files_in(folder))
    if not files:
        raise FormatError(f"{folder}: the folder is empty; expected {EXPECTED}")
    top = {name: path for name, path in files.items() if "/" not in name}
    for name in _CIFAR:
        if _batches(name) & files.keys():
            return _cifar(name, folder)
        if any(f"{folder.name}/{file}" in _batches(name) for file in files):
            raise FormatError(f"{folder}: name the folder above it, which holds {folder.name}")
    if sum(Path(name).suffix.lower() in SUFFIXES for name in files) > len(files) / 2:
        names = list(files)
        return describe_pictures(folder, names, lambda name: reading(files[name]), shape)
    return _in_files(folder, top, shape) if top else _nothing(folder, files)


def _in_files(folder: Path, paths: Mapping[str, Path], shape: tuple[int, int, int] | None) -> Found:
    """Of files side by side in a folder: those of the first format that any of them has."""
    if found := [path for path in paths.values() if _is_idx(path)]:
        return _idx(_roles(folder, found))
    if found := [path for path in paths.values() if _is_npz(path)]:
        return _npz(_roles(folder, found) if len(found) > 1 else {"archive": found[0]})
    if found := [path for path in paths.values() if _is_csv(path)]:
        return _csv(_parts(folder, found), shape)
    if len(paths) == 1:
        return _in_file(next(iter(paths.values())), shape)
    return _nothing(folder, paths)


def _nothing(folder: Path, files: Iterable[str]) -> NoReturn:
    raise FormatError(f"{folder}: expected {EXPECTED}; found {shorten(', '.join(files))}")


def _head(path: Path) -> bytes:
    with reading(path) as file:
        return file.read(HEAD_BYTES) or b""


def _is_idx(path: Path) -> bool:
    try:
        idx.read_header(path)
    except FormatError:
        return False
    return True


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz", ".csv.zip"))


def _parts(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Which file is the training set, and which, if any, the test set."""
    tests = [path for path in paths if TEST.search(path.name)]
    trains = [path for path in paths if path not in tests]
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


# --------------------------------------------------------------------------------------- arrays, tables


def _idx(files: Mapping[str, Path]) -> Found:
    shape = idx.read_header(files["train_images"]).shape
    return _with_labels("idx", files, _image_shape(files["train_images"], shape), {})


def _npz(files: Mapping[str, Path]) -> Found:
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


def _csv(files: Mapping[str, Path], shape: tuple[int, int, int] | None) -> Found:
    path = files["train"]
    with open_stream(path, "" if zips.is_zip(path) else None) as stream:
        text = stream.read(1 << 22).decode("utf-8", "replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines()[:3] if line.strip()]
    if len(lines) < 2:
        raise FormatError(
            f"{path}: expected a label and the pixels of an image in each row, found"
            f" {describe(text[:HEAD_BYTES].encode())}"
        )
    rows = [[cell.strip().strip('"') for cell in line.split(",")] for line in lines]
    pixels = len(rows[1]) - 1
    header = not all(map(_is_number, rows[0][1:-1]))
    looks = [_is_label(rows[1][place]) for place in (0, -1)]
    named = [header and bool(_LABEL_NAMES.search(rows[0][place])) for place in (0, -1)]
    last = (named[1] and not named[0]) or (named == [False, False] and looks == [False, True])
    how = {"label_column": -1} if last else {}
    # A name before numbers is a label, where the first row is no header.
    known = () if header else (rows[0][-1 if last else 0],)
    found = _with_labels("csv", files, shape or _square(path, pixels), how, known)
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_label(text: str) -> bool:
    """Whether a cell can only be a label: a name."""
    return bool(text) and not _is_number(text)


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
    labels = sorted(counts["train"], key=_by_number)
    if not 2 <= len(labels) <= MOST_CLASSES:
        raise FormatError(
            f"{next(iter(files.values()))}: expected 2 to {MOST_CLASSES} classes, found {len(labels):,}"
            f" different labels: {shorten(', '.join(labels))}"
        )
    unknown = sorted(set(counts.get("test", ())) - set(labels))
    if unknown:
        raise FormatError(
            f"{next(iter(files.values()))}: the test set has labels that the training set has not:"
            f" {shorten(', '.join(unknown))}"
        )
    if any(map(_WHOLE.fullmatch, labels)):
        first = int(labels[0]) if _WHOLE.fullmatch(labels[0]) else 0
        if labels != [str(number) for number in range(first, first + len(labels))]:
            how = {**how, "labels": {label: label for label in labels}}
            notes.append(f"labels are not consecutive: {shorten(', '.join(labels))}")
        elif first:
            how = {**how, "first_label": first}
            notes.append(f"labels begin with {first}")
    return Found(form, files, shape, labels, how, has_test, notes)


def _by_number(label: str) -> tuple[bool, float, str]:
    return not _is_number(label), float(label) if _is_number(label) else 0.0, label


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


# -------------------------------------------------------------------------------------- CIFAR, pictures


def _batches(name: str) -> set[str]:
    return {f"{version.folder}/{batch}" for version in _CIFAR[name].versions for batch in version.batches()}


def _cifar(name: str, path: Path) -> Found:
    return Found(name, {"archive": path}, cifar.IMAGE_SHAPE, [])


def _in_tar(path: Path, shape: tuple[int, int, int] | None) -> Found:
    try:
        with tarfile.open(path) as archive:
            members = {entry.name.removeprefix("./"): entry for entry in archive if entry.isfile()}
            for name in _CIFAR:
                if _batches(name) & members.keys():
                    return _cifar(name, path)
            open_one = functools.partial(tar_member, archive, members)
            return describe_pictures(path, list(members), open_one, shape)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: expected a tar archive: {shorten(str(error))}") from None
