"""The schema of a configuration: frozen dataclasses that check types, names and ranges.

Nothing in this package imports NumPy: the runtime tier is still to be chosen when a configuration is read.
"""

import itertools
import math
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.config.checks import (
    NAME,
    PLAIN_NAME,
    TOO_MANY,
    describe_value,
    is_finite,
    require,
    require_count,
)
from pipeline.config.space import Search
from pipeline.core.errors import ConfigError

SOURCES: Final = ("bundled", "official")

_ARRAY_NUMBERS: Final = (
    *("initializer.scale", "regularizer.strength", "optimizer.learning_rate", "optimizer.epsilon"),
)
"""Keys whose values become numbers of the arrays' type."""
_FLOAT32_RANGE: Final = (2.0**-126, (2 - 2.0**-23) * 2.0**127)
"""The smallest normal and the largest number (IEEE 754 binary32)."""


@dataclass(frozen=True)
class File:
    """One file of a data set: its name, size in bytes and sha256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", self.name) and self.name not in {".", ".."}
        require(bool(plain), "name", self.name, "a file name without a folder")
        require(self.bytes > 0, "bytes", self.bytes, "a positive number")
        require(
            bool(re.fullmatch(r"[0-9a-f]{64}", self.sha256)),
            "sha256",
            self.sha256,
            "64 lower-case hex digits",
        )


@dataclass(frozen=True)
class Source:
    """Where the files of a data set come from.

    Attributes:
        title: how pictures and metrics name it.
        classes: class names in the order of the labels.
        files: role -> file. Roles are those of the data set's format.
        mirrors: URLs, healthiest first; one that ends in / is a folder, any other is the file itself.
        drawing: for a stand-in, a key of `pipeline.data.standins.DRAWINGS`.
        train_count: images in the training set.
        test_count: images in the test set.
    """

    title: str
    classes: list[str]
    train_count: int
    test_count: int
    files: dict[str, File]
    mirrors: list[str] = field(default_factory=list)
    drawing: str | None = None

    def __post_init__(self) -> None:
        require(2 <= len(self.classes) <= 256, "classes", self.classes, "2 to 256 names")  # labels are uint8
        require(len(set(self.classes)) == len(self.classes), "classes", self.classes, "distinct names")
        require(bool(self.files), "files", self.files, "at least one file")
        require_count("train_count", self.train_count)
        require_count("test_count", self.test_count)
        require(
            bool(self.mirrors) != bool(self.drawing),
            "mirrors",
            self.mirrors,
            "mirrors or a drawing, not both",
        )

    def count(self, part: Literal["train", "test"]) -> int:
        """How many images the training or the test set has."""
        return self.train_count if part == "train" else self.test_count


@dataclass(frozen=True)
class Dataset:
    """A data set: everything about it is data.

    Attributes:
        name: as in conf/dataset/NAME.yaml.
        format: a key of `pipeline.data.datasets.FORMATS`.
        image_shape: height, width, channels.
        licence: under which the official files may be used.
        citation: how to cite them.
        sources: ``official`` and, where there is a stand-in, ``bundled``.
    """

    name: str
    format: str
    image_shape: list[int]
    licence: str
    citation: str
    sources: dict[str, Source]

    def __post_init__(self) -> None:
        require(
            len(self.image_shape) == 3  # h, w, c
            and all(size > 0 for size in self.image_shape)
            and self.image_shape[2] in {1, 3},
            "image_shape",
            self.image_shape,
            "height, width, channels, which are 1 (grey) or 3 (colour)",
        )
        require(bool(NAME.fullmatch(self.name)), "name", self.name, PLAIN_NAME)
        unknown = sorted(set(self.sources) - set(SOURCES))
        require(not unknown, "sources", unknown, f"only {', '.join(SOURCES)}")

    def source(self, name: str) -> Source:
        """The source of that name.

        Raises:
            ConfigError: the data set has none of that name.
        """
        if name not in self.sources:
            raise ConfigError(
                f"source={name}: {self.name} has no such source, only {', '.join(self.sources)}"
                + ("; no stand-in is drawn for it" if name == "bundled" else "")
            )
        return self.sources[name]

    @property
    def features(self) -> int:
        """Numbers per image."""
        return math.prod(self.image_shape)


@dataclass(frozen=True)
class Split:
    """How train, valid and test parts are chosen: see `pipeline.data.splitting`."""

    name: str
    train_count: int | None = None
    valid_count: int = 0
    test_count: int | None = None
    train_fraction: float = 1.0
    valid_fraction: float = 0.0

    def __post_init__(self) -> None:
        for key in ("train_count", "test_count"):
            require_count(key, getattr(self, key), otherwise=", or null for all")
        require_count("valid_count", self.valid_count, least=0)
        require(0 < self.train_fraction <= 1, "train_fraction", self.train_fraction, "0 < fraction <= 1")
        require(0 <= self.valid_fraction < 1, "valid_fraction", self.valid_fraction, "0 <= fraction < 1")


@dataclass(frozen=True)
class Preprocess:
    """A key of `pipeline.nn.preprocessing.PREPROCESSORS`."""

    name: str


@dataclass(frozen=True)
class Model:
    """Hidden layer sizes, and a key of `pipeline.nn.activations.ACTIVATIONS`."""

    hidden: list[int]
    activation: str

    def __post_init__(self) -> None:
        require(all(size > 0 for size in self.hidden), "hidden", self.hidden, "positive numbers")


@dataclass(frozen=True)
class Initializer:
    """A key of `pipeline.nn.initializers.INITIALIZERS`, and its scale."""

    name: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        require(self.scale >= 0 and is_finite(self.scale), "scale", self.scale, "0 or more")


@dataclass(frozen=True)
class Loss:
    """A key of `pipeline.nn.losses.LOSSES`."""

    name: str


@dataclass(frozen=True)
class Regularizer:
    """A key of `pipeline.nn.regularization.REGULARIZERS`, and its strength."""

    name: str
    strength: float = 0.0

    def __post_init__(self) -> None:
        require(self.strength >= 0 and is_finite(self.strength), "strength", self.strength, "0 or more")


@dataclass(frozen=True)
class Optimizer:
    """A key of `pipeline.nn.optimizers.OPTIMIZERS`, the learning rate, and hyperparameters it may have."""

    name: str
    learning_rate: float
    momentum: float | None = None
    decay: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        rate = self.learning_rate
        require(rate > 0 and is_finite(rate), "learning_rate", rate, "a positive number")
        for key in ("momentum", "decay", "beta1", "beta2"):
            value = getattr(self, key)
            require(value is None or 0 <= value < 1, key, value, "0 <= number < 1")
        require(
            self.epsilon is None or (self.epsilon > 0 and is_finite(self.epsilon)),
            "epsilon",
            self.epsilon,
            "a positive number",
        )

    def hyperparameters(self) -> dict[str, float]:
        """Those given, the learning rate aside."""
        found = {key: getattr(self, key) for key in ("momentum", "decay", "beta1", "beta2", "epsilon")}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Schedule:
    """A key of `pipeline.nn.schedules.SCHEDULES`, and hyperparameters it may have."""

    name: str
    decay: float | None = None
    every_epochs: int | None = None

    def __post_init__(self) -> None:
        require(self.decay is None or 0 < self.decay <= 1, "decay", self.decay, "0 < number <= 1")
        require_count("every_epochs", self.every_epochs)

    def hyperparameters(self) -> dict[str, float]:
        """Those given."""
        found = {"decay": self.decay, "every_epochs": self.every_epochs}
        return {key: float(value) for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` epochs in which `monitor` did not improve by `min_delta`, and keep the best.

    Attributes:
        monitor: ``valid_accuracy``, ``valid_loss``, or null for no early stopping.
        patience: epochs.
        min_delta: in the monitor's own unit.
    """

    monitor: str | None = None
    patience: int = 5
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.monitor in {None, "valid_accuracy", "valid_loss"},
            "monitor",
            self.monitor,
            "valid_accuracy, valid_loss or null",
        )
        require_count("patience", self.patience)
        require(self.min_delta >= 0 and is_finite(self.min_delta), "min_delta", self.min_delta, "0 or more")


@dataclass(frozen=True)
class Training:
    """The loop.

    Attributes:
        batch_size: images per step.
        steps: length of the run in steps; null where `epochs` is given.
        epochs: length of the run in passes over the train part; null where `steps` is given.
        sampling: a key of `pipeline.nn.sampling.SAMPLERS`.
        gradient: a key of `pipeline.nn.gradients.GRADIENTS`.
        step_loss: whether steps.csv has the batch's loss ``before`` or ``after`` the step's update.
        early_stopping: when to stop before the end.
    """

    batch_size: int
    sampling: str
    gradient: str
    step_loss: str
    early_stopping: EarlyStopping
    steps: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        require_count("batch_size", self.batch_size)
        for key in ("steps", "epochs"):
            require_count(key, getattr(self, key), otherwise=", or null")
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(
                f"steps={describe_value(self.steps)} with epochs={describe_value(self.epochs)}: give exactly"
                " one of the two (the other null)"
            )
        require(self.step_loss in {"before", "after"}, "step_loss", self.step_loss, "before or after")


@dataclass(frozen=True)
class Runtime:
    """A key of `pipeline.core.runtime.TIERS`."""

    name: str


@dataclass(frozen=True)
class Published:
    """What was published, if anything: in words, accuracies from 0 to 1, losses of single steps."""

    text: str = ""
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    test_accuracy: float | None = None
    first_step_loss: float | None = None
    last_step_loss: float | None = None

    def __post_init__(self) -> None:
        for key in ("train_accuracy", "valid_accuracy", "test_accuracy"):
            value = getattr(self, key)
            require(value is None or 0 <= value <= 1, key, value, "0 <= accuracy <= 1")
        for key in ("first_step_loss", "last_step_loss"):
            require(is_finite(getattr(self, key)), key, getattr(self, key), "a finite number")


@dataclass(frozen=True)
class Config:
    """One experiment, completely.

    Attributes:
        name: as in conf/experiment/NAME.yaml, or the user's own.
        source: ``bundled`` (drawn by code) or ``official`` (downloaded).
        seed: decides the initial weights, the batches and a random split.
        random: a key of `pipeline.nn.arrays.RANDOM_SOURCES`.
        dtype: ``float32`` or ``float64``.
    """

    name: str
    source: str
    seed: int
    random: str
    dtype: str
    dataset: Dataset
    split: Split
    preprocess: Preprocess
    model: Model
    initializer: Initializer
    loss: Loss
    regularizer: Regularizer
    optimizer: Optimizer
    schedule: Schedule
    training: Training
    search: Search
    runtime: Runtime
    published: Published = Published()

    def __post_init__(self) -> None:
        require(bool(NAME.fullmatch(self.name)), "name", self.name, PLAIN_NAME)
        require(self.source in SOURCES, "source", self.source, f"one of {', '.join(SOURCES)}")
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 <= seed < 2**32")
        self.dataset.source(self.source)
        has_valid = self.split.valid_count or self.split.valid_fraction
        monitor = self.training.early_stopping.monitor
        if monitor and not has_valid:
            raise ConfigError(
                f"training.early_stopping.monitor={monitor}: the split has no valid part to watch"
            )
        self.search.axes()
        if self.search.space and not has_valid:
            raise ConfigError(f"search.name={self.search.name}: the split has no valid part to choose by")
        if self.training.gradient == "numerical" and self.dtype != "float64":
            raise ConfigError(
                f"training.gradient=numerical: needs dtype=float64, not {self.dtype}"
                " (a float32 difference is mostly rounding)"
            )
        for key in _ARRAY_NUMBERS:
            group, _, name = key.partition(".")
            self._check_fits_dtype(key, getattr(getattr(self, group), name))
        parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.sizes))
        require(parameters < TOO_MANY, "model.hidden", self.model.hidden, "fewer than 2**31 parameters")

    def _check_fits_dtype(self, key: str, value: float | None) -> None:
        """Refuse what the arrays' type rounds to 0, to infinity, or to a few bits."""
        if value and self.dtype == "float32":
            low, high = _FLOAT32_RANGE
            require(
                low <= value <= high, key, value, f"{low:.2g} to {high:.2g}, which dtype=float32 can hold"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units per layer, inputs and classes included."""
        return (self.dataset.features, *self.model.hidden, len(self.classes))

    @property
    def title(self) -> str:
        """Data set and source in words, for pictures and logs."""
        return self.dataset.source(self.source).title

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.dataset.source(self.source).classes
