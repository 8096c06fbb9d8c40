"""The data card's picture, in ordinary and extreme cases."""

from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from pipeline.core.files.images import LabelledImages, Part
from pipeline.report.card import describe
from pipeline.report.plots import style
from pipeline.report.plots.card import data_card


def make_parts(
    train: int, test: int, classes: int, shape: tuple[int, int, int] = (8, 8, 1), repeats: int = 0
) -> dict[Part, LabelledImages]:
    random = np.random.default_rng(0)
    parts: dict[Part, LabelledImages] = {}
    for name, count in (("train", train), ("test", test)):
        if count:
            images = random.integers(0, 256, (count, *shape)).astype(np.uint8)
            images[:, 0] = 0
            labels = (np.arange(count) % classes).astype(np.uint8)
            parts[name] = LabelledImages(images, labels)  # type: ignore[index]  # train and test are Parts
    for place in range(repeats):
        parts["test"].images[place] = parts["train"].images[place + 1]
    return parts


def draw(
    parts: dict[Part, LabelledImages], names: list[str], title: str = "tiny"
) -> tuple[bytes, list[Text]]:
    figure = data_card(describe(parts, len(names), lambda _: None), parts, names, title=title)
    png = style.to_png(figure)
    box: Any = figure.bbox
    for text in figure.texts:
        extent = text.get_window_extent()
        assert extent.x0 >= 0, text
        assert extent.y0 >= 0, text
        assert extent.x1 <= box.x1, text
        assert extent.y1 <= box.y1, text
    return png, figure.texts


def test_the_card_names_the_classes_the_counts_and_what_is_in_both_parts() -> None:
    png, texts = draw(make_parts(30, 12, 3, repeats=2), ["ant", "bee", "cat"])
    told = [text.get_text() for text in texts]
    assert told[:2] == ["tiny", "30 train images and 12 test images of 8 × 8 pixels"]
    assert [told[told.index(name) + 1] for name in ("ant", "bee", "cat")] == ["10 · 4"] * 3
    assert {"8 of 64 in train", "8 of 64 in test"} <= set(told)
    assert "Test images that are in the train part: 2, that look like one of it: 0" in told
    first = told.index("= 1 | 0")
    assert told[first : first + 4] == ["= 1 | 0", "bee ≠ ant", "= 2 | 1", "cat ≠ bee"]
    assert draw(make_parts(30, 12, 3, repeats=2), ["ant", "bee", "cat"])[0] == png


@pytest.mark.parametrize(
    ("parts", "classes"),
    [
        (make_parts(60, 40, 2, repeats=35), ["a", "a name that is so long that it cannot be shown in full"]),
        (make_parts(300, 260, 256, (3, 3, 3)), [f"class {label}" for label in range(256)]),
        (make_parts(5, 2, 5, (1, 90, 1)), ["$", "\u4e00", "", "b\nc", "d"]),
        (make_parts(3, 2, 2, (500, 20, 3), repeats=1), ["yes", "no"]),
        (make_parts(4, 0, 2), ["no test", "part"]),
    ],
    ids=["many repeats", "many classes", "odd names", "large images", "no test part"],
)
def test_everything_stays_within_the_page(parts: dict[Part, LabelledImages], classes: list[str]) -> None:
    png, texts = draw(parts, classes, "a title " * 20)
    assert png.startswith(b"\x89PNG")
    assert any(text.get_text().startswith("Mean train image") for text in texts)


def test_a_class_without_images_is_drawn_black() -> None:
    parts = make_parts(10, 4, 2)
    _, texts = draw(parts, ["ant", "bee", "none"])
    assert "0 · 0" in [text.get_text() for text in texts]
