"""A program of tests/test_disk.py: run every stage on a disk that fails, and print what each left behind.

Usage: python faults.py KIND CHECKOUT. KIND is of `FAULTS`; CHECKOUT holds the experiment `tiny`, evaluated.
"""

import contextlib
import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.__main__ import main
from pipeline.core.paths import Layout
from pipeline.data import standins
from pipeline.data.standins import draw_digits
from pipeline.stages import plot

OLD = b"old\n"
PAGE_BYTES = 4096
DISK_BYTES = 2**23


def run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  (mount, with our own folders)


def mounted(checkout: Path) -> Layout:
    """The checkout on a disk of its own, which nobody outside this process sees."""
    disk = checkout.with_name("disk")
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk))
    shutil.copytree(checkout, disk / "checkout")
    return Layout(disk / "checkout")


@contextlib.contextmanager
def full(layout: Layout, pages: int = 0) -> Iterator[None]:
    """No room but for a few pages."""
    filler = layout.root.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(PAGE_BYTES))
        file.truncate(max(0, file.tell() - pages * PAGE_BYTES))
    yield
    filler.unlink()


@contextlib.contextmanager
def nearly_full(layout: Layout) -> Iterator[None]:
    """Room for a small file and the beginning of another."""
    with full(layout, 4):
        yield


@contextlib.contextmanager
def read_only(layout: Layout) -> Iterator[None]:
    """A file system that is not written to."""
    run("mount", "-o", "remount,ro", str(layout.root.parent))
    yield
    run("mount", "-o", "remount,rw", str(layout.root.parent))


@contextlib.contextmanager
def forbidden(layout: Layout) -> Iterator[None]:
    """Folders without the permission to write."""
    folders = [layout.root, *(path for path in layout.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield
    for folder in folders:
        folder.chmod(0o755)


@contextlib.contextmanager
def limited(_: Layout) -> Iterator[None]:
    """No file may be longer than a few bytes; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


FAULTS: dict[str, Callable[[Layout], contextlib.AbstractContextManager[None]]] = {
    "full": full,
    "nearly_full": nearly_full,
    "read_only": read_only,
    "forbidden": forbidden,
    "limited": limited,
}

# Command line, and the folder or the files that it writes.
COMMANDS = {
    "fetch": (["fetch", "tiny"], "data/raw/bundled/tiny"),
    "download": (["fetch", "tiny", "--source", "official"], "data/raw/official/tiny"),
    "parse": (["parse", "tiny"], "data/parsed/bundled/tiny"),
    "compose": (["compose", "tiny"], "outputs/tiny/config.yaml"),
    "split": (["split", "tiny"], "outputs/tiny/split.npz"),
    "train": (["train", "tiny"], "outputs/tiny/{parameters.pkl,history.csv,steps.csv,trials.csv}"),
    "evaluate": (
        ["evaluate", "tiny"],
        "outputs/tiny/{metrics.json,per_class.csv,roc.csv,predictions.csv,probabilities.npz}",
    ),
    "plot": (["plot", "tiny"], "outputs/tiny/plots"),
    "results": (["results"], "outputs/{results.md,results.json}"),
    "source": (["source", "official"], "params.yaml"),
    "show": (["show", "--dataset", "tiny", "--index", "0", "--picture", "a.png"], "a.png"),
}


def outputs(layout: Layout, pattern: str) -> list[Path]:
    """The files that a pattern of `COMMANDS` names, as far as they are there."""
    head, _, names = pattern.rstrip("}").partition("{")
    paths = [layout.root / head / name for name in names.split(",")] if names else [layout.root / head]
    files = [path for path in paths if path.is_file()]
    return files + [file for path in paths for file in sorted(path.rglob("*")) if file.is_file()]


def files(layout: Layout) -> set[str]:
    return {path.relative_to(layout.root).as_posix() for path in layout.root.rglob("*") if path.is_file()}


def call(arguments: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    return code, said.getvalue()


def attempt(layout: Layout, name: str, kind: str) -> dict[str, object]:
    """Run a command with the fault and again without it."""
    arguments, pattern = COMMANDS[name]
    right = {path: path.read_bytes() for path in outputs(layout, pattern)}
    old = dict.fromkeys(right, OLD)
    if name == "source":  # which reads the file that it writes
        old = right
        right = {path: data.replace(b"source: bundled", b"source: official") for path, data in old.items()}
    for path, data in old.items():
        path.write_bytes(data)
    before = files(layout)
    with FAULTS[kind](layout):
        code, said = call(arguments)
        found = {path: path.read_bytes() for path in right}
        left = sorted(files(layout) ^ before)
    again, _ = call(arguments)
    return {
        "code": code,
        "said": said.replace(str(layout.root), "ROOT"),
        "states": {
            path.relative_to(layout.root).as_posix(): "old"
            if data == old[path]
            else "right"
            if data == right[path]
            else "neither"
            for path, data in found.items()
        },
        "left": left,
        "again": again,
        "the_same": all(path.read_bytes() == data for path, data in right.items()),
        "left_at_last": sorted(files(layout) - before),
    }


if __name__ == "__main__":
    kind, checkout = sys.argv[1], Path(sys.argv[2])
    layout = mounted(checkout) if kind in {"full", "nearly_full", "read_only"} else Layout(checkout)
    os.chdir(layout.root)
    standins.DRAWINGS["digits"] = lambda: draw_digits(200, 100)
    all_figures = plot._figures
    # Drawing takes most of the time, and two pictures are as good as seven.
    plot._figures = lambda *arguments: itertools.islice(all_figures(*arguments), 2)
    for arguments, pattern in COMMANDS.values():
        if not outputs(layout, pattern):
            code, said = call(arguments)
            if code:
                sys.exit(said)
    sys.stdout.write(json.dumps({name: attempt(layout, name, kind) for name in COMMANDS}))
