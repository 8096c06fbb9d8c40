"""Losses on a softmax: published answers, high-precision ones, extreme logits, and their gradients."""

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.arrays import DTYPES, Floats, Integers
from pipeline.nn.losses import LOSSES, Buffers, softmax

# A textbook's example of a network's output for an image of class 5, with the losses that it prints.
OUTPUTS = [
    *(1.06677078e-02, 1.58301147e-04, 4.30344051e-04, 2.15528250e-01, 5.69069698e-06),
    *(7.67599761e-01, 3.01648834e-05, 3.11577786e-03, 1.66547787e-03, 7.98536697e-04),
]
HALF_SQUARED_ERROR = 0.05029471401664868
CROSS_ENTROPY_WITH_EPSILON = 0.26448667049407959

every = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
examples = settings(deadline=None, max_examples=40)


def backward(name: str, logits: Floats, labels: Integers, smoothing: float = 0.0) -> tuple[float, Floats]:
    """Mean loss and its gradient, of logits that stay as they are."""
    # Of a batch smaller than the buffers are for, and with all of them full of what is not a number.
    largest = Buffers.allocate(logits.shape[1], len(logits) + 2, logits.dtype.type)
    for array in (largest.scratch, largest.largest, largest.sums, largest.picked):
        array.fill(np.nan)
    errors = np.asfortranarray(logits)
    errors = errors.copy(order="F") if errors is logits else errors
    loss = LOSSES[name].backward(errors, labels, largest.first(len(logits)), smoothing)
    return loss, errors


def probabilities_in_full(logits: Sequence[float]) -> list[Decimal]:
    powers = [Decimal(logit).exp() for logit in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy_in_full(logits: Sequence[float], label: int) -> Decimal:
    return -probabilities_in_full(logits)[label].ln()


def squared_error_in_full(logits: Sequence[float], label: int) -> Decimal:
    y = probabilities_in_full(logits)
    return sum(((y[k] - (k == label)) ** 2 for k in range(len(y))), Decimal(0))


IN_FULL: dict[str, Callable[[Sequence[float], int], Decimal]] = {
    "cross_entropy": cross_entropy_in_full,
    "squared_error": squared_error_in_full,
    "half_squared_error": lambda logits, label: squared_error_in_full(logits, label) / 2,
}


def drawn(seed: int, rows: int, classes: int, spread: float, dtype: str) -> tuple[Floats, Integers]:
    random = np.random.default_rng(seed)
    return (
        (spread * random.standard_normal((rows, classes))).astype(dtype),
        random.integers(0, classes, rows),
    )


cases = st.builds(
    drawn,
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(2, 10),
    st.sampled_from([1e-6, 1.0, 30.0]),
    st.just("float64"),
)


@every_dtype
def test_the_published_answers(dtype: str) -> None:
    logits = np.log(np.array([OUTPUTS])).astype(dtype)
    labels = np.array([5])
    # The outputs are printed to nine digits and add up to 1 + 1.2e-8.
    close = 2e-7
    halved = LOSSES["half_squared_error"].values(logits, labels)[0]
    assert halved == pytest.approx(HALF_SQUARED_ERROR, rel=close)
    assert LOSSES["squared_error"].values(logits, labels)[0] == pytest.approx(
        2 * HALF_SQUARED_ERROR, rel=close
    )
    # The published cross-entropy is -log(y + 1e-7). Ours has nothing added inside the logarithm, so it is
    # that of the bare 0.767599761; adding the 1e-7 to our probability gives the published number.
    entropy = LOSSES["cross_entropy"].values(logits, labels)[0]
    assert entropy == pytest.approx(-np.log(0.767599761), rel=close)
    assert -np.log(np.exp(-float(entropy)) + 1e-7) == pytest.approx(CROSS_ENTROPY_WITH_EPSILON, rel=close)


def test_a_uniform_output_by_hand() -> None:
    # Four equal logits: y = ¼ each. -log ¼; (¾)² + 3 · (¼)² = ¾; and half of that.
    logits, labels = np.full((1, 4), 7.0), np.array([2])
    expected = {"cross_entropy": np.log(4), "squared_error": 0.75, "half_squared_error": 0.375}
    for name, value in expected.items():
        assert LOSSES[name].values(logits, labels)[0] == pytest.approx(value, rel=1e-15)
    # y - t, and 2 y ((y - t) - Σ y (y - t)) where Σ y (y - t) = 3/16 - 3/16 = 0.
    np.testing.assert_allclose(backward("cross_entropy", logits, labels)[1], [[0.25, 0.25, -0.75, 0.25]])
    squared = np.array([[0.125, 0.125, -0.375, 0.125]])
    np.testing.assert_allclose(backward("squared_error", logits, labels)[1], squared)
    np.testing.assert_allclose(backward("half_squared_error", logits, labels)[1], squared / 2)


@pytest.mark.parametrize("name", IN_FULL)
@examples
@given(case=cases)
def test_values_agree_with_fifty_digits(name: str, case: tuple[Floats, Integers]) -> None:
    logits, labels = case
    found = LOSSES[name].values(logits, labels)
    with localcontext() as context:
        context.prec = 50
        for row, label, value in zip(logits, labels, found, strict=True):
            expected = float(IN_FULL[name](row.tolist(), int(label)))
            # Close to 0 the loss is a difference of numbers about 1.
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)


@every
@examples
@given(case=cases)
def test_the_gradient_is_the_limit_of_differences(name: str, case: tuple[Floats, Integers]) -> None:
    logits, labels = case
    _, gradient = backward(name, logits, labels)
    step = 1e-5
    for index in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += step
        below[index] -= step
        slope = (LOSSES[name].values(above, labels).mean() - LOSSES[name].values(below, labels).mean()) / (
            2 * step
        )
        # Losses up to about 100 are rounded to 1e-14, and that is divided by the step.
        assert gradient[index] == pytest.approx(slope, rel=1e-7, abs=3e-9)


@every
@every_dtype
@examples
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 8), classes=st.integers(2, 10))
def test_both_passes_tell_the_same_loss(name: str, dtype: str, seed: int, rows: int, classes: int) -> None:
    logits, labels = drawn(seed, rows, classes, 3.0, dtype)
    kept = logits.copy()
    values = LOSSES[name].values(logits, labels)
    np.testing.assert_array_equal(logits, kept)
    mean, gradient = backward(name, logits, labels)
    assert values.shape == (rows,)
    assert values.dtype == gradient.dtype == dtype
    assert type(mean) is float
    assert mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-12 if dtype == "float64" else 1e-5)
    # A softmax does not see what is added to all logits alike, so the gradient has no such part.
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-14 if dtype == "float64" else 1e-6)


@every
@every_dtype
def test_a_row_knows_nothing_of_the_others(name: str, dtype: str) -> None:
    logits, labels = drawn(1, 6, 10, 2.0, dtype)
    others, other_labels = drawn(2, 6, 10, 50.0, dtype)
    others[3], other_labels[3] = logits[3], labels[3]
    assert LOSSES[name].values(logits, labels)[3] == LOSSES[name].values(others, other_labels)[3]
    np.testing.assert_array_equal(
        backward(name, logits, labels)[1][3], backward(name, others, other_labels)[1][3]
    )
    # Alone, a row's gradient is not divided by the number of rows.
    alone = backward(name, logits[3:4], labels[3:4])[1]
    np.testing.assert_allclose(alone[0], 6 * backward(name, logits, labels)[1][3], rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.smooths])
@examples
@given(case=cases, smoothing=st.floats(0, 0.99))
def test_smoothed_labels_are_the_loss_of_a_mixture_of_all_labels(
    name: str, case: tuple[Floats, Integers], smoothing: float
) -> None:
    logits, labels = case
    rows, classes = logits.shape
    # Cross-entropy is linear in the label: (1 - ε) of the right one's and ε of the mean over all.
    each = [LOSSES[name].values(logits, np.full(rows, label)) for label in range(classes)]
    expected = (1 - smoothing) * LOSSES[name].values(logits, labels) + smoothing * np.mean(each, axis=0)
    np.testing.assert_allclose(
        LOSSES[name].values(logits, labels, smoothing), expected, rtol=1e-12, atol=1e-13
    )
    gradients = [backward(name, logits, np.full(rows, label))[1] for label in range(classes)]
    mean, gradient = backward(name, logits, labels, smoothing)
    assert mean == pytest.approx(expected.mean(), rel=1e-12, abs=1e-13)
    mixed = (1 - smoothing) * backward(name, logits, labels)[1] + smoothing * np.mean(gradients, axis=0)
    np.testing.assert_allclose(gradient, mixed, atol=1e-14)


@every_dtype
def test_extreme_logits_have_finite_and_right_losses(dtype: str) -> None:
    logits = np.array([[1000, -1000, 0], [1000, -1000, 0], [-1000, -1000, -1000]], dtype=dtype)
    labels = np.array([0, 1, 2])
    third = np.float64(1 / 3)
    expected = {
        "cross_entropy": [0, 2000, np.log(3)],
        "squared_error": [0, 2, 2 * third],
        "half_squared_error": [0, 1, third],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(LOSSES[name].values(logits, labels), values, rtol=1e-6, atol=0)
        mean, gradient = backward(name, logits, labels)
        assert mean == pytest.approx(sum(values) / 3, rel=1e-6)
        assert np.isfinite(gradient).all()
    # Surely and utterly wrong: cross-entropy pulls with all its force, squared error not at all.
    np.testing.assert_array_equal(backward("cross_entropy", logits, labels)[1][1] * 3, [1, -1, 0])
    np.testing.assert_array_equal(backward("squared_error", logits, labels)[1][1], [0, 0, 0])


@every
@every_dtype
def test_any_finite_logits_are_met_without_a_warning(name: str, dtype: str) -> None:
    largest = float(np.finfo(dtype).max) / 4
    for logits in ([[largest, -largest]], [[-largest, largest]], [[0, -largest]], [[largest, largest]]):
        array = np.array(logits, dtype=dtype)
        for label in (0, 1):
            assert np.isfinite(LOSSES[name].values(array, np.array([label]))).all()
            total, gradient = backward(name, array, np.array([label]))
            assert np.isfinite(total)
            assert np.isfinite(gradient).all()


@every
def test_a_confident_and_right_output_keeps_its_precision(name: str) -> None:
    # 1 - y is about 4e-18, which y itself cannot hold; the largest logit's own share drops out exactly.
    logits, labels = np.array([[40.0, 0.0]]), np.array([0])
    assert 0 <= LOSSES[name].values(logits, labels)[0] < 1e-16
    _, gradient = backward(name, logits, labels)
    assert np.abs(gradient).max() < 1e-16


@every
def test_labels_may_be_bytes(name: str) -> None:
    logits, labels = drawn(4, 5, 10, 1.0, "float64")
    np.testing.assert_array_equal(
        LOSSES[name].values(logits, labels), LOSSES[name].values(logits, labels.astype(np.uint8))
    )


@every_dtype
def test_softmax_in_place(dtype: str) -> None:
    logits = np.array([[0, np.log(3)], [-1000, 1000]], dtype=dtype)
    found = softmax(logits)
    assert found is logits
    np.testing.assert_allclose(found, np.array([[0.25, 0.75], [0, 1]]), rtol=1e-6)


@every_dtype
@examples
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 8),
    classes=st.integers(2, 100),
    shift=st.floats(-50, 50),
)
def test_softmax_is_a_distribution_that_a_shift_leaves_alone(
    dtype: str, seed: int, rows: int, classes: int, shift: float
) -> None:
    logits, _ = drawn(seed, rows, classes, 5.0, dtype)
    found = softmax(logits.copy())
    close = 1e-12 if dtype == "float64" else 1e-4
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(softmax(logits + logits.dtype.type(shift)), found, rtol=close, atol=1e-12)
