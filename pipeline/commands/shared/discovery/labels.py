"""Labels as they are in files: how many classes they make, and what a definition says of them."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files.images import Part
from pipeline.data.formats.csv_table import is_number

_MOST_CLASSES: Final = 256
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")


def list_classes(place: Path, labels: Mapping[Part, Iterable[str]], what: str = "labels") -> list[str]:
    """The different labels of the training set, numbers first and in their order.

    Args:
        place: for messages.
        labels: of each part.
        what: the labels are: ``labels``, or the ``folders`` that stand for them.

    Raises:
        FormatError: they are too few or too many, or the test set has others.
    """
    classes = sorted(set(labels["train"]), key=_by_number)
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise FormatError(
            f"{place}: expected 2 to {_MOST_CLASSES} {what}, one for each class, found {len(classes):,}:"
            f" {shorten(', '.join(classes))}"
        )
    if unknown := sorted(set(labels.get("test", ())) - set(classes)):
        raise FormatError(
            f"{place}: the test set has {what} that the training set has not: {shorten(', '.join(unknown))}"
        )
    return classes


def describe_labels(classes: list[str], notes: list[str]) -> dict[str, Any]:
    """What a definition's `reading` says of labels that are numbers, but not from 0 on; it is noted too."""
    if not any(map(_WHOLE.fullmatch, classes)):
        return {}
    first = int(classes[0]) if _WHOLE.fullmatch(classes[0]) else 0
    if classes != [str(number) for number in range(first, first + len(classes))]:
        notes.append(f"labels are not consecutive: {shorten(', '.join(classes))}")
        return {"labels": {label: label for label in classes}}
    if first:
        notes.append(f"labels begin with {first}")
        return {"first_label": first}
    return {}


def _by_number(label: str) -> tuple[bool, float, str]:
    number = float(label) if is_number(label) else math.nan
    return not math.isfinite(number), number if math.isfinite(number) else 0.0, label
