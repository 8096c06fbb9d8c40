"""What the page shows of two versions of an experiment: images gained and lost, and the first's curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.nn.arrays import Floats, Pixels
from pipeline.report.page.experiment import encode_picture, rounded
from pipeline.report.versions import Outputs

MOST: Final = 24
"""How many images of an experiment are shown as gained, and how many as lost."""


@dataclass(frozen=True)
class MovedImage:
    """A test image that only one of two versions recognises.

    Attributes:
        image: its place in the test set.
        actual: its class.
        before: the class that the first version takes it for.
        before_probability: that the first one gives this class.
        after: likewise of the second version.
        after_probability: likewise.
        picture: base64 of a PNG; empty where the pixels are not to be had.
    """

    image: int
    actual: int
    before: int
    before_probability: float
    after: int
    after_probability: float
    picture: str


def describe_moved(
    first: Outputs, second: Outputs, places: Sequence[int], images: Pixels | None
) -> list[MovedImage]:
    """The `MOST` of some images whose actual class got the most other probability, these first.

    Args:
        first: what the first version says of the test part.
        second: what the second one says of the same images.
        places: in the test set, of the images that were gained, or of those that were lost.
        images: the test set, uint8 (count, height, width, channels); None where it is not to be had.

    Returns:
        Their probabilities with six significant digits; where two images moved as far, the one that comes
        first in the test set is first.
    """
    before, after = first.in_order(), second.in_order()
    rows = np.searchsorted(before.images, np.sort(np.asarray(places, dtype=np.int64)))
    labels = before.labels[rows]
    moved = after.probabilities[rows, labels].astype(np.float64) - before.probabilities[rows, labels]
    chosen = rows[np.argsort(-np.abs(moved), kind="stable")][:MOST]
    return [
        MovedImage(
            int(before.images[row]),
            int(before.labels[row]),
            *_answer(before.probabilities[row]),
            *_answer(after.probabilities[row]),
            picture="" if images is None else encode_picture(images[before.images[row]]),
        )
        for row in chosen.tolist()
    ]


def describe_history(
    first: Mapping[str, Floats], second: Mapping[str, Floats]
) -> dict[str, list[float | None]] | None:
    """The first version's curves as `experiment` writes the second one's; None where they are the same.

    Args:
        first: columns of history.csv, (rows,) each, NaN where a field is empty.
        second: likewise.
    """
    if all(np.array_equal(first[name], second[name], equal_nan=True) for name in first):
        return None
    return {name: rounded(column) for name, column in first.items()}


def _answer(probabilities: Floats) -> tuple[int, float]:
    predicted = int(probabilities.argmax())
    return predicted, float(f"{float(probabilities[predicted]):.6g}")
