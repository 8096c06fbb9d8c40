"""evaluate: what is written about trained parameters, and parameters that are not what they should be."""

import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.config.build import with_values
from pipeline.config.compose import read_config
from pipeline.config.schema import Config
from pipeline.core.errors import FormatError
from pipeline.core.files.arrays import read_arrays
from pipeline.core.files.parameters import read_parameters
from pipeline.core.files.tables import read_csv, read_json
from pipeline.core.paths import Layout
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.setup import network_of
from pipeline.stages import evaluate, split
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import load_parts
from pipeline.stages.shared.trained import trained_config
from pipeline.stages.train import stage as train

Run = Callable[..., Any]

TITLE = "a few drawn digits (not MNIST)"


def again(layout: Layout, experiment: str = "tiny") -> None:
    results = layout.results(experiment)
    evaluate.run(ExperimentContext(layout, read_config(results.config), results))


def test_the_metrics_of_every_part(evaluated: Layout) -> None:
    results = evaluated.results("tiny")
    metrics, rows = read_json(results.metrics), read_csv(results.per_part)
    assert list(metrics) == ["train", "valid", "test", "loss"]
    assert [list(row) for row in rows] == [
        ["part", "images", "accuracy", "loss", "expected_calibration_error"]
    ] * 3
    assert [(row["part"], row["images"]) for row in rows] == [
        ("train", "160"),
        ("valid", "40"),
        ("test", "100"),
    ]
    last = read_csv(results.history)[-1]
    for row in rows[:2]:
        assert metrics[row["part"]] == float(row["accuracy"]) == float(last[f"{row['part']}_accuracy"])
        assert float(row["loss"]) == float(last[f"{row['part']}_loss"])
        assert row["expected_calibration_error"] == ""
    assert (metrics["test"], metrics["loss"]) == (float(rows[2]["accuracy"]), float(rows[2]["loss"]))
    assert 0 <= float(rows[2]["expected_calibration_error"]) <= 1
    text = results.metrics.read_text()
    assert text == json.dumps(metrics, indent=2) + "\n"


def test_the_numbers_are_those_of_the_predictions(evaluated: Layout) -> None:
    results = evaluated.results("tiny")
    config = read_config(results.config)
    parts = load_parts(evaluated.parsed("bundled", "tiny"), results, config)
    network = network_of(config)
    parameters = network.flatten(read_parameters(results.parameters))
    expected = Evaluator(network, config.loss.name, parts.statistics).probabilities(parameters, parts.test)
    rows = read_csv(results.predictions)
    assert list(rows[0]) == ["image", "actual", "predicted", "probability", "probability_of_actual"]
    assert [int(row["image"]) for row in rows] == list(range(100))
    assert [row["actual"] for row in rows] == [config.classes[label] for label in parts.test.labels]
    assert [row["predicted"] for row in rows] == [config.classes[best] for best in expected.argmax(axis=1)]
    np.testing.assert_array_equal([float(row["probability"]) for row in rows], expected.max(axis=1))
    np.testing.assert_array_equal(
        [float(row["probability_of_actual"]) for row in rows], expected[np.arange(100), parts.test.labels]
    )
    right = sum(row["actual"] == row["predicted"] for row in rows)
    metrics = read_json(results.metrics)
    assert metrics["test"] == right / 100
    assert metrics["loss"] == pytest.approx(
        -np.mean([np.log(float(row["probability_of_actual"])) for row in rows]), rel=1e-5
    )
    arrays = read_arrays(results.probabilities)
    np.testing.assert_array_equal(arrays["probabilities"], expected)
    np.testing.assert_array_equal(arrays["labels"], parts.test.labels)


def test_the_table_of_classes(evaluated: Layout) -> None:
    results = evaluated.results("tiny")
    predictions = read_csv(results.predictions)
    rows = read_csv(results.per_class)
    assert list(rows[0]) == ["class", "precision", "recall", "f1", "roc_area", "images"]
    assert [row["class"] for row in rows] == list("0123456789")
    assert {row["images"] for row in rows} == {"10"}
    for row in rows:
        right = sum(each["actual"] == each["predicted"] == row["class"] for each in predictions)
        guessed = sum(each["predicted"] == row["class"] for each in predictions)
        assert float(row["recall"]) == right / 10
        assert float(row["precision"]) == (right / guessed if guessed else 0)
        assert 0 <= float(row["roc_area"]) <= 1
    recalls = [float(row["recall"]) for row in rows]
    assert np.mean(recalls) == pytest.approx(read_json(results.metrics)["test"])


def run(layout: Layout, config: Config) -> None:
    for stage in (split, train, evaluate):
        stage.run(ExperimentContext(layout, config, layout.results(config.name)))


def test_a_class_without_test_images_has_no_area(parsed: Layout, configs: dict[str, Config]) -> None:
    run(parsed, with_values(configs["tiny"], {"split.test_count": 3}))
    rows = read_csv(parsed.results("tiny").per_class)
    assert sum(int(row["images"]) for row in rows) == 3
    assert {row["roc_area"] == "" for row in rows if row["images"] == "0"} == {True}
    assert {row["roc_area"] == "" for row in rows if row["images"] != "0"} == {False}


def test_the_curve_runs_from_corner_to_corner(evaluated: Layout) -> None:
    rows = read_csv(evaluated.results("tiny").roc)
    points = [(float(row["false_positive_rate"]), float(row["true_positive_rate"])) for row in rows]
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert points == sorted(points)


def test_a_part_without_images_is_left_out(parsed: Layout, configs: dict[str, Config]) -> None:
    run(parsed, with_values(configs["tiny"], {"split.valid_count": 0}))
    assert list(read_json(parsed.results("tiny").metrics)) == ["train", "test", "loss"]
    assert [row["part"] for row in read_csv(parsed.results("tiny").per_part)] == ["train", "test"]


def test_what_is_said_names_the_source(evaluated: Layout, cli: Run) -> None:
    ended = cli("evaluate", "tiny")
    metrics = read_json(evaluated.results("tiny").metrics)
    shown = ", ".join(f"{part} {100 * metrics[part]:.2f} %" for part in ("train", "valid", "test"))
    assert ended.err == f"tiny on {TITLE}: accuracy {shown}\n"


def test_the_official_source_is_named_too(
    parsed: Layout, configs: dict[str, Config], capsys: pytest.CaptureFixture[str]
) -> None:
    run(parsed, with_values(configs["tiny"], {"source": "official"}))
    assert "tiny on a few digits: accuracy " in capsys.readouterr().err


def test_the_searched_configuration_is_the_one_that_is_evaluated(
    parsed: Layout, configs: dict[str, Config]
) -> None:
    """Its hidden layer need not have the size that the configuration itself names."""
    run(parsed, configs["tiny_grid"])
    results = parsed.results("tiny_grid")
    best = max(float(row["valid_accuracy"]) for row in read_csv(results.trials))
    assert read_json(results.metrics)["valid"] == best
    trained = trained_config(configs["tiny_grid"], results)
    assert trained.model.hidden == [read_parameters(results.parameters)["W1"].shape[1]]
    assert not trained.search.space


def test_parameters_from_elsewhere_are_evaluated(evaluated: Layout) -> None:
    """In another precision, under lower-case names, the biases as rows, in another order."""
    results = evaluated.results("tiny")
    before = read_json(results.metrics)
    own = read_parameters(results.parameters)
    foreign = {"b2": own["b2"][None, :], "w2": own["W2"], "b1": own["b1"], "w1": own["W1"]}
    results.parameters.write_bytes(
        pickle.dumps({name: array.astype(np.float64) for name, array in foreign.items()})
    )
    again(evaluated)
    assert read_json(results.metrics) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: {**own, "W1": own["W1"][:-1]}, "parameters of shapes .* do not fit a network of shapes"),
        (
            lambda own: {"W1": own["W1"], "b1": own["b1"]},
            "parameters of shapes .* do not fit a network of shapes",
        ),
        (lambda own: [own["W1"]], "expected a network's parameters .* found a list of 1"),
    ],
)
def test_parameters_that_do_not_fit(
    evaluated: Layout, cli: Run, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    results = evaluated.results("tiny")
    results.parameters.write_bytes(pickle.dumps(change(read_parameters(results.parameters))))
    before = results.metrics.read_bytes()
    ended = cli("evaluate", "tiny")
    assert re.match(rf"pipeline: {re.escape(str(results.parameters))}: {said}", ended.err)
    assert ended.err.count("\n") == 1
    assert ended.code == 1
    assert results.metrics.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a CSV table: it is empty"),
        (
            "trial,seed\n0,0\n",
            "found the columns trial, seed, expected the columns trial, seed, valid_accuracy, error",
        ),
        ("trial,seed,valid_accuracy,error\nx,0,0.5,\n", "not a table of trials: invalid literal for int"),
        ("trial,seed,valid_accuracy,error\n0,0,x,\n", "not a table of trials: could not convert"),
        (
            "trial,seed,valid_accuracy,error\n",
            "found no rows, expected the columns trial, seed, valid_accuracy, error; train it again: dvc",
        ),
        (
            "trial,seed,valid_accuracy,error\n7,0,0.5,\n",
            "trial 7 has the seed 0, expected trial 0 with 0; train it again",
        ),
        (
            "trial,seed,valid_accuracy,error\n0,0,0.5,\n1,0,0.5,\n",
            "expected the configuration's 1 trials, found 2; train",
        ),
    ],
)
def test_a_table_of_trials_that_is_not_this_configurations(evaluated: Layout, text: str, said: str) -> None:
    results = evaluated.results("tiny")
    results.trials.write_text(text)
    with pytest.raises(FormatError) as caught:
        again(evaluated)
    assert str(caught.value).startswith(f"{results.trials}: {said}")
    assert "\n" not in str(caught.value)


def test_a_split_that_is_damaged(evaluated: Layout) -> None:
    results = evaluated.results("tiny")
    results.split.write_bytes(b"PK rubbish")
    with pytest.raises(FormatError, match=re.escape(str(results.split))):
        again(evaluated)
