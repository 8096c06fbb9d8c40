"""No false lock: a stage fails if its code or inputs change while it runs.

DVC hashes a stage's dependencies after the command has ended. An edit in between would be recorded beside
results that it had no part in, and `dvc status` would call them up to date. So each stage looks before and
after, and an edit in between is an error, upon which DVC records nothing. What is edited after the last look
is found by the `ledger`.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.core import ledger
from pipeline.core.errors import PipelineError
from pipeline.core.leftovers import files_below
from pipeline.core.paths import shown_path

_PACKAGE = Path(__file__).resolve().parent.parent
# It only parses the command line, and no stage has it among its dependencies.
_COMMAND_LINE = _PACKAGE / "__main__.py"
_STARTED_WITH: dict[Path, str] = {}
# FAT's clock has the longest ticks.
_SETTLED_NANOSECONDS: Final = 2 * 10**9
# Hashes of files as they were read, with the files' size and times of change: see `content_digest`.
_SEEN: dict[Path, tuple[tuple[int, ...] | None, str]] = {}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _digests(paths: Sequence[Path]) -> dict[Path, str]:
    return {path: _digest(path) for path in files_below(paths)}


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written; None where it cannot be told.

    Clocks of file systems stand still for milliseconds, or seconds: a file that was written just now could be
    written again and look the same.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED_NANOSECONDS:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _noted_digest(path: Path) -> str:
    """The file's hash, noted in `_SEEN`."""
    # Looked at before it is read: an edit in between shows as another signature later.
    signature = _signature(path)
    digest = _digest(path)
    _SEEN[path] = signature, digest
    return digest


def content_digest(path: Path) -> str:
    """A hash of what a file or folder holds (names included), wherever it lies, in hexadecimal.

    Files that were hashed in this process, and that look untouched since, are not read again.
    """
    found = {}
    for file in files_below([path]):
        signature, digest = _SEEN.get(file, (None, ""))
        untouched = signature is not None and signature == _signature(file)
        found[file.relative_to(path)] = digest if untouched else _noted_digest(file)
    return _combined(found)


def _combined(digests: Mapping[Path, str]) -> str:
    lines = [f"{path.as_posix()}\0{digest}\n" for path, digest in sorted(digests.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def code_digest() -> str:
    """A hash of the package's source, the command line aside, as it was when the process started."""
    known = _STARTED_WITH or _code()
    return _combined({path.relative_to(_PACKAGE): digest for path, digest in known.items()})


def remember_code() -> None:
    """Hash the package's source as it is now; call it before the stage's own modules are imported."""
    _STARTED_WITH.update(_code())


def remembers_code() -> bool:
    """Whether `remember_code` was called in this process."""
    return bool(_STARTED_WITH)


def _code() -> dict[Path, str]:
    source = (path for path in files_below([_PACKAGE]) if path.suffix == ".py")
    return {path: _digest(path) for path in source if path != _COMMAND_LINE}


def changed_code() -> list[Path]:
    """Source files of modules in use that differ from what `remember_code` saw."""
    files = [str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())]
    used = [Path(file) for file in files if file.startswith(f"{_PACKAGE}{os.sep}")]
    return [path for path in used if _STARTED_WITH.get(path) not in {None, _digest(path)}]


@contextlib.contextmanager
def unchanged(stage: str, inputs: Sequence[Path]) -> Iterator[Callable[[Sequence[Path]], None]]:
    """Run the block and then make sure that the inputs and the code in use are those of before.

    Args:
        stage: the stage's name, as in ``train@mnist_two_layer``.
        inputs: files, and folders with all that is in them.

    Yields:
        A function that takes further inputs, known only once the first have been read.

    Raises:
        PipelineError: something changed, appeared or disappeared in between; or it did after an earlier
            stage, before DVC recorded that (see `ledger`).
    """
    under_dvc = ledger.dvc_stage()
    watched: list[Path] = []
    before: dict[Path, str] = {}

    def watch(paths: Sequence[Path]) -> None:
        if under_dvc:
            ledger.check(*under_dvc, paths)
        watched.extend(paths)
        before.update((path, _noted_digest(path)) for path in files_below(paths))

    watch(inputs)
    yield watch
    # Before the last look, which sees what is edited until then.
    seen = ledger.look(under_dvc[0]) if under_dvc else {}
    after = _digests(watched)
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    changed += changed_code()
    if changed:
        raise PipelineError(
            f"{shown_path(changed[0])} changed while {stage} ran; nothing was recorded.\n"
            "Its outputs are of the old state: run `dvc repro` again."
        )
    if under_dvc:
        ledger.leave(*under_dvc, seen)
