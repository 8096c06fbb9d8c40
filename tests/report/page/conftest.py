"""A browser, and a page of small networks, for all tests of this folder: each takes seconds to make."""

import base64
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

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
from tests.report.page.pages import CHANGES, NASTY, SMALL

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


# Playwright's event loop runs as long as the browser does, and no other test is to meet it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, started once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-service installs playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as started:
        # Its sandbox needs rights that a container does not have; the page is ours.
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=180_000)
        yield chromium
        chromium.close()


@pytest.fixture
def open_offline(browser: Any) -> Iterator[Callable[..., Any]]:  # noqa: ANN401  (Playwright's)
    """Opens a page offline; what it complains of, and what it asks for beside itself, is an error."""
    contexts, complaints, requests, addresses = [], [], [], set()

    def open_page(address: str, **options: Any) -> Any:  # noqa: ANN401  (the same)
        # Without motion a place on the page stays where it was found.
        context = browser.new_context(offline=True, reduced_motion="reduce", **options)
        contexts.append(context)
        addresses.add(address)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == addresses


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
