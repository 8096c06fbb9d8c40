"""Pictures of a run: each function returns a Figure, and `to_png` or `save` turns it into bytes.

A picture's bytes depend on its data alone: the style is set here, whatever the user's own matplotlib
settings, the font is the one that matplotlib brings along, and the file holds neither time nor version.
Only `matplotlib.figure` and the Agg canvas are imported; pyplot is slow to load and keeps global state.

Every function takes a `title` (which experiment) and a `subtitle` (which source); both are wrapped to the
picture's width. Arrays that do not fit together are a mistake of the calling code: ValueError.
"""

import bisect
import functools
import io
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from pipeline.metrics import (
    CalibrationBins,
    Float64s,
    Floats,
    Integers,
    RocCurve,
    calibration_error,
    thin_curve,
)

Array: TypeAlias = npt.NDArray[Any]
Pixels: TypeAlias = npt.NDArray[np.uint8]

P = ParamSpec("P")
R = TypeVar("R")

DOTS_PER_INCH: Final = 150
_WIDTH: Final = 8.0  # inches: 1200 pixels
_MARGIN: Final = 0.14  # inches
_PAGE_WIDTH: Final = round(_WIDTH * DOTS_PER_INCH)  # pixels
_PAGE_MARGIN: Final = round(_MARGIN * DOTS_PER_INCH)  # pixels

# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers tell apart.
_BLUE: Final = "#0072B2"
_VERMILION: Final = "#D55E00"
_INK: Final = "#1F2328"
_MUTED: Final = "#57606A"
_TINT: Final = "#9CC4E0"
_LINE: Final = "#8C959F"
_PALE: Final = "#B6C2CF"
_GRID: Final = "#E4E7EB"
_MISSING: Final = "#EDEFF2"

_FONT: Final = "DejaVu Sans"
_STYLE: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "font.family": [_FONT],
    "font.size": 9.5,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "text.color": _INK,
    # A class may be called "$".
    "text.parse_math": False,
    "xtick.color": _LINE,
    "xtick.labelcolor": _INK,
    "xtick.labelsize": 8.5,
    "ytick.color": _LINE,
    "ytick.labelcolor": _INK,
    "ytick.labelsize": 8.5,
}

_ERRORS: Final = LinearSegmentedColormap.from_list("errors", ["#FFFFFF", "#F6C9A3", _VERMILION, "#7A3300"])
_SCORES: Final = LinearSegmentedColormap.from_list("scores", ["#F3F7FB", _TINT, _BLUE, "#003A5D"])
_SIGNED: Final = LinearSegmentedColormap.from_list(
    "signed", ["#003A5D", _BLUE, _TINT, "#FFFFFF", "#F6C9A3", _VERMILION, "#7A3300"]
)

# Past these sizes numbers no longer fit, or no longer help.
_MOST_CELLS_WITH_TEXT: Final = 20
_MOST_UNITS: Final = 100
_MOST_LARGE_TILES: Final = 60
_MOST_MARKED_EPOCHS: Final = 25
_MOST_LISTED: Final = 12
_MOST_BARS: Final = 10
_MOST_VALUES_OF_AN_AXIS: Final = 12
_MOST_TICKED_VALUES: Final = 6
_DECADE: Final = 10.0
_LOG_RATIO: Final = 30.0  # a loss that falls by more than this is drawn on a logarithmic axis


def _styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` under this module's style, and put the caller's back."""

    @functools.wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context(["default", _STYLE]):
            return function(*args, **kwargs)

    return styled


# ---------------------------------------------------------------------------------------------- output


@_styled
def to_png(figure: Figure) -> bytes:
    """Draw a figure as PNG: the same bytes for the same figure, on every machine and every time.

    Args:
        figure: from a function of this module.

    Returns:
        The file's bytes, 8-bit RGB, without any text, time or version.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's stubs leave it out
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # the same
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    stream = io.BytesIO()
    # zlib builds search for matches in ways of their own, some by CPU type; run lengths leave no choice.
    picture.save(stream, format="PNG", compress_type=zlib.Z_RLE)
    return stream.getvalue()


def save(figure: Figure, stream: IO[bytes]) -> None:
    """Write a figure as PNG (see `to_png`) to an open binary stream."""
    stream.write(to_png(figure))


# ------------------------------------------------------------------------------------------ line charts


@_styled
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

    figure = _new_figure(title, subtitle, body=3.3)
    ratios = [1.0, 1.0, 0.62] if changing else [1.0, 1.0]
    panels: Sequence[Axes] = figure.subplots(1, len(ratios), width_ratios=ratios)
    marker = "o" if count <= _MOST_MARKED_EPOCHS else ""
    _draw_measure(panels[0], epochs, columns, "loss", marker)
    _draw_measure(panels[1], epochs, columns, "accuracy", marker)
    if changing:
        panels[2].plot(epochs, rates, color=_MUTED, marker=marker, markersize=3.5)
        panels[2].set_ylabel("learning rate")
        if known_rates.min() > 0 and known_rates.max() / known_rates.min() > _LOG_RATIO:
            _make_logarithmic(panels[2])
    for axes, ticks in zip(panels, (6, 6, 4), strict=False):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True, min_n_ticks=1))
        if count == 1:
            axes.set_xticks(epochs)
    return _finished(figure)


def _draw_measure(
    axes: Axes, epochs: Floats, columns: Mapping[str, Floats], measure: str, marker: str
) -> None:
    """Draw the train and valid columns of one measure, with their last values and the best valid one."""
    accuracy = measure == "accuracy"
    lines = []
    for part, colour in (("train", _BLUE), ("valid", _VERMILION)):
        values = columns.get(f"{part}_{measure}", np.full(len(epochs), np.nan)) * (100.0 if accuracy else 1.0)
        known = np.isfinite(values)
        if known.any():
            axes.plot(epochs[known], values[known], color=colour, marker=marker, markersize=3.5)
            lines.append((part, epochs[known], values[known], colour))
    axes.set_ylabel("accuracy (%)" if accuracy else "loss")
    axes.margins(y=0.4 if len(epochs) == 1 else 0.05)
    if not lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=_MUTED)
        return

    def told(value: float) -> str:
        return f"{value:.2f}%" if accuracy else f"{value:.3g}"

    if accuracy:
        _keep_percent(axes)
    else:
        _choose_loss_scale(axes, np.concatenate([values for _, _, values, _ in lines]))
    _label_ends(
        axes, [(values[-1], f"{part}\n{told(values[-1])}", colour) for part, _, values, colour in lines]
    )
    part, where, values, colour = lines[-1]
    if part == "valid" and len(values) > 1:
        best = int(values.argmax() if accuracy else values.argmin())
        word = "highest" if accuracy else "lowest"
        axes.set_title(
            f"{word} valid {told(values[best])} at epoch {where[best]:g}", color=colour, fontsize=8.5
        )
        axes.plot(where[best], values[best], "o", markersize=8, mfc="none", color=colour)


@_styled
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
    figure = _new_figure(title, subtitle, body=3.5)
    axes = figure.subplots()
    axes.set_xlabel("step")
    axes.set_ylabel("loss of the step's batch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if not y.size:
        axes.text(0.5, 0.5, "no step was recorded", transform=axes.transAxes, ha="center", color=_MUTED)
        return _finished(figure)
    marker = "o" if len(y) <= _MOST_MARKED_EPOCHS else ""
    window = max(1, len(y) // 50) | 1
    if window == 1:
        axes.plot(x, y, color=_BLUE, marker=marker, markersize=3.5, label="each step")
        middle = y
    else:
        axes.plot(x, y, color=_PALE, linewidth=0.7, label="each step")
        where, middle = _running_median(y, window)
        axes.plot(x[where], middle, color=_BLUE, label=f"running median of {window} steps")
        axes.legend(loc="upper right")
    _choose_loss_scale(axes, middle)
    axes.margins(x=0.01 if len(y) > 1 else 0.05)
    last = "last step" if window == 1 else f"last {window // 2 + 1} steps"
    _label_ends(axes, [(float(middle[-1]), f"{last}\n{middle[-1]:.3g}", _BLUE)])
    return _finished(figure)


@_styled
def reliability(bins: CalibrationBins, *, title: str, subtitle: str) -> Figure:
    """Accuracy against confidence: a calibrated classifier stays on the diagonal.

    Args:
        bins: from `pipeline.metrics.calibration_bins`.
        title: which experiment.
        subtitle: which source; the expected calibration error is added.

    Returns:
        A figure of two panels: accuracy per bin, and how many examples each bin holds.

    Raises:
        ValueError: the bins hold no example.
    """
    count = len(bins.counts)
    total = int(bins.counts.sum())
    filled = bins.counts > 0
    error = f"expected calibration error {calibration_error(bins):.2%}"
    figure = _new_figure(title, f"{subtitle} · {error}", body=4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[2.6, 1], sharex=True)
    edges = 100 * np.arange(count + 1) / count
    accuracy = 100 * bins.accuracy[filled]
    confidence = 100 * bins.confidence[filled]
    upper.bar(
        edges[:-1][filled], accuracy, width=100 / count, align="edge", color=_SCORES(0.4), edgecolor="white"
    )
    upper.plot([0, 100], [0, 100], color=_LINE, linewidth=1, linestyle="--", label="calibrated")
    upper.vlines(confidence, accuracy, confidence, color=_VERMILION, linewidth=1.4, label="gap")
    upper.plot(
        confidence, accuracy, "o", color=_BLUE, markersize=5, label="accuracy at the bin's mean confidence"
    )
    upper.set_ylabel("accuracy (%)")
    upper.set_ylim(-2, 102)
    upper.legend(loc="upper left")
    lower.bar(
        edges[:-1],
        100 * bins.counts / total,
        width=100 / count,
        align="edge",
        color=_PALE,
        edgecolor="white",
    )
    lower.set_ylabel("examples (%)")
    lower.set_xlabel("confidence: probability of the predicted class (%)")
    lower.set_xlim(0, 101)
    figure.align_ylabels([upper, lower])
    return _finished(figure)


@_styled
def roc(
    curves: Mapping[str, RocCurve], *, title: str, subtitle: str, areas: Mapping[str, float] | None = None
) -> Figure:
    """ROC curves: the first one strong, the others light; the corner enlarged where they hug it.

    Args:
        curves: from `pipeline.metrics`, by name: the micro-average, then the classes, if they are wanted.
            Undefined ones (NaN) are not drawn.
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
    steep = bool((first.true_positive_rate[first.false_positive_rate <= 0.05] > 0.8).any())  # noqa: PLR2004  (rates)
    ratios = [1.0, 1.0] if steep else [2.0]
    figure = _new_figure(title, subtitle, body=4.0)
    panels = figure.subplots(
        1, len(ratios) + bool(areas), squeeze=False, width_ratios=ratios + [0.66] * bool(areas)
    )[0]
    for axes in panels[: len(ratios)]:
        axes.plot([0, 100], [0, 100], color=_LINE, linewidth=1, linestyle="--")
        for name in reversed(names):
            x, y = 100 * curves[name].false_positive_rate, 100 * curves[name].true_positive_rate
            if np.isfinite(x).all() and np.isfinite(y).all():
                kept = thin_curve(x, y, 2000)
                strong = name == names[0]
                axes.plot(
                    x[kept], y[kept], color=_BLUE if strong else _PALE, linewidth=2.2 if strong else 0.9
                )
        axes.set_xlabel("false positive rate (%)")
        axes.set_ylabel("true positive rate (%)")
        axes.set_xlim(-1, 101)
        axes.set_ylim(-1, 101)
    if steep:
        panels[0].set_title("all thresholds", color=_MUTED)
        panels[1].set_xlim(-0.2, 20)
        panels[1].set_ylim(80, 100.2)
        panels[1].set_title("top left corner, enlarged", color=_MUTED)
    if areas:
        panels[-1].set_axis_off()
        _list_areas(panels[-1], names[0], areas)
    return _finished(figure)


def _list_areas(axes: Axes, first: str, areas: Mapping[str, float]) -> None:
    """Write the areas below the curves, the `first` curve's on top and the others' from small to large."""
    others = [name for name in areas if name != first]
    others.sort(key=lambda name: (math.isnan(areas[name]), areas[name]))
    shown = others[:_MOST_LISTED]
    axes.set_title("area" if len(shown) == len(others) else f"area, smallest of {len(others)}", color=_MUTED)
    for index, name in enumerate([first, *shown] if first in areas else shown):
        y = 0.97 - 0.07 * index
        style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 8.0, "va": "center_baseline"}
        style |= {"color": _BLUE, "weight": "bold"} if name == first else {"color": _INK}
        axes.text(0, y, _shortened(name, 14), **style)
        number = "undefined" if math.isnan(areas[name]) else f"{areas[name]:.4f}"
        axes.text(1, y, number, ha="right", **style)


# -------------------------------------------------------------------------------------------- heat maps


@_styled
def confusion(matrix: Integers, class_names: Sequence[str], *, title: str, subtitle: str) -> Figure:
    """The confusion matrix: counts, mistakes coloured by their share of the actual class.

    Up to 20 classes, every cell holds its count and every row ends with the class's recall; beyond that the
    most frequent mistakes are listed instead.

    Args:
        matrix: (actual, predicted) integers, as from `pipeline.metrics.confusion_matrix`.
        class_names: one per class.
        title: which experiment.
        subtitle: which source; the accuracy is added.

    Returns:
        A figure of one panel and its colour bar.

    Raises:
        ValueError: the matrix is not square, or the names do not fit it.
    """
    count = len(class_names)
    if matrix.shape != (count, count) or not count:
        raise ValueError(f"matrix {matrix.shape} and {count} class names: they do not fit")
    names = [_shortened(name, 16) for name in class_names]
    support = matrix.sum(axis=1)
    hits = matrix.diagonal()
    total = int(support.sum())
    shares = 100 * matrix / np.maximum(support, 1)[:, np.newaxis]
    diagonal = np.eye(count, dtype=np.bool_)
    mistakes_only = np.where(diagonal, 0.0, shares)
    norm = Normalize(0, float(mistakes_only.max()) or 1.0)
    colours = _ERRORS(norm(mistakes_only))[..., :3]
    # The diagonal keeps out of the errors' colours; its tint follows the recall.
    recall = (hits / np.maximum(support, 1))[:, np.newaxis]
    colours[diagonal] = 1 - (0.2 + 0.8 * recall) * (1 - np.array(to_rgb(_TINT)))

    right = f"{hits.sum() / total:.2%} ({hits.sum():,} of {total:,} right)" if total else "no examples"
    figure = _new_figure(
        title, f"{subtitle} · accuracy {right}" if total else f"{subtitle} · {right}", body=6.2
    )
    large = count > _MOST_CELLS_WITH_TEXT
    axes = figure.subplots()
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class" + " (index)" * large)
    axes.set_ylabel("actual class" + " (index)" * large)
    if not large:
        _write_cells(
            axes,
            colours,
            [[f"{value:,}" if value else "" for value in row] for row in matrix.tolist()],
            diagonal,
        )
        crowded = max(len(name) for name in names) * count > 75  # noqa: PLR2004  (letters that fit side by side)
        axes.set_xticks(
            range(count), names, rotation=40 if crowded else 0, ha="right" if crowded else "center"
        )
        if crowded:
            axes.tick_params(axis="x", pad=1)
            for label in axes.get_xticklabels():
                label.set_rotation_mode("anchor")
        axes.set_yticks(range(count), names)
        axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=_GRID, linewidth=0.8)
        axes.tick_params(which="minor", length=0)
        axes.text(1.012, 1.012, "recall", transform=axes.transAxes, fontsize=8.5, color=_MUTED, va="bottom")
        beside = axes.get_yaxis_transform()
        for row, (hit, of) in enumerate(zip(hits.tolist(), support.tolist(), strict=True)):
            share = f"{hit / of:.1%}" if of else "none"
            axes.text(1.012, row, share, transform=beside, fontsize=8.5, color=_BLUE, va="center_baseline")
    else:
        _list_mistakes(axes, np.where(diagonal, 0, matrix), names)
    bar = figure.colorbar(ScalarMappable(norm, _ERRORS), ax=axes, fraction=0.03, pad=0.02, aspect=40)
    bar.set_label("mistakes: share of the actual class (%)")
    bar.outline.set_visible(False)
    return _finished(figure)


def _list_mistakes(axes: Axes, mistaken: Integers, names: Sequence[str]) -> None:
    """Write the most frequent mistakes beside a matrix that is too large for numbers."""
    count = len(names)
    order = np.argsort(-mistaken, axis=None, kind="stable")[:_MOST_LISTED]
    worst = [(int(index) // count, int(index) % count) for index in order]
    axes.text(
        1.02, 1.0, "most frequent mistakes", transform=axes.transAxes, color=_MUTED, va="top", fontsize=8.5
    )
    for row, (actual, predicted) in enumerate(pair for pair in worst if mistaken[pair]):
        axes.text(
            1.02,
            0.95 - 0.075 * row,
            f"{mistaken[actual, predicted]:,} × {names[actual]}\n   taken for {names[predicted]}",
            transform=axes.transAxes,
            fontsize=8,
            va="top",
        )


@_styled
def grid_heat_maps(
    axes_labels: Mapping[str, Sequence[str]],
    scores: Floats,
    *,
    title: str,
    subtitle: str,
    measure: str = "valid accuracy",
) -> Figure:
    """A grid search: one heat map per value of the first axis, over the second (down) and third (across).

    Axes with one value are named in the subtitle. With two axes left there is one map, with one a single row;
    with more than three the best score over the others is shown.

    Args:
        axes_labels: the searched names, each with its values as text, in the order of the axes of `scores`.
        scores: float of shape (values of the first axis, values of the second, …), shares from 0 to 1; NaN
            for a trial that is missing or diverged.
        title: which experiment.
        subtitle: which source; the best trial is added (of equal ones the first).
        measure: what a score is.

    Returns:
        A figure of one panel per value, and a colour bar.

    Raises:
        ValueError: the shape of `scores` is not that of the labels.
    """
    shape = tuple(len(values) for values in axes_labels.values())
    if scores.shape != shape or not scores.size or not shape:
        raise ValueError(f"scores {scores.shape} do not fit axes of {shape} values")
    percent = 100 * np.asarray(scores, dtype=np.float64)
    ranked = np.where(np.isfinite(percent), percent, -np.inf)
    best = tuple(int(index) for index in np.unravel_index(int(ranked.argmax()), shape))
    found = bool(np.isfinite(ranked[best]))
    notes = [subtitle]
    if found:
        values = ", ".join(
            f"{name} {labels[at]}" for (name, labels), at in zip(axes_labels.items(), best, strict=True)
        )
        notes.append(f"best {ranked[best]:.2f}% at {values}")
    else:
        notes.append("no trial has a score")

    varied = [index for index, size in enumerate(shape) if size > 1]
    shown, others = varied[:3], varied[3:]
    if others:
        notes.append("best over " + ", ".join(list(axes_labels)[index] for index in others))
    rest = tuple(index for index in range(len(shape)) if index not in shown)
    maps = ranked.max(axis=rest)
    position = [best[index] for index in shown]
    names = [list(axes_labels)[index] for index in shown]
    ticks = [list(axes_labels.values())[index] for index in shown]
    while len(shown) < 3:  # noqa: PLR2004  (panel, row, column)
        maps = maps[np.newaxis]
        shown, position, names, ticks = [-1, *shown], [0, *position], ["", *names], [[""], *ticks]
    panel_count, row_count, column_count = maps.shape

    across = min(panel_count, 3 if column_count <= 8 else 2 if column_count <= 12 else 1)  # noqa: PLR2004
    down = math.ceil(panel_count / across)
    figure = _new_figure(title, " · ".join(notes), body=down * (0.95 + min(max(0.34 * row_count, 1.1), 4.5)))
    norm, clipped = _norm_of_scores(maps)
    grid = figure.subplots(down, across, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= panel_count:
            axes.set_axis_off()
            continue
        _draw_map(
            axes, maps[index], norm, position[1:] if found and index == position[0] else None, 430 / across
        )
        lowest_of_column, first_of_row = index + across >= panel_count, index % across == 0
        texts = [_shortened(text, 9) if lowest_of_column else "" for text in ticks[2]]
        crowded = max(map(len, texts)) * column_count > 75 / across
        axes.set_xticks(range(column_count), texts, rotation=40 if crowded else 0)
        axes.set_yticks(range(row_count), [_shortened(text, 9) if first_of_row else "" for text in ticks[1]])
        axes.set_xlabel(_shortened(names[2] or "the only trial", 40) if lowest_of_column else "")
        axes.set_ylabel(_shortened(names[1], 40) if first_of_row else "")
        if names[0]:
            axes.set_title(_shortened(f"{names[0]} {ticks[0][index]}", 40))
    bar = figure.colorbar(
        ScalarMappable(norm, _SCORES),
        ax=grid,
        fraction=0.03,
        pad=0.015,
        aspect=25 * down,
        extend="min" if clipped else "neither",
    )
    bar.set_label(f"{measure} (%)")
    bar.outline.set_visible(False)
    return _finished(figure)


class SearchAxis(NamedTuple):
    """One axis of a search, as the pictures of searches want it.

    Attributes:
        name: the searched key.
        positions: float (trials,), where each trial lies: its value, or for values that are no numbers their
            place among those listed.
        labels: the listed values in words, for axes whose positions are places; empty for numbers.
        log: whether the axis is logarithmic.
    """

    name: str
    positions: Float64s
    labels: Sequence[str] = ()
    log: bool = False


@_styled
def search_axes(
    axes: Sequence[SearchAxis], scores: Floats, *, title: str, subtitle: str, measure: str = "valid accuracy"
) -> Figure:
    """The score of every trial against each axis of its search, one panel for each, and the best of them.

    Args:
        axes: the axes, in their order.
        scores: float (trials,), shares from 0 to 1; NaN for a trial that failed.
        title: which experiment.
        subtitle: which source; the number of trials is added.
        measure: what a score is.

    Returns:
        A figure of up to three panels in a row. Trials far below the others are drawn at the lower edge.

    Raises:
        ValueError: the arrays differ in length, or there are none.
    """
    percent, best = _search_scores(axes, scores)
    known = np.isfinite(percent)
    figure = _new_figure(
        title,
        " · ".join([subtitle, _search_summary(axes, percent, best)]),
        body=2.9 * math.ceil(len(axes) / 3),
    )
    across = min(len(axes), 3)
    panels = figure.subplots(math.ceil(len(axes) / across), across, squeeze=False, sharey=True)
    norm, clipped = _norm_of_scores(percent)
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    bottom = low - 0.06 * (high - low)
    below = int((percent[known] < bottom).sum()) if clipped else 0
    heights = np.maximum(percent, bottom) if below else percent
    size = 26.0 if known.sum() <= 100 else 12.0 if known.sum() <= 1000 else 4.0  # noqa: PLR2004  (trials)
    for index, panel in enumerate(panels.flat):
        if index >= len(axes):
            panel.set_axis_off()
            continue
        axis = axes[index]
        panel.scatter(
            axis.positions[known],
            heights[known],
            s=size,
            color=_BLUE,
            alpha=0.45,
            linewidths=0,
            clip_on=False,
        )
        _draw_medians(panel, axis, heights, known)
        if best is not None:
            panel.plot(
                axis.positions[best], percent[best], "o", markersize=9, mfc="none", mew=1.8, color=_VERMILION
            )
        _scale_search_axis(panel, axis)
        panel.set_xlabel(_shortened(axis.name, 34))
        if index % across == 0:
            panel.set_ylabel(f"{measure} (%)")
        if below:
            panel.axhline(bottom, color=_LINE, linewidth=0.8, linestyle=":")
    if below:
        panels[0, 0].set_title(f"{below} below {bottom:.1f}% at the edge", color=_MUTED, fontsize=8.5)
    return _finished(figure)


def _draw_medians(panel: Axes, axis: SearchAxis, heights: Float64s, known: npt.NDArray[np.bool_]) -> None:
    """Draw a line through the medians of the trials, by value or, of many values, by part of the axis."""
    places = np.log10(axis.positions) if axis.log else axis.positions
    values = np.unique(places[known])
    if len(values) < 2:  # noqa: PLR2004  (a line)
        return
    if len(values) <= _MOST_VALUES_OF_AN_AXIS:
        groups = [known & (places == value) for value in values]
    else:
        order = np.argsort(places[known], kind="stable")
        parts = np.array_split(np.flatnonzero(known)[order], 8)
        groups = [np.isin(np.arange(len(known)), part) for part in parts]
    middles = [float(np.median(axis.positions[group])) for group in groups]
    medians = [float(np.median(heights[group])) for group in groups]
    panel.plot(middles, medians, color=_INK, linewidth=1.3, marker="_", markersize=9)


def _scale_search_axis(panel: Axes, axis: SearchAxis) -> None:
    """Ticks of one axis of a search along the horizontal axis of a panel."""
    if axis.labels:
        texts = [_shortened(text, 12) for text in axis.labels]
        crowded = sum(map(len, texts)) + 2 * len(texts) > 24  # noqa: PLR2004  (letters that fit a panel)
        if len(texts) <= _MOST_VALUES_OF_AN_AXIS:
            panel.set_xticks(range(len(texts)), texts, rotation=40 if crowded else 0)
        panel.set_xlim(-0.5, len(texts) - 0.5)
        return
    if axis.log:
        panel.set_xscale("log")
        low, high = float(axis.positions.min()), float(axis.positions.max())
        panel.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
        subs = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)  # noqa: PLR2004  (about six ticks)
        # Within less than an order of magnitude the locator would give up on powers.
        ends = FixedLocator([low, high] if high > low else [low])
        panel.xaxis.set_major_locator(LogLocator(subs=subs) if high / low >= _DECADE else ends)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    elif len(values := _told_values(axis, 0.15)):
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.margins(x=0.08)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))


@_styled
def parallel_coordinates(
    axes: Sequence[SearchAxis], scores: Floats, *, title: str, subtitle: str, measure: str = "valid accuracy"
) -> Figure:
    """A search with more axes than a map has: a line for every trial across them, to its score at the right.

    Args:
        axes: the axes, in their order.
        scores: float (trials,), shares from 0 to 1; NaN for a trial that failed, which is not drawn.
        title: which experiment.
        subtitle: which source; the best trial is added.
        measure: what a score is.

    Returns:
        A figure of one panel; better trials are darker and drawn above the others, the best stands out.

    Raises:
        ValueError: the arrays differ in length, or there are none.
    """
    percent, best = _search_scores(axes, scores)
    figure = _new_figure(title, " · ".join([subtitle, _search_summary(axes, percent, best)]), body=4.3)
    panel = figure.subplots()
    panel.set_axis_off()
    norm, _ = _norm_of_scores(percent)
    low, high = float(norm.vmin or 0), float(norm.vmax or 1)
    columns = [_shares(axis) for axis in axes] + [np.clip((percent - low) / (high - low), -0.04, 1)]
    # Trials of equal values side by side, so that the lines show how many there are.
    rank = np.argsort(np.argsort(percent, kind="stable"), kind="stable") / max(len(percent) - 1, 1) - 0.5
    lines = np.stack(
        [column + (0.05 * rank if axis.labels else 0) for column, axis in zip(columns, axes, strict=False)]
        + [columns[-1]],
        axis=1,
    )
    x = np.arange(len(columns))
    order = [int(index) for index in np.argsort(percent, kind="stable") if np.isfinite(percent[index])]
    many = len(order) > 200  # noqa: PLR2004  (lines)
    for index in order[-2000:]:
        colour = _SCORES(norm(percent[index]))
        panel.plot(x, lines[index], color=colour, linewidth=0.6 if many else 1.1, alpha=0.55 if many else 0.8)
    if best is not None:
        panel.plot(x, lines[best], color=_VERMILION, linewidth=2.2, marker="o", markersize=4)
    for place, axis in enumerate(axes):
        panel.plot([place, place], [-0.04, 1.04], color=_LINE, linewidth=1)
        for share, text in _marks(axis):
            panel.annotate(
                text,
                (place, share),
                (-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
                zorder=5,
            )
        group, _, name = axis.name.rpartition(".")
        panel.annotate(_shortened(name, 18), (place, 1.09), ha="center", weight="bold", fontsize=9)
        panel.annotate(_shortened(group, 22), (place, 1.16), ha="center", color=_MUTED, fontsize=8)
    last = len(axes)
    panel.plot([last, last], [-0.04, 1.04], color=_LINE, linewidth=1)
    panel.annotate(measure, (last, 1.09), ha="center", weight="bold", fontsize=9)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"{low + share * (high - low):.1f}%"
        panel.annotate(text, (last, share), (5, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_xlim(-0.35, last + 0.3)
    panel.set_ylim(-0.08, 1.22)
    return _finished(figure)


def _shares(axis: SearchAxis) -> Float64s:
    """Positions as shares of the way from the lowest to the highest."""
    places = np.log10(axis.positions) if axis.log else np.asarray(axis.positions, dtype=np.float64)
    low, high = (0.0, len(axis.labels) - 1.0) if axis.labels else (float(places.min()), float(places.max()))
    return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)


def _told_values(axis: SearchAxis, apart: float) -> Float64s:
    """The few values of an axis, where they are at least a share of its length apart; else none."""
    values, firsts = np.unique(axis.positions, return_index=True)
    few = 1 < len(values) <= _MOST_TICKED_VALUES
    return values if few and float(np.diff(_shares(axis)[firsts]).min()) >= apart else values[:0]


def _marks(axis: SearchAxis) -> list[tuple[float, str]]:
    """Where values are written along an axis, as shares of it."""
    if axis.labels:
        count = len(axis.labels)
        chosen = range(count) if count <= _MOST_VALUES_OF_AN_AXIS else (0, count - 1)
        return [
            (index / (count - 1) if count > 1 else 0.5, _shortened(axis.labels[index], 10))
            for index in chosen
        ]
    low, high = float(axis.positions.min()), float(axis.positions.max())
    if high <= low:
        return [(0.5, f"{low:g}")]
    if len(values := _told_values(axis, 0.06)):
        shares = dict(zip(axis.positions.tolist(), _shares(axis).tolist(), strict=True))
        return [(shares[value], f"{value:g}") for value in values.tolist()]
    found = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = low * (high / low) ** share if axis.log else low + share * (high - low)
        found.append((share, f"{value:.3g}"))
    return found


def _search_scores(axes: Sequence[SearchAxis], scores: Floats) -> tuple[Float64s, int | None]:
    """Scores in percent, and the best trial's place; None where no trial has a score."""
    if not axes or scores.ndim != 1 or any(axis.positions.shape != scores.shape for axis in axes):
        raise ValueError(f"scores {scores.shape} do not fit {len(axes)} axes of other lengths")
    percent = 100 * np.asarray(scores, dtype=np.float64)
    if not np.isfinite(percent).any():
        return percent, None
    return percent, int(np.nanargmax(percent))


def _search_summary(axes: Sequence[SearchAxis], percent: Float64s, best: int | None) -> str:
    if best is None:
        return "no trial has a score"
    values = ", ".join(
        f"{axis.name} " + (axis.labels[int(place)] if axis.labels else f"{place:g}")
        for axis in axes
        for place in (axis.positions[best],)
    )
    failed = int((~np.isfinite(percent)).sum())
    notes = f"{len(percent)} trials" + (f", {failed} failed" if failed else "")
    return f"{notes} · best {percent[best]:.2f}% at {values}"


def _norm_of_scores(percentages: Floats) -> tuple[Normalize, bool]:
    """Which scores get which colour, and whether some are below the scale; -inf for none.

    Differences among the good trials matter: what is far below them shares the lightest colour.
    """
    known = percentages[np.isfinite(percentages)]
    if not known.size:
        return Normalize(0, 100), False
    top, lowest = float(known.max()), float(known.min())
    bottom = max(lowest, top - 2.5 * (top - float(np.median(known))))
    return Normalize(bottom if bottom < top else top - 1, top), bottom > lowest


def _draw_map(
    axes: Axes, values: Floats, norm: Normalize, marked: Sequence[int] | None, width: float
) -> None:
    """Draw a panel `width` points wide: (rows, columns) percentages, -inf for none; the best is `marked`."""
    known = np.isfinite(values)
    colours = np.where(
        known[..., np.newaxis], _SCORES(norm(np.where(known, values, 0)))[..., :3], to_rgb(_MISSING)
    )
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    best = np.zeros(values.shape, dtype=np.bool_)
    if marked is not None:
        row, column = marked
        best[row, column] = True
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                fill=False,
                edgecolor=_VERMILION,
                linewidth=2.2,
                clip_on=False,
                zorder=5,
            )
        )
    texts = [[f"{value:.1f}" if math.isfinite(value) else "–" for value in line] for line in values.tolist()]
    _write_cells(axes, colours, texts, best, width)


def _write_cells(
    axes: Axes,
    colours: Floats,
    texts: Sequence[Sequence[str]],
    bold: npt.NDArray[np.bool_],
    width: float = 430.0,
) -> None:
    """Write into the cells of an image about `width` points wide, dark on light or light on dark."""
    longest = max(len(text) for row in texts for text in row)
    size = min(9.5, 250 / len(texts), 1.15 * width / (len(texts[0]) * max(longest, 3)))
    bright = colours @ np.array([0.299, 0.587, 0.114])
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            if text:
                axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center_baseline",
                    fontsize=size,
                    color=_INK if bright[row, column] > 0.43 else "white",  # noqa: PLR2004  (about equal contrast)
                    weight="bold" if bold[row, column] else "normal",
                    in_layout=False,
                )


# ------------------------------------------------------------------------------------ pictures of images


class _Tiling(NamedTuple):
    """Where equal tiles go on a page; everything in pixels of the page."""

    scale: int
    columns: int
    rows: int
    tile: tuple[int, int]  # height, width
    pitch: tuple[float, float]  # from one tile to the next, down and across
    extent: tuple[int, int]  # of all tiles with their captions: height, width

    def corner(self, index: int) -> tuple[int, int]:
        """Top and left of a tile, counted from the first one's."""
        row, column = divmod(index, self.columns)
        return round(row * self.pitch[0]), round(column * self.pitch[1])


def _tiling(
    count: int, size: tuple[int, int], room: int, highest: int, caption: tuple[int, int] = (0, 0)
) -> _Tiling:
    """Fit `count` images of `size` (height, width) into `room` pixels of width, enlarged by a whole number.

    Large tiles, a full last row and a picture that is not upright are preferred. With their captions of
    `caption` (height, width) pixels the tiles are no higher than `highest`, if that can be.
    """
    height, width = size
    gap = 16 if caption[0] else 6
    best: tuple[float, int, int, int] = (-math.inf, 1, 1, count)
    for scale in range(1, max(1, min(450 // height, 450 // width, room // width)) + 1):
        place = max(width * scale, caption[1]) + gap
        for columns in range(1, max(1, min(count, (room + gap) // place)) + 1):
            rows = math.ceil(count / columns)
            tall = rows * (height * scale + caption[0] + gap) - gap
            full_rows = count / (rows * columns)
            upright = max(1.0, tall / (columns * place))
            merit = scale * full_rows**4 / upright if tall <= highest else float(highest - tall)
            best = max(best, (merit, scale, columns, rows))
    _, scale, columns, rows = best
    tile = (height * scale, width * scale)
    down = tile[0] + caption[0] + gap
    last = max(tile[1], caption[1])
    across = float(last + gap)
    # Captions gain from more room, and the picture's right edge from being a straight one.
    spread = (room - last) / (columns - 1) if columns > 1 else across
    if caption[0] and across < spread < across + 2 * gap:
        across = spread
    extent = (rows * down - gap, round((columns - 1) * across) + last)
    return _Tiling(scale, columns, rows, tile, (float(down), across), extent)


def _paste(page: Pixels, images: Pixels, tiling: _Tiling, top: int, left: int) -> None:
    """Draw images (count, height, width, 3) on a page (height, width, 3), every pixel a crisp square."""
    enlarged = images.repeat(tiling.scale, axis=1).repeat(tiling.scale, axis=2)
    height, width = tiling.tile
    for index, image in enumerate(enlarged):
        down, across = tiling.corner(index)
        page[top + down : top + down + height, left + across : left + across + width] = image


def _as_colours(images: Array) -> Pixels:
    """Images (count, height, width, 1 or 3) uint8 as RGB, thinned to at most 450 pixels a side."""
    if images.ndim != 4 or images.shape[3] not in {1, 3} or images.dtype != np.uint8 or 0 in images.shape[1:]:  # noqa: PLR2004  (count, height, width, channels)
        raise ValueError(
            f"images {images.shape} {images.dtype}: (count, height, width, 1 or 3) uint8 is needed"
        )
    stride = math.ceil(max(images.shape[1:3]) / 450)
    thinned: Pixels = images[:, ::stride, ::stride]
    return np.broadcast_to(thinned, (*thinned.shape[:3], 3)) if thinned.shape[3] == 1 else thinned


def _gallery(
    images: Array,
    captions: Sequence[Sequence[tuple[str, str]]],
    *,
    title: str,
    subtitle: str,
    empty: str,
) -> Figure:
    """Images with captions below them, one (text, colour) per line; `empty` is said where there are none."""
    pictures = _as_colours(images)
    if not len(pictures):
        figure, page, top = _new_page(title, subtitle, (120, _PAGE_WIDTH - 2 * _PAGE_MARGIN))
        _write(figure, _PAGE_WIDTH / 2, top + 30, empty, ha="center", color=_MUTED, fontsize=11)
        return _finished(figure)
    cleaned = [[(_printable(text), colour) for text, colour in caption] for caption in captions]
    texts = sorted({text for caption in cleaned for text, _ in caption})
    count = len(pictures)
    size = 9.0 if count <= _MOST_LISTED else 8.0 if count <= _MOST_LARGE_TILES else 7.5
    highest = 1000 if count <= _MOST_LARGE_TILES else 2000
    line_height = round(2.4 * size)
    caption_room = min(math.ceil(max(_text_width(text, size) for text in texts)), 300)
    fitted = {text: _clipped(text, size, caption_room) for text in texts}
    below = (len(cleaned[0]) * line_height + 4, caption_room)
    tiling = _tiling(count, pictures.shape[1:3], _PAGE_WIDTH - 2 * _PAGE_MARGIN, highest, below)
    figure, page, top = _new_page(title, subtitle, tiling.extent)
    _paste(page, pictures, tiling, top, _PAGE_MARGIN)
    figure.figimage(page, 0, 0, origin="upper", zorder=-1)
    for index, caption in enumerate(cleaned):
        down, across = tiling.corner(index)
        y = top + down + tiling.tile[0] + 5
        for line, (text, colour) in enumerate(caption):
            _write(
                figure,
                _PAGE_MARGIN + across,
                y + line * line_height,
                fitted[text],
                fontsize=size,
                color=colour,
            )
    return _finished(figure)


@_styled
def contact_sheet(
    images: Array, labels: Integers, class_names: Sequence[str], *, title: str, subtitle: str
) -> Figure:
    """Images with their classes, for looking at data.

    Args:
        images: (images, height, width, channels) uint8, one or three channels.
        labels: (images,) integers.
        class_names: one per class.
        title: which data set.
        subtitle: which source and part.

    Returns:
        A figure as high as it has to be; with no image it says so.

    Raises:
        ValueError: the shapes or labels do not fit.
    """
    _check_examples(images, class_names, labels)
    captions = [[(class_names[label], _INK)] for label in labels.tolist()]
    return _gallery(images, captions, title=title, subtitle=subtitle, empty="no images")


@_styled
def mistakes(
    images: Array,
    actual: Integers,
    predicted: Integers,
    probability_predicted: Floats,
    probability_actual: Floats,
    class_names: Sequence[str],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """A gallery of images taken for something else, in the order given.

    Args:
        images: (images, height, width, channels) uint8, one or three channels.
        actual: (images,) integers, the actual classes.
        predicted: (images,) integers, the predicted classes.
        probability_predicted: (images,) float, the probability given to the predicted class.
        probability_actual: (images,) float, the probability given to the actual class.
        class_names: one per class.
        title: which experiment.
        subtitle: which source; how to read the captions is added.

    Returns:
        A figure as high as it has to be; without mistakes it says so.

    Raises:
        ValueError: the shapes or labels do not fit.
    """
    _check_examples(images, class_names, actual, predicted)
    names = [_shortened(name, 16) for name in class_names]
    if not len(images):
        return _gallery(
            images, [], title=title, subtitle=subtitle, empty="no mistakes: every image was recognised"
        )
    captions = [
        [
            (f"\u2717 {names[wrong]} ({_percent(sure)})", _VERMILION),
            (f"\u2713 {names[right]} ({_percent(unsure)})", _BLUE),
        ]
        for right, wrong, sure, unsure in zip(
            actual.tolist(),
            predicted.tolist(),
            probability_predicted.tolist(),
            probability_actual.tolist(),
            strict=True,
        )
    ]
    legend = "\u2717 predicted, \u2713 actual class, each with the probability it was given"
    return _gallery(images, captions, title=title, subtitle=f"{subtitle} · {legend}", empty="")


def _check_examples(images: Array, class_names: Sequence[str], *labels: Integers) -> None:
    for classes in labels:
        if classes.shape != images.shape[:1]:
            raise ValueError(f"labels {classes.shape} do not fit images {images.shape}")
        if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < len(class_names):
            raise ValueError(f"label {classes.min()} to {classes.max()} among {len(class_names)} class names")


@_styled
def first_layer_weights(
    weights: Floats,
    image_shape: tuple[int, int, int],
    *,
    title: str,
    subtitle: str,
    before: Floats | None = None,
) -> Figure:
    """What each hidden unit of the first layer looks for, as an image; all units on one scale.

    Grey images give signed weights in two colours around white; RGB images give colours around mid grey. Of
    more than 100 units those with the largest norm are shown.

    Args:
        weights: (inputs, hidden) float.
        image_shape: (height, width, channels) of an input, one or three channels.
        title: which experiment.
        subtitle: which source; which units are shown is added.
        before: the weights before training, of the same shape, drawn beside them with the same scale.

    Returns:
        A figure with a colour bar for one channel.

    Raises:
        ValueError: the shapes do not fit.
    """
    height, width, channels = image_shape
    inputs = height * width * channels
    if weights.shape[:-1] != (inputs,) or not weights.size or channels not in {1, 3}:
        raise ValueError(f"weights {weights.shape} do not fit images {image_shape}")
    if before is not None and before.shape != weights.shape:
        raise ValueError(f"weights {before.shape} before and {weights.shape} after training")
    hidden = weights.shape[1]
    chosen = np.arange(hidden)
    if hidden > _MOST_UNITS:
        norms = np.square(weights, dtype=np.float64).sum(axis=0)
        chosen = np.argsort(-norms, kind="stable")[:_MOST_UNITS]
    parts = (
        [("", weights)]
        if before is None
        else [("before training · ", before), ("after training · ", weights)]
    )
    shown = [np.asarray(part[:, chosen], dtype=np.float64).T.reshape(-1, *image_shape) for _, part in parts]
    limit = float(np.quantile(np.abs(shown), 0.995)) or 1.0
    norm = Normalize(-limit, limit)
    notes = f"{subtitle} · weights of " + (
        f"the {hidden} hidden unit{'s'[: hidden - 1]}"
        if hidden <= _MOST_UNITS
        else f"the {_MOST_UNITS} strongest of {hidden:,} hidden units"
    )
    if channels == 3:  # noqa: PLR2004  (RGB)
        notes += f" · mid grey is 0, full colour ±{limit:.2g}"

    room = _PAGE_WIDTH - 2 * _PAGE_MARGIN
    bar_room = 130 if channels == 1 else 0
    between = 48
    panel = (room - bar_room - between * (len(parts) - 1)) // len(parts)
    tiling = _tiling(len(chosen), (height, width), panel, 950)
    tall, wide = tiling.extent
    heading = 34
    headings = [f"{name}standard deviation {np.std(part, dtype=np.float64):.3g}" for name, part in parts]
    wide = max(wide, *(math.ceil(_text_width(text, 8.5)) for text in headings))
    content = (heading + tall, len(parts) * (wide + between) - between + bar_room)
    figure, page, top = _new_page(title, notes, content)
    for index, (text, tiles) in enumerate(zip(headings, shown, strict=True)):
        left = _PAGE_MARGIN + index * (wide + between)
        colours = _SIGNED(norm(tiles[..., 0]))[..., :3] if channels == 1 else np.clip(norm(tiles), 0, 1)
        _paste(page, np.rint(255 * colours).astype(np.uint8), tiling, top + heading, left)
        _write(figure, left, top, text, fontsize=8.5, color=_MUTED)
    figure.figimage(page, 0, 0, origin="upper", zorder=-1)
    if bar_room:
        page_height, page_width, _ = page.shape
        bar_height = min(tall, 600)
        where = (
            (_PAGE_MARGIN + content[1] - bar_room + 24) / page_width,
            1 - (top + heading + bar_height) / page_height,
            18 / page_width,
            bar_height / page_height,
        )
        figure.set_layout_engine("none")
        bar = figure.colorbar(ScalarMappable(norm, _SIGNED), cax=figure.add_axes(where))
        bar.set_label("weight")
        bar.outline.set_visible(False)
    return _finished(figure)


# ------------------------------------------------------------------------------------- parts of figures


def _new_figure(title: str, subtitle: str, body: float, width: float = _WIDTH) -> Figure:
    """A figure of `width` by `body` inches, and as much more above as title and subtitle take."""
    lines = [(line, 13.0, "bold", _INK) for line in _wrapped(title, 13.0, width, "bold")]
    lines += [(line, 9.5, "normal", _MUTED) for line in _wrapped(subtitle, 9.5, width)]
    spacing = 1.45 / 72  # inches per point of type
    header = _MARGIN + sum(size * spacing for _, size, _, _ in lines) + 0.08
    height = math.ceil((header + body) * DOTS_PER_INCH) / DOTS_PER_INCH
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    below = (0, 0, 1, 1 - header / height)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=0.1, wspace=0.02, hspace=0.02, rect=below)
    )
    y = _MARGIN
    for line, size, weight, colour in lines:
        figure.text(
            _MARGIN / width, 1 - y / height, line, fontsize=size, weight=weight, color=colour, va="top"
        )
        y += size * spacing
    return figure


def _new_page(title: str, subtitle: str, content: tuple[int, int]) -> tuple[Figure, Pixels, int]:
    """A figure without axes for `content` (height, width) pixels below its header.

    Returns the figure, a white image of its size, and the first row below the header.
    """
    width = max(content[1] + 2 * _PAGE_MARGIN, 560)
    figure = _new_figure(title, subtitle, (content[0] + _PAGE_MARGIN) / DOTS_PER_INCH, width / DOTS_PER_INCH)
    height = round(figure.get_figheight() * DOTS_PER_INCH)
    return figure, np.full((height, width, 3), 255, dtype=np.uint8), height - content[0] - _PAGE_MARGIN


def _write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:  # noqa: ANN401  (matplotlib's text properties)
    """Write with the text's upper left corner at a pixel, counted from the figure's upper left corner."""
    width, height = figure.get_size_inches() * DOTS_PER_INCH
    figure.text(left / width, 1 - top / height, text, va="top", **style)


def _finished(figure: Figure) -> Figure:
    """Let the layout settle once, so that drawing changes nothing any more."""
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def _choose_loss_scale(axes: Axes, values: Floats) -> None:
    """A logarithmic axis for a loss that falls by orders of magnitude."""
    smallest, largest = float(values.min()), float(values.max())
    if smallest > 0 and largest / smallest > _LOG_RATIO:
        _make_logarithmic(axes)


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ratio = high / low
    subs = (1.0, 2.0, 5.0) if ratio < 300 else (1.0, 3.0) if ratio < 1e4 else (1.0,)  # noqa: PLR2004  (about six ticks)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _keep_percent(axes: Axes) -> None:
    """No room above 100 % nor below 0 %, but for half of a marker."""
    low, high = axes.get_ylim()
    pad = 0.02 * (high - low)
    axes.set_ylim(max(low, -pad), min(high, 100 + pad))


def _label_ends(axes: Axes, entries: Sequence[tuple[float, str, str]]) -> None:
    """Write (value, text of two lines, colour) at the right of axes, moved apart where they would touch."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    right = axes.get_xlim()[1]
    places = sorted(
        (float(to_fraction.transform((right, value))[1]), text, colour) for value, text, colour in entries
    )
    apart = 0.13
    heights = [min(max(place, apart / 2), 1 - apart / 2) for place, *_ in places]
    for index in range(1, len(heights)):
        overlap = apart - (heights[index] - heights[index - 1])
        if overlap > 0:
            heights[index - 1] -= overlap / 2
            heights[index] += overlap / 2
    shift = min(0.0, 1 - apart / 2 - heights[-1]) or max(0.0, apart / 2 - heights[0])
    for y, (_, text, colour) in zip([height + shift for height in heights], places, strict=True):
        axes.annotate(
            text,
            (1, y),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
            va="center",
        )


def _running_median(values: Floats, window: int, most: int = 800) -> tuple[npt.NDArray[np.int64], Float64s]:
    """Medians of `window` (odd) values around at most `most` even positions; of fewer values at the ends."""
    count = len(values)
    where = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
    half = window // 2
    medians = [float(np.median(values[max(0, at - half) : at + half + 1])) for at in where.tolist()]
    return where, np.array(medians, dtype=np.float64)


def _percent(share: float) -> str:
    """A probability as short as can be without claiming 0 or 100 %."""
    percent = 100 * share
    if percent < 0.1:  # noqa: PLR2004  (one decimal)
        return "<0.1%"
    if percent > 99.9:  # noqa: PLR2004  (one decimal)
        return ">99.9%"
    return f"{percent:.0f}%" if 1 <= percent < 99 else f"{percent:.1f}%"  # noqa: PLR2004  (percent)


def _text_width(text: str, size: float, weight: str = "normal") -> float:
    """Pixels that a line of text takes."""
    ruler: Any = RendererAgg(1, 1, DOTS_PER_INCH)  # type: ignore[no-untyped-call]  # matplotlib's stubs leave it out
    font = FontProperties(family=_FONT, size=size, weight=weight)
    return float(ruler.get_text_width_height_descent(text, font, ismath=False)[0])


def _printable(text: str) -> str:
    """One line of text in the font's letters; others become question marks."""
    font = get_font(findfont(FontProperties(family=_FONT)))
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in " ".join(text.split()))


def _shortened(text: str, most: int) -> str:
    """At most `most` letters of a text."""
    cleaned = _printable(text)
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def _clipped(text: str, size: float, room: float, weight: str = "normal") -> str:
    """As much of a text as fits into `room` pixels."""
    if _text_width(text, size, weight) <= room:
        return text
    fitting = bisect.bisect_right(
        range(1, len(text)), room, key=lambda letters: _text_width(text[:letters] + "…", size, weight)
    )
    return text[:fitting] + "…"


def _wrapped(text: str, size: float, width: float, weight: str = "normal") -> list[str]:
    """Lines of a text that fit a figure `width` inches wide; a word that does not fit is clipped."""
    room = (width - 2 * _MARGIN) * DOTS_PER_INCH
    lines: list[str] = []
    for word in _printable(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _text_width(longer, size, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(_clipped(word, size, room, weight))
    return lines


@_styled
def disagreements(
    images: Array,
    actual: Integers,
    predicted: tuple[Integers, Integers],
    probabilities: tuple[Floats, Floats],
    class_names: Sequence[str],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """A gallery of images to which two classifiers, A and B, give different classes, in the order given.

    Args:
        images: (images, height, width, channels) uint8, one or three channels.
        actual: (images,) integers, the actual classes.
        predicted: A's classes and B's, (images,) integers each.
        probabilities: of these classes, (images,) float each.
        class_names: one per class.
        title: which classifiers.
        subtitle: which source; how to read the captions is added.

    Returns:
        A figure as high as it has to be; without images it says so.

    Raises:
        ValueError: the shapes or labels do not fit.
    """
    _check_examples(images, class_names, actual, *predicted)
    names = [_shortened(name, 14) for name in class_names]
    if not len(images):
        return _gallery(images, [], title=title, subtitle=subtitle, empty="they agree on every image")
    wrong = (predicted[0] != actual) & (predicted[1] != actual)
    captions: list[list[tuple[str, str]]] = []
    for row, right in enumerate(actual.tolist()):
        caption = []
        for letter, answers, shares in zip("AB", predicted, probabilities, strict=True):
            answer = int(answers[row])
            mark, colour = ("\u2713", _BLUE) if answer == right else ("\u2717", _VERMILION)
            caption.append((f"{letter} {mark} {names[answer]} ({_percent(float(shares[row]))})", colour))
        if wrong.any():
            caption.append((f"it is {names[right]}" if wrong[row] else "", _INK))
        captions.append(caption)
    legend = "what each takes it for, with which probability, \u2713 rightly, \u2717 wrongly"
    return _gallery(images, captions, title=title, subtitle=f"{subtitle} · {legend}", empty="")


@_styled
def predictions(
    images: Array,
    names: Sequence[str],
    probabilities: Floats,
    actual: Sequence[int | None],
    class_names: Sequence[str],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """Images with the probabilities of their classes as bars; the predicted and the actual class stand out.

    Of more than 10 classes the most probable ones are drawn, of more than 12 images the first ones.

    Args:
        images: (images, height, width, channels) uint8, one or three channels; at least one image.
        names: what each image is called.
        probabilities: (images, classes) float.
        actual: the actual class of each image; None where it is not known.
        class_names: one per class.
        title: which parameters.
        subtitle: which source; how many of the images are drawn is added.

    Returns:
        A figure of two panels per image.

    Raises:
        ValueError: the shapes or labels do not fit, or there is no image.
    """
    count = len(images)
    known = np.array([label for label in actual if label is not None], dtype=np.int64)
    _check_examples(images[: len(known)], class_names, known)
    if (
        not count
        or probabilities.shape != (count, len(class_names))
        or not count == len(names) == len(actual)
    ):
        raise ValueError(
            f"images {images.shape}, probabilities {probabilities.shape}, {len(names)} names: they do not fit"
        )
    shown = min(count, _MOST_LISTED)
    if shown < count:
        subtitle = f"{subtitle} · the first {shown} of {count:,} images"
    across = 1 if shown == 1 else 2 if shown <= 4 else 3  # noqa: PLR2004  (images that fit side by side)
    down = math.ceil(shown / across)
    bars = min(len(class_names), _MOST_BARS)
    body = (0.9 + 0.24 * bars) if across == 1 else (0.55 + 0.14 * bars)
    figure = _new_figure(title, subtitle, body=0.3 + down * body, width=_WIDTH * (0.8 if across == 1 else 1))
    panels = figure.subplots(down, 2 * across, squeeze=False, width_ratios=[1, 1] * across)
    pictures = _as_colours(images[:shown])
    for index in range(down * across):
        row, column = divmod(index, across)
        picture, chart = panels[row, 2 * column : 2 * column + 2]
        picture.set_axis_off()
        if index >= shown:
            chart.set_axis_off()
            continue
        picture.imshow(pictures[index], interpolation="nearest")
        picture.set_anchor("NW")
        head, colour = _verdict(probabilities[index], actual[index], class_names)
        name = _clipped(_printable(names[index]), (10.0, 9.0, 8.0)[across - 1], 900 / across)
        picture.set_title(f"{name}\n{head}", fontsize=(10.0, 9.0, 8.0)[across - 1], color=colour)
        _draw_bars(chart, probabilities[index], actual[index], class_names, across)
        if index + across >= shown:
            middle = 50 / chart.get_xlim()[1]
            chart.set_xlabel("probability (%)", x=middle, fontsize=(9.0, 8.0, 7.0)[across - 1])
    return _finished(figure)


def _verdict(probabilities: Floats, actual: int | None, class_names: Sequence[str]) -> tuple[str, str]:
    """What an image is taken for and what it is, and a colour for that."""
    predicted = int(probabilities.argmax())
    answer = f"{_shortened(class_names[predicted], 16)} ({_percent(float(probabilities[predicted]))})"
    if actual is None:
        return answer, _INK
    if actual == predicted:
        return f"\u2713 {answer}", _BLUE
    return f"\u2717 {answer}, it is {_shortened(class_names[actual], 16)}", _VERMILION


def _draw_bars(
    axes: Axes, probabilities: Floats, actual: int | None, class_names: Sequence[str], across: int
) -> None:
    """Draw one image's probabilities; `across` such panels share the page's width."""
    order = np.arange(len(class_names))
    if len(order) > _MOST_BARS:
        order = np.argsort(-probabilities, kind="stable")[:_MOST_BARS]
        if actual is not None and actual not in order:
            order[-1] = actual
    predicted = int(probabilities.argmax())
    verdict = _BLUE if actual in {None, predicted} else _VERMILION
    size = (9.0, 8.0, 7.0)[across - 1]
    room = (17, 13, 10)[across - 1]
    shares = 100 * np.asarray(probabilities, dtype=np.float64)[order]
    special = {predicted: verdict} if actual is None else {actual: _BLUE, predicted: verdict}
    places = np.arange(len(order))
    axes.barh(places, shares, height=0.78, color=[special.get(int(one), _PALE) for one in order])
    for place, one in zip(places.tolist(), order.tolist(), strict=True):
        share = float(probabilities[one])
        axes.annotate(
            _percent(share) if share >= 0.001 or one in special else "",  # noqa: PLR2004  (0.1 %)
            (100 * share, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=size,
            color=special.get(one, _MUTED),
        )
    axes.set_yticks(places, [_shortened(class_names[one], room) for one in order.tolist()], fontsize=size)
    for label, one in zip(axes.get_yticklabels(), order.tolist(), strict=True):
        if one in special:
            label.set(color=special[one], weight="bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 128 if across == 1 else 145)
    axes.set_xticks([0, 50, 100])
    axes.tick_params(axis="x", labelsize=size)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_bounds(0, 100)
