"""Pages of images: contact sheets, mistakes, and where two models disagree."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from pipeline.report.metrics import Floats, Integers
from pipeline.report.plots.page import (
    clip_text,
    distinct_labels,
    draw_page,
    finish_layout,
    format_percent,
    new_page,
    replace_missing_glyphs,
    text_width,
    write_at,
)
from pipeline.report.plots.style import (
    BLUE,
    INK,
    MOST_LARGE_TILES,
    MOST_LISTED,
    MUTED,
    PAGE_MARGIN,
    PAGE_WIDTH,
    VERMILION,
    Array,
    Pixels,
    with_style,
)

# ------------------------------------------------------------------------------------ pictures of images


class Tiling(NamedTuple):
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


def plan_tiling(
    count: int, size: tuple[int, int], room: int, highest: int, caption: tuple[int, int] = (0, 0)
) -> Tiling:
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
    return Tiling(scale, columns, rows, tile, (float(down), across), extent)


def paste_tiles(page: Pixels, images: Pixels, tiling: Tiling, top: int, left: int) -> None:
    """Draw images (count, height, width, 3) on a page (height, width, 3), every pixel a crisp square."""
    enlarged = images.repeat(tiling.scale, axis=1).repeat(tiling.scale, axis=2)
    height, width = tiling.tile
    for index, image in enumerate(enlarged):
        down, across = tiling.corner(index)
        page[top + down : top + down + height, left + across : left + across + width] = image


def as_colours(images: Array) -> Pixels:
    """Images (count, height, width, 1 or 3) uint8 as RGB, thinned to at most 450 pixels a side."""
    if images.ndim != 4 or images.shape[3] not in {1, 3} or images.dtype != np.uint8 or 0 in images.shape[1:]:
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
    pictures = as_colours(images)
    if not len(pictures):
        figure, page, top = new_page(title, subtitle, (120, PAGE_WIDTH - 2 * PAGE_MARGIN))
        write_at(figure, PAGE_WIDTH / 2, top + 30, empty, ha="center", color=MUTED, fontsize=11)
        return finish_layout(figure)
    cleaned = [[(replace_missing_glyphs(text), colour) for text, colour in caption] for caption in captions]
    texts = sorted({text for caption in cleaned for text, _ in caption})
    count = len(pictures)
    size = 9.0 if count <= MOST_LISTED else 8.0 if count <= MOST_LARGE_TILES else 7.5
    highest = 1000 if count <= MOST_LARGE_TILES else 2000
    line_height = round(2.4 * size)
    caption_room = min(math.ceil(max(text_width(text, size) for text in texts)), 300)
    fitted = {text: clip_text(text, size, caption_room) for text in texts}
    below = (len(cleaned[0]) * line_height + 4, caption_room)
    tiling = plan_tiling(count, pictures.shape[1:3], PAGE_WIDTH - 2 * PAGE_MARGIN, highest, below)
    figure, page, top = new_page(title, subtitle, tiling.extent)
    paste_tiles(page, pictures, tiling, top, PAGE_MARGIN)
    draw_page(figure, page)
    for index, caption in enumerate(cleaned):
        down, across = tiling.corner(index)
        y = top + down + tiling.tile[0] + 5
        for line, (text, colour) in enumerate(caption):
            write_at(
                figure,
                PAGE_MARGIN + across,
                y + line * line_height,
                fitted[text],
                fontsize=size,
                color=colour,
            )
    return finish_layout(figure)


@with_style
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
    check_examples(images, class_names, labels)
    names = distinct_labels(class_names, 16)
    captions = [[(names[label], INK)] for label in labels.tolist()]
    return _gallery(images, captions, title=title, subtitle=subtitle, empty="no images")


@with_style
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
    check_examples(images, class_names, actual, predicted)
    names = distinct_labels(class_names, 16)
    if not len(images):
        return _gallery(
            images, [], title=title, subtitle=subtitle, empty="no mistakes: every image was recognised"
        )
    captions = [
        [
            (f"\u2717 {names[wrong]} ({format_percent(sure)})", VERMILION),
            (f"\u2713 {names[right]} ({format_percent(unsure)})", BLUE),
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


def check_examples(images: Array, class_names: Sequence[str], *labels: Integers) -> None:
    """Refuse labels that are not one for each image, or that no class name belongs to."""
    for classes in labels:
        if classes.shape != images.shape[:1]:
            raise ValueError(f"labels {classes.shape} do not fit images {images.shape}")
        if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < len(class_names):
            raise ValueError(f"label {classes.min()} to {classes.max()} among {len(class_names)} class names")


@with_style
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
    check_examples(images, class_names, actual, *predicted)
    names = distinct_labels(class_names, 14)
    if not len(images):
        return _gallery(images, [], title=title, subtitle=subtitle, empty="they agree on every image")
    wrong = (predicted[0] != actual) & (predicted[1] != actual)
    captions: list[list[tuple[str, str]]] = []
    for row, right in enumerate(actual.tolist()):
        caption = []
        for letter, answers, shares in zip("AB", predicted, probabilities, strict=True):
            answer = int(answers[row])
            mark, colour = ("\u2713", BLUE) if answer == right else ("\u2717", VERMILION)
            caption.append(
                (f"{letter} {mark} {names[answer]} ({format_percent(float(shares[row]))})", colour)
            )
        if wrong.any():
            caption.append((f"it is {names[right]}" if wrong[row] else "", INK))
        captions.append(caption)
    legend = "what each takes it for, with which probability, \u2713 rightly, \u2717 wrongly"
    return _gallery(images, captions, title=title, subtitle=f"{subtitle} · {legend}", empty="")
