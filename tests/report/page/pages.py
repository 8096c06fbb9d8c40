"""What the tests of the page in a browser share: data of its differences, and how to go about in it."""

from typing import Any

import numpy as np

NASTY = "<img src=x onerror=alert(1)>"
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


def assert_count(locator: Any, count: int) -> None:  # noqa: ANN401  (the same)
    """Wait until there are so many: charts are drawn when the browser has laid out what they stand in."""
    from playwright.sync_api import expect  # an extra, which whoever has a page has

    expect(locator).to_have_count(count, timeout=60_000)


def show(page: Any, name: str) -> None:  # noqa: ANN401  (the same)
    """Choose an experiment, and wait until its charts are drawn."""
    page.evaluate("(name) => { location.hash = `/${name}`; }", name)
    page.locator("h3.name").get_by_text(name, exact=True).wait_for()
    page.locator("#experiment .plot svg").first.wait_for()
