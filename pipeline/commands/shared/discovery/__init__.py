"""What a stranger's files are: their format, what plays which role, the images' shape, the labels.

Names and first bytes are looked at, labels are read; whether everything fits is then seen by parsing it.
"""

import functools
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from pipeline.commands.shared.discovery.archives import describe_known
from pipeline.commands.shared.discovery.arrays import describe_csv, describe_idx, describe_npz, is_idx
from pipeline.commands.shared.discovery.folders import describe_pictures, tar_member, zip_member
from pipeline.commands.shared.discovery.found import EXPECTED, Found
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import reading
from pipeline.data import local
from pipeline.data.formats import zips
from pipeline.data.pictures import SUFFIXES

_PARQUET: Final = ".parquet"

__all__ = ["Found", "discover"]


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
        return describe_npz(path, [path])
    if path.suffix.lower() == _PARQUET:
        return _in_parquet(path, [path], shape)
    if zips.is_zip(path):
        with zips.open_archive(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if len(names) != 1 or not names[0].lower().endswith(".csv"):
                return describe_pictures(path, names, functools.partial(zip_member, archive), shape)
        return describe_csv(path, [path], shape)
    if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return _in_tar(path, shape)
    if _is_csv(path):
        return describe_csv(path, [path], shape)
    if is_idx(path):
        raise FormatError(
            f"{path}: one idx file alone; name the folder that holds it with its labels (or its images)"
        )
    raise FormatError(f"{path}: expected {EXPECTED}; found {describe(head)}")


def _in_folder(folder: Path, shape: tuple[int, int, int] | None) -> Found:
    files = dict(local.files_in(folder))
    if not files:
        raise FormatError(f"{folder}: the folder is empty; expected {EXPECTED}")

    def open_one(name: str) -> AbstractContextManager[BinaryIO]:
        return reading(files[name])

    if found := describe_known(folder, files, lambda name: files[name].stat().st_size, open_one, shape):
        return found
    if tables := [path for path in files.values() if path.suffix.lower() == _PARQUET]:
        return _in_parquet(folder, tables, shape)
    if sum(Path(name).suffix.lower() in SUFFIXES for name in files) > len(files) / 2:
        return describe_pictures(folder, list(files), open_one, shape)
    top = {name: path for name, path in files.items() if "/" not in name}
    return _in_files(folder, top, shape) if top else _nothing(folder, files)


def _in_files(folder: Path, paths: Mapping[str, Path], shape: tuple[int, int, int] | None) -> Found:
    """Of files side by side in a folder: those of the first format that any of them has."""
    if found := [path for path in paths.values() if is_idx(path)]:
        return describe_idx(folder, found)
    if found := [path for path in paths.values() if _is_npz(path)]:
        return describe_npz(folder, found)
    if found := [path for path in paths.values() if _is_csv(path)]:
        return describe_csv(folder, found, shape)
    if len(paths) == 1:
        return _in_file(next(iter(paths.values())), shape)
    return _nothing(folder, paths)


def _in_parquet(place: Path, paths: Sequence[Path], shape: tuple[int, int, int] | None) -> Found:
    from pipeline.commands.shared.discovery.parquet import describe_parquet  # an extra

    return describe_parquet(place, paths, shape)


def _in_tar(path: Path, shape: tuple[int, int, int] | None) -> Found:
    try:
        with tarfile.open(path) as archive:
            members = {entry.name.removeprefix("./"): entry for entry in archive if entry.isfile()}
            open_one = functools.partial(tar_member, archive, members)
            found = describe_known(path, members, lambda name: members[name].size, open_one, shape)
            return found or describe_pictures(path, list(members), open_one, shape)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: expected a tar archive: {shorten(str(error))}") from None


def _nothing(folder: Path, files: Iterable[str]) -> NoReturn:
    raise FormatError(f"{folder}: expected {EXPECTED}; found {shorten(', '.join(files))}")


def _head(path: Path) -> bytes:
    with reading(path) as file:
        return file.read(HEAD_BYTES) or b""


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz", ".csv.zip"))
