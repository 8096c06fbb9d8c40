"""The schema of a configuration: frozen dataclasses whose fields say their types and ranges.

`pipeline.config.build` checks both; a class checks for itself what does not go together.

Nothing in this package imports NumPy: the runtime tier is still to be chosen when a configuration is read.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, Literal

from pipeline.config.checks import (
    TOO_MANY,
    Accuracy,
    Allowed,
    Count,
    CountOrAll,
    CountOrNull,
    CountOrZero,
    Finite,
    Momentum,
    NotNegative,
    PlainName,
    Positive,
    describe_value,
    require,
)
from pipeline.config.space import Search
from pipeline.core.errors import ConfigError
from pipeline.core.registry import did_you_mean

SOURCES: Final = ("bundled", "official")
_MONITORS: Final = ("valid_accuracy", "valid_loss")

_FLOAT32_RANGE: Final = (2.0**-126, (2 - 2.0**-23) * 2.0**127)
"""The smallest normal and the largest number (IEEE 754 binary32)."""


def _is_file_name(text: str) -> bool:
    return bool(re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", text)) and text not in {".", ".."}


def _is_sha256(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", text))


@dataclass(frozen=True)
class File:
    """One file of a data set: its name, size in bytes and sha256 in hexadecimal."""

    name: Annotated[str, Allowed(_is_file_name, "a file name without a folder")]
    bytes: Annotated[int, Allowed(lambda size: size > 0, "a positive number")]
    sha256: Annotated[str, Allowed(_is_sha256, "64 lower-case hex digits")]


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
    classes: Annotated[list[str], Allowed(lambda names: 2 <= len(names) <= 256, "2 to 256 names")]  # as uint8
    train_count: Count
    test_count: Count
    files: Annotated[dict[str, File], Allowed(bool, "at least one file")]
    mirrors: list[str] = field(default_factory=list)
    drawing: str | None = None

    def __post_init__(self) -> None:
        require(len(set(self.classes)) == len(self.classes), "classes", self.classes, "distinct names")
        require(
            bool(self.mirrors) != bool(self.drawing),
            "mirrors",
            self.mirrors,
            "mirrors or a drawing, not both",
        )

    def count(self, part: Literal["train", "test"]) -> int:
        """How many images the training or the test set has."""
        return self.train_count if part == "train" else self.test_count


def _is_image_shape(sizes: Sequence[int]) -> bool:
    return len(sizes) == 3 and min(sizes) > 0 and sizes[2] in {1, 3}


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

    name: PlainName
    format: str
    image_shape: Annotated[
        list[int], Allowed(_is_image_shape, "height, width, channels, which are 1 (grey) or 3 (colour)")
    ]
    licence: str
    citation: str
    sources: dict[str, Source]

    def __post_init__(self) -> None:
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
                + did_you_mean(name, self.sources)
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
    train_count: CountOrAll | None = None
    valid_count: CountOrZero = 0
    test_count: CountOrAll | None = None
    train_fraction: Annotated[float, Allowed(lambda value: 0 < value <= 1, "0 < fraction <= 1")] = 1.0
    valid_fraction: Annotated[float, Allowed(lambda value: 0 <= value < 1, "0 <= fraction < 1")] = 0.0


@dataclass(frozen=True)
class Preprocess:
    """A key of `pipeline.nn.preprocessing.PREPROCESSORS`, and settings it may have.

    Attributes:
        name: the key.
        components: how many principal components an image is projected on.
        epsilon: what is added to their variances before they are divided by the roots.
    """

    name: str
    components: CountOrNull | None = None
    epsilon: Positive | None = None


@dataclass(frozen=True)
class Augment:
    """A key of `pipeline.nn.augmentation.AUGMENTATIONS`, and settings it may have.

    Attributes:
        name: the key.
        rotation_degrees: the largest angle either way.
        scale: the largest natural logarithm of a factor, either way.
        shear: the largest shift of a row, either way, for each row that it is from the middle.
        shift_pixels: the largest shift either way, down and across.
        elastic_pixels: standard deviation of each pixel's own shift, down and across.
        elastic_sigma_pixels: standard deviation of the Gaussians that smooth those shifts.
        elastic_grid: points of the grid that they are drawn at, down and across.
        flip_share: share of images that are mirrored, left to right.
    """

    name: str = "none"
    rotation_degrees: NotNegative | None = None
    scale: NotNegative | None = None
    shear: NotNegative | None = None
    shift_pixels: NotNegative | None = None
    elastic_pixels: NotNegative | None = None
    elastic_sigma_pixels: Positive | None = None
    elastic_grid: Annotated[int, Allowed(range(1, 65).__contains__, "1 to 64")] | None = None
    flip_share: Annotated[float, Allowed(lambda value: 0 <= value <= 1, "0 <= share <= 1")] | None = None

    def settings(self) -> dict[str, float]:
        """Those given."""
        found = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "name"}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Model:
    """The network between inputs and logits.

    Attributes:
        hidden: units per hidden layer.
        activation: a key of `pipeline.nn.activations.ACTIVATIONS`.
        batch_normalization: whether each hidden layer's sums are normalized over the batch.
        dropout: how probably a step leaves a hidden unit out.
        input_dropout: the same of an input.
    """

    hidden: Annotated[list[int], Allowed(lambda sizes: all(size > 0 for size in sizes), "positive numbers")]
    activation: str
    batch_normalization: bool = False
    dropout: Momentum = 0.0
    input_dropout: Momentum = 0.0


@dataclass(frozen=True)
class Initializer:
    """A key of `pipeline.nn.initializers.INITIALIZERS`, and its scale."""

    name: str
    scale: NotNegative = 1.0


@dataclass(frozen=True)
class Loss:
    """A key of `pipeline.nn.losses.LOSSES`, and what share of a label all classes get alike in training."""

    name: str
    label_smoothing: Momentum = 0.0


@dataclass(frozen=True)
class Regularizer:
    """A key of `pipeline.nn.regularization.REGULARIZERS`, and its strength."""

    name: str
    strength: NotNegative = 0.0


@dataclass(frozen=True)
class Optimizer:
    """A key of `pipeline.nn.optimizers.OPTIMIZERS`, the learning rate, and hyperparameters it may have."""

    name: str
    learning_rate: Positive
    momentum: Momentum | None = None
    decay: Momentum | None = None
    beta1: Momentum | None = None
    beta2: Momentum | None = None
    epsilon: Positive | None = None
    weight_decay: NotNegative | None = None

    def hyperparameters(self) -> dict[str, float]:
        """Those given, the learning rate aside."""
        keys = ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")
        found = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Schedule:
    """A key of `pipeline.nn.schedules.SCHEDULES`, and hyperparameters it may have."""

    name: str
    decay: Annotated[float, Allowed(lambda value: 0 < value <= 1, "0 < number <= 1")] | None = None
    every_epochs: Count | None = None
    warm_up: Momentum | None = None

    def hyperparameters(self) -> dict[str, float]:
        """Those given."""
        found = {"decay": self.decay, "every_epochs": self.every_epochs, "warm_up": self.warm_up}
        return {key: float(value) for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` epochs in which `monitor` did not improve by `min_delta`, and keep the best.

    Attributes:
        monitor: ``valid_accuracy``, ``valid_loss``, or null for no early stopping.
        patience: epochs.
        min_delta: in the monitor's own unit.
    """

    monitor: Annotated[str, Allowed(_MONITORS.__contains__, f"{', '.join(_MONITORS)} or null")] | None = None
    patience: Count = 5
    min_delta: NotNegative = 0.0


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

    batch_size: Count
    sampling: str
    gradient: str
    step_loss: Annotated[str, Allowed(("before", "after").__contains__, "before or after")]
    early_stopping: EarlyStopping
    steps: CountOrNull | None = None
    epochs: CountOrNull | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(
                f"steps={describe_value(self.steps)} with epochs={describe_value(self.epochs)}: give exactly"
                " one of the two (the other null)"
            )


@dataclass(frozen=True)
class Runtime:
    """A key of `pipeline.core.runtime.TIERS`."""

    name: str


@dataclass(frozen=True)
class Published:
    """What was published, if anything: in words, accuracies from 0 to 1, losses of single steps."""

    text: str = ""
    train_accuracy: Accuracy | None = None
    valid_accuracy: Accuracy | None = None
    test_accuracy: Accuracy | None = None
    first_step_loss: Finite | None = None
    last_step_loss: Finite | None = None


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

    name: PlainName
    source: Annotated[str, Allowed(SOURCES.__contains__, f"one of {', '.join(SOURCES)}")]
    seed: Annotated[int, Allowed(range(2**32).__contains__, "0 <= seed < 2**32")]
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
    augment: Augment = Augment()

    def __post_init__(self) -> None:
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
        if self.training.gradient == "numerical":
            self._check_rows_are_apart()
        if self.dtype == "float32":
            self._check_float32()
        components, features = self.preprocess.components, self.dataset.features
        require(
            components is None or components <= features,
            "preprocess.components",
            components,
            f"at most {features:,}, as many as an image has numbers",
        )
        parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.sizes))
        require(parameters < TOO_MANY, "model.hidden", self.model.hidden, "fewer than 2**31 parameters")

    def _check_rows_are_apart(self) -> None:
        """Refuse what makes the loss of an image depend on its batch, or on chance."""
        for key in ("batch_normalization", "dropout", "input_dropout"):
            value = getattr(self.model, key)
            require(not value, f"model.{key}", value, "none of it with training.gradient=numerical")

    def _check_float32(self) -> None:
        """Refuse what is rounded to 0, to infinity, or to a few bits where it meets the arrays."""
        low, high = _FLOAT32_RANGE
        expected = f"{low:.2g} to {high:.2g}, which dtype=float32 can hold"
        for key, value in (
            ("initializer.scale", self.initializer.scale),
            ("regularizer.strength", self.regularizer.strength),
            ("optimizer.learning_rate", self.optimizer.learning_rate),
            ("optimizer.epsilon", self.optimizer.epsilon),
            ("preprocess.epsilon", self.preprocess.epsilon),
        ):
            require(not value or low <= value <= high, key, value, expected)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units per layer, inputs and classes included."""
        inputs = self.preprocess.components or self.dataset.features
        return (inputs, *self.model.hidden, len(self.classes))

    @property
    def title(self) -> str:
        """Data set and source in words, for pictures and logs."""
        return self.dataset.source(self.source).title

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.dataset.source(self.source).classes
