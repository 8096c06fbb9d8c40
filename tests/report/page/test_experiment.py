"""What the page shows of an experiment: numbers that stay what they were, and the right images."""

import base64
import dataclasses
import io
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.config.build import build
from pipeline.config.compose import read_config
from pipeline.config.schema import Config, Preprocess
from pipeline.core.errors import ConfigError
from pipeline.core.files.arrays import read_arrays
from pipeline.core.paths import Layout
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.examples import Examples
from pipeline.nn.network import Network
from pipeline.nn.preprocessing import PREPROCESSORS, Statistics, learn
from pipeline.report.page import experiment
from pipeline.report.page.experiment import Experiment, encode_numbers, fold_statistics
from pipeline.stages import plot
from pipeline.stages.report import read_experiment
from pipeline.stages.shared.context import ExperimentContext


def decode(text: str) -> np.ndarray:
    """Three bytes each as the page's script reads them."""
    data = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 3)
    bits = np.concatenate([np.zeros((len(data), 1), np.uint8), data], axis=1)
    return bits.reshape(-1).view("<f4")


def shown(layout: Layout, config: Config) -> Experiment:
    results = layout.results(config.name)
    plot._write_page(ExperimentContext(layout, config, results))
    return read_experiment(results.page)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=1))
def test_numbers_in_three_bytes_are_off_by_two_to_the_minus_16_at_most(numbers: list[float]) -> None:
    given_numbers = np.array(numbers)
    np.testing.assert_allclose(decode(encode_numbers(given_numbers)), given_numbers, rtol=2.0**-16, atol=0)


# No weights can do what contrast normalization does, which divides by something of each image.
@pytest.mark.parametrize("projects", [False, True])
@pytest.mark.parametrize("preprocess", sorted(set(PREPROCESSORS) - {"contrast", "pca", "zca"}))
def test_a_network_with_folded_statistics_answers_as_with_preprocessed_pixels(
    preprocess: str, *, projects: bool
) -> None:
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (20, 12), dtype=np.uint8)
    statistics = learn(Preprocess(preprocess), pixels, np.arange(20), 3)
    if projects:
        projection = random.normal(0, 0.5, (12, 6)).astype(np.float32)
        statistics = dataclasses.replace(statistics, projection=projection)
    network = Network((statistics.inputs(12), 5, 4), "tanh", "float64")
    flat = network.initialize(random, "normal", 0.02)
    examples = Examples(pixels, np.zeros(20, np.int64), np.arange(20))
    expected = Evaluator(network, "cross_entropy", statistics).probabilities(flat, examples)
    folded = fold_statistics(network.views(flat), statistics)
    whole = Network((12, 5, 4), "tanh", "float64")
    raw = whole.flatten({name: array.astype(np.float64) for name, array in folded.items()})
    found = Evaluator(whole, "cross_entropy", Statistics(1.0)).probabilities(raw, examples)
    # The loader divides in float32.
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_plot_gathers_of_an_experiment(evaluated: Layout) -> None:
    config = read_config(evaluated.results("tiny").config)
    page = shown(evaluated, config)
    assert (page.name, page.dataset, page.sizes) == ("tiny", "a few drawn digits (not MNIST)", [784, 8, 10])
    assert np.sum(page.confusion) == 100
    assert sum(page.calibration.counts) == 100
    assert page.search is None
    assert page.history["epoch"] == [0, 1, 2, 3]
    assert page.parameters is not None
    assert len(decode(page.parameters)) == 784 * 8 + 8 + 8 * 10 + 10


def test_the_images_of_a_cell_are_those_that_the_network_was_surest_of(
    evaluated: Layout, tiny: object
) -> None:
    results = evaluated.results("tiny")
    examples = shown(evaluated, read_config(results.config)).examples
    arrays = read_arrays(results.probabilities)
    predicted = arrays["probabilities"].argmax(axis=1)
    cells: dict[tuple[int, int], list[int]] = {}
    for place, actual, guess in zip(examples.images, examples.actual, examples.predicted, strict=True):
        cells.setdefault((actual, guess), []).append(place)
    assert set(cells) == set(zip(arrays["labels"].tolist(), predicted.tolist(), strict=True))
    for (actual, guess), places in cells.items():
        inside = np.flatnonzero((arrays["labels"] == actual) & (predicted == guess))
        surest = inside[np.argsort(-arrays["probabilities"][inside, guess], kind="stable")]
        assert places == arrays["images"][surest[:6]].tolist()
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(examples.sheet))))
    for index, place in enumerate(examples.images):
        row, column = divmod(index, examples.columns)
        found = sheet[row * 28 : row * 28 + 28, column * 28 : column * 28 + 28]
        np.testing.assert_array_equal(found, tiny.drawing.test_images[place][..., 0])  # type: ignore[attr-defined]  # of conftest.py


def test_many_cells_share_a_limit_and_a_large_network_stays_out(
    evaluated: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(evaluated.results("tiny").config)
    all_of_them = shown(evaluated, config).examples
    cells = set(zip(all_of_them.actual, all_of_them.predicted, strict=True))
    monkeypatch.setattr(experiment, "_GREY_IMAGES", len(cells) + 1)
    monkeypatch.setattr(experiment, "_PARAMETERS", 1000)
    page = shown(evaluated, config)
    assert len(page.examples.images) == len(cells) + 1
    assert set(zip(page.examples.actual, page.examples.predicted, strict=True)) == cells
    assert set(page.examples.images) <= set(all_of_them.images)
    assert page.parameters is None
    assert page.weights is not None
    weights = np.frombuffer(base64.b64decode(page.weights), np.int8).reshape(-1, 784)
    assert len(weights) == 8
    assert (np.abs(weights.astype(int)).max(axis=1) == 127).all()


def test_data_of_another_shape_are_refused(evaluated: Layout) -> None:
    given = asdict(shown(evaluated, read_config(evaluated.results("tiny").config)))
    assert build(Experiment, given).name == "tiny"
    with pytest.raises(ConfigError, match="confusion=9 rows: expected 10 rows and columns"):
        build(Experiment, {**given, "confusion": given["confusion"][:9]})
    with pytest.raises(ConfigError, match="parameters"):
        build(Experiment, {**given, "parameters": None})
