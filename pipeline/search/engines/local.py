"""Processes on this machine, by joblib's loky; or none but this one."""

import contextlib
import os
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from joblib.externals.loky.process_executor import ProcessPoolExecutor, ShutdownExecutorError

from pipeline.core import guard, runtime, system
from pipeline.search.engines import POLL_SECONDS, Ended


class Inline:
    """Everything runs in this process, one after the other."""

    name = "local"
    window = 1

    def __init__(self) -> None:
        self._ended: list[Ended] = []

    def submit(self, function: Callable[[Any], Any], item: object) -> object:
        """Run it now."""
        handle = object()
        self._ended.append(Ended(handle, function(item)))
        return handle

    def wait(self) -> Sequence[Ended]:
        """What was submitted."""
        ended, self._ended = self._ended, []
        return ended

    def give_up(self, handles: Sequence[object]) -> None:
        """Nothing is under way."""

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Nothing: this is where the search itself runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is under way."""


class Processes:
    """Processes side by side, one BLAS thread each; new ones where some died.

    Args:
        workers: how many.
    """

    name = "local"

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: Any = None
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    @property
    def window(self) -> int:
        """One more for each process than it is busy with."""
        return 2 * self._workers

    def submit(self, function: Callable[[Any], Any], item: object) -> Future[Any]:
        """Hand it to the next free process."""
        future: Future[Any] = self._submit_anew(function, item)
        future.add_done_callback(self._ended.put)
        return future

    def _submit_anew(self, function: Callable[[Any], Any], item: object) -> Any:  # noqa: ANN401  (loky's own)
        if self._executor is not None:
            with contextlib.suppress(BrokenProcessPool):
                return self._executor.submit(function, item)
            self._stop()
        self._executor = ProcessPoolExecutor(
            self._workers,
            timeout=None,
            initializer=_begin,
            initargs=(os.getpid(),),
            env=dict(runtime.ONE_THREAD),
        )
        return self._executor.submit(function, item)

    def wait(self) -> Sequence[Ended]:
        """Those that have ended; all that were under way if a process died."""
        try:
            ended = [self._describe_end(self._ended.get(timeout=POLL_SECONDS))]
        except queue.Empty:
            return []
        while not self._ended.empty():
            ended.append(self._describe_end(self._ended.get()))
        return ended

    def _describe_end(self, future: Future[Any]) -> Ended:
        error = future.exception()
        if isinstance(error, BrokenProcessPool | ShutdownExecutorError):
            return Ended(future, died=True)
        return Ended(future, future.result())

    def give_up(self, handles: Sequence[Future[Any]]) -> None:
        """End all processes: one that was stopped may hold what the others wait for."""
        del handles
        self._stop()

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Nothing: they start as they are needed, and each is checked before its first trial."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


def _begin(parent: int) -> None:
    # Before what the trials do is imported, so that no edit falls in between: see `stages.train.workers`.
    guard.remember_code()
    _follow_parent(parent)


def _follow_parent(parent: int) -> None:
    # Ctrl-C reaches every process of a terminal; the one that started these ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # And if that one is killed, nobody would but the kernel.
    system.die_with_parent()
    if os.getppid() != parent:
        # It was killed before.
        os._exit(1)
