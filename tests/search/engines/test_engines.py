"""Engines: what is retried when workers die, what is taken when, and that each engine gives the same."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from pipeline.core.errors import PipelineError, UsageError
from pipeline.search import engines
from pipeline.search.engines import ATTEMPTS, Ended, local


class Imagined:
    """An engine without processes, whose items die as often as a table says, with all that are under way.

    Args:
        deaths: item -> how often.
        window: as of an engine.
    """

    name = "imagined"

    def __init__(self, deaths: dict[int, int], window: int) -> None:
        self.deaths, self.window = dict(deaths), window
        self.under_way: deque[tuple[object, Callable[[Any], Any], Any]] = deque()
        self.most = 0

    def submit(self, function: Callable[[Any], Any], item: object) -> object:
        handle = object()
        self.under_way.append((handle, function, item))
        self.most = max(self.most, len(self.under_way))
        return handle

    def wait(self) -> Sequence[Ended]:
        handle, function, item = self.under_way.popleft()
        if not self.deaths.get(item, 0):
            return [Ended(handle, function(item))]
        self.deaths[item] -= 1
        fallen = [handle, *(other for other, _, _ in self.under_way)]
        self.under_way.clear()
        return [Ended(each, died=True) for each in fallen]

    def give_up(self, handles: Sequence[object]) -> None: ...

    def everywhere(self, function: Callable[[], Any]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def run(engine: engines.Engine, function: Callable[[int], Any], items: Iterator[int] | range) -> list[Any]:
    notes: list[str] = []
    with engine:
        return list(engines.run(engine, function, items, lambda item: f"{item} died", notes.append))


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("deaths", [{}, {0: 1}, {3: 2}, {3: 1, 4: 1}, {0: 1, 19: 2}, {5: ATTEMPTS - 1}])
def test_every_item_ends_however_often_workers_die(window: int, deaths: dict[int, int]) -> None:
    engine = Imagined(deaths, window)
    assert sorted(run(engine, lambda item: item * 10, range(20))) == [item * 10 for item in range(20)]
    assert engine.most <= window


@pytest.mark.parametrize("window", [1, 3, 100])
def test_only_an_item_that_kills_every_time_is_given_up(window: int) -> None:
    found = run(Imagined({2: 99, 7: 99}, window), str, range(9))
    assert sorted(found) == ["0", "1", "2 died", "3", "4", "5", "6", "7 died", "8"]


class Stopping(Imagined):
    """An engine on which time passes, and whose items never end the first times that a table says.

    Args:
        stops: item -> how often.
        all_fall: whether all that are under way are lost with a worker that is given up; else that item alone
            goes on under its handle.
    """

    def __init__(self, stops: dict[int, int], window: int, *, all_fall: bool) -> None:
        super().__init__({}, window)
        self.stops, self.all_fall = dict(stops), all_fall
        self.now = 0.0
        self.fallen: list[Ended] = []
        self.given_up: list[Any] = []

    def wait(self) -> Sequence[Ended]:
        self.now += 1.0
        if self.fallen:
            fallen, self.fallen = self.fallen, []
            return fallen
        for place, (handle, function, item) in enumerate(self.under_way):
            if not self.stops.get(item, 0):
                del self.under_way[place]
                return [Ended(handle, function(item))]
        return []

    def give_up(self, handles: Sequence[object]) -> None:
        late = [item for handle, _, item in self.under_way if handle in handles]
        self.given_up += late
        for item in late:
            self.stops[item] -= 1
        if self.all_fall:
            self.fallen = [Ended(handle, died=True) for handle, _, _ in self.under_way]
            self.under_way.clear()


@pytest.mark.parametrize("all_fall", [True, False])
@pytest.mark.parametrize("window", [2, 5, 100])
@pytest.mark.parametrize("stops", [{}, {0: 1}, {3: 2}, {3: 1, 4: 1}, {7: 5}])
def test_an_item_whose_worker_was_stopped_runs_elsewhere_however_often(
    window: int, stops: dict[int, int], *, all_fall: bool
) -> None:
    engine = Stopping(stops, window, all_fall=all_fall)
    found = list(engines.run(engine, str, range(8), str, lambda _: None, clock=lambda: engine.now))
    assert sorted(found) == [str(item) for item in range(8)]
    assert sorted(engine.given_up) == sorted(item for item, times in stops.items() for _ in range(times))
    assert engine.most <= window


def test_a_time_limit_follows_from_the_others_or_is_given_and_doubles() -> None:
    for given, expected in ((None, [60, 120]), (10.0, [10, 20])):
        notes: list[str] = []
        engine = Stopping({0: 2}, 3, all_fall=True)
        results = engines.run(
            engine,
            str,
            range(6),
            str,
            notes.append,
            limit_seconds=given,
            clock=lambda: engine.now,  # noqa: B023
        )
        assert sorted(results) == list("012345")
        assert notes == [
            f"trials that have not ended after {seconds} s: 1; their workers are given up, and they run again"
            " elsewhere"
            for seconds in expected
        ]


@pytest.mark.slow
def test_a_process_that_is_stopped_holds_nothing_up(once: Callable[[int], bool]) -> None:
    def function(item: int) -> int:
        if item in {1, 4} and once(item):
            os.kill(os.getpid(), signal.SIGSTOP)
        return item

    notes: list[str] = []
    with local.Processes(2) as engine:
        results = list(engines.run(engine, function, range(8), str, notes.append, limit_seconds=5.0))
    assert sorted(results) == list(range(8))
    assert notes
    assert all("have not ended after" in note for note in notes)


def test_items_are_taken_as_there_is_room() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(10_000):
            taken.append(item)
            yield item

    engine = Imagined({}, 4)
    results = engines.run(engine, str, items(), str, print)
    assert next(results) == "0"
    assert len(taken) == 4
    assert len(list(results)) == 9_999
    assert engine.most == 4


# --- processes of this machine


@pytest.fixture
def once(tmp_path: Path) -> Callable[[int], bool]:
    """Whether a number is asked about for the first time, in whichever process."""
    folder = tmp_path

    def once(number: int) -> bool:
        try:
            os.close(os.open(folder / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    return once


def test_a_process_that_is_killed_costs_no_item(once: Callable[[int], bool]) -> None:
    def function(item: int) -> tuple[int, int]:
        if item in {3, 4} and once(item):
            os.kill(os.getpid(), signal.SIGKILL)
        return item, os.getpid()

    with local.Processes(2) as engine:
        results = list(engines.run(engine, function, range(12), str, print))
    assert sorted(item for item, _ in results) == list(range(12))
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_an_item_that_kills_every_process_is_given_up(once: Callable[[int], bool]) -> None:
    del once

    def function(item: int) -> str:
        if item == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return str(item)

    assert sorted(run(local.Processes(2), function, range(4))) == ["0", "1 died", "2", "3"]


def test_processes_have_one_thread_each_and_the_environment_of_this_one() -> None:
    def function(item: int) -> tuple[str | None, ...]:
        del item
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")
        return tuple(os.environ.get(name) for name in names)

    expected = ("1", "1", os.environ["OPENBLAS_CORETYPE"], os.environ["NPY_DISABLE_CPU_FEATURES"])
    assert run(local.Processes(2), function, range(2)) == [expected] * 2


def test_what_a_function_raises_ends_everything() -> None:
    def function(item: int) -> None:
        raise PipelineError(f"no data for {item}")

    with pytest.raises(PipelineError, match="no data for"):
        run(local.Processes(2), function, range(4))
    with pytest.raises(PipelineError, match="no data for 0"):
        run(local.Inline(), function, range(4))


def test_one_process_is_this_one() -> None:
    assert isinstance(engines.open_engine("local", 1), local.Inline)
    assert run(local.Inline(), lambda item: (item, os.getpid()), range(3)) == [
        (item, os.getpid()) for item in range(3)
    ]


# --- which engine


def test_the_engine_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.VARIABLE, raising=False)
    assert engines.select() == "local"
    for name in engines.ENGINES:
        monkeypatch.setenv(engines.VARIABLE, name)
        assert engines.select() == name
    monkeypatch.setenv(engines.VARIABLE, "spark")
    with pytest.raises(UsageError, match=r"^PIPELINE_ENGINE=spark: unknown; one of local, dask, ray$"):
        engines.select()


@pytest.mark.parametrize(
    ("name", "package", "variable"),
    [("dask", "distributed", "DASK_SCHEDULER_ADDRESS"), ("ray", "ray", "RAY_ADDRESS")],
)
def test_what_an_engine_lacks_is_told_in_one_line(
    name: str, package: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match=f"^PIPELINE_ENGINE={name}: set {variable} to where its cluster is"):
        engines.open_engine(name, 2)
    monkeypatch.setenv(variable, "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught, engines.open_engine(name, 2):
        pass
    assert str(caught.value) == (
        f"PIPELINE_ENGINE={name}: the package {package} is not installed: pip install -e '.[{name}]'"
    )
