"""parse: turn the raw files of a data set into memory-mappable arrays in data/parsed/SOURCE/DATASET."""

from pathlib import Path

from pipeline.core.progress import say
from pipeline.data import datasets
from pipeline.stages.shared.context import DatasetContext


def inputs(context: DatasetContext) -> list[Path]:
    """What the stage reads, beside the definition of the data set."""
    return [context.raw]


def run(context: DatasetContext) -> None:
    """Parse the files that fetch brought.

    Raises:
        FormatError: a file is not what it should be.
        ConfigError: the data set's format is unknown, or consists of other files.
    """
    dataset, source = context.dataset, context.dataset.source(context.source)
    files = {
        role: [context.raw / file.name for file in files] for role, files in source.files_by_role.items()
    }
    counts = datasets.parse(dataset.format, files, context.parsed, dataset.image_shape, source)
    tested = f"{counts['test']:,} test images" if source.has_test else "no test images: the split takes some"
    say(f"{source.title}: {counts['train']:,} training and {tested}")
