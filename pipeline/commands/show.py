"""show: show images of a data set, the number of images per class, and pixel statistics."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import UsageError
from pipeline.core.paths import Layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.commands.shared.models import Data
    from pipeline.core.files.images import LabelledImages

EXAMPLE = "show --dataset mnist --index 0 1 2 --picture digits.png"

_DEFAULT_COUNT = 60
_MOST_IMAGES = 400
_CHUNK = 2000
_BANDS = {1: ("grey",), 3: ("red", "green", "blue")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help="a name from conf/dataset/")
    parser.add_argument("--source", help="bundled or official (default: as in params.yaml)")
    parser.add_argument(
        "--part", default="train", choices=("train", "test"), help="train (the default) or test"
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
    """Print counts and pixel statistics of the part; list and draw the chosen images.

    Raises:
        UsageError: an index is out of range, or the options contradict each other.
        PipelineError: the data set is not there, or the picture cannot be written.
    """
    import numpy as np

    from pipeline.commands.shared.models import Data
    from pipeline.commands.shared.sources import read_source, say_source
    from pipeline.commands.shared.terminal import check_picture, write
    from pipeline.config.compose import read_dataset

    check_picture(options.picture)
    if options.augment is not None and options.picture is None:
        raise UsageError("--augment: say where to draw it, with --picture FILE.png")
    dataset = read_dataset(layout.conf, options.dataset)
    source = options.source or read_source(layout)
    dataset.source(source)
    data = Data(layout, dataset, source)
    part = data.images(options.part)
    chosen = _choose_images(options.index, options.count, len(part), f"{options.part} part of {data.title}")
    if options.source is None:
        say_source(source)
    labels = np.asarray(part.labels)
    shape = " × ".join(map(str, data.image_shape[:2])) + (" grey" if data.image_shape[2] == 1 else " colour")
    write(f"{data.title}, {options.part} part: {len(part):,} images of {shape} pixels")
    for lines in (_class_lines(labels, data.classes), _pixel_lines(part.images, data.image_shape[2])):
        write()
        for line in lines:
            write(line)
    if options.index is not None:
        write()
        for line in _image_lines(chosen, labels, data.classes):
            write(line)
    if options.picture is not None:
        _draw(options.picture, data, options.part, part, chosen, options.augment)
        write()
        write(f"{options.picture}: {_describe_places(chosen)}")


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


def _class_lines(labels: "NDArray[np.uint8]", classes: Sequence[str]) -> list[str]:
    import numpy as np

    from pipeline.commands.shared.terminal import percent, table

    counts = np.bincount(labels, minlength=len(classes)).tolist()
    rows = [["class", "images", "share"]]
    rows += [
        [name, f"{count:,}", percent(count / len(labels))]
        for name, count in zip(classes, counts, strict=False)
    ]
    return table(rows)


def _pixel_lines(images: "NDArray[np.uint8]", channels: int) -> list[str]:
    """Statistics of the pixels of each channel, exact: from how often each of the 256 levels occurs."""
    import numpy as np

    from pipeline.commands.shared.terminal import percent, table

    levels = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        for channel in range(channels):
            levels[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    value = np.arange(256)
    rows = [["pixels", "lowest", "median", "mean", "highest", "deviation", "of 0", "of 255"]]
    bands = _BANDS.get(channels) or [f"channel {channel}" for channel in range(channels)]
    for band, counts in zip(bands, levels, strict=True):
        total = int(counts.sum())
        present = np.flatnonzero(counts)
        mean = int(counts @ value) / total
        variance = int(counts @ value**2) / total - mean**2
        median = int(np.searchsorted(np.cumsum(counts), (total + 1) // 2))
        rows.append(
            [
                band,
                str(present[0]),
                str(median),
                f"{mean:.2f}",
                str(present[-1]),
                f"{max(variance, 0.0) ** 0.5:.2f}",
                percent(int(counts[0]) / total),
                percent(int(counts[255]) / total),
            ]
        )
    return table(rows)


def _image_lines(chosen: Sequence[int], labels: "NDArray[Any]", classes: Sequence[str]) -> list[str]:
    from pipeline.commands.shared.terminal import table

    return table([["image", "class"], *([str(place), classes[labels[place]]] for place in chosen)], left=(1,))


def _describe_places(chosen: Sequence[int]) -> str:
    if len(chosen) == 1:
        return f"image {chosen[0]}"
    if list(chosen) == list(range(chosen[0], chosen[-1] + 1)):
        return f"images {chosen[0]} to {chosen[-1]}"
    return f"{len(chosen)} images"


def _draw(
    path: Path,
    data: "Data",
    name: str,
    part: "LabelledImages",
    chosen: Sequence[int],
    augment: Sequence[str] | None,
) -> None:
    from pipeline.commands.shared.augmented import add_augmented
    from pipeline.core.files.atomic import write_bytes
    from pipeline.report.plots import gallery, style
    from pipeline.stages.plot import say_missing_glyphs

    say_missing_glyphs(data.classes)
    images, note = part.images[chosen], ""
    if augment is not None:
        images, note = add_augmented(images, data, augment), f", augmented: {' '.join(augment)}"
    figure = gallery.contact_sheet(
        images,
        part.labels[chosen],
        data.classes,
        title=data.title,
        subtitle=f"{name} part, {_describe_places(chosen)}{note}",
    )
    write_bytes(path, style.to_png(figure))
