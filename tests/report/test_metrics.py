"""Metrics against definitions written out naively here, and against scikit-learn."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.metrics  # type: ignore[import-untyped]  # it ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError
from pipeline.report import metrics

Array = npt.NDArray[Any]

seeds = st.integers(0, 2**32 - 1)
examples = settings(deadline=None, max_examples=40)


def draw(seed: int, count: int, classes: int, levels: int) -> tuple[Array, Array]:
    """Probabilities with many ties (few `levels`) and labels among which classes may be absent."""
    random = np.random.default_rng(seed)
    scores = random.integers(1, levels + 1, size=(count, classes)).astype(np.float64)
    present = random.choice(classes, size=random.integers(1, classes + 1), replace=False)
    return scores / scores.sum(axis=1, keepdims=True), random.choice(present, size=count)


cases = st.builds(draw, seeds, st.integers(1, 60), st.integers(2, 6), st.sampled_from([1, 2, 5, 1000]))


@examples
@given(cases)
def test_confusion_and_per_class_agree_with_scikit_learn(case: tuple[Array, Array]) -> None:
    probabilities, labels = case
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels.astype(np.uint8), predicted, classes)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(
        confusion, sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes))
    )
    ours = metrics.per_class(confusion)
    theirs = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-15, atol=0)
    assert ours.support.dtype == np.int64


@examples
@given(cases)
def test_roc_curve_and_area_agree_with_scikit_learn(case: tuple[Array, Array]) -> None:
    probabilities, labels = case
    positives = labels == labels[0]
    if positives.all():
        positives[: len(positives) // 2] = False
    curve = metrics.roc_curve(probabilities[:, 0], positives)
    if len(labels) == 1:
        return
    for mine, other in zip(
        curve, sklearn.metrics.roc_curve(positives, probabilities[:, 0], drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-15, atol=0)
    assert metrics.roc_area(curve) == pytest.approx(
        sklearn.metrics.roc_auc_score(positives, probabilities[:, 0]), abs=1e-14
    )


@examples
@given(cases)
def test_the_roc_area_is_the_chance_of_a_positive_above_a_negative(case: tuple[Array, Array]) -> None:
    probabilities, labels = case
    curve = metrics.micro_average_roc_curve(probabilities, labels)
    hot = labels[:, np.newaxis] == np.arange(probabilities.shape[1])
    above, below = probabilities[hot], probabilities[~hot]
    wins = 2 * (above[:, np.newaxis] > below).sum() + (above[:, np.newaxis] == below).sum()
    exact = Fraction(int(wins), 2 * len(above) * len(below))
    assert metrics.roc_area(curve) == pytest.approx(float(exact), abs=1e-14)


def test_ties_give_a_slanted_segment() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    curve = metrics.roc_curve(scores, np.array([True, True, False, False]))
    np.testing.assert_array_equal(curve.false_positive_rate, [0, 0, 0.5, 1])
    np.testing.assert_array_equal(curve.true_positive_rate, [0, 0.5, 1, 1])
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 0.9, 0.5, 0.1])
    assert metrics.roc_area(curve) == 0.875


@pytest.mark.parametrize("value", [True, False])
def test_a_rate_without_examples_is_undefined(value: bool) -> None:  # noqa: FBT001  (the one parameter of the case)
    curve = metrics.roc_curve(np.array([0.2, 0.8]), np.array([value, value]))
    undefined = curve.false_positive_rate if value else curve.true_positive_rate
    assert np.isnan(undefined).all()
    assert math.isnan(metrics.roc_area(curve))


@examples
@given(cases, st.integers(1, 20))
def test_calibration_error_is_its_definition(case: tuple[Array, Array], bins: int) -> None:
    probabilities, labels = case
    error = 0.0
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    gathered = metrics.calibration_bins(confidence, correct, bins)
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        assert gathered.counts[index] == inside.sum()
        if inside.any():
            gap = abs(confidence[inside].mean() - correct[inside].mean())
            error += inside.mean() * gap
            assert gathered.confidence[index] == pytest.approx(confidence[inside].mean())
            assert gathered.accuracy[index] == pytest.approx(correct[inside].mean())
        else:
            assert math.isnan(gathered.confidence[index])
            assert math.isnan(gathered.accuracy[index])
    assert metrics.expected_calibration_error(probabilities, labels, bins) == pytest.approx(error, abs=1e-14)
    single = metrics.expected_calibration_error(probabilities.astype(np.float32), labels, bins=1)
    assert single == pytest.approx(abs(confidence.mean() - correct.mean()), abs=1e-6)


def test_calibration_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 1])
    # (0.5, 0.75]: confidences 0.6 and 0.7, both right; (0.75, 1]: 0.9 right, 0.8 wrong.
    assert metrics.expected_calibration_error(probabilities, labels, bins=4) == pytest.approx(
        (2 * 0.35 + 2 * 0.35) / 4
    )
    assert metrics.expected_calibration_error(np.eye(3), np.arange(3)) == 0
    assert metrics.expected_calibration_error(np.eye(3), np.array([1, 2, 0])) == 1


def test_a_confidence_rounded_past_one_falls_into_the_last_bin() -> None:
    bins = metrics.calibration_bins(np.array([1.0000001, 0.0]), np.array([True, False]), 5)
    np.testing.assert_array_equal(bins.counts, [1, 0, 0, 0, 1])


def test_small_label_types_do_not_overflow() -> None:
    labels = np.arange(250, dtype=np.uint8)
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, labels, 250), np.eye(250))


def test_no_examples_make_an_empty_confusion_matrix() -> None:
    none = np.zeros(0, dtype=np.uint8)
    confusion = metrics.confusion_matrix(none, none, 3)
    np.testing.assert_array_equal(confusion, np.zeros((3, 3)))
    for measure in metrics.per_class(confusion):
        np.testing.assert_array_equal(measure, np.zeros(3))


@examples
@given(cases, st.integers(2, 12))
def test_a_thinned_curve_keeps_its_ends_and_its_limit(case: tuple[Array, Array], limit: int) -> None:
    curve = metrics.micro_average_roc_curve(*case)
    x, y, _ = curve
    kept = metrics.thin_curve(x, y, limit)
    assert kept.dtype == np.int64
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= limit
    np.testing.assert_array_equal(kept, metrics.thin_curve(x, y, limit))
    whole = metrics.thin_curve(x, y, len(x) + 1)
    thinned = metrics.RocCurve(*(column[whole] for column in curve))
    assert metrics.roc_area(thinned) == pytest.approx(metrics.roc_area(curve), abs=1e-14)


def test_a_long_curve_is_thinned_to_nearly_the_same_picture() -> None:
    random = np.random.default_rng(3)
    positives = random.random(20_000) < 0.3
    curve = metrics.roc_curve(random.normal(size=20_000) + 2 * positives, positives)
    x, y, _ = curve
    kept = metrics.thin_curve(x, y)
    assert 150 < len(kept) <= 200
    along = x + y
    assert np.abs(np.interp(along, along[kept], y[kept]) - y).max() < 0.005
    thinned = metrics.RocCurve(*(column[kept] for column in curve))
    assert metrics.roc_area(thinned) == pytest.approx(metrics.roc_area(curve), abs=1e-3)


def test_runs_are_thinned_to_their_corners() -> None:
    steps = np.array([0, 1, 2, 3, 3, 3, 3, 4, 5], dtype=np.float64)
    rises = np.array([0, 0, 0, 0, 1, 2, 3, 3, 3], dtype=np.float64)
    np.testing.assert_array_equal(metrics.thin_curve(steps, rises), [0, 3, 6, 8])
    undefined = np.full(9, np.nan)
    np.testing.assert_array_equal(metrics.thin_curve(undefined, steps / 5), [0, 8])
    np.testing.assert_array_equal(metrics.thin_curve(steps[:1], rises[:1]), [0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: metrics.confusion_matrix(np.arange(3), np.arange(2), 3), "shapes"),
        (lambda: metrics.roc_curve(np.zeros(0), np.zeros(0, bool)), "no examples"),
        (lambda: metrics.confusion_matrix(np.arange(4), np.arange(4), 3), "from 0 to 3 among 3"),
        (lambda: metrics.confusion_matrix(np.zeros(1, int), np.full(1, -1), 3), "predicted class from -1"),
        (lambda: metrics.per_class(np.zeros((2, 3), np.int64)), "square"),
        (lambda: metrics.roc_curve(np.zeros(2), np.zeros(3, bool)), "shapes"),
        (lambda: metrics.expected_calibration_error(np.zeros((2, 2)), np.zeros(3, int)), "do not fit"),
        (lambda: metrics.expected_calibration_error(np.zeros((2, 2)), np.full(2, 2)), "among 2 classes"),
        (lambda: metrics.expected_calibration_error(np.zeros((0, 2)), np.zeros(0, int)), "no examples"),
        (lambda: metrics.expected_calibration_error(np.eye(2), np.arange(2), bins=0), "bins is 0"),
        (lambda: metrics.thin_curve(np.zeros(3), np.zeros(3), 1), "two ends"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call: Any, says: str) -> None:  # noqa: ANN401  (any call)
    with pytest.raises(ValueError, match=says):
        call()


def test_scores_that_are_not_numbers_are_a_failure_told_in_a_line() -> None:
    scores = np.array([[0.5, 0.5], [np.nan, 0.5]], dtype=np.float32)
    labels = np.array([0, 1])
    for call in (
        lambda: metrics.expected_calibration_error(scores, labels),
        lambda: metrics.micro_average_roc_curve(scores, labels),
        lambda: metrics.roc_curve(scores[:, 0], labels == 0),
    ):
        with pytest.raises(PipelineError, match="not a number"):
            call()


def test_worst_mistakes_come_by_falling_gap_and_ties_in_order() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]])
    labels = np.array([1, 1, 1, 1, 0])
    assert metrics.worst_mistakes(probabilities, labels, 10).tolist() == [1, 3, 4, 0]
    assert metrics.worst_mistakes(probabilities, labels, 2).tolist() == [1, 3]


def test_without_mistakes_there_are_no_worst_ones() -> None:
    assert metrics.worst_mistakes(np.eye(3), np.arange(3), 5).size == 0
