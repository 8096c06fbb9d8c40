"""Pictures of a search: heat maps of a grid, scores along each axis, parallel coordinates."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.report.metrics import Float64s, Floats
from pipeline.report.plots.cells import write_cells
from pipeline.report.plots.page import finish_layout, new_figure, shorten_label
from pipeline.report.plots.style import (
    BLUE,
    DECADE,
    INK,
    LINE,
    MISSING,
    MOST_TICKED_VALUES,
    MOST_VALUES_OF_AN_AXIS,
    MUTED,
    SCORES,
    VERMILION,
    with_style,
)


@with_style
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
    while len(shown) < 3:
        maps = maps[np.newaxis]
        shown, position, names, ticks = [-1, *shown], [0, *position], ["", *names], [[""], *ticks]
    panel_count, row_count, column_count = maps.shape

    across = min(panel_count, 3 if column_count <= 8 else 2 if column_count <= 12 else 1)
    down = math.ceil(panel_count / across)
    figure = new_figure(title, " · ".join(notes), body=down * (0.95 + min(max(0.34 * row_count, 1.1), 4.5)))
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
        texts = [shorten_label(text, 9) if lowest_of_column else "" for text in ticks[2]]
        crowded = max(map(len, texts)) * column_count > 75 / across
        axes.set_xticks(range(column_count), texts, rotation=40 if crowded else 0)
        axes.set_yticks(
            range(row_count), [shorten_label(text, 9) if first_of_row else "" for text in ticks[1]]
        )
        axes.set_xlabel(shorten_label(names[2] or "the only trial", 40) if lowest_of_column else "")
        axes.set_ylabel(shorten_label(names[1], 40) if first_of_row else "")
        if names[0]:
            axes.set_title(shorten_label(f"{names[0]} {ticks[0][index]}", 40))
    bar = figure.colorbar(
        ScalarMappable(norm, SCORES),
        ax=grid,
        fraction=0.03,
        pad=0.015,
        aspect=25 * down,
        extend="min" if clipped else "neither",
    )
    bar.set_label(f"{measure} (%)")
    bar.outline.set_visible(False)
    return finish_layout(figure)


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


@with_style
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
    figure = new_figure(
        title,
        " · ".join([subtitle, _search_summary(axes, percent, best)]),
        body=2.9 * math.ceil(len(axes) / 3) + 0.3,
    )
    across = min(len(axes), 3)
    panels = figure.subplots(math.ceil(len(axes) / across), across, squeeze=False, sharey=True)
    norm, clipped = _norm_of_scores(percent)
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    bottom = low - 0.06 * (high - low)
    below = int((percent[known] < bottom).sum()) if clipped else 0
    heights = np.maximum(percent, bottom) if below else percent
    size = 26.0 if known.sum() <= 100 else 12.0 if known.sum() <= 1000 else 4.0
    for index, panel in enumerate(panels.flat):
        if index >= len(axes):
            panel.set_axis_off()
            continue
        axis = axes[index]
        panel.scatter(
            axis.positions[known],
            heights[known],
            s=size,
            color=BLUE,
            alpha=0.45,
            linewidths=0,
            clip_on=False,
            label="trial",
        )
        _draw_medians(panel, axis, heights, known)
        if best is not None:
            ring = {"marker": "o", "linestyle": "", "markersize": 9, "mfc": "none", "mew": 1.8}
            panel.plot(axis.positions[best], percent[best], color=VERMILION, label="best trial", **ring)
        _scale_search_axis(panel, axis)
        panel.set_xlabel(shorten_label(axis.name, 34))
        if index % across == 0:
            panel.set_ylabel(f"{measure} (%)")
        if below:
            panel.axhline(bottom, color=LINE, linewidth=0.8, linestyle=":")
    if below:
        panels[0, 0].set_title(f"{below} below {bottom:.1f}% at the edge", color=MUTED, fontsize=8.5)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if best is not None:
        figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    return finish_layout(figure)


def _draw_medians(panel: Axes, axis: SearchAxis, heights: Float64s, known: npt.NDArray[np.bool_]) -> None:
    """Draw a line through the medians of the trials, by value or, of many values, by part of the axis."""
    places = np.log10(axis.positions) if axis.log else axis.positions
    values = np.unique(places[known])
    if len(values) < 2:
        return
    if len(values) <= MOST_VALUES_OF_AN_AXIS:
        groups = [known & (places == value) for value in values]
    else:
        order = np.argsort(places[known], kind="stable")
        parts = np.array_split(np.flatnonzero(known)[order], 8)
        groups = [np.isin(np.arange(len(known)), part) for part in parts]
    middles = [float(np.median(axis.positions[group])) for group in groups]
    medians = [float(np.median(heights[group])) for group in groups]
    label = "median by value" if len(values) <= MOST_VALUES_OF_AN_AXIS else "median of an eighth"
    panel.plot(middles, medians, color=INK, linewidth=1.3, marker="_", markersize=9, label=label)


def _scale_search_axis(panel: Axes, axis: SearchAxis) -> None:
    """Ticks of one axis of a search along the horizontal axis of a panel."""
    if axis.labels:
        texts = [shorten_label(text, 12) for text in axis.labels]
        crowded = sum(map(len, texts)) + 2 * len(texts) > 24
        if len(texts) <= MOST_VALUES_OF_AN_AXIS:
            panel.set_xticks(range(len(texts)), texts, rotation=40 if crowded else 0)
        panel.set_xlim(-0.5, len(texts) - 0.5)
        return
    if axis.log:
        panel.set_xscale("log")
        low, high = float(axis.positions.min()), float(axis.positions.max())
        panel.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
        subs = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
        # Within less than an order of magnitude the locator would give up on powers.
        ends = FixedLocator([low, high] if high > low else [low])
        panel.xaxis.set_major_locator(LogLocator(subs=subs) if high / low >= DECADE else ends)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    elif len(values := _format_values(axis, 0.15)):
        texts = [f"{value:g}" for value in values]
        every = 2 if sum(map(len, texts)) + 2 * len(texts) > 24 else 1
        panel.set_xticks(values, ["" if index % every else text for index, text in enumerate(texts)])
        panel.margins(x=0.08)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))


@with_style
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
    figure = new_figure(title, " · ".join([subtitle, _search_summary(axes, percent, best)]), body=4.3)
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
    many = len(order) > 200
    for index in order[-2000:]:
        colour = SCORES(norm(percent[index]))
        panel.plot(x, lines[index], color=colour, linewidth=0.6 if many else 1.1, alpha=0.55 if many else 0.8)
    if best is not None:
        panel.plot(x, lines[best], color=VERMILION, linewidth=2.2, marker="o", markersize=4, markevery=[-1])
    for place, axis in enumerate(axes):
        panel.plot([place, place], [-0.04, 1.04], color=LINE, linewidth=1)
        for share, text in _marks(axis):
            # On the axis, so that lines end at the label and none goes through it.
            of_best = best is not None and math.isclose(share, columns[place][best], abs_tol=1e-9)
            panel.annotate(
                text,
                (place, share),
                ha="center",
                va="center",
                fontsize=8,
                color=VERMILION if of_best else INK,
                weight="bold" if of_best else "normal",
                bbox={
                    "facecolor": "white",
                    "edgecolor": LINE,
                    "linewidth": 0.6,
                    "boxstyle": "round,pad=0.25",
                },
                zorder=5,
            )
        group, _, name = axis.name.rpartition(".")
        panel.annotate(shorten_label(name, 18), (place, 1.09), ha="center", weight="bold", fontsize=9)
        panel.annotate(shorten_label(group, 22), (place, 1.16), ha="center", color=MUTED, fontsize=8)
    last = len(axes)
    panel.plot([last, last], [-0.04, 1.04], color=LINE, linewidth=1)
    panel.annotate(measure, (last, 1.09), ha="center", weight="bold", fontsize=9)
    for score in MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(low, high):
        if low <= score <= high:
            where = last, (score - low) / (high - low)
            panel.plot([last, last + 0.015], [where[1]] * 2, color=LINE, linewidth=1)
            text = f"{score:g}%"
            panel.annotate(text, where, (7, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_xlim(-0.35, last + 0.3)
    panel.set_ylim(-0.08, 1.22)
    return finish_layout(figure)


def _shares(axis: SearchAxis) -> Float64s:
    """Positions as shares of the way from the lowest to the highest."""
    places = np.log10(axis.positions) if axis.log else np.asarray(axis.positions, dtype=np.float64)
    low, high = (0.0, len(axis.labels) - 1.0) if axis.labels else (float(places.min()), float(places.max()))
    return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)


def _format_values(axis: SearchAxis, apart: float) -> Float64s:
    """The few values of an axis, where they are at least a share of its length apart; else none."""
    values, firsts = np.unique(axis.positions, return_index=True)
    few = 1 < len(values) <= MOST_TICKED_VALUES
    return values if few and float(np.diff(_shares(axis)[firsts]).min()) >= apart else values[:0]


def _marks(axis: SearchAxis) -> list[tuple[float, str]]:
    """Where values are written along an axis, as shares of it."""
    if axis.labels:
        count = len(axis.labels)
        chosen = range(count) if count <= MOST_VALUES_OF_AN_AXIS else (0, count - 1)
        return [
            (index / (count - 1) if count > 1 else 0.5, shorten_label(axis.labels[index], 10))
            for index in chosen
        ]
    low, high = float(axis.positions.min()), float(axis.positions.max())
    if high <= low:
        return [(0.5, f"{low:g}")]
    if len(values := _format_values(axis, 0.06)):
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
        known[..., np.newaxis], SCORES(norm(np.where(known, values, 0)))[..., :3], to_rgb(MISSING)
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
                edgecolor=VERMILION,
                linewidth=2.2,
                clip_on=False,
                zorder=5,
            )
        )
    texts = [[f"{value:.1f}" if math.isfinite(value) else "–" for value in line] for line in values.tolist()]
    write_cells(axes, colours, texts, best, width)
