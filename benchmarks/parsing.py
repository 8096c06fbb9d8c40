"""Parsing against the least it could take: inflating the same file, or copying it, side by side in one run.

    python benchmarks/parsing.py                           drawn data, packed as the official files are
    python benchmarks/parsing.py --official ../shared/data the official files that this folder holds

Every method runs once per round, in turn. What is set against parsing:

- inflating: zlib as Python has it, the file read in the parser's own pieces, the contents thrown away; and
  the same in one call, which needs memory for all of it;
- copying: the file read and written piece by piece and flushed to the disk, as every file of the pipeline
  is; and without the flush.

A ratio is the least's seconds over the parser's, the median over the rounds of the ratios of each. Processor
seconds, of all threads, hardly depend on what else the machine does; parsing an archive uses two cores.
"""

import argparse
import gzip
import os
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.data import datasets
from pipeline.data.formats import cifar, idx
from pipeline.data.formats.streams import CHUNK_BYTES
from pipeline.data.standins import draw_digits, draw_scenes

MNIST: Final = datasets.Expected((28, 28, 1), 10)
CIFAR: Final = datasets.Expected((32, 32, 3), 10)
MNIST_FILES: Final = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
ARCHIVE: Final = "cifar-10-python.tar.gz"


@dataclass(frozen=True)
class Case:
    """One data set to parse.

    Attributes:
        title: for the table.
        target: the ratio to reach against the first of `least`.
        parse: reads the files into a folder.
        least: what parsing is set against, by name: each is called with a scratch folder.
    """

    title: str
    target: float
    parse: Callable[[Path], None]
    least: Mapping[str, Callable[[Path], None]]


def inflate(path: Path) -> None:
    """Inflate a file piece by piece, keeping nothing."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    with path.open("rb", buffering=0) as file:
        while not inflater.eof:
            inflater.decompress(inflater.unconsumed_tail or file.read(CHUNK_BYTES), CHUNK_BYTES)


def inflate_at_once(path: Path) -> None:
    """Inflate a file in one call."""
    zlib.decompress(path.read_bytes(), 16 + zlib.MAX_WBITS)


def copy(path: Path, folder: Path, *, flush: bool) -> None:
    """Copy a file in pieces."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as source, (folder / path.name).open("wb", buffering=0) as target:
        while count := source.readinto(buffer):
            target.write(buffer[:count])
        if flush:
            os.fsync(target.fileno())


def _parse_case(title: str, name: str, expected: datasets.Expected, files: Mapping[str, Path]) -> Case:
    def each(work: Callable[[Path], None]) -> Callable[[Path], None]:
        return lambda _: [work(path) for path in files.values()] and None

    is_packed = all(path.name.endswith(".gz") for path in files.values())
    least: dict[str, Callable[[Path], None]] = (
        {"inflating": each(inflate), "inflating at once": each(inflate_at_once)}
        if is_packed
        else {
            "copying": lambda to: [copy(path, to, flush=True) for path in files.values()] and None,
            "copying, no flush": lambda to: [copy(path, to, flush=False) for path in files.values()] and None,
        }
    )
    return Case(
        title, 0.9 if is_packed else 0.8, lambda to: datasets.FORMATS[name](files, to, expected), least
    )


def _pack(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    with path.open("rb") as plain, gzip.open(packed, "wb", 6) as file:
        shutil.copyfileobj(plain, file)
    return packed


def _unpack(path: Path, folder: Path) -> Path:
    plain = folder / path.name.removesuffix(".gz")
    with gzip.open(path) as file, plain.open("wb") as target:
        shutil.copyfileobj(file, target)
    return plain


def _cases(scratch: Path, official: Path | None) -> list[Case]:
    """The official files where the folder has them, drawn ones else."""
    packed: dict[str, Path] = {}
    archive = None
    if official is not None:
        packed = {role: path for role, name in MNIST_FILES.items() for path in official.rglob(f"{name}.gz")}
        archive = next(official.rglob(ARCHIVE), None)
    digits, scenes = "MNIST", "CIFAR-10"
    if len(packed) == len(MNIST_FILES):
        plain = {role: _unpack(path, scratch) for role, path in packed.items()}
    else:
        digits = "drawn digits"
        drawing = draw_digits()
        plain = {role: scratch / name for role, name in MNIST_FILES.items()}
        for part, images, labels in (
            ("train", drawing.train_images, drawing.train_labels),
            ("test", drawing.test_images, drawing.test_labels),
        ):
            idx.write(plain[f"{part}_images"], images[..., 0])
            idx.write(plain[f"{part}_labels"], labels)
        packed = {role: _pack(path) for role, path in plain.items()}
    if archive is None:
        scenes = "drawn scenes"
        drawing = draw_scenes(50_000, 10_000)
        archive = scratch / ARCHIVE.removesuffix(".gz")
        cifar.write_archive(
            archive,
            drawing.train_images,
            drawing.train_labels,
            drawing.test_images,
            drawing.test_labels,
            [str(number) for number in range(10)],
        )
        archive = _pack(archive)
    return [
        _parse_case(f"{digits}, idx.gz", "idx", MNIST, packed),
        _parse_case(f"{digits}, plain idx", "idx", MNIST, plain),
        _parse_case(f"{scenes}, tar.gz", "cifar10", CIFAR, {"archive": archive}),
    ]


def _measure(work: Callable[[Path], None], scratch: Path) -> tuple[float, float]:
    """Wall and processor seconds of one call, its output removed afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        processor, started = time.process_time(), time.perf_counter()
        work(Path(folder))
        return time.perf_counter() - started, time.process_time() - processor


def _show(case: Case, scratch: Path, rounds: int) -> None:
    methods = {**case.least, "parsing": case.parse}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, work in methods.items():
            seconds[name].append(_measure(work, scratch))
    for name, taken in seconds.items():
        wall = sorted(each[0] for each in taken)
        processor = statistics.median(each[1] for each in taken)
        cells = [f"{statistics.median(wall):.3f}", f"{wall[0]:.3f} to {wall[-1]:.3f}", f"{processor:.3f}"]
        if name == "parsing":
            cells += ["", ""]
        else:
            ratios = [least[0] / own[0] for least, own in zip(taken, seconds["parsing"], strict=True)]
            # A target is set against the first alone.
            cells += [
                f"{statistics.median(ratios):.2f}",
                f"{case.target}" if name == next(iter(case.least)) else "",
            ]
        print(f"| {case.title} | {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, help="a folder with official files somewhere in it")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print("| files | method | median s | range | processor s | ratio | target |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        for case in _cases(Path(name), options.official):
            _show(case, Path(name), options.rounds)


if __name__ == "__main__":
    main()
