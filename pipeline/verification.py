"""Two runs of the pipeline against each other: what dvc.lock recorded of each, and how two outputs differ."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final

import numpy as np
from omegaconf import OmegaConf

from pipeline.contents import shorten
from pipeline.errors import FormatError
from pipeline.storage import Array

_NUMERIC_STAGE: Final = "train"
_LONGEST_VALUE: Final = 60  # characters


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
    """
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


def makers(lock: Lock) -> dict[str, str]:
    """Output -> the stage that makes it."""
    return {output: stage for stage, recorded in lock.items() for output in recorded.outputs}


def needed(lock: Lock, stages: Collection[str]) -> set[str]:
    """`stages` and all those whose outputs they need; stages that are not in the lock stand alone."""
    made_by = makers(lock)
    found: set[str] = set()
    waiting = list(stages)
    while waiting:
        stage = waiting.pop()
        if stage in found:
            continue
        found.add(stage)
        if stage in lock:
            paths = (*lock[stage].inputs, *lock[stage].parameters)
            waiting += [made_by[path] for path in paths if path in made_by]
    return found


def numeric_stages(lock: Lock, experiments: Collection[str]) -> set[str]:
    """Stages whose outputs hang on the numeric environment: training these, and all that follows from it.

    Not those before: fetch, parse and compose only move bytes, and split draws integers, adds up integers,
    and else only divides and takes roots, which every processor rounds alike.
    """
    made_by = makers(lock)
    found = {f"{_NUMERIC_STAGE}@{experiment}" for experiment in experiments} & set(lock)
    while True:
        more = {
            stage
            for stage, recorded in lock.items()
            if any(made_by.get(path) in found for path in (*recorded.inputs, *recorded.parameters))
        }
        if more <= found:
            return found
        found |= more


# ------------------------------------------------------------------------------------------ the comparison


class State(StrEnum):
    """What a comparison found of one output."""

    SAME = "same"
    DIFFERENT = "DIFFERENT"
    MAY_DIFFER = "differs, as it may here"
    UNRECORDED = "NOT IN dvc.lock"
    MISSING = "NOT MADE"


@dataclass(frozen=True)
class Row:
    """One output of one stage.

    Attributes:
        stage: that makes it.
        output: its path.
        state: whether it is the same.
        committed: the hash in the committed dvc.lock; None where it has none.
        lock_agrees: whether dvc.lock has its hash. If so and it is different, the file in git is another.
    """

    stage: str
    output: str
    state: State
    committed: str | None
    lock_agrees: bool


@dataclass(frozen=True)
class Report:
    """What `compare` found.

    Attributes:
        rows: one per output, in the order in which the stages ran.
        outdated: stage -> what dvc.lock recorded of it that is no longer so: files that no stage makes,
            parameters, the command.
        forgotten: stages in the committed dvc.lock that dvc.yaml no longer has.
    """

    rows: Sequence[Row]
    outdated: Mapping[str, Sequence[str]]
    forgotten: Sequence[str]

    @property
    def identical(self) -> int:
        """How many outputs are the same."""
        return sum(row.state is State.SAME for row in self.rows)

    @property
    def wrong(self) -> list[Row]:
        """Outputs that are not the same and should be; those of the first such stage stand first."""
        return [row for row in self.rows if row.state not in {State.SAME, State.MAY_DIFFER}]

    @property
    def free(self) -> list[Row]:
        """Outputs that differ and may."""
        return [row for row in self.rows if row.state is State.MAY_DIFFER]

    @property
    def failed(self) -> bool:
        """Whether anything is not as it should be."""
        return bool(self.wrong or self.outdated)


def compare(
    committed: Lock,
    fresh: Lock,
    *,
    edited: Collection[str] = (),
    may_differ: Collection[str] = (),
    chosen: Collection[str] | None = None,
    existing: Collection[str] | None = None,
) -> Report:
    """Compare what a run from nothing recorded with what is committed.

    Args:
        committed: from the committed dvc.lock.
        fresh: from that of the run, in the order of its stages.
        edited: outputs in git whose bytes there are not those that the run made.
        may_differ: stages whose outputs are free to differ on this machine.
        chosen: stages to compare; by default all.
        existing: stages that dvc.yaml defines; by default those that either lock has.
    """
    order = [*fresh, *(stage for stage in committed if stage not in fresh)]
    known = set(order if existing is None else existing)
    wanted = known if chosen is None else set(chosen) & known
    rows: list[Row] = []
    outdated: dict[str, list[str]] = {}
    made = {*makers(committed), *makers(fresh)}
    for stage in order:
        if stage not in wanted:
            continue
        old, new = committed.get(stage), fresh.get(stage)
        before, after = old.outputs if old else {}, new.outputs if new else {}
        for output in dict.fromkeys((*after, *before)):
            state = _state(before.get(output), after.get(output), output in edited)
            if state is State.DIFFERENT and stage in may_differ:
                state = State.MAY_DIFFER
            agrees = before.get(output) == after.get(output)
            rows.append(Row(stage, output, state, before.get(output), agrees))
        if old and new and (changes := list(_changes(old, new, made))):
            outdated[stage] = changes
    return Report(rows, outdated, [stage for stage in committed if stage not in known])


def _state(before: str | None, after: str | None, edited: bool) -> State:  # noqa: FBT001  (as `in` gives it)
    if after is None:
        return State.MISSING
    if before is None:
        return State.UNRECORDED
    return State.SAME if before == after and not edited else State.DIFFERENT


def _changes(old: Recorded, new: Recorded, made: Collection[str]) -> Iterator[str]:
    if old.command != new.command:
        yield "its command"
    for path in dict.fromkeys((*new.inputs, *old.inputs)):
        # What an earlier stage made is that stage's own row.
        if path not in made and old.inputs.get(path) != new.inputs.get(path):
            yield path
    for file in dict.fromkeys((*new.parameters, *old.parameters)):
        if file in made and set(old.parameters.get(file, {})) == set(new.parameters.get(file, {})):
            continue
        if old.parameters.get(file) != new.parameters.get(file):
            yield f"parameters in {file}"


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
    before, after = (_told(side[place]) if place in side else "nothing" for side in (old, new))
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


def _told(value: object) -> str:
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
    before, after = ("its end" if text is None else _told(text) for text in pair)
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
