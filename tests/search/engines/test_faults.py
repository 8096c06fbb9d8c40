"""Searches in real processes, here and on clusters on loopback: nothing that dies costs more than time."""

import contextlib
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


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def process(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[Any]:
    """A program in a group of its own, all of which is gone afterwards."""
    with subprocess.Popen(  # noqa: S603  (our own interpreter)
        arguments,
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def until(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:  # noqa: ANN401  (what it gives)
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.05)
    return found


class Bed:
    """A checkout with a search that is composed and split, and how commands run in it."""

    def __init__(self, layout: Layout) -> None:
        self.root = layout.root
        self.results = layout.results("tiny_grid")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
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
            timeout=300,
        )

    def done(self) -> int:
        """How many trials the log of the search under way has."""
        logs = list((self.root / "runs/state/tiny_grid").glob("*.trials"))
        return sum(log.read_bytes().count(b'"number"') for log in logs)

    def table(self) -> bytes:
        return self.results.trials.read_bytes()


@pytest.fixture
def bed(parsed: Layout) -> Bed:
    (parsed.conf / "experiment" / "tiny_grid.yaml").write_text(SEARCH)
    return Bed(parsed)


@pytest.fixture
def expected(bed: Bed) -> bytes:
    """The table that this machine's own processes give; it is taken away again."""
    ended = bed.pipeline("train", "tiny_grid", PIPELINE_WORKERS="2")
    assert ended.returncode == 0, ended.stderr
    found = bed.table()
    assert found.count(b"\n") == 25
    assert found.count(b"diverged") == 12
    bed.results.trials.unlink()
    return found


@contextmanager
def scheduler(bed: Bed) -> Iterator[tuple[str, Any]]:
    number = port()
    address = f"tcp://127.0.0.1:{number}"
    command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(number)]
    with process([sys.executable, "-m", *command, "--no-dashboard"], bed.root, bed.environment) as started:
        until(lambda: _answers(number), "the scheduler")
        yield address, started


def _answers(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


@contextmanager
def dask_worker(bed: Bed, address: str) -> Iterator[Any]:
    command = [sys.executable, "-m", "pipeline", "worker", address, "--processes", "1"]
    with process(command, bed.root, bed.environment) as started:
        yield started


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
        until(lambda: bed.done() >= 3 or search.poll() is not None, "the first trials")
        assert search.poll() is None, search.stdout.read()
        os.killpg(doomed.pid, signal.SIGKILL)
        said, _ = search.communicate(timeout=300)
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
        until(lambda: bed.done() >= 3 or search.poll() is not None, "the first trials")
        assert search.poll() is None, search.stdout.read()
        os.killpg(stopped.pid, signal.SIGSTOP)
        said, _ = search.communicate(timeout=300)
        assert search.returncode == 0, said
        assert "have not ended after 10 s" in said
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
        until(lambda: bed.done() >= 3 or search.poll() is not None, "the first trials")
        leader.kill()
        said, _ = search.communicate(timeout=120)
    assert search.returncode == 1, said
    lines = [line for line in said.splitlines() if line.startswith("pipeline: ")]
    assert lines == [said.splitlines()[-1]]
    assert lines[0].startswith(f"pipeline: the Dask scheduler at {address} is lost (")
    done = bed.done()
    assert 3 <= done < 24
    ended = bed.pipeline("train", "tiny_grid")
    assert f"going on with a search that was interrupted: {done} trials are done" in ended.stderr
    assert bed.table() == expected


@pytest.mark.service
def test_a_dask_worker_with_other_code_is_told_in_one_line(bed: Bed, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    shutil.copytree(ROOT / "pipeline", tmp_path / "other" / "pipeline")
    with (tmp_path / "other/pipeline/report/metrics.py").open("a") as file:
        file.write("# of another day\n")
    with scheduler(bed) as (address, _):
        bed_of_worker = {**bed.environment, "PYTHONPATH": str(tmp_path / "other")}
        command = [sys.executable, "-m", "pipeline", "worker", address, "--processes", "1"]
        with process(command, bed.root, bed_of_worker):
            ended = bed.pipeline("train", "tiny_grid", "--engine=dask", DASK_SCHEDULER_ADDRESS=address)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert re.fullmatch(
        r"pipeline: the worker on .* runs other code of the pipeline: start the search .*\n", ended.stderr
    )


@pytest.mark.service
def test_no_dask_scheduler_is_told_in_one_line(bed: Bed) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    address = f"tcp://127.0.0.1:{port()}"
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
            until(lambda: bed.done() >= 3 or search.poll() is not None, "the first trials")
            assert search.poll() is None, search.stdout.read()
            cluster.remove_node(second, allow_graceful=False)
            said, _ = search.communicate(timeout=300)
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
    bed: Bed, tmp_path: Path
) -> None:
    """The edit is taken back before the end, so that the guard alone would see nothing."""
    own = tmp_path / "own"
    shutil.copytree(ROOT / "pipeline", own / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    module = own / "pipeline/stages/train/trials.py"
    before = module.read_text()
    environment = {**bed.environment, "PYTHONPATH": str(own), "PIPELINE_WORKERS": "2"}
    with process([sys.executable, "-m", "pipeline", "train", "tiny_grid"], bed.root, environment) as search:
        until(lambda: bed.done() >= 2 or search.poll() is not None, "the first trials")
        assert search.poll() is None
        edited = before.replace('return final["valid"].accuracy', "return 1.0")
        assert edited != before
        module.write_text(edited)
        workers = [number for number in living(search.pid) if number != search.pid]
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        search.wait(timeout=60)
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
        until(lambda: bed.done() >= 3 or search.poll() is not None, "the first trials")
        assert len(living(search.pid)) >= 3
        # Ctrl-C reaches all processes of a terminal, the others just the one that was started.
        (os.killpg if number == signal.SIGINT else os.kill)(search.pid, number)
        search.wait(timeout=30)
        until(lambda: not living(search.pid), "the end of the workers", seconds=30)
        said = search.stdout.read()
    assert search.returncode == code, said
    assert said.splitlines()[-1].startswith(last), said
    assert "Traceback" not in said
    done = bed.done()
    assert 3 <= done < 24
    ended = bed.pipeline("train", "tiny_grid")
    assert f"going on with a search that was interrupted: {done} trials are done" in ended.stderr
    assert bed.table() == expected
