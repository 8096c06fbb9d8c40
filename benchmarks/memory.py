"""Peak memory of each stage on an idx set of 8,100,000 images (6.35 GB), made on the fly.

    python benchmarks/memory.py                          13 GB of disk and some minutes
    python benchmarks/memory.py --images 100000          a smaller set
    python benchmarks/memory.py split=stratified preprocess=standardize     other choices of conf/

A server on the loopback interface sends drawn digits over and over as one data set; fetch, parse, compose,
split, train (300 steps, and the history of the whole set before and after) and evaluate run as they do under
DVC, each in a process of its own, in a checkout of its own that is removed afterwards.

What is measured is memory that the machine cannot take back without swapping: RssAnon + RssShmem in
/proc/PID/status, of the stage and its children together, sampled every five milliseconds. Pages of files
(code, and the memory-mapped images) are the kernel's cache, which shrinks when memory is short; the column
beside it shows the most that was mapped of them.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from pipeline.data.standins import draw_digits

ROOT: Final = Path(__file__).resolve().parents[1]
LIMIT_BYTES: Final = 512_000_000
BLOCK_IMAGES: Final = 10_000  # drawn once and sent over and over
TEST_IMAGES: Final = 10_000
SAMPLE_SECONDS: Final = 0.005
STAGES: Final = ("fetch", "parse", "compose", "split", "train", "evaluate")
EXPERIMENT: Final = """\
# @package _global_
defaults:
  - override /dataset: many
  - override /model: two_layer
  - override /split: stratified
  - override /training: one_thousand_steps
{overrides}  - _self_

name: many
source: official
split: {{train_fraction: 0.9, valid_fraction: 0.1}}
training: {{steps: 300, batch_size: 100}}
"""


@dataclass(frozen=True)
class Repeated:
    """A file that consists of a header and of one block over and over, cut to its size."""

    header: bytes
    block: bytes
    data_bytes: int

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.header) + self.data_bytes

    def pieces(self) -> Iterator[bytes]:
        """The whole file."""
        yield self.header
        for start in range(0, self.data_bytes, len(self.block)):
            yield self.block[: self.data_bytes - start]

    def sha256(self) -> str:
        """The checksum of the whole file."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


def _files(train_count: int) -> dict[str, Repeated]:
    drawing = draw_digits(BLOCK_IMAGES, TEST_IMAGES)
    files = {}
    for part, count, images, labels in (
        ("train", train_count, drawing.train_images, drawing.train_labels),
        ("test", TEST_IMAGES, drawing.test_images, drawing.test_labels),
    ):
        shape = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        files[f"{part}_images"] = Repeated(shape, images.tobytes(), 784 * count)
        files[f"{part}_labels"] = Repeated(struct.pack(">4BI", 0, 0, 8, 1, count), labels.tobytes(), count)
    return files


@contextlib.contextmanager
def _served(files: dict[str, Repeated]) -> Iterator[str]:
    """The URL of a folder that holds the files."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = files.get(self.path.rpartition("/")[2])
            if file is None or self.headers["Range"]:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(file.size))
            self.end_headers()
            for piece in file.pieces():
                self.wfile.write(piece)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _write_checkout(root: Path, files: dict[str, Repeated], train_count: int, overrides: list[str]) -> None:
    for name in ("conf", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", root)
    entries = "".join(
        f"      {role}: {{name: {role}, bytes: {file.size}, sha256: {file.sha256()}}}\n"
        for role, file in files.items()
    )
    (root / "conf" / "dataset" / "many.yaml").write_text(
        "name: many\nformat: idx\nimage_shape: [28, 28, 1]\nlicence: none\ncitation: none\n"
        "sources:\n  official:\n    title: drawn digits over and over\n"
        '    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]\n'
        f"    train_count: {train_count}\n    test_count: {TEST_IMAGES}\n"
        f"    mirrors: [https://localhost/]\n    files:\n{entries}",
        encoding="utf-8",
    )
    chosen = dict(override.split("=", 1) for override in overrides)
    lines = "".join(f"  - override /{group}: {name}\n" for group, name in chosen.items())
    text = EXPERIMENT.format(overrides=lines)
    if chosen.get("split", "stratified") != "stratified":
        text = text.replace("split: {train_fraction: 0.9, valid_fraction: 0.1}\n", "")
    (root / "conf" / "experiment" / "many.yaml").write_text(text, encoding="utf-8")
    (root / "params.yaml").write_text(
        "source: official\ndatasets: [many]\nexperiments:\n  many: {dataset: many}\n", encoding="utf-8"
    )


@dataclass
class Peak:
    """The most that was seen, in bytes."""

    own: int = 0
    files: int = 0


def _family(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _family(int(child))


def _sample(process: int, peak: Peak) -> None:
    own = files = 0
    for each in _family(process):
        with contextlib.suppress(OSError):
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{each}/status").read_text("utf-8").splitlines()
            )
            # A process that is ending has no memory any more.
            if "RssAnon" in fields:
                kilobytes = {name: int(text.split()[0]) for name, text in fields.items() if "Rss" in name}
                own += 1024 * (kilobytes["RssAnon"] + kilobytes["RssShmem"])
                files += 1024 * kilobytes["RssFile"]
    peak.own, peak.files = max(peak.own, own), max(peak.files, files)


def _run(stage: str, root: Path, mirror: str) -> tuple[float, Peak]:
    arguments = ["many", "--source", "official"] if stage in {"fetch", "parse"} else ["many"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PIPELINE_MIRROR": mirror,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    started, peak = time.perf_counter(), Peak()
    with subprocess.Popen(  # noqa: S603  (the pipeline itself)
        [sys.executable, "-m", "pipeline", stage, *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            _sample(process.pid, peak)
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{stage} failed with exit code {process.returncode}")
    return time.perf_counter() - started, peak


def main() -> int:
    """Print the table; 1 if a stage takes more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8_100_000, help="training images (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the checkout goes, by default a temporary one")
    parser.add_argument("overrides", nargs="*", metavar="GROUP=NAME", help="choices of conf/")
    options = parser.parse_args()
    files = _files(options.images)
    total = sum(file.size for file in files.values())
    print(f"{options.images:,} training images, {total / 1e9:.2f} GB; limit {LIMIT_BYTES / 1e6:.0f} MB\n")
    print("| stage | peak, MB | mapped files, MB | seconds |\n| --- | ---: | ---: | ---: |")
    worst = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name, _served(files) as mirror:
        root = Path(name)
        _write_checkout(root, files, options.images, options.overrides)
        for stage in STAGES:
            seconds, peak = _run(stage, root, mirror)
            worst = max(worst, peak.own)
            print(f"| {stage} | {peak.own / 1e6:.0f} | {peak.files / 1e6:.0f} | {seconds:.1f} |", flush=True)
    return int(worst > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
