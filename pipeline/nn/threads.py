"""A second thread that takes work off the first one's hands. What is computed does not depend on it."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue

Work = Callable[[], object]


class Task:
    """A piece of work that is done once, by whichever thread comes to it first.

    It is done in the context in which it was made: what NumPy is not to warn of holds there alone.
    """

    def __init__(self, work: Work) -> None:
        self._work, self._context = work, copy_context()
        self._claim = threading.Lock()
        self._running = threading.Lock()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work, unless another thread has begun it; an error is kept for `finish`."""
        with self._running:
            if self._claim.acquire(blocking=False):
                try:
                    self._context.run(self._work)
                except BaseException as error:  # noqa: BLE001  (it is raised where the work was asked for)
                    self._error = error

    def finish(self) -> None:
        """Return when the work is done: do it here and now if it has not been begun.

        Raises:
            BaseException: what the work raised.
        """
        self.run()
        if self._error is not None:
            raise self._error


class Team:
    """This thread and perhaps one more.

    NumPy lets go of the interpreter while it multiplies, gathers and converts, so two threads keep two cores
    busy. Work is never cut up according to how many threads there are, so they cannot change a result.
    """

    def __init__(self, threads: int) -> None:
        self.threads = 2 if threads > 1 else 1
        self._queue: SimpleQueue[Task | None] | None = None
        if threads > 1:
            self._queue = SimpleQueue()
            worker = threading.Thread(target=_serve, args=(self._queue,), daemon=True)
            worker.start()

    def start(self, work: Work) -> Task:
        """Hand work over: it is done when its `finish` returns, and not before if there is one thread."""
        task = Task(work)
        if self._queue is not None:
            self._queue.put(task)
        return task

    def together(self, first: Work, second: Work) -> None:
        """Do both, in any order or at once."""
        task = self.start(second)
        first()
        task.finish()

    def __del__(self) -> None:
        if self._queue is not None:
            self._queue.put(None)


def _serve(queue: "SimpleQueue[Task | None]") -> None:
    while (task := queue.get()) is not None:
        task.run()
