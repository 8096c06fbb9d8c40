"""Data sets by format name: official files in, two .npy files per part out, and back for the stand-ins."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.config.schema import Source
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files.arrays import atomic_npy
from pipeline.core.files.images import PARTS, Array, LabelledImages, Part, images_path, labels_path
from pipeline.core.registry import look_up
from pipeline.data.formats import cifar, idx

Shape = Sequence[int]
"""Height, width and channels of an image."""

_IDX_ROLES: Final = ("train_images", "train_labels", "test_images", "test_labels")


Parser = Callable[[Mapping[str, Path], Path, Shape, Source], None]
"""Reads the raw files (by role) into a folder, checking that they are what the source says, of that shape.

Writes train/images.npy, train/labels.npy, test/images.npy and test/labels.npy: uint8 (count, height, width,
channels) and uint8 (count,). Raises FormatError for files that are not as expected, PipelineError for files
that cannot be read or written.
"""


def _parse_idx(files: Mapping[str, Path], destination: Path, image_shape: Shape, source: Source) -> None:
    sets = [(part, *_check_part(files, image_shape, source, part)) for part in PARTS]

    def parse(part: Part, shape: tuple[int, ...], labels: Array) -> None:
        idx.parse_into(files[f"{part}_images"], images_path(destination, part), shape=shape)
        with atomic_npy(labels_path(destination, part), labels.shape, np.uint8) as output:
            output.write_rows(0, labels)

    # Side by side: zlib and the disk let go of the interpreter.
    with ThreadPoolExecutor(len(PARTS)) as pool:
        for job in [pool.submit(parse, *checked) for checked in sets]:
            job.result()


def _check_part(
    files: Mapping[str, Path], image_shape: Shape, source: Source, part: Part
) -> tuple[tuple[int, int, int, int], Array]:
    """The images' shape with a channel axis, and the labels, all that can be checked of them being right."""
    images_file, labels_file = files[f"{part}_images"], files[f"{part}_labels"]
    shape = _check_images(idx.read_header(images_file), images_file, image_shape, part, source.count(part))
    header = idx.read_header(labels_file)
    if header.dtype.kind not in "iu" or header.shape[1:] not in ((), (1,)):
        raise FormatError(
            f"{labels_file}: expected labels as integers (count,), found {_describe_header(header)}"
        )
    if header.shape[0] != shape[0]:
        raise FormatError(
            f"{labels_file}: expected {shape[0]:,} labels for the images of {images_file.name}, "
            f"found {header.shape[0]:,}"
        )
    labels = idx.read(labels_file).reshape(shape[0])
    _check_labels(labels, labels_file, len(source.classes))
    return shape, labels.astype(np.uint8)


def _check_images(
    header: idx.Header, path: Path, image_shape: Shape, part: Part, count: int
) -> tuple[int, int, int, int]:
    """The images' shape with a channel axis."""
    height, width, channels = image_shape
    # Grey images usually have no axis for their one channel.
    shapes = [(height, width, channels)] + [(height, width)] * (channels == 1)
    if header.dtype != np.uint8 or header.shape[1:] not in shapes:
        axes = ", ".join(map(str, shapes[-1]))
        raise FormatError(
            f"{path}: expected images as uint8 (count, {axes}), found {_describe_header(header)}"
        )
    if header.shape[0] != count:
        raise FormatError(f"{path}: expected {count:,} {part} images, found {header.shape[0]:,}")
    return count, height, width, channels


def _check_labels(labels: Array, path: Path, class_count: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= class_count))
    if len(wrong):
        raise FormatError(
            f"{path}: expected labels from 0 to {class_count - 1}, "
            f"found {labels[wrong[0]]} in row {wrong[0]:,}"
        )


def _describe_header(header: idx.Header) -> str:
    return f"{header.dtype} {header.shape}"


def _parse_cifar(variant: cifar.Variant) -> Parser:
    def parse(files: Mapping[str, Path], destination: Path, image_shape: Shape, source: Source) -> None:
        archive = files["archive"]
        if tuple(image_shape) != cifar.IMAGE_SHAPE:
            raise FormatError(
                f"{archive}: expected images of shape {tuple(image_shape)}, "
                f"but those of {variant.title} have {cifar.IMAGE_SHAPE}"
            )
        train, test = (
            cifar.Destination(
                images_path(destination, part), labels_path(destination, part), source.count(part)
            )
            for part in PARTS
        )
        cifar.parse_into(archive, variant, train=train, test=test, class_count=len(source.classes))

    return parse


FORMATS: Final[Mapping[str, Parser]] = {
    "idx": _parse_idx,
    "cifar10": _parse_cifar(cifar.CIFAR10),
    "cifar100": _parse_cifar(cifar.CIFAR100_FINE),
    "cifar100_coarse": _parse_cifar(cifar.CIFAR100_COARSE),
}
"""How to read a data set, by its format's name."""

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    name: _IDX_ROLES if name == "idx" else ("archive",) for name in FORMATS
}
"""The files that each format consists of."""


def check_roles(name: str, roles: Collection[str]) -> None:
    """See that files of these roles are what the format `name` consists of.

    Raises:
        ConfigError: they are not, or there is no such format.
    """
    needed = look_up(ROLES, "format", name)
    if set(roles) != set(needed):
        raise ConfigError(f"format={name}: expected the files {', '.join(needed)}, found {', '.join(roles)}")


def _write_idx(
    files: Mapping[str, Path], train: LabelledImages, test: LabelledImages, class_names: Sequence[str]
) -> None:
    del class_names
    for part, examples in (("train", train), ("test", test)):
        # A single channel has no axis of its own in these files.
        images = examples.images[..., 0] if examples.images.shape[-1] == 1 else examples.images
        idx.write(files[f"{part}_images"], images)
        idx.write(files[f"{part}_labels"], examples.labels)


def _write_cifar10(
    files: Mapping[str, Path], train: LabelledImages, test: LabelledImages, class_names: Sequence[str]
) -> None:
    cifar.write_archive(files["archive"], train.images, train.labels, test.images, test.labels, class_names)


Writer = Callable[[Mapping[str, Path], LabelledImages, LabelledImages, Sequence[str]], None]
"""Writes a training and a test set, with the names of their classes, as raw files by role."""

WRITERS: Final[Mapping[str, Writer]] = {"idx": _write_idx, "cifar10": _write_cifar10}
"""How to write a data set, by its format's name: for the stand-ins."""
