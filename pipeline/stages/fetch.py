"""fetch: bring the files of a data set into data/raw/SOURCE/DATASET, by download or by drawing."""

import hashlib
from pathlib import Path

from pipeline.config.schema import Dataset, Source
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.paths import Layout
from pipeline.core.progress import progress, say


def run(layout: Layout, dataset: Dataset, source_name: str) -> None:
    """Fetch `dataset` from its source of that name.

    Raises:
        FetchError: no mirror delivered a file.
        ConfigError: there is no such drawing.
        FormatError: a drawn file does not have the checksum that conf/dataset gives.
    """
    source = dataset.source(source_name)
    folder = layout.raw(source_name, dataset.name)
    if source.drawing is None:
        _download(source, dataset.name, folder, layout.parts(source_name, dataset.name))
    else:
        _draw(dataset, source, folder)


def _download(source: Source, dataset: str, folder: Path, part_folder: Path) -> None:
    from pipeline.data.download import fetch, mirrors, part  # noqa: PLC0415  (the HTTP library is not needed to draw)

    for file in source.files.values():
        fetch.fetch(
            part.RemoteFile(file.name, file.bytes, file.sha256),
            source.mirrors,
            folder,
            part_folder=part_folder,
            own_mirror=mirrors.mirror_from_environment(),
            dataset=dataset,
            show_progress=progress,
            report=say,
        )


def _draw(dataset: Dataset, source: Source, folder: Path) -> None:
    from pipeline.core.files import images  # noqa: PLC0415  (NumPy is not needed to download)
    from pipeline.data import datasets, standins

    datasets.check_roles(dataset.format, source.files)
    if source.drawing not in standins.DRAWINGS or dataset.format not in datasets.WRITERS:
        raise ConfigError(
            f"{dataset.name}: drawing={source.drawing} with format={dataset.format}: expected one of"
            f" {', '.join(standins.DRAWINGS)}, and {' or '.join(datasets.WRITERS)}"
        )
    say(f"drawing {source.title}")
    drawing = standins.DRAWINGS[source.drawing]()
    files = {role: folder / file.name for role, file in source.files.items()}
    train = images.LabelledImages(drawing.train_images, drawing.train_labels)
    test = images.LabelledImages(drawing.test_images, drawing.test_labels)
    datasets.WRITERS[dataset.format](files, train, test, source.classes)
    for file in source.files.values():
        path = folder / file.name
        with path.open("rb") as stream:
            found = path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()
        if found != (file.bytes, file.sha256):
            raise FormatError(
                f"{path}: drawn with {found[0]} bytes and sha256 {found[1]}, expected {file.bytes} and"
                f" {file.sha256} (conf/dataset); has the drawing code changed?"
            )
