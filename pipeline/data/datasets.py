"""Data sets by format name: official files in, two .npy files per part out, and back for the stand-ins."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pipeline.config.schema import Source
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files.arrays import map_npy
from pipeline.core.files.images import PARTS, LabelledImages, Part, images_path, labels_path
from pipeline.core.registry import look_up
from pipeline.data.formats import cifar, csv_table, idx, npz, stl10
from pipeline.data.formats.examples import Batch, Reader, Request
from pipeline.data.parts import LabelCoder, as_images, write_part

Shape = Sequence[int]
"""Height, width and channels of an image."""

Files = Mapping[str, Sequence[Path]]
"""Role -> the files that play it, one after the other."""

Parser = Callable[[Files, Path, Shape, Source], dict[Part, int]]
"""Reads the raw files into a folder, checking that they are what the source says, of that shape.

Writes train/images.npy, train/labels.npy, test/images.npy and test/labels.npy: uint8 (count, height, width,
channels) and uint8 (count,); those of the test set with a count of 0 where the data set has none. Returns the
counts. Raises FormatError for files that are not as expected, PipelineError for files that cannot be read or
written.
"""


def _parse_parts(read: Reader, members: Mapping[str, str | list[str]]) -> Parser:
    """A parser of a format in which each part has its own files, or its own members of one."""

    def parse(files: Files, destination: Path, image_shape: Shape, source: Source) -> dict[Part, int]:
        height, width, channels = image_shape
        reading = source.how
        if "archive" in files and not reading.members:
            reading = replace(reading, members=dict(members))
        stored = (width, height, channels) if reading.transpose else (height, width, channels)

        def parse_part(part: Part) -> int:
            shape = (height, width, channels)
            if part == "test" and not source.has_test:
                return write_part(iter(()), destination, part, shape, source)
            count = None if reading.labels else source.count(part)
            with contextlib.closing(
                read(Request(files, part, stored, reading, count, source.classes))
            ) as batches:
                return write_part(batches, destination, part, shape, source)

        # Side by side: zlib and the disk let go of the interpreter.
        with ThreadPoolExecutor(len(PARTS)) as pool:
            jobs = {part: pool.submit(parse_part, part) for part in PARTS}
            return {part: job.result() for part, job in jobs.items()}

    return parse


def _parse_cifar(variant: cifar.Variant) -> Parser:
    def parse(files: Files, destination: Path, image_shape: Shape, source: Source) -> dict[Part, int]:
        (archive,) = files["archive"]
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
        cifar.parse_into(
            archive,
            variant,
            train=train,
            test=test,
            encode=LabelCoder(source).encode,
            adjust=lambda images: as_images(images, source.how, archive),
            may_leave_out=source.how.labels is not None,
        )
        return {part: len(map_npy(labels_path(destination, part))) for part in PARTS}

    return parse


@dataclass(frozen=True)
class Format:
    """How a data set is read.

    Attributes:
        parse: reads all of it.
        roles: of the files of a part, which has its name before each; none where one file holds all.
        optional: of these, the ones that need not be there.
        members: what plays the roles inside one file with the role ``archive``, unless the definition says.
    """

    parse: Parser
    roles: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    members: Mapping[str, str | list[str]] = field(default_factory=dict)


def _format(
    read: Reader,
    roles: tuple[str, ...],
    optional: tuple[str, ...] = (),
    members: Mapping[str, str | list[str]] | None = None,
) -> Format:
    return Format(_parse_parts(read, members or {}), roles, optional, members or {})


def _read_folder(request: Request) -> Generator[Batch, None, None]:
    from pipeline.data.formats import folder  # Pillow is not needed for the others

    return folder.read_part(request)


def _read_parquet(request: Request) -> Generator[Batch, None, None]:
    from pipeline.data.formats import parquet  # an extra

    return parquet.read_part(request)


FORMATS: Final[Mapping[str, Format]] = {
    "idx": _format(idx.read_part, ("_images", "_labels")),
    "cifar10": Format(_parse_cifar(cifar.CIFAR10)),
    "cifar100": Format(_parse_cifar(cifar.CIFAR100_FINE)),
    "cifar100_coarse": Format(_parse_cifar(cifar.CIFAR100_COARSE)),
    "npz": _format(npz.read_part, ("_images", "_labels"), members=npz.MEMBERS),
    "csv": _format(csv_table.read_part, ("",)),
    "folder": _format(_read_folder, ("", "_table"), ("_table",), {"train": "train", "test": "test"}),
    "stl10": Format(_parse_parts(stl10.read_part, {})),
    "parquet": _format(_read_parquet, ("",)),
}
"""How to read a data set, by its format's name."""


def roles_of(name: str, *, has_test: bool = True) -> list[str]:
    """The roles that files of a format have to play between them.

    Raises:
        ConfigError: there is no such format.
    """
    form = look_up(FORMATS, "format", name)
    parts = PARTS if has_test else PARTS[:1]
    roles = [role for role in form.roles if role not in form.optional]
    return [f"{part}{role}" for part in parts for role in roles] or ["archive"]


def check_roles(name: str, source: Source) -> None:
    """See that a source's files and members are what the format `name` consists of.

    Raises:
        ConfigError: they are not, or there is no such format.
    """
    needed = roles_of(name, has_test=source.has_test)
    form = FORMATS[name]
    given = list(source.files)
    nowhere = [] if "archive" in given else sorted(set(source.how.members) - set(given))
    if nowhere:
        raise ConfigError(
            f"reading.members: expected {', '.join(nowhere)} inside a file of the role archive, found the"
            f" files {', '.join(given)}"
        )
    if form.roles and "archive" in given:
        members = dict.fromkeys(source.how.members or form.members)
        given = [role for role in given if role != "archive"] + list(members)
        if not source.how.members:
            given = [role for role in given if role in needed]
    optional = {f"{part}{role}" for part in PARTS for role in form.optional}
    found = set(given) - optional
    if found != set(needed):
        hint = ""
        if source.has_test and form.roles and found == set(roles_of(name, has_test=False)):
            hint = "; where there is no test set, say test_count: 0"
        raise ConfigError(
            f"format={name}: expected the files {', '.join(needed)}, found {', '.join(given)}{hint}"
        )


def parse(name: str, files: Files, destination: Path, image_shape: Shape, source: Source) -> dict[Part, int]:
    """Parse a data set of the format `name`: see `Parser`.

    Raises:
        ConfigError: there is no such format, or it consists of other files.
        FormatError: the files are not as expected.
        PipelineError: a file cannot be read or written.
    """
    check_roles(name, source)
    return FORMATS[name].parse(files, destination, image_shape, source)


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
