"""Two versions of an experiment: what is compared, what is not, and the verdicts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.report.changes import (
    BETTER,
    IDENTICAL,
    NO_DIFFERENCE,
    NOT_COMPARED,
    WORSE,
    Changes,
    ExperimentChange,
    Side,
    judge,
)
from pipeline.report.versions import (
    Outputs,
    Version,
    compare_seeds,
    compare_versions,
    configuration_changes,
    image_losses,
)

COUNT = 200


def configuration(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (plain YAML data)
    source = {"title": "three things", "classes": ["a", "b", "c"], "files": {"x": {"sha256": "00"}}}
    return {
        "source": "bundled",
        "dataset": {"name": "things", "sources": {"bundled": source, "official": source}},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"learning_rate": 0.1},
        **changes,
    }


def version(wrong: int = 40, *, sure: float = 0.8, **changes: Any) -> Version:  # noqa: ANN401  (plain YAML data)
    """A network that takes the first `wrong` of the images for the next class."""
    labels = np.arange(COUNT) % 3
    chosen = np.where(np.arange(COUNT) < wrong, (labels + 1) % 3, labels)
    probabilities = np.full((COUNT, 3), (1 - sure) / 2)
    probabilities[np.arange(COUNT), chosen] = sure
    outputs = Outputs(probabilities.astype(np.float32), labels, np.arange(COUNT) + 5)
    parts = {"train": np.arange(50), "valid": np.arange(50, 60)}
    metrics = {part: {"accuracy": 0.5, "loss": 1.5} for part in parts}
    return Version(configuration(**changes), outputs, parts, metrics)


def compared(first: Version, second: Version) -> ExperimentChange:
    return judge([compare_versions("tiny", first, second)])[0]


def test_a_better_version() -> None:
    found = compared(version(40), version(10, optimizer={"learning_rate": 0.2}))
    assert (found.verdict, found.title, found.images) == (BETTER, "three things", COUNT)
    assert [(each.key, each.first, each.second) for each in found.configuration] == [
        ("optimizer.learning_rate", 0.1, 0.2)
    ]
    assert found.gained == tuple(range(15, 45))
    assert found.lost == ()
    assert [(each.name, each.images, each.gained, each.lost) for each in found.classes] == [
        ("a", 67, 10, 0),
        ("b", 67, 10, 0),
        ("c", 66, 10, 0),
    ]
    rows = {(row.part, row.name): row for row in found.metrics}
    accuracy = rows["test", "accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.difference) == (0.8, 0.95, 30 / COUNT)
    assert accuracy.low is not None
    assert 0 < accuracy.low < accuracy.difference
    loss = rows["test", "cross_entropy"]
    assert loss.first == pytest.approx(-0.2 * np.log(0.1) - 0.8 * np.log(0.8), rel=1e-6)
    assert (loss.verdict, loss.difference < 0) == (BETTER, True)
    train = rows["train", "accuracy"]
    assert (train.first, train.difference, train.low, train.verdict) == (0.5, 0, None, None)


def test_the_other_verdicts() -> None:
    assert compared(version(10), version(40)).verdict == WORSE
    assert compared(version(40), version(41)).verdict == NO_DIFFERENCE
    same = compared(version(40), version(40, optimizer={"learning_rate": 0.2}))
    assert same.verdict == IDENTICAL
    assert {row.low for row in same.metrics} == {None}
    # The same answers, less sure: as accurate, but with another loss.
    unsure = compared(version(40), version(40, sure=0.6))
    assert unsure.verdict == NO_DIFFERENCE
    assert {row.name: row.verdict for row in unsure.metrics if row.part == "test"}["cross_entropy"] == WORSE


def test_the_order_of_the_images_does_not_matter() -> None:
    second = version(10)
    outputs = second.outputs
    turned = Outputs(outputs.probabilities[::-1], outputs.labels[::-1], outputs.images[::-1])
    assert compared(version(40), replace(second, outputs=turned)) == compared(version(40), second)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "official"}, "another source: bundled → official"),
        (
            {"dataset": {**configuration()["dataset"], "name": "others"}},
            "another data set: things → others",
        ),
        (
            {"dataset": {"name": "things", "sources": {"bundled": {"classes": ["a", "b", "c"]}}}},
            "another version of things: its files are not the same",
        ),
    ],
)
def test_other_data_are_not_compared(changes: Mapping[str, Any], reason: str) -> None:
    found = compared(version(), version(**changes))
    assert (found.verdict, found.reason, found.metrics) == (NOT_COMPARED, reason, ())
    assert found.configuration


def test_other_test_images_are_not_compared() -> None:
    outputs = version().outputs
    for images, reason in (
        (slice(100), "another split: 200 → 100 test images"),
        (slice(None), "another split: not the same 200 test images"),
    ):
        shift = 0 if images.stop else 1
        other = Outputs(outputs.probabilities[images], outputs.labels[images], outputs.images[images] + shift)
        assert compared(version(), replace(version(), outputs=other)).reason == reason
    relabelled = Outputs(outputs.probabilities, (outputs.labels + 1) % 3, outputs.images)
    assert "labels" in compared(version(), replace(version(), outputs=relabelled)).reason
    one = Outputs(outputs.probabilities[:1], outputs.labels[:1], outputs.images[:1])
    assert "too few" in compared(replace(version(), outputs=one), replace(version(), outputs=one)).reason


def test_other_train_and_valid_images_are_not_compared() -> None:
    parts = {"train": np.arange(49, -1, -1), "valid": np.arange(70, 80)}
    found = compared(version(), replace(version(20), parts=parts))
    assert found.remarks == ("another split: the valid part has other images, and is not compared",)
    assert {row.part for row in found.metrics} == {"test", "train"}
    assert found.verdict == BETTER


def test_another_loss_is_told_and_cross_entropy_compared() -> None:
    found = compared(version(), version(20, loss={"name": "squared_error"}))
    assert "another loss (cross_entropy → squared_error)" in found.remarks[0]
    assert [row.name for row in found.metrics if row.part == "test"][1] == "cross_entropy"
    assert {row.name for row in found.metrics if row.part != "test"} == {"accuracy"}


@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error"])
def test_losses_by_hand(loss: str) -> None:
    outputs = Outputs(np.array([[0.7, 0.3], [1.0, 0.0]], np.float32), np.array([0, 1]), np.arange(2))
    expected = np.array([0.18, 2.0]) * (0.5 if "half" in loss else 1)
    assert image_losses(outputs, loss) == pytest.approx(expected, rel=1e-6)
    # -log of the least positive float32
    assert image_losses(outputs, "cross_entropy")[1] == pytest.approx(149 * np.log(2))


def test_p_values_are_adjusted_over_the_experiments_that_differ() -> None:
    pairs = [(version(40), version(32)), (version(40), version(40)), (version(40), version(33))]
    alone = [compared(*pair) for pair in pairs]
    together = judge([compare_versions("tiny", *pair) for pair in pairs])
    assert [each.verdict for each in alone] == [BETTER, IDENTICAL, BETTER]
    assert [each.verdict for each in together] == [BETTER, IDENTICAL, BETTER]
    p_values = [each.metrics[0].adjusted_p_value for each in together]
    assert p_values[0] == pytest.approx(2 * alone[0].metrics[0].p_value)  # type: ignore[operator]  # it has one
    assert p_values[2] == alone[2].metrics[0].p_value
    assert p_values[1] is None
    changes = Changes(Side("a"), Side("b"), together)
    assert changes.family == 2
    assert (
        json.loads(json.dumps(changes.as_json(), allow_nan=False))["experiments"][1]["verdict"] == IDENTICAL
    )


def test_seeds_are_compared_by_their_means() -> None:
    first = [version(wrong) for wrong in (40, 42, 44)]
    second = [version(wrong) for wrong in (30, 33, 34)]
    found = judge([compare_seeds("tiny", first, second)])[0]
    accuracy = found.metrics[0]
    assert (accuracy.first, accuracy.second) == pytest.approx((1 - 42 / COUNT, 1 - (97 / 3) / COUNT))
    # Differences of 10, 9 and 10 images: mean 29/3, deviation √(1/3), t of two degrees of freedom 4.3027.
    reach = 4.302653 * np.sqrt(1 / 3) / np.sqrt(3)
    assert accuracy.low == pytest.approx((29 / 3 - reach) / COUNT, rel=1e-6)
    assert found.verdict == BETTER
    assert (found.gained, found.classes) == ((), ())
    assert judge([compare_seeds("tiny", first, first)])[0].verdict == IDENTICAL
    other = judge([compare_seeds("tiny", first, [*second[:2], version(source="official")])])[0]
    assert other.reason == "another source: bundled → official"


def test_configurations_differ_by_their_values() -> None:
    first = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": None, "e": {}}
    second = {"a": {"x": 1.0, "y": [1, 3]}, "d": float("inf"), "c": None, "e": {}}
    assert [(each.key, each.first, each.second) for each in configuration_changes(first, second)] == [
        ("a.x", 1, 1.0),
        ("a.y", [1, 2], [1, 3]),
        ("d", None, "inf"),
        ("b", 1, None),
    ]
