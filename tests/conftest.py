"""Fixtures for all tests. Importing `pipeline` here fixes the numeric environment before NumPy is loaded."""

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import pipeline  # noqa: F401  (see above: before NumPy)
from pipeline.__main__ import main
from pipeline.config.compose import read_config, to_yaml
from pipeline.config.schema import Config
from pipeline.core.files.arrays import atomic_npy
from pipeline.core.files.atomic import write_text
from pipeline.core.files.images import LabelledImages
from pipeline.core.paths import Layout, Results
from pipeline.data import datasets
from pipeline.data.standins import Drawing, draw_digits
from pipeline.stages import compose, evaluate, split, train
from pipeline.stages.shared.context import Context, ExperimentContext

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What whoever runs the tests has set up for git and DVC is not tried.
NOWHERE = str(Path(__file__).with_name("nowhere"))
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
os.environ |= {"DVC_GLOBAL_CONFIG_DIR": NOWHERE, "DVC_SYSTEM_CONFIG_DIR": NOWHERE}

# The same examples in every run, and no clock: these machines are shared.
settings.register_profile(
    "pipeline", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("pipeline")

ROOT = Path(__file__).resolve().parent.parent

TRAIN_COUNT, TEST_COUNT = 200, 100

PARAMS = """\
# What is run.
source: bundled # or official

datasets: [tiny]

# One line each.
experiments:
  tiny: {dataset: tiny} # quick
  tiny_grid: {dataset: tiny}
"""

DATASET = """\
name: tiny
format: idx
image_shape: [28, 28, 1]
licence: MIT
citation: nobody (2000)
sources:
"""

SOURCE = """\
  {name}:
    title: {title}
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    train_count: 200
    test_count: 100
    {origin}
    files:
"""

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}

EXPERIMENT = """\
# @package _global_
# A network that trains in milliseconds.
defaults:
  - override /dataset: tiny

name: tiny
split:
  valid_count: 40
model:
  hidden: [8]
training:
  batch_size: 20
  epochs: 3
published:
  text: nothing
"""

GRID = """\
# @package _global_
# Four of them.
defaults:
  - tiny
  - override /search: grid
  - _self_

name: tiny_grid
search:
  space:
    model:
      hidden: [[4], [8]]
    optimizer:
      learning_rate: [1e-3, 0.3]
"""


@dataclass(frozen=True)
class Tiny:
    """A data set of a few drawn digits: the drawing, its files and its arrays on disk, its definition."""

    drawing: Drawing
    raw: Path
    parsed: Path
    definition: str
    experiment: str


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    drawing = draw_digits(TRAIN_COUNT, TEST_COUNT)
    parts = {
        "train": LabelledImages(drawing.train_images, drawing.train_labels),
        "test": LabelledImages(drawing.test_images, drawing.test_labels),
    }
    raw, parsed = folder / "raw", folder / "parsed"
    datasets.WRITERS["idx"](
        {role: raw / name for role, name in FILES.items()}, parts["train"], parts["test"], list("0123456789")
    )
    for part, labelled in parts.items():
        for name, array in (("images", labelled.images), ("labels", labelled.labels)):
            with atomic_npy(parsed / part / f"{name}.npy", array.shape, array.dtype) as output:
                output.write_rows(0, array)
    definition = DATASET
    for name, title, origin in (
        ("bundled", "a few drawn digits (not MNIST)", "drawing: digits"),
        ("official", "a few digits", 'mirrors: ["https://mirror.invalid/"]'),
    ):
        definition += SOURCE.format(name=name, title=title, origin=origin)
        for role, file in FILES.items():
            data = (raw / file).read_bytes()
            checksum = hashlib.sha256(data).hexdigest()
            definition += f"      {role}: {{name: {file}, bytes: {len(data)}, sha256: {checksum}}}\n"
    return Tiny(drawing, raw, parsed, definition, EXPERIMENT)


def make_checkout(root: Path, tiny: Tiny) -> Layout:
    """A checkout of its own: conf/ and dvc.yaml, two tiny experiments, no data."""
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copy(ROOT / "dvc.yaml", root)
    (root / "params.yaml").write_text(PARAMS)
    (root / "conf" / "dataset" / "tiny.yaml").write_text(tiny.definition)
    (root / "conf" / "experiment" / "tiny.yaml").write_text(EXPERIMENT)
    (root / "conf" / "experiment" / "tiny_grid.yaml").write_text(GRID)
    return Layout(root)


@pytest.fixture(scope="session")
def new_checkout(tiny: Tiny) -> Callable[[Path], Layout]:
    """Makes a checkout of its own in a folder: conf/ and dvc.yaml, two tiny experiments, no data."""
    return lambda root: make_checkout(root, tiny)


@pytest.fixture
def checkout(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkout of its own, as the working directory: conf/ and dvc.yaml, two tiny experiments, no data."""
    layout = make_checkout(tmp_path / "checkout", tiny)
    monkeypatch.chdir(layout.root)
    # Searches in this process: starting others takes seconds.
    monkeypatch.setenv("PIPELINE_WORKERS", "1")
    return layout


@pytest.fixture(scope="session")
def configs(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """The configurations of the experiments, by name: composing one takes a tenth of a second."""
    layout = make_checkout(tmp_path_factory.mktemp("composed") / "checkout", tiny)
    for name in ("tiny", "tiny_grid"):
        compose.run(Context(layout, name))
    return {name: read_config(layout.results(name).config) for name in ("tiny", "tiny_grid")}


@pytest.fixture
def parsed(checkout: Layout, tiny: Tiny) -> Layout:
    """The same with the data set parsed, from either source."""
    for source in ("bundled", "official"):
        shutil.copytree(tiny.parsed, checkout.parsed(source, "tiny"))
    return checkout


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command line in this process."""
    # Whoever edits the code while its tests run has no false results to fear.
    monkeypatch.setattr("pipeline.core.guard._STARTED_WITH", {})
    monkeypatch.setattr("pipeline.core.guard.remember_code", lambda: None)

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = main(arguments)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    handlers, level = logging.root.handlers[:], logging.root.level
    yield run
    # Some flags of Hydra set up logging to what is stderr during this test only.
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def composed(parsed: Layout, configs: dict[str, Config]) -> Layout:
    """The same with the experiments composed."""
    for name, config in configs.items():
        write_text(parsed.results(name).config, to_yaml(config))
    return parsed


@pytest.fixture(scope="session")
def tiny_outputs(tiny: Tiny, configs: dict[str, Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout(tmp_path_factory.mktemp("evaluated"))
    shutil.copytree(tiny.parsed, layout.parsed("bundled", "tiny"))
    results = Results(layout.results("tiny").folder)
    write_text(results.config, to_yaml(configs["tiny"]))
    for stage in (split, train, evaluate):
        stage.run(ExperimentContext(layout, configs["tiny"], results))
    return results.folder


@pytest.fixture
def evaluated(parsed: Layout, tiny_outputs: Path) -> Layout:
    """The same with the experiment `tiny` composed, split, trained and evaluated."""
    results = parsed.results("tiny")
    shutil.copytree(tiny_outputs, results.folder)
    results.summary.parent.mkdir()
    (results.folder / "summary.json").rename(results.summary)
    return parsed


@pytest.fixture
def python() -> Run:
    """Runs Python on its own, outside this process: only the variables given differ from this one's."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
        variables = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        done = subprocess.run(  # noqa: S603  (our own interpreter)
            [sys.executable, *arguments],
            env={**os.environ, **variables},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run
