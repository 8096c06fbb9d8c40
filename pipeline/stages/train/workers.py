"""What a worker needs to have in common with the process that started a search, and where it looks.

Trials give the same bits on every worker only if code, inputs and numeric environment are the same. Each
worker process is asked before its first trial, and a difference ends the search in one line. Those of this
machine are asked too: one that takes a dead one's place imports what is on the disk by then.
"""

import functools
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core import guard, runtime
from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.paths import find_root

_REMEDY = (
    "start the search again; workers of a cluster with `pipeline worker` inside the same checkout, or restart"
    " them"
)


@dataclass(frozen=True)
class Requirements:
    """What has to be the same in a worker.

    Attributes:
        root: the checkout of the process that searches.
        tier: the numeric runtime; None where none is active.
        numpy: its version.
        code: `guard.code_digest`.
        bits: `runtime.arithmetic`, as pairs.
        inputs: paths and their `guard.content_digest`.
    """

    root: Path
    tier: str | None
    numpy: str
    code: str
    bits: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[Path, str], ...]


def requirements_of(root: Path, inputs: Sequence[Path]) -> Requirements:
    """What this process has, for workers that read `inputs` (files and folders below `root`)."""
    return Requirements(
        root,
        runtime.active(),
        np.__version__,
        guard.code_digest(),
        _bits(),
        tuple((path, guard.content_digest(path)) for path in inputs),
    )


def located(path: Path, root: Path) -> Path:
    """Where this process finds a path of the process that searches.

    In a folder that both share it is the same path, else the same place in this process's own checkout: the
    one around its working directory, or around the package.
    """
    if path.exists():
        return path
    for start in (Path.cwd(), Path(__file__)):
        try:
            own = find_root(start) / path.relative_to(root)
        except (PipelineError, ValueError):
            continue
        if own.exists():
            return own
    return path


@functools.cache
def check(requirements: Requirements) -> None:
    """See that this process has what is required; once per process.

    Raises:
        PipelineError: it has not.
    """
    place = f"the worker on {platform.node()} (process {os.getpid()})"
    # A worker lives on when the code changes: what counts is what it has loaded. Those of this machine have
    # noted it before they imported the most of it.
    if not guard.remembers_code():
        guard.remember_code()
    if guard.code_digest() != requirements.code or guard.changed_code():
        raise PipelineError(f"{place} runs other code of the pipeline: {_REMEDY}")
    if np.__version__ != requirements.numpy:
        raise PipelineError(f"{place} has NumPy {np.__version__} instead of {requirements.numpy}")
    try:
        runtime.activate(requirements.tier or "native")
    except ConfigError as error:
        raise PipelineError(f"{place}: {error}") from None
    if requirements.tier not in {None, "native"} and _bits() != requirements.bits:
        raise PipelineError(
            f"{place} computes other bits than runtime={requirements.tier} does in the search's own process:"
            f" in one of them NumPy was loaded before the runtime was set (a sitecustomize?); {_REMEDY}"
        )
    for path, digest in requirements.inputs:
        own = located(path, requirements.root)
        if not own.exists():
            raise PipelineError(
                f"{place} does not see {path}: share the checkout's folder with it, or clone it there,"
                f" `dvc pull` {path.name} and start the worker inside"
            )
        if guard.content_digest(own) != digest:
            raise PipelineError(
                f"{place} has another {own} than the search: `dvc pull` or `dvc repro` it there"
            )


def _bits() -> tuple[tuple[str, str], ...]:
    return tuple(runtime.arithmetic().items())
