"""Evaluation from a memory map: images per second against the matrix products alone, and memory by set size.

python benchmarks/evaluation.py
"""

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pipeline  # noqa: F401  (before NumPy: it sets the numeric environment)

# isort: split
import numpy as np

from pipeline.core import runtime
from pipeline.nn.arrays import Floats, Pixels
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.examples import Examples
from pipeline.nn.network import Network
from pipeline.nn.preprocessing import Statistics
from pipeline.nn.workspace import EVALUATION_ROWS

ROUNDS: Final = 15
NETWORKS: Final = ((784, 50, 100, 10), (784, 100, 10), (784, 1000, 1000, 10))
COUNTS: Final = (1_000, 10_000, 100_000)


def products(network: Network, parameters: Floats, count: int) -> Callable[[], None]:
    """The matrix products of a forward pass over `count` images, into arrays that are there."""
    views = network.views(parameters)
    outputs = [np.ones((EVALUATION_ROWS, size), np.float32) for size in network.sizes]

    def run() -> None:
        for _ in range(count // EVALUATION_ROWS):
            for layer in range(network.depth):
                np.matmul(outputs[layer], views[f"W{layer + 1}"], out=outputs[layer + 1])

    return run


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call: others on the machine do not run it up."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        np.save(path, random.integers(0, 256, (max(COUNTS), 784), dtype=np.uint8))
        pixels: Pixels = np.load(path, mmap_mode="r")
        labels = random.integers(0, 10, max(COUNTS))
        print(f"tier {runtime.active()}, batches of {EVALUATION_ROWS}, medians of {ROUNDS} rounds in turn")
        for sizes in NETWORKS:
            network = Network(sizes, "sigmoid")
            parameters = network.initialize(random, "xavier_uniform", 1.0)
            evaluator = Evaluator(network, "cross_entropy", Statistics(255.0))
            count = COUNTS[1]
            examples = Examples(pixels, labels, np.arange(count))
            bound = products(network, parameters, count)
            evaluator.evaluate(parameters, examples)
            pairs = [
                (seconds(lambda: evaluator.evaluate(parameters, examples)), seconds(bound))  # noqa: B023  (called at once)
                for _ in range(ROUNDS)
            ]
            median = statistics.median(pair[0] for pair in pairs)
            share = statistics.median(b / a for a, b in pairs)
            peaks = []
            for size in COUNTS:
                part = Examples(pixels, labels, np.arange(size))
                tracemalloc.start()
                evaluator.evaluate(parameters, part)
                peaks.append(f"{tracemalloc.get_traced_memory()[1] / 1e3:.0f} kB for {size:,}")
                tracemalloc.stop()
            name = "-".join(map(str, sizes))
            print(f"{name:18s} {count / median:11,.0f} images/s, {share:.2f} of the products alone;", end=" ")
            print(f"allocated at most {', '.join(peaks)} images")


if __name__ == "__main__":
    main()
