"""The page as a file: one HTML document of its data alone, whatever text they hold."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.config.compose import read_config
from pipeline.core.paths import Layout
from pipeline.report.page import render
from pipeline.report.page.experiment import Experiment
from pipeline.stages import plot, report
from pipeline.stages.shared.context import ExperimentContext

RESULTS = {"published": {"tiny": "nothing"}, "rows": []}
NASTY = ["</script><script>alert(1)</script>", "<!--<script>", "{{ style }}", "\u2028", "&lt;"]


class Parsed(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture
def experiment(evaluated: Layout) -> Experiment:
    results = evaluated.results("tiny")
    plot._write_page(ExperimentContext(evaluated, read_config(results.config), results))
    return report.read_experiment(results.page)


def data_of(page: str) -> Any:  # noqa: ANN401  (what JSON holds)
    return json.loads(Parsed(page).scripts[0])


def test_the_page_loads_nothing_and_holds_its_data(experiment: Experiment) -> None:
    page = render.render([experiment], RESULTS)
    parsed = Parsed(page)
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), tag
    assert "default-src 'none'" in page
    assert data_of(page)["experiments"][0]["name"] == "tiny"
    assert page == render.render([experiment], RESULTS)


def test_no_text_of_the_data_becomes_a_part_of_the_page(experiment: Experiment) -> None:
    named = replace(experiment, classes=[*NASTY, *experiment.classes[5:]])
    page = render.render([named], RESULTS)
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.elements] == [
        tag for tag, _ in Parsed(render.render([experiment], RESULTS)).elements
    ]
    assert data_of(page)["experiments"][0]["classes"][:5] == NASTY


def test_networks_that_would_make_the_page_too_large_are_left_out(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert experiment.parameters is not None
    whole = len(render.render([experiment] * 3, RESULTS).encode())
    monkeypatch.setattr(render, "MAXIMUM_BYTES", whole - len(experiment.parameters))
    page = render.render([experiment] * 3, RESULTS)
    assert len(page.encode()) < render.MAXIMUM_BYTES
    has_network = [each["parameters"] is not None for each in data_of(page)["experiments"]]
    assert has_network == [True, False, False]
