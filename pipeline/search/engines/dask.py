"""A Dask cluster, by the address of its scheduler."""

import contextlib
import logging
import pickle
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Final, Self

from pipeline.core.errors import PipelineError, UsageError
from pipeline.search.engines import POLL_SECONDS, Ended

_TIMEOUT_SECONDS: Final = 20
_PATIENCE_SECONDS: Final = 120  # without any worker; a new one in the place of one that died takes a few


class DaskCluster:
    """The workers that a scheduler has, and those that join it later.

    What a function returns comes as an event, by way of the scheduler. Left as the task's result it would
    stay with the worker until it is fetched, and a worker that is stopped before would hold the search up.

    Args:
        address: of the scheduler, such as ``tcp://127.0.0.1:8786``.
    """

    name = "dask"

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None
        self._topic = f"pipeline-{uuid.uuid4().hex}"
        self._results: dict[str, bytes] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = 0
        self._counted_at = -float("inf")
        self._seen_workers_at = time.monotonic()

    @property
    def window(self) -> int:
        """Twice what all workers run at a time, and some for the way there and back."""
        now = time.monotonic()
        if now - self._counted_at > POLL_SECONDS:
            self._counted_at = now
            with self._watch_for_loss():
                self._threads = sum(self._client.nthreads().values())
        return 2 * max(self._threads, 1) + 2

    def submit(self, function: Callable[[Any], Any], item: object) -> Any:  # noqa: ANN401  (a Dask future)
        """Hand it to the scheduler."""
        with self._watch_for_loss():
            key = f"trial-{uuid.uuid4().hex}"
            future = self._client.submit(_run, function, item, self._topic, key, key=key)
        future.add_done_callback(self._ended.put)
        return future

    def wait(self) -> Sequence[Ended]:
        """Those that have ended.

        Raises:
            PipelineError: the scheduler is lost, or what a function raised is one.
        """
        done = self._next()
        while not self._ended.empty():
            done.append(self._ended.get())
        if lost := next((each for each in done if each.status == "cancelled"), None):
            raise self._loss_error(lost.status)
        return [self._outcome(each) for each in done]

    def _outcome(self, future: Any) -> Ended:  # noqa: ANN401  (a Dask future)
        from distributed.scheduler import KilledWorker  # an extra

        # Where there is one it is here by now: the worker sends the event first, and both take the same way.
        result = self._results.pop(future.key, None)
        if result is not None:
            return Ended(future, pickle.loads(result))  # noqa: S301  (as Dask itself does)
        with self._watch_for_loss():
            error = future.exception()
        if isinstance(error, KilledWorker):
            return Ended(future, died=True)
        if isinstance(error, PipelineError):
            raise error
        raise PipelineError(_describe_failed_start(error))

    def _take(self, event: tuple[float, tuple[str, bytes]]) -> None:
        """Keep the result that an event brings until its task is known to have ended."""
        _, (key, result) = event
        self._results[key] = result

    def _next(self) -> list[Any]:
        try:
            return [self._ended.get(timeout=POLL_SECONDS)]
        except queue.Empty:
            if self._client.status != "running":
                raise self._loss_error(self._client.status) from None
            self._check_workers()
            return []

    def _check_workers(self) -> None:
        """Wait a while for others where all workers have ended, but not for ever."""
        now = time.monotonic()
        with self._watch_for_loss():
            if self._client.nthreads():
                self._seen_workers_at = now
        if now - self._seen_workers_at > _PATIENCE_SECONDS:
            raise self._no_workers_error()

    def _no_workers_error(self) -> PipelineError:
        return PipelineError(
            f"the Dask scheduler at {self._address} has no workers: start some with"
            f" `pipeline worker {self._address}`, and the same command again"
        )

    def _loss_error(self, found: str) -> PipelineError:
        return PipelineError(
            f"the Dask scheduler at {self._address} is lost ({found}). What has ended is kept: start a"
            " scheduler and the same command again"
        )

    @contextlib.contextmanager
    def _watch_for_loss(self) -> Iterator[None]:
        """Every question to the scheduler can be the one in which its loss is found."""
        from distributed.client import ClosedClientError  # an extra

        try:
            yield
        except (OSError, CancelledError, ClosedClientError) as error:
            raise self._loss_error(_describe_error(error)) from None

    def give_up(self, handles: Sequence[Any]) -> None:
        """Have the scheduler forget the workers that these run on; it gives what they had to others.

        A worker may have been slow and not stopped. Its process ends, and `pipeline worker` starts another
        one in its place; else a time limit that is too short would leave a search without workers.

        Raises:
            PipelineError: the scheduler is lost.
        """

        # A function of its own, which travels with its code: the scheduler need not have the package.
        async def remove(workers: Sequence[str], dask_scheduler: Any) -> None:  # noqa: ANN401  (Dask's)
            for worker in workers:
                if worker not in dask_scheduler.workers:
                    continue
                # What remove_worker would send ends the nanny too, which starts such processes.
                close = {"op": "close", "reason": "time-limit", "nanny": False, "executor_wait": False}
                dask_scheduler.worker_send(worker, close)
                # Expected: nothing is held against the trials that it had.
                await dask_scheduler.remove_worker(
                    worker, stimulus_id="time-limit", expected=True, close=False
                )

        with self._watch_for_loss():
            keys = {future.key for future in handles}
            stuck = [worker for worker, has in self._client.processing().items() if keys & set(has)]
            self._client.run_on_scheduler(remove, stuck)

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Run a function in every worker process; wait for the first one, for none that is stopped.

        Raises:
            PipelineError: there is none, or what the function raised is one.
        """
        from distributed import as_completed  # an extra

        try:
            self._client.wait_for_workers(1, timeout=_TIMEOUT_SECONDS)
        except TimeoutError:
            raise self._no_workers_error() from None
        with self._watch_for_loss():
            calls = [
                self._client.submit(function, workers=[worker], pure=False)
                for worker in self._client.nthreads()
            ]
            answered = as_completed(calls, loop=self._client.loop, timeout=_TIMEOUT_SECONDS)
            with contextlib.suppress(TimeoutError):
                for call in answered:
                    error = call.exception()
                    if isinstance(error, PipelineError):
                        raise error
                    if error is not None:
                        raise PipelineError(_describe_failed_start(error))

    def __enter__(self) -> Self:
        try:
            from distributed import Client  # an extra
        except ImportError:
            raise UsageError(
                "PIPELINE_ENGINE=dask: the package distributed is not installed: pip install -e '.[dask]'"
            ) from None
        # What is wrong is told here, in a line.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            self._client = Client(self._address, timeout=_TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PipelineError(
                f"no Dask scheduler answers at {self._address} ({error}): see DASK_SCHEDULER_ADDRESS"
            ) from None
        self._client.subscribe_topic(self._topic, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go of what is still under way: the scheduler forgets it when its client has gone."""
        self._client.close(timeout=2)


def _run(function: Callable[[Any], Any], item: object, topic: str, key: str) -> None:
    """Run the function in a worker and send what it returns."""
    from distributed import get_worker  # an extra

    get_worker().log_event(topic, (key, pickle.dumps(function(item))))


def _describe_failed_start(error: BaseException) -> str:
    return f"a Dask worker could not begin: {_describe_error(error)}"


def _describe_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
