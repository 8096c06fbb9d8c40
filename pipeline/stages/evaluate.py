"""evaluate: measure the trained parameters on every part, and the test part in detail."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Config
from pipeline.core.files import contracts
from pipeline.core.files.arrays import write_arrays
from pipeline.core.files.tables import read_csv, write_csv, write_json
from pipeline.core.paths import Results
from pipeline.core.progress import say
from pipeline.nn.arrays import Floats, Integers
from pipeline.nn.evaluation import Evaluator, evaluate_parts
from pipeline.nn.setup import network_of
from pipeline.report import metrics
from pipeline.report.published import summarize
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import load_parts
from pipeline.stages.shared.trained import trained_config, trained_parameters


def inputs(context: ExperimentContext) -> list[Path]:
    """What the stage reads."""
    results = context.results
    return [context.parsed, results.split, results.parameters, results.steps, results.trials]


def run(context: ExperimentContext) -> None:
    """Write what the parameters achieve: metrics.json, the tables, probabilities.npz and the summary.

    Raises:
        PipelineError: an input is missing or damaged, or the parameters do not fit the configuration.
    """
    config, results = context.config, context.results
    trained = trained_config(config, results)
    parts = load_parts(context.parsed, results, config)
    network = network_of(trained)
    parameters = trained_parameters(trained, results)
    measured: dict[str, Any] = {
        name: {"accuracy": found.accuracy, "loss": found.loss}
        for name, found in evaluate_parts(trained, parameters, parts.statistics, parts.by_name()).items()
    }
    probabilities = Evaluator(network, trained.loss.name, parts.statistics).probabilities(
        parameters, parts.test
    )
    labels = parts.test.labels[parts.test.indices].astype(np.int64)
    measured["test"]["expected_calibration_error"] = metrics.expected_calibration_error(probabilities, labels)
    # Short names, and few: `dvc metrics show` has a column for each, beside the path of the file.
    accuracies = {name: values["accuracy"] for name, values in measured.items()}
    has_test = config.dataset.source(config.source).has_test
    remark = {} if has_test else {"test_set": "taken by the split"}
    write_json(results.metrics, {**accuracies, "loss": measured["test"]["loss"], **remark})
    columns = ("accuracy", "loss", "expected_calibration_error")
    write_csv(
        results.per_part,
        ("part", "images", *columns),
        (
            (name, len(parts.by_name()[name]), *(values.get(column) for column in columns))
            for name, values in measured.items()
        ),
    )
    remedy = f"train it again: dvc repro --force --single-item train@{config.name}"
    losses = contracts.numbers(read_csv(results.steps), contracts.STEPS, results.steps, remedy)["loss"]
    write_json(results.summary, asdict(summarize(config, measured, losses.tolist())))
    _write_details(results, config, parts.test.indices, labels, probabilities)
    shown = ", ".join(f"{name} {100 * values['accuracy']:.2f} %" for name, values in measured.items())
    say(f"{config.name} on {config.title}: accuracy {shown}")


def _write_details(
    results: Results, config: Config, indices: Integers, labels: Integers, probabilities: Floats
) -> None:
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, len(config.classes))
    scores = metrics.per_class(confusion)
    areas = [
        metrics.roc_area(metrics.roc_curve(probabilities[:, index], labels == index))
        for index in range(len(config.classes))
    ]
    write_csv(
        results.per_class,
        ("class", "precision", "recall", "f1", "roc_area", "images"),
        (
            (
                name,
                scores.precision[index],
                scores.recall[index],
                scores.f1[index],
                None if np.isnan(areas[index]) else areas[index],
                int(scores.support[index]),
            )
            for index, name in enumerate(config.classes)
        ),
    )
    curve = metrics.micro_average_roc_curve(probabilities, labels)
    kept = metrics.thin_curve(curve.false_positive_rate, curve.true_positive_rate)
    write_arrays(results.probabilities, probabilities=probabilities, labels=labels, images=indices)
    write_csv(
        results.roc,
        ("false_positive_rate", "true_positive_rate"),
        zip(curve.false_positive_rate[kept], curve.true_positive_rate[kept], strict=True),
    )
    rows = np.arange(len(labels))
    write_csv(
        results.predictions,
        ("image", "actual", "predicted", "probability", "probability_of_actual"),
        (
            (int(image), config.classes[actual], config.classes[guess], float(sure), float(right))
            for image, actual, guess, sure, right in zip(
                indices,
                labels,
                predicted,
                probabilities[rows, predicted],
                probabilities[rows, labels],
                strict=True,
            )
        ),
    )
