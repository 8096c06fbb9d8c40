"""worker: start worker processes on this machine for searches on a Dask cluster."""

import argparse
import importlib.util
import os
import re
import sys

from pipeline.core import runtime
from pipeline.core.errors import UsageError
from pipeline.core.paths import Layout

EXAMPLE = "worker tcp://127.0.0.1:8786 --processes 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Start worker processes for searches with PIPELINE_ENGINE=dask, in this checkout, with the numeric"
        " runtime that PIPELINE_RUNTIME names (by default portable). Ends with its scheduler, or by Ctrl-C."
    )
    parser.add_argument("scheduler", help="the address of the Dask scheduler")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="how many; by default one for each processor"
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Become a Dask worker.

    Raises:
        UsageError: Dask is not installed, or the number of processes is none.
    """
    processes = runtime.processors() if options.processes is None else options.processes
    if processes < 1:
        raise UsageError(f"--processes {processes}: expected 1 or more")
    if not re.search(r":\d+$", options.scheduler):
        raise UsageError(
            f"{options.scheduler}: expected the address of a Dask scheduler, such as tcp://127.0.0.1:8786"
        )
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("the package distributed is not installed: pip install -e '.[dask]'")
    # Dask loads NumPy before any task of ours, so the runtime has to be in the environment by then.
    runtime.activate()
    os.chdir(layout.root)
    arguments = [options.scheduler, "--nworkers", str(processes), "--nthreads", "1", "--no-dashboard"]
    os.execv(sys.executable, [sys.executable, "-m", "distributed.cli.dask_worker", *arguments])  # noqa: S606  (our own interpreter)
