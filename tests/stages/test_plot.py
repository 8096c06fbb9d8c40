"""plot: which pictures there are, what they are called, and what they say they show."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from pipeline.config.build import with_values
from pipeline.config.compose import read_config
from pipeline.config.schema import Config
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout
from pipeline.report.plots import gallery, searches
from pipeline.stages import evaluate, plot, split
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.train import stage as train

Run = Callable[..., Any]

PICTURES = [
    "calibration",
    "confusion_matrix",
    "first_layer_weights",
    "mistakes",
    "roc",
    "step_losses",
    "training_curves",
]


def figures(layout: Layout, experiment: str = "tiny") -> dict[str, Any]:
    results = layout.results(experiment)
    return dict(plot._figures(ExperimentContext(layout, read_config(results.config), results)))


def run(layout: Layout, config: Config) -> None:
    for stage in (split, train, evaluate):
        stage.run(ExperimentContext(layout, config, layout.results(config.name)))


def words(figure: Any) -> str:  # noqa: ANN401  (a Figure)
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_pictures_of_an_experiment(evaluated: Layout, cli: Run) -> None:
    ended = cli("plot", "tiny")
    assert (ended.code, ended.out) == (0, "")
    folder = evaluated.results("tiny").plots
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.png" for name in PICTURES]
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", data[16:24])
        assert 400 <= width <= 4000
        assert 200 <= height <= 4000
        # Neither a date nor the library's version.
        assert b"tIME" not in data
        assert b"Software" not in data
    assert sorted(ended.err.removeprefix("tiny: ").removesuffix("\n").split(", ")) == PICTURES


def test_every_picture_names_experiment_and_source(evaluated: Layout) -> None:
    for name, figure in figures(evaluated).items():
        shown = words(figure)
        assert "tiny" in shown, name
        assert "a few drawn digits (not MNIST)" in shown, name


def test_a_search_has_a_picture_of_its_own(
    composed: Layout, configs: dict[str, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(composed, configs["tiny_grid"])
    drawn: dict[str, Any] = {}

    def record(axes: Any, scores: Any, **_: object) -> None:  # noqa: ANN401  (recorded only)
        drawn.update(axes=axes, scores=scores)

    monkeypatch.setattr(searches, "grid_heat_maps", record)
    assert sorted(figures(composed, "tiny_grid")) == sorted([*PICTURES, "search", "search_axes"])
    assert drawn["axes"] == {"model.hidden": ["4", "8"], "optimizer.learning_rate": ["0.001", "0.3"]}
    accuracies = [float(row["valid_accuracy"]) for row in read_csv(composed.results("tiny_grid").trials)]
    np.testing.assert_array_equal(drawn["scores"], np.reshape(accuracies, (2, 2)))


def test_without_a_valid_part(parsed: Layout, configs: dict[str, Config]) -> None:
    config = with_values(configs["tiny"], {"split.valid_count": 0})
    run(parsed, config)
    assert sorted(dict(plot._figures(ExperimentContext(parsed, config, parsed.results("tiny"))))) == PICTURES


def test_a_network_that_makes_no_mistake(evaluated: Layout) -> None:
    results = evaluated.results("tiny")
    arrays = read_arrays(results.probabilities)
    perfect = np.eye(10, dtype=np.float32)[arrays["labels"]]
    write_arrays(results.probabilities, **{**arrays, "probabilities": perfect})
    assert sorted(figures(evaluated)) == PICTURES


def test_the_worst_mistakes_are_shown_with_their_images(
    evaluated: Layout,
    monkeypatch: pytest.MonkeyPatch,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(gallery, "mistakes", lambda *given, **_: shown.extend(given))
    figures(evaluated)
    images, actual, predicted, sure, right = shown[:5]
    assert len(images) == 40
    assert (actual != predicted).all()
    excess = np.asarray(sure, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    assert (np.diff(excess) <= 1e-7).all() or (np.diff(sure) <= 0).all()
    rows = {
        (row["actual"], row["predicted"], float(row["probability"])): int(row["image"])
        for row in read_csv(evaluated.results("tiny").predictions)
    }
    for index in range(40):
        number = rows[str(actual[index]), str(predicted[index]), float(sure[index])]
        np.testing.assert_array_equal(images[index], tiny.drawing.test_images[number])


def test_class_names_that_the_font_lacks_are_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plot.say_missing_glyphs(["cat", "お", "Größe", "き\nx"])
    assert capsys.readouterr().err == (
        "the pictures' font lacks letters of 2 of 4 class names, which are shown as question marks:"
        " お, き?x\n"
    )
    plot.say_missing_glyphs(["cat", "Größe", " two  words\n"])
    assert capsys.readouterr().err == ""
