"""What two classifiers differ in."""

import numpy as np
import pytest

from pipeline.report.comparison import compare


def test_a_comparison_of_five_images() -> None:
    labels = np.array([0, 1, 2, 0, 1])
    first = np.array([[0.8, 0.1, 0.1], [0.6, 0.4, 0], [0.1, 0.5, 0.4], [0.9, 0.1, 0], [0.3, 0.4, 0.3]])
    second = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.4, 0.3, 0.3], [0.1, 0, 0.9], [0.2, 0.6, 0.2]])
    found = compare(first.astype(np.float32), second, labels)
    assert found.first.tolist() == [0, 0, 1, 0, 1]
    assert found.second.tolist() == [0, 1, 0, 2, 1]
    assert found.table() == {"both_right": 2, "only_a_right": 1, "only_b_right": 1, "both_wrong": 1}
    assert (found.accuracy.difference, found.accuracy.p_value) == (0, 1)
    # image 3 by 1.8, image 1 by 1.0, image 2 by 0.6
    assert found.disagreements.tolist() == [3, 1, 2]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        compare(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        compare(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3, np.int64))
