"""Two versions of an experiment on the same test images: what differs, and how surely."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.arrays import Floats, Integers
from pipeline.nn.losses import LOSSES
from pipeline.report.changes import (
    ACCURACY,
    CALIBRATION,
    IDENTICAL,
    NOT_COMPARED,
    ClassChange,
    ExperimentChange,
    MetricChange,
    ValueChange,
)
from pipeline.report.comparison import fourfold_table
from pipeline.report.paired import Estimate, calibration_shares, compare_accuracies, compare_means

_ACCURACY_METHOD: Final = "McNemar's mid-p test, Newcombe's interval"
_MEAN_METHOD: Final = "paired t test of the images' values"
_SEEDS_METHOD: Final = "paired t test of the seeds' values"
# The least positive float32: what its logarithm of a probability of 0 is taken from.
_LEAST: Final = float(np.finfo(np.float32).smallest_subnormal)


@dataclass(frozen=True)
class Outputs:
    """What a network says of the images of a test part.

    Attributes:
        probabilities: (images, classes) float.
        labels: (images,) integers, the actual classes.
        images: (images,) integers, their places in the test set.
    """

    probabilities: Floats
    labels: Integers
    images: Integers

    def in_order(self) -> "Outputs":
        """The same, the images by their places."""
        order = np.argsort(self.images)
        return Outputs(self.probabilities[order], self.labels[order], self.images[order])


@dataclass(frozen=True)
class Version:
    """An experiment as one revision has it.

    Attributes:
        configuration: the resolved one, as plain values.
        outputs: on the test part.
        parts: part -> places of its images in the train set, of train and valid.
        metrics: part -> name -> value, of these parts.
    """

    configuration: Mapping[str, Any]
    outputs: Outputs
    parts: Mapping[str, Integers] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def loss(self) -> str:
        """The name of its loss."""
        return str(self.configuration["loss"]["name"])

    @property
    def data(self) -> tuple[str, str, Mapping[str, Any]]:
        """Data set, source, and what the data set's definition says of that source."""
        dataset, source = self.configuration["dataset"], str(self.configuration["source"])
        return str(dataset["name"]), source, dataset["sources"][source]


def compare_versions(name: str, first: Version, second: Version) -> ExperimentChange:
    """What changed in an experiment, each metric by itself: without verdicts, which `judge` adds.

    Args:
        name: of the experiment.
        first: the version that is compared with.
        second: the version that is judged.

    Returns:
        The changes; without figures, and with the reason, where the test images are not the same.

    Raises:
        ValueError: the shapes of an output do not fit together.
    """
    frame = ExperimentChange(
        name,
        title=str(second.data[2].get("title", "")),
        configuration=tuple(configuration_changes(first.configuration, second.configuration)),
    )
    before, after = first.outputs.in_order(), second.outputs.in_order()
    if reason := _find_obstacle(first, second, before, after):
        return replace(frame, reason=reason)
    others, remarks = _compare_other_parts(first, second)
    loss = _shared_loss(first, second)
    right = [side.probabilities.argmax(axis=1) == side.labels for side in (before, after)]
    gained, lost = right[1] & ~right[0], right[0] & ~right[1]
    is_identical = np.array_equal(before.probabilities, after.probabilities)
    rows = _compare_test_part(before, after, right, loss)
    return replace(
        frame,
        verdict=IDENTICAL if is_identical else "",
        remarks=tuple(remarks),
        images=len(before.labels),
        metrics=(*([_without_doubt(row) for row in rows] if is_identical else rows), *others),
        gained=_places(before.images, gained),
        lost=_places(before.images, lost),
        classes=tuple(
            ClassChange(
                str(class_name),
                int(np.count_nonzero(of_class := before.labels == index)),
                int(np.count_nonzero(gained & of_class)),
                int(np.count_nonzero(lost & of_class)),
            )
            for index, class_name in enumerate(second.data[2]["classes"])
        ),
    )


def compare_seeds(name: str, first: Sequence[Version], second: Sequence[Version]) -> ExperimentChange:
    """What changed in the means over several trainings of an experiment, the seeds being the pairs.

    Args:
        name: of the experiment.
        first: of each seed the version that is compared with, two or more.
        second: of the same seeds in the same order the version that is judged.

    Returns:
        As `compare_versions`, but without the images gained and lost, which are others with every seed.

    Raises:
        ValueError: the shapes of an output do not fit together.
    """
    singles = [compare_versions(name, *pair) for pair in zip(first, second, strict=True)]
    frame = next((each for each in singles if each.verdict == NOT_COMPARED), singles[0])
    if frame.verdict == NOT_COMPARED:
        return frame
    is_identical = all(each.verdict == IDENTICAL for each in singles)
    rows = []
    for same in zip(*(each.metrics for each in singles), strict=True):
        values = [np.array([getattr(row, side) for row in same]) for side in ("first", "second")]
        estimate = compare_means(*values)
        row = MetricChange(
            same[0].part,
            same[0].name,
            float(values[0].mean()),
            float(values[1].mean()),
            *estimate,
            method=_SEEDS_METHOD,
        )
        rows.append(_without_doubt(row) if is_identical or row.part != "test" else row)
    return replace(
        frame,
        verdict=IDENTICAL if is_identical else "",
        metrics=tuple(rows),
        gained=(),
        lost=(),
        classes=(),
    )


def configuration_changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[ValueChange]:
    """The keys of two configurations, dotted, whose values differ, in the order of the second."""
    before, after = dict(leaves(first)), dict(leaves(second))
    return [
        ValueChange(key, before.get(key), after.get(key))
        for key in dict.fromkeys((*after, *before))
        # 1 and 1.0 and True are not the same in a configuration.
        if (key in before, repr(before.get(key))) != (key in after, repr(after.get(key)))
    ]


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a configuration by their dotted keys; a mapping without any is a value, too."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from leaves(item, f"{prefix}{key}.")
        elif isinstance(item, float) and not math.isfinite(item):
            yield f"{prefix}{key}", str(item)  # JSON has no such numbers
        else:
            yield f"{prefix}{key}", item


def _find_obstacle(first: Version, second: Version, before: Outputs, after: Outputs) -> str:
    """Why the test images are not the same, in a clause; empty where they are."""
    (old, old_source, old_files), (new, new_source, new_files) = first.data, second.data
    changed = [key for key in ("files", "classes") if old_files.get(key) != new_files.get(key)]
    counts = [len(side.images) for side in (before, after)]
    obstacles = {
        f"another data set: {old} → {new}": old != new,
        f"another source: {old_source} → {new_source}": old_source != new_source,
        f"another version of {new}: its {' and '.join(changed)} are not the same": bool(changed),
        f"another split: {counts[0]:,} → {counts[1]:,} test images": counts[0] != counts[1],
        f"another split: not the same {counts[0]:,} test images": not np.array_equal(
            before.images, after.images
        ),
        "other labels of the same test images": not np.array_equal(before.labels, after.labels),
        "one test image is too few": counts[0] == 1,
    }
    return next((text for text, is_so in obstacles.items() if is_so), "")


def _shared_loss(first: Version, second: Version) -> str:
    return first.loss if first.loss == second.loss else "cross_entropy"


def _compare_test_part(
    before: Outputs, after: Outputs, right: Sequence[NDArray[np.bool_]], loss: str
) -> list[MetricChange]:
    accuracy = compare_accuracies(*fourfold_table(right[0], right[1]).values())
    losses = [image_losses(side, loss) for side in (before, after)]
    shares = [calibration_shares(side.probabilities, side.labels) for side in (before, after)]

    def row(name: str, values: Sequence[NDArray[Any]], estimate: Estimate, method: str) -> MetricChange:
        means = [float(each.mean()) for each in values]
        return MetricChange("test", name, means[0], means[1], *estimate, method=method)

    return [
        row(ACCURACY, right, accuracy, _ACCURACY_METHOD),
        row(loss, losses, compare_means(*losses), _MEAN_METHOD),
        row(CALIBRATION, shares, compare_means(*shares), _MEAN_METHOD),
    ]


def image_losses(outputs: Outputs, loss: str) -> NDArray[np.float64]:
    """The loss of each image (images,), from the probabilities; one of 0 counts as the least float32."""
    # Softmax of these logits is the probabilities themselves.
    logits = np.log(np.maximum(outputs.probabilities.astype(np.float64), _LEAST))
    return np.asarray(LOSSES[loss].values(logits, outputs.labels))


def _compare_other_parts(first: Version, second: Version) -> tuple[list[MetricChange], list[str]]:
    """Figures of train and valid part, of which only the means are stored; and what is not compared."""
    rows, remarks = [], []
    if first.loss != second.loss:
        remarks.append(f"trained with another loss ({first.loss} → {second.loss}): cross-entropy is compared")
    for part in ("train", "valid"):
        if not first.metrics.get(part) or not second.metrics.get(part):
            continue
        images = [np.sort(side.parts.get(part, np.empty(0, np.int64))) for side in (first, second)]
        if not len(images[0]) or not np.array_equal(images[0], images[1]):
            remarks.append(f"another split: the {part} part has other images, and is not compared")
            continue
        for name, key in ((ACCURACY, ACCURACY), (first.loss, "loss")):
            if name != ACCURACY and first.loss != second.loss:
                continue
            old, new = (float(side.metrics[part][key]) for side in (first, second))
            rows.append(MetricChange(part, name, old, new, new - old))
    return rows, remarks


def _without_doubt(row: MetricChange) -> MetricChange:
    return replace(row, low=None, high=None, p_value=None, method=None)


def _places(images: Integers, chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(each) for each in images[chosen])
