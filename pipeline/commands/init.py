"""init: unpack a project into a new folder: what a checkout has, without its results, tests and history.

The package's source goes with it, for the stages depend on it: an edit there reruns what it concerns, and
`dvc repro` runs the folder's own code.
"""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.core.errors import UsageError
from pipeline.core.paths import Layout

NEEDS_CHECKOUT = False
EXAMPLE = "init my_project"

PROJECT: Final = (
    ".dvc/config",
    ".dvc/plots.html",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    "conf",
    "dvc.yaml",
    "params.yaml",
)
"""Beside the package in a checkout; in a wheel in the package's folder ``project`` (see pyproject.toml)."""

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_SUFFIXES: Final = {".py", ".html", ".css", ".js"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, or an empty one")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Unpack the project and say what to do next.

    Raises:
        UsageError: the folder holds something already.
        PipelineError: a file cannot be read or written.
    """
    from pipeline.commands.shared.terminal import write, write_lines  # not needed for --help
    from pipeline.core.files.atomic import read_bytes, write_bytes, write_text
    from pipeline.core.files.tables import MAXIMUM_TEXT_BYTES

    folder: Path = layout.root / options.folder
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= {".git"}):
        raise UsageError(f"{options.folder}: exists and is not an empty folder; name another")
    for source, name in _files():
        write_bytes(folder / name, read_bytes(source, maximum_bytes=MAXIMUM_TEXT_BYTES))
    if not _is_in_repository(folder):
        # DVC would refuse to work.
        write_text(folder / ".dvc" / "config.local", "[core]\n    no_scm = true\n")
        write("git was not found: `dvc metrics diff` and experiments need it.")
    write_lines(
        f"A project is in {options.folder}. Next:\n"
        f"  cd {options.folder}\n"
        "  python -m pipeline repro --jobs 1 mnist_two_layer    # or all experiments: dvc repro"
    )


def _files() -> Iterator[tuple[Path, Path]]:
    """Each file to unpack, and its path in the project."""
    wheel = _PACKAGE / "project"
    home = wheel if wheel.is_dir() else _PACKAGE.parent
    for name in PROJECT:
        path = home / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file, file.relative_to(home)
    for file in sorted(_PACKAGE.rglob("*")):
        is_needed = file.suffix in _SUFFIXES or file.parent == _PACKAGE / "data" / "packaged"
        if file.is_file() and is_needed and not file.is_relative_to(wheel):
            yield file, file.relative_to(_PACKAGE.parent)


def _is_in_repository(folder: Path) -> bool:
    """Whether git keeps the folder, after making it a repository where it is in none."""
    try:
        inside = subprocess.run(["git", "rev-parse"], cwd=folder, capture_output=True, check=False)  # noqa: S607  (the user's)
        if inside.returncode:
            subprocess.run(["git", "init", "--quiet"], cwd=folder, capture_output=True, check=True)  # noqa: S607  (the same)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return False
    return True
