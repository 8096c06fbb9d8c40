"""Files of one's own: where they are, their checksums, and how a folder of them becomes one file.

A folder is packed into a tar archive without times, owners or compression, in the order of the names: the
same folder gives the same bytes on every machine, and DVC has one file to look after instead of many.
"""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from omegaconf import OmegaConf

from pipeline.config.messages import in_one_line
from pipeline.core.errors import ConfigError, FormatError, PipelineError
from pipeline.core.files.atomic import atomic_write, reading
from pipeline.core.leftovers import files_below

SUFFIX: Final = ".tar"
"""Of a packed folder."""


def read_places(conf: Path) -> dict[str, str]:
    """Where the files of each data set of one's own are, from conf/local.yaml, as it is written there.

    Raises:
        ConfigError: the file is not a mapping of names to paths.
    """
    path = conf / "local.yaml"
    if not path.is_file():
        return {}
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    # A YAML parser's complaints have many classes.
    except Exception as error:
        raise ConfigError(f"{path}: {in_one_line(error)}") from error
    places = found.get("local") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise ConfigError(f"{path}: expected `local:` with a line `NAME: PATH` for each data set of your own")
    return {str(name): place for name, place in places.items()}


def find_place(root: Path, name: str) -> Path:
    """Where the files of the data set `name` are.

    Args:
        root: of the checkout.
        name: as in conf/dataset/NAME.yaml.

    Raises:
        ConfigError: conf/local.yaml does not say.
        PipelineError: they are not there.
    """
    places = read_places(root / "conf")
    if name not in places:
        raise ConfigError(
            f"{root / 'conf' / 'local.yaml'}: {name} is not in it; add a line `{name}: PATH`, where its files"
            " are"
        )
    place = Path(os.path.normpath(root / places[name]))
    if not place.exists():
        raise PipelineError(
            f"{place} is missing: conf/local.yaml says that the files of {name} are there; put them back, or"
            " correct the path"
        )
    return place


def find_origin(place: Path, name: str) -> Path:
    """The file, or the folder to be packed, that becomes the raw file `name`.

    Args:
        place: the file or folder of the data set.
        name: of the raw file: that of a file, or FOLDER.tar for a folder.

    Raises:
        PipelineError: there is none.
    """
    # Beside a file there may be others, but DVC looks after what conf/local.yaml names alone.
    inside = [place / name, place / name.removesuffix(SUFFIX)] if place.is_dir() else []
    for path in (place, *inside):
        if path.is_file() and path.name == name:
            return path
        if path.is_dir() and path.name + SUFFIX == name:
            return path
    if place.is_dir():
        raise PipelineError(
            f"{place / name} is missing: conf/dataset names it; put it back, or add the data set anew"
        )
    raise PipelineError(
        f"{place}: conf/local.yaml names this file, but conf/dataset {name}; let conf/local.yaml name the"
        " folder that holds what conf/dataset names"
    )


def checksum(origin: Path) -> str:
    """The sha256 of a file, or of a folder packed, in hexadecimal.

    Raises:
        PipelineError: it cannot be read.
    """
    if origin.is_dir():
        sink = _Hash()
        _pack(origin, cast("BinaryIO", sink))
        return sink.digest.hexdigest()
    digest = hashlib.sha256()
    with reading(origin) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def copy(origin: Path, destination: Path) -> None:
    """Copy a file, or pack a folder, whole or not at all.

    Raises:
        PipelineError: it cannot be read or written.
    """
    with atomic_write(destination) as output:
        if origin.is_dir():
            _pack(origin, output)
        else:
            with reading(origin) as file:
                shutil.copyfileobj(file, output, 1 << 20)


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder by its name from there on, in the order of the names; hidden ones aside.

    Raises:
        FormatError: two names differ in case alone, or a folder below is a link, which is not followed.
    """
    for parent, folders, _ in os.walk(folder):
        for each in (Path(parent, name) for name in folders):
            if each.is_symlink() and "/." not in f"/{each.relative_to(folder).as_posix()}":
                raise FormatError(
                    f"{each}: expected a folder, found a link to one, which is not followed: put the folder"
                    " itself there"
                )
    found = {path.relative_to(folder).as_posix(): path for path in files_below([folder])}
    seen: dict[str, str] = {}
    for name in sorted(name for name in found if "/." not in f"/{name}"):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise FormatError(
                f"{folder}: {other} and {name} differ in case alone, and some systems take them for one:"
                " rename one of them"
            )
        yield name, found[name]


class _Hash(io.RawIOBase):
    """What is written to it is hashed and forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def write(self, data: object) -> int:
        """Hash some bytes."""
        view = memoryview(cast("bytes", data))
        self.digest.update(view)
        return view.nbytes


def _pack(folder: Path, output: BinaryIO) -> None:
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name, path in files_in(folder):
            with reading(path) as file:
                entry = tarfile.TarInfo(name)
                entry.size = os.fstat(file.fileno()).st_size
                try:
                    archive.addfile(entry, file)
                except OSError as error:
                    raise PipelineError(f"{path}: became shorter while it was read ({error})") from None
