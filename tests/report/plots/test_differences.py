"""The picture of the differences: what it draws, and that it needs nothing to draw."""

from dataclasses import replace

from pipeline.report.changes import (
    ACCURACY,
    CALIBRATION,
    Changes,
    ExperimentChange,
    MetricChange,
    Side,
    judge,
)
from pipeline.report.plots import style
from pipeline.report.plots.differences import differences


def experiment(name: str, difference: float, p_value: float) -> ExperimentChange:
    rows = tuple(
        MetricChange("test", metric, 0.5, 0.5 + sign * difference, sign * difference, low, high, p_value)
        for metric, sign in ((ACCURACY, 1), ("squared_error", -1), (CALIBRATION, -1))
        for low, high in [sorted((sign * (difference - 0.02), sign * (difference + 0.02)))]
    )
    return ExperimentChange(name, verdict="", metrics=rows)


CHANGES = Changes(
    Side("main", "0" * 40),
    Side("workspace"),
    (
        *judge(
            [experiment("good", 0.03, 0.001), experiment("bad", -0.05, 0.001), experiment("x" * 60, 0, 0.9)]
        ),
        ExperimentChange("absent", reason="only main has it"),
    ),
)


def test_a_row_per_experiment_and_a_panel_per_measure() -> None:
    figure = differences(CHANGES)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "accuracy, percentage points",
        "loss",
        "calibration error",
    ]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["good", "bad"]
    assert len(names) == 3
    # Zero, and an interval and a mark for each.
    marks = [[line.get_marker() for line in axes.lines][2::2] for axes in figure.axes]
    assert marks == [["^", "v", "o"]] * 3
    assert style.to_png(figure) == style.to_png(differences(CHANGES))


def test_nothing_to_draw_is_said() -> None:
    figure = differences(replace(CHANGES, experiments=CHANGES.experiments[3:]))
    assert not figure.axes
    assert any("No experiment has other outputs" in text.get_text() for text in figure.texts)
