"""Pictures in folders: CLASS/NAME.png, or in one with a CSV of names and labels; plain, or in a zip or tar.

Images come in the order of their names' bytes, and so in the same order on every machine. One that has not
the data set's size is scaled, its proportions kept, to the largest size that fits, and put in the middle of a
black picture (a white one where `reading.invert` is set). What is transparent shows that background. Colours
become grey by ITU-R BT.601 (0.299 red, 0.587 green, 0.114 blue).
"""

import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from PIL import Image

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import explained, read_bytes
from pipeline.core.registry import did_you_mean
from pipeline.data import pictures
from pipeline.data.formats import tar, zips
from pipeline.data.formats.examples import Array, Batch, Member, Request
from pipeline.data.formats.streams import open_stream

_MAXIMUM_TABLE_BYTES: Final = 2**30
_BOOKKEEPING: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # what systems put there
_SUFFIXES: Final = sorted({*pictures.SUFFIXES, *map(str.upper, pictures.SUFFIXES)})
_GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)

_Contents = Iterator[tuple[str, bytes]]


class _Archive:
    """A folder, zip or tar: the names of its files, and the contents of some of them in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kind = "folder" if path.is_dir() else "zip" if zips.is_zip(path) else "tar"

    def names(self) -> list[str]:
        """Of every file, with / between folders; in no order."""
        if self._kind == "folder":
            with explained("read", self.path):
                return [
                    (Path(folder) / name).relative_to(self.path).as_posix()
                    for folder, _, names in os.walk(self.path)
                    for name in names
                ]
        if self._kind == "zip":
            with zips.open_archive(self.path) as archive:
                return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        found: list[str] = []

        def note(name: str) -> bool:
            found.append(name)
            return False

        with open_stream(self.path) as stream:
            list(tar.read_pictures(stream, note, maximum_bytes=pictures.MAXIMUM_BYTES))
        return found

    def contents(self, names: list[str]) -> _Contents:
        """Name and content of these files; of a tar in its own order."""
        if self._kind == "folder":
            for name in names:
                yield name, read_bytes(self.path / name, maximum_bytes=pictures.MAXIMUM_BYTES)
        elif self._kind == "zip":
            with zips.open_archive(self.path) as archive:
                for name in names:
                    entry = archive.getinfo(name)
                    zips.check_member(self.path, entry)
                    if entry.file_size > pictures.MAXIMUM_BYTES:
                        raise FormatError(
                            f"{self.path / name}: claims {entry.file_size:,} bytes,"
                            f" expected at most {pictures.MAXIMUM_BYTES:,}"
                        )
                    yield name, archive.read(entry)
        else:
            wanted = set(names)
            with open_stream(self.path) as stream:
                yield from tar.read_pictures(
                    stream, wanted.__contains__, maximum_bytes=pictures.MAXIMUM_BYTES
                )


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from archives with the role of the part's name.

    Yields:
        Batches whose images are uint8 (rows, height, width, channels), with where each row belongs.

    Raises:
        FormatError: an archive is damaged, a file is no picture, or a folder is none of the classes.
        PipelineError: an archive is missing or cannot be read.
    """
    tables = request.places(f"{request.part}_table")
    start = 0
    for number, (path, folder) in enumerate(request.places(request.part)):
        archive = _Archive(path)
        chosen = _listed(archive, folder or "", tables[number : number + 1], request)
        yield from _batches(archive, chosen, start, request)
        start += len(chosen)


def _listed(archive: _Archive, folder: str, table: list[Member], request: Request) -> dict[str, str]:
    """Full name -> label of the pictures of a part; what else is needed to tell them goes with this frame."""
    names = archive.names()
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise FormatError(f"{archive.path / twice}: is in the archive twice")
    files = _below(names, folder, {*(request.reading.labels or request.classes)})
    labels = _table(*table[0], files) if table else None
    return _chosen(files, labels, archive.path / folder, request)


def _below(names: list[str], folder: str, known: set[str]) -> dict[str, str]:
    """The files below a folder of an archive: their names there -> their full names.

    A single folder around everything is passed over, unless it is the one looked for, or a class.
    """
    seen = [
        name
        for name in names
        if not any(part.startswith(".") or part.lower() in _BOOKKEEPING for part in name.split("/"))
    ]
    tops = {name.partition("/")[0] for name in seen}
    around = ""
    if len(tops) == 1 and all("/" in name for name in seen):
        (top,) = tops
        if top != folder.partition("/")[0] and top not in known:
            around = f"{top}/"
    prefix = around + (f"{folder.rstrip('/')}/" if folder else "")
    return {name.removeprefix(prefix): name for name in seen if name.startswith(prefix)}


def _table(path: Path, member: str | None, files: Collection[str]) -> dict[str, str]:
    """The labels of pictures by their names: the first, maybe without suffix, and last column of a CSV."""
    place, data = _table_data(path, member)
    labels: dict[str, str] = {}
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    for number, row in enumerate(_parsed(rows, place)):
        name = _with_suffix(row[0], files) if row else ""
        if not row or (number == 0 and not _is_picture(name)):
            continue
        if len(row) < 2:
            raise FormatError(f"{place}: expected a name and a label, found one column in row {number:,}")
        if name in labels:
            raise FormatError(f"{place}: {shorten(row[0])} is in it twice")
        labels[name] = row[-1].strip()
    return labels


def _with_suffix(name: str, files: Collection[str]) -> str:
    """The file that a table means; the name itself if there is none."""
    if _is_picture(name):
        return name
    found = (name + suffix for suffix in _SUFFIXES if name + suffix in files)
    return next(found, name)


def _table_data(path: Path, member: str | None) -> tuple[Path, bytes]:
    """Where a table is, for messages, and what it holds."""
    if member is not None and path.is_dir():
        path, member = path / member, None
    if member is None or zips.is_zip(path):
        with open_stream(path, member) as stream:
            data = stream.read(_MAXIMUM_TABLE_BYTES + 1)
            place = stream.path
    else:
        place = path / member
        with open_stream(path) as stream:
            found = dict(tar.read_pictures(stream, member.__eq__, maximum_bytes=_MAXIMUM_TABLE_BYTES))
        if not found:
            raise FormatError(f"{path}: expected the table {member} in the tar archive; it is not there")
        data = found[member]
    if len(data) > _MAXIMUM_TABLE_BYTES:
        raise FormatError(f"{place}: expected a table of at most {_MAXIMUM_TABLE_BYTES:,} bytes")
    return place, data


def _parsed(rows: Iterator[list[str]], place: Path) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise FormatError(f"{place}: damaged CSV: {error}") from None


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in pictures.SUFFIXES


def _chosen(
    files: dict[str, str], labels: dict[str, str] | None, place: Path, request: Request
) -> dict[str, str]:
    """Full name -> label of the pictures of a part, in the order of their names."""
    same: dict[str, str] = {}
    for name in files:
        if (other := same.setdefault(name.casefold(), name)) != name:
            raise FormatError(
                f"{place}: {shorten(other)} and {shorten(name)} differ only in case: rename one"
            )
    known = request.reading.labels or dict.fromkeys(request.classes)
    if labels is not None:
        missing = sorted(set(labels) - set(files))
        if missing:
            raise FormatError(
                f"{place}: expected {shorten(missing[0])}, which the table names; it is not there"
            )
        found = labels
    else:
        found = {name: sys.intern(name.partition("/")[0]) for name in files if "/" in name}
        odd = sorted(name for name in found if not _is_picture(name))
        if odd:
            raise FormatError(f"{place / odd[0]}: expected an image file by its suffix, found another")
    if request.reading.labels:
        found = {name: label for name, label in found.items() if label in known}
    unknown = sorted({*found.values()} - set(known))
    if unknown:
        what = "label" if labels is not None else "folder"
        raise FormatError(
            f"{place}: the {what} {shorten(unknown[0])} is none of the classes"
            f" {shorten(', '.join(known))}{did_you_mean(unknown[0], known)}"
        )
    if not found:
        raise FormatError(f"{place}: expected folders of images, one for each class, found none")
    return {files[name]: found[name] for name in sorted(found, key=_name_bytes)}


def _name_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # an archive's names may be of another encoding


def _batches(archive: _Archive, chosen: dict[str, str], start: int, request: Request) -> Iterator[Batch]:
    # Names are text for the coder; a class called 7 is not the eighth.
    codes = {name: place for place, name in enumerate(request.classes)}
    places = {name: row for row, name in enumerate(chosen)}
    images = np.empty((request.rows_at_a_time, *request.shape), np.uint8)
    rows: list[int] = []
    labels: list[str | int] = []

    def batch() -> Batch:
        kept = np.array(labels) if request.reading.labels else np.array(labels) + request.reading.first_label
        return Batch(images[: len(rows)], kept, archive.path, archive.path, start, np.array(rows))

    with pictures.decoder() as decoder, zips.told(archive.path):
        for name, data in archive.contents(list(chosen)):
            row, label = places[name], chosen[name]
            levels = decoder.decode(data, archive.path / name)
            images[len(rows)] = fitted(levels, request.shape, background=255.0 * request.reading.invert)
            rows.append(start + row)
            labels.append(label if request.reading.labels else codes[label])
            if len(rows) == len(images):
                yield batch()
                rows.clear()
                labels.clear()
        if rows:
            yield batch()


def fitted(levels: Array, shape: tuple[int, int, int], *, background: float) -> Array:
    """A picture of any size as an image of a data set: see the module.

    Args:
        levels: float32 (height, width, 4): red, green, blue and opacity, from 0 to 255.
        shape: height, width and channels of the result.
        background: level around the picture and behind what is transparent.

    Returns:
        uint8 of that shape.
    """
    height, width, channels = shape
    opacity = levels[..., 3:] / 255
    colours = levels[..., :3] * opacity + background * (1 - opacity)
    planes = colours if channels == 3 else (colours @ _GREY)[..., np.newaxis]
    if planes.shape[:2] != (height, width):
        scale = min(height / planes.shape[0], width / planes.shape[1])
        size = tuple(
            min(limit, max(1, round(side * scale)))
            for side, limit in zip(planes.shape[:2], (height, width), strict=True)
        )
        scaled = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(planes[..., channel])).resize(
                    size[::-1], Image.Resampling.BILINEAR
                )
            )
            for channel in range(channels)
        ]
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        planes = np.full(shape, background, np.float32)
        planes[top : top + size[0], left : left + size[1]] = np.stack(scaled, axis=-1)
    rounded: Array = np.rint(planes.clip(0, 255)).astype(np.uint8)
    return rounded
