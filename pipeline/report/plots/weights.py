"""The weights of the first layer as images."""

import math

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.report.metrics import Floats
from pipeline.report.plots.gallery import paste_tiles, plan_tiling
from pipeline.report.plots.page import draw_page, finish_layout, new_page, text_width, write_at
from pipeline.report.plots.style import MOST_UNITS, MUTED, PAGE_MARGIN, PAGE_WIDTH, SIGNED, with_style


@with_style
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
        before: the weights before training, of the same shape; a row of them is drawn above, on one scale.

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
    if hidden > MOST_UNITS:
        norms = np.square(weights, dtype=np.float64).sum(axis=0)
        chosen = np.argsort(-norms, kind="stable")[:MOST_UNITS]

    def as_tiles(values: Floats, units: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(values[:, units], dtype=np.float64).T.reshape(-1, *image_shape)

    shown = as_tiles(weights, chosen)
    limit = float(np.quantile(np.abs(shown), 0.995)) or 1.0
    norm = Normalize(-limit, limit)
    notes = f"{subtitle} · weights of " + (
        f"the {hidden} hidden unit{'s'[: hidden - 1]}"
        if hidden <= MOST_UNITS
        else f"the {MOST_UNITS} strongest of {hidden:,} hidden units"
    )
    if channels == 3:
        notes += f" · mid grey is 0, full colour ±{limit:.2g}"

    bar_room = 130 if channels == 1 else 0
    tiling = plan_tiling(len(chosen), (height, width), PAGE_WIDTH - 2 * PAGE_MARGIN - bar_room, 1050)
    tall, wide = tiling.extent
    heading, between = 34, 24
    blocks = [(f"{'after training · ' if before is not None else ''}{_describe(weights)}", shown)]
    if before is not None:
        # Small random numbers: a row of them tells as much as all.
        row = chosen[: tiling.columns]
        units = "the same units" if len(row) == len(chosen) else f"{len(row)} of the units"
        blocks.insert(0, (f"before training, {units} · {_describe(before)}", as_tiles(before, row)))
    above = (len(blocks) - 1) * (heading + tiling.tile[0] + between)
    widest = max(wide, *(math.ceil(text_width(text, 8.5)) for text, _ in blocks)) if blocks[1:] else wide
    figure, page, top = new_page(title, notes, (above + heading + tall, widest + bar_room))
    for (text, tiles), down in zip(blocks, (0, above) if above else (0,), strict=True):
        colours = SIGNED(norm(tiles[..., 0]))[..., :3] if channels == 1 else np.clip(norm(tiles), 0, 1)
        paste_tiles(page, np.rint(255 * colours).astype(np.uint8), tiling, top + down + heading, PAGE_MARGIN)
        write_at(figure, PAGE_MARGIN, top + down, text, fontsize=8.5, color=MUTED)
    draw_page(figure, page)
    if bar_room:
        page_height, page_width, _ = page.shape
        bar_height = min(tall, 600)
        where = (
            (PAGE_MARGIN + wide + 24) / page_width,
            1 - (top + above + heading + bar_height) / page_height,
            18 / page_width,
            bar_height / page_height,
        )
        figure.set_layout_engine("none")
        bar = figure.colorbar(ScalarMappable(norm, SIGNED), cax=figure.add_axes(where))
        bar.set_label("weight")
        bar.outline.set_visible(False)
    return finish_layout(figure)


def _describe(weights: Floats) -> str:
    return f"standard deviation {np.std(weights, dtype=np.float64):.3g}"
