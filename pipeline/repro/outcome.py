"""Two runs of the pipeline against each other, output by output."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.repro.lock import Lock, Recorded, makers

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
