"""The data card's picture: the mean image of each class, the pixels, test images that are train images."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.core.files.images import LabelledImages, Part
from pipeline.report.card import Card
from pipeline.report.plots.gallery import Tiling, as_colours, paste_tiles, plan_tiling
from pipeline.report.plots.page import (
    clip_text,
    distinct_labels,
    draw_page,
    finish_layout,
    new_page,
    write_at,
)
from pipeline.report.plots.style import (
    BLUE,
    INK,
    MISSING,
    MOST_LARGE_TILES,
    MUTED,
    PAGE_MARGIN,
    PAGE_WIDTH,
    VERMILION,
    Array,
    Pixels,
    with_style,
)

_MOST_PAIRS: Final = 24
_ROOM: Final = PAGE_WIDTH - 2 * PAGE_MARGIN
_BAR: Final = 5  # pixels
_HEADING: Final = 52  # pixels, of two lines
_BETWEEN: Final = 22  # pixels
_SIZE: Final = 8.0
_LINE: Final = round(2.4 * _SIZE)  # pixels


class _Section(NamedTuple):
    """Tiles under a heading, each with lines of (text, colour) and bars of (share, colour) below it."""

    heading: str
    legend: str
    tiles: Pixels  # (count, height, width, 3)
    captions: Sequence[Sequence[tuple[str, str]]]
    bars: Sequence[Sequence[tuple[float, str]]]
    tiling: Tiling

    @property
    def height(self) -> int:
        return _HEADING + (self.tiling.extent[0] if len(self.tiles) else 0)


def _section(
    heading: str,
    legend: str,
    tiles: Array,
    captions: Sequence[Sequence[tuple[str, str]]],
    bars: Sequence[Sequence[tuple[float, str]]] = (),
    highest: int = 800,
    caption_width: int = 118,
) -> _Section:
    colours = as_colours(tiles)
    lines, rows = (max(map(len, each), default=0) for each in (captions, bars))
    below = (lines * _LINE + rows * (_BAR + 2) + 8, caption_width)
    tiling = plan_tiling(max(1, len(tiles)), colours.shape[1:3], _ROOM, highest, below)
    return _Section(heading, legend, colours, captions, bars, tiling)


@with_style
def data_card(
    card: Card, parts: Mapping[Part, LabelledImages], class_names: Sequence[str], *, title: str
) -> Figure:
    """What is in a data set, on a page.

    Args:
        card: from `pipeline.report.card.describe`.
        parts: the images that it describes.
        class_names: one per class.
        title: which data set.

    Returns:
        A figure as high as it has to be.
    """
    names = distinct_labels(class_names, 16)
    sections = [_classes(card, names), _pixels(card)]
    if "test" in card.parts:
        sections.append(_repeats(card, parts, names))
    shape = " × ".join(map(str, parts["train"].images.shape[1:3]))
    counts = " and ".join(f"{len(part):,} {name} images" for name, part in card.parts.items())
    height = sum(section.height + _BETWEEN for section in sections) - _BETWEEN
    figure, page, top = new_page(title, f"{counts} of {shape} pixels", (height, _ROOM))
    for section in sections:
        write_at(figure, PAGE_MARGIN, top, section.heading, fontsize=9.5, weight="bold", color=INK)
        write_at(figure, PAGE_MARGIN, top + 24, section.legend, fontsize=_SIZE, color=MUTED)
        if len(section.tiles):
            _draw(figure, page, section, top + _HEADING)
        top += section.height + _BETWEEN
    draw_page(figure, page)
    return finish_layout(figure)


def _draw(figure: Figure, page: Pixels, section: _Section, top: int) -> None:
    tiling = section.tiling
    paste_tiles(page, section.tiles, tiling, top, PAGE_MARGIN)
    for index, caption in enumerate(section.captions):
        down, across = tiling.corner(index)
        y, left = top + down + tiling.tile[0] + 4, PAGE_MARGIN + across
        for share, colour in section.bars[index] if section.bars else ():
            for fraction, shade in ((1.0, MISSING), (share, colour)):
                width = round(fraction * tiling.tile[1])
                page[y : y + _BAR, left : left + width] = np.round(255 * np.array(to_rgb(shade)))
            y += _BAR + 2
        room = tiling.pitch[1] - 8 if tiling.columns > 1 else _ROOM
        for text, colour in caption:
            write_at(figure, left, y, clip_text(text, _SIZE, room), fontsize=_SIZE, color=colour)
            y += _LINE


def _classes(card: Card, names: Sequence[str]) -> _Section:
    """The mean image of each class, and how many there are in each part."""
    train = card.parts["train"]
    means = np.round(train.class_means).astype(np.uint8)
    colours = {"train": BLUE, "test": VERMILION}
    captions: list[list[tuple[str, str]]] = []
    for label, name in enumerate(names):
        counts = [f"{part.class_counts[label]:,}" for part in card.parts.values()]
        captions.append(
            [(name, INK)] + ([(" · ".join(counts), MUTED)] if len(names) <= MOST_LARGE_TILES else [])
        )
    bars = [
        [
            (float(part.class_counts[label] / part.class_counts.max()), colours[part_name])
            for part_name, part in card.parts.items()
        ]
        for label in range(len(names))
    ]
    told = " · ".join(
        f"{shade}: {name} images (full bar: {part.class_counts.max():,})"
        for shade, (name, part) in zip(("blue", "orange"), card.parts.items(), strict=False)
    )
    width = 118 if len(names) <= MOST_LARGE_TILES else 80
    return _section(
        "Mean train image of each class, and number of images",
        told,
        means,
        captions,
        bars,
        caption_width=width,
    )


def _pixels(card: Card) -> _Section:
    """The mean of all images of each part, and where all are the same."""
    tiles, captions = [], []
    for name, part in card.parts.items():
        mean = np.average(part.class_means, axis=0, weights=part.class_counts)
        tiles.append(as_colours(np.round(mean).astype(np.uint8)[None])[0])
        captions.append([(f"mean of {name}", INK)])
    found = any(part.constant.any() for part in card.parts.values())
    for name, part in card.parts.items() if found else ():
        constant = np.where(part.constant[..., None], np.array(to_rgb(VERMILION)), np.array(to_rgb(MISSING)))
        tiles.append(as_colours(np.round(255 * constant).astype(np.uint8)[None])[0])
        told = f"{int(part.constant.sum()):,} of {part.constant.size:,} in {name}"
        captions.append([(told, INK)])
    return _section(
        "Mean of all images, and constant pixels",
        "orange: the pixel is the same in every image" if found else "no pixel is the same in every image",
        np.stack(tiles),
        captions,
        highest=260,
        caption_width=160,
    )


def _repeats(card: Card, parts: Mapping[Part, LabelledImages], names: Sequence[str]) -> _Section:
    """Test images beside the train images that they equal or look like."""
    repeats = card.repeats["train", "test"]
    found = np.concatenate([repeats.copies, repeats.alike])
    # The copies, and of the others some from everywhere.
    copies = repeats.copies[:_MOST_PAIRS]
    others = repeats.alike[
        np.unique(np.linspace(0, len(repeats.alike) - 1, _MOST_PAIRS - len(copies)).round().astype(int))
        if len(repeats.alike)
        else []
    ]
    pairs = np.concatenate([copies, others])
    sides = [
        as_colours(images[pairs[:, side]])
        for side, images in enumerate((parts["train"].images, parts["test"].images))
    ]
    gap = np.full((*sides[0].shape[:2], 1, 3), 255, np.uint8)
    tiles = np.concatenate([sides[0], gap, sides[1]], axis=2)
    captions = []
    for index, (one, other) in enumerate(pairs.tolist()):
        first, second = int(parts["train"].labels[one]), int(parts["test"].labels[other])
        which = (names[first], INK) if first == second else (f"{names[first]} ≠ {names[second]}", VERMILION)
        captions.append([(f"{'=' if index < len(repeats.copies) else '≈'} {one} | {other}", MUTED), which])
    shown = f" · {len(pairs)} of them here" if len(pairs) < len(found) else ""
    return _section(
        f"Test images that are in the train part: {len(repeats.copies):,}, that look like one of it:"
        f" {len(repeats.alike):,}",
        f"left train, right test; = the same pixels, ≈ nearly the same{shown}"
        if len(found)
        else "none found",
        tiles,
        captions,
        highest=700,
        caption_width=128,
    )
