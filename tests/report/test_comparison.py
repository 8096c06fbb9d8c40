"""McNemar's test against SciPy's distributions, and what two classifiers differ in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.comparison import EXACT_BELOW, compare, mcnemar

stats = pytest.importorskip("scipy.stats", reason="SciPy comes with scikit-learn")


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_agrees_with_scipy(only_first: int, only_second: int) -> None:
    found = mcnemar(only_first, only_second)
    count = only_first + only_second
    if count < EXACT_BELOW:
        expected = stats.binomtest(only_first, count, 0.5).pvalue if count else 1.0
        assert (found.method, found.statistic) == ("exact binomial", None)
    else:
        statistic = max(0, abs(only_first - only_second) - 1) ** 2 / count
        expected = stats.chi2.sf(statistic, 1)
        assert found.method == "chi-square with continuity correction"
        assert found.statistic == statistic
    assert found.p_value == pytest.approx(expected, rel=1e-12)
    assert 0 <= found.p_value <= 1
    assert found.p_value == mcnemar(only_second, only_first).p_value


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0).p_value == 1
    assert mcnemar(1, 5).p_value == 2 * (1 + 6) / 64
    assert mcnemar(5, 5).p_value == 1
    # (|10 - 30| - 1)² / 40 = 9.025; the 1 % point of the distribution is 6.635
    found = mcnemar(10, 30)
    assert found.statistic == 9.025
    assert 0.001 < found.p_value < 0.01
    assert mcnemar(13, 13).p_value == 1


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="not below 0"):
        mcnemar(-1, 3)


def test_a_comparison_of_five_images() -> None:
    labels = np.array([0, 1, 2, 0, 1])
    first = np.array([[0.8, 0.1, 0.1], [0.6, 0.4, 0], [0.1, 0.5, 0.4], [0.9, 0.1, 0], [0.3, 0.4, 0.3]])
    second = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.4, 0.3, 0.3], [0.1, 0, 0.9], [0.2, 0.6, 0.2]])
    found = compare(first.astype(np.float32), second, labels)
    assert found.first.tolist() == [0, 0, 1, 0, 1]
    assert found.second.tolist() == [0, 1, 0, 2, 1]
    assert found.table() == {"both_right": 2, "only_a_right": 1, "only_b_right": 1, "both_wrong": 1}
    # image 3 by 1.8, image 1 by 1.0, image 2 by 0.6
    assert found.disagreements.tolist() == [3, 1, 2]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        compare(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        compare(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3, np.int64))
