"""The style of all pictures, and how a figure becomes a PNG.

A picture's bytes depend on its data alone: the style is set here, whatever the user's own matplotlib
settings, the font is the one that matplotlib brings along, and the file holds neither time nor version.
Only `matplotlib.figure` and the Agg canvas are imported; pyplot is slow to load and keeps global state.
"""

import functools
import io
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, ParamSpec, TypeAlias, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report.plots.settings import DEFAULTS

Array: TypeAlias = npt.NDArray[Any]
Pixels: TypeAlias = npt.NDArray[np.uint8]

P = ParamSpec("P")
R = TypeVar("R")

DOTS_PER_INCH: Final = 150
WIDTH: Final = 8.0  # inches: 1200 pixels
MARGIN: Final = 0.14  # inches
PAGE_WIDTH: Final = round(WIDTH * DOTS_PER_INCH)  # pixels
PAGE_MARGIN: Final = round(MARGIN * DOTS_PER_INCH)  # pixels

# Blue and vermilion of Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
INK: Final = "#1F2328"
MUTED: Final = "#57606A"
TINT: Final = "#9CC4E0"
LINE: Final = "#8C959F"
PALE: Final = "#B6C2CF"
GRID: Final = "#E4E7EB"
MISSING: Final = "#EDEFF2"

FONT: Final = "DejaVu Sans"
_STYLE: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "font.family": [FONT],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    # A class may be called "$".
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}

ERRORS: Final = LinearSegmentedColormap.from_list("errors", ["#FFFFFF", "#F6C9A3", VERMILION, "#7A3300"])
SCORES: Final = LinearSegmentedColormap.from_list("scores", ["#F3F7FB", TINT, BLUE, "#003A5D"])
SIGNED: Final = LinearSegmentedColormap.from_list(
    "signed", ["#003A5D", BLUE, TINT, "#FFFFFF", "#F6C9A3", VERMILION, "#7A3300"]
)

# Past these sizes numbers no longer fit, or no longer help.
MOST_CELLS_WITH_TEXT: Final = 20
MOST_UNITS: Final = 100
MOST_LARGE_TILES: Final = 60
MOST_MARKED_EPOCHS: Final = 25
MOST_LISTED: Final = 12
FEW_EXAMPLES: Final = 30  # of fewer a share says little
MOST_BARS: Final = 10
MOST_VALUES_OF_AN_AXIS: Final = 12
MOST_TICKED_VALUES: Final = 6
DECADE: Final = 10.0
LOG_RATIO: Final = 30.0  # a loss that falls by more than this is drawn on a logarithmic axis


def with_style(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` under this module's style, and put the caller's back."""

    @functools.wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        settings: Any = {**DEFAULTS, **_STYLE}  # matplotlib's types want each name spelled out
        with mpl.rc_context(settings):
            return function(*args, **kwargs)

    return styled


# ---------------------------------------------------------------------------------------------- output


@with_style
def to_png(figure: Figure) -> bytes:
    """Draw a figure as PNG: the same bytes for the same figure, on every machine and every time.

    Args:
        figure: from a function of this module.

    Returns:
        The file's bytes, 8-bit RGB, without any text, time or version.
    """
    # The canvas that the layout was made on knows the size of every text.
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's stubs leave it out
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # the same
    picture = Image.fromarray(pixels).convert("RGB")
    stream = io.BytesIO()
    # zlib builds search for matches in ways of their own, some by CPU type; run lengths leave no choice.
    picture.save(stream, format="PNG", compress_type=zlib.Z_RLE)
    return stream.getvalue()


def save(figure: Figure, stream: IO[bytes]) -> None:
    """Write a figure as PNG (see `to_png`) to an open binary stream."""
    stream.write(to_png(figure))
