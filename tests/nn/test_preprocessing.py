"""Preprocessing: statistics of the train part alone, exact ones, and a loader that is the formula."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Preprocess
from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import DTYPES, Floats, Integers, Pixels
from pipeline.nn.preprocessing import PREPROCESSORS, Loader, Statistics, check_settings, learn
from tests.shared import allocating_less_than

SETTINGS = {
    **{name: Preprocess(name) for name, each in PREPROCESSORS.items() if not each.settings},
    "pca": Preprocess("pca", components=2, epsilon=0.5),
    "zca": Preprocess("zca", epsilon=0.5),
}
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
    found, expected = one.arrays(), other.arrays()
    return list(found) == list(expected) and all(
        np.array_equal(found[name], expected[name]) for name in found
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
    learnt = learn(SETTINGS[name], pixels, train, CHANNELS)
    others = np.setdiff1d(np.arange(len(pixels)), train)
    changed = pixels.copy()
    changed[others] = 255 - changed[others]
    assert same(learn(SETTINGS[name], changed, train, CHANNELS), learnt)
    # In whichever order its rows are listed.
    assert same(learn(SETTINGS[name], pixels, np.sort(train), CHANNELS), learnt)
    # And whether the rest is there at all.
    rest = pixels[np.sort(train)]
    assert same(learn(SETTINGS[name], rest, np.arange(len(train)), CHANNELS), learnt)


@every
def test_statistics_leave_the_pixels_alone(name: str) -> None:
    pixels, train = drawn(1)
    kept = pixels.copy()
    pixels.flags.writeable = False
    learn(SETTINGS[name], pixels, train, CHANNELS)
    np.testing.assert_array_equal(pixels, kept)


@examples
@given(case=cases)
def test_the_mean_image_is_exact(case: tuple[Pixels, Integers]) -> None:
    pixels, train = case
    learnt = learn(SETTINGS["mean_image"], pixels, train, CHANNELS)
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
    learnt = learn(SETTINGS["standardize"], pixels, train, CHANNELS)
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
    learnt = learn(SETTINGS["standardize"], pixels, np.arange(2), 3)
    assert learnt.deviation is not None
    np.testing.assert_allclose(learnt.deviation, [10 / 255, 1, 1], rtol=1e-14)
    inputs = np.empty((2, 3))
    Loader(learnt, "float64", 2, 3).load(pixels, np.arange(2), inputs)
    np.testing.assert_allclose(inputs, [[-1, 0, 0], [1, 0, 0]], atol=1e-6)


def test_sums_over_many_images_neither_overflow_nor_round() -> None:
    # More images than are summed at a time, all at the largest value but one pixel of one image.
    pixels = np.full((2501, 3), 255, dtype=np.uint8)
    pixels[2500, 1] = 0
    learnt = learn(SETTINGS["mean_image"], pixels, np.arange(2501), 1)
    assert learnt.mean is not None
    assert learnt.mean.tolist() == [255.0, 255 * 2500 / 2501, 255.0]
    learnt = learn(SETTINGS["standardize"], pixels, np.arange(2501), 1)
    assert learnt.mean is not None
    assert learnt.deviation is not None
    share = 1 / 7503
    np.testing.assert_allclose(learnt.mean, 1 - share, rtol=1e-14)
    np.testing.assert_allclose(learnt.deviation, (share * (1 - share)) ** 0.5, rtol=1e-8)


def test_standardized_train_images_have_mean_zero_and_deviation_one() -> None:
    pixels, train = drawn(2, count=200)
    learnt = learn(SETTINGS["standardize"], pixels, train, CHANNELS)
    inputs = np.empty((len(train), pixels.shape[1]))
    Loader(learnt, "float64", len(train), pixels.shape[1]).load(pixels, train, inputs)
    for channel in range(CHANNELS):
        assert inputs[:, channel::CHANNELS].mean() == pytest.approx(0, abs=1e-6)
        assert inputs[:, channel::CHANNELS].std() == pytest.approx(1, rel=1e-6)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    pixels, train = drawn(3)
    with pytest.raises(ConfigError, match=r"preprocess\.name=whiten: unknown; one of .*standardize"):
        learn(Preprocess("whiten"), pixels, train, CHANNELS)


# --- the loader


def formula(
    statistics: Statistics, pixels: Pixels, indices: Integers, dtype: str, left: float = 1.0
) -> Floats:
    """What `Statistics` says: the division in float32, what follows in the network's dtype.

    By `left` the network divides.
    """
    divisor = np.float32(statistics.divisor / left)
    rows: Floats = (pixels[indices].astype(np.float32) / divisor).astype(dtype)
    if statistics.contrast is not None:
        rows = rows - rows.mean(axis=1, keepdims=True)
        rows = rows / np.sqrt(np.vecdot(rows, rows)[:, np.newaxis] / rows.shape[1] + statistics.contrast)
    if statistics.mean is not None:
        rows = rows - statistics.mean.astype(dtype)
    if statistics.deviation is not None:
        rows = rows / statistics.deviation.astype(dtype)
    return rows if statistics.projection is None else rows @ statistics.projection.astype(dtype)


@every
@every_dtype
@examples
@given(case=cases, spare=st.integers(0, 3))
def test_loading_is_the_formula_to_the_bit(
    name: str, dtype: str, case: tuple[Pixels, Integers], spare: int
) -> None:
    pixels, train = case
    statistics = learn(SETTINGS[name], pixels, train, CHANNELS)
    # Images outside the train part too, some twice, in any order.
    indices = np.random.default_rng(4).integers(0, len(pixels), len(pixels))
    rows, columns = len(indices) + spare, statistics.inputs(pixels.shape[1])
    loader = Loader(statistics, dtype, rows, columns)
    inputs = np.full((rows, columns), -77, dtype=dtype)
    loader.load(pixels, indices, inputs)
    expected = formula(statistics, pixels, indices, dtype, loader.divisor)
    np.testing.assert_array_equal(inputs[: len(indices)], expected)
    assert (inputs[len(indices) :] == -77).all()
    # A smaller batch after it finds nothing left over.
    loader.load(pixels, indices[:1], inputs)
    expected = formula(statistics, pixels, indices[:1], dtype, loader.divisor)
    np.testing.assert_array_equal(inputs[:1], expected)


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
    loader = Loader(learn(SETTINGS[name], pixels, train, CHANNELS), dtype, 1, pixels.shape[1])
    assert loader.divisor == (255 if (name, dtype) == ("unit", "float32") else 1)


def test_pixels_may_be_a_read_only_map() -> None:
    pixels, train = drawn(5)
    pixels.flags.writeable = False
    statistics = learn(SETTINGS["standardize"], pixels, train, CHANNELS)
    inputs = np.empty((len(train), pixels.shape[1]), dtype=np.float32)
    Loader(statistics, "float32", len(train), pixels.shape[1]).load(pixels, train, inputs)
    np.testing.assert_array_equal(inputs, formula(statistics, pixels, train, "float32"))


@every
@every_dtype
def test_loading_allocates_nothing(name: str, dtype: str) -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (300, 768), dtype=np.uint8)
    indices = np.arange(200)
    statistics = learn(SETTINGS[name], pixels, indices, CHANNELS)
    columns = statistics.inputs(768)
    loader = Loader(statistics, dtype, 200, columns)
    inputs = np.empty((200, columns), dtype=dtype)
    loader.load(pixels, indices, inputs)
    # 153,600 pixels; NumPy subtracts the mean from all rows through a buffer of 8,192 numbers.
    with allocating_less_than(np.getbufsize() * np.dtype(dtype).itemsize + 4_000):
        loader.load(pixels, indices, inputs)


# --- contrast, principal components


@examples
@given(case=cases)
def test_contrast_takes_brightness_and_contrast_from_an_image(case: tuple[Pixels, Integers]) -> None:
    pixels, _ = case
    rows = np.concatenate([pixels // 4, pixels // 4 * 3 + 50, np.full_like(pixels[:1], 9)]).astype(np.uint8)
    inputs = np.empty(rows.shape)
    statistics = learn(SETTINGS["contrast"], rows, np.arange(len(rows)), CHANNELS)
    Loader(statistics, "float64", *rows.shape).load(rows, np.arange(len(rows)), inputs)
    np.testing.assert_allclose(inputs.mean(axis=1), 0, atol=1e-12)
    variance = rows.var(axis=1)
    np.testing.assert_allclose(inputs.var(axis=1), variance / (variance + 10), rtol=1e-9)
    assert not inputs[-1].any()
    # Brighter and of more contrast, the same image in another length.
    one, other = inputs[: len(pixels)], inputs[len(pixels) : 2 * len(pixels)]
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(np.vecdot(one, other), lengths, rtol=1e-9, atol=1e-12)


def principal(seed: int, count: int, components: int, epsilon: float) -> tuple[Statistics, Floats]:
    """Statistics of pca, and the contrast-normalized pixels that they were learnt from, less their mean."""
    pixels, _ = drawn(seed, count)
    statistics = learn(Preprocess("pca", components, epsilon), pixels, np.arange(count), CHANNELS)
    assert statistics.mean is not None
    whole = Statistics(statistics.divisor, statistics.mean, contrast=statistics.contrast)
    centred = np.empty(pixels.shape)
    Loader(whole, "float64", *pixels.shape).load(pixels, np.arange(count), centred)
    return statistics, centred


@examples
@given(st.integers(0, 2**32 - 1), st.integers(40, 80), st.integers(1, 12), st.floats(0.01, 10))
def test_principal_components_are_uncorrelated_and_in_order(
    seed: int, count: int, components: int, epsilon: float
) -> None:
    statistics, centred = principal(seed, count, components, epsilon)
    assert statistics.projection is not None
    assert statistics.projection.dtype == np.float32
    projection = statistics.projection.astype(np.float64)
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-12)
    covariance = centred.T @ centred / count
    expected = np.linalg.eigvalsh(covariance)[::-1][:components].clip(0)
    found = projection.T @ covariance @ projection
    np.testing.assert_allclose(found, np.diag(expected / (expected + epsilon)), atol=1e-5)
    # But for their lengths, orthonormal directions; the largest number of each is positive.
    directions = projection * np.sqrt(expected + epsilon)
    np.testing.assert_allclose(directions.T @ directions, np.eye(components), atol=1e-5)
    assert (directions[np.abs(directions).argmax(axis=0), np.arange(components)] > 0).all()


def test_all_components_lose_nothing_and_whitening_turns_them_back() -> None:
    statistics, centred = principal(3, 60, 12, 0.5)
    assert statistics.projection is not None
    inverse = np.linalg.inv(statistics.projection.astype(np.float64))
    np.testing.assert_allclose(centred @ statistics.projection @ inverse, centred, atol=1e-5)
    pixels, _ = drawn(3, 60)
    whitened = learn(SETTINGS["zca"], pixels, np.arange(60), CHANNELS)
    assert whitened.projection is not None
    np.testing.assert_allclose(whitened.projection, whitened.projection.T, atol=1e-6)
    squared = statistics.projection @ statistics.projection.T
    np.testing.assert_allclose(whitened.projection @ whitened.projection, squared, atol=1e-5)


def test_statistics_come_back_from_their_arrays() -> None:
    pixels, train = drawn(8)
    for settings_ in SETTINGS.values():
        statistics = learn(settings_, pixels, train, CHANNELS)
        assert same(Statistics.from_arrays({**statistics.arrays(), "train": train}), statistics)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        (Preprocess("pca", epsilon=1.0), "preprocess.components=null: preprocess.name=pca needs it"),
        (Preprocess("zca", 3, 1.0), "preprocess.components=3: preprocess.name=zca has no such setting"),
        (Preprocess("unit", epsilon=1.0), "preprocess.epsilon=1.0: preprocess.name=unit has no such setting"),
    ],
)
def test_settings_are_those_that_a_preprocessor_needs(settings_: Preprocess, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(settings_)
    assert str(caught.value) == message
