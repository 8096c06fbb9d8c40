"""The statistics against SciPy's, published examples, and simulations in which the truth is known."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.report import paired
from pipeline.report.comparison import fourfold_table
from pipeline.report.metrics import expected_calibration_error

stats = pytest.importorskip("scipy.stats", reason="SciPy comes with scikit-learn")

COUNTS = st.integers(0, 400)
VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(COUNTS, COUNTS)
def test_mcnemar_agrees_with_scipy(only_first: int, only_second: int) -> None:
    count, least = only_first + only_second, min(only_first, only_second)
    expected = 2 * stats.binom.cdf(least, count, 0.5) - stats.binom.pmf(least, count, 0.5)
    found = paired.mcnemar(only_first, only_second)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == paired.mcnemar(only_second, only_first)
    assert 0 < found <= 1


def test_mcnemar_by_hand() -> None:
    assert paired.mcnemar(0, 0) == 1
    assert paired.mcnemar(1, 5) == (2 * 1 + 6) / 64
    assert paired.mcnemar(5, 5) == 1
    assert 0 <= paired.mcnemar(20_000, 30_000) < 1e-300
    with pytest.raises(ValueError, match="not below 0"):
        paired.mcnemar(-1, 3)


def test_the_interval_of_accuracies_is_newcombes() -> None:
    # An example of his paper: 36 both, 12 and 2 the one or the other, none neither.
    found = paired.compare_accuracies(36, 2, 12, 0)
    assert (found.difference, round(found.low, 4), round(found.high, 4)) == (0.2, 0.0569, 0.3404)
    # Its ends have the same distances from the difference when the sides change places.
    mirrored = paired.compare_accuracies(36, 12, 2, 0)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
@example(5, 0, 0, 0)
@example(0, 0, 0, 5)
@example(0, 5, 0, 0)
def test_the_interval_holds_the_difference(both: int, first: int, second: int, neither: int) -> None:
    if not both + first + second + neither:
        with pytest.raises(ValueError, match="one above"):
            paired.compare_accuracies(both, first, second, neither)
        return
    found = paired.compare_accuracies(both, first, second, neither)
    assert -1 <= found.low <= found.difference <= found.high <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_wilsons_interval_agrees_with_scipy(successes: int, failures: int) -> None:
    trials = successes + failures
    if trials:
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert paired.wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.floats(-50, 50), st.integers(1, 12_000))
@example(3.0, 1)
@example(3.0, 2)
@example(3.0, 3)
def test_students_distribution_agrees_with_scipy(statistic: float, freedom: int) -> None:
    expected = 2 * stats.t.sf(abs(statistic), freedom)
    assert paired.student_p_value(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 99, 9_999])
def test_students_quantile_agrees_with_scipy(freedom: int) -> None:
    assert paired.student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=40))
def test_means_agree_with_scipy(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found = paired.compare_means(first, second)
    apart = second - first
    if apart.std() <= 1e-9 * np.abs(apart).max():
        return  # SciPy warns of lost digits
    expected = stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    room = 1e-9 * np.abs(apart).max()
    assert found.difference == pytest.approx(apart.mean(), abs=room)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=room)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


def test_equal_differences_are_as_sure_as_their_signs_are_many() -> None:
    ones = np.ones(6)
    assert paired.compare_means(ones, ones) == (0, 0, 0, 1)
    assert paired.compare_means(ones, 3 * ones) == (2, 2, 2, 2**-5)
    assert paired.compare_means(ones[:2], 3 * ones[:2]) == (2, 0, 4, 0.5)
    assert paired.compare_means(np.ones(10_000), np.zeros(10_000)) == (-1, -1, -1, 0)
    # Rounded differently: 0.00999…98 and 0.01000…09.
    found = paired.compare_means(np.array([0.94, 0.88]), np.array([0.95, 0.89]))
    assert (found.difference, found.p_value) == (pytest.approx(0.01), 0.5)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones(2), np.ones(3), "shapes"),
        (np.ones(1), np.ones(1), "two or more"),
        (np.ones(2), np.array([1, np.inf]), "not finite"),
    ],
)
def test_what_has_no_mean_is_refused(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired.compare_means(first, second)


@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(2, 6))
def test_the_shares_add_up_to_the_calibration_error(seed: int, images: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.3), images).astype(np.float32)
    labels = random.integers(0, classes, images)
    shares = paired.calibration_shares(probabilities, labels)
    expected = expected_calibration_error(probabilities, labels)
    assert float(shares.mean()) == pytest.approx(expected, abs=1e-12)


def test_holms_correction_by_hand() -> None:
    # From his rule: 4 · 0.01, then 3 · 0.015 = 0.045, 2 · 0.02 = 0.04 but not below its forerunner, 1 · 0.9.
    assert paired.holm([0.9, 0.02, 0.01, 0.015]) == pytest.approx([0.9, 0.045, 0.04, 0.045])
    assert paired.holm([]) == []
    assert paired.holm([0.6, 0.7]) == [1, 1]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_correction_keeps_the_order(p_values: list[float]) -> None:
    adjusted = paired.holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    assert sorted(range(len(adjusted)), key=lambda i: (p_values[i], adjusted[i])) == sorted(
        range(len(adjusted)), key=lambda i: (adjusted[i], p_values[i])
    )


# Coverage


def simulate(images: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether the intervals of accuracy, loss and calibration error hold the truth, which is 0: (1000, 3).

    Two networks see the same difficulty in an image, and are as good as each other, but not the same.
    """
    labels = np.zeros(images, dtype=np.int64)
    found = np.empty((1000, 3), dtype=np.bool_)
    for row in found:
        margins = 3 + 1.5 * random.standard_normal(images) + 0.8 * random.standard_normal((2, images))
        # The probabilities of the actual class; overconfident, as trained networks are.
        shares = 1 / (1 + np.exp(-1.3 * margins))
        first, second = (np.stack([share, 1 - share], axis=1) for share in shares)
        hits = [side.argmax(axis=1) == labels for side in (first, second)]
        estimates = (
            paired.compare_accuracies(*fourfold_table(hits[0], hits[1]).values()),
            paired.compare_means(-np.log(first[:, 0]), -np.log(second[:, 0])),
            paired.compare_means(*(paired.calibration_shares(side, labels) for side in (first, second))),
        )
        row[:] = [each.low <= 0 <= each.high for each in estimates]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("images", [1_000, 10_000])
def test_of_equal_networks_95_percent_of_the_intervals_hold_the_truth(images: int) -> None:
    accuracy, loss, calibration = simulate(images, np.random.default_rng(1)).mean(axis=0)
    assert 0.93 <= accuracy <= 0.97
    assert 0.93 <= loss <= 0.97
    # On the safe side where the signs of its bins are chance: see `calibration_shares`.
    assert 0.93 <= calibration <= 1
