"""No false lock in the gap after a stage: what each stage ran with, against what DVC recorded of it.

DVC hashes a stage's dependencies once its command has ended. An edit after the guard's last look would be in
dvc.lock beside results that it had no part in. So a stage that DVC runs leaves in runs/ran what it ran
with; the next stage, `pipeline repro` and `pipeline verify` compare it with dvc.lock, and forget what agrees.

Only what people edit is compared: code, conf/ and params.yaml. An output that is edited in the gap has
another hash as the output of the stage that made it, so DVC sees that by itself.
"""

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from pipeline.core.errors import PipelineError
from pipeline.core.leftovers import files_below
from pipeline.core.lockfile import bytes_hash, folder_hash, split_stages
from pipeline.core.progress import say

_EDITED: Final = ("pipeline", "conf", "params.yaml")


class _AsText(yaml.CSafeLoader):  # type: ignore[misc]  # (it has no types)
    """YAML with every value as it is written: dvc.lock is in DVC's dialect, and the rest in Hydra's."""


_AsText.yaml_implicit_resolvers = {"<": yaml.CSafeLoader.yaml_implicit_resolvers["<"]}  # keys that merge


def dvc_stage() -> tuple[Path, str] | None:
    """The project's root and the stage's name where DVC runs this process as a stage, else None."""
    root, stage = os.environ.get("DVC_ROOT"), os.environ.get("DVC_STAGE")
    return (Path(root), stage) if root and stage else None


def look(root: Path) -> dict[str, Any]:
    """What people edit, as it is now: MD5 of each file as DVC takes it, and the text of YAML files.

    Args:
        root: of the checkout.
    """
    hashes, texts = {}, {}
    for path in files_below(root / name for name in _EDITED):
        with contextlib.suppress(OSError):
            name, data = path.relative_to(root).as_posix(), path.read_bytes()
            hashes[name] = bytes_hash(data)
            if name == "params.yaml" or name.startswith("conf/dataset/"):
                texts[name] = data.decode("utf-8", "replace")
    return {"hashes": hashes, "texts": texts}


def leave(root: Path, stage: str, seen: Mapping[str, Any]) -> None:
    """Leave what a stage ran with, for those who come after DVC has recorded it.

    Args:
        root: of the checkout.
        stage: as DVC calls it.
        seen: from `look`, before the guard's last look.

    Raises:
        PipelineError: it cannot be written.
    """
    from pipeline.core.files.atomic import (
        write_text,
    )  # it loads NumPy, for which the tier has to be set first

    record = {"lock_before": split_stages(_lock_text(root))[1].get(stage, ""), **seen}
    write_text(_folder(root) / f"{stage}.json", json.dumps(record))


def check(root: Path, running: str | None = None, inputs: Collection[Path] = ()) -> None:
    """Compare what stages ran with to what dvc.lock says of them.

    Args:
        root: of the checkout.
        running: the stage that asks, before it runs; None where everything has to agree. Its own record says
            nothing any more, and of stages that made none of its inputs it is only told: so what has to run
            again can.
        inputs: what that stage reads.

    Raises:
        PipelineError: dvc.lock has other contents of a file or other values than the stage ran with.
    """
    paths = [path for path in sorted(_folder(root).glob("*.json")) if path.stem != running]
    blocks = split_stages(_lock_text(root))[1] if paths else {}
    for path in paths:
        stage, block = path.stem, blocks.get(path.stem, "")
        record, entry = _record(path), _entry(block)
        # Until DVC records the run (if it does), and while it is writing. The outputs come last.
        if record is None or entry is None or block == record["lock_before"]:
            continue
        found = _difference(entry, record)
        # What came with a commit is of another run, and for `pipeline verify` to judge.
        if not found or block == split_stages(_committed(root))[1].get(stage):
            path.unlink(missing_ok=True)
            continue
        complaint = (
            f"dvc.lock: {found} was edited after {stage} had run and before DVC recorded it, so its results"
            f" are of the former contents; run: dvc repro --force --single-item {stage}"
        )
        if running is None or {root / output["path"] for output in entry["outs"]} & set(inputs):
            raise PipelineError(complaint)
        _say_once(complaint)


@functools.cache
def _say_once(text: str) -> None:
    """A stage asks twice: before it reads its definition, and once that has named its inputs."""
    say(text)


def _folder(root: Path) -> Path:
    return root / "runs" / "ran"


def _lock_text(root: Path) -> str:
    try:
        return (root / "dvc.lock").read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _committed(root: Path) -> str:
    """dvc.lock as it was last committed; nothing where there is no git."""
    command = ["git", "-C", str(root), "show", "HEAD:./dvc.lock"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603  (git)
    except (OSError, ValueError):
        return ""


def _record(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(found, dict) and found.keys() == {"lock_before", "hashes", "texts"}
    return found if is_ours else None


def _entry(block: str) -> Mapping[str, Any] | None:
    """What dvc.lock says of a stage; None where it says nothing, or is not written to the end."""
    try:
        (entry,) = yaml.load(block, _AsText).values()  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, AttributeError, ValueError):
        return None
    return entry if isinstance(entry, dict) and entry.get("outs") else None


def _difference(entry: Mapping[str, Any], record: Mapping[str, Any]) -> str | None:
    """The first dependency or value of a stage's entry that is not as it ran with; None if all are."""
    for dependency in entry.get("deps", []):
        path = dependency["path"]
        if path.partition("/")[0] in _EDITED and dependency.get("md5") != _hash(record["hashes"], path):
            return str(path)
    for path, values in entry.get("params", {}).items():
        if path in record["texts"]:
            ran_with = yaml.load(record["texts"][path], _AsText)  # noqa: S506  (a safe loader)
            for key, value in values.items():
                if not _is_equal(value, _at(ran_with, key)):
                    return f"{key} in {path}"
    return None


def _hash(hashes: Mapping[str, str], path: str) -> str | None:
    """The hash that DVC gives a file or folder; None where it was not there."""
    if path in hashes:
        return hashes[path]
    inside = f"{path}/"
    below = {name.removeprefix(inside): hashes[name] for name in hashes if name.startswith(inside)}
    return folder_hash(below) if below else None


def _at(value: Any, key: str) -> Any:  # noqa: ANN401  (whatever stands there)
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_equal(one: Any, other: Any) -> bool:  # noqa: ANN401  (what YAML holds)
    """Whether two values are the same, however each is spelled."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:  # noqa: ANN401  (the same)
    if value is None or value in ("", "~"):
        return "null"
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return value.lower() if isinstance(value, str) else value
