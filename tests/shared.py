"""What tests of several folders need, beside the fixtures of conftest.py."""

import ast
import contextlib
import os
import resource
import signal
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

_ME = ("-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false")


def git(root: Path, *arguments: str) -> str:
    """What git prints in a repository, where commits need nobody's identity."""
    done = subprocess.run(  # noqa: S603  (git)
        ["git", *_ME, *arguments],  # noqa: S607  (whichever is installed)
        cwd=root,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@contextlib.contextmanager
def allocating_less_than(maximum_bytes: float) -> Iterator[None]:
    """Fails where the block has that many bytes allocated at any moment, by Python and NumPy."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < maximum_bytes


@contextlib.contextmanager
def files_of_at_most(maximum_bytes: int) -> Iterator[None]:
    """Writing past that many bytes of a file fails in the block, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (maximum_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def imports_of(path: Path) -> set[str]:
    """Dotted names of the package's own modules that a file imports, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("pipeline.")}


def interrupt_what_starts(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[Any]]:
    """Have an interrupt come as soon as a program has started; returns those that have."""
    started: list[subprocess.Popen[Any]] = []
    start = subprocess.Popen

    def start_interrupted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (as they are)
        started.append(start(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start_interrupted)
    return started


def said(ended: Any) -> str:  # noqa: ANN401  (as the fixtures `cli` and `python` give it)
    """What a command said of its failure: one or two lines, no traceback, nobody else's words."""
    assert ended.err.startswith("pipeline: "), ended.err
    assert "Traceback" not in ended.err
    assert "HYDRA_FULL_ERROR" not in ended.err
    assert ended.err.count("\n") <= 2
    assert ended.err.endswith("\n")
    return str(ended.err.removeprefix("pipeline: ").removesuffix("\n"))


def with_palette(grey: npt.NDArray[np.uint8]) -> Image.Image:
    """A grey picture whose every level stands under another number: 255 less."""
    image = Image.fromarray(255 - grey).convert("P")
    image.putdata((255 - grey).ravel().tolist())
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    return image
