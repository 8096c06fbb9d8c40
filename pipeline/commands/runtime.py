"""runtime: measure which runtime tier is the fastest on this machine."""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Final

from pipeline.core import runtime, system
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout

EXAMPLE = "runtime"

_NETWORKS: Final = {"784-100-10": (784, 100, 10), "784-1024-1024-10": (784, 1024, 1024, 10)}
_ROWS: Final = 100
_SECONDS: Final = 0.05
_ROUNDS: Final = 3

# Answers each line that it reads with the steps per second of that network, so that tiers take turns.
_PROGRAM: Final = """
import sys
from pipeline.commands import runtime
rates = runtime.Rates()
for line in sys.stdin:
    print(rates.measure(line.strip()), flush=True)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""
    parser.description = (
        "Measure in a few seconds how many training steps each tier of conf/runtime/ takes per second here:"
        " on one thread, native on as many as its libraries choose. A busy machine gives other figures."
    )


class Rates:
    """Networks in training, in the tier of this process."""

    def __init__(self) -> None:
        import numpy as np  # the tier has been chosen by now

        from pipeline.nn.network import Network
        from pipeline.nn.workspace import Workspace

        random = np.random.default_rng(0)
        self._labels = random.integers(0, 10, _ROWS)
        self._workspaces = {}
        for name, sizes in _NETWORKS.items():
            workspace = Workspace(Network(sizes, "relu"), _ROWS)
            workspace.parameters[:] = random.normal(0, 0.03, len(workspace.parameters))
            workspace.inputs[:] = random.random(workspace.inputs.shape)
            workspace.backward(self._labels)
            self._workspaces[name] = workspace

    def measure(self, network: str) -> float:
        """Steps per second: forward and backward, for a moment."""
        import time

        workspace, steps = self._workspaces[network], 0
        start = time.perf_counter()
        while (passed := time.perf_counter() - start) < _SECONDS:
            workspace.backward(self._labels)
            steps += 1
        return steps / passed


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the table, and what it means to take another tier.

    Raises:
        PipelineError: no tier runs here.
    """
    from pipeline.commands.shared.terminal import table, write  # not needed for --help

    del layout, options
    rates = _measure()
    if not rates:
        raise PipelineError("no tier runs here: pipeline results says why")
    first = next(iter(rates))
    rows = [["tier", *(f"{name}, steps/s" for name in _NETWORKS), f"beside {first}"]]
    for tier, found in rates.items():
        shares = [found[name] / rates[first][name] for name in _NETWORKS]
        rows.append([tier, *(f"{found[name]:,.0f}" for name in _NETWORKS), _describe_range(shares)])
    for line in table(rows):
        write(line)
    for tier in [tier for tier in runtime.TIERS if tier not in rates]:
        write(f"{tier}: does not run here; {runtime.VARIABLE}={tier} pipeline results says why")
    write()
    write("portable gives the same bits on every x86-64 machine with AVX2, another tier gives other bits.")
    write(f"To take one: runtime=avx512 as an override, or {runtime.VARIABLE}=avx512 for all commands.")


def _measure() -> dict[str, dict[str, float]]:
    """Tier -> network -> steps per second: the best of some rounds, in which the tiers take turns.

    A tier that this processor cannot have is left out.
    """
    best: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        processes = {tier: stack.enter_context(_start(tier)) for tier in runtime.TIERS}
        for _ in range(_ROUNDS):
            for network in _NETWORKS:
                for tier, process in processes.items():
                    rate = _ask(process, network)
                    if rate is not None:
                        found = best.setdefault(tier, {})
                        found[network] = max(found.get(network, 0.0), rate)
    return best


def _start(tier: str) -> "subprocess.Popen[str]":
    environment = {**runtime.environment_before(), runtime.VARIABLE: tier}
    return subprocess.Popen(  # noqa: S603  (this interpreter, with the program above)
        [sys.executable, "-c", _PROGRAM],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _ask(process: "subprocess.Popen[str]", network: str) -> float | None:
    """Steps per second; None if the process has ended."""
    if process.stdin is None or process.stdout is None or process.stdin.closed:
        return None
    try:
        process.stdin.write(f"{network}\n")
        process.stdin.flush()
    except BrokenPipeError:
        system.close_input(process)
        return None
    answer = process.stdout.readline()
    return float(answer) if answer else None


def _describe_range(shares: list[float]) -> str:
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return low if low == high else f"{low} to {high}"
