"""Two of a kind measured on the same images, or with the same seeds: how far chance alone takes them apart.

Arrays and counts in, numbers out. Every difference is second minus first. Few formulas are needed, and plain
ones: the standard library's integers and normal distribution are enough for them.
"""

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.arrays import Floats, Integers
from pipeline.report.metrics import calibration_bins

CONFIDENCE: Final = 0.95
"""Share of samples whose interval holds the true difference."""


class Estimate(NamedTuple):
    """A difference with its uncertainty.

    Attributes:
        difference: second minus first.
        low: lower end of the interval of `CONFIDENCE`.
        high: its upper end.
        p_value: how probable a difference at least as large is where there is none in truth.
    """

    difference: float
    low: float
    high: float
    p_value: float


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's mid-p test that two classifiers, measured on the same images, are equally good.

    With b and c the numbers of images that only the one or the other recognises: under the null hypothesis b
    is X ~ binomial(b + c, ½), and p = 2·P(X < min(b, c)) + P(X = min(b, c)). The exact test, which counts the
    second term twice, is too careful, and the χ² test not careful enough where b + c is small.

    Sources: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947); Fagerland, Lydersen and Laake, "The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Medical Research
    Methodology 13:91 (2013).

    Args:
        only_first: b.
        only_second: c.

    Returns:
        The two-sided p value.

    Raises:
        ValueError: a number is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts {only_first} and {only_second}: not below 0")
    discordant = only_first + only_second
    ways, below = 1, 0
    for count in range(min(only_first, only_second)):
        below += ways
        ways = ways * (discordant - count) // (count + 1)
    return float((2 * below + ways) / 2**discordant)


def compare_accuracies(both: int, only_first: int, only_second: int, neither: int) -> Estimate:
    """The difference of two classifiers' accuracies on the same images.

    The p value is `mcnemar`'s. The interval squares and adds the distances of each accuracy p₁, p₂ from the
    ends l, u of its own Wilson interval, less what their correlation φ takes away; with d = p₂ - p₁:

        low  = d - √((p₂ - l₂)² - 2φ(p₂ - l₂)(u₁ - p₁) + (u₁ - p₁)²)
        high = d + √((u₂ - p₂)² - 2φ(u₂ - p₂)(p₁ - l₁) + (p₁ - l₁)²)

    φ is that of the fourfold table, 0 where a margin is; its numerator A = both·neither - b·c is diminished
    by n/2, but not below 0, where it is positive.

    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998), method 10.

    Args:
        both: images that both recognise.
        only_first: that the first alone recognises, b.
        only_second: that the second alone recognises, c.
        neither: that none recognises.

    Returns:
        The estimate, as shares from -1 to 1.

    Raises:
        ValueError: a number is negative, or all are 0.
    """
    counts = (both, only_first, only_second, neither)
    images = sum(counts)
    if min(counts) < 0 or not images:
        raise ValueError(f"counts {counts}: none below 0, and one above")
    first, second = (both + only_first) / images, (both + only_second) / images
    (low_1, high_1), (low_2, high_2) = (
        wilson(right, images) for right in (both + only_first, both + only_second)
    )
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    numerator: float = both * neither - only_first * only_second
    if numerator > 0:
        numerator = max(numerator - images / 2, 0)
    correlation = numerator / math.sqrt(margins) if margins else 0.0

    def distance(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0))

    difference = (only_second - only_first) / images
    return Estimate(
        difference,
        difference - distance(second - low_2, high_1 - first),
        difference + distance(high_2 - second, first - low_1),
        mcnemar(only_first, only_second),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion, of `CONFIDENCE`.

    With p = successes / n and z the normal quantile: (2np + z² ± z√(z² + 4np(1 - p))) / 2(n + z²).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927).

    Args:
        successes: how many.
        trials: of how many, n.

    Returns:
        The ends, from 0 to 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = successes / trials
    middle = 2 * successes + z**2
    reach = z * math.sqrt(z**2 + 4 * successes * (1 - share))
    low, high = (middle - reach) / (2 * (trials + z**2)), (middle + reach) / (2 * (trials + z**2))
    # Exact in these two cases, but for rounding.
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def compare_means(first: Floats, second: Floats) -> Estimate:
    """The difference of two means over the same images or seeds, by the paired t test.

    With d = second - first of each, their mean m and deviation s: m ± t·s/√n, and the p value of m√n/s, both
    by Student's distribution with n - 1 degrees of freedom.

    Where all d are the same there is no s to go by. Then p is the chance that n signs agree, 2 / 2ⁿ, and an
    interval that this does not keep from 0 goes from there to 2m.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908).

    Args:
        first: (n,) float, of at least two images or seeds.
        second: (n,) float, of the same ones in the same order.

    Returns:
        The estimate, in the unit of the values.

    Raises:
        ValueError: the shapes differ, there are fewer than two, or a value is not finite.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"shapes {first.shape} and {second.shape}: two equally long vectors of two or more")
    apart = second.astype(np.float64) - first
    if not np.isfinite(apart).all():
        raise ValueError("found a value that is not finite")
    mean = float(apart.mean())
    # The same, but for rounding. Accuracies are multiples of one image's share: few seeds agree by accident.
    if float(apart.std()) <= 1e-9 * float(np.abs(apart).max()):
        chance = 1.0 if mean == 0 else 2.0 ** (1 - len(apart))
        reach = abs(mean) if chance >= 1 - CONFIDENCE else 0.0
        return Estimate(mean, mean - reach, mean + reach, chance)
    error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
    freedom = len(apart) - 1
    reach = student_quantile(freedom) * error
    return Estimate(mean, mean - reach, mean + reach, student_p_value(mean / error, freedom))


def student_p_value(statistic: float, freedom: int) -> float:
    """How probable |T| ≥ |statistic| is by Student's distribution; below 1e-12 it is rounding.

    With θ = arctan(t/√ν), P(|T| < t) is sin θ·(1 + ½cos²θ + ½·¾cos⁴θ + …) of ν/2 terms for even ν, and for
    odd ν 2/π·(θ + sin θ cos θ·(1 + ⅔cos²θ + ⅔·⅘cos⁴θ + …)) of (ν - 1)/2 terms.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4.

    Args:
        statistic: t.
        freedom: degrees of freedom ν, 1 or more.

    Returns:
        From 0 to 1.
    """
    angle = math.atan(abs(statistic) / math.sqrt(freedom))
    odd = freedom % 2
    steps = np.arange(1, (freedom - odd) // 2, dtype=np.float64)
    ratios = (2 * steps - 1 + odd) / (2 * steps + odd) * math.cos(angle) ** 2
    total = 1 + float(np.cumprod(ratios).sum())
    if not odd:
        inside = math.sin(angle) * total
    elif freedom == 1:
        inside = 2 * angle / math.pi
    else:
        inside = 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
    return min(max(1 - inside, 0.0), 1.0)


@functools.cache
def student_quantile(freedom: int) -> float:
    """The t that |T| stays below with the probability `CONFIDENCE`, by Student's distribution."""
    low, high = 0.0, 2.0
    while student_p_value(high, freedom) > 1 - CONFIDENCE:
        high *= 2
    while (middle := (low + high) / 2) not in {low, high}:
        if student_p_value(middle, freedom) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def calibration_shares(probabilities: Floats, labels: Integers, bins: int = 15) -> NDArray[np.float64]:
    """What each image adds to the expected calibration error, which is their mean.

    In a bin the error is |Σ(confidence - right)| / n = Σ ±(confidence - right) / n, with the sign of the
    bin's sum. With the signs as they are, the error is a mean over images, and is compared as one. Two well
    calibrated networks, whose signs are chance, then get too wide an interval rather than too narrow a one.

    Args:
        probabilities: (images, classes) float.
        labels: (images,) integers, the actual classes.
        bins: as of `pipeline.report.metrics.expected_calibration_error`.

    Returns:
        (images,) float64.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    gathered = calibration_bins(confidence, right, bins)
    signs = np.where(gathered.confidence < gathered.accuracy, -1.0, 1.0)
    places = np.searchsorted(np.arange(1, bins, dtype=np.float64) / bins, confidence, side="left")
    return np.asarray(signs[places] * (confidence - right))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of a family of tests, so that any of them is falsely below a level that rarely.

    Sorted p₁ ≤ p₂ ≤ … ≤ pₘ become the running maximum of min(1, (m - i + 1)·pᵢ).

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979).

    Args:
        p_values: of the tests.

    Returns:
        The adjusted ones, in the same order.
    """
    adjusted: list[Any] = [None] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
