"""Bars on a terminal, plain throttled lines elsewhere."""

import contextlib
import io
import os
import pty
import subprocess
import sys
import termios

import pytest

from pipeline.core.progress import BYTES, Progress, format_bytes, progress, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_without_a_terminal_lines_are_whole_and_throttled() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress(1000, "train", "epochs", stream=stream, clock=clock) as shown:
        for _ in range(1000):
            shown.advance(loss=0.123456, accuracy=0.5)
            clock.seconds += 0.01
    assert stream.getvalue().splitlines() == [
        "train: 1 of 1000 epochs (0 %), loss 0.1235, accuracy 0.5",
        "train: 501 of 1000 epochs (50 %), loss 0.1235, accuracy 0.5",
        "train: 1000 of 1000 epochs (100 %), loss 0.1235, accuracy 0.5",
    ]
    assert "\r" not in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_slow_work_has_a_line_for_every_step() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress(3, "search", "trials", stream=stream, clock=clock) as shown:
        for best in ("50 %", "52 %", "52 %"):
            shown.advance(best=best)
            clock.seconds += 60
    assert stream.getvalue().splitlines() == [
        "search: 1 of 3 trials (33 %), best 50 %",
        "search: 2 of 3 trials (66 %), best 52 %",
        "search: 3 of 3 trials (100 %), best 52 %",
    ]


def test_the_last_line_stands_once_and_keeps_the_last_figures() -> None:
    stream, clock = io.StringIO(), Clock()
    shown = progress(2, "train", "epochs", stream=stream, clock=clock)
    shown.advance(loss=2)
    shown.advance()
    shown.close()
    shown.close()
    assert stream.getvalue().splitlines() == [
        "train: 1 of 2 epochs (50 %), loss 2",
        "train: 2 of 2 epochs (100 %), loss 2",
    ]


def test_an_interrupted_work_shows_how_far_it_came() -> None:
    stream = io.StringIO()

    def work() -> None:
        with progress(9, "x", "steps", stream=stream, clock=Clock()) as shown:
            shown.advance(1)
            shown.advance(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().splitlines()[-1] == "x: 5 of 9 steps (55 %)"


def test_bytes_are_scaled_and_can_go_back() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress(170_498_071, "a.tar.gz", BYTES, stream=stream, clock=clock) as shown:
        shown.advance(34_100_000)
        clock.seconds += 5
        shown.advance(-34_100_000)
    assert stream.getvalue().splitlines() == [
        "a.tar.gz: 34.1 MB of 170.5 MB (20 %)",
        "a.tar.gz: 0 B of 170.5 MB (0 %)",
    ]


def test_nothing_to_do_shows_nothing_and_divides_by_nothing() -> None:
    stream = io.StringIO()
    with progress(0, "x", "steps", stream=stream):
        pass
    assert stream.getvalue() == ""
    with progress(0, "x", "steps", stream=stream) as shown:
        shown.advance(0)
    assert stream.getvalue() == "x: 0 of 0 steps\n"


def test_a_note_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    with progress(2, "x", "steps", stream=stream) as shown:
        shown.note("trying the next mirror")
    assert stream.getvalue() == "trying the next mirror\n"


def test_on_a_terminal_a_bar_is_redrawn() -> None:
    stream = Terminal()
    with progress(2_000_000, "a.gz", BYTES, stream=stream) as shown:
        shown.advance(1_000_000)
        shown.note("half of it")
        shown.advance(1_000_000, speed="good")
    text = stream.getvalue()
    assert "\r" in text
    assert "half of it\n" in text
    assert "2.00M/2.00M" in text
    assert "speed good" in text
    assert shown.done == 2_000_000


def test_a_bar_can_go_back() -> None:
    stream = Terminal()
    with progress(10, "x", "steps", stream=stream) as shown:
        shown.advance(10)
        shown.advance(-8)
    assert "2/10" in stream.getvalue().rsplit("\r", 1)[-1]


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with progress(1, "x", "steps", stream=stream) as shown:
        shown.advance()
    assert stream.getvalue() == "x: 1 of 1 steps (100 %)\n"


def test_stderr_is_looked_up_when_it_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(1, "x", "steps") as shown:
        shown.advance()
    say("done")
    captured = capsys.readouterr()
    assert captured.err == "x: 1 of 1 steps (100 %)\ndone\n"
    assert captured.out == ""


def test_a_plain_progress_counts_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3, "x", "steps") as silent:
        silent.advance(2, loss=1)
        silent.note("nobody hears this")
    assert silent.done == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (28_881, "28.9 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (170_498_071, "170.5 MB"),
        (6_350_000_000, "6.3 GB"),
        (2 * 10**12, "2.0 TB"),
    ],
)
def test_bytes_as_people_write_them(count: int, text: str) -> None:
    assert format_bytes(count) == text


PROGRAM = """
from pipeline.core.progress import progress
with progress(3, "x", "steps", clock=lambda: 0.0) as shown:  # a line each few seconds, if it took so long
    for _ in range(3):
        shown.advance()
import sys
assert "numpy" not in sys.modules
"""


def run_program(stderr: int) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=stderr, check=True)  # noqa: S603  (this very interpreter, on the text above)


def run_on_terminal(columns: int) -> str:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with os.fdopen(theirs, "wb"):
        run_program(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed, and all is read
        while piece := os.read(ours, 65536):
            drawn += piece
    os.close(ours)
    return drawn.decode().replace("\r\n", "\n")


def test_a_real_terminal_gets_a_bar() -> None:
    drawn = run_on_terminal(columns=100)
    assert "3/3" in drawn
    assert "\r" in drawn


def test_a_terminal_of_unknown_width_gets_lines() -> None:
    assert run_on_terminal(columns=0).splitlines() == ["x: 1 of 3 steps (33 %)", "x: 3 of 3 steps (100 %)"]


def test_a_real_pipe_gets_lines() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb"):
        run_program(theirs)
    with os.fdopen(ours) as written:
        assert written.read().splitlines() == ["x: 1 of 3 steps (33 %)", "x: 3 of 3 steps (100 %)"]


def test_say_reaches_a_terminal_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    say("hello")
    assert "hello\n" in stream.getvalue()


HOSTILE = "a\x1b[2Jb\rc\nd\u202ee\x07\u2028"


def test_no_name_steers_the_terminal_or_makes_a_line_of_its_own() -> None:
    stream = io.StringIO()
    say(f"{HOSTILE}: removed", stream)
    with progress(2, HOSTILE, "trials", stream=stream) as bar:
        bar.note(HOSTILE)
        bar.advance(at=HOSTILE)
    lines = stream.getvalue().split("\n")
    assert lines[0] == "a?[2Jb?c?d?e??: removed"
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 4
