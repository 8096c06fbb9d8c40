"""The naive loop over every parameter against the vectorised one: seconds per gradient, side by side.

The published network (784-50-10, batch 10, float64) on drawn digits; both methods in turn, several rounds.
Then the published run's 1,000 steps, from start to end.

    python benchmarks/numerical_gradient.py
"""

import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pipeline  # noqa: F401  (before NumPy: it sets the numeric environment)

# isort: split
import numpy as np

from pipeline.config.compose import compose
from pipeline.data.standins import draw_digits
from pipeline.nn.arrays import Floats, Integers, random_source
from pipeline.nn.examples import Examples
from pipeline.nn.gradients import naive, numerical
from pipeline.nn.network import Network
from pipeline.nn.preprocessing import Statistics
from pipeline.nn.training import train
from pipeline.nn.workspace import Workspace

ROOT: Final = Path(__file__).resolve().parent.parent
ROUNDS: Final = 5


def seconds(fill: Callable[[Workspace, Integers], float], workspace: Workspace, labels: Integers) -> float:
    """Wall seconds of one gradient."""
    started = time.perf_counter()
    fill(workspace, labels)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians and their ratio, and how far the two gradients are apart."""
    drawing = draw_digits(train_count=100, test_count=10)
    network = Network((784, 50, 10), "sigmoid", "float64")
    workspace = Workspace(network, 10)
    random = random_source("legacy", 420)
    workspace.parameters[:] = network.initialize(random, "normal", 0.01)
    chosen = random.choice(100, 10)
    workspace.inputs[:] = drawing.train_images.reshape(100, -1)[chosen] / 255
    labels: Integers = drawing.train_labels[chosen]
    numerical(workspace, labels)
    fast: Floats = workspace.gradient.copy()
    slow_seconds, fast_seconds = [], []
    for _ in range(ROUNDS):
        slow_seconds.append(seconds(naive, workspace, labels))
        slow: Floats = workspace.gradient.copy()
        fast_seconds.append(seconds(numerical, workspace, labels))
    apart = float(abs(slow - fast).max() / abs(slow).max())
    slow_median, fast_median = statistics.median(slow_seconds), statistics.median(fast_seconds)
    print(f"naive       {slow_median:8.4f} s  ({min(slow_seconds):.4f} to {max(slow_seconds):.4f})")
    print(f"vectorised  {fast_median:8.4f} s  ({min(fast_seconds):.4f} to {max(fast_seconds):.4f})")
    print(f"ratio of medians {slow_median / fast_median:.0f}, largest relative difference {apart:.1e}")
    wall, processor = run_seconds()
    print(f"the published run: 1,000 steps in {wall:.1f} s, {processor:.1f} s of one core")


def run_seconds() -> tuple[float, float]:
    """Wall and processor seconds of the published experiment's training on drawn digits."""
    config = compose(ROOT / "conf", ["experiment=mnist_numerical"])
    drawing = draw_digits(train_count=100, test_count=10)
    examples = Examples(drawing.train_images.reshape(100, -1), drawing.train_labels, np.arange(100))
    started, processor_started = time.perf_counter(), time.process_time()
    deque(train(config, examples, {"train": examples}, Statistics(255.0)), maxlen=0)
    return time.perf_counter() - started, time.process_time() - processor_started


if __name__ == "__main__":
    main()
