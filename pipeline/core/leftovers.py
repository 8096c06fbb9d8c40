"""Files that come and go beside what people and stages write, and that no hash should hold.

The same patterns are in .dvcignore, so that DVC's hashes and the guard's are of the same files.
"""

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

PATTERNS: Final = (
    *("__pycache__", "*.pyc"),
    # Of downloads, and of writers that were killed.
    *("*.part", ".*.tmp"),
    # Of editors: backups, and files that say that one is being edited.
    *("*~", "*.swp", "*.swo", ".#*", "#*#"),
)
"""Shell patterns of names, of files and of folders with all that is in them."""

_LEFTOVER: Final = re.compile("|".join(map(fnmatch.translate, PATTERNS)))


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given, and of folders all files below them, sorted, but for what is left over."""
    for path in paths:
        if path.is_dir():
            yield from (each for each in sorted(_below(path)) if each.is_file())
        else:
            yield path


def _below(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not _LEFTOVER.fullmatch(name)]
        yield from (Path(folder, name) for name in files if not _LEFTOVER.fullmatch(name))
