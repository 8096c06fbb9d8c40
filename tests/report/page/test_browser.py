"""The page in a real browser, offline: what it shows, to whom, and on what."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.nn.activations import ACTIVATIONS
from pipeline.report.page.experiment import Experiment
from tests.report.page.pages import NASTY, assert_count, show

pytestmark = pytest.mark.service


@pytest.mark.parametrize("fragment", ["#/nothing", "#/%", "#nowhere"])
def test_an_address_of_no_experiment_shows_the_first(fragment: str, opened: Callable[..., Any]) -> None:
    page = opened()
    page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    page.reload()
    assert page.inner_text("h3.name") == next(iter(ACTIVATIONS))


def test_the_differences_stand_first_with_their_interval(opened: Callable[..., Any]) -> None:
    page = opened()
    first = page.locator("main > section").first
    assert first.locator("h2").inner_text() == "What changed: HEAD (01234567) → workspace"
    text = first.inner_text()
    assert "50.00\u00a0% → 62.50\u00a0%, +12.50 points" in text
    assert "+3.00 to +22.00 points" in text
    assert "Of 100 test images 2 are recognised that were not, 1 no longer." in text
    assert "not compared another split" in text
    assert first.locator("svg").get_attribute("aria-label").startswith("Difference of the test accuracy")


def test_a_cell_of_the_confusion_matrix_shows_its_images(
    opened: Callable[..., Any], experiments: list[Experiment]
) -> None:
    page = opened()
    page.get_by_role("button", name="relu", exact=True).click()
    relu = next(each for each in experiments if each.name == "relu")
    actual, predicted = relu.examples.actual[0], relu.examples.predicted[0]
    images = relu.confusion[actual][predicted]
    page.get_by_role("button", name=f"actual {actual}, predicted {predicted}: {images} image").click()
    assert f": {images} image" in page.inner_text(".cell")
    canvas = page.locator(".cell canvas").first
    assert (
        canvas.get_attribute("aria-label") == f"test image {relu.examples.images[0]}: {relu.classes[actual]}"
    )
    page.wait_for_function("""() => document.querySelector('.cell canvas').getContext('2d')
        .getImageData(0, 0, 28, 28).data.some((each, index) => index % 4 < 3 && each > 0)""")
    # From there to its neighbour by keyboard.
    page.locator(".matrix button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert (
        page.locator(".matrix [aria-current]")
        .get_attribute("aria-label")
        .startswith("actual 0, predicted 1:")
    )


def test_curves_tell_their_values_to_mouse_and_keyboard(
    opened: Callable[..., Any], experiments: list[Experiment]
) -> None:
    page = opened()
    show(page, "tanh")
    chart = page.locator("#experiment .chart").first
    history = next(each for each in experiments if each.name == "tanh").history
    chart.locator("svg[role=img]").focus()
    page.keyboard.press("End")
    expected = [
        f"{part} {100 * (history[f'{part}_accuracy'][-1] or 0):.2f}\u00a0%" for part in ("train", "valid")
    ]
    told = chart.locator("output").inner_text()
    assert told.startswith("epoch 20")
    assert all(text in told for text in expected)
    page.keyboard.press("Home")
    assert chart.locator("output").inner_text().startswith("epoch 0")
    box = chart.locator("svg[role=img]").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2)
    assert chart.locator("output").inner_text() == told


def test_a_network_that_is_not_in_the_page_shows_some_weights_and_is_named(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    assert "how they work: large." in page.inner_text("#draw")
    show(page, "large")
    page.get_by_text("What 2 of 8 units of the first layer look for.").wait_for()
    orange, blue = (
        tuple(int(theme[start : start + 2], 16) for start in (1, 3, 5))
        for theme in page.evaluate("""() => ["--weight-high", "--weight-low"].map((name) =>
            getComputedStyle(document.documentElement).getPropertyValue(name).trim())""")
    )
    expected = ",".join(map(str, (*orange, 255, *blue, 255)))
    colours = """document.querySelector("canvas.weights").getContext("2d").getImageData(0, 0, 2, 1).data"""
    page.wait_for_function(f"() => {colours}.join() === '{expected}'")


def test_experiments_are_overlaid_and_can_be_taken_away(
    opened: Callable[..., Any], experiments: list[Experiment]
) -> None:
    page = opened()
    lines = page.locator("#overview .plot path.line")
    assert_count(lines, len(experiments))
    page.get_by_role("checkbox", name="sigmoid (valid)").uncheck()
    assert_count(lines, len(experiments) - 1)
    page.get_by_role("combobox", name="Show").select_option("loss")
    assert "loss by epoch" in page.locator("#overview .chart figcaption").inner_text()
    assert_count(lines, len(experiments) - 1)
    for box in page.locator("#overview fieldset input").all():
        box.uncheck()
    assert page.locator("#overview .chart .plot").inner_text() == "No experiment is chosen."


def test_the_curves_are_of_the_parts_that_there_are(opened: Callable[..., Any]) -> None:
    page = opened()
    for name, parts in (("small", ["train"]), ("tanh", ["train", "valid"])):
        show(page, name)
        chart = page.locator("#experiment .chart").first
        assert_count(chart.locator("path.line"), len(parts))
        caption = " and ".join(parts).capitalize()
        assert f"{caption} part: accuracy by epoch" in chart.locator("figcaption").inner_text()


def test_the_curves_have_two_values_or_more_beside_them(opened: Callable[..., Any]) -> None:
    page = opened()
    for name in ACTIVATIONS:
        show(page, name)
        for figure in page.locator("#experiment .columns").first.locator("figure").all():
            figure.locator("svg[role=img]").wait_for()
            # To the left of the axis; those below it are in its middle or at its end.
            assert figure.locator(".tick[x='46']").count() >= 2, name


def test_a_search_shows_every_trial_that_ended_and_marks_the_best(opened: Callable[..., Any]) -> None:
    page = opened()
    show(page, "tanh")
    # One chart for each axis, beside the calibration.
    assert_count(page.locator("#experiment .dot.marked"), 2)
    page.locator("#experiment .dot.marked").first.dispatch_event("pointerenter")
    told = page.get_by_role("status").filter(has_text="model.hidden 4, rate 0.3: 50.00\u00a0%")
    assert_count(told, 1)


def test_text_of_the_data_is_shown_as_it_is(opened: Callable[..., Any]) -> None:
    page = opened()
    show(page, "sigmoid")
    assert_count(page.locator("#experiment .matrix th").filter(has_text=NASTY), 2)
    assert_count(page.locator("#overview td").filter(has_text=NASTY), len(ACTIVATIONS))
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(width: int, scheme: str, opened: Callable[..., Any]) -> None:
    page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme)
    for name in ACTIVATIONS:
        show(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    contrast = """(selector) => {
        const light = (text) => {
            const [r, g, b] = text.match(/[0-9.]+/g).map((each) => each / 255)
                .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const pair = [getComputedStyle(document.querySelector(selector)).color,
            getComputedStyle(document.body).backgroundColor].map(light).sort((one, other) => other - one);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    }"""
    for selector in ("body", ".muted", "#overview a", ".verdict.better"):
        # WCAG 2.2, success criterion 1.4.3.
        assert page.evaluate(contrast, selector) >= 4.5, selector


def test_everything_has_a_name_for_a_screen_reader(opened: Callable[..., Any]) -> None:
    page = opened()
    unnamed = """() => [...document.querySelectorAll("a, button, canvas, input, section, select, [role=img]")]
        .filter((each) => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby")
            || each.textContent.trim() || each.labels?.length)).map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(unnamed) == []
    headings = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((each) => +each.tagName[1])"
    )
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    # Only what scrolls is a stop of the Tab key.
    assert page.locator("#overview .scroll[tabindex]").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    assert_count(page.locator("#overview .scroll[tabindex='0']"), 1)


def test_it_prints_without_what_only_a_screen_needs(opened: Callable[..., Any]) -> None:
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("#draw").is_visible()
    assert not page.locator("header").is_visible()
    assert page.locator("#overview table").first.is_visible()
    # Charts were drawn for the screen, which may be wider than the paper.
    widths = """() => [...document.querySelectorAll(".plot svg")].map((each) => {
        each.setAttribute("width", 3000);
        return each.getBoundingClientRect().width - each.parentElement.clientWidth;
    })"""
    assert max(page.evaluate(widths)) <= 0
    assert page.pdf().startswith(b"%PDF")
