"""The picture of the differences between two revisions: each with its interval beside zero."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.changes import (
    ACCURACY,
    BETTER,
    CALIBRATION,
    WORSE,
    Changes,
    ExperimentChange,
    MetricChange,
)
from pipeline.report.plots.page import finish_layout, new_figure, shorten_label
from pipeline.report.plots.style import BLUE, INK, LINE, MUTED, VERMILION, with_style

_COLOURS: Final = {BETTER: BLUE, WORSE: VERMILION}
_MARKS: Final = {BETTER: "^", WORSE: "v"}
_ROW: Final = 0.34  # inches
_LONGEST_NAME: Final = 24


@with_style
def differences(changes: Changes) -> Figure:
    """Forest plots of the differences in test accuracy, loss and calibration error, a row per experiment.

    Args:
        changes: of which those are drawn that have intervals.

    Returns:
        The figure; in it only words where there is nothing to draw.
    """
    experiments = [each for each in changes.experiments if any(row.low is not None for row in each.metrics)]
    title = f"From {changes.first.name} to {changes.second.name}"
    if not experiments:
        figure = new_figure(title, "No experiment has other outputs.", body=0.4)
        return finish_layout(figure)
    on = f"Means over {len(changes.seeds)} seeds" if changes.seeds else "On the same test images"
    subtitle = (
        f"{on}, with intervals of {100 * changes.confidence:.0f} %."
        " Blue triangles up: better. Vermilion triangles down: worse. Grey: no difference to be seen."
    )
    figure = new_figure(title, subtitle, body=0.75 + _ROW * len(experiments))
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    labels = ("accuracy, percentage points", "loss", "calibration error")
    for axes, label, kind in zip(panels, labels, (ACCURACY, "loss", CALIBRATION), strict=True):
        _draw_panel(axes, [_find_metric(each, kind) for each in experiments], 100 if kind == ACCURACY else 1)
        axes.set_xlabel(label)
    panels[0].set_yticks(
        range(len(experiments)), [shorten_label(each.name, _LONGEST_NAME) for each in experiments]
    )
    panels[0].set_ylim(len(experiments) - 0.5, -0.5)
    return finish_layout(figure)


def _find_metric(experiment: ExperimentChange, kind: str) -> MetricChange:
    test = [row for row in experiment.metrics if row.part == "test"]
    return next(
        row
        for row in test
        if row.name == kind or (kind == "loss" and row.name not in {ACCURACY, CALIBRATION})
    )


def _draw_panel(axes: Axes, rows: Sequence[MetricChange], scale: float) -> None:
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, min_n_ticks=3))
    for place, row in enumerate(rows):
        if row.low is None or row.high is None:
            continue
        colour = _COLOURS.get(row.verdict or "", MUTED)
        axes.plot([scale * row.low, scale * row.high], [place, place], color=colour)
        axes.plot(
            scale * row.difference, place, _MARKS.get(row.verdict or "", "o"), color=colour, markersize=6
        )
    axes.spines["bottom"].set_color(LINE)
    axes.margins(x=0.08)
