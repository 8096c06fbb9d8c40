"""What changed between two revisions of the same experiments, as plain values.

Terminal, pull request, picture and page show the same. `pipeline.report.versions` finds it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from pipeline.report.paired import CONFIDENCE, holm

BETTER: Final = "better"
WORSE: Final = "worse"
NO_DIFFERENCE: Final = "no difference to be seen"
IDENTICAL: Final = "identical"
NOT_COMPARED: Final = "not compared"

ACCURACY: Final = "accuracy"
CALIBRATION: Final = "expected_calibration_error"


@dataclass(frozen=True)
class Side:
    """One of the two revisions.

    Attributes:
        name: as it was given.
        commit: its hash; None for the workspace.
    """

    name: str
    commit: str | None = None


@dataclass(frozen=True)
class ValueChange:
    """A key of the configuration with another value; None for one that a side does not have."""

    key: str
    first: Any
    second: Any


@dataclass(frozen=True)
class MetricChange:
    """A measure on both sides.

    Attributes:
        part: train, valid or test.
        name: accuracy, that of a loss, or expected_calibration_error.
        first: its value.
        second: likewise.
        difference: second minus first.
        low: lower end of the difference's interval of 95 %; None where there is nothing to tell it from.
        high: its upper end, likewise, and so are the others:
        p_value: how probable such a difference is where there is none.
        adjusted_p_value: the same by Holm's correction over the experiments.
        method: of interval and p value.
        verdict: BETTER, WORSE or NO_DIFFERENCE, by the adjusted p value.
    """

    part: str
    name: str
    first: float
    second: float
    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    method: str | None = None
    verdict: str | None = None

    def judged(self, adjusted_p_value: float) -> "MetricChange":
        """The same with a verdict."""
        verdict = NO_DIFFERENCE
        if adjusted_p_value < 1 - CONFIDENCE:
            verdict = BETTER if (self.difference > 0) == (self.name == ACCURACY) else WORSE
        return replace(self, adjusted_p_value=adjusted_p_value, verdict=verdict)


@dataclass(frozen=True)
class ClassChange:
    """How many images of a class the second recognises and the first did not, and the other way round."""

    name: str
    images: int
    gained: int
    lost: int


@dataclass(frozen=True)
class ExperimentChange:
    """Both versions of one experiment.

    Attributes:
        name: of the experiment.
        title: of its data set.
        verdict: that of the test accuracy, or IDENTICAL or NOT_COMPARED.
        reason: why it is not compared; else empty.
        remarks: what of it is not compared, and why.
        images: how many test images both saw.
        configuration: what has other values.
        metrics: those of the test part first.
        gained: places in the test set of the images that only the second recognises.
        lost: of those that only the first does.
        classes: the same by class, in the order of the labels.
    """

    name: str
    title: str = ""
    verdict: str = NOT_COMPARED
    reason: str = ""
    remarks: tuple[str, ...] = ()
    images: int = 0
    configuration: tuple[ValueChange, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    gained: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    classes: tuple[ClassChange, ...] = ()


@dataclass(frozen=True)
class Changes:
    """Everything between two revisions.

    Attributes:
        first: the one that is compared with.
        second: the one that is judged.
        experiments: judged together, in the order of params.yaml.
        notes: what to know before anything else.
        seeds: with which both were trained anew; none where the stored outputs are compared.
        confidence: of the intervals; a p value below one minus it is a verdict.
    """

    first: Side
    second: Side
    experiments: tuple[ExperimentChange, ...]
    notes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    confidence: float = CONFIDENCE

    @property
    def family(self) -> int:
        """Over how many experiments the p values are adjusted."""
        return sum(each.verdict in {BETTER, WORSE, NO_DIFFERENCE} for each in self.experiments)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def judge(experiments: Sequence[ExperimentChange]) -> tuple[ExperimentChange, ...]:
    """Give every experiment that is compared, and each of its test metrics, a verdict.

    The p values of a metric are adjusted over the experiments by `pipeline.report.paired.holm`. What is
    identical is no test, and makes the others no less certain.

    Args:
        experiments: from `compare_versions` or `compare_seeds`.

    Returns:
        The same ones in the same order.
    """
    families: dict[str, list[tuple[int, int, float]]] = {}
    for place, experiment in enumerate(experiments):
        for row, metric in enumerate(experiment.metrics):
            if metric.p_value is not None:
                # Losses of any name are one family.
                kind = metric.name if metric.name in {ACCURACY, CALIBRATION} else "loss"
                families.setdefault(kind, []).append((place, row, metric.p_value))
    metrics = [list(experiment.metrics) for experiment in experiments]
    for family in families.values():
        for (place, row, _), adjusted in zip(family, holm([p for *_, p in family]), strict=True):
            metrics[place][row] = metrics[place][row].judged(adjusted)
    return tuple(
        replace(
            experiment,
            metrics=tuple(rows),
            verdict=experiment.verdict or next(row.verdict or "" for row in rows if row.name == ACCURACY),
        )
        for experiment, rows in zip(experiments, metrics, strict=True)
    )
