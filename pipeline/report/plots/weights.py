"""The weights of the first layer as images."""

import math

import numpy as np
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
    if hidden > MOST_UNITS:
        norms = np.square(weights, dtype=np.float64).sum(axis=0)
        chosen = np.argsort(-norms, kind="stable")[:MOST_UNITS]
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
        if hidden <= MOST_UNITS
        else f"the {MOST_UNITS} strongest of {hidden:,} hidden units"
    )
    if channels == 3:
        notes += f" · mid grey is 0, full colour ±{limit:.2g}"

    room = PAGE_WIDTH - 2 * PAGE_MARGIN
    bar_room = 130 if channels == 1 else 0
    between = 48
    panel = (room - bar_room - between * (len(parts) - 1)) // len(parts)
    tiling = plan_tiling(len(chosen), (height, width), panel, 950)
    tall, wide = tiling.extent
    heading = 34
    headings = [f"{name}standard deviation {np.std(part, dtype=np.float64):.3g}" for name, part in parts]
    wide = max(wide, *(math.ceil(text_width(text, 8.5)) for text in headings))
    content = (heading + tall, len(parts) * (wide + between) - between + bar_room)
    figure, page, top = new_page(title, notes, content)
    for index, (text, tiles) in enumerate(zip(headings, shown, strict=True)):
        left = PAGE_MARGIN + index * (wide + between)
        colours = SIGNED(norm(tiles[..., 0]))[..., :3] if channels == 1 else np.clip(norm(tiles), 0, 1)
        paste_tiles(page, np.rint(255 * colours).astype(np.uint8), tiling, top + heading, left)
        write_at(figure, left, top, text, fontsize=8.5, color=MUTED)
    draw_page(figure, page)
    if bar_room:
        page_height, page_width, _ = page.shape
        bar_height = min(tall, 600)
        where = (
            (PAGE_MARGIN + content[1] - bar_room + 24) / page_width,
            1 - (top + heading + bar_height) / page_height,
            18 / page_width,
            bar_height / page_height,
        )
        figure.set_layout_engine("none")
        bar = figure.colorbar(ScalarMappable(norm, SIGNED), cax=figure.add_axes(where))
        bar.set_label("weight")
        bar.outline.set_visible(False)
    return finish_layout(figure)
