"""plot: which pictures there are, what they are called, and what they say they show."""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from pipeline.config.build import with_values
from pipeline.config.compose import read_config, to_yaml
from pipeline.config.schema import Config
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.files.atomic import write_text
from pipeline.core.files.parameters import read_parameters
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout
from pipeline.report.plots import gallery, searches, weights
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


def test_weights_on_principal_components_are_drawn_as_they_act_on_pixels(
    composed: Layout, configs: dict[str, Config], monkeypatch: pytest.MonkeyPatch, cli: Run
) -> None:
    config = with_values(
        configs["tiny"],
        {
            "preprocess.name": "pca",
            "preprocess.components": 9,
            "preprocess.epsilon": 1.0,
            "augment.name": "digits",
        },
    )
    results = composed.results("tiny")
    write_text(results.config, to_yaml(config))
    run(composed, config)
    drawn: list[Any] = []
    monkeypatch.setattr(
        weights, "first_layer_weights", lambda after, *_, **named: drawn.append((after, named))
    )
    assert sorted(figures(composed)) == PICTURES
    ((after, named),) = drawn
    trained = read_parameters(results.parameters)["W1"]
    assert trained.shape == (9, 8)
    arrays = read_arrays(results.split)
    np.testing.assert_array_equal(after, arrays["projection"] @ trained)
    assert named["before"].shape == after.shape == (784, 8)
    # What a hidden unit is given is what the picture shows, laid over the image.
    pixels = composed.parsed("bundled", "tiny") / "test" / "images.npy"
    image = np.load(pixels).reshape(-1, 784)[:1].astype(float)
    image -= image.mean()
    image /= np.sqrt(np.square(image).mean() + arrays["contrast"])
    inputs = (image - arrays["mean"]) @ arrays["projection"]
    np.testing.assert_allclose((image - arrays["mean"]) @ after, inputs @ trained, rtol=1e-4, atol=1e-4)
    # The other commands take it as they take any.
    ended = cli("predict", "--experiment", "tiny", "--index", "0", "1", "--json")
    assert (ended.code, ended.err) == (0, "")
    rows = read_csv(results.predictions)[:2]
    for entry, row in zip(json.loads(ended.out)["images"], rows, strict=True):
        assert entry["predicted"] == row["predicted"]
        assert max(entry["probabilities"].values()) == pytest.approx(float(row["probability"]), rel=1e-5)
    ended = cli("predict", "--experiment", "tiny", "--index", "0", "--preprocess", "unit")
    assert (ended.code, ended.out) == (2, "")
    assert "--preprocess unit: gives 784 numbers of an image, and " in ended.err
    assert "parameters.pkl expects 9\n" in ended.err


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
