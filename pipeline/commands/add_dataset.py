"""add-dataset: look at image files, say what they are, and write a definition of them to conf/dataset/."""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import ConfigError, FetchError, FormatError, UsageError
from pipeline.core.paths import Layout

if TYPE_CHECKING:
    from pipeline.commands.shared.discovery import Found
    from pipeline.config.schema import Dataset
    from pipeline.core.files.images import LabelledImages, Part
    from pipeline.report.card import Card

EXAMPLE = "add-dataset ../leaves --name leaves"

_FEW = 10_000  # images, with which ten epochs are few steps
_DARK = 64
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Look at a file or folder of labelled images (idx, .npz, CSV, Parquet, CIFAR's and STL-10's archives,"
        " pictures in a folder for each class or with a CSV of labels), say what it is and what is odd about"
        " it, and write conf/dataset/NAME.yaml."
        " The files stay where they are; conf/local.yaml says where, and DVC sees when they change."
    )
    parser.add_argument("place", metavar="PATH|URL", help="a file or folder, or the https URL of a file")
    parser.add_argument("--name", metavar="NAME", help="of the data set (default: after the file or folder)")
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar=("HEIGHT", "WIDTH", "CHANNELS"),
        help="of the images, where pictures are to have another size or a CSV's are no squares",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the definition and write nothing")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Describe the files and write their definition.

    Raises:
        UsageError: the name is taken or not a plain one, or the shape cannot be one.
        FormatError: the files are nothing that can be read.
        FetchError: the URL cannot be downloaded.
        PipelineError: a file cannot be read or written.
    """
    from pipeline.commands.shared.discovery import discover
    from pipeline.commands.shared.terminal import write, write_lines
    from pipeline.core.files.atomic import write_text

    is_remote = bool(_SCHEME.match(options.place))
    if is_remote:
        _check_url(options.place)
    name = _choose_name(layout, options.place, options.name)
    shape = _check_shape(options.shape)
    scratch = layout.root / "runs"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="add-dataset-", dir=scratch) as temporary:
        # A link stays a link.
        place = Path(os.path.abspath(options.place))  # noqa: PTH100
        if is_remote:
            place = _download(options.place, Path(temporary))
        found = discover(place, shape)
        classes = found.classes or _known_classes(layout, found.format)
        text = _definition(name, found, classes, options.place if is_remote else None)
        dataset = _check(text, name)
        parts = _parse(found, dataset, Path(temporary) / "parsed")
        for line in _describe(options.place, found, classes, parts):
            write(line)
        few = len(parts["train"]) < _FEW
    if options.dry_run:
        write()
        write_lines(text.rstrip("\n"))
        return
    target = layout.conf / "dataset" / f"{name}.yaml"
    source = "official"
    if not is_remote:
        source = "local"
        _note_place(layout, name, _folder_of(found, place))
    write_text(target, text)
    write()
    write(f"{target.relative_to(layout.root)} is written; fill in its title, licence and citation.")
    write("Next:")
    write(f"  pipeline fetch {name} --source {source} && pipeline parse {name} --source {source}")
    split = "" if found.has_test else " split=stratified_60_20_20"
    epochs = " training.epochs=50" if few else ""
    write(f"  pipeline train dataset={name} source={source}{split} optimizer=adam{epochs}")
    write(f"For `dvc repro`, add {name} to `datasets` in params.yaml, and an experiment (docs/data.md).")


def _choose_name(layout: Layout, place: str, given: str | None) -> str:
    from pipeline.config.checks import NAME, PLAIN_NAME

    name = given
    if name is None:
        last = _name_in(place) if _SCHEME.match(place) else Path(os.path.abspath(place)).name  # noqa: PTH100  (as above)
        stem = last.partition(".")[0]
        name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--name {name}: expected {PLAIN_NAME}" + ("" if given else "; give one with --name")
        )
    if (layout.conf / "dataset" / f"{name}.yaml").exists():
        raise UsageError(
            f"conf/dataset/{name}.yaml exists already: give another --name, or remove it to describe the"
            " files anew (changed files alone are noted by `dvc repro`, or pipeline describe)"
        )
    return name


def _check_shape(given: Sequence[int] | None) -> tuple[int, int, int] | None:
    if given is None:
        return None
    height, width, channels = given
    if min(height, width) < 1 or channels not in {1, 3}:
        raise UsageError(
            f"--shape {height} {width} {channels}: expected height and width in pixels, and 1 (grey) or 3"
            " (colour) channels"
        )
    return height, width, channels


def _name_in(url: str) -> str:
    """The name of the file that a URL leads to; empty where it leads to none."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _check_url(url: str) -> None:
    if urlsplit(url).scheme.lower() != "https" or not _name_in(url):
        raise UsageError(f"{url}: expected the https URL of a file, such as https://example.org/leaves.zip")


def _download(url: str, folder: Path) -> Path:
    """The file at a URL, in a folder.

    Raises:
        FetchError: it cannot be had.
    """
    import requests

    from pipeline.core.files.atomic import atomic_write
    from pipeline.core.progress import BYTES, progress
    from pipeline.data.download.http import Limits, MirrorError, exchange

    name = _name_in(url)
    try:
        with requests.Session() as session, exchange(session, url, {}, Limits()) as answer:
            if answer.status != requests.codes.ok or answer.is_page:
                told = "a web page instead of a file" if answer.is_page else answer.status_text
                raise FetchError(f"{url}: {told}; is it the address of the file itself?")
            with atomic_write(folder / name) as file, progress(answer.length or 0, name, BYTES) as bar:
                while piece := answer.read(1 << 20):
                    file.write(piece)
                    bar.advance(len(piece))
    except MirrorError as error:
        raise FetchError(f"{url}: {error.text}") from None
    return folder / name


# ------------------------------------------------------------------------------------------- definition


def _definition(name: str, found: "Found", classes: Sequence[str], url: str | None) -> str:
    """The text of conf/dataset/NAME.yaml."""
    from pipeline.data import local

    files = []
    for role, paths in found.files.items():
        files.append(f"      {role}:")
        for path in paths:
            file_name = path.name + (local.SUFFIX if path.is_dir() else "")
            item = [f"name: {json.dumps(file_name, ensure_ascii=False)}"]
            item += [f"bytes: {path.stat().st_size}"] if url else []
            item.append(f"sha256: {local.checksum(path)}")
            indents = ["        - ", "          "] if len(paths) > 1 else ["        "]
            files += [f"{indents[min(line, len(indents) - 1)]}{text}" for line, text in enumerate(item)]
    height, width, channels = found.image_shape
    lines = [
        f"name: {name}",
        f"format: {found.format}",
        f"image_shape: [{height}, {width}, {channels}] # height, width, channels",
        "licence: unknown",
        "citation: none",
        "sources:",
        *(["  official:"] if url else ["  local: &local"]),
        f"    title: {name}",
        f"    classes: {json.dumps(classes, ensure_ascii=False)}",
        *([] if found.has_test else ["    test_count: 0 # the split takes a test part from the train set"]),
        *([f"    mirrors: [{json.dumps(url)}]"] if url else ["    local: true # conf/local.yaml says where"]),
        "    files:",
        *files,
    ]
    if found.reading:
        lines.append("    reading:")
        lines += [
            f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.reading.items()
        ]
    if not url:
        lines += [
            "  # The same, whichever source params.yaml selects:",
            "  bundled: *local",
            "  official: *local",
        ]
    return "\n".join(lines) + "\n"


def _known_classes(layout: Layout, form: str) -> list[str]:
    """Of a format whose files do not name their classes: those of the data set that it is named after."""
    from pipeline.config.compose import read_dataset

    return read_dataset(layout.conf, form).source("official").classes


def _check(text: str, name: str) -> "Dataset":
    """The definition as the stages read it."""
    from pipeline.config.compose import read_dataset
    from pipeline.core.files.atomic import write_text

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset" / f"{name}.yaml"
        write_text(path, text)
        return read_dataset(Path(folder), name)


def _parse(found: "Found", dataset: "Dataset", folder: Path) -> "dict[Part, LabelledImages]":
    """The parts as the stages would parse them, in a folder: so it is seen that the files fit together."""
    from pipeline.core.files.images import PARTS, load
    from pipeline.data import datasets, local

    files = {role: list(paths) for role, paths in found.files.items()}
    packed, origin = folder / "packed.tar", next(iter(found.files.values()))[0]
    if origin.is_dir():  # as fetch will pack it
        files = {role: [packed] for role in files}
        local.copy(origin, packed)
    source = next(iter(dataset.sources.values()))
    try:
        datasets.parse(dataset.format, files, folder, dataset.image_shape, source)
    except FormatError as error:
        raise FormatError(str(error).replace(str(packed), str(origin))) from None
    return {name: load(folder, name) for name in (PARTS if found.has_test else PARTS[:1])}


def _describe(
    place: str, found: "Found", classes: Sequence[str], parts: "dict[Part, LabelledImages]"
) -> Iterator[str]:
    """What was found, in lines."""
    from pipeline.core.progress import Progress
    from pipeline.report import card

    height, width, channels = found.image_shape
    yield f"{place}: {found.format}, {height} × {width} {'grey' if channels == 1 else 'colour'} images"
    described = card.describe(parts, len(classes), Progress(0, "", "").advance)
    for name, part in described.parts.items():
        counts = part.class_counts
        yield (
            f"  {name}: {len(part):,} images, {counts.min():,} to {counts.max():,} of each of"
            f" {len(classes)} classes"
        )
    if not found.has_test:
        yield "  no test set: the split takes a part of the train set"
    yield f"  classes: {_shortened(classes)}"
    for note in found.notes:
        yield f"  {note}"
    yield from _oddities(described)


def _oddities(described: "Card") -> Iterator[str]:
    import numpy as np

    for (earlier, later), repeats in described.repeats.items():
        where = f"{later} images" if earlier == later else f"{later} images that are {earlier} images, too"
        if len(repeats.copies):
            yield f"  odd: {len(repeats.copies):,} {where}" + (
                " that repeat another" if earlier == later else ""
            )
    brightest = max(int(np.flatnonzero(part.levels.sum(axis=0))[-1]) for part in described.parts.values())
    if brightest < _DARK:
        yield f"  odd: no pixel is brighter than {brightest} of 255; if that is white, say reading.white"
    for name, part in described.parts.items():
        if blank := int(part.single_shade.sum()):
            yield f"  odd: {blank:,} {name} images of a single colour"
        if part.class_counts.min() * 10 < part.class_counts.max():
            yield f"  odd: some classes have ten times as many {name} images as others"


def _shortened(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown


def _note_place(layout: Layout, name: str, place: Path) -> None:
    """Add where the files are to conf/local.yaml.

    Raises:
        ConfigError: it is written in a way that cannot be added to.
    """
    from pipeline.core.files.atomic import write_text
    from pipeline.data import local

    path = layout.conf / "local.yaml"
    before = local.read_places(layout.conf)
    shown = _from_checkout(layout.root, place)
    original = path.read_text(encoding="utf-8") if path.is_file() else "local: {}\n"
    line = f"  {name}: {json.dumps(shown, ensure_ascii=False)}\n"
    if before.get(name) == shown:
        return
    lines = [each for each in original.splitlines(keepends=True) if not each.startswith(f"  {name}:")]
    text = "".join(lines)
    # Of a function, re.sub takes what it gives as it is, backslashes and all.
    changed = re.sub(r"(?m)^local:[ \t]*(\{\})?[ \t]*\n?$", lambda _: f"local:\n{line[:-1]}", text, count=1)
    write_text(path, changed if changed.endswith("\n") else changed + "\n")
    try:
        found = local.read_places(layout.conf)
    except ConfigError:
        found = {}
    if found != {**before, name: shown}:
        write_text(path, original)
        raise ConfigError(f"{path}: cannot be added to; write there, below `local:`:\n{line.rstrip()}")


def _folder_of(found: "Found", place: Path) -> Path:
    """The place, or the folder below it that has all the files: of a clone from the hub, its data/."""
    (first, *_), *_ = found.files.values()
    return place if place in {first, first.parent} else first.parent


def _from_checkout(root: Path, place: Path) -> str:
    """A path from the checkout on where it is near, so that it means the same in another clone beside it."""
    if place.is_relative_to(root.parent):
        return Path(os.path.relpath(place, root)).as_posix()
    return place.as_posix()
