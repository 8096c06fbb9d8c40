"""Pictures of any size and kind become what MNIST would have made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.commands.shared import normalise
from pipeline.core.errors import PipelineError
from pipeline.data.formats import idx
from pipeline.data.standins import draw_digits

Array = npt.NDArray[Any]

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "mnist"
SIZE = (28, 28)
DIGITS = draw_digits(10, 40).test_images[..., 0].astype(np.float64)
MNIST = (28, 28, 1)


def boxed(image: Array, threshold: float = 0.0) -> tuple[int, int]:
    """Height and width of what is drawn."""
    rows, columns = (
        np.flatnonzero((image > threshold).any(axis=1)),
        np.flatnonzero((image > threshold).any(axis=0)),
    )
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def middle(image: Array) -> tuple[float, float]:
    weights = image.astype(np.float64)
    down, across = np.indices(image.shape)
    return float((down * weights).sum() / weights.sum()), float((across * weights).sum() / weights.sum())


def enlarged(image: Array, factor: int) -> Array:
    source = Image.fromarray(image.astype(np.float32))
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.clip(np.asarray(source.resize(size, Image.Resampling.BICUBIC)), 0, 255)


def placed(image: Array, size: tuple[int, int], top: int, left: int) -> Array:
    page = np.zeros(size)
    page[top : top + image.shape[0], left : left + image.shape[1]] = image
    return page


def distance(left: Array, right: Array) -> float:
    """Mean difference in grey levels, but for a shift by one pixel: the middle may fall on either side."""
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return min(float(np.abs(np.roll(left, shift, (0, 1)).astype(float) - right).mean()) for shift in shifts)


def opaque(grey: Array) -> Array:
    return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)


def test_an_image_that_is_in_place_is_not_touched() -> None:
    for digit in DIGITS:
        np.testing.assert_array_equal(normalise.centred(digit, SIZE), digit)
        np.testing.assert_array_equal(normalise.centred(255 - digit, SIZE), digit)


@pytest.mark.parametrize("factor", [1, 3, 10])
def test_a_drawing_fills_the_box_around_the_middle_wherever_it_was(factor: int) -> None:
    for number, digit in enumerate(DIGITS[:12]):
        drawn = enlarged(digit, factor)
        page = placed(drawn, (28 * factor + 31, 28 * factor + 17), 2 * number, 17 - number)
        image = normalise.centred(page, SIZE)
        assert image.max() == 255
        assert 19 <= max(boxed(image, 64)) <= 20
        assert np.abs(np.array(middle(image)) - 14).max() <= 0.5
        np.testing.assert_array_equal(normalise.centred(255 - page, SIZE), image)


def test_a_drawing_s_place_does_not_matter() -> None:
    drawn = enlarged(DIGITS[3], 4)
    pages = [placed(drawn, (200, 300), top, left) for top, left in ((0, 0), (88, 188), (40, 7))]
    images = [normalise.centred(page, SIZE) for page in pages]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_an_enlarged_digit_looks_like_the_one_it_was_made_of() -> None:
    pages = [placed(enlarged(digit, 8), (400, 300), 90, 40) for digit in DIGITS]
    # A box of 18 to 24 pixels has become one of 20.
    differences = [
        distance(normalise.centred(255 - page, SIZE), digit)
        for page, digit in zip(pages, DIGITS, strict=True)
    ]
    assert np.mean(differences) < 12
    assert np.mean([np.abs(digit).mean() for digit in DIGITS]) > 25


@pytest.mark.parametrize("paper", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("ink", [0, 60, 128, 200, 255])
def test_any_ink_on_any_paper(ink: int, paper: int) -> None:
    page = paper + (ink - paper) * placed(enlarged(DIGITS[5], 3), (100, 100), 5, 10) / 255
    if ink == paper:
        with pytest.raises(PipelineError, match="nothing to see"):
            normalise.centred(page, SIZE)
        return
    expected = normalise.centred(placed(enlarged(DIGITS[5], 3), (100, 100), 5, 10), SIZE)
    assert np.abs(normalise.centred(page, SIZE).astype(int) - expected).max() <= 1


def test_unevenly_lit_and_noisy_paper_is_not_drawn() -> None:
    random = np.random.default_rng(0)
    differences = []
    for digit in DIGITS[:12]:
        drawn = placed(enlarged(digit, 6), (260, 240), 50, 40)
        photograph = 210 - 0.6 * drawn - np.linspace(0, 40, 240) + random.normal(0, 3, drawn.shape)
        image = normalise.centred(photograph, SIZE)
        expected = normalise.centred(drawn, SIZE)
        assert np.count_nonzero(image) <= np.count_nonzero(expected)
        differences.append(distance(image, expected))
    assert np.mean(differences) < 6


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
)
def test_a_rectangle_of_any_size_keeps_its_shape(
    box: tuple[int, int],
    margins: tuple[int, int, int, int],
    dark: bool,  # noqa: FBT001  (hypothesis gives it)
) -> None:
    height, width = box
    # The paper has to have most of the border.
    top, left, bottom, right = margins[0] + 1, margins[1] + 1, margins[2], margins[3]
    page = np.zeros((top + height + bottom, left + width + right))
    page[top : top + height, left : left + width] = 255
    image = normalise.centred(255 - page if dark else page, SIZE)
    found = boxed(image, 127)
    if (height, width) == found and page.shape == SIZE:
        return  # was in place already
    longest = max(height, width)
    assert found == (max(1, round(20 * height / longest)), max(1, round(20 * width / longest)))


def test_other_image_sizes_are_made_in_proportion() -> None:
    image = normalise.centred(placed(enlarged(DIGITS[2], 5), (200, 200), 0, 60), (56, 56))
    assert image.shape == (56, 56)
    assert 38 <= max(boxed(image, 64)) <= 40
    assert normalise.centred(DIGITS[2], (14, 20)).shape == (14, 20)


@pytest.mark.parametrize("page", [np.zeros((5, 5)), np.full((3, 9), 255.0), np.full((1, 1), 7.0)])
def test_a_blank_picture_is_refused(page: Array) -> None:
    with pytest.raises(PipelineError, match="nothing to see"):
        normalise.as_stored(opaque(page), MNIST)


def test_what_is_transparent_is_paper() -> None:
    drawn = placed(enlarged(DIGITS[4], 3), (100, 110), 9, 3)
    expected = normalise.centred(drawn, SIZE)
    for ink in (0, 255):
        picture = np.stack([np.full_like(drawn, ink)] * 3 + [drawn], axis=-1)
        np.testing.assert_array_equal(normalise.as_stored(picture, MNIST)[..., 0], expected)
    with pytest.raises(PipelineError, match="nothing to see"):
        normalise.as_stored(np.zeros((9, 9, 4)), MNIST)


def test_colours_count_by_their_brightness() -> None:
    drawn = placed(enlarged(DIGITS[6], 3), (100, 110), 9, 3) / 255
    red_on_white = np.stack([255 + 0 * drawn, 255 - 255 * drawn, 255 - 255 * drawn, 255 + 0 * drawn], axis=-1)
    expected = normalise.centred(255 * drawn, SIZE)
    assert np.abs(normalise.as_stored(red_on_white, MNIST)[..., 0].astype(int) - expected).max() <= 1


def test_for_colour_images_the_whole_picture_is_resized() -> None:
    picture = np.zeros((40, 64, 4))
    picture[..., 3] = 255
    picture[:, :32] = [250, 100, 0, 255]
    image = normalise.as_stored(picture, (8, 8, 3))
    assert (image.shape, image.dtype) == ((8, 8, 3), np.uint8)
    assert image[:, 0].tolist() == [[250, 100, 0]] * 8
    assert image[:, -1].tolist() == [[0, 0, 0]] * 8
    same_size = np.random.default_rng(1).integers(0, 256, (8, 8, 4)).astype(np.float32)
    same_size[..., 3] = 255
    np.testing.assert_array_equal(normalise.as_stored(same_size, (8, 8, 3)), same_size[..., :3])


def test_images_of_two_channels_cannot_be_made() -> None:
    with pytest.raises(PipelineError, match="2 channels"):
        normalise.as_stored(np.zeros((9, 9, 4)), (28, 28, 2))


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the official MNIST files in ../shared/data/mnist")
def test_mnist_s_own_images_stay_as_they_are() -> None:
    images = idx.read(REAL / "t10k-images-idx3-ubyte.gz")[:2000]
    untouched = [bool((normalise.centred(255.0 - image, SIZE) == image).all()) for image in images]
    assert sum(untouched) >= 1999
