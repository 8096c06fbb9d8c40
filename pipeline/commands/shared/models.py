"""Parameter pickles as the commands use them: with what lies beside them, or with what the user says.

Beside a pickle of our own lie config.yaml (its activation, data set and preprocessing) and split.npz (what
the preprocessing learnt from the train part). Of a pickle from elsewhere the layer sizes are in its shapes,
and the rest has to be given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.commands.shared.sources import parse_command
from pipeline.config.compose import read_config, read_dataset
from pipeline.config.schema import Config, Dataset, Preprocess
from pipeline.core.errors import FormatError, PipelineError, UsageError
from pipeline.core.files.images import LabelledImages, Part, load
from pipeline.core.files.parameters import read_parameters
from pipeline.core.paths import Layout, Results, shown_path
from pipeline.core.registry import check_name
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import Floats
from pipeline.nn.network import Network
from pipeline.nn.preprocessing import PREPROCESSORS, Statistics, learn
from pipeline.stages.shared.parts import flat_pixels, read_statistics
from pipeline.stages.shared.trained import trained_config

_NEEDS_NO_DATA: Final = frozenset({"none", "unit", "contrast"})


@dataclass(frozen=True)
class Pickle:
    """A network's parameters, and the configuration they were trained with if it lies beside them.

    Attributes:
        path: of the pickle.
        parameters: W1, b1, W2, b2 and so on.
        config: of the run, its best trial's values in it; None if there is none that fits the parameters.
        doubt: why there is none, as a clause.
    """

    path: Path
    parameters: dict[str, Floats]
    config: Config | None
    doubt: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units per layer, inputs and classes included."""
        weights = [array for name, array in self.parameters.items() if name.startswith("W")]
        return (weights[0].shape[0], *(weight.shape[1] for weight in weights))


@dataclass(frozen=True)
class Model:
    """A network that can be run.

    Attributes:
        path: of its pickle.
        network: its architecture, in the widest of its parameters' dtypes.
        parameters: flat vector (count,).
        preprocess: a key of `PREPROCESSORS`.
        statistics: of that preprocessor.
        loss: a key of LOSSES, from the configuration; None where there is none.
    """

    path: Path
    network: Network
    parameters: Floats
    preprocess: str
    statistics: Statistics
    loss: str | None

    @property
    def layers(self) -> str:
        """Units per layer, as in 784-100-10."""
        return "-".join(map(str, self.network.sizes))


@dataclass(frozen=True)
class Data:
    """A data set from one source."""

    layout: Layout
    dataset: Dataset
    source: str

    @property
    def title(self) -> str:
        """Data set and source in words."""
        return self.dataset.source(self.source).title

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.dataset.source(self.source).classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.dataset.image_shape
        return height, width, channels

    def images(self, part: Part) -> LabelledImages:
        """One part, as parse wrote it.

        Raises:
            PipelineError: it is not there, or is damaged.
        """
        folder = self.layout.parsed(self.source, self.dataset.name)
        if not folder.is_dir():
            raise PipelineError(
                f"{shown_path(folder)} is missing: {self.title} has not been parsed yet.\n"
                f"Run {parse_command(self.layout, self.dataset.name, self.source)}"
            )
        return load(folder, part, self.image_shape, len(self.classes))


def short_name(path: Path) -> str:
    """What to call a pickle in a title: ours, all called parameters.pkl, by their experiment."""
    return path.absolute().parent.name if path.name == "parameters.pkl" else path.name


def default_parameters(layout: Layout, experiment: str | None) -> Path:
    """outputs/EXPERIMENT/parameters.pkl; without a name, of the first experiment of params.yaml that has one.

    Raises:
        UsageError: there is no such experiment, or none is trained.
    """
    from pipeline.config.compose import read_params  # only where nothing was named

    names = list(read_params(layout.params).get("experiments") or {})
    if experiment is not None:
        path = layout.results(experiment).parameters
        if not path.is_file():
            hint = (
                f"train it: dvc repro train@{experiment}"
                if experiment in names
                else f"known: {', '.join(names)}"
            )
            raise UsageError(f"--experiment {experiment}: {shown_path(path)} is missing; {hint}")
        return path
    for name in names:
        path = layout.results(name).parameters
        if path.is_file():
            return path
    raise UsageError("no experiment is trained yet: name a pickle with --parameters, or run dvc repro")


def read_pickle(path: Path) -> Pickle:
    """A parameter pickle and the configuration beside it.

    Raises:
        PipelineError: the pickle is missing, or anything else than a network's parameters.
    """
    pickled = Pickle(path, read_parameters(path), None, "no config.yaml lies beside it")
    results = Results(path.absolute().parent)
    if not results.config.is_file():
        return pickled
    try:
        config = read_config(results.config)
        if results.trials.is_file():
            config = trained_config(config, results)
    except PipelineError as error:
        return replace(pickled, doubt=f"the config.yaml beside it cannot be used ({error})")
    if config.sizes != pickled.sizes:
        return replace(
            pickled,
            doubt=f"the config.yaml beside it is of other layers ({'-'.join(map(str, config.sizes))})",
        )
    return replace(pickled, config=config, doubt="")


def choose_data(layout: Layout, pickles: Sequence[Pickle], dataset: str | None, source: str | None) -> Data:
    """The data set and source that are given, else those of the pickles' configurations.

    Raises:
        UsageError: neither says which, the configurations disagree, or there is no such data set or source.
    """
    configs = [pickled.config for pickled in pickles if pickled.config is not None]
    dataset = dataset or _agree("--dataset", [config.dataset.name for config in configs])
    if dataset is None:
        raise UsageError(
            f"{pickles[0].path}: {pickles[0].doubt}; say which data set it is for: --dataset mnist"
        )
    source = source or _agree("--source", [config.source for config in configs]) or "bundled"
    data = Data(layout, read_dataset(layout.conf, dataset), source)
    data.dataset.source(source)
    for pickled in pickles:
        inputs, classes = pickled.sizes[0], pickled.sizes[-1]
        components = None if pickled.config is None else pickled.config.preprocess.components
        if (inputs, classes) != (components or data.dataset.features, len(data.classes)):
            shape = " × ".join(map(str, data.image_shape))
            raise FormatError(
                f"{pickled.path}: {inputs:,} inputs and {classes:,} classes do not fit {dataset}, whose"
                f" images have {data.dataset.features:,} numbers ({shape}) and {len(data.classes)} classes"
            )
    return data


def _agree(option: str, values: Sequence[str]) -> str | None:
    if len(set(values)) > 1:
        raise UsageError(
            f"the pickles were trained on {' and on '.join(values)}: say which to use with {option}"
        )
    return values[0] if values else None


def prepare(pickled: Pickle, data: Data, activation: str | None, preprocess: str | None) -> Model:
    """The network of a pickle, ready to run.

    Args:
        pickled: from `read_pickle`.
        data: whose train part teaches a preprocessor that was asked for and has no split.npz.
        activation: of the hidden layers; None for the configuration's.
        preprocess: a key of `PREPROCESSORS`; None for the configuration's, or ``unit`` without one.

    Raises:
        UsageError: a name is unknown, or needed and not given.
        PipelineError: what the preprocessing learnt, or would learn from, is missing.
    """
    config = pickled.config
    if activation is None and config is not None:
        activation = config.model.activation
    if activation is None and len(pickled.sizes) > 2:
        raise UsageError(
            f"{pickled.path}: {pickled.doubt}; say what its hidden layers compute:"
            f" --activation {' | '.join(ACTIVATIONS)}"
        )
    if activation is not None:
        check_name(ACTIVATIONS, "--activation", activation)
    dtype = str(np.result_type(*pickled.parameters.values()))
    network = Network(pickled.sizes, activation or "identity", dtype)
    name, statistics = _statistics(pickled, data, preprocess)
    if (found := statistics.inputs(data.dataset.features)) != network.sizes[0]:
        raise UsageError(
            f"--preprocess {name}: gives {found:,} numbers of an image, and {pickled.path} expects"
            f" {network.sizes[0]:,}"
        )
    return Model(
        pickled.path,
        network,
        network.flatten(pickled.parameters),
        name,
        statistics,
        None if config is None else config.loss.name,
    )


def _statistics(pickled: Pickle, data: Data, preprocess: str | None) -> tuple[str, Statistics]:
    config = pickled.config
    own = None if config is None else config.preprocess.name
    name = preprocess or own or "unit"
    check_name(PREPROCESSORS, "--preprocess", name)
    split = Results(pickled.path.absolute().parent).split
    if config is not None and name == own and split.is_file():
        return name, read_statistics(split, config)
    if name not in _NEEDS_NO_DATA and preprocess is None:
        raise PipelineError(
            f"{pickled.path}: its inputs are preprocessed by {name}, and split.npz, which holds what that"
            f" learnt, is not beside it.\nPut it there, or learn it anew from all train images:"
            f" --preprocess {name}"
        )
    settings = config.preprocess if config is not None and name == own else Preprocess(name)
    if name in _NEEDS_NO_DATA:
        return name, learn(settings, np.zeros((1, 1), np.uint8), np.zeros(1, np.int64), 1)
    pixels = flat_pixels(data.images("train").images)
    return name, learn(settings, pixels, np.arange(len(pixels)), data.image_shape[2])
