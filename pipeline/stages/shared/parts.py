"""What the stages after split share: the parts of a data set, as the training loop wants them."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Config
from pipeline.core.files import contracts, images
from pipeline.core.files.arrays import read_arrays
from pipeline.core.files.atomic import Array
from pipeline.core.paths import Results
from pipeline.nn.arrays import Pixels
from pipeline.nn.examples import Examples
from pipeline.nn.preprocessing import Statistics

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Parts:
    """The examples of each part, and what preprocessing learnt from the train part."""

    train: Examples
    valid: Examples
    test: Examples
    statistics: Statistics

    def by_name(self) -> dict[str, Examples]:
        """Those that have images, in the order train, valid, test."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in parts.items() if len(part)}


def flat_pixels(images: Pixels) -> Pixels:
    """Images (n, height, width, channels) as rows (n, features): a view."""
    return images.reshape(len(images), -1)


def read_split(path: Path, config: Config, counts: tuple[int | None, int | None]) -> dict[str, Array]:
    """The arrays of a split.npz.

    Args:
        path: the file, in its experiment's folder.
        config: the experiment's.
        counts: images of the training and of the test set; None where they are not at hand.

    Raises:
        PipelineError: it is missing or damaged, or its contents are not what split writes.
    """
    arrays = read_arrays(path)
    remedy = f"make it again: dvc repro --force --single-item split@{path.parent.name}"
    contracts.check(
        arrays, contracts.split_rules(*counts, config.dataset.features, config.sizes[0]), path, remedy
    )
    return arrays


def read_statistics(path: Path, config: Config) -> Statistics:
    """What preprocessing learnt, from a split.npz.

    Raises:
        PipelineError: see `read_split`.
    """
    return Statistics.from_arrays(read_split(path, config, (None, None)))


def load_parts(parsed: Path, results: Results, config: Config) -> Parts:
    """Map the parsed data set and read the split.

    Raises:
        PipelineError: a file is missing or damaged, or its contents are not what parse or split writes, or
            do not fit the configuration's data set.
    """
    shape, classes = config.dataset.image_shape, len(config.classes)
    train, test = (images.load(parsed, part, shape, classes) for part in ("train", "test"))
    pixels = {"train": flat_pixels(train.images), "test": flat_pixels(test.images)}
    arrays = read_split(results.split, config, (len(train), len(test)))
    return Parts(
        train=Examples(pixels["train"], train.labels, arrays["train"]),
        valid=Examples(pixels["train"], train.labels, arrays["valid"]),
        test=Examples(pixels["test"], test.labels, arrays["test"]),
        statistics=Statistics.from_arrays(arrays),
    )
