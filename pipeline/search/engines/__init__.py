"""Engines: where the trials of a search run. What they compute does not depend on it.

An engine submits a function with one item at a time and tells how it ended. `run` keeps just enough of them
under way, and sees to those whose worker process died.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pipeline.core.errors import UsageError
from pipeline.core.registry import check_name

VARIABLE: Final = "PIPELINE_ENGINE"
ATTEMPTS: Final = 3
"""How often an item is tried by itself that may have been what a worker process died of."""

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
        """Those that have ended since the last call, at least one.

        Raises:
            PipelineError: the engine is lost, or what the function raised is one.
        """
        ...

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Run a function once on every worker that is there by now; nowhere if none can be there yet.

        Raises:
            PipelineError: what the function raised is one.
        """
        ...


def run(
    engine: Engine,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    died: Callable[[Item], Result],
    note: Callable[[str], None],
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in the order in which they end.

    Items are taken as there is room, so there can be any number of them. One that was under way when a worker
    process died is tried again by itself, so that it is known whose fault the next death is.

    Args:
        engine: already open.
        function: picklable, as are items and results; what it raises ends everything.
        items: what to work on.
        died: the result for an item whose process died every time that it was tried by itself.
        note: is told of deaths, in a line.
    """
    waiting = iter(items)
    # Items and how often they are to be tried by themselves; None for those that nobody suspects.
    suspects: deque[tuple[Item, int]] = deque()
    under_way: dict[Any, tuple[Item, int | None]] = {}
    exhausted = False
    while True:
        if suspects and not under_way:
            item, attempts = suspects.popleft()
            under_way[engine.submit(function, item)] = item, attempts
        while not (suspects or exhausted or _runs_by_itself(under_way)) and len(under_way) < engine.window:
            for item in waiting:
                under_way[engine.submit(function, item)] = item, None
                break
            else:
                exhausted = True
        if not under_way:
            return
        ended = engine.wait()
        lost = sum(each.died for each in ended)
        if lost:
            note(f"a worker process died; the trials that it may have had ({lost}) run again, one by one")
        for each in ended:
            item, left = under_way.pop(each.handle)
            if not each.died:
                yield each.result
            elif left == 1:
                yield died(item)
            else:
                suspects.append((item, ATTEMPTS if left is None else left - 1))


def _runs_by_itself(under_way: dict[Any, tuple[Item, int | None]]) -> bool:
    return any(attempts is not None for _, attempts in under_way.values())


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
