"""What the pictures share: figures with a header, text that fits its room, axes, labels of lines."""

import bisect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.report.metrics import Floats
from pipeline.report.plots.style import (
    DOTS_PER_INCH,
    FONT,
    INK,
    LOG_RATIO,
    MARGIN,
    MUTED,
    PAGE_MARGIN,
    WIDTH,
    Pixels,
)

# ------------------------------------------------------------------------------------- parts of figures


def new_figure(title: str, subtitle: str, body: float, width: float = WIDTH) -> Figure:
    """A figure of `width` by `body` inches, and as much more above as title and subtitle take."""
    lines = [(line, 13.0, "bold", INK) for line in _wrap_text(title, 13.0, width, "bold")]
    lines += [(line, 9.5, "normal", MUTED) for line in _wrap_text(subtitle, 9.5, width)]
    spacing = 1.45 / 72  # inches per point of type
    header = MARGIN + sum(size * spacing for _, size, _, _ in lines) + 0.08
    height = math.ceil((header + body) * DOTS_PER_INCH) / DOTS_PER_INCH
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    below = (0, 0, 1, 1 - header / height)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=0.1, wspace=0.02, hspace=0.02, rect=below)
    )
    y = MARGIN
    for line, size, weight, colour in lines:
        figure.text(
            MARGIN / width, 1 - y / height, line, fontsize=size, weight=weight, color=colour, va="top"
        )
        y += size * spacing
    return figure


def new_page(title: str, subtitle: str, content: tuple[int, int]) -> tuple[Figure, Pixels, int]:
    """A figure without axes for `content` (height, width) pixels below its header.

    Returns the figure, a white image of its size, and the first row below the header.
    """
    width = max(content[1] + 2 * PAGE_MARGIN, 560)
    figure = new_figure(title, subtitle, (content[0] + PAGE_MARGIN) / DOTS_PER_INCH, width / DOTS_PER_INCH)
    height = round(figure.get_figheight() * DOTS_PER_INCH)
    return figure, np.full((height, width, 3), 255, dtype=np.uint8), height - content[0] - PAGE_MARGIN


class _Background(Artist):
    """An image (height, width, 3) of the whole figure, pixel for pixel; `figimage` would resample it."""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.set_zorder(-1)
        self._pixels = pixels

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, from the lowest row up."""
        image = np.full((*self._pixels.shape[:2], 4), 255, dtype=np.uint8)
        image[..., :3] = self._pixels[::-1]
        context = renderer.new_gc()
        renderer.draw_image(context, 0, 0, image)
        context.restore()


def draw_page(figure: Figure, page: Pixels) -> None:
    """Put the image that `new_page` gave, with what was drawn on it, behind everything else of its figure."""
    figure.add_artist(_Background(page))


def write_at(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:  # noqa: ANN401  (matplotlib's text properties)
    """Write with the text's upper left corner at a pixel, counted from the figure's upper left corner."""
    width, height = figure.get_size_inches() * DOTS_PER_INCH
    figure.text(left / width, 1 - top / height, text, va="top", **style)


def finish_layout(figure: Figure) -> Figure:
    """Let the layout settle once, so that drawing changes nothing any more."""
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def choose_loss_scale(axes: Axes, values: Floats) -> None:
    """A logarithmic axis for a loss that falls by orders of magnitude."""
    smallest, largest = float(values.min()), float(values.max())
    if smallest > 0 and largest / smallest > LOG_RATIO:
        make_logarithmic(axes)


def make_logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with about six ticks."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ratio = high / low
    subs = (1.0, 2.0, 5.0) if ratio < 300 else (1.0, 3.0) if ratio < 1e4 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def keep_percent_range(axes: Axes) -> None:
    """No room above 100 % nor below 0 %, but for half of a marker."""
    low, high = axes.get_ylim()
    pad = 0.02 * (high - low)
    axes.set_ylim(max(low, -pad), min(high, 100 + pad))


def label_line_end(axes: Axes, value: float, text: str, colour: str) -> None:
    """Write a text of two lines at the right of axes, at a value's height or as near as the axes go."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    height = float(to_fraction.transform((axes.get_xlim()[1], value))[1])
    axes.annotate(
        text,
        (1, min(max(height, 0.065), 0.935)),
        xycoords="axes fraction",
        xytext=(5, 0),
        textcoords="offset points",
        fontsize=8.5,
        color=colour,
        va="center",
    )


def format_percent(share: float) -> str:
    """A probability as short as can be without claiming 0 or 100 %."""
    percent = 100 * share
    if percent < 0.1:
        return "<0.1%"
    if percent > 99.9:
        return ">99.9%"
    return f"{percent:.0f}%" if 1 <= percent < 99 else f"{percent:.1f}%"


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Pixels that a line of text takes."""
    ruler: Any = RendererAgg(1, 1, DOTS_PER_INCH)  # type: ignore[no-untyped-call]  # matplotlib's stubs leave it out
    font = FontProperties(family=FONT, size=size, weight=weight)
    return float(ruler.get_text_width_height_descent(text, font, ismath=False)[0])


def replace_missing_glyphs(text: str) -> str:
    """One line of text in the font's letters; others become question marks."""
    font = get_font(findfont(FontProperties(family=FONT)))
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in " ".join(text.split()))


def missing_glyphs(names: Sequence[str]) -> list[str]:
    """Those of the names that pictures show with question marks, for the font lacks some of their letters."""
    return [name for name in names if replace_missing_glyphs(name) != " ".join(name.split())]


def shorten_label(text: str, most: int) -> str:
    """At most `most` letters of a text."""
    cleaned = replace_missing_glyphs(text)
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def distinct_labels(names: Sequence[str], most: int) -> list[str]:
    """Each name in at most `most` letters; all with their index before them where two would look alike."""
    shown = [shorten_label(name, most) for name in names]
    if len(set(shown)) == len(shown):
        return shown
    return [shorten_label(f"{index} {name}", most) for index, name in enumerate(names)]


def clip_text(text: str, size: float, room: float, weight: str = "normal") -> str:
    """As much of a text as fits into `room` pixels."""
    if text_width(text, size, weight) <= room:
        return text
    fitting = bisect.bisect_right(
        range(1, len(text)), room, key=lambda letters: text_width(text[:letters] + "…", size, weight)
    )
    return text[:fitting] + "…"


def _wrap_text(text: str, size: float, width: float, weight: str = "normal") -> list[str]:
    """Lines of a text that fit a figure `width` inches wide; a word that does not fit is clipped."""
    room = (width - 2 * MARGIN) * DOTS_PER_INCH
    lines: list[str] = []
    for word in replace_missing_glyphs(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(clip_text(word, size, room, weight))
    return lines
