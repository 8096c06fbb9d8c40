"""What a search costs beside its trials: time per trial, memory of the driver, what a second process brings.

    python benchmarks/search.py overhead [--engine local|dask|ray] [--trials 10000] [--milliseconds 20]
    python benchmarks/search.py speedup [--trials 45] [--steps 1500]

`overhead` searches with trials that do nothing but take their time; --busy has them compute instead of sleep.
For dask and ray, DASK_SCHEDULER_ADDRESS or RAY_ADDRESS says where the cluster is; without it the benchmark
starts one of two processes on loopback. `speedup` runs trials of the published grid with one process and with
two, in turn; it needs the data and the split: `dvc repro split@cifar10_grid`.
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pipeline  # noqa: F401  (before NumPy)
from pipeline.config.build import with_values
from pipeline.config.compose import compose
from pipeline.config.schema import Config
from pipeline.core.paths import Layout, find_root
from pipeline.search import engines, strategies
from pipeline.search.trials import Attempt, Outcome, Trial
from pipeline.stages.train.resume import TrialLog
from pipeline.stages.train.trials import TrialTask

ROOT = Path(__file__).resolve().parent.parent


class Waiting:
    """A trial that takes a number of seconds."""

    def __init__(self, seconds: float, *, busy: bool) -> None:
        self.seconds, self.busy = seconds, busy

    def __call__(self, config: Config, trial: Trial) -> float:
        """Take the time; the result depends on the trial alone."""
        if self.busy:
            end = time.process_time() + self.seconds
            while time.process_time() < end:
                pass
        else:
            time.sleep(self.seconds)
        return (trial.number % 97) / 97 + 0 * config.seed


def resident_megabytes() -> float:
    """Memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def cluster(engine: str, workers: int) -> Iterator[None]:
    """A Dask scheduler and its workers on loopback, or a local Ray, where no address is given."""
    variable = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}.get(engine)
    if variable is None or os.environ.get(variable):
        yield
        return
    if engine == "ray":
        from ray.cluster_utils import Cluster  # an extra

        local = Cluster(initialize_head=True, head_node_args={"num_cpus": workers})
        os.environ[variable] = local.address
        yield
        local.shutdown()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
    host = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    with ExitStack() as stack:
        for arguments in (
            ["distributed.cli.dask_scheduler", *host],
            ["pipeline", "worker", address, "--processes", str(workers)],
        ):
            command = [sys.executable, "-m", *arguments]
            started = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)  # noqa: S603  (our own)
            stack.callback(started.wait)
            stack.callback(started.terminate)
        os.environ[variable] = address
        yield


def overhead(options: argparse.Namespace) -> None:
    """Print time per trial and memory."""
    # By its own name, so that workers elsewhere find it.
    from search import Waiting as Importable  # type: ignore[import-not-found]  # this file

    config = with_values(
        compose(ROOT / "conf", ["experiment=cifar10_grid"]),
        {"search.space": {"seed": list(range(options.trials))}},
    )
    start = time.perf_counter()
    count = sum(1 for _ in strategies.foreseen(config))
    checked = time.perf_counter() - start
    task = Attempt(config, Importable(options.milliseconds / 1000, busy=options.busy))
    print(f"{count} trials composed and checked in {checked:.2f} s: {1000 * checked / count:.2f} ms each")
    with (
        cluster(options.engine, options.workers),
        tempfile.TemporaryDirectory() as folder,
        engines.open_engine(options.engine, options.workers) as engine,
    ):
        engine.everywhere(time.time)
        log = TrialLog(Path(folder) / "x.trials")
        trials = next(strategies.rounds(config.search, 1))
        start, cpu = time.perf_counter(), time.process_time()
        done = 0
        for outcome in engines.run(engine, task, trials, lambda trial: Outcome(trial.number, 0.0), print):
            log.append(outcome)
            done += 1
            if done in {1000, len(trials)}:
                print(f"after {done:6d} trials the driver has {resident_megabytes():.0f} MB")
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        log.close()
    print(
        f"{options.engine}: {1000 * seconds / done:.2f} ms per trial of {options.milliseconds:g} ms on"
        f" {options.workers} processes (at best {options.milliseconds / options.workers:g});"
        f" the driver's own: {1000 * cpu / done:.2f} ms"
    )


def speedup(options: argparse.Namespace) -> None:
    """Print times of one and two processes."""
    layout = Layout(find_root())
    config = compose(ROOT / "conf", ["experiment=cifar10_grid", f"training.steps={options.steps}"])
    results = layout.results("cifar10_grid")
    task = TrialTask(layout.parsed(config.source, config.dataset.name), results, None, None)
    trials = next(strategies.rounds(config.search, 1))[: options.trials]
    seconds: dict[int, float] = {}
    found: dict[int, list[Outcome]] = {}
    for workers in (1, 2):
        start, before = time.perf_counter(), used_seconds()
        # One process of its own too, so that both pay for starting.
        from pipeline.search.engines.local import Processes  # slow to import

        with Processes(workers) as engine:
            outcomes = engines.run(
                engine, Attempt(config, task), trials, lambda trial: Outcome(trial.number, 0.0), print
            )
            found[workers] = sorted(outcomes, key=lambda outcome: outcome.number)
        seconds[workers] = time.perf_counter() - start
        print(
            f"{workers} process{'es' * (workers > 1)}: {seconds[workers]:.1f} s for {len(trials)} trials,"
            f" {used_seconds() - before:.1f} s of processor time"
        )
    print(f"{seconds[1] / seconds[2]:.2f} times as fast; the same outcomes: {found[1] == found[2]}")


def used_seconds() -> float:
    """Processor time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("overhead")
    one.add_argument("--engine", choices=list(engines.ENGINES), default="local")
    one.add_argument("--trials", type=int, default=10_000)
    one.add_argument("--milliseconds", type=float, default=20)
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--busy", action="store_true")
    one.set_defaults(run=overhead)
    two = commands.add_parser("speedup")
    two.add_argument("--trials", type=int, default=45)
    two.add_argument("--steps", type=int, default=1500)
    two.set_defaults(run=speedup)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
