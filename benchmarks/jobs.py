"""The whole bundled run, one stage at a time and side by side: seconds, and whether dvc.lock is the same.

    python benchmarks/jobs.py             each way once, in clones of HEAD with empty caches; half an hour
    python benchmarks/jobs.py --rounds 3  in turn, medians

Processor seconds are those of all processes. A serial run is measured twice: with one process for the search
and one thread for training, so that only one core is ever at work, and as it is by default, with one process
per core for the search and two threads for large networks.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ONE_CORE: Final = {"PIPELINE_WORKERS": "1", "PIPELINE_THREADS": "1"}
ROOT: Final = Path(__file__).resolve().parents[1]


def _seconds(command: list[str], settings: dict[str, str], folder: Path | None) -> tuple[float, float, bytes]:
    """Wall and processor seconds, and the dvc.lock at the end."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        clone = Path(name) / "clone"
        git = shutil.which("git") or "git"
        subprocess.run([git, "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603  (git)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(clone),
            "DVC_SITE_CACHE_DIR": f"{name}/site",
        }
        environment = {name: value for name, value in environment.items() if name not in ONE_CORE} | settings
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(  # noqa: S603  (DVC and the pipeline, in a clone of their own)
            [sys.executable, "-m", *command],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(done.stdout)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return wall, processor, (clone / "dvc.lock").read_bytes()


def main() -> int:
    """Print the table; 1 if two ways end with different lock files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="where the clones go, by default a temporary one")
    options = parser.parse_args()
    side_by_side = f"pipeline repro --jobs {options.jobs}"
    ways: dict[str, tuple[list[str], dict[str, str]]] = {
        "dvc repro on one core": (["dvc", "repro"], ONE_CORE),
        "dvc repro": (["dvc", "repro"], {}),
        side_by_side: (side_by_side.split(), {}),
    }
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    locks = set()
    for _ in range(options.rounds):
        for way, (command, settings) in ways.items():
            wall, processor, lock = _seconds(command, settings, options.folder)
            taken[way].append((wall, processor))
            locks.add(lock)
    print("| way | median s | range | processor s | times as fast |\n| --- | ---: | --- | ---: | ---: |")
    for way, seconds in taken.items():
        walls = sorted(wall for wall, _ in seconds)
        processor = statistics.median(each for _, each in seconds)
        ratio = statistics.median(
            serial[0] / each[0] for serial, each in zip(seconds, taken[side_by_side], strict=True)
        )
        print(
            f"| {way} | {statistics.median(walls):.0f} | {walls[0]:.0f} to {walls[-1]:.0f} |"
            f" {processor:.0f} | {ratio:.2f} |"
        )
    print("dvc.lock: " + ("the same bytes every time" if len(locks) == 1 else f"{len(locks)} DIFFERENT ones"))
    return int(len(locks) != 1)


if __name__ == "__main__":
    sys.exit(main())
