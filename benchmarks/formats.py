"""Time and peak memory of parsing CSV rows and pictures in archives, extrapolated to 8,100,000 images.

    python -m benchmarks.formats [--images 100000]

Each format is parsed once with the number of images asked for and once with a tenth of it, in processes of
their own; what the larger run took more, divided by its images more, is taken to 8,100,000. A temporary
folder holds the files.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.config.schema import File, Source
from pipeline.core.errors import UsageError  # before NumPy, whose environment the package fixes
from pipeline.data import datasets

import numpy as np  # isort: skip
from PIL import Image  # isort: skip

MANY: Final = 8_100_000
SIDE: Final = 28
CLASSES: Final = [str(number) for number in range(10)]


def images(count: int) -> Iterator[np.ndarray]:
    """Noise on a fifth of the pixels, as much ink as MNIST has; the same thousand images again and again."""
    random = np.random.default_rng(0)
    ink = random.random((1000, SIDE, SIDE)) < 0.2
    levels = (random.integers(1, 256, ink.shape) * ink).astype(np.uint8)
    for index in range(count):
        yield levels[index % len(levels)]


def write_csv(path: Path, count: int) -> None:
    """Kaggle's layout, plain."""
    rows = [",".join(map(str, image.reshape(-1).tolist())) for image in images(min(count, 1000))]
    with path.open("w") as file:
        file.write("label," + ",".join(f"pixel{index}" for index in range(SIDE * SIDE)) + "\n")
        file.writelines(f"{index % 10},{rows[index % len(rows)]}\n" for index in range(count))


def pictures(count: int) -> Iterator[tuple[str, bytes]]:
    """PNG files by name."""
    files = []
    for image in images(min(count, 1000)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue())
    for index in range(count):
        yield f"{index % 10}/{index:08}.png", files[index % len(files)]


def write_zip(path: Path, count: int) -> None:
    """A zip archive of stored pictures."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pictures(count):
            archive.writestr(name, data)


def write_tar(path: Path, count: int) -> None:
    """A plain tar archive of pictures."""
    with tarfile.open(path, "w") as archive:
        for name, data in pictures(count):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


FORMATS: Final = {
    "CSV rows": ("csv", write_csv),
    "pictures in a zip": ("folder", write_zip),
    "pictures in a tar": ("folder", write_tar),
}


def measure(name: str, path: Path, count: int) -> None:
    """Parse one file and print seconds and peak bytes of this process and of the decoder's, as JSON."""
    source = Source(
        title="t",
        classes=CLASSES,
        train_count=count,
        test_count=0,
        files={"train": File("f", sha256="0" * 64)},
        packaged=True,
    )
    start = time.perf_counter()
    datasets.parse(name, {"train": [path]}, path.parent / "parsed", (SIDE, SIDE, 1), source)
    seconds = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "bytes": max(peaks) * 1024}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "FILE", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one[0], Path(options.one[1]), int(options.one[2]))
        return
    if options.images < 1000:
        raise UsageError("expected 1,000 images or more")
    print(f"| format | {options.images:,} images | peak memory | {MANY:,} images | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    for title, (name, write) in FORMATS.items():
        found = []
        for count in (options.images // 10, options.images):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "file"
                write(path, count)
                command = [sys.executable, "-m", "benchmarks.formats", "--one", name, str(path), str(count)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  (our own)
                found.append(json.loads(done.stdout))
        more = (MANY - options.images) / (options.images - options.images // 10)
        ends = {key: found[1][key] + more * max(0, found[1][key] - found[0][key]) for key in found[1]}
        print(
            f"| {title} | {found[1]['seconds']:.1f} s | {found[1]['bytes'] / 1e6:.0f} MB"
            f" | {ends['seconds'] / 60:.0f} min | {ends['bytes'] / 1e6:,.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
