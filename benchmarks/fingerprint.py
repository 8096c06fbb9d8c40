"""A short run of everything that computes, and the hash of all its results: the work of runtime_matrix.py.

    python benchmarks/fingerprint.py                  # JSON: part -> hash, and what runtime.doubts() says
    python benchmarks/fingerprint.py --part training

Everything it works on is drawn by code, so that any two machines can be compared by their output.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.commands.verify import BY_EIGENVECTORS
from pipeline.config.build import with_values  # before NumPy, whose environment the package fixes
from pipeline.config.compose import compose
from pipeline.config.schema import Config, File, Preprocess, Split
from pipeline.core import runtime
from pipeline.core.files.images import LabelledImages
from pipeline.core.paths import Layout, Results
from pipeline.data import datasets, splitting
from pipeline.data.standins import Drawing, draw_digits
from pipeline.nn import evaluation, preprocessing, setup, training
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import DTYPES, RANDOM_SOURCES, random_source
from pipeline.nn.examples import Examples
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.losses import LOSSES
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.sampling import SAMPLERS
from pipeline.nn.schedules import SCHEDULES
from pipeline.report import metrics
from pipeline.search import engines
from pipeline.stages import evaluate, parse, plot, split
from pipeline.stages.shared.context import DatasetContext, ExperimentContext
from pipeline.stages.train import stage as train

import numpy as np  # isort: skip

ROOT: Final = Path(__file__).resolve().parent.parent
CONF: Final = ROOT / "conf"
TRAIN, TEST = 430, 130  # the same number of every class
FILES: Final = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def examples_of(drawing: Drawing) -> tuple[Examples, Examples]:
    """The train and the test part in memory, all of both."""
    return tuple(
        Examples(images.reshape(len(images), -1), labels.astype(np.int64), np.arange(len(images)))
        for images, labels in (
            (drawing.train_images, drawing.train_labels),
            (drawing.test_images, drawing.test_labels),
        )
    )  # type: ignore[return-value]  # a tuple of two


def configurations() -> Iterator[Config]:
    """Every dtype, activation and loss with one another, every other choice several times among them."""
    base = compose(CONF, ["training.batch_size=37", "training.epochs=2", "regularizer=l2"])
    others = zip(
        itertools.cycle(OPTIMIZERS),
        itertools.cycle(SCHEDULES),
        itertools.cycle(INITIALIZERS),
        itertools.cycle(RANDOM_SOURCES),
        itertools.cycle(SAMPLERS),
        itertools.cycle([[41], [53, 29], [31, 23, 19]]),
        itertools.cycle([False, True]),
        itertools.cycle([0.0, 0.3, 0.2, 0.0, 0.1]),
        strict=False,
    )
    for (dtype, activation, loss), other in zip(
        itertools.product(DTYPES, ACTIVATIONS, LOSSES), others, strict=False
    ):
        optimizer, schedule, initializer, random, sampling, hidden, normalized, dropout = other
        values = {
            "dtype": dtype,
            "model.activation": activation,
            "model.hidden": hidden,
            "model.batch_normalization": normalized,
            "model.dropout": dropout,
            "loss.name": loss,
            "optimizer.name": optimizer,
            "optimizer.learning_rate": 0.01,
            "schedule.name": schedule,
            "initializer.name": initializer,
            "initializer.scale": 1.0 if initializer != "normal" else 0.05,
            "random": random,
            "training.sampling": sampling,
            "regularizer.strength": 0.003,
        }
        yield with_values(base, values)


def of_drawing(drawing: Drawing) -> Iterator[bytes]:
    """The bundled images and labels."""
    for array in (drawing.train_images, drawing.train_labels, drawing.test_images, drawing.test_labels):
        yield array.tobytes()


def of_split(drawing: Drawing) -> Iterator[bytes]:
    """Index arrays, and what preprocessors learn by sums alone."""
    labels, test_labels = drawing.train_labels, drawing.test_labels
    pixels = drawing.train_images.reshape(len(labels), -1)
    settings = Split("stratified", train_fraction=0.7, valid_fraction=0.2)
    for random in RANDOM_SOURCES:
        chosen = splitting.split(settings, labels, test_labels, random_source(random, 3, 1))
        yield from (part.tobytes() for part in (chosen.train, chosen.valid, chosen.test))
        for name in sorted(set(preprocessing.PREPROCESSORS) - BY_EIGENVECTORS):
            yield from statistics_of(name, pixels, chosen.train)


def of_components(drawing: Drawing) -> Iterator[bytes]:
    """What preprocessors learn by the BLAS and LAPACK."""
    pixels = drawing.train_images.reshape(len(drawing.train_labels), -1)
    for name in sorted(BY_EIGENVECTORS):
        yield from statistics_of(name, pixels, np.arange(len(pixels)))


def statistics_of(name: str, pixels: np.ndarray, indices: np.ndarray) -> Iterator[bytes]:
    """The statistics of a preprocessor as conf/ has it."""
    statistics = preprocessing.learn(compose(CONF, [f"preprocess={name}"]).preprocess, pixels, indices, 1)
    yield from (array.tobytes() for array in statistics.arrays().values())


def of_training(drawing: Drawing) -> Iterator[bytes]:
    """Parameters, histories, losses of steps, probabilities and figures of some thirty short trainings."""
    examples, test = examples_of(drawing)
    statistics = [
        preprocessing.learn(Preprocess(name), examples.pixels, examples.indices, 1)
        for name in ("unit", "standardize")
    ]
    numerical = compose(
        CONF,
        [
            "dtype=float64",
            "training.gradient=numerical",
            "model.hidden=[5]",
            "training.steps=3",
            "training.epochs=null",
        ],
    )
    for config, learnt in zip([*configurations(), numerical], itertools.cycle(statistics), strict=False):
        *_, last = training.train(
            config, examples, {"train": examples, "valid": test}, learnt, threads=runtime.threads()
        )
        yield last.result.tobytes()
        yield last.step_losses.tobytes()
        yield repr(last.history).encode()
        evaluator = evaluation.Evaluator(setup.network_of(config), config.loss.name, learnt)
        probabilities = evaluator.probabilities(last.result, test)
        yield probabilities.tobytes()
        yield repr(metrics.expected_calibration_error(probabilities, test.labels)).encode()
        curve = metrics.micro_average_roc_curve(probabilities, test.labels)
        yield curve.true_positive_rate.tobytes()
        yield repr(metrics.roc_area(curve)).encode()


def of_stages(drawing: Drawing) -> Iterator[bytes]:
    """Every file that the stages from parse to plot write, pictures included."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        layout = Layout(Path(folder))
        raw = layout.raw("bundled", "mnist")
        datasets.WRITERS["idx"](
            {role: raw / name for role, name in FILES.items()},
            LabelledImages(drawing.train_images, drawing.train_labels),
            LabelledImages(drawing.test_images, drawing.test_labels),
            list("0123456789"),
        )
        config = compose(
            CONF,
            [
                "experiment=mnist_relu_squared",
                "training.epochs=2",
                "split=stratified",
                "preprocess=standardize",
            ],
        )
        source = config.dataset.source("bundled")
        files = {
            role: File(
                name, (raw / name).stat().st_size, hashlib.sha256((raw / name).read_bytes()).hexdigest()
            )
            for role, name in FILES.items()
        }
        small = dataclasses.replace(source, train_count=TRAIN, test_count=TEST, files=files)
        dataset = dataclasses.replace(config.dataset, sources={"bundled": small})
        parse.run(DatasetContext(layout, dataset, "bundled"))
        results = Results(Path(folder, "results"))
        for stage in (split, train, evaluate, plot):
            stage.run(ExperimentContext(layout, config, results))
        for path in sorted(Path(folder).rglob("*")):
            # The summary says again what per_part.csv and steps.csv do.
            if path.is_file() and path != results.summary:
                yield path.relative_to(folder).as_posix().encode()
                yield path.read_bytes()


class Task:
    """Trains a configuration on drawn digits, in whichever process."""

    def __call__(self, numbered: tuple[int, Config]) -> tuple[int, float]:
        """The configuration's number, and the loss of the last step."""
        number, config = numbered
        examples, _ = examples_of(draw_digits(TRAIN, TEST))
        *_, last = training.train(config, examples, {}, preprocessing.Statistics(255.0))
        return number, float(last.step_losses[-1])


def died(numbered: tuple[int, Config]) -> tuple[int, float]:
    """Ends the program: a part of it is missing.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(f"the process of configuration {numbered[0]} died")


def of_workers(drawing: Drawing) -> Iterator[bytes]:
    """What two processes side by side make of some configurations, as of a search's."""
    del drawing
    numbered = enumerate(itertools.islice(configurations(), 6))
    with engines.open_engine("local", 2) as engine:
        found = sorted(engines.run(engine, Task(), numbered, died, print))
    yield repr([loss for _, loss in found]).encode()


PARTS: Final[Mapping[str, Callable[[Drawing], Iterator[bytes]]]] = {
    "drawing": of_drawing,
    "split": of_split,
    "components": of_components,
    "training": of_training,
    "workers": of_workers,
    "stages": of_stages,
}


def digest(chunks: Iterator[bytes]) -> str:
    """SHA-256 over all of them, each with its length."""
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(len(chunk).to_bytes(8, "big") + chunk)
    return found.hexdigest()


def main() -> None:
    """Print the hashes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; can be repeated")
    options = parser.parse_args()
    drawing = draw_digits(TRAIN, TEST)
    parts = {name: digest(PARTS[name](drawing)) for name in options.part or PARTS}
    print(json.dumps({"parts": parts, "tier": runtime.active(), "doubts": runtime.doubts()}))


if __name__ == "__main__":
    main()
