"""What a classifier is measured by: accuracy, calibration, confusion, precision and recall, ROC curves.

Arrays in, arrays out. Counts stay integers as long as possible and sums of fractions are rounded once
(`math.fsum`) or added in order (`numpy.bincount`), so a result depends on no library's order of addition.

Arrays whose shapes do not fit together, labels outside of the classes and empty arrays are mistakes of the
calling code: ValueError. Scores that are not numbers come from the parameters: PipelineError.
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PipelineError

Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Counts: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Float64s: TypeAlias = npt.NDArray[np.float64]


class PerClass(NamedTuple):
    """Measures of each class, arrays of shape (classes,); see `per_class`."""

    precision: Float64s
    recall: Float64s
    f1: Float64s
    support: Counts


class CalibrationBins(NamedTuple):
    """Examples gathered by their confidence, arrays of shape (bins,); see `calibration_bins`."""

    counts: Counts
    confidence: Float64s
    accuracy: Float64s


class RocCurve(NamedTuple):
    """A receiver operating characteristic: arrays of shape (points,); see `roc_curve`."""

    false_positive_rate: Float64s
    true_positive_rate: Float64s
    thresholds: Float64s


def calibration_bins(confidence: Floats, correct: npt.NDArray[np.bool_], bins: int = 15) -> CalibrationBins:
    """Gather examples into `bins` equally wide intervals (lower, upper] of confidence from 0 to 1.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (2017), section 2.

    Args:
        confidence: (examples,) float, the probability of the predicted class. Rounding past 1 is forgiven.
        correct: (examples,) bool, whether the predicted class is the actual one.
        bins: the number of intervals.

    Returns:
        Per interval the count (int64), the mean confidence and the accuracy (float64; both NaN where no
        example falls into the interval).

    Raises:
        ValueError: the shapes differ, there is no example, or `bins` is not positive.
        PipelineError: a confidence is not a number.
    """
    _check_pair(confidence, correct)
    if bins < 1:
        raise ValueError(f"bins is {bins}; at least 1 is needed")
    _check_numbers(confidence)
    values = np.asarray(confidence, dtype=np.float64)
    inner_edges = np.arange(1, bins, dtype=np.float64) / bins
    interval = np.searchsorted(inner_edges, values, side="left")
    counts = np.bincount(interval, minlength=bins).astype(np.int64)
    total = np.bincount(interval, weights=values, minlength=bins)
    hits = np.bincount(interval[np.asarray(correct, dtype=np.bool_)], minlength=bins)
    filled = np.where(counts > 0, counts, 1)
    return CalibrationBins(
        counts,
        np.where(counts > 0, total / filled, np.nan),
        np.where(counts > 0, hits / filled, np.nan),
    )


def calibration_error(bins: CalibrationBins) -> float:
    """The expected calibration error of examples already gathered; see `expected_calibration_error`.

    Args:
        bins: from `calibration_bins`.

    Returns:
        A number from 0 (calibrated) to 1.

    Raises:
        ValueError: the bins hold no example.
    """
    filled = bins.counts > 0
    if not filled.any():
        raise ValueError("there is nothing to measure: no examples")
    distance = np.abs(bins.confidence[filled] - bins.accuracy[filled]) * bins.counts[filled]
    return math.fsum(distance.tolist()) / int(bins.counts.sum())


def expected_calibration_error(probabilities: Floats, labels: Integers, bins: int = 15) -> float:
    """How far confidence is from accuracy: the mean of their distance per bin, weighted by the bin's count.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"
    (2015); the bins are those of `calibration_bins`.

    Args:
        probabilities: (examples, classes) float, rows adding up to 1. Of equal ones the first is predicted.
        labels: (examples,) integers, the actual classes.
        bins: the number of intervals of confidence.

    Returns:
        A number from 0 (calibrated) to 1.

    Raises:
        ValueError: the shapes do not fit, there is no example, or `bins` is not positive.
        PipelineError: a probability is not a number.
    """
    _check_scores(probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    return calibration_error(calibration_bins(probabilities.max(axis=1), predicted == labels, bins))


def confusion_matrix(labels: Integers, predicted: Integers, class_count: int) -> Counts:
    """Count the examples of each pair of actual and predicted class.

    Args:
        labels: (examples,) integers from 0 to `class_count` - 1, the actual classes; may be empty.
        predicted: (examples,) integers of the same range, the predicted classes.
        class_count: the number of classes.

    Returns:
        (actual, predicted) int64 of shape (`class_count`, `class_count`).

    Raises:
        ValueError: the shapes differ, or a class is out of range.
    """
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise ValueError(f"shapes {labels.shape} and {predicted.shape}: two equally long vectors are needed")
    for name, classes in (("label", labels), ("predicted class", predicted)):
        if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < class_count:
            raise ValueError(f"{name} from {classes.min()} to {classes.max()} among {class_count} classes")
    # uint8 labels times the number of classes would overflow.
    pairs = labels.astype(np.int64) * class_count + predicted.astype(np.int64)
    counts = np.bincount(pairs, minlength=class_count**2).astype(np.int64)
    return counts.reshape(class_count, class_count)


def per_class(confusion: Counts) -> PerClass:
    """Precision, recall, F1 and support of each class.

    Source: van Rijsbergen, "Information Retrieval" (1979), chapter 7: precision = TP / (TP + FP),
    recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN).

    Args:
        confusion: (actual, predicted) integers, as from `confusion_matrix`.

    Returns:
        Float64 arrays of shape (classes,), and support, the number of actual examples, as int64. A measure
        without a denominator (a class never predicted has no precision, one without examples no recall) is 0.

    Raises:
        ValueError: the matrix is not square.
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"shape {confusion.shape}: a square matrix is needed")
    hits = confusion.diagonal().astype(np.int64)
    support = confusion.sum(axis=1, dtype=np.int64)
    predicted = confusion.sum(axis=0, dtype=np.int64)
    return PerClass(
        _ratio(hits, predicted),
        _ratio(hits, support),
        _ratio(2 * hits, predicted + support),
        support,
    )


def worst_mistakes(probabilities: Floats, labels: Integers, limit: int) -> Counts:
    """The misclassified examples that the classifier was surest of.

    Args:
        probabilities: (examples, classes) float.
        labels: (examples,) integers, the actual classes.
        limit: the largest number of examples to return.

    Returns:
        Their indices, int64, by falling gap between the probability of the predicted and of the actual class;
        of equal gaps the earlier example first.

    Raises:
        ValueError: the shapes do not fit, a label is out of range, or there is no example.
        PipelineError: a probability is not a number.
    """
    _check_scores(probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    gaps = probabilities[wrong, predicted[wrong]] - probabilities[wrong, labels[wrong]]
    return wrong[np.argsort(-gaps, kind="stable")[:limit]].astype(np.int64)


def roc_curve(scores: Floats, positives: npt.NDArray[np.bool_]) -> RocCurve:
    """True against false positive rate for every threshold that tells two scores apart.

    Examples of one score change sides together, so ties give a slanted segment and the area below is exact.
    Source: Fawcett, "An introduction to ROC analysis" (2006), algorithm 1.

    Args:
        scores: (examples,) float, higher for examples held to be positive.
        positives: (examples,) bool, whether they are.

    Returns:
        The curve with one point per distinct score and one before them, whose threshold is infinite: an
        example counts as positive from its threshold upwards. Without any positive example the true positive
        rate is undefined and NaN, without any negative one the false positive rate.

    Raises:
        ValueError: the shapes differ, or there is no example.
        PipelineError: a score is not a number.
    """
    _check_pair(scores, positives)
    _check_numbers(scores)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    descending = np.asarray(scores, dtype=np.float64)[order]
    last_of_equal = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(descending) - 1)
    hits = np.cumsum(np.asarray(positives, dtype=np.bool_)[order], dtype=np.int64)[last_of_equal]
    false_alarms = last_of_equal + 1 - hits
    return RocCurve(
        _rate(np.append(0, false_alarms)),
        _rate(np.append(0, hits)),
        np.append(np.inf, descending[last_of_equal]),
    )


def micro_average_roc_curve(probabilities: Floats, labels: Integers) -> RocCurve:
    """One ROC curve for all classes: every pair of example and class is one decision "is it this class?".

    Args:
        probabilities: (examples, classes) float.
        labels: (examples,) integers, the actual classes.

    Returns:
        As from `roc_curve`.

    Raises:
        ValueError: the shapes do not fit, a label is out of range, or there is no example.
        PipelineError: a probability is not a number.
    """
    _check_scores(probabilities, labels)
    positives = labels[:, np.newaxis] == np.arange(probabilities.shape[1])
    return roc_curve(probabilities.ravel(), positives.ravel())


def roc_area(curve: RocCurve) -> float:
    """The area under a ROC curve: the chance that a positive example scores above a negative one.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982); ties count half,
    which is what the trapezoidal rule gives.

    Args:
        curve: all of its points (a thinned curve has a smaller area).

    Returns:
        A number from 0 to 1; NaN where the curve is undefined.
    """
    widths = np.diff(curve.false_positive_rate)
    heights = curve.true_positive_rate[1:] + curve.true_positive_rate[:-1]
    return math.fsum((widths * heights).tolist()) / 2


def thin_curve(x: Floats, y: Floats, limit: int = 200) -> Counts:
    """Choose at most `limit` points that draw the same picture of a curve.

    Points inside of a horizontal or vertical run are left out first, which changes nothing. If too many
    remain, those are kept that are evenly spread along the curve, in a frame scaled to its extent.

    Args:
        x: (points,) float.
        y: (points,) float.
        limit: the largest number of points to keep, at least 2.

    Returns:
        The ascending indices of the points to keep, int64, first and last included: use as
        ``x[indices], y[indices]``, or for further columns. Points that are not numbers count as unmoved.

    Raises:
        ValueError: the shapes differ, there is no point, or `limit` is below 2.
    """
    _check_pair(x, y)
    if limit < 2:
        raise ValueError(f"limit is {limit}; a curve has two ends")
    count = len(x)
    if count <= 2:  # nothing but ends
        return np.arange(count, dtype=np.int64)
    steps = np.abs([np.diff(_scaled(x)), np.diff(_scaled(y))])
    straight = ((steps[:, 1:] == 0) & (steps[:, :-1] == 0)).any(axis=0)
    kept = np.concatenate([[0], np.flatnonzero(~straight) + 1, [count - 1]])
    if len(kept) > limit:
        length = np.append(0, np.cumsum(steps.sum(axis=0)))[kept]
        marks = np.arange(limit - 1) * (length[-1] / (limit - 1))
        chosen = np.append(np.searchsorted(length, marks, side="left"), len(kept) - 1)
        kept = kept[np.unique(chosen)]
    return kept.astype(np.int64)


def _scaled(values: Floats) -> Float64s:
    """Values divided by their extent, NaN replaced by the last number before it."""
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros_like(numbers)
    extent = float(numbers[finite].max() - numbers[finite].min())
    last = np.maximum.accumulate(np.where(finite, np.arange(len(numbers)), int(finite.argmax())))
    return numbers[last] / (extent or 1.0)


def _ratio(numerator: Counts, denominator: Counts) -> Float64s:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0.0)


def _rate(cumulative: Counts) -> Float64s:
    total = int(cumulative[-1])
    return cumulative / total if total else np.full(len(cumulative), np.nan)


def _check_pair(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"shapes {first.shape} and {second.shape}: two equally long vectors are needed")
    if not first.size:
        raise ValueError("there is nothing to measure: no examples")


def _check_scores(probabilities: Floats, labels: Integers) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    if not probabilities.size:
        raise ValueError("there is nothing to measure: no examples")
    if not 0 <= int(labels.min()) <= int(labels.max()) < probabilities.shape[1]:
        raise ValueError(
            f"label from {labels.min()} to {labels.max()} among {probabilities.shape[1]} classes"
        )
    _check_numbers(probabilities)


def _check_numbers(scores: Floats) -> None:
    if np.isnan(scores).any():
        missing = int(np.isnan(scores).sum())
        raise PipelineError(
            f"{missing} of {scores.size} scores are not a number (NaN): parameters that give such scores "
            "cannot be measured; train again with a lower learning rate"
        )
