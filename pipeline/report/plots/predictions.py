"""Images with the probabilities that a network gives them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.metrics import Floats
from pipeline.report.plots.gallery import as_colours, check_examples
from pipeline.report.plots.page import (
    clip_text,
    distinct_labels,
    finish_layout,
    format_percent,
    new_figure,
    replace_missing_glyphs,
    shorten_label,
)
from pipeline.report.plots.style import (
    BLUE,
    INK,
    MOST_BARS,
    MOST_LISTED,
    MUTED,
    PALE,
    VERMILION,
    WIDTH,
    Array,
    with_style,
)


@with_style
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
    check_examples(images[: len(known)], class_names, known)
    if (
        not count
        or probabilities.shape != (count, len(class_names))
        or not count == len(names) == len(actual)
    ):
        raise ValueError(
            f"images {images.shape}, probabilities {probabilities.shape}, {len(names)} names: they do not fit"
        )
    class_names = distinct_labels(class_names, 16)
    shown = min(count, MOST_LISTED)
    if shown < count:
        subtitle = f"{subtitle} · the first {shown} of {count:,} images"
    across = 1 if shown == 1 else 2 if shown <= 4 else 3
    down = math.ceil(shown / across)
    bars = min(len(class_names), MOST_BARS)
    body = (0.9 + 0.24 * bars) if across == 1 else (0.55 + 0.14 * bars)
    figure = new_figure(title, subtitle, body=0.3 + down * body, width=WIDTH * (0.8 if across == 1 else 1))
    panels = figure.subplots(down, 2 * across, squeeze=False, width_ratios=[1, 1] * across)
    pictures = as_colours(images[:shown])
    for index in range(down * across):
        row, column = divmod(index, across)
        picture, chart = panels[row, 2 * column : 2 * column + 2]
        picture.set_axis_off()
        if index >= shown:
            chart.set_axis_off()
            continue
        picture.imshow(pictures[index], interpolation="nearest")
        picture.set_anchor("NW")
        head, colour = _describe_verdict(probabilities[index], actual[index], class_names)
        name = clip_text(replace_missing_glyphs(names[index]), (10.0, 9.0, 8.0)[across - 1], 900 / across)
        picture.set_title(f"{name}\n{head}", fontsize=(10.0, 9.0, 8.0)[across - 1], color=colour)
        _draw_bars(chart, probabilities[index], actual[index], class_names, across)
        if index + across >= shown:
            middle = 50 / chart.get_xlim()[1]
            chart.set_xlabel("probability (%)", x=middle, fontsize=(9.0, 8.0, 7.0)[across - 1])
    return finish_layout(figure)


def _describe_verdict(
    probabilities: Floats, actual: int | None, class_names: Sequence[str]
) -> tuple[str, str]:
    """What an image is taken for and what it is, and a colour for that."""
    predicted = int(probabilities.argmax())
    answer = (
        f"{shorten_label(class_names[predicted], 16)} ({format_percent(float(probabilities[predicted]))})"
    )
    if actual is None:
        return answer, INK
    if actual == predicted:
        return f"\u2713 {answer}", BLUE
    return f"\u2717 {answer}, it is {shorten_label(class_names[actual], 16)}", VERMILION


def _draw_bars(
    axes: Axes, probabilities: Floats, actual: int | None, class_names: Sequence[str], across: int
) -> None:
    """Draw one image's probabilities; `across` such panels share the page's width."""
    order = np.arange(len(class_names))
    if len(order) > MOST_BARS:
        order = np.argsort(-probabilities, kind="stable")[:MOST_BARS]
        if actual is not None and actual not in order:
            order[-1] = actual
    predicted = int(probabilities.argmax())
    verdict = BLUE if actual in {None, predicted} else VERMILION
    size = (9.0, 8.0, 7.0)[across - 1]
    room = (17, 13, 10)[across - 1]
    shares = 100 * np.asarray(probabilities, dtype=np.float64)[order]
    special = {predicted: verdict} if actual is None else {actual: BLUE, predicted: verdict}
    places = np.arange(len(order))
    axes.barh(places, shares, height=0.78, color=[special.get(int(one), PALE) for one in order])
    for place, one in zip(places.tolist(), order.tolist(), strict=True):
        share = float(probabilities[one])
        axes.annotate(
            format_percent(share) if share >= 0.001 or one in special else "",
            (100 * share, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=size,
            color=special.get(one, MUTED),
        )
    axes.set_yticks(places, [shorten_label(class_names[one], room) for one in order.tolist()], fontsize=size)
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
