"""Progress of long work on stderr: a bar on a terminal, a plain line now and then everywhere else.

Work that reports through a `Progress` need not know which of the two it is:

    with progress(30, "mnist_two_layer", "epochs") as bar:
        for checkpoint in training:
            bar.advance(loss=checkpoint.loss, accuracy=checkpoint.accuracy)
"""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from pipeline.core.descriptions import one_line

BYTES: Final = "B"
"""The unit whose amounts are shown as kB, MB, GB."""

_SECONDS_BETWEEN_LINES: Final = 5.0


class Progress:
    """Counts the work done and shows nothing, for callers that want silence; `progress` gives one that shows.

    Args:
        total: the amount of work, in `unit`.
        description: what the work is, in a word or two.
        unit: what is counted, in the plural ("epochs", "trials"), or `BYTES`.

    Attributes:
        done: the amount of work done so far.
    """

    def __init__(self, total: int, description: str, unit: str) -> None:
        self.total = total
        self.description = description
        self.unit = unit
        self.done = 0

    def advance(self, amount: int = 1, **postfix: float | str) -> None:
        """Count `amount` more as done (or, negative, as undone).

        Args:
            amount: in the unit of this progress.
            **postfix: named figures shown behind the count (loss, accuracy, the best so far); they stay
                until the next call that gives some. Numbers are shown with four significant digits.
        """
        self.done += amount
        self._show(one_line(", ".join(f"{name} {_figure(value)}" for name, value in postfix.items())))

    def note(self, text: str) -> None:
        """Show a line of text without disturbing the count."""

    def close(self) -> None:
        """Show the last state and end. A second call does nothing."""

    def _show(self, postfix: str) -> None:
        """Show the new count; an empty `postfix` leaves the last one standing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ShowProgress(Protocol):
    """What `progress` and `Progress` have in common: how a `Progress` is opened."""

    def __call__(self, total: int, description: str, unit: str, /) -> Progress:
        """A new progress at zero."""
        ...


class _Bar(Progress):
    """A tqdm bar."""

    def __init__(self, total: int, description: str, unit: str, stream: TextIO) -> None:
        from tqdm import tqdm  # under DVC there is no terminal, and no need of it

        super().__init__(total, description, unit)
        self._stream = stream
        self._bar = tqdm(
            total=total,
            desc=one_line(description),
            unit=unit if unit == BYTES else f" {unit}",
            unit_scale=unit == BYTES,
            dynamic_ncols=True,
            file=stream,
        )

    def note(self, text: str) -> None:
        say(text, self._stream)

    def close(self) -> None:
        self._bar.close()

    def _show(self, postfix: str) -> None:
        if postfix:
            self._bar.set_postfix_str(postfix, refresh=False)
        self._bar.update(self.done - self._bar.n)


class _Lines(Progress):
    """Whole lines: the first state, the last, and between them one every few seconds."""

    def __init__(
        self,
        total: int,
        description: str,
        unit: str,
        *,
        stream: TextIO,
        clock: Callable[[], float],
        seconds_between_lines: float,
    ) -> None:
        super().__init__(total, description, unit)
        self._stream = stream
        self._clock = clock
        self._seconds_between_lines = seconds_between_lines
        self._next_line_at = -float("inf")
        self._postfix = ""
        self._shown = ""

    def note(self, text: str) -> None:
        say(text, self._stream)

    def close(self) -> None:
        if self._shown:
            self._print()

    def _show(self, postfix: str) -> None:
        self._postfix = postfix or self._postfix
        now = self._clock()
        if now >= self._next_line_at:
            self._next_line_at = now + self._seconds_between_lines
            self._print()

    def _print(self) -> None:
        if self.unit == BYTES:
            count = f"{format_bytes(self.done)} of {format_bytes(self.total)}"
        else:
            count = f"{self.done} of {self.total} {self.unit}"
        share = f" ({100 * self.done // self.total} %)" if self.total else ""
        figures = f", {self._postfix}" if self._postfix else ""
        line = f"{self.description}: {count}{share}{figures}"
        if line != self._shown:
            self._shown = line
            say(line, self._stream)


def progress(
    total: int,
    description: str,
    unit: str,
    *,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    seconds_between_lines: float = _SECONDS_BETWEEN_LINES,
) -> Progress:
    """Show the progress of one piece of work; a context manager.

    Args:
        total: the amount of work, in `unit`.
        description: what the work is, in a word or two.
        unit: what is counted, in the plural ("epochs", "trials"), or `BYTES`.
        stream: where to; by default stderr.
        clock: seconds from any fixed moment; used for lines only.
        seconds_between_lines: the least time between two lines; the first and the last are always shown.

    Returns:
        A bar if `stream` is a terminal that can redraw a line, else lines.
    """
    stream = sys.stderr if stream is None else stream
    if _redraws(stream):
        return _Bar(total, description, unit, stream)
    return _Lines(
        total, description, unit, stream=stream, clock=clock, seconds_between_lines=seconds_between_lines
    )


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line of text to `stream` (by default stderr), above any bar that is drawn there.

    Names in it may hold anything: what would steer a terminal or end the line is a question mark.
    """
    stream = sys.stderr if stream is None else stream
    text = one_line(text.expandtabs())
    if _redraws(stream):
        from tqdm import tqdm

        tqdm.write(text, file=stream)
    else:
        print(text, file=stream, flush=True)


def format_bytes(count: int) -> str:
    """`count` bytes as people write it, in decimal units: 512 B, 28.9 kB, 170.5 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 999.95:  # from here on it would read 1000.0
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _redraws(stream: TextIO) -> bool:
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    try:
        # A terminal that does not say how wide it is (some containers) would get empty bars.
        return os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return True


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
