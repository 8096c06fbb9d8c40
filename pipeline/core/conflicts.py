"""What a merge left undecided in a file that git keeps: told before a parser trips over it."""

import re
from pathlib import Path
from typing import Final

from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError

_MARKER: Final = re.compile(rb"^(<{7}|\|{7}|={7}|>{7})( [^\r\n]*)?\r?$", re.MULTILINE)
# What the next run writes anew needs no reader's judgement.
_MADE_BY_DVC: Final = ("dvc.lock", "config.yaml")


def refuse_conflicts(content: bytes, name: str | Path) -> None:
    """See that a file has no conflict markers.

    Args:
        content: of the file.
        name: how to call it, its path where it has one.

    Raises:
        ConfigError: it has; the message names the first and says what to do.
    """
    if not (marker := _MARKER.search(content)):
        return
    line = content.count(b"\n", 0, marker.start()) + 1
    shown = shorten(marker[0].decode("utf-8", "replace").strip(), 40)
    remedy = (
        "take either side (git checkout --ours, or --theirs), run dvc repro and commit what it writes"
        if str(name).endswith(_MADE_BY_DVC)
        else "keep the lines you want and delete the markers"
    )
    raise ConfigError(f"{name}: line {line}: found '{shown}', which a merge left there: {remedy}")


def refuse_conflicts_in(*paths: Path) -> None:
    """See that files have no conflict markers; one that cannot be read is left to its reader.

    Raises:
        ConfigError: as `refuse_conflicts`.
    """
    for path in paths:
        if path.is_file():
            refuse_conflicts(path.read_bytes(), path)
