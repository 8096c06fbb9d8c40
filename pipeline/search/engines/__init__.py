"""Engines: where the trials of a search run. What they compute does not depend on it.

An engine submits a function with one item at a time and tells how it ended. `run` keeps just enough of them
under way, and sees to those whose worker process died or does not get on.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from pipeline.core.errors import UsageError
from pipeline.core.registry import check_name

POLL_SECONDS: Final = 1.0
"""How long `Engine.wait` waits."""

VARIABLE: Final = "PIPELINE_ENGINE"
ATTEMPTS: Final = 3
"""How often an item is tried by itself that may have been what a worker process died of."""

TIMES_THE_LONGEST: Final = 10
"""How much longer than every item before it one may be under way."""

LEAST_LIMIT_SECONDS: Final = 60.0
"""How long it may in any case: a machine may be busy with other things for a while."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ended:
    """How something that was submitted ended.

    Attributes:
        handle: what `submit` returned.
        result: what the function returned; None where the process died.
        died: whether the process that ran it died.
    """

    handle: Any
    result: Any = None
    died: bool = False


class Engine(AbstractContextManager["Engine"], Protocol):
    """Processes here or elsewhere. Leaving the context abandons whatever is still under way."""

    name: str

    @property
    def window(self) -> int:
        """How many items to have under way at a time: enough that no worker waits for the next."""
        ...

    def submit(self, function: Callable[[Any], Any], item: object) -> Any:  # noqa: ANN401  (each engine's own)
        """Run ``function(item)`` somewhere; both have to be picklable. Returns a hashable handle."""
        ...

    def wait(self) -> Sequence[Ended]:
        """Those that have ended since the last call, possibly none; returns within a second or so.

        Raises:
            PipelineError: the engine is lost, or what the function raised is one.
        """
        ...

    def give_up(self, handles: Sequence[Any]) -> None:
        """Give up the worker processes that these run on, for they do not get on.

        What is under way there ends as died, or goes on elsewhere under its handle.
        """
        ...

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Run a function once on every worker that is there by now; nowhere if none can be there yet.

        Raises:
            PipelineError: what the function raised is one.
        """
        ...


@dataclass
class _Trying(Generic[Item]):
    """An item under way.

    Attributes:
        item: what it is.
        left: how often it is still to be tried by itself, this time included; None if nobody suspects it.
        since: when it was submitted, in seconds of the clock.
        patience: by how much its time limit is multiplied: doubled each time that it was passed.
        excused: whether its next death was ours to cause.
    """

    item: Item
    left: int | None
    since: float = 0.0
    patience: int = 1
    excused: bool = False


class _TimeLimit:
    """How long an item may be under way: as given, or what follows from those that have ended."""

    def __init__(self, seconds: float | None) -> None:
        self._given = seconds
        self._longest: float | None = None

    def learn(self, seconds: float) -> None:
        self._longest = max(seconds, self._longest or 0.0)

    def seconds(self, patience: int) -> float:
        known = self._given
        if known is None and self._longest is not None:
            known = max(LEAST_LIMIT_SECONDS, TIMES_THE_LONGEST * self._longest)
        return math.inf if known is None else patience * known


def run(
    engine: Engine,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    died: Callable[[Item], Result],
    note: Callable[[str], None],
    *,
    limit_seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in the order in which they end.

    Items are taken as there is room, so there can be any number of them. One that was under way when a worker
    process died is tried again by itself, so that it is known whose fault the next death is. One that takes
    far longer than the others is taken from its worker, which may have been stopped, and runs again with
    twice the time: the limit decides where something runs, never what comes of it.

    Args:
        engine: already open.
        function: picklable, as are items and results; what it raises ends everything.
        items: what to work on.
        died: the result for an item whose process died every time that it was tried by itself.
        note: is told of deaths and of limits that were passed, in a line.
        limit_seconds: how long an item may be under way, from its submission on; None for
            `TIMES_THE_LONGEST` of those before it, and `LEAST_LIMIT_SECONDS` at least.
        clock: seconds from any fixed moment.
    """
    work = _Work(engine, function, iter(items), _TimeLimit(limit_seconds), note, clock)
    while True:
        work.submit()
        if not work.under_way:
            return
        ended = engine.wait()
        lost = sum(each.died and not work.under_way[each.handle].excused for each in ended)
        if lost:
            note(f"a worker process died; the trials that it may have had ({lost}) run again, one by one")
        for each in ended:
            trying = work.under_way.pop(each.handle)
            if not each.died:
                work.limit.learn(clock() - trying.since)
                yield each.result
            elif not work.try_again(trying):
                yield died(trying.item)
        work.give_up_late()


@dataclass
class _Work(Generic[Item]):
    """What is to do and what is under way.

    Attributes:
        suspects: to be tried by themselves.
        again: to be tried again beside others.
        under_way: by the engine's handles.
    """

    engine: Engine
    function: Callable[[Item], Any]
    waiting: Iterator[Item]
    limit: _TimeLimit
    note: Callable[[str], None]
    clock: Callable[[], float]
    suspects: deque[_Trying[Item]] = field(default_factory=deque)
    again: deque[_Trying[Item]] = field(default_factory=deque)
    under_way: dict[Any, _Trying[Item]] = field(default_factory=dict)

    def submit(self) -> None:
        """Submit as much as there is room for; one suspect alone."""
        if self.suspects:
            if not self.under_way:
                self._submit(self.suspects.popleft())
            return
        alone = any(trying.left is not None for trying in self.under_way.values())
        while not alone and len(self.under_way) < self.engine.window:
            trying = self._next()
            if trying is None:
                return
            self._submit(trying)

    def _next(self) -> _Trying[Item] | None:
        if self.again:
            return self.again.popleft()
        for item in self.waiting:
            return _Trying(item, None)
        return None

    def _submit(self, trying: _Trying[Item]) -> None:
        trying.since, trying.excused = self.clock(), False
        self.under_way[self.engine.submit(self.function, trying.item)] = trying

    def try_again(self, trying: _Trying[Item]) -> bool:
        """Note that an item's process died; whether it is to be tried again."""
        if trying.excused:
            # A suspect is still one.
            (self.again if trying.left is None else self.suspects).append(trying)
            return True
        if trying.left == 1:
            return False
        trying.left = ATTEMPTS if trying.left is None else trying.left - 1
        self.suspects.append(trying)
        return True

    def give_up_late(self) -> None:
        """Have what takes too long run somewhere else."""
        now = self.clock()
        late = {
            handle: trying
            for handle, trying in self.under_way.items()
            if now - trying.since > self.limit.seconds(trying.patience)
        }
        if not late:
            return
        seconds = max(self.limit.seconds(trying.patience) for trying in late.values())
        self.note(
            f"trials that have not ended after {seconds:.0f} s: {len(late)}; their workers are given up, and"
            " they run again elsewhere"
        )
        for trying in late.values():
            trying.since, trying.patience = now, 2 * trying.patience
        for trying in self.under_way.values():
            trying.excused = True
        self.engine.give_up(list(late))


def select(name: str = "") -> str:
    """The name of an engine that there is: the one given, else what PIPELINE_ENGINE says, else local.

    Raises:
        UsageError: there is no such engine.
    """
    place = "--engine" if name else VARIABLE
    name = name or os.environ.get(VARIABLE) or "local"
    check_name(ENGINES, place, name)
    return name


def open_engine(name: str, workers: int) -> Engine:
    """An engine that is ready for work once its context is entered.

    Args:
        name: a key of `ENGINES`.
        workers: processes of the local one; the others have those that their cluster has.

    Raises:
        PipelineError: its package is not installed, or its cluster cannot be reached.
    """
    return ENGINES[name](workers)


def _local(workers: int) -> Engine:
    from pipeline.search.engines import local  # each engine imports much

    return local.Processes(workers) if workers > 1 else local.Inline()


def _dask(workers: int) -> Engine:
    from pipeline.search.engines import dask  # an extra

    del workers
    return dask.DaskCluster(_address("dask", "DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:8786"))


def _ray(workers: int) -> Engine:
    from pipeline.search.engines import ray  # an extra

    del workers
    return ray.RayCluster(_address("ray", "RAY_ADDRESS", "127.0.0.1:6379"))


def _address(engine: str, variable: str, example: str) -> str:
    address = os.environ.get(variable)
    if not address:
        raise UsageError(f"{VARIABLE}={engine}: set {variable} to where its cluster is, such as {example}")
    return address


ENGINES: Final[dict[str, Callable[[int], Engine]]] = {"local": _local, "dask": _dask, "ray": _ray}
"""name -> what opens it, given the number of local processes."""
