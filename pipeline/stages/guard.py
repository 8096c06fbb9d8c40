"""No false lock: a stage fails if its code or inputs change while it runs.

DVC hashes a stage's dependencies after the command has ended. An edit in between would be recorded beside
results that it had no part in, and `dvc status` would call them up to date. So each stage looks before and
after, and an edit in between is an error, upon which DVC records nothing.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import PipelineError

_PACKAGE = Path(__file__).resolve().parent.parent
# It only parses the command line, and no stage has it among its dependencies.
_COMMAND_LINE = _PACKAGE / "__main__.py"
_STARTED_WITH: dict[Path, str] = {}


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _digests(paths: Sequence[Path]) -> dict[Path, str]:
    return {path: _digest(path) for path in _files(paths)}


def remember_code() -> None:
    """Hash the package's source as it is now; call it before the stage's own modules are imported."""
    _STARTED_WITH.update({path: _digest(path) for path in _PACKAGE.rglob("*.py") if path != _COMMAND_LINE})


def _changed_code() -> Iterator[Path]:
    """Source files of modules in use that differ from what `remember_code` saw."""
    for module in list(sys.modules.values()):
        file = str(getattr(module, "__file__", None) or "")
        if file.startswith(f"{_PACKAGE}{os.sep}"):
            path = Path(file)
            if _STARTED_WITH.get(path) not in {None, _digest(path)}:
                yield path


@contextlib.contextmanager
def unchanged(stage: str, inputs: Sequence[Path]) -> Iterator[None]:
    """Run the block and then make sure that the inputs and the code in use are those of before.

    Args:
        stage: the stage's name, as in ``train@mnist_two_layer``.
        inputs: files, and folders with all that is in them.

    Raises:
        PipelineError: something changed, appeared or disappeared in between.
    """
    before = _digests(inputs)
    yield
    after = _digests(inputs)
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    changed += _changed_code()
    if changed:
        raise PipelineError(
            f"{_shown(changed[0])} changed while {stage} ran; nothing was recorded.\n"
            "Its outputs are of the old state: run `dvc repro` again."
        )


def _shown(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
