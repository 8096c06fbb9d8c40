"""Two classifiers on the same images: where they differ, and whether that can be chance. Arrays only."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.arrays import Floats, Integers

Booleans = NDArray[np.bool_]

EXACT_BELOW: Final = 25
"""Number of images that just one of the two recognises below which the exact test is made."""


@dataclass(frozen=True)
class McNemar:
    """Outcome of McNemar's test.

    Attributes:
        only_first: images that only the first classifier recognises.
        only_second: images that only the second one recognises.
        method: ``exact binomial`` or ``chi-square with continuity correction``.
        statistic: the chi-square; None for the exact test.
        p_value: how probable a difference at least as large is if both are equally good.
    """

    only_first: int
    only_second: int
    method: str
    statistic: float | None
    p_value: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """McNemar's test that two classifiers, measured on the same images, are equally good.

    With b and c the numbers of images that only the one or the other recognises: under the null hypothesis b
    is binomial(b + c, ½). Below 25 such images the two-sided exact p value is 2·P(X ≤ min(b, c)), at most 1;
    from there on χ² = (max(0, |b - c| - 1))² / (b + c) with one degree of freedom, so p = erfc(√(χ² / 2)).

    Sources: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947); the correction: Edwards, Psychometrika 13 (1948); its use for
    classifiers: Dietterich, "Approximate statistical tests", Neural Computation 10 (1998).

    Args:
        only_first: b.
        only_second: c.

    Returns:
        The outcome.

    Raises:
        ValueError: a number is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts {only_first} and {only_second}: not below 0")
    discordant = only_first + only_second
    if discordant < EXACT_BELOW:
        ways = sum(math.comb(discordant, count) for count in range(min(only_first, only_second) + 1))
        p_value = min(1.0, 2 * ways / 2**discordant)
        return McNemar(only_first, only_second, "exact binomial", None, p_value)
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / discordant
    p_value = math.erfc(math.sqrt(statistic / 2))
    return McNemar(only_first, only_second, "chi-square with continuity correction", statistic, p_value)


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same images.

    Attributes:
        first: (images,) integers, the classes that the first one predicts.
        second: (images,) integers, those of the second one.
        first_right: (images,) whether these are the actual ones.
        second_right: (images,) likewise.
        test: McNemar's test of the difference.
        disagreements: (n,) int64, the images to which they give different classes, those first on which their
            probabilities are furthest apart.
    """

    first: Integers
    second: Integers
    first_right: Booleans
    second_right: Booleans
    test: McNemar
    disagreements: NDArray[np.int64]

    def table(self) -> dict[str, int]:
        """How many images both, only the first, only the second and neither recognise."""
        return {
            "both_right": int(np.count_nonzero(self.first_right & self.second_right)),
            "only_a_right": self.test.only_first,
            "only_b_right": self.test.only_second,
            "both_wrong": int(np.count_nonzero(~self.first_right & ~self.second_right)),
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
        mcnemar(
            int(np.count_nonzero(first_right & ~second_right)),
            int(np.count_nonzero(second_right & ~first_right)),
        ),
        different[np.argsort(-apart, kind="stable")],
    )
