"""Images gained and lost as the page shows them, and the curves of the first version."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report.page.experiment import encode_picture
from pipeline.report.page.moved import MOST, describe_history, describe_moved
from pipeline.report.versions import Outputs

COUNT = 60
IMAGES = np.random.default_rng(4).integers(0, 256, (100, 5, 7, 1), dtype=np.uint8)
PLACES = np.arange(COUNT) + 10


def outputs(shares: np.ndarray) -> Outputs:
    """Two classes, all images of the first, which gets these probabilities."""
    probabilities = np.stack([shares, 1 - shares], axis=1).astype(np.float32)
    return Outputs(probabilities, np.zeros(COUNT, np.int64), PLACES)


def decode(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_the_images_that_moved_most_come_first_with_both_answers() -> None:
    first = outputs(np.full(COUNT, 0.25))
    second = outputs(np.linspace(0.5, 0.99, COUNT))
    found = describe_moved(first, second, tuple(PLACES), IMAGES)
    assert [each.image for each in found] == list(PLACES[::-1][:MOST])
    top = found[0]
    assert (top.actual, top.before, top.before_probability) == (0, 1, 0.75)
    assert (top.after, top.after_probability) == (0, 0.99)
    assert (decode(top.picture)[..., 0] == IMAGES[PLACES[-1], ..., 0]).all()
    # Those that are lost moved the other way round, just as far.
    lost = describe_moved(second, first, tuple(PLACES), IMAGES)
    assert [each.image for each in lost] == [each.image for each in found]
    assert (lost[0].before, lost[0].after) == (0, 1)


def test_of_images_that_moved_as_far_the_first_of_the_test_set_are_shown_whatever_the_order() -> None:
    first, second = outputs(np.full(COUNT, 0.25)), outputs(np.full(COUNT, 0.75))
    found = describe_moved(first, second, tuple(PLACES), IMAGES)
    assert [each.image for each in found] == list(PLACES[:MOST])
    turned = Outputs(second.probabilities[::-1], second.labels[::-1], second.images[::-1])
    assert describe_moved(first, turned, tuple(PLACES[::-1]), IMAGES) == found


def test_only_the_images_asked_for_are_shown_and_without_pixels_their_text_alone() -> None:
    first, second = outputs(np.full(COUNT, 0.25)), outputs(np.full(COUNT, 0.75))
    found = describe_moved(first, second, (40, 12), None)
    assert [(each.image, each.picture) for each in found] == [(12, ""), (40, "")]
    assert describe_moved(first, second, (), IMAGES) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_its_image_in_the_same_bytes_each_time(channels: int) -> None:
    # 64 colours are all that a colour picture keeps; this one has 24.
    few = np.random.default_rng(6).integers(0, 256, (24, channels), dtype=np.uint8)
    image = few[np.arange(96).reshape(8, 12) % 24]
    text = encode_picture(image)
    assert text == encode_picture(image.copy())
    assert (decode(text) == np.broadcast_to(image, (8, 12, 3))).all()


def test_curves_are_told_where_they_are_others() -> None:
    first = {"epoch": np.arange(2.0), "valid_loss": np.array([1 / 3, np.nan])}
    assert describe_history(first, {name: column.copy() for name, column in first.items()}) is None
    longer = {"epoch": np.arange(3.0), "valid_loss": np.array([1 / 3, np.nan, 0.1])}
    assert describe_history(first, longer) == {"epoch": [0, 1], "valid_loss": [0.333333, None]}
