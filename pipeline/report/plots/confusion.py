"""The confusion matrix, with the most frequent mistakes beside it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure

from pipeline.report.metrics import Integers
from pipeline.report.plots.cells import write_cells
from pipeline.report.plots.page import distinct_labels, finish_layout, new_figure
from pipeline.report.plots.style import (
    BLUE,
    ERRORS,
    GRID,
    MOST_CELLS_WITH_TEXT,
    MOST_LISTED,
    MUTED,
    TINT,
    with_style,
)

# -------------------------------------------------------------------------------------------- heat maps


@with_style
def confusion(matrix: Integers, class_names: Sequence[str], *, title: str, subtitle: str) -> Figure:
    """The confusion matrix: counts, mistakes coloured by their share of the actual class.

    Up to 20 classes, every cell holds its count and every row ends with the class's recall; beyond that the
    most frequent mistakes are listed instead.

    Args:
        matrix: (actual, predicted) integers, as from `pipeline.report.metrics.confusion_matrix`.
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
    names = distinct_labels(class_names, 16)
    support = matrix.sum(axis=1)
    hits = matrix.diagonal()
    total = int(support.sum())
    shares = 100 * matrix / np.maximum(support, 1)[:, np.newaxis]
    diagonal = np.eye(count, dtype=np.bool_)
    mistakes_only = np.where(diagonal, 0.0, shares)
    norm = Normalize(0, float(mistakes_only.max()) or 1.0)
    colours = ERRORS(norm(mistakes_only))[..., :3]
    # The diagonal keeps out of the errors' colours; its tint follows the recall.
    recall = (hits / np.maximum(support, 1))[:, np.newaxis]
    colours[diagonal] = 1 - (0.2 + 0.8 * recall) * (1 - np.array(to_rgb(TINT)))

    right = f"{hits.sum() / total:.2%} ({hits.sum():,} of {total:,} right)" if total else "no examples"
    figure = new_figure(
        title, f"{subtitle} · accuracy {right}" if total else f"{subtitle} · {right}", body=6.6
    )
    large = count > MOST_CELLS_WITH_TEXT
    axes = figure.subplots()
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class" + " (index)" * large)
    axes.set_ylabel("actual class" + " (index)" * large)
    if not large:
        write_cells(
            axes,
            colours,
            [[f"{value:,}" if value else "" for value in row] for row in matrix.tolist()],
            diagonal,
        )
        crowded = max(len(name) for name in names) * count > 75
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
        axes.grid(which="minor", color=GRID, linewidth=0.8)
        axes.tick_params(which="minor", length=0)
        axes.text(1.012, 1.012, "recall", transform=axes.transAxes, fontsize=8.5, color=MUTED, va="bottom")
        beside = axes.get_yaxis_transform()
        for row, (hit, of) in enumerate(zip(hits.tolist(), support.tolist(), strict=True)):
            share = f"{hit / of:.1%}" if of else "none"
            axes.text(1.012, row, share, transform=beside, fontsize=8.5, color=BLUE, va="center_baseline")
    else:
        _list_mistakes(axes, np.where(diagonal, 0, matrix), names)
    bar = figure.colorbar(
        ScalarMappable(norm, ERRORS), ax=axes, location="bottom", fraction=0.025, pad=0.02, aspect=50
    )
    bar.set_label("mistakes: share of the actual class (%)")
    bar.outline.set_visible(False)
    return finish_layout(figure)


def _list_mistakes(axes: Axes, mistaken: Integers, names: Sequence[str]) -> None:
    """Write the most frequent mistakes beside a matrix that is too large for numbers."""
    count = len(names)
    order = np.argsort(-mistaken, axis=None, kind="stable")[:MOST_LISTED]
    worst = [(int(index) // count, int(index) % count) for index in order]
    axes.text(
        1.02, 1.0, "most frequent mistakes", transform=axes.transAxes, color=MUTED, va="top", fontsize=8.5
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
