"""The schema of a configuration, and how one is composed, checked, written and read.

Hydra composes what conf/ defines and the user overrides; names and types are checked against the frozen
dataclasses here, ranges by their `__post_init__`. YAML is read by OmegaConf alone, because YAML readers
disagree about numbers such as 1e-3. Nothing here imports NumPy: the runtime tier is still to be chosen.
"""

import contextlib
import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from dataclasses import replace as dataclass_replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.contents import shorten
from pipeline.errors import ConfigError

SOURCES: Final = ("bundled", "official")

T = TypeVar("T")

# More of anything would end in the middle of a run, in an allocation.
_TOO_MANY: Final = 2**31
_MOST_VALUES: Final = 1_000_000


def _require(condition: bool, key: str, value: object, expected: str) -> None:  # noqa: FBT001  (an assertion)
    """Each dataclass names its own keys; `_build` puts the place of the dataclass before them."""
    if not condition:
        raise ConfigError(f"{key}={_shown(value)}: expected {expected}")


def _require_count(key: str, value: int | None, *, least: int = 1, otherwise: str = "") -> None:
    expected = ("a positive number" if least == 1 else f"{least} or more") + " below 2**31" + otherwise
    _require(value is None or least <= value < _TOO_MANY, key, value, expected)


def _shown(value: object) -> str:
    """A value in one line, as YAML spells it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shorten(str(value))


def _finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


@dataclass(frozen=True)
class File:
    """One file of a data set: its name, size in bytes and sha256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[^/\\\0]+", self.name) and self.name not in {".", ".."}
        _require(bool(plain), "name", self.name, "a file name")
        _require(self.bytes > 0, "bytes", self.bytes, "a positive number")
        _require(
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
        drawing: for a stand-in, a key of `pipeline.standins.DRAWINGS`.
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
        _require(2 <= len(self.classes) <= 256, "classes", self.classes, "2 to 256 names")  # noqa: PLR2004  (labels are uint8)
        _require(len(set(self.classes)) == len(self.classes), "classes", self.classes, "distinct names")
        _require(bool(self.files), "files", self.files, "at least one file")
        _require_count("train_count", self.train_count)
        _require_count("test_count", self.test_count)
        _require(
            bool(self.mirrors) != bool(self.drawing),
            "mirrors",
            self.mirrors,
            "mirrors or a drawing, not both",
        )


@dataclass(frozen=True)
class Dataset:
    """A data set: everything about it is data.

    Attributes:
        name: as in conf/dataset/NAME.yaml.
        format: a key of `pipeline.datasets.FORMATS`.
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
        _require(
            len(self.image_shape) == 3 and all(size > 0 for size in self.image_shape),  # noqa: PLR2004  (h, w, c)
            "image_shape",
            self.image_shape,
            "height, width, channels",
        )
        unknown = sorted(set(self.sources) - set(SOURCES))
        _require(not unknown, "sources", unknown, f"only {', '.join(SOURCES)}")

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
    """How train, valid and test parts are chosen: see `pipeline.splitting`."""

    name: str
    train_count: int | None = None
    valid_count: int = 0
    test_count: int | None = None
    train_fraction: float = 1.0
    valid_fraction: float = 0.0

    def __post_init__(self) -> None:
        for key in ("train_count", "test_count"):
            _require_count(key, getattr(self, key), otherwise=", or null for all")
        _require_count("valid_count", self.valid_count, least=0)
        _require(0 < self.train_fraction <= 1, "train_fraction", self.train_fraction, "0 < fraction <= 1")
        _require(0 <= self.valid_fraction < 1, "valid_fraction", self.valid_fraction, "0 <= fraction < 1")


@dataclass(frozen=True)
class Preprocess:
    """A key of `pipeline.preprocessing.PREPROCESSORS`."""

    name: str


@dataclass(frozen=True)
class Model:
    """Hidden layer sizes, and a key of `pipeline.nn.activations.ACTIVATIONS`."""

    hidden: list[int]
    activation: str

    def __post_init__(self) -> None:
        _require(all(size > 0 for size in self.hidden), "hidden", self.hidden, "positive numbers")


@dataclass(frozen=True)
class Initializer:
    """A key of `pipeline.nn.initializers.INITIALIZERS`, and its scale."""

    name: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        _require(self.scale >= 0 and _finite(self.scale), "scale", self.scale, "0 or more")


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
        _require(self.strength >= 0 and _finite(self.strength), "strength", self.strength, "0 or more")


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
        _require(rate > 0 and _finite(rate), "learning_rate", rate, "a positive number")
        for key in ("momentum", "decay", "beta1", "beta2"):
            value = getattr(self, key)
            _require(value is None or 0 <= value < 1, key, value, "0 <= number < 1")
        _require(
            self.epsilon is None or (self.epsilon > 0 and _finite(self.epsilon)),
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
        _require(self.decay is None or 0 < self.decay <= 1, "decay", self.decay, "0 < number <= 1")
        _require_count("every_epochs", self.every_epochs)

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
        _require(
            self.monitor in {None, "valid_accuracy", "valid_loss"},
            "monitor",
            self.monitor,
            "valid_accuracy, valid_loss or null",
        )
        _require_count("patience", self.patience)
        _require(self.min_delta >= 0 and _finite(self.min_delta), "min_delta", self.min_delta, "0 or more")


@dataclass(frozen=True)
class Training:
    """The loop.

    Attributes:
        batch_size: images per step.
        steps: length of the run in steps; null where `epochs` is given.
        epochs: length of the run in passes over the train part; null where `steps` is given.
        sampling: a key of `pipeline.training.SAMPLERS`.
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
        _require_count("batch_size", self.batch_size)
        for key in ("steps", "epochs"):
            _require_count(key, getattr(self, key), otherwise=", or null")
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(
                f"steps={_shown(self.steps)} with epochs={_shown(self.epochs)}: give exactly one of the two"
                " (the other null)"
            )
        _require(self.step_loss in {"before", "after"}, "step_loss", self.step_loss, "before or after")


@dataclass(frozen=True)
class Range:
    """An axis of a search given by its ends, both included.

    Attributes:
        low: the smallest value.
        high: the largest.
        log: whether every order of magnitude is as likely (or as finely divided) as any other.
        integer: whether the values are whole numbers.
        step: the distance between neighbouring values; null where any value in between will do.
        count: into how many values a grid divides the range; null where `step` or `integer` does.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        for key in ("low", "high"):
            _require(_finite(getattr(self, key)), key, getattr(self, key), "a finite number")
        _require(self.low < self.high, "high", self.high, f"more than low={self.low:g}")
        _require(not self.log or self.low > 0, "low", self.low, "a positive number, as log=true")
        if self.step is not None:
            _require(self.step > 0 and _finite(self.step), "step", self.step, "a positive number, or null")
            _require(not self.log, "step", self.step, "null, as log=true")
            _require(self.count is None, "count", self.count, "null, as step is given")
        if self.integer:
            for key in ("low", "high", "step"):
                value = getattr(self, key)
                _require(value is None or value == int(value), key, value, "a whole number, as integer=true")
        _require_count("count", self.count, least=2, otherwise=", or null")
        _require(
            (self.steps or self.count or 0) < _MOST_VALUES, "high", self.high, "fewer values, below a million"
        )

    @property
    def steps(self) -> int | None:
        """How many steps, of 1 between whole numbers, lie between low and high; None without steps."""
        step = self.step or (1.0 if self.integer else None)
        # A hundredth of a step for the rounding of 0.1 + 0.1 + …
        return None if step is None else int((self.high - self.low) / step + 0.01)

    def values(self) -> list[float] | list[int] | None:
        """The values that `step`, `count` or `integer` divides the range into; None for a continuous one."""
        if self.count is not None:
            found = [self.at(index / (self.count - 1)) for index in range(self.count)]
        elif self.steps is not None:
            found = [self.low + index * (self.step or 1.0) for index in range(self.steps + 1)]
        else:
            return None
        return (
            sorted({round(value) for value in found}) if self.integer else [_readable(each) for each in found]
        )

    def at(self, share: float) -> float:
        """The value that lies at a share, 0 to 1, of the way from low to high."""
        if share in {0, 1}:
            return float(self.high if share else self.low)
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def draw(self, share: float) -> float | int:
        """The value for an even draw from 0 up to 1; every step is as likely, where they are not log."""
        if self.steps is not None and not self.log:
            value = self.low + int(share * (self.steps + 1)) * (self.step or 1.0)
        else:
            value = self.at(share)
        return round(value) if self.integer else _readable(value)


def _readable(value: float) -> float:
    # Six digits: nobody tunes finer, and libraries differ in the last digits of a power.
    return float(f"{value:.6g}")


Axis: TypeAlias = list[Any] | Range
"""What a search varies: values to try, or a range."""


@dataclass(frozen=True)
class Search:
    """Which configurations to try before training the best.

    Attributes:
        name: a key of `pipeline.search.STRATEGIES`.
        space: configuration keys, nested as in the configuration, down to a list of values or a `Range`.
        seed: draws and trials derive theirs from it, trials also from their own values.
        trials: how many to try (random, optuna), or to begin with (halving; null: every combination).
        factor: of how many trials halving keeps one when it trains those it keeps so many times longer.
        minimum_epochs: how long halving trains every trial.
        sampler: a key of `pipeline.search.SAMPLERS` (optuna).
        batch: how many trials optuna chooses at a time, whatever the number of workers.
    """

    name: str
    space: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    trials: int | None = None
    factor: int | None = None
    minimum_epochs: int | None = None
    sampler: str | None = None
    batch: int | None = None

    def axes(self) -> dict[str, Axis]:
        """Dotted configuration key -> values or range, in the order in which they stand.

        Raises:
            ConfigError: something else stands where values are expected; the message has the full key.
        """
        return dict(_axes(self.space, ""))

    def __post_init__(self) -> None:
        _require_count("seed", self.seed, least=0)
        for key in ("trials", "minimum_epochs", "batch"):
            _require_count(key, getattr(self, key))
        _require_count("factor", self.factor, least=2)


def _axes(space: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Axis]]:
    for key, value in space.items():
        name = f"{prefix}{key}"
        if _is_range(value):
            yield name, _build(Range, value, f"search.space.{name}")
        elif isinstance(value, Mapping):
            yield from _axes(value, f"{name}.")
        else:
            _require(
                isinstance(value, list) and bool(value),
                f"search.space.{name}",
                value,
                "a list of values, or a range such as {low: 1e-4, high: 1e-1, log: true}",
            )
            yield name, value


def _is_range(value: object) -> bool:
    return isinstance(value, Mapping) and not value.keys().isdisjoint({"low", "high"})


def check_search_key(key: str) -> None:
    """See that a dotted key of a search space is one that a trial can have a value of its own for.

    Raises:
        ConfigError: the configuration has no such key, or the search has no influence on it.
    """
    top = key.partition(".")[0]
    if top in _FIXED_BEFORE_A_SEARCH:
        raise ConfigError(f"search.space.{key}: {top} is the same for all trials")
    schema: Any = Config
    for name in key.split("."):
        if get_origin(schema) is dict:
            schema = get_args(schema)[1]
            continue
        hints = _hints(schema) if is_dataclass(schema) else {}
        if name not in hints:
            told, asked, meant = _unknown_key(key, _fields_at(key.rpartition(".")[0])).partition(
                "; did you mean "
            )
            raise ConfigError(f"search.space.{told}{asked}" + (f"search.space.{meant}" if asked else ""))
        schema = hints[name]
        if get_origin(schema) is UnionType:
            schema = get_args(schema)[0]


# The parts of the data set are chosen before, and the numeric environment is the process's own.
_FIXED_BEFORE_A_SEARCH: Final = (
    *("name", "source", "dataset", "split", "preprocess", "search", "runtime", "published"),
)


@dataclass(frozen=True)
class Runtime:
    """A key of `pipeline.runtime.TIERS`."""

    name: str


@dataclass(frozen=True)
class Published:
    """What was published about an experiment: in words, accuracies from 0 to 1, losses of single steps."""

    text: str
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    test_accuracy: float | None = None
    first_step_loss: float | None = None
    last_step_loss: float | None = None

    def __post_init__(self) -> None:
        for key in ("train_accuracy", "valid_accuracy", "test_accuracy"):
            value = getattr(self, key)
            _require(value is None or 0 <= value <= 1, key, value, "0 <= accuracy <= 1")
        for key in ("first_step_loss", "last_step_loss"):
            _require(_finite(getattr(self, key)), key, getattr(self, key), "a finite number")


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
    published: Published | None = None

    def __post_init__(self) -> None:
        _require(
            bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name)),
            "name",
            self.name,
            "letters, digits, dots, dashes and underscores",
        )
        _require(self.source in SOURCES, "source", self.source, f"one of {', '.join(SOURCES)}")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 <= seed < 2**32")
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
        parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.sizes))
        _require(parameters < _TOO_MANY, "model.hidden", self.model.hidden, "fewer than 2**31 parameters")

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


def compose(conf: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration that Hydra composes from the folder `conf` and command-line overrides, checked.

    Raises:
        ConfigError: an override names nothing, a value is missing, of the wrong type or out of range.
    """
    from hydra import compose as hydra_compose  # noqa: PLC0415  (slow to import, and not every command composes)
    from hydra import initialize_config_dir  # noqa: PLC0415  (the same)

    try:
        with initialize_config_dir(config_dir=str(conf.resolve()), version_base="1.3"):
            composed = hydra_compose("config", overrides=hydra_overrides(overrides))
    # Apart from Hydra's and OmegaConf's own: those of the YAML parser, and ValueError.
    except Exception as error:
        # Of a choice that is no text Hydra does not say which.
        place = f"{' '.join(overrides)}: " if str(error).startswith("Config group override") else ""
        raise ConfigError(place + told(error)) from error
    return check(composed)


def hydra_overrides(overrides: Iterable[str]) -> list[str]:
    """Overrides as Hydra needs them: ``search.space.KEY=VALUE`` also for a key that the space has not yet.

    The value takes the place of what stands there: a list that of a range, and the other way round.
    """
    found = []
    for override in overrides:
        if match := re.match(r"(search\.space[\w.]*)=", override):
            # Hydra would merge a mapping into a list, and fail.
            found += [f"++{match[1]}=null", f"++{override}"]
        else:
            found.append(override)
    return found


def check(composed: DictConfig) -> Config:
    """The dataclass for what Hydra or a YAML file gave.

    Raises:
        ConfigError: a key is unknown or missing, a value of the wrong type or out of range.
    """
    return _checked(Config, composed)


def read_config(path: Path) -> Config:
    """The configuration that `to_yaml` once wrote to `path`.

    Raises:
        ConfigError: the file cannot be read, or is not a configuration.
    """
    return check(_load(path))


def read_dataset(conf: Path, name: str, overrides: Sequence[str] = ()) -> Dataset:
    """The definition of one data set, from conf/dataset/NAME.yaml and dotted overrides of its keys.

    Raises:
        ConfigError: there is no such data set, or its definition is not sound.
    """
    path = conf / "dataset" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (conf / "dataset").glob("*.yaml"))
        raise ConfigError(f"dataset={name}: unknown; one of {', '.join(known)}")
    for override in overrides:
        if "=" not in override:
            raise ConfigError(
                f"{override}: expected KEY=VALUE, such as sources.official.files.archive.bytes=1"
            )
    definition = _load(path)
    try:
        merged = OmegaConf.merge(definition, OmegaConf.from_dotlist(list(overrides)))
    # As in `_load`; and lists cannot be changed by the item.
    except Exception as error:
        raise ConfigError(f"{' '.join(overrides)}: {told(error)}") from error
    return _checked(Dataset, cast("DictConfig", merged))


def to_yaml(config: Config) -> str:
    """The whole configuration, resolved, as YAML; values that are not set are left out."""
    return OmegaConf.to_yaml(OmegaConf.create(_without_none(asdict(config))))


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values at dotted keys, checked again.

    Raises:
        ConfigError: a key is unknown or a value not allowed there.
    """
    try:
        return cast("Config", _with(config, values, ""))
    except _BelowPlainDataError:
        changed = asdict(config)
    for key, value in values.items():
        *folders, last = key.split(".")
        place = changed
        for folder in folders:
            place = place[folder] if isinstance(place.get(folder), dict) else {}
        if last not in place:
            raise ConfigError(f"{key}: no such key in the configuration")
        place[last] = value
    return _build(Config, changed, "")


class _BelowPlainDataError(Exception):
    """A key leads below a mapping or a value that is not set, where there is no dataclass to change."""


def _with(node: Any, values: Mapping[str, Any], prefix: str) -> Any:  # noqa: ANN401  (any dataclass)
    """A dataclass with other values at keys below it; whatever does not change is shared with `node`."""
    hints = _hints(type(node))
    by_field: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if name not in hints:
            raise ConfigError(f"{prefix}{key}: no such key in the configuration")
        by_field.setdefault(name, {})[rest] = value
    changed = {}
    for name, below in by_field.items():
        new = (
            _converted(hints[name], below.pop(""), f"{prefix}{name}") if "" in below else getattr(node, name)
        )
        if below and not is_dataclass(new):
            raise _BelowPlainDataError
        changed[name] = _with(new, below, f"{prefix}{name}.") if below else new
    try:
        return dataclass_replace(node, **changed)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def experiment_overrides(params: DictConfig, name: str) -> list[str]:
    """What params.yaml says of an experiment, as Hydra overrides, in its order.

    Raises:
        ConfigError: params.yaml does not list the experiment, or lists it in another form.
    """
    plain = cast("dict[Any, Any]", OmegaConf.to_container(params))
    experiments = plain.get("experiments") or {}
    if not isinstance(experiments, dict):
        raise ConfigError(f"params.yaml: experiments={_shown(experiments)}: expected a mapping")
    if name not in experiments:
        known = ", ".join(map(str, experiments)) or "none"
        raise ConfigError(f"{name}: params.yaml lists no such experiment, only {known}")
    entry = experiments[name]
    if not isinstance(entry, dict) or "dataset" not in entry:
        raise ConfigError(f"params.yaml: experiments.{name} has to be a mapping with the key dataset")
    return [
        f"experiment={_quoted(name)}",
        f"source={_quoted(plain.get('source', 'bundled'))}",
        *_flattened(entry, ""),
    ]


def read_params(path: Path) -> DictConfig:
    """params.yaml.

    Raises:
        ConfigError: it cannot be read.
    """
    return _load(path)


def _load(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    # A YAML parser's complaints have many classes.
    except Exception as error:
        raise ConfigError(f"{path}: {_in_one_line(error)}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping")
    return loaded


def _checked(schema: type[T], given: DictConfig) -> T:
    try:
        plain = OmegaConf.to_container(given, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(told(error)) from error
    return _build(schema, plain, "")


def _hints(schema: Any) -> dict[str, Any]:  # noqa: ANN401  (any dataclass)
    return _cached_hints(schema)


@functools.cache
def _cached_hints(schema: type) -> dict[str, Any]:
    return get_type_hints(schema)


def _build(schema: type[T], given: object, path: str) -> T:
    """An instance of a dataclass from plain YAML data, every name and type checked, nested ones included."""
    if not isinstance(given, dict):
        raise ConfigError(f"{path or 'the configuration'}={_shown(given)}: expected a mapping")
    prefix = f"{path}." if path else ""
    hints = _hints(schema)
    unknown = [key for key in given if key not in hints]
    if unknown:
        raise ConfigError(_unknown_key(f"{prefix}{unknown[0]}", list(hints)))
    values = {key: _converted(hints[key], value, f"{prefix}{key}") for key, value in given.items()}
    needed = {
        item.name for item in fields(cast("Any", schema)) if item.default is item.default_factory is MISSING
    }
    missing = sorted(needed - set(values))
    if missing:
        raise ConfigError(f"{prefix}{missing[0]}: a value is needed and none is given")
    try:
        return schema(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _converted(hint: Any, value: Any, path: str) -> Any:  # noqa: ANN401, PLR0911  (one line per kind of type)
    """A plain value as the type that a dataclass declares for it."""
    if get_origin(hint) is UnionType:
        # The only unions in the schema are with None.
        return None if value is None else _converted(get_args(hint)[0], value, path)
    if is_dataclass(hint):
        return _build(cast("type[Any]", hint), value, path)
    if get_origin(hint) is list and isinstance(value, list):
        return [_converted(get_args(hint)[0], item, f"{path}[{index}]") for index, item in enumerate(value)]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {str(key): _converted(get_args(hint)[1], item, f"{path}.{key}") for key, item in value.items()}
    if hint is Any or (hint is bool and isinstance(value, bool)):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    # A line break would spoil a title, and ${ is where YAML of ours would be read as a reference.
    in_order = not isinstance(value, str) or (value.isprintable() and "${" not in value)
    if isinstance(hint, type) and isinstance(value, hint) and not isinstance(value, bool) and in_order:
        return value
    raise ConfigError(f"{path}={_shown(value)}: expected {_KINDS[get_origin(hint) or hint]}")


_KINDS: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    str: "text (in one line, without ${)",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def told(error: Exception) -> str:  # noqa: PLR0911  (one per kind of message)
    """Hydra's, OmegaConf's or a YAML parser's message in one line, in the words of the messages here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first = lines[0]
    if (override := getattr(error, "override", None)) is not None:
        return f"'{shorten(override)}': expected KEY=VALUE, such as optimizer.learning_rate=0.2 ({first})"
    if found := re.match(r"Could not override '([^']+)'\.$", first):
        return _unknown_key(found[1], _fields_at(found[1].rpartition(".")[0]))
    if found := re.match(r"In '[^']*': Could not find '(.+)/([^/']+)'", first):
        options = [line for line in lines[1:] if re.fullmatch(r"[\w.-]+", line)]
        return f"{found[1]}={found[2]}: no such choice; one of {', '.join(options) or 'none'}"
    if found := re.match(r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", first):
        return f"{found[1] or found[2]}: several values: add -m for a run with each, or quote them"
    if found := re.match(r"Missing mandatory value: (\S+)", first):
        return f"{getattr(error, 'full_key', None) or found[1]}: a value is needed and none is given"
    if hasattr(error, "problem_mark"):
        return _in_one_line(error)
    key = getattr(error, "full_key", None)
    return f"{key}: {first}" if key and key not in first else first


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unknown_key(key: str, siblings: Sequence[str]) -> str:
    """What to say about a dotted key; `siblings` are the names that can stand in its last part's place."""
    folder, _, last = key.rpartition(".")
    if key == "experiment":
        return "experiment: no such key; a file in conf/experiment begins with # @package _global_"
    if last in siblings:
        return f"{key}: the choice made for {key.split('.', maxsplit=1)[0]} has no such key"
    known = list(_schema_keys(Config, ""))
    close = [f"{folder}.{name}".strip(".") for name in get_close_matches(last, siblings, n=1, cutoff=0.8)]
    # Or the slip is further to the left, or the left part is forgotten.
    close += [] if siblings else get_close_matches(key, known, n=1, cutoff=0.8)
    close += [name for name in known if name.endswith(f".{key}")]
    return f"{key}: no such key; " + (
        f"did you mean {close[0]}?" if close else f"known: {', '.join(siblings)}"
    )


def _fields_at(folder: str) -> list[str]:
    """The names that the schema has below a dotted key, which may be empty; none below a single value."""
    hint: Any = Config
    for name in filter(None, folder.split(".")):
        hint = get_args(hint)[1] if get_origin(hint) is dict else _hints(hint).get(name)
        hint = get_args(hint)[0] if get_origin(hint) is UnionType else hint
        if not (is_dataclass(hint) or get_origin(hint) is dict):
            return []
    return list(_hints(hint)) if is_dataclass(hint) else []


def _schema_keys(schema: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401  (any dataclass)
    for key, hint in _hints(schema).items():
        yield f"{prefix}{key}"
        if is_dataclass(hint):
            yield from _schema_keys(hint, f"{prefix}{key}.")


def _without_none(value: Any) -> Any:  # noqa: ANN401  (plain YAML data)
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _flattened(entry: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    for key, value in entry.items():
        # A range is one value: it may take the place of a list.
        if isinstance(value, dict) and not (prefix.startswith("search.space.") and _is_range(value)):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            # ++ because a choice need not have the key; the schema knows if it may. Hydra refuses it for a
            # choice itself, which stands at the top; `compose` sees to search spaces.
            mark = "++" if prefix and not prefix.startswith("search.space.") else ""
            yield f"{mark}{prefix}{key}={_quoted(value)}"


def _quoted(value: Any) -> str:  # noqa: ANN401  (plain YAML data)
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_quoted(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        # Backslashes mean themselves except before a quote.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + "\\'" * bool(found[2]), value) + "'"
    return str(value)
