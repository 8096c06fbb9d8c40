"""Preprocessing: statistics of the train part alone, exact ones, and a loader that is the formula."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import DTYPES, Floats, Integers, Pixels
from pipeline.nn.preprocessing import PREPROCESSORS, Loader, Statistics, learn

every = pytest.mark.parametrize("name", PREPROCESSORS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
examples = settings(deadline=None, max_examples=25)

CHANNELS = 3


def drawn(seed: int, count: int = 12, positions: int = 4) -> tuple[Pixels, Integers]:
    """Pixels (count, positions · channels) and the indices of a train part of about half of them."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, positions * CHANNELS), dtype=np.uint8)
    return pixels, random.permutation(count)[: max(count // 2, 1)].astype(np.int64)


cases = st.builds(drawn, st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5))


def same(one: Statistics, other: Statistics) -> bool:
    return one.divisor == other.divisor and all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in ((one.mean, other.mean), (one.deviation, other.deviation))
    )


def exact_moments(values: Integers) -> tuple[Fraction, Fraction]:
    """Mean and variance of whole numbers, without rounding."""
    numbers = [int(value) for value in values.ravel()]
    mean = Fraction(sum(numbers), len(numbers))
    return mean, Fraction(sum(number * number for number in numbers), len(numbers)) - mean * mean


# --- statistics


@every
@examples
@given(case=cases)
def test_statistics_know_the_train_part_alone(name: str, case: tuple[Pixels, Integers]) -> None:
    pixels, train = case
    learnt = learn(name, pixels, train, CHANNELS)
    others = np.setdiff1d(np.arange(len(pixels)), train)
    changed = pixels.copy()
    changed[others] = 255 - changed[others]
    assert same(learn(name, changed, train, CHANNELS), learnt)
    # In whichever order its rows are listed.
    assert same(learn(name, pixels, np.sort(train), CHANNELS), learnt)
    # And whether the rest is there at all.
    assert same(learn(name, pixels[train], np.arange(len(train)), CHANNELS), learnt)


@every
def test_statistics_leave_the_pixels_alone(name: str) -> None:
    pixels, train = drawn(1)
    kept = pixels.copy()
    pixels.flags.writeable = False
    learn(name, pixels, train, CHANNELS)
    np.testing.assert_array_equal(pixels, kept)


@examples
@given(case=cases)
def test_the_mean_image_is_exact(case: tuple[Pixels, Integers]) -> None:
    pixels, train = case
    learnt = learn("mean_image", pixels, train, CHANNELS)
    assert learnt.divisor == 1
    assert learnt.deviation is None
    assert learnt.mean is not None
    assert learnt.mean.dtype == np.float64
    # A quotient of two whole numbers, rounded once.
    columns = pixels[train].T
    assert learnt.mean.tolist() == [float(exact_moments(column)[0]) for column in columns]


@examples
@given(case=cases)
def test_standardizing_takes_mean_and_deviation_of_each_channel(case: tuple[Pixels, Integers]) -> None:
    pixels, train = case
    learnt = learn("standardize", pixels, train, CHANNELS)
    assert learnt.divisor == 255
    assert learnt.mean is not None
    assert learnt.deviation is not None
    assert learnt.mean.shape == learnt.deviation.shape == (pixels.shape[1],)
    for channel in range(CHANNELS):
        mean, variance = exact_moments(pixels[train][:, channel::CHANNELS])
        np.testing.assert_allclose(learnt.mean[channel::CHANNELS], float(mean) / 255, rtol=1e-14)
        deviation = float(variance) ** 0.5 / 255 if variance else 1.0
        np.testing.assert_allclose(learnt.deviation[channel::CHANNELS], deviation, rtol=1e-9)


def test_a_channel_that_never_varies_is_left_unscaled() -> None:
    pixels = np.array([[10, 7, 0], [30, 7, 0]], dtype=np.uint8)
    learnt = learn("standardize", pixels, np.arange(2), 3)
    assert learnt.deviation is not None
    np.testing.assert_allclose(learnt.deviation, [10 / 255, 1, 1], rtol=1e-14)
    inputs = np.empty((2, 3))
    Loader(learnt, "float64", 2, 3).load(pixels, np.arange(2), inputs)
    np.testing.assert_allclose(inputs, [[-1, 0, 0], [1, 0, 0]], atol=1e-6)


def test_sums_over_many_images_neither_overflow_nor_round() -> None:
    # More images than are summed at a time, all at the largest value but one pixel of one image.
    pixels = np.full((2501, 3), 255, dtype=np.uint8)
    pixels[2500, 1] = 0
    learnt = learn("mean_image", pixels, np.arange(2501), 1)
    assert learnt.mean is not None
    assert learnt.mean.tolist() == [255.0, 255 * 2500 / 2501, 255.0]
    learnt = learn("standardize", pixels, np.arange(2501), 1)
    assert learnt.mean is not None
    assert learnt.deviation is not None
    share = 1 / 7503
    np.testing.assert_allclose(learnt.mean, 1 - share, rtol=1e-14)
    np.testing.assert_allclose(learnt.deviation, (share * (1 - share)) ** 0.5, rtol=1e-8)


def test_standardized_train_images_have_mean_zero_and_deviation_one() -> None:
    pixels, train = drawn(2, count=200)
    learnt = learn("standardize", pixels, train, CHANNELS)
    inputs = np.empty((len(train), pixels.shape[1]))
    Loader(learnt, "float64", len(train), pixels.shape[1]).load(pixels, train, inputs)
    for channel in range(CHANNELS):
        assert inputs[:, channel::CHANNELS].mean() == pytest.approx(0, abs=1e-6)
        assert inputs[:, channel::CHANNELS].std() == pytest.approx(1, rel=1e-6)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    pixels, train = drawn(3)
    with pytest.raises(ConfigError, match=r"preprocess\.name=whiten: unknown; one of .*standardize"):
        learn("whiten", pixels, train, CHANNELS)


# --- the loader


def formula(
    statistics: Statistics, pixels: Pixels, indices: Integers, dtype: str, left: float = 1.0
) -> Floats:
    """(pixels / divisor - mean) / deviation: the division in float32, what follows in the network's dtype.

    By `left` the network divides.
    """
    divisor = np.float32(statistics.divisor / left)
    rows: Floats = (pixels[indices].astype(np.float32) / divisor).astype(dtype)
    if statistics.mean is not None:
        rows = rows - statistics.mean.astype(dtype)
    if statistics.deviation is not None:
        rows = rows / statistics.deviation.astype(dtype)
    return rows


@every
@every_dtype
@examples
@given(case=cases, spare=st.integers(0, 3))
def test_loading_is_the_formula_to_the_bit(
    name: str, dtype: str, case: tuple[Pixels, Integers], spare: int
) -> None:
    pixels, train = case
    statistics = learn(name, pixels, train, CHANNELS)
    # Images outside the train part too, some twice, in any order.
    indices = np.random.default_rng(4).integers(0, len(pixels), len(pixels))
    rows = len(indices) + spare
    loader = Loader(statistics, dtype, rows, pixels.shape[1])
    inputs = np.full((rows, pixels.shape[1]), -77, dtype=dtype)
    loader.load(pixels, indices, inputs)
    expected = formula(statistics, pixels, indices, dtype, loader.divisor)
    np.testing.assert_array_equal(inputs[: len(indices)], expected)
    assert (inputs[len(indices) :] == -77).all()
    # A smaller batch after it finds nothing left over.
    loader.load(pixels, indices[:1], inputs)
    np.testing.assert_array_equal(inputs[:1], expected[:1])


def test_unit_pixels_in_double_precision_are_the_float32_quotients() -> None:
    # The published experiments divided float32 pixels and went on in float64 with what that gave.
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    inputs = np.empty((1, 256))
    loader = Loader(Statistics(255.0), "float64", 1, 256)
    loader.load(pixels, np.array([0]), inputs)
    quotients = np.arange(256, dtype=np.float32) / np.float32(255)
    np.testing.assert_array_equal(inputs[0], quotients.astype(np.float64))
    assert (inputs[0, 0], inputs[0, 255], loader.divisor) == (0, 1, 1)


@every
@every_dtype
def test_the_network_divides_only_where_nothing_else_is_to_be_done(name: str, dtype: str) -> None:
    pixels, train = drawn(7)
    loader = Loader(learn(name, pixels, train, CHANNELS), dtype, 1, pixels.shape[1])
    assert loader.divisor == (255 if (name, dtype) == ("unit", "float32") else 1)


def test_pixels_may_be_a_read_only_map() -> None:
    pixels, train = drawn(5)
    pixels.flags.writeable = False
    statistics = learn("standardize", pixels, train, CHANNELS)
    inputs = np.empty((len(train), pixels.shape[1]), dtype=np.float32)
    Loader(statistics, "float32", len(train), pixels.shape[1]).load(pixels, train, inputs)
    np.testing.assert_array_equal(inputs, formula(statistics, pixels, train, "float32"))


@every
@every_dtype
def test_loading_allocates_nothing(name: str, dtype: str) -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (300, 3072), dtype=np.uint8)
    indices = np.arange(200)
    loader = Loader(learn(name, pixels, indices, CHANNELS), dtype, 200, 3072)
    inputs = np.empty((200, 3072), dtype=dtype)
    loader.load(pixels, indices, inputs)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        loader.load(pixels, indices, inputs)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # 614,400 pixels; NumPy subtracts the mean from all rows through a buffer of 8,192 numbers.
    assert peak < np.getbufsize() * np.dtype(dtype).itemsize + 4_000
