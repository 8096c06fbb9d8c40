"""Curves: training, losses per step, calibration and ROC."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.report.metrics import CalibrationBins, Float64s, Floats, RocCurve, calibration_error, thin_curve
from pipeline.report.plots.page import (
    choose_loss_scale,
    distinct_labels,
    finish_layout,
    keep_percent_range,
    label_line_end,
    make_logarithmic,
    new_figure,
    shorten_label,
)
from pipeline.report.plots.style import (
    BLUE,
    DECADE,
    FEW_EXAMPLES,
    INK,
    LINE,
    LOG_RATIO,
    MISSING,
    MOST_LISTED,
    MOST_MARKED_EPOCHS,
    MUTED,
    PALE,
    SCORES,
    VERMILION,
    Array,
    with_style,
)

# ------------------------------------------------------------------------------------------ line charts


@with_style
def training_curves(history: Mapping[str, Floats], *, title: str, subtitle: str) -> Figure:
    """Loss and accuracy per epoch of the train and valid parts, and the learning rate if it changes.

    Args:
        history: columns of shape (epochs,): epoch, learning_rate, train_loss, train_accuracy, valid_loss,
            valid_accuracy (accuracies from 0 to 1). A column may be absent or NaN, in part or altogether;
            without epoch they are counted from 1. Other columns are not looked at.
        title: which experiment.
        subtitle: which source.

    Returns:
        A figure of two or three panels.

    Raises:
        ValueError: the columns differ in length.
    """
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in history.items()}
    lengths = {column.shape for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of different shapes: {sorted(lengths)}")
    count = lengths.pop()[0]
    epochs = columns.get("epoch", np.arange(1.0, count + 1))
    rates = columns.get("learning_rate", np.full(count, np.nan))
    known_rates = rates[np.isfinite(rates)]
    changing = known_rates.size > 1 and bool(known_rates.min() < known_rates.max())

    figure = new_figure(title, subtitle, body=3.3)
    panels: Sequence[Axes] = figure.subplots(1, 3 if changing else 2)
    marker = "o" if count <= MOST_MARKED_EPOCHS else ""
    _draw_measure(panels[0], epochs, columns, "loss", marker)
    _draw_measure(panels[1], epochs, columns, "accuracy", marker)
    if changing:
        panels[2].plot(epochs, rates, color=MUTED, marker=marker, markersize=3.5)
        panels[2].set_ylabel("learning rate")
        panels[2].yaxis.set_major_locator(MaxNLocator(nbins=5))
        if known_rates.min() > 0 and known_rates.max() / known_rates.min() > LOG_RATIO:
            make_logarithmic(panels[2])
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        if count == 1:
            axes.set_xticks(epochs)
    return finish_layout(figure)


def _draw_measure(
    axes: Axes, epochs: Floats, columns: Mapping[str, Floats], measure: str, marker: str
) -> None:
    """Draw the train and valid columns of a measure; above them their last values and the best valid one."""
    accuracy = measure == "accuracy"
    lines = []
    for part, colour in (("train", BLUE), ("valid", VERMILION)):
        values = columns.get(f"{part}_{measure}", np.full(len(epochs), np.nan)) * (100.0 if accuracy else 1.0)
        known = np.isfinite(values)
        if known.any():
            axes.plot(epochs[known], values[known], color=colour, marker=marker, markersize=3.5)
            lines.append((part, epochs[known], values[known], colour))
    axes.set_ylabel("accuracy (%)" if accuracy else "loss")
    axes.margins(y=0.4 if len(epochs) == 1 else 0.05)
    if not lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=MUTED)
        return

    def format_value(value: float) -> str:
        return f"{value:.2f}%" if accuracy else f"{value:#.3g}"

    if accuracy:
        keep_percent_range(axes)
    else:
        choose_loss_scale(axes, np.concatenate([values for _, _, values, _ in lines]))
    texts = []
    for part, where, values, _ in lines:
        texts.append(f"{part} {format_value(values[-1])}")
        if part == "valid" and len(values) > 1:
            best = int(values.argmax() if accuracy else values.argmin())
            axes.plot(where[best], values[best], "o", markersize=8, mfc="none", color=VERMILION)
            texts[-1] += f" · best {format_value(values[best])} at epoch {where[best]:g}"
    # A title has one colour: with two parts it is the upper line, and leaves room for the lower one.
    axes.set_title(texts[0], fontsize=8.5, color=lines[0][3], pad=6 if len(lines) == 1 else 19)
    if len(lines) > 1:
        below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(texts[1], (0, 1), (0, 6), fontsize=8.5, color=lines[1][3], in_layout=False, **below)


@with_style
def step_losses(steps: Array, losses: Floats, *, title: str, subtitle: str) -> Figure:
    """The loss of every step's batch, and its running median.

    Args:
        steps: (steps,) integers or floats, ascending.
        losses: (steps,) float; values that are not finite are left out.
        title: which experiment.
        subtitle: which source.

    Returns:
        A figure of one panel; its loss axis is logarithmic if the running median falls by more than 30 times.

    Raises:
        ValueError: the shapes differ.
    """
    if steps.shape != losses.shape or steps.ndim != 1:
        raise ValueError(
            f"steps {steps.shape} and losses {losses.shape}: two equally long vectors are needed"
        )
    known = np.isfinite(losses)
    x = np.asarray(steps, dtype=np.float64)[known]
    y = np.asarray(losses, dtype=np.float64)[known]
    figure = new_figure(title, subtitle, body=3.5)
    axes = figure.subplots()
    axes.set_xlabel("step")
    axes.set_ylabel("loss of the step's batch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if not y.size:
        axes.text(0.5, 0.5, "no step was recorded", transform=axes.transAxes, ha="center", color=MUTED)
        return finish_layout(figure)
    marker = "o" if len(y) <= MOST_MARKED_EPOCHS else ""
    window = max(1, len(y) // 50) | 1
    if window == 1:
        axes.plot(x, y, color=BLUE, marker=marker, markersize=3.5, label="each step")
        middle = y
    else:
        axes.plot(x, y, color=PALE, linewidth=0.7, label="each step")
        where, middle = _running_median(y, window)
        axes.plot(x[where], middle, color=BLUE, label=f"running median of {window} steps")
        axes.legend(loc="upper right")
    choose_loss_scale(axes, middle)
    axes.margins(x=0.01 if len(y) > 1 else 0.05)
    last = "last step" if window == 1 else f"last {window // 2 + 1} steps"
    label_line_end(axes, float(middle[-1]), f"{last}\n{middle[-1]:.3g}", BLUE)
    return finish_layout(figure)


@with_style
def reliability(bins: CalibrationBins, *, title: str, subtitle: str) -> Figure:
    """Accuracy against confidence: a calibrated classifier stays on the diagonal.

    Args:
        bins: from `pipeline.report.metrics.calibration_bins`.
        title: which experiment.
        subtitle: which source; the expected calibration error is added.

    Returns:
        A figure of two panels: accuracy per bin, and how many examples each bin holds.

    Raises:
        ValueError: the bins hold no example.
    """
    count = len(bins.counts)
    filled = bins.counts > 0
    few = filled & (bins.counts < FEW_EXAMPLES)
    enough = filled & ~few
    error = f"expected calibration error {calibration_error(bins):.2%}"
    figure = new_figure(title, f"{subtitle} · {error}", body=4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[2.4, 1], sharex=True)
    lefts = 100 * np.arange(count) / count
    accuracy = 100 * bins.accuracy
    confidence = 100 * bins.confidence
    bars: dict[str, Any] = {"width": 100 / count, "align": "edge", "edgecolor": "white"}
    upper.bar(lefts[enough], accuracy[enough], color=SCORES(0.4), **bars)
    upper.bar(lefts[few], accuracy[few], color=MISSING, **bars)
    upper.plot([0, 100], [0, 100], color=LINE, linewidth=1, linestyle="--", label="calibrated")
    upper.vlines(
        confidence[enough], accuracy[enough], confidence[enough], color=VERMILION, linewidth=1.4, label="gap"
    )
    dots = {"linestyle": "", "marker": "o", "markersize": 5}
    label = "accuracy at the bin's mean confidence"
    upper.plot(confidence[enough], accuracy[enough], color=BLUE, label=label, **dots)
    if few.any():
        # A handful of them is far from the diagonal by chance.
        label = f"the same of fewer than {FEW_EXAMPLES} examples"
        upper.plot(confidence[few], accuracy[few], color=LINE, mfc="white", label=label, **dots)
    upper.set_ylabel("accuracy (%)")
    upper.set_ylim(-2, 102)
    upper.legend(loc="upper left")
    counts = bins.counts[filled]
    lowest = 0.0
    if counts.max() > DECADE * np.median(counts):
        # A linear axis would show the tallest bar alone.
        lowest = 0.5
        lower.set_yscale("log")
    lower.bar(lefts[filled], counts - lowest, bottom=lowest, color=PALE, **bars)
    lower.set_ylim(lowest, (8 if lowest else 1.25) * float(counts.max()))
    lower.yaxis.set_major_locator(LogLocator(numticks=4) if lowest else MaxNLocator(nbins=3, integer=True))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    lower.yaxis.set_minor_locator(NullLocator())
    for left, examples in zip(lefts[filled].tolist(), counts.tolist(), strict=True):
        lower.annotate(
            f"{examples:,}",
            (left + 50 / count, examples),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=min(8.0, 120 / count),
            color=MUTED,
        )
    lower.set_ylabel("examples")
    lower.set_xlabel("confidence: probability of the predicted class (%)")
    lower.set_xlim(0, 101)
    figure.align_ylabels([upper, lower])
    return finish_layout(figure)


@with_style
def roc(
    curves: Mapping[str, RocCurve], *, title: str, subtitle: str, areas: Mapping[str, float] | None = None
) -> Figure:
    """ROC curves: the first one strong, the others light; the corner enlarged where they hug it.

    Args:
        curves: from `pipeline.report.metrics`, by name: the micro-average, then the classes, if they are
            wanted. Undefined ones (NaN) are not drawn.
        title: which experiment.
        subtitle: which source.
        areas: the areas below the curves by name, also of curves that are not drawn; they are listed, the
            smallest ones if there are many.

    Returns:
        A figure of one or two panels, and the list of areas.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("there is no curve to draw")
    names = list(curves)
    first = curves[names[0]]
    # Where the curves hug the corner, only the enlarged corner tells them apart.
    steep = bool((first.true_positive_rate[first.false_positive_rate <= 0.05] > 0.8).any())
    ratios = [1.0, 1.0] if steep else [2.0]
    figure = new_figure(title, subtitle, body=4.0)
    panels = figure.subplots(
        1, len(ratios) + bool(areas), squeeze=False, width_ratios=ratios + [0.66] * bool(areas)
    )[0]
    for axes in panels[: len(ratios)]:
        axes.plot([0, 100], [0, 100], color=LINE, linewidth=1, linestyle="--")
        for name in reversed(names):
            x, y = 100 * curves[name].false_positive_rate, 100 * curves[name].true_positive_rate
            if np.isfinite(x).all() and np.isfinite(y).all():
                kept = thin_curve(x, y, 2000)
                strong = name == names[0]
                axes.plot(x[kept], y[kept], color=BLUE if strong else PALE, linewidth=2.2 if strong else 0.9)
        axes.set_xlabel("false positive rate (%)")
        axes.set_ylabel("true positive rate (%)")
        axes.set_xlim(-1, 101)
        axes.set_ylim(-1, 101)
    if steep:
        panels[0].set_title("all thresholds", color=MUTED)
        panels[1].set_xlim(-0.2, 20)
        panels[1].set_ylim(80, 100.2)
        panels[1].set_title("top left corner, enlarged", color=MUTED)
    if areas:
        panels[-1].set_axis_off()
        _list_areas(panels[-1], names[0], areas)
    return finish_layout(figure)


def _list_areas(axes: Axes, first: str, areas: Mapping[str, float]) -> None:
    """Write the areas below the curves, the `first` curve's on top and the others' from small to large."""
    others = [name for name in areas if name != first]
    labels = {first: first, **dict(zip(others, distinct_labels(others, 14), strict=True))}
    others.sort(key=lambda name: (math.isnan(areas[name]), areas[name]))
    shown = others[:MOST_LISTED]
    axes.set_title("area" if len(shown) == len(others) else f"area, smallest of {len(others)}", color=MUTED)
    for index, name in enumerate([first, *shown] if first in areas else shown):
        y = 0.97 - 0.07 * index
        style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 8.0, "va": "center_baseline"}
        style |= {"color": BLUE, "weight": "bold"} if name == first else {"color": INK}
        axes.text(0, y, shorten_label(labels[name], 14), **style)
        number = "undefined" if math.isnan(areas[name]) else f"{areas[name]:.4f}"
        axes.text(1, y, number, ha="right", **style)


def _running_median(values: Floats, window: int, most: int = 800) -> tuple[npt.NDArray[np.int64], Float64s]:
    """Medians of `window` (odd) values around at most `most` even positions; of fewer values at the ends."""
    count = len(values)
    where = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
    half = window // 2
    medians = [float(np.median(values[max(0, at - half) : at + half + 1])) for at in where.tolist()]
    return where, np.array(medians, dtype=np.float64)
