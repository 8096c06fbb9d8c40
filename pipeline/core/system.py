"""What operating systems do differently, in one place: locks, folders, limits, groups of processes.

This module imports nothing but the standard library at first: `pipeline.core.runtime` needs it before NumPy
is loaded. Everything that not every system has (fcntl, resource, POSIX signals) is imported or named here
alone.
"""

import contextlib
import ctypes
import errno
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from subprocess import Popen

REPLACES_OPEN_FILES: Final = sys.platform != "win32"
"""Whether a file can be renamed or removed while it is open."""


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file for this process alone until it is closed, or the process ends in whatever way.

    Args:
        descriptor: of a file that this process opened itself: locks belong to the opening.
        wait: until whoever has the lock lets go of it.

    Returns:
        Whether the lock is held; False only without `wait`.

    Raises:
        OSError: the file system has no locks.
    """
    from filelock import lock_descriptor  # only for those who write files

    return lock_descriptor(descriptor, blocking=wait)


def open_to_lock(path: Path) -> int:
    """A descriptor of an existing file that is no link, to be locked and closed; a pipe is not waited for.

    Raises:
        OSError: there is no such file.
    """
    return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last, where the system and the file system can.

    Raises:
        OSError: the disk fails.
    """
    if sys.platform != "win32":  # which opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def memory_bytes() -> int:
    """The machine's memory, or what the limit on this process's addresses leaves of it."""
    if sys.platform == "win32":
        import psutil  # no other system needs it

        return int(psutil.virtual_memory().total)
    else:  # noqa: RET505  (mypy checks each branch for its own system)
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        try:
            import resource  # not every Python has it
        except ImportError:
            return machine
        own, _ = resource.getrlimit(resource.RLIMIT_AS)
        return machine if own == resource.RLIM_INFINITY else min(machine, own)


def limit_memory(maximum_bytes: int) -> None:
    """Give this process no more memory than so many bytes, and no core dump, where the system can."""
    if sys.platform != "win32":
        with contextlib.suppress(ImportError):
            import resource  # not every Python has it

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_DATA, (maximum_bytes, maximum_bytes))


def limit_processor_time(seconds: int) -> None:
    """End this process once it has used so many more seconds of processor time, where the system can.

    Its exit code is then that of `ran_out_of_time`.
    """
    if sys.platform != "win32":
        with contextlib.suppress(ImportError):
            import resource  # not every Python has it

            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def ran_out_of_time(code: int) -> bool:
    """Whether the exit code of a process says that `limit_processor_time` ended it."""
    return sys.platform != "win32" and code == -signal.SIGXCPU


def processors() -> int:
    """How many processors this process may run on, or the machine has where nothing tells."""
    count = os.cpu_count() or 1
    if sys.platform == "linux":
        count = len(os.sched_getaffinity(0))
    return count


def own_group() -> dict[str, Any]:
    """Arguments for `subprocess.Popen`: the process, and all that it starts, get a group of their own."""
    arguments: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        from subprocess import CREATE_NEW_PROCESS_GROUP  # no other system needs it

        arguments = {"creationflags": CREATE_NEW_PROCESS_GROUP}
    return arguments


@contextlib.contextmanager
def postponed_signals() -> Iterator[None]:
    """Have SIGINT and SIGTERM that come during the block call their handlers at its end.

    A process that is started and the name by which it will be ended have to come together: an interrupt in
    between would leave it running.
    """
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other is interrupted
        for number in (signal.SIGINT, signal.SIGTERM):
            # What is ignored stays so, in the processes that are started too.
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda received, _: came.append(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


def close_input(process: "Popen[Any]") -> None:
    """Close the pipe to a process, which may have ended: what it has not taken is dropped.

    Left open, the pipe would be closed with an error of its own by whoever waits for the process.
    """
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def interrupt_group(process: "Popen[str]") -> None:
    """Send a process started with `own_group`, and all that it started, what Ctrl-C sends."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(process.pid, signal.SIGINT)


def kill_group(process: "Popen[str]") -> None:
    """End a process started with `own_group`, and all that it started, at once; it may have ended before."""
    if sys.platform == "win32":
        import psutil  # no other system needs it

        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
    else:
        # The group can outlive its leader.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, where it can: on Linux."""
    if sys.platform == "linux":
        # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def open_closed_streams() -> None:
    """Send what goes to a closed stdout or stderr nowhere, as the caller asked for (``2>&-`` in a shell).

    Left closed, the next file that is opened would take its number, and with it whatever is printed.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))
