"""Two classifiers on the same images: where they differ, and whether that can be chance. Arrays only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.arrays import Floats, Integers
from pipeline.report.paired import Estimate, compare_accuracies

Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same images.

    Attributes:
        first: (images,) integers, the classes that the first one predicts.
        second: (images,) integers, those of the second one.
        first_right: (images,) whether these are the actual ones.
        second_right: (images,) likewise.
        accuracy: the second one's minus the first one's.
        disagreements: (n,) int64, the images to which they give different classes, those first on which their
            probabilities are furthest apart.
    """

    first: Integers
    second: Integers
    first_right: Booleans
    second_right: Booleans
    accuracy: Estimate
    disagreements: NDArray[np.int64]

    def table(self) -> dict[str, int]:
        """How many images both, only the first, only the second and neither recognise."""
        return fourfold_table(self.first_right, self.second_right)


def fourfold_table(first_right: Booleans, second_right: Booleans) -> dict[str, int]:
    """How many images both classifiers, only the first, only the second and neither recognise.

    Args:
        first_right: (images,) whether the first one recognises each.
        second_right: (images,) whether the second one does.
    """
    return {
        "both_right": int(np.count_nonzero(first_right & second_right)),
        "only_a_right": int(np.count_nonzero(first_right & ~second_right)),
        "only_b_right": int(np.count_nonzero(second_right & ~first_right)),
        "both_wrong": int(np.count_nonzero(~first_right & ~second_right)),
    }


def compare(first: Floats, second: Floats, labels: Integers) -> Comparison:
    """Compare two classifiers by the probabilities they give to the same images.

    Args:
        first: (images, classes), the first one's.
        second: the same shape, the second one's.
        labels: (images,) integers, the actual classes.

    Returns:
        The comparison.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if first.shape != second.shape or first.shape[:1] != labels.shape:
        raise ValueError(f"probabilities {first.shape} and {second.shape}, labels {labels.shape}")
    chosen: list[NDArray[Any]] = [probabilities.argmax(axis=1) for probabilities in (first, second)]
    first_right, second_right = (predicted == labels for predicted in chosen)
    different = np.flatnonzero(chosen[0] != chosen[1])
    # Total variation distance, in float64 so that equal networks of two dtypes rank alike.
    apart = np.abs(first[different].astype(np.float64) - second[different]).sum(axis=1)
    return Comparison(
        chosen[0],
        chosen[1],
        first_right,
        second_right,
        compare_accuracies(*fourfold_table(first_right, second_right).values()),
        different[np.argsort(-apart, kind="stable")],
    )
