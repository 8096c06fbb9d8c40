"""Paper to draw a digit on, in a real browser: its networks answer as `pipeline predict`."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.commands.shared.normalise import as_stored
from pipeline.core.paths import Layout
from pipeline.nn.activations import ACTIVATIONS
from tests.report.page.pages import SMALL

pytestmark = pytest.mark.service

Run = Callable[..., Any]

THREE = [(0.3, 0.3), (0.4, 0.2), (0.6, 0.2), (0.68, 0.32), (0.5, 0.5), (0.7, 0.68), (0.6, 0.82), (0.3, 0.75)]


def draw(page: Any, points: list[tuple[float, float]]) -> None:  # noqa: ANN401  (the same)
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def answers(page: Any) -> dict[str, list[float]]:  # noqa: ANN401  (the same)
    """The probabilities that the page's networks give, by experiment."""
    return {
        row.get_attribute("data-experiment"): json.loads(row.get_attribute("data-probabilities"))
        for row in page.locator("tr[data-experiment]").all()
    }


def assert_equal_to_predict(page: Any, picture: Path, folder: Layout, cli: Run) -> None:  # noqa: ANN401  (the same)
    found = answers(page)
    assert set(found) == {*ACTIVATIONS, "small"}
    del found["small"]
    assert {name: max(shares) for name, shares in found.items() if max(shares) < 0.12} == {}
    for name, shares in found.items():
        parameters = str(folder.results(name).parameters)
        ended = cli("predict", "--parameters", parameters, "--image", str(picture), "--json")
        assert ended.code == 0, ended.err
        expected = list(json.loads(ended.out)["images"][0]["probabilities"].values())
        np.testing.assert_allclose(shares, expected, atol=1e-4, err_msg=name)


@pytest.mark.usefixtures("checkout")  # the working directory, with the data set's definition
def test_a_drawn_digit_is_answered_as_by_predict(
    opened: Callable[..., Any], folder: Layout, cli: Run, tmp_path: Path
) -> None:
    page = opened()
    draw(page, THREE)
    url = page.evaluate("document.getElementById('paper').toDataURL('image/png')")
    picture = tmp_path / "drawn.png"
    picture.write_bytes(base64.b64decode(url.partition(",")[2]))
    assert_equal_to_predict(page, picture, folder, cli)
    said = {max(range(10), key=shares.__getitem__) for shares in answers(page).values()}
    assert ("They disagree" in page.inner_text("#verdict")) == (len(said) > 1)
    # Images of another size are made for a network that takes such.
    image = as_stored(np.asarray(Image.open(picture).convert("RGBA"), np.float64), (8, 8, 1))
    logits = image.ravel() @ SMALL
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(answers(page)["small"], expected / expected.sum(), atol=1e-4)
    page.get_by_role("button", name="Clear").click()
    assert answers(page) == {}


def tilted_seven(size: tuple[int, int], mode: str, paper: Any, ink: Any, width: int) -> Image.Image:  # noqa: ANN401  (colours)
    image = Image.new(mode, size, paper)
    across, down = size
    points = [(0.3, 0.25), (0.7, 0.2), (0.45, 0.85)]
    ImageDraw.Draw(image).line([(x * across, y * down) for x, y in points], ink, width, "curve")
    return image


PICTURES = {
    "light ink on black": tilted_seven((90, 120), "L", 0, 250, 9),
    "colours": tilted_seven((200, 90), "RGB", (250, 230, 180), (20, 60, 120), 7),
    "on nothing": tilted_seven((64, 64), "RGBA", (0, 0, 0, 0), (255, 255, 255, 255), 5),
    "smaller than the image": tilted_seven((13, 17), "L", 255, 0, 2),
    "one pixel wide": tilted_seven((1, 40), "L", 255, 0, 1),
    "large": tilted_seven((2300, 1700), "L", 240, 10, 120),
}


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("kind", [*PICTURES, "in place", "uneven paper"])
def test_a_picture_is_answered_as_by_predict(
    kind: str,
    opened: Callable[..., Any],
    folder: Layout,
    cli: Run,
    tmp_path: Path,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
) -> None:
    if kind == "in place":
        image = Image.fromarray(tiny.drawing.test_images[3][..., 0])
    elif kind == "uneven paper":
        noise = np.random.default_rng(5).integers(-6, 7, (150, 110))
        levels = np.asarray(tilted_seven((110, 150), "L", 200, 40, 10)) + noise
        image = Image.fromarray(levels.astype(np.uint8))
    else:
        image = PICTURES[kind]
    picture = tmp_path / "picture.png"
    image.save(picture)
    page = opened()
    page.set_input_files("#file", str(picture))
    page.wait_for_selector("tr[data-experiment]")
    assert_equal_to_predict(page, picture, folder, cli)


def test_a_picture_can_be_dropped_on_the_paper(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened()
    picture = tmp_path / "dropped.png"
    PICTURES["light ink on black"].save(picture)
    drop = """([text]) => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
        data.items.add(new File([bytes], "a", {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer: data, bubbles: true});
        document.getElementById("paper").dispatchEvent(event);
    }"""
    page.evaluate(drop, [base64.b64encode(picture.read_bytes()).decode()])
    page.wait_for_selector("tr[data-experiment]")
    dropped = answers(page)
    page.reload()
    page.set_input_files("#file", str(picture))
    page.wait_for_selector("tr[data-experiment]")
    assert answers(page) == dropped


def test_a_picture_dropped_beside_the_paper_does_not_take_the_place_of_the_page(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    for name in ("dragover", "drop"):
        event = f"new DragEvent('{name}', {{bubbles: true, cancelable: true}})"
        assert not page.evaluate(f"document.body.dispatchEvent({event})")


def test_what_is_no_picture_or_shows_nothing_is_told(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened()
    (tmp_path / "text.png").write_text("no image")
    page.set_input_files("#file", str(tmp_path / "text.png"))
    page.get_by_text("text.png: this is no image that the browser can read.").wait_for()
    Image.new("L", (30, 30), 128).save(tmp_path / "grey.png")
    page.set_input_files("#file", str(tmp_path / "grey.png"))
    page.get_by_text("There is nothing to see in this picture.").wait_for()


def test_a_digit_can_be_drawn_with_the_keyboard_and_by_touch(opened: Callable[..., Any]) -> None:
    page = opened(has_touch=True)
    page.focus("#paper")
    page.keyboard.press("ArrowDown")
    assert answers(page) == {}
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    assert set(answers(page)) == {*ACTIVATIONS, "small"}
    page.keyboard.press("Delete")
    assert answers(page) == {}
    page.locator("#paper").tap()
    page.wait_for_selector("tr[data-experiment]")
    assert set(answers(page)) == {*ACTIVATIONS, "small"}
