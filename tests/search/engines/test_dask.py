"""The Dask engine: what its client raises in the moment in which the scheduler goes, played by a stand-in."""

import errno
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.search.engines import Ended
from pipeline.search.engines.dask import DaskCluster

pytestmark = pytest.mark.service
ADDRESS = "tcp://127.0.0.1:8786"


class Future:
    """One that has ended before anybody asks.

    Args:
        status: at first; gathering can change it, as in the library.
        error: what `exception` returns.
    """

    def __init__(self, status: str, error: Exception | None = None) -> None:
        self.status, self.error = status, error

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        function(self)

    def exception(self) -> Exception | None:
        return self.error

    def result(self) -> str:
        if self.status == "cancelled":
            raise CancelledError
        return "by itself"


class Client:
    status = "running"

    def __init__(self, future: Future, gather: Callable[[list[Future]], list[str]]) -> None:
        self.future, self.gather = future, gather

    def submit(self, *_: object, **__: object) -> Future:
        return self.future


def wait(future: Future, gather: Callable[[list[Future]], list[str]]) -> Any:  # noqa: ANN401  (several)
    pytest.importorskip("distributed", reason="distributed is not installed")
    engine = DaskCluster(ADDRESS)
    engine._client = Client(future, gather)  # no scheduler dies on time
    engine.submit(str, 1)
    return engine.wait()


def together(futures: list[Future]) -> list[str]:
    return ["together" for _ in futures]


def raising(error: Exception, status: str | None = None) -> Callable[[list[Future]], list[str]]:
    def gather(futures: list[Future]) -> list[str]:
        for future in futures:
            future.status = status or future.status
        if futures:
            raise error
        return []

    return gather


def killed() -> Exception:
    from distributed.scheduler import KilledWorker  # an extra

    return KilledWorker("trial", None, 4)


def test_what_has_ended_is_gathered_together() -> None:
    future = Future("finished")
    assert wait(future, together) == [Ended(future, "together")]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError("no answer"),
        CancelledError("scheduler-connection-lost"),
    ],
    ids=["reset", "timeout", "cancelled"],
)
def test_a_scheduler_lost_while_gathering_is_told_as_such(error: Exception) -> None:
    with pytest.raises(PipelineError, match=rf"^the Dask scheduler at {ADDRESS} is lost \(.*\)\. What has"):
        wait(Future("finished"), raising(error))


def test_a_scheduler_lost_before_gathering_is_told_as_such() -> None:
    with pytest.raises(PipelineError, match=r"is lost \(cancelled\)"):
        wait(Future("cancelled"), together)


def test_a_result_lost_with_its_worker_is_asked_for_by_itself() -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    future = Future("finished")
    assert wait(future, raising(killed())) == [Ended(future, "by itself")]


def test_a_result_lost_for_good_is_a_death() -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    future = Future("finished", killed())
    assert wait(future, raising(killed(), "error")) == [Ended(future, died=True)]


def test_a_scheduler_lost_while_a_result_is_asked_for_is_told_as_such() -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    with pytest.raises(PipelineError, match=r"is lost \(CancelledError: no reason given\)"):
        wait(Future("finished"), raising(killed(), "cancelled"))


@pytest.mark.parametrize("error", [PipelineError("other code"), ValueError("no\nsuch thing")])
def test_what_a_function_raised_ends_the_search_in_a_line(error: Exception) -> None:
    with pytest.raises(PipelineError, match=r"^(other code|.* could not begin: ValueError: no such thing)$"):
        wait(Future("error", error), together)
