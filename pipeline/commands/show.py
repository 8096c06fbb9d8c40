"""show: show what is in a data set: classes, pixels, duplicates, and images of it."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import UsageError
from pipeline.core.paths import Layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pipeline.commands.shared.models import Data
    from pipeline.core.files.images import LabelledImages, Part
    from pipeline.report.card import Card, Repeats

EXAMPLE = "show --dataset mnist --card card.png"

_DEFAULT_COUNT = 60
_MOST_IMAGES = 400
_SOON_READ = 200_000  # images; more take long enough for a progress bar
_BANDS = {1: ("grey",), 3: ("red", "green", "blue")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help="a name from conf/dataset/")
    parser.add_argument("--source", help="bundled, official or local (default: as in params.yaml)")
    parser.add_argument(
        "--card", type=Path, metavar="FILE.png", help="draw the classes, the pixels and the duplicates"
    )
    parser.add_argument(
        "--part",
        default="train",
        choices=("train", "test"),
        help="of which --index and --picture show images: train (the default) or test",
    )
    parser.add_argument(
        "--index", type=int, nargs="+", metavar="I", help="which images, as their place in the file, from 0"
    )
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"so many from the first one on, or from the one --index on (default {_DEFAULT_COUNT})",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw these images with their classes into FILE.png"
    )
    parser.add_argument(
        "--augment",
        nargs="+",
        metavar=("NAME", "KEY=VALUE"),
        help="draw what training would make of each image beside it: a name from conf/augment/, and settings",
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the data card; list and draw the chosen images.

    Raises:
        UsageError: an index is out of range, or the options contradict each other.
        PipelineError: the data set is not there, or a picture cannot be written.
    """
    import numpy as np

    from pipeline.commands.shared.models import Data
    from pipeline.commands.shared.sources import read_source, say_source
    from pipeline.commands.shared.terminal import check_picture, write
    from pipeline.config.compose import read_dataset
    from pipeline.core.files.images import PARTS
    from pipeline.core.progress import Progress, progress
    from pipeline.report import card

    check_picture(options.picture)
    if options.augment is not None and options.picture is None:
        raise UsageError("--augment: say where to draw it, with --picture FILE.png")
    check_picture(options.card, option="--card")
    dataset = read_dataset(layout.conf, options.dataset)
    source = options.source or read_source(layout)
    dataset.source(source)
    data = Data(layout, dataset, source)
    parts = {name: data.images(name) for name in PARTS if name == "train" or dataset.source(source).has_test}
    if options.part not in parts:
        raise UsageError(
            f"--part {options.part}: {data.title} has no test set; the split takes one from train"
        )
    part = parts[options.part]
    chosen = _choose_images(options.index, options.count, len(part), f"{options.part} part of {data.title}")
    if options.source is None:
        say_source(source)
    total = sum(map(len, parts.values()))
    show = progress if total > _SOON_READ else Progress
    with show(total, options.dataset, "images") as bar:
        described = card.describe(parts, len(data.classes), bar.advance)
    shape = " × ".join(map(str, data.image_shape[:2])) + (" grey" if data.image_shape[2] == 1 else " colour")
    counts = " and ".join(f"{len(images):,} {name}" for name, images in parts.items())
    write(f"{data.title}: {counts} images of {shape} pixels")
    labels = {name: np.asarray(images.labels) for name, images in parts.items()}
    for lines in (
        _class_lines(described, data.classes),
        _pixel_lines(described, data.image_shape[2]),
        _repeat_lines(described),
        _warnings(described, labels, data.classes),
    ):
        for line in ["", *lines] if lines else ():
            write(line)
    if options.index is not None:
        write()
        for line in _image_lines(chosen, labels[options.part], data.classes):
            write(line)
    if options.card is not None:
        _save(options.card, _draw_card(data, parts, described), data.classes, "the data card")
    if options.picture is not None:
        figure = _draw_images(data, options.part, part, chosen, options.augment)
        _save(options.picture, figure, data.classes, _describe_places(chosen))


def _choose_images(index: Sequence[int] | None, count: int | None, total: int, where: str) -> list[int]:
    """The places of the images that --index and --count ask for."""
    for place in index or ():
        if not 0 <= place < total:
            raise UsageError(f"--index {place}: the {where} has images 0 to {total - 1}")
    if count is not None and count < 1:
        raise UsageError(f"--count {count}: expected 1 or more")
    if count is not None and index is not None and len(index) > 1:
        raise UsageError("--count goes with a single --index, or with none")
    if index is not None and count is None:
        chosen = list(index)
    else:
        first = index[0] if index else 0
        chosen = list(range(first, min(first + (count or _DEFAULT_COUNT), total)))
    if len(chosen) > _MOST_IMAGES:
        raise UsageError(f"{len(chosen):,} images are too many to look at: at most {_MOST_IMAGES}")
    return chosen


def _class_lines(card: "Card", classes: Sequence[str]) -> list[str]:
    from pipeline.commands.shared.terminal import percent, table

    rows = [["class", *(cell for name in card.parts for cell in (name, "share"))]]
    rows += [
        [
            title,
            *(
                cell
                for part in card.parts.values()
                for cell in (f"{part.class_counts[label]:,}", percent(part.class_counts[label] / len(part)))
            ),
        ]
        for label, title in enumerate(classes)
    ]
    return table(rows)


def _pixel_lines(card: "Card", channels: int) -> list[str]:
    """Statistics of the pixels of each channel, exact: from how often each of the 256 levels occurs."""
    import numpy as np

    from pipeline.commands.shared.terminal import percent, table

    value = np.arange(256)
    rows = [["pixels", "lowest", "median", "mean", "highest", "deviation", "of 0", "of 255"]]
    bands = _BANDS.get(channels) or [f"channel {channel}" for channel in range(channels)]
    for name, part in card.parts.items():
        for band, counts in zip(bands, part.levels, strict=True):
            total = int(counts.sum())
            present = np.flatnonzero(counts)
            mean = int(counts @ value) / total
            variance = int(counts @ value**2) / total - mean**2
            median = int(np.searchsorted(np.cumsum(counts), (total + 1) // 2))
            rows.append(
                [
                    f"{name} {band}",
                    str(present[0]),
                    str(median),
                    f"{mean:.2f}",
                    str(present[-1]),
                    f"{max(variance, 0.0) ** 0.5:.2f}",
                    percent(int(counts[0]) / total),
                    percent(int(counts[255]) / total),
                ]
            )
    lines = table(rows)
    for name, part in card.parts.items():
        if constant := int(part.constant.sum()):
            lines.append(f"{constant} of {part.constant.size} pixels are the same in every {name} image")
    return lines


def _repeat_lines(card: "Card") -> list[str]:
    from pipeline.commands.shared.terminal import table

    rows = [["duplicates", "copies", "look alike"]]
    for (earlier, later), repeats in card.repeats.items():
        rows.append(
            [
                f"{later} images like an earlier one"
                if earlier == later
                else f"{later} images like a {earlier} image",
                f"{len(repeats.copies):,}",
                f"{len(repeats.alike):,}",
            ]
        )
    return table(rows)


def _warnings(card: "Card", labels: Mapping["Part", "NDArray[Any]"], classes: Sequence[str]) -> list[str]:
    """What to know before a figure is trusted, a line each."""
    import numpy as np

    told = []
    for name, part in card.parts.items():
        if missing := [title for title, count in zip(classes, part.class_counts, strict=True) if not count]:
            told.append(f"no {name} image is of class {', '.join(missing[:5])}{'…' * (len(missing) > 5)}")
        if blank := int(part.single_shade.sum()):
            first = int(np.flatnonzero(part.single_shade)[0])
            told.append(f"{name} images of a single colour: {blank:,}, the first is image {first}")
    for (earlier, later), repeats in card.repeats.items():
        different = labels[earlier][repeats.copies[:, 0]] != labels[later][repeats.copies[:, 1]]
        if different.any():
            one, other = repeats.copies[different][0].tolist()
            told.append(
                f"copies with another label: {int(different.sum()):,}; {earlier} image {one}"
                f" is {classes[labels[earlier][one]]}, {later} image {other} {classes[labels[later][other]]}"
            )
        if "test" not in card.parts and len(repeats.copies):
            told.append(
                f"leakage: {len(repeats.copies):,} train images are copies of others, and the split, which"
                " takes the test part from them, may divide these"
            )
        if earlier != later:
            told += _leakage(repeats, labels[later], classes)
    return [f"warning: {line}" for line in told]


def _leakage(repeats: "Repeats", labels: "NDArray[Any]", classes: Sequence[str]) -> Iterator[str]:
    """What test images with these labels owe to the train part."""
    import numpy as np

    from pipeline.commands.shared.terminal import percent

    count, copies, alike = len(labels), len(repeats.copies), len(repeats.alike)
    if copies:
        yield (
            f"leakage: {copies:,} of {count:,} test images ({percent(copies / count)}) are train images, too;"
            " the test accuracy is partly memory"
        )
    if alike:
        which = np.bincount(labels[repeats.alike[:, 1]])
        yield (
            f"possible leakage: {alike:,} of {count:,} test images ({percent(alike / count)}) look like a"
            f" train image, {int(which.max()):,} of them of class {classes[int(which.argmax())]};"
            " --card shows whether they are copies or plain shapes"
        )


def _image_lines(chosen: Sequence[int], labels: "NDArray[Any]", classes: Sequence[str]) -> list[str]:
    from pipeline.commands.shared.terminal import table

    return table([["image", "class"], *([str(place), classes[labels[place]]] for place in chosen)], left=(1,))


def _describe_places(chosen: Sequence[int]) -> str:
    if len(chosen) == 1:
        return f"image {chosen[0]}"
    if list(chosen) == list(range(chosen[0], chosen[-1] + 1)):
        return f"images {chosen[0]} to {chosen[-1]}"
    return f"{len(chosen)} images"


def _draw_images(
    data: "Data", name: str, part: "LabelledImages", chosen: Sequence[int], augment: Sequence[str] | None
) -> "Figure":
    from pipeline.commands.shared.augmented import add_augmented
    from pipeline.report.plots import gallery

    images, note = part.images[chosen], ""
    if augment is not None:
        images, note = add_augmented(images, data, augment), f", augmented: {' '.join(augment)}"
    return gallery.contact_sheet(
        images,
        part.labels[chosen],
        data.classes,
        title=data.title,
        subtitle=f"{name} part, {_describe_places(chosen)}{note}",
    )


def _draw_card(data: "Data", parts: Mapping["Part", "LabelledImages"], card: "Card") -> "Figure":
    from pipeline.report.plots import card as plots

    return plots.data_card(card, parts, data.classes, title=data.title)


def _save(path: Path, figure: "Figure", classes: Sequence[str], told: str) -> None:
    from pipeline.commands.shared.terminal import save_picture, write

    save_picture(path, figure, classes)
    write()
    write(f"{path}: {told}")
