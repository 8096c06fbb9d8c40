"""The Dask engine: workers that are stopped in a bad moment, and a scheduler that goes in one."""

import contextlib
import errno
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.search.engines import Ended, dask
from pipeline.search.engines.dask import DaskCluster

pytestmark = pytest.mark.service
ADDRESS = "tcp://127.0.0.1:8786"


@pytest.fixture
def engine() -> Iterator[DaskCluster]:
    """On two workers that are processes of this machine; stopped ones are let go at the end."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        DaskCluster(cluster.scheduler_address) as opened,
    ):
        processes = opened._client.run(os.getpid)
        yield opened
        for number in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)


def until(found: Callable[[], Any]) -> Any:  # noqa: ANN401  (what it gives)
    """What is found in the end; below the 300 s after which the scheduler gives up a silent worker."""
    end = time.monotonic() + 200
    while not (result := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return result


def wait_for(path: Path) -> str:
    while not path.exists():
        time.sleep(0.01)
    return "gone"


def stop(engine: DaskCluster, count: int) -> None:
    for number in list(engine._client.run(os.getpid).values())[:count]:
        os.kill(number, signal.SIGSTOP)


def test_a_result_is_here_though_its_worker_was_stopped_right_after(engine: DaskCluster) -> None:
    future = engine.submit(str, 1)
    until(lambda: future.status == "finished")
    stop(engine, 2)
    # It would be 300 s until the scheduler gives up a silent worker.
    assert until(engine.wait) == [Ended(future, "1")]


def test_a_worker_that_was_only_slow_has_a_successor(engine: DaskCluster, tmp_path: Path) -> None:
    future = engine.submit(wait_for, tmp_path / "go")
    has = until(lambda: {worker for worker, keys in engine._client.processing().items() if keys})
    engine.give_up([future])
    until(lambda: len(engine._client.nthreads().keys() - has) == 2)
    (tmp_path / "go").touch()
    assert until(engine.wait) == [Ended(future, "gone")]


def test_everywhere_does_not_wait_for_a_worker_that_is_stopped(
    engine: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_TIMEOUT_SECONDS", 2)
    stop(engine, 1)
    engine.everywhere(os.getpid)
    monkeypatch.undo()  # the other one has time to answer
    with pytest.raises(PipelineError, match=r"^a Dask worker could not begin: KeyError: 'absent'$"):
        engine.everywhere(_fail)


def _fail() -> None:
    raise KeyError("absent")


class Future:
    """One that has ended before anybody asks.

    Args:
        status: as it is.
        error: what `exception` returns, or raises if it is lost with its scheduler.
    """

    key = "trial"

    def __init__(self, status: str, error: BaseException | None = None) -> None:
        self.status, self.error = status, error

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        function(self)

    def exception(self) -> BaseException | None:
        if isinstance(self.error, OSError | CancelledError):
            raise self.error
        return self.error


class Client:
    status = "running"

    def __init__(self, future: Future) -> None:
        self.future = future

    def submit(self, *_: object, **__: object) -> Future:
        return self.future


def wait(future: Future, result: object = None) -> Any:  # noqa: ANN401  (several)
    pytest.importorskip("distributed", reason="distributed is not installed")
    engine = DaskCluster(ADDRESS)
    engine._client = Client(future)  # no scheduler dies on time
    engine.submit(str, 1)
    if result is not None:
        engine._take((0.0, (future.key, pickle.dumps(result))))
    return engine.wait()


def killed() -> Exception:
    from distributed.scheduler import KilledWorker  # an extra

    return KilledWorker("trial", None, 4)


@pytest.mark.parametrize("status", ["finished", "pending", "lost"])
def test_a_result_that_is_here_counts_whatever_became_of_its_worker(status: str) -> None:
    future = Future(status)
    assert wait(future, "a result") == [Ended(future, "a result")]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError("no answer"),
        CancelledError("scheduler-connection-lost"),
    ],
    ids=["reset", "timeout", "cancelled"],
)
def test_a_scheduler_lost_while_an_end_is_asked_for_is_told_as_such(error: Exception) -> None:
    with pytest.raises(PipelineError, match=rf"^the Dask scheduler at {ADDRESS} is lost \(.*\)\. What has"):
        wait(Future("error", error))


def test_a_scheduler_lost_before_is_told_as_such() -> None:
    with pytest.raises(PipelineError, match=r"is lost \(cancelled\)"):
        wait(Future("cancelled"))


@pytest.mark.parametrize("workers", [{}, {"tcp://127.0.0.1:4242": 1}])
def test_a_search_without_workers_ends_in_a_line(
    workers: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr(dask, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(dask, "_PATIENCE_SECONDS", 0.05)
    engine = DaskCluster(ADDRESS)
    engine._client = SimpleNamespace(status="running", nthreads=lambda: workers)
    if workers:
        assert [engine.wait() for _ in range(20)] == [[]] * 20
        return
    with pytest.raises(PipelineError, match=rf"^the Dask scheduler at {ADDRESS} has no workers: start some"):
        until(engine.wait)


def test_a_worker_killed_time_and_again_is_a_death() -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    future = Future("error", killed())
    assert wait(future) == [Ended(future, died=True)]


@pytest.mark.parametrize("error", [PipelineError("other code"), ValueError("no\nsuch thing")])
def test_what_a_function_raised_ends_the_search_in_a_line(error: Exception) -> None:
    with pytest.raises(PipelineError, match=r"^(other code|.* could not begin: ValueError: no such thing)$"):
        wait(Future("error", error))
