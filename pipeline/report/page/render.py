"""The page as text: its template, style, scripts and data in one file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from pipeline.core.files.atomic import read_bytes
from pipeline.report.page.experiment import Experiment

MAXIMUM_BYTES: Final = 3_000_000
"""The size of the page past which networks are left out of it."""

_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = _FOLDER / "page.html"
_STYLE: Final = _FOLDER / "page.css"
_SCRIPTS: Final = tuple(
    _FOLDER / f"{name}.js"
    for name in ("elements", "charts", "normalise", "network", "sections", "differences", "drawing", "main")
)
FILES: Final = (_TEMPLATE, _STYLE, *_SCRIPTS)
"""What the page is made of beside its data."""


def render(
    experiments: Sequence[Experiment], results: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> str:
    """The page of some experiments, which depends on nothing else than these arguments.

    Args:
        experiments: in the order in which they are shown.
        results: what results.json holds.
        changes: the differences between two revisions, shown first: what `pipeline diff --json` says, and of
            each experiment ``moved`` (under ``gained`` and ``lost``) and ``history``, see
            `pipeline.report.page.moved`.

    Returns:
        HTML that loads nothing. Past `MAXIMUM_BYTES` the networks that come last are left out, whose answers
        to a drawn digit are then missing.
    """
    kept = list(experiments)
    text = _fill(kept, results, changes)
    for index in reversed(range(len(kept))):
        if len(text.encode()) < MAXIMUM_BYTES:
            break
        if kept[index].parameters is not None:
            kept[index] = replace(kept[index], parameters=None, weights="")
            text = _fill(kept, results, changes)
    return text


def _fill(
    experiments: Sequence[Experiment], results: Mapping[str, Any], changes: Mapping[str, Any] | None
) -> str:
    data = {
        "experiments": [asdict(each) for each in experiments],
        "results": results,
        "changes": changes,
    }
    parts = {
        "style": _read(_STYLE),
        "script": "\n".join(_read(path) for path in _SCRIPTS),
        "data": as_script_data(data),
    }
    # In one pass, so that nothing in the data is taken for a place.
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], _read(_TEMPLATE))


def as_script_data(value: object) -> str:
    """JSON in which nothing can end the script element that it stands in, whatever its text says."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _read(path: Path) -> str:
    return read_bytes(path, maximum_bytes=MAXIMUM_BYTES).decode("utf-8")
