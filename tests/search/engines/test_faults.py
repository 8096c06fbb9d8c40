"""Searches in real processes, here and on clusters on loopback: nothing that dies costs more than time."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Layout

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., Any]

SEARCH = """\
# @package _global_
# Long enough to be killed in the middle.
defaults:
  - tiny
  - override /search: grid
  - _self_

name: tiny_grid
training:
  epochs: 60
model:
  activation: relu
search:
  space:
    model:
      hidden: [[4], [8]]
    optimizer:
      learning_rate: [1e-3, 0.3, 0.1, 0.2, 0.5, 1e-2]
    initializer:
      scale: [1.0, 1e30]
"""


# What is added to the package's trials: three of them pass, the others wait while the gate is closed. So what
# a test does to a search falls into its middle, however slow the test is.
GATE = """

def _pass_gate(number: int) -> None:
    gate = Path({gate!r})
    for place in range(3):
        try:
            os.symlink(str(number), gate / str(place))
        except FileExistsError:
            if os.readlink(gate / str(place)) != str(number):
                continue
        return
    waiting = gate / "waiting" / str(os.getpid())
    while (gate / "closed").exists():
        waiting.touch()
        time.sleep(0.01)
    waiting.unlink(missing_ok=True)
"""


@contextmanager
def process(
    arguments: Sequence[str], folder: Path, environment: dict[str, str], log: Path | None = None
) -> Iterator[Any]:
    """A program in a group of its own, all of which is gone afterwards; it writes to a pipe, or to `log`."""
    with contextlib.ExitStack() as stack:
        output = subprocess.PIPE if log is None else stack.enter_context(log.open("w"))
        started = stack.enter_context(
            subprocess.Popen(  # noqa: S603  (our own interpreter)
                arguments,
                cwd=folder,
                env=environment,
                start_new_session=True,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def until(condition: Callable[[], Any], what: str, seconds: float = 240) -> Any:  # noqa: ANN401  (what it gives)
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.05)
    return found


class Bed:
    """A checkout with a search that is composed and split, and how commands run in it.

    Args:
        layout: the checkout.
        own: an empty folder, for a package of its own and the gate of its trials.
    """

    def __init__(self, layout: Layout, own: Path) -> None:
        self.root = layout.root
        self.package, self.gate = own / "pipeline", own / "gate"
        shutil.copytree(ROOT / "pipeline", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        (self.gate / "waiting").mkdir(parents=True)
        module = self.package / "stages/train/trials.py"
        before = module.read_text()
        edited = before.replace(
            "        self.prepare()\n", "        self.prepare()\n        _pass_gate(trial.number)\n"
        )
        assert edited != before
        module.write_text(edited + GATE.format(gate=str(self.gate)))
        self.results = layout.results("tiny_grid")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(own),
            "PYTHONDONTWRITEBYTECODE": "",
            "PIPELINE_WORKERS": "1",
        }
        for stage in ("compose", "split"):
            assert self.pipeline(stage, "tiny_grid").returncode == 0

    def pipeline(self, *arguments: str, **environment: str) -> Any:  # noqa: ANN401  (a finished process)
        return subprocess.run(  # noqa: S603  (our own interpreter)
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def close(self) -> None:
        """Close the gate: of a search that starts from now on three trials end."""
        for place in range(3):
            (self.gate / str(place)).unlink(missing_ok=True)
        (self.gate / "closed").touch()

    def open(self) -> None:
        """Let the others go."""
        (self.gate / "closed").unlink()

    def wait_for_middle(self, search: Any, fits: Callable[[list[int]], bool] = bool) -> None:  # noqa: ANN401  (a process)
        """Wait until three trials of a search have ended, and the processes that wait at the gate fit."""

        def is_reached() -> bool:
            waiting = [int(path.name) for path in (self.gate / "waiting").iterdir()]
            return search.poll() is not None or (self.done() == 3 and fits(waiting))

        until(is_reached, "the middle of the search")
        assert search.poll() is None, search.stdout.read()

    def done(self) -> int:
        """How many trials the log of the search under way has."""
        logs = list((self.root / "runs/state/tiny_grid").glob("*.trials"))
        return sum(log.read_bytes().count(b'"number"') for log in logs)

    def table(self) -> bytes:
        return self.results.trials.read_bytes()


@pytest.fixture
def bed(parsed: Layout, tmp_path: Path) -> Bed:
    (parsed.conf / "experiment" / "tiny_grid.yaml").write_text(SEARCH)
    return Bed(parsed, tmp_path / "own")


@pytest.fixture
def expected(bed: Bed) -> bytes:
    """The table that this machine's own processes give; it is taken away again."""
    ended = bed.pipeline("train", "tiny_grid", PIPELINE_WORKERS="2")
    assert ended.returncode == 0, ended.stderr
    found = bed.table()
    assert found.count(b"\n") == 25
    assert found.count(b"diverged") == 12
    bed.results.trials.unlink()
    bed.close()
    return found


@contextmanager
def scheduler(bed: Bed) -> Iterator[tuple[str, Any]]:
    """At a port that it chooses itself: one that was free a moment ago may be somebody else's."""
    file = bed.gate / "scheduler.json"
    command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    arguments = [sys.executable, "-m", *command, "--no-dashboard", "--scheduler-file", str(file)]
    with process(arguments, bed.root, bed.environment, bed.gate / "scheduler.log") as started:
        yield until(lambda: _address(file), "the scheduler"), started


def _address(file: Path) -> str:
    with contextlib.suppress(FileNotFoundError, ValueError):  # not written to the end
        return str(json.loads(file.read_text())["address"])
    return ""


@contextmanager
def dask_worker(bed: Bed, address: str, package: Path | None = None) -> Iterator[Any]:
    """Once the scheduler knows it."""
    log = bed.gate / f"worker-{len(list(bed.gate.iterdir()))}.log"
    environment = {**bed.environment, "PYTHONPATH": str((package or bed.package).parent)}
    command = [sys.executable, "-m", "pipeline", "worker", address, "--processes", "1"]
    with process(command, bed.root, environment, log) as started:
        until(lambda: "Registered to" in log.read_text(), "the worker")
        yield started


def has_one_of(group: int) -> Callable[[list[int]], bool]:
    """Whether one of several processes is in a group."""
    return lambda processes: not set(living(group)).isdisjoint(processes)


@pytest.mark.service
def test_dask_gives_the_table_of_this_machine_though_a_worker_is_killed(bed: Bed, expected: bytes) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        scheduler(bed) as (address, _),
        dask_worker(bed, address),
        dask_worker(bed, address) as doomed,
        process(
            [sys.executable, "-m", "pipeline", "train", "tiny_grid", "--engine", "dask"],
            bed.root,
            {**bed.environment, "DASK_SCHEDULER_ADDRESS": address},
        ) as search,
    ):
        bed.wait_for_middle(search, has_one_of(doomed.pid))
        os.killpg(doomed.pid, signal.SIGKILL)
        bed.open()
        said, _ = search.communicate(timeout=600)
        assert search.returncode == 0, said
    assert bed.table() == expected


@pytest.mark.service
def test_a_dask_worker_that_is_stopped_holds_nothing_up(bed: Bed, expected: bytes) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        scheduler(bed) as (address, _),
        dask_worker(bed, address),
        dask_worker(bed, address) as stopped,
        process(
            [sys.executable, "-m", "pipeline", "train", "tiny_grid", "--engine", "dask"],
            bed.root,
            {**bed.environment, "DASK_SCHEDULER_ADDRESS": address, "PIPELINE_TRIAL_TIMEOUT_SECONDS": "10"},
        ) as search,
    ):
        bed.wait_for_middle(search, has_one_of(stopped.pid))
        os.killpg(stopped.pid, signal.SIGSTOP)
        bed.open()
        said, _ = search.communicate(timeout=600)
        assert search.returncode == 0, said
        assert re.search(r"have not ended after \d+ s", said)
    assert bed.table() == expected


@pytest.mark.service
def test_a_lost_dask_scheduler_is_told_and_the_search_goes_on_later(bed: Bed, expected: bytes) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        scheduler(bed) as (address, leader),
        dask_worker(bed, address),
        process(
            [sys.executable, "-m", "pipeline", "train", "tiny_grid"],
            bed.root,
            {**bed.environment, "PIPELINE_ENGINE": "dask", "DASK_SCHEDULER_ADDRESS": address},
        ) as search,
    ):
        bed.wait_for_middle(search)
        leader.kill()
        said, _ = search.communicate(timeout=600)
    assert search.returncode == 1, said
    lines = [line for line in said.splitlines() if line.startswith("pipeline: ")]
    assert lines == [said.splitlines()[-1]]
    assert lines[0].startswith(f"pipeline: the Dask scheduler at {address} is lost (")
    bed.open()
    ended = bed.pipeline("train", "tiny_grid")
    assert "going on with a search that was interrupted: 3 trials are done" in ended.stderr
    assert bed.table() == expected


@pytest.mark.service
def test_a_dask_worker_with_other_code_is_told_in_one_line(bed: Bed, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    other = tmp_path / "other" / "pipeline"
    shutil.copytree(bed.package, other)
    with (other / "report/metrics.py").open("a") as file:
        file.write("# of another day\n")
    with scheduler(bed) as (address, _), dask_worker(bed, address, other):
        ended = bed.pipeline("train", "tiny_grid", "--engine=dask", DASK_SCHEDULER_ADDRESS=address)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert re.fullmatch(
        r"pipeline: the worker on .* runs other code of the pipeline: start the search .*\n", ended.stderr
    )


@pytest.mark.service
def test_no_dask_scheduler_is_told_in_one_line(bed: Bed) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    with socket.socket() as taken:  # nobody listens there, and nobody else is given it meanwhile
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        ended = bed.pipeline(
            "train",
            "tiny_grid",
            PIPELINE_ENGINE="dask",
            DASK_SCHEDULER_ADDRESS=address,
            DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s",
        )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith(f"pipeline: no Dask scheduler answers at {address} (")


@pytest.mark.service
def test_ray_gives_the_table_of_this_machine_though_a_node_dies(bed: Bed, expected: bytes) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster  # an extra

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        with process(
            [sys.executable, "-m", "pipeline", "train", "tiny_grid", "--engine", "ray"],
            bed.root,
            {**bed.environment, "RAY_ADDRESS": cluster.address},
        ) as search:
            bed.wait_for_middle(search, lambda processes: len(processes) == 2)  # one of each node
            cluster.remove_node(second, allow_graceful=False)
            bed.open()
            said, _ = search.communicate(timeout=600)
            assert search.returncode == 0, said
    finally:
        cluster.shutdown()
    assert bed.table() == expected


def living(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, _, leader = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(leader) == group and state not in "ZX":
                    found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_worker_that_takes_a_dead_ones_place_has_the_code_of_the_search_or_it_ends(
    bed: Bed,
) -> None:
    """The edit is taken back before the end, so that the guard alone would see nothing."""
    module = bed.package / "stages/train/trials.py"
    before = module.read_text()
    environment = {**bed.environment, "PIPELINE_WORKERS": "2"}
    bed.close()
    with process([sys.executable, "-m", "pipeline", "train", "tiny_grid"], bed.root, environment) as search:
        bed.wait_for_middle(search)
        edited = before.replace('return final["valid"].accuracy', "return 1.0")
        assert edited != before
        module.write_text(edited)
        workers = [number for number in living(search.pid) if number != search.pid]
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        search.wait(timeout=300)
        module.write_text(before)
        said = search.stdout.read()
    assert search.returncode == 1, said
    assert re.search(r"pipeline: the worker on .* runs other code of the pipeline: start", said)
    assert not bed.results.trials.exists()
    logs = list((bed.root / "runs/state/tiny_grid").glob("*.trials"))
    assert not any(b'"valid_accuracy": 1.0' in log.read_bytes() for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "last"),
    [
        (signal.SIGINT, 130, "pipeline: interrupted"),
        (signal.SIGTERM, 143, "pipeline: terminated"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_a_search_that_is_ended_leaves_no_process_and_goes_on_where_it_was(
    bed: Bed, expected: bytes, number: int, code: int, last: str
) -> None:
    command = [sys.executable, "-m", "pipeline", "train", "tiny_grid"]
    with process(command, bed.root, {**bed.environment, "PIPELINE_WORKERS": "2"}) as search:
        bed.wait_for_middle(search)
        assert len(living(search.pid)) >= 3
        # Ctrl-C reaches all processes of a terminal, the others just the one that was started.
        (os.killpg if number == signal.SIGINT else os.kill)(search.pid, number)
        search.wait(timeout=300)
        until(lambda: not living(search.pid), "the end of the workers")
        said = search.stdout.read()
    assert search.returncode == code, said
    assert said.splitlines()[-1].startswith(last), said
    assert "Traceback" not in said
    bed.open()
    ended = bed.pipeline("train", "tiny_grid")
    assert "going on with a search that was interrupted: 3 trials are done" in ended.stderr
    assert bed.table() == expected
