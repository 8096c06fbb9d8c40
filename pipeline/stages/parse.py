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
    files = {role: context.raw / file.name for role, file in source.files.items()}
    datasets.check_roles(dataset.format, files)
    datasets.FORMATS[dataset.format](files, context.parsed, dataset.image_shape, source)
    say(f"{source.title}: {source.train_count:,} training and {source.test_count:,} test images")
