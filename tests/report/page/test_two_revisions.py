"""The page of two revisions in a real browser: images gained and lost, and the curves over each other."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout
from tests.report.page.repositories import commit_outputs, train_again
from tests.shared import git

pytestmark = pytest.mark.service

Run = Callable[..., Any]

# A revision whose name is wider than a phone.
FIRST = "as_it_was_before_the_rate_was_raised_and_the_network_trained_longer"


@pytest.fixture
def address(evaluated: Layout, cli: Run) -> str:
    """The page of a checkout whose network was trained longer, and with another rate, than in its commit."""
    commit_outputs(evaluated)
    train_again(evaluated, optimizer__learning_rate=0.5, training__epochs=5)
    git(evaluated.root, "tag", FIRST)
    ended = cli("report", FIRST, "workspace")
    assert ended.code == 0, ended.err
    return (evaluated.root / "runs" / "report.html").as_uri()


def test_images_gained_and_lost_are_shown_with_both_answers(
    open_offline: Callable[..., Any], address: str
) -> None:
    page = open_offline(address)
    first = page.locator("main > section").first
    assert first.get_attribute("id") == "differences"
    told = re.search(r"([0-9]+) are recognised that were not, ([0-9]+) no longer", first.inner_text())
    assert told is not None
    counts = {"Now recognised": int(told[1]), "No longer recognised": int(told[2])}
    assert max(counts.values()) > 24
    for title, count in counts.items():
        shown = min(count, 24)
        name = f"{title}: {f'{shown} of ' if shown < count else ''}{count}, the surest changes first"
        strip = page.get_by_role("list", name=name)
        items = strip.get_by_role("listitem")
        assert items.count() == shown
        for item in items.all():
            lines = item.inner_text().split("\n")
            assert re.fullmatch(r"was \d, \d+\u00a0%", lines[1])
            assert re.fullmatch(r"now \d, \d+\u00a0%", lines[2])
            right, wrong = (2, 1) if title == "Now recognised" else (1, 2)
            assert lines[right][4] == lines[0] != lines[wrong][4]
            picture = item.get_by_role("img", name=f"test image {lines[3].removeprefix('no. ')}: {lines[0]}")
            assert picture.evaluate("(each) => [each.naturalWidth, each.naturalHeight]") == [28, 28]


def test_the_curves_of_both_revisions_are_named_by_them_and_the_first_ones_are_dashed(
    open_offline: Callable[..., Any], address: str, evaluated: Layout
) -> None:
    page = open_offline(address)
    page.get_by_role("link", name="Curves, confusion matrix and mistakes of tiny").click()
    # The keyboard goes on there.
    assert page.evaluate("document.activeElement.textContent") == "tiny"
    page.keyboard.press("Tab")
    chart = page.locator("#experiment .chart").first
    chart.locator("path.line").first.wait_for()
    names = ["train, workspace", "valid, workspace", f"train, {FIRST}", f"valid, {FIRST}"]
    assert chart.locator(".legend li").all_inner_texts() == names
    dashes = [each.get_attribute("stroke-dasharray") for each in chart.locator("path.line").all()]
    assert dashes == ["none", "none", "7 4", "7 4"]
    colours = [each.get_attribute("style") for each in chart.locator("path.line").all()]
    assert colours[:2] == colours[2:]
    # The keyboard reads both; the last epochs are those of the longer training alone.
    chart.locator("svg[role=img]").focus()
    page.keyboard.press("Home")
    told = chart.locator("output").inner_text()
    assert all(name in told for name in names)
    page.keyboard.press("End")
    told = chart.locator("output").inner_text()
    last = read_csv(evaluated.results("tiny").history)[-1]
    assert f"epoch {last['epoch']}" in told
    assert f"train, workspace {100 * float(last['train_accuracy']):.2f}\u00a0%" in told
    assert FIRST not in told
    page.get_by_text("Curves as a table").click()
    assert page.get_by_role("table", name=f"Epochs, {FIRST}").locator("tbody tr").count() == 4
    assert page.get_by_role("table", name="Epochs, workspace").locator("tbody tr").count() == 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_images_are_a_strip_that_the_keyboard_moves_and_on_paper_all_are_seen(
    scheme: str, open_offline: Callable[..., Any], address: str
) -> None:
    page = open_offline(address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    strip = page.locator("ul.strip").first
    page.wait_for_function("() => document.querySelector('ul.strip').tabIndex === 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("location.hash = '/tiny'")
    page.locator("#experiment path.line").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    strip.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('ul.strip').scrollLeft > 0")
    inside = "(each) => each.scrollWidth <= each.clientWidth"
    assert not strip.evaluate(inside)
    page.emulate_media(media="print")
    assert strip.evaluate(inside)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 844})
    page.wait_for_function("() => !document.querySelector('ul.strip').hasAttribute('tabindex')")
    assert strip.evaluate(inside)


def test_the_page_of_two_revisions_is_one_file_and_small(address: str) -> None:
    data = Path(address.removeprefix("file://")).read_bytes()
    assert len(data) < 3_000_000
    assert b"http://" not in data.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in data
