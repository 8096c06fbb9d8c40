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

SOURCES: Final = ("bundled", "official", "local")
_ORIGINS: Final = ("mirrors", "drawing", "packaged", "local")
_MONITORS: Final = ("valid_accuracy", "valid_loss")

_FLOAT32_RANGE: Final = (2.0**-126, (2 - 2.0**-23) * 2.0**127)
"""The smallest normal and the largest number (IEEE 754 binary32)."""


def _is_file_name(text: str) -> bool:
    return bool(re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", text)) and text not in {".", ".."}


def _is_hex(digits: int) -> Allowed:
    pattern = re.compile(rf"[0-9a-f]{{{digits}}}")
    return Allowed(lambda text: bool(pattern.fullmatch(text)), f"{digits} lower-case hex digits")


@dataclass(frozen=True)
class File:
    """One file of a data set: its name, its size and what proves that it is the right one.

    Attributes:
        name: of the file, without a folder.
        bytes: its size; null where nobody publishes it.
        sha256: in hexadecimal.
        md5: likewise, where the source publishes only that.
    """

    name: Annotated[str, Allowed(_is_file_name, "a file name without a folder")]
    bytes: Annotated[int, Allowed(lambda size: size > 0, "a positive number")] | None = None
    sha256: Annotated[str, _is_hex(64)] | None = None
    md5: Annotated[str, _is_hex(32)] | None = None

    def __post_init__(self) -> None:
        require(bool(self.sha256 or self.md5), "sha256", self.sha256, "a checksum: sha256, or md5")

    @property
    def checksum(self) -> tuple[Literal["sha256", "md5"], str]:
        """The algorithm's name in `hashlib`, and the digest in hexadecimal."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", self.md5 or "")


@dataclass(frozen=True)
class Reading:
    """How files are read that are not as their format usually has them.

    Attributes:
        members: role -> what plays it inside the one file with the role ``archive``: a file of a zip, an
            array of an .npz, a folder of an archive of pictures; several are read one after the other.
        columns: what a table calls its columns, by what they hold: ``image``, ``label``.
        label_column: where each row's label is, counted from 0, or from -1 for the last.
        header: whether a table's first row has names; null to tell by its look.
        first_label: what the first class has for a label.
        labels: label in the files -> name of the class; images with other labels are left out.
        transpose: whether the files have rows where the images have columns.
        invert: whether the files have black on white.
        white: the brightest level in the files, which becomes 255.
    """

    members: dict[str, str | list[str]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    label_column: int | None = None
    header: bool | None = None
    first_label: int = 0
    labels: Annotated[dict[str, str], Allowed(bool, "at least one label, or null")] | None = None
    transpose: bool = False
    invert: bool = False
    white: Annotated[int, Allowed(range(1, 2**16).__contains__, "1 to 65535")] = 255

    def __post_init__(self) -> None:
        require(not (self.labels and self.first_label), "first_label", self.first_label, "0 beside labels")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the files of a data set come from.

    Attributes:
        title: how pictures and metrics name it.
        classes: class names in the order of the labels.
        train_count: images in the training set; null for as many as there are.
        test_count: images in the test set, likewise; 0 says that there is none: the split then makes one.
        files: role -> file, or a list of files that are read one after the other. Roles are those of the data
            set's format.
        mirrors: URLs, healthiest first; one that ends in / is a folder, any other is the file itself.
        drawing: for a stand-in, a key of `pipeline.data.standins.DRAWINGS`.
        packaged: whether the files come with this package, from pipeline/data/packaged.
        local: whether the files are the user's own, at the place that conf/local.yaml names.
        reading: how the files are read, where that is not as usual.
    """

    title: str
    classes: Annotated[list[str], Allowed(lambda names: 2 <= len(names) <= 256, "2 to 256 names")]  # as uint8
    train_count: CountOrAll | None = None
    test_count: CountOrZero | None = None
    files: Annotated[dict[str, File | list[File]], Allowed(bool, "at least one file")]
    mirrors: list[str] = field(default_factory=list)
    drawing: str | None = None
    packaged: bool | None = None
    local: bool | None = None
    reading: Reading | None = None

    def __post_init__(self) -> None:
        require(len(set(self.classes)) == len(self.classes), "classes", self.classes, "distinct names")
        origins = [key for key in _ORIGINS if getattr(self, key)]
        require(len(origins) == 1, _ORIGINS[0], origins, f"exactly one of {', '.join(_ORIGINS)}")
        names = [file.name.casefold() for file in self.all_files]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "files", twice, "names that differ in more than case")
        unknown = sorted(set((self.how.labels or {}).values()) - set(self.classes))
        require(not unknown, "reading.labels", unknown, "names that are among classes")

    def count(self, part: Literal["train", "test"]) -> int | None:
        """How many images the training or the test set has; None where the definition leaves it open."""
        return self.train_count if part == "train" else self.test_count

    @property
    def how(self) -> Reading:
        """How the files are read."""
        return self.reading or Reading()

    @property
    def has_test(self) -> bool:
        """Whether there is a test set; if not, the split makes one."""
        return self.test_count != 0

    @property
    def files_by_role(self) -> dict[str, list[File]]:
        """The files of each role in the order in which they are read."""
        return {role: file if isinstance(file, list) else [file] for role, file in self.files.items()}

    @property
    def all_files(self) -> list[File]:
        """Every file, in the order of the roles."""
        return list(itertools.chain.from_iterable(self.files_by_role.values()))


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
        sources: ``official``, where there is a stand-in ``bundled``, and ``local`` for files of one's own.
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
    """How train, valid and test parts are chosen: see `pipeline.data.splitting`.

    The test part is taken from the test set; where a data set has none, from the training set, as
    `test_count` or `test_fraction` says.
    """

    name: str
    train_count: CountOrAll | None = None
    valid_count: CountOrZero = 0
    test_count: CountOrAll | None = None
    train_fraction: Annotated[float, Allowed(lambda value: 0 < value <= 1, "0 < fraction <= 1")] = 1.0
    valid_fraction: Annotated[float, Allowed(lambda value: 0 <= value < 1, "0 <= fraction < 1")] = 0.0
    test_fraction: Annotated[float, Allowed(lambda value: 0 < value < 1, "0 < fraction < 1")] | None = None


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
        self._check_test()
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

    def _check_test(self) -> None:
        """See that there is one test part: from the test set, or else made by the split."""
        count, fraction = self.split.test_count, self.split.test_fraction
        if self.dataset.source(self.source).has_test:
            expected = f"null, for {self.title} has a test set of its own"
            require(fraction is None, "split.test_fraction", fraction, expected)
        elif count is None and fraction is None:
            raise ConfigError(
                f"split.test_count=null: {self.title} has no test set: expected the number of images to take"
                " from the training set (split=head_tail), or split.test_fraction (split=stratified)"
            )

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
