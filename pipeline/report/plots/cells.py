"""Numbers in the cells of a heat map."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from pipeline.report.metrics import Floats
from pipeline.report.plots.style import INK


def write_cells(
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
                    color=INK if bright[row, column] > 0.43 else "white",  # about equal contrast
                    weight="bold" if bold[row, column] else "normal",
                    in_layout=False,
                )
