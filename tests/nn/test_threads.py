"""The second thread: work is done once, whoever comes to it first, and what goes wrong is told."""

import threading

import numpy as np
import pytest

from pipeline.nn.threads import Team

every_size = pytest.mark.parametrize("threads", [1, 2])


@every_size
def test_work_is_done_once_by_the_time_it_is_finished(threads: int) -> None:
    team, done = Team(threads), []
    for number in range(200):
        task = team.start(lambda number=number: done.append(number))  # type: ignore[misc]  # of this turn
        task.finish()
        task.finish()
        assert done == list(range(number + 1))


@every_size
def test_both_are_done_together(threads: int) -> None:
    team, done = Team(threads), []
    for number in range(200):
        team.together(lambda: done.append("one"), lambda: done.append("other"))
        assert (done.count("one"), done.count("other")) == (number + 1, number + 1)


def test_two_threads_are_at_work_at_once() -> None:
    # Each waits for the other: on one thread neither would get on.
    both = threading.Barrier(2)
    Team(2).together(lambda: both.wait(120), lambda: both.wait(120))


def test_numpy_warns_of_as_much_in_the_other_thread_as_in_this_one() -> None:
    both, large = threading.Barrier(2), np.full(3, 1000.0)

    def overflow() -> None:
        both.wait(120)
        np.exp(large)

    with np.errstate(over="ignore"):
        Team(2).together(overflow, overflow)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        Team(2).together(lambda: both.wait(120), overflow)


def test_work_that_the_other_thread_has_no_time_for_is_done_here() -> None:
    team, free, seen = Team(2), threading.Event(), []
    busy = team.start(lambda: free.wait(120))
    team.start(lambda: seen.append(threading.current_thread())).finish()
    assert seen == [threading.main_thread()]
    free.set()
    busy.finish()


@every_size
def test_an_error_is_raised_where_the_work_was_asked_for(threads: int) -> None:
    team = Team(threads)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        team.start(fail).finish()
    with pytest.raises(ValueError, match="no"):
        team.together(lambda: None, fail)
    # And the next piece of work finds the thread alive.
    done: list[int] = []
    team.start(lambda: done.append(1)).finish()
    assert done == [1]


def test_the_thread_ends_with_its_team() -> None:
    before = set(threading.enumerate())
    team = Team(2)
    (thread,) = set(threading.enumerate()) - before
    del team
    thread.join(120)
    assert not thread.is_alive()
