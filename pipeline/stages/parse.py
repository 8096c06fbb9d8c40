"""parse: turn the raw files of a data set into memory-mappable arrays in data/parsed/SOURCE/DATASET."""

from pipeline.config.schema import Dataset
from pipeline.core.paths import Layout
from pipeline.core.progress import say
from pipeline.data import datasets


def run(layout: Layout, dataset: Dataset, source_name: str) -> None:
    """Parse the files that fetch brought.

    Raises:
        FormatError: a file is not what it should be.
        ConfigError: the data set's format is unknown, or consists of other files.
    """
    source = dataset.source(source_name)
    raw = layout.raw(source_name, dataset.name)
    expected = datasets.Expected(
        image_shape=(dataset.image_shape[0], dataset.image_shape[1], dataset.image_shape[2]),
        class_count=len(source.classes),
        train_count=source.train_count,
        test_count=source.test_count,
    )
    files = {role: raw / file.name for role, file in source.files.items()}
    datasets.check_roles(dataset.format, files)
    datasets.FORMATS[dataset.format](files, layout.parsed(source_name, dataset.name), expected)
    say(f"{source.title}: {source.train_count:,} training and {source.test_count:,} test images")
