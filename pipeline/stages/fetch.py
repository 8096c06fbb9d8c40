"""fetch: bring the files of a data set into data/raw/SOURCE/DATASET: downloaded, drawn or copied.

DVC leaves the folder as it is when it runs this stage again (`persist: true` in dvc.yaml), so that an edit of
the code costs no download: files whose size and checksum are right stay. What else is in the folder goes, for
it would be part of the output's hash. A drawing is made anew each time, to see that the code still draws it.
"""

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from pipeline import data
from pipeline.config.schema import Dataset, Source
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.progress import progress, say
from pipeline.stages.shared.context import DatasetContext

PACKAGED: Final = Path(data.__file__).parent / "packaged"
"""The files that come with the package."""

_MAXIMUM_PACKAGED_BYTES: Final = 2**24


def inputs(context: DatasetContext) -> list[Path]:
    """What the stage reads: nothing, beside the definition of the data set."""
    del context
    return []


def run(context: DatasetContext) -> None:
    """Fetch the data set from its source; afterwards its folder holds these files and no others.

    Raises:
        FetchError: no mirror delivered a file.
        ConfigError: there is no such drawing, or conf/local.yaml does not say where the files are.
        FormatError: a drawn or copied file does not have the checksum that conf/dataset gives.
    """
    dataset, source = context.dataset, context.dataset.source(context.source)
    if source.packaged:
        _unpack(source, context.raw)
    elif source.local:
        _copy(source, dataset.name, context)
    elif source.drawing is None:
        _download(source, dataset, context.raw, context.layout.parts(context.source, dataset.name))
    else:
        _draw(dataset, source, context.raw)
    # Last, so that a failure takes nothing away.
    _remove_others(context.raw, {file.name for file in source.all_files})


def _download(source: Source, dataset: Dataset, folder: Path, part_folder: Path) -> None:
    from pipeline.data.download import fetch, mirrors  # the HTTP library is not needed to draw

    for file in source.all_files:
        fetch.fetch(
            file,
            source.mirrors,
            folder,
            part_folder=part_folder,
            own_mirror=mirrors.mirror_from_environment(),
            dataset=dataset.name,
            has_stand_in="bundled" in dataset.sources,
            show_progress=progress,
            report=say,
        )


def _draw(dataset: Dataset, source: Source, folder: Path) -> None:
    from pipeline.core.files import images  # NumPy is not needed to download
    from pipeline.data import datasets, standins

    datasets.check_roles(dataset.format, source)
    if source.drawing not in standins.DRAWINGS or dataset.format not in datasets.WRITERS:
        raise ConfigError(
            f"{dataset.name}: drawing={source.drawing} with format={dataset.format}: expected one of"
            f" {', '.join(standins.DRAWINGS)}, and {' or '.join(datasets.WRITERS)}"
        )
    say(f"drawing {source.title}")
    drawing = standins.DRAWINGS[source.drawing]()
    files = {role: folder / files[0].name for role, files in source.files_by_role.items()}
    train = images.LabelledImages(drawing.train_images, drawing.train_labels)
    test = images.LabelledImages(drawing.test_images, drawing.test_labels)
    datasets.WRITERS[dataset.format](files, train, test, source.classes)
    _check(source, folder, "drawn", "has the drawing code changed?")


def _unpack(source: Source, folder: Path) -> None:
    """Copy the files that come with the package."""
    from pipeline.core.files.atomic import read_bytes, write_bytes  # NumPy is not needed to download

    for file in source.all_files:
        packaged = PACKAGED / file.name
        write_bytes(folder / file.name, read_bytes(packaged, maximum_bytes=_MAXIMUM_PACKAGED_BYTES))
        say(f"{file.name}: from this package")
    _check(source, folder, "found", "has the package been changed?")


def _copy(source: Source, name: str, context: DatasetContext) -> None:
    """Copy files of the user's own, and pack folders."""
    from pipeline.data import local

    place = local.find_place(context.layout.root, name)
    for file in source.all_files:
        target = context.raw / file.name
        if not (target.is_file() and local.checksum(target) == file.checksum[1]):
            origin = local.find_origin(place, file.name)
            local.copy(origin, target)
            say(f"{file.name}: {'packed' if origin.is_dir() else 'copied'} from {origin}")
    _check(source, context.raw, "found", f"have the files changed? pipeline describe {name}")


def _check(source: Source, folder: Path, made: str, doubt: str) -> None:
    """See that files have the sizes and checksums that their definition gives."""
    for file in source.all_files:
        path = folder / file.name
        algorithm, digest = file.checksum
        with path.open("rb") as stream:
            found = path.stat().st_size, hashlib.file_digest(stream, algorithm).hexdigest()
        if found[0] != (file.bytes or found[0]) or found[1] != digest:
            raise FormatError(
                f"{path}: {made} with {found[0]} bytes and {algorithm} {found[1]}, expected"
                f" {file.bytes or found[0]} and {digest} (conf/dataset); {doubt}"
            )


def _remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove what is in the folder beside the files of these names: a renamed file, say."""
    for path in sorted(folder.iterdir()):
        if path.name in names:
            continue
        say(f"{path.name}: no file of this data set; removed")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
