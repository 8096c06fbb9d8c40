"""How two outputs differ: arrays, JSON, tables, text, folders."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import numpy as np

from pipeline.core.descriptions import shorten
from pipeline.core.files.atomic import Array

_LONGEST_VALUE: Final = 60  # characters


# ---------------------------------------------------------------------------------------- how files differ


@dataclass(frozen=True)
class Difference:
    """How two versions of one file differ.

    Attributes:
        place: where: an array's element, a key, a row and column, a line, a byte. Where numbers alone differ,
            that of the largest difference, else the first.
        committed: what is there in the committed version.
        found: what is there in the other.
        largest: the largest difference between two numbers; None where something else differs.
        count: how many values differ.
        total: how many there are.
        unit: what they are, in the plural.
    """

    place: str
    committed: str
    found: str
    largest: float | None = None
    count: int = 1
    total: int = 1
    unit: str = "values"

    def __str__(self) -> str:
        """The same in one line."""
        text = f"{self.place}: committed {self.committed}, found {self.found}"
        if self.largest is not None:
            text += f", the largest difference: {self.largest:.3g}"
        return f"{text}; {self.count:,} of {self.total:,} {self.unit} differ"


def array_difference(committed: Mapping[str, Array], found: Mapping[str, Array]) -> Difference | None:
    """How named arrays differ, bit by bit; None where they do not."""
    total = sum(array.size for array in committed.values())
    for name in dict.fromkeys((*committed, *found)):
        old, new = committed.get(name), found.get(name)
        if old is None or new is None or (old.shape, old.dtype) != (new.shape, new.dtype):
            return Difference(name, _shape(old), _shape(new), count=1, total=len(committed), unit="arrays")
    count, worst = 0, None
    for name, old in committed.items():
        new = found[name]
        # By their bytes: a NaN equals itself, and 0.0 is not -0.0.
        same = _bytes_by_element(old) == _bytes_by_element(new)
        differing = np.flatnonzero(~same.all(axis=1))
        if not differing.size:
            continue
        count += differing.size
        before, after = old.ravel()[differing], new.ravel()[differing]
        with np.errstate(all="ignore"):
            distances = np.abs(after.astype(np.float64) - before.astype(np.float64))
        distances[np.isnan(distances)] = math.inf
        index = int(distances.argmax())
        if worst is None or distances[index] > worst[0]:
            place = ", ".join(str(int(each)) for each in np.unravel_index(differing[index], old.shape))
            worst = float(distances[index]), f"{name}[{place}]", str(before[index]), str(after[index])
    if worst is None:
        return None
    largest, place, before_text, after_text = worst
    return Difference(place, before_text, after_text, largest, count, total, "numbers")


def _bytes_by_element(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8).reshape(array.size, array.itemsize)


def _shape(array: Array | None) -> str:
    return "nothing" if array is None else f"{array.dtype} {array.shape}"


def json_difference(committed: object, found: object) -> Difference | None:
    """How two JSON values differ, key by key; None where they do not."""
    old, new = dict(_leaves(committed, "")), dict(_leaves(found, ""))
    return _difference_of_leaves(old, new)


def _leaves(value: object, place: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{place}[{index}]")
    elif place:
        yield place, value


def table_difference(
    committed: Sequence[Mapping[str, str]], found: Sequence[Mapping[str, str]]
) -> Difference | None:
    """How two tables differ, field by field; rows count from 1 below the header. None where they do not."""
    return _difference_of_leaves(_fields(committed), _fields(found))


def _fields(rows: Sequence[Mapping[str, str]]) -> dict[str, object]:
    return {
        f"row {number}, {column}": _number(text)
        for number, row in enumerate(rows, start=1)
        for column, text in row.items()
    }


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _difference_of_leaves(old: Mapping[str, object], new: Mapping[str, object]) -> Difference | None:
    absent = object()
    places = list(dict.fromkeys((*old, *new)))
    differing = [place for place in places if repr(old.get(place, absent)) != repr(new.get(place, absent))]
    if not differing:
        return None
    distances = {place: _distance(old.get(place), new.get(place)) for place in differing}
    other = next((place for place, distance in distances.items() if distance is None), None)
    largest = None
    place = other or differing[0]
    if other is None:
        place = max(differing, key=lambda each: distances[each] or 0.0)
        largest = distances[place]
    before, after = (_describe_value(side[place]) if place in side else "nothing" for side in (old, new))
    return Difference(place, before, after, largest, len(differing), len(places))


def _distance(old: object, new: object) -> float | None:
    """Between two numbers; None for anything else."""
    if (
        not isinstance(old, int | float)
        or not isinstance(new, int | float)
        or {type(old), type(new)} & {bool}
    ):
        return None
    distance = abs(float(new) - float(old))
    return math.inf if math.isnan(distance) else distance


def _describe_value(value: object) -> str:
    return shorten(repr(value), _LONGEST_VALUE)


def text_difference(committed: str, found: str) -> Difference | None:
    """The first line in which two texts differ; None where there is none."""
    old, new = committed.splitlines(keepends=True), found.splitlines(keepends=True)
    differing = [
        (number, *pair) for number, pair in enumerate(zip_longest(old, new), start=1) if pair[0] != pair[1]
    ]
    if not differing:
        return None
    number, *pair = differing[0]
    before, after = ("its end" if text is None else _describe_value(text) for text in pair)
    return Difference(f"line {number}", before, after, None, len(differing), max(len(old), len(new)), "lines")


def byte_difference(committed: bytes, found: bytes) -> Difference | None:
    """The first byte in which two files differ, counted from 1; None where there is none."""
    if committed == found:
        return None
    shared = min(len(committed), len(found))
    old, new = (np.frombuffer(data, np.uint8) for data in (committed, found))
    differing = np.flatnonzero(old[:shared] != new[:shared])
    first = int(differing[0]) if differing.size else shared
    before, after = (f"{data[first]:#04x}" if first < len(data) else "its end" for data in (committed, found))
    total = max(len(committed), len(found))
    count = int(differing.size) + total - shared
    return Difference(f"byte {first + 1:,}", before, after, None, count, total, "bytes")


def folder_difference(committed: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    """How two folders, as path -> hash, differ; None where they do not."""
    places = sorted({*committed, *found})
    differing = [place for place in places if committed.get(place) != found.get(place)]
    if not differing:
        return None
    first = differing[0]
    before, after = (f"md5 {side[first]}" if first in side else "nothing" for side in (committed, found))
    return Difference(first, before, after, None, len(differing), len(places), "files")
