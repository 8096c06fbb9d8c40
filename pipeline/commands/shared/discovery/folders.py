"""Pictures, in a folder or an archive: those that a table names, or else in a folder for each class."""

import contextlib
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.commands.shared.discovery.found import EXPECTED, TEST, TRAIN, Found
from pipeline.commands.shared.discovery.labels import list_classes
from pipeline.commands.shared.discovery.name_tables import OtherColumnsError, describe_named
from pipeline.commands.shared.discovery.pictures import Opener, common_shape, opened
from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.images import Part
from pipeline.data.pictures import SUFFIXES


def describe_pictures(
    path: Path, names: Sequence[str], open_one: Opener, shape: tuple[int, int, int] | None
) -> Found:
    """Pictures that a table names, or in a folder for each class.

    Args:
        path: the folder or archive.
        names: of all the files in it, from there on.
        open_one: opens one of them.
        shape: of an image: height, width, channels; None for what most pictures have.

    Raises:
        FormatError: there are none, they have neither a table nor folders for their classes, or one is none.
    """
    # What systems put beside files is passed over, as parse does.
    names = [name for name in names if "/." not in f"/{name}" and "__MACOSX" not in name.split("/")]
    pictures = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not pictures:
        raise FormatError(f"{path}: expected {EXPECTED}; found {shorten(', '.join(names)) or 'nothing'}")
    trouble: FormatError | None = None
    try:
        if found := describe_named(path, names, pictures, open_one, shape, with_suffixes=True):
            return found
    except OtherColumnsError as error:
        trouble = error  # lists of other things lie beside folders, too
    try:
        return _describe_folders(path, names, pictures, open_one, shape)
    except FormatError as error:
        trouble = trouble or error
    if found := describe_named(path, names, pictures, open_one, shape, with_suffixes=False):
        return found
    raise trouble


def _describe_folders(
    path: Path,
    names: Sequence[str],
    pictures: Sequence[str],
    open_one: Opener,
    shape: tuple[int, int, int] | None,
) -> Found:
    folders = _class_folders(path, pictures)
    _check_depth(path, pictures, folders.values())
    notes = []
    others = len(names) - len(pictures)
    if others:
        notes.append(f"files that are no pictures, left aside: {others:,}")
    if unused := [name for name in pictures if not name.startswith(tuple(folders.values()))]:
        notes.append(f"pictures of neither part, left aside: {len(unused):,}, such as {shorten(unused[0])}")
    labels = {
        part: {name.removeprefix(prefix).split("/")[0] for name in pictures if name.startswith(prefix)}
        for part, prefix in folders.items()
    }
    classes = list_classes(path, labels, "folders")
    shape = shape or common_shape(path, opened(pictures, open_one), notes)
    inside = {part: prefix.rstrip("/") for part, prefix in folders.items()}
    has_test = "test" in folders
    if inside == {"train": ""}:
        return Found("folder", {"train": [path]}, shape, classes, {}, has_test=False, notes=notes)
    how = {} if inside == {"train": "train", "test": "test"} else {"members": inside}
    return Found("folder", {"archive": [path]}, shape, classes, how, has_test, notes)


def _class_folders(path: Path, pictures: Sequence[str]) -> dict[Part, str]:
    """What the names of each part's pictures begin with, before the name of their class."""
    folders: dict[Part, str] = {}
    for name in sorted(pictures, key=str.lower):  # test before val
        steps = name.split("/")
        for place, step in enumerate(steps[:-2]):
            part: Part | None = "train" if TRAIN.fullmatch(step) else "test" if TEST.fullmatch(step) else None
            if part:
                prefix = "/".join(steps[: place + 1]) + "/"
                if folders.setdefault(part, prefix) != prefix and not step.lower().startswith("val"):
                    raise FormatError(
                        f"{path}: expected one folder for the {part} set, found {folders[part]} and {prefix}"
                    )
                break
    if "train" in folders:
        return folders
    parents = {name.rpartition("/")[0] for name in pictures}
    if "" in parents:
        alone = next(name for name in pictures if "/" not in name)
        raise FormatError(f"{path}: expected a folder for each class, found the picture {alone} in none")
    prefixes = {parent.rpartition("/")[0] for parent in parents}
    if len(prefixes) > 1:
        raise FormatError(
            f"{path}: expected pictures in a folder for each class, side by side, found"
            f" {shorten(', '.join(sorted(parents)))}"
        )
    last = [parent.rpartition("/")[2] for parent in parents]
    if all(TRAIN.fullmatch(name) or TEST.fullmatch(name) for name in last):
        raise FormatError(
            f"{path}: expected a folder for each class in {shorten(', '.join(sorted(parents)))}, or a .csv of"
            " the pictures' names and labels, found pictures alone"
        )
    prefix = prefixes.pop()
    return {"train": f"{prefix}/" if prefix else ""}


def _check_depth(path: Path, pictures: Sequence[str], prefixes: Iterable[str]) -> None:
    """See that no picture lies beside the classes' folders."""
    for prefix in prefixes:
        for name in pictures:
            if name.startswith(prefix) and "/" not in name.removeprefix(prefix):
                raise FormatError(
                    f"{path}: expected a folder for each class in {prefix}, found the picture"
                    f" {shorten(name)} in none"
                )


@contextlib.contextmanager
def zip_member(archive: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    """A member of a zip archive, open for reading."""
    with archive.open(name) as file:
        yield cast("BinaryIO", file)


def tar_member(
    archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str
) -> contextlib.AbstractContextManager[BinaryIO]:
    """A member of a tar archive, open for reading; quick where they are asked for in the archive's order."""
    return cast("BinaryIO", archive.extractfile(members[name]))
