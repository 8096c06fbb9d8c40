"""The page in a real browser, offline: what it shows, and that its networks answer as `pipeline predict`."""

import base64
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.commands.shared.normalise import as_stored
from pipeline.config.build import with_values
from pipeline.config.compose import to_yaml
from pipeline.config.schema import Config
from pipeline.core.files.atomic import write_text
from pipeline.core.paths import Layout
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.preprocessing import PREPROCESSORS
from pipeline.report.page.experiment import Experiment, Search, encode_numbers
from pipeline.report.page.render import render
from pipeline.stages import evaluate, plot, split, train
from pipeline.stages.report import read_experiment
from pipeline.stages.shared.context import ExperimentContext

pytestmark = pytest.mark.service

Run = Callable[..., Any]

NASTY = "<img src=x onerror=alert(1)>"
THREE = [(0.3, 0.3), (0.4, 0.2), (0.6, 0.2), (0.68, 0.32), (0.5, 0.5), (0.7, 0.68), (0.6, 0.82), (0.3, 0.75)]
SMALL = np.random.default_rng(8).normal(0, 0.003, (64, 10))  # weights for images of 8 by 8 pixels
MOVED = {
    "image": 17,
    "actual": 0,
    "before": 0,
    "before_probability": 0.5,
    "after": 0,
    "after_probability": 0.75,
    "picture": "",
}
CHANGES = {
    "first": {"name": "HEAD", "commit": "0123456789abcdef0123456789abcdef01234567"},
    "second": {"name": "workspace", "commit": None},
    "confidence": 0.95,
    "notes": [f"workspace: {NASTY} is out of date: dvc repro"],
    "experiments": [
        {
            "name": "sigmoid",
            "title": "a few drawn digits (not MNIST)",
            "verdict": "better",
            "reason": "",
            "remarks": [f"another split: {NASTY}"],
            "images": 100,
            "configuration": [{"key": "model.hidden", "first": [8], "second": None}],
            "metrics": [
                {
                    "part": "test",
                    "name": "accuracy",
                    "first": 0.5,
                    "second": 0.625,
                    "difference": 0.125,
                    "low": 0.03,
                    "high": 0.22,
                    "p_value": 1e-9,
                    "adjusted_p_value": 3e-9,
                    "method": "McNemar's mid-p test",
                    "verdict": "better",
                },
                {
                    "part": "train",
                    "name": "accuracy",
                    "first": 0.5,
                    "second": 0.6,
                    "difference": 0.1,
                    "low": None,
                    "high": None,
                    "p_value": None,
                    "adjusted_p_value": None,
                    "method": None,
                    "verdict": None,
                },
            ],
            "gained": [17, 20],
            "lost": [33],
            "classes": [{"name": NASTY, "images": 10, "gained": 2, "lost": 1}],
            "moved": {"gained": [MOVED], "lost": []},
            "history": None,
        },
        {
            "name": "relu",
            "title": "",
            "verdict": "not compared",
            "reason": "another split",
            "remarks": [],
            "images": 0,
            "configuration": [],
            "metrics": [],
            "gained": [],
            "lost": [],
            "classes": [],
            "moved": {},
            "history": None,
        },
    ],
}


@pytest.fixture(scope="module")
def folder(tiny: Any, configs: dict[str, Config], tmp_path_factory: pytest.TempPathFactory) -> Layout:  # noqa: ANN401  (of conftest.py)
    """Trained networks, one for each activation, which take the preprocessors of the page in turn."""
    layout = Layout(tmp_path_factory.mktemp("networks"))
    shutil.copytree(tiny.parsed, layout.parsed("bundled", "tiny"))
    # Weights cannot do what contrast normalization does, with which pca and zca begin.
    foldable = [name for name in PREPROCESSORS if name not in {"contrast", "pca", "zca"}]
    for index, (activation, preprocess) in enumerate(zip(ACTIVATIONS, itertools.cycle(foldable))):
        changes = {
            "name": activation,
            "model.activation": activation,
            "model.hidden": [8, 6],
            "optimizer.learning_rate": 1e-6,
            "initializer.name": "normal",
            # Weights so large that it is sure of something: then there is something to be equal to.
            "initializer.scale": {"sigmoid": 2.0, "tanh": 1.0, "relu": 0.4}.get(activation, 0.1),
            "training.epochs": 20,
            "preprocess.name": preprocess,
            "dtype": "float64" if index % 2 else "float32",
        }
        config = with_values(configs["tiny"], changes)
        context = ExperimentContext(layout, config, layout.results(activation))
        write_text(context.results.config, to_yaml(config))
        for stage in (split, train, evaluate):
            stage.run(context)
        plot._write_page(context)
    return layout


@pytest.fixture(scope="module")
def experiments(folder: Layout) -> list[Experiment]:
    made = [read_experiment(folder.results(name).page) for name in ACTIVATIONS]
    made[1] = replace(made[1], classes=[NASTY, *made[1].classes[1:]])
    grid = [[hidden, rate] for hidden in ([4], [8]) for rate in (0.001, 0.3)]
    made[2] = replace(made[2], search=Search(["model.hidden", "rate"], grid, [0.1, 0.5, None, 0.4], 1))
    units = np.tile(np.int8([127, -127]), 784)
    weights = base64.b64encode(units.tobytes()).decode()
    large = replace(made[0], name="large", parameters=None, weights=weights)
    parameters = encode_numbers(np.concatenate([SMALL.ravel(), np.zeros(10)]))
    # Without a valid part.
    history = {
        name: [None] * len(column) if name.startswith("valid") else column
        for name, column in made[0].history.items()
    }
    small = replace(
        made[0],
        name="small",
        image_shape=[8, 8, 1],
        sizes=[64, 10],
        parameters=parameters,
        history=history,
    )
    return [*made, large, small]


@pytest.fixture(scope="module")
def address(folder: Layout, experiments: list[Experiment]) -> str:
    results = {
        "published": dict.fromkeys(ACTIVATIONS, NASTY),
        "rows": [
            {
                "experiment": name,
                "source": "official",
                "dataset": NASTY,
                "runtime": "portable",
                "measure": "test_accuracy",
                "ours": 0.9,
                "published": 0.88,
                "difference": 0.02,
                "deviation": None,
                "seeds": 1,
            }
            for name in ACTIVATIONS
        ],
    }
    path = folder.root / "report.html"
    path.write_text(render(experiments, results, CHANGES), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(open_offline: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Opens the page offline; what it complains of, and what it asks for beside itself, is an error."""
    return lambda **options: open_offline(address, **options)


def assert_count(locator: Any, count: int) -> None:  # noqa: ANN401  (the same)
    """Wait until there are so many: charts are drawn when the browser has laid out what they stand in."""
    from playwright.sync_api import expect  # an extra, which whoever has a page has

    expect(locator).to_have_count(count, timeout=60_000)


def show(page: Any, name: str) -> None:  # noqa: ANN401  (the same)
    """Choose an experiment, and wait until its charts are drawn."""
    page.evaluate("(name) => { location.hash = `/${name}`; }", name)
    page.locator("h3.name").get_by_text(name, exact=True).wait_for()
    page.locator("#experiment .plot svg").first.wait_for()


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


@pytest.mark.parametrize("fragment", ["#/nothing", "#/%", "#nowhere"])
def test_an_address_of_no_experiment_shows_the_first(fragment: str, opened: Callable[..., Any]) -> None:
    page = opened()
    page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    page.reload()
    assert page.inner_text("h3.name") == next(iter(ACTIVATIONS))


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
    page.wait_for_selector("tr[data-experiment]", timeout=5000)
    assert set(answers(page)) == {*ACTIVATIONS, "small"}


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
