"""What dvc.lock records of each stage."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from omegaconf import OmegaConf

from pipeline.core.conflicts import refuse_conflicts
from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.atomic import read_bytes, write_text
from pipeline.core.files.tables import MAXIMUM_TEXT_BYTES
from pipeline.repro.jobs import in_order, reachable

# ------------------------------------------------------------------------------------- what dvc.lock says


@dataclass(frozen=True)
class Recorded:
    """What dvc.lock says of one stage.

    Attributes:
        command: what was run.
        inputs: path -> hash.
        parameters: file -> key -> value.
        outputs: path -> hash.
    """

    command: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, str]


Lock = Mapping[str, Recorded]
"""Stage -> what was recorded of it, in the order of the file."""


def read_lock(text: str, name: str = "dvc.lock") -> dict[str, Recorded]:
    """The stages in the text of a dvc.lock.

    Raises:
        FormatError: it is something else; the message calls it `name`.
        ConfigError: it has conflict markers.
    """
    refuse_conflicts(text.encode("utf-8"), name)
    try:
        lock: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        return {
            stage: Recorded(
                command=str(entry["cmd"]),
                inputs=_hashes(entry.get("deps", [])),
                parameters=dict(entry.get("params", {})),
                outputs=_hashes(entry.get("outs", [])),
            )
            for stage, entry in (lock.get("stages") or {}).items()
        }
    # A YAML parser's complaints have many classes, and so have those of what is built otherwise.
    except Exception as error:
        raise FormatError(
            f"{name}: not what DVC writes: {shorten(str(error) or type(error).__name__)}"
        ) from error


def _hashes(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(entry["path"]): str(entry[entry.get("hash", "md5")]) for entry in entries}


def lock_text(root: Path) -> str:
    """The text of a checkout's dvc.lock; nothing where there is none.

    Raises:
        PipelineError: it cannot be read.
    """
    path = root / "dvc.lock"
    return read_bytes(path, maximum_bytes=MAXIMUM_TEXT_BYTES).decode("utf-8") if path.exists() else ""


def sort_lock(root: Path, order: Sequence[str]) -> None:
    """Put the stages of a checkout's dvc.lock in this order, others last.

    Under DVC's own lock, for which it waits: another of its processes may be about to write what it ran.

    Raises:
        PipelineError: it cannot be read or written.
    """
    text = lock_text(root)
    if in_order(text, order) == text:
        return
    from dvc.repo import Repo  # takes half a second

    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        write_text(root / "dvc.lock", in_order(lock_text(root), order))


def makers(lock: Lock) -> dict[str, set[str]]:
    """Output -> the stage that makes it; a folder in which several stages put files -> those."""
    found: dict[str, set[str]] = {}
    for stage, recorded in lock.items():
        for output in recorded.outputs:
            for path in (output, *map(str, PurePosixPath(output).parents)):
                found.setdefault(path, set()).add(stage)
    return found


def needed(lock: Lock, stages: Collection[str]) -> set[str]:
    """`stages` and all those whose outputs they need; stages that are not in the lock stand alone."""
    return reachable(_needs(lock), stages)


def followers(lock: Lock, stages: Collection[str]) -> set[str]:
    """`stages`, where the lock has them, and all those that need their outputs, directly or not."""
    needs = _needs(lock)
    waiting = {stage: [other for other in lock if stage in needs[other]] for stage in lock}
    return reachable(waiting, set(lock).intersection(stages))


def _needs(lock: Lock) -> dict[str, set[str]]:
    """Stage -> the stages that make what it reads."""
    made_by = makers(lock)
    return {
        stage: {maker for path in (*recorded.inputs, *recorded.parameters) for maker in made_by.get(path, ())}
        for stage, recorded in lock.items()
    }
