"""What the decisions of docs/performance.md gain: each piece of a step as it is, and as it would be without.

The pieces take turns, several rounds; microseconds of processor time, medians. 784-50-100-10 at batch 100
unless the line says otherwise.

    python benchmarks/decisions.py
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import pipeline  # noqa: F401  (before NumPy: it sets the numeric environment)

# isort: split
import numpy as np

from pipeline.core import runtime
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import Floats, Integers, Pixels, run_calls
from pipeline.nn.losses import LOSSES, Scores
from pipeline.nn.preprocessing import Loader, Statistics

ROUNDS: Final = 41
REPEATS: Final = 20
Work = Callable[[], object]


def compared(title: str, without: Work, chosen: Work) -> None:
    """Print a line."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, found in zip((without, chosen), times, strict=True):
            started = time.process_time()
            for _ in range(REPEATS):
                work()
            found.append((time.process_time() - started) / REPEATS * 1e6)
    before, after = (statistics.median(found) for found in times)
    print(f"{title:60s} {before:8.1f} {after:8.1f} {before - after:8.1f}")


def loss_by_row(logits: Floats, kept: Floats, labels: Integers, rows: Integers) -> None:
    """Cross-entropy's gradient in place too, but with one row of logits after the other."""
    np.copyto(logits, kept)
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[rows, labels]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1, keepdims=True)
    logits /= sums
    logits[rows, labels] -= 1
    logits /= len(labels)
    float((np.log(sums[:, 0]) - picked).sum(dtype=np.float64))


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (50_000, 784), dtype=np.uint8)
    converted = pixels.astype(np.float32) / 255
    batches = random.integers(0, len(pixels), (500, 100))
    inputs: Floats = np.empty((100, 784), np.float32)
    gathered: Pixels = np.empty((100, 784), np.uint8)
    turn = iter(range(10**9))

    def batch() -> Integers:
        return batches[next(turn) % len(batches)]

    loader = Loader(Statistics(255.0), "float32", 100, 784)
    sums: Floats = np.ones((100, 50), np.float32)

    def divide_sums() -> None:
        loader.load(pixels, batch(), inputs)
        # Forward and backward.
        np.multiply(sums, 1 / 255, out=sums)
        np.multiply(sums, 255.0, out=sums)

    def divide_pixels() -> None:
        np.copyto(inputs, pixels.take(batch(), axis=0, out=gathered, mode="clip"))
        np.divide(inputs, np.float32(255), out=inputs)

    print(f"tier {runtime.active()}" + " " * 50 + "without     with     gain")
    compared(
        "bytes are gathered and converted, not float32 rows",
        lambda: converted.take(batch(), axis=0, out=inputs, mode="clip"),
        divide_sums,
    )
    compared("the divisor is applied to the first layer's sums", divide_pixels, divide_sums)
    compared(
        "a batch goes into a buffer that is there (else new arrays)",
        lambda: pixels[batch()].astype(np.float32) / np.float32(255),
        divide_pixels,
    )

    scores = Scores.allocate(10, 100, np.float32)
    kept = random.standard_normal((100, 10)).astype(np.float32)
    kept_by_class, logits = np.ascontiguousarray(kept.T), kept.copy()
    labels, rows = random.integers(0, 10, 100), np.arange(100)

    calls, total = LOSSES["cross_entropy"].bound(scores)

    def loss_by_class() -> None:
        np.copyto(scores.by_class, kept_by_class)
        scores.locate(labels)
        scores.factor[()] = 1 / len(labels)
        run_calls(calls)
        total()

    compared(
        "logits stand class by class",
        lambda: loss_by_row(logits, kept, labels, rows),
        loss_by_class,
    )

    parameters: Floats = np.zeros(45_360, np.float32)
    gradient = np.zeros_like(parameters)

    def scaled_update() -> None:
        np.multiply(gradient, np.float32(0.1), out=gradient)
        np.subtract(parameters, gradient, out=parameters)

    compared(
        "the learning rate multiplies the logits' gradient",
        scaled_update,
        lambda: np.subtract(parameters, gradient, out=parameters),
    )
    errors, ones, total = np.ones((100, 100), np.float32), np.ones(100, np.float32), np.ones(100, np.float32)
    compared(
        "a product with ones adds up the rows for a bias",
        lambda: np.add.reduce(errors, axis=0, out=total),
        lambda: np.matmul(ones, errors, out=total),
    )
    activations()


def activations() -> None:
    """Print the lines on activations."""
    values, scratch = np.ones((100, 90), np.float32), np.ones((100, 90), np.float32)
    relu = ACTIVATIONS["relu"].forward(values, scratch)
    compared(
        "ReLU compares with an array of zeros (784-90-10)",
        lambda: np.maximum(values, 0, out=values),
        partial(run_calls, relu),
    )
    hidden: Floats = np.full((10, 50), 0.5, np.float32)
    sigmoid = ACTIVATIONS["sigmoid"].forward(hidden, hidden)

    def written_out() -> None:
        np.negative(hidden, out=hidden)
        np.exp(hidden, out=hidden)
        np.add(hidden, 1, out=hidden)
        np.reciprocal(hidden, out=hidden)

    compared(
        "a sigmoid's calls are bound to their arrays once (784-50-10, batch 10)",
        written_out,
        partial(run_calls, sigmoid),
    )


if __name__ == "__main__":
    main()
