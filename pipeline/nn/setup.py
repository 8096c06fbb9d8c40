"""What a configuration means for training: steps, epochs, the network and its first parameters."""

from collections.abc import Mapping

from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError
from pipeline.core.registry import check_name, look_up
from pipeline.nn.arrays import RANDOM_SOURCES, Floats, Random, random_source
from pipeline.nn.gradients import GRADIENTS
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.layers import SPLIT_MULTIPLICATIONS
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Network
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.sampling import SAMPLERS
from pipeline.nn.schedules import SCHEDULES


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Steps in which batches of `batch_size` pass over `count` images once: a whole number, rounded up."""
    return -(-count // batch_size)


def total_steps(config: Config, count: int) -> int:
    """Length in steps of the run that `config` describes, on `count` images."""
    if config.training.steps is not None:
        return config.training.steps
    return (config.training.epochs or 0) * steps_per_epoch(count, config.training.batch_size)


def total_epochs(config: Config, count: int) -> int:
    """Length in epochs of that run; the last one may be cut short by the step limit."""
    return -(-total_steps(config, count) // steps_per_epoch(count, config.training.batch_size))


def network_of(config: Config) -> Network:
    """The network that a configuration's parameter pickle is of: it is evaluated, drawn and used."""
    return training_network_of(config).folded


def training_network_of(config: Config) -> Network:
    """The same while it is trained: with batch normalization and dropout, if asked for."""
    model = config.model
    return Network(
        config.sizes,
        model.activation,
        config.dtype,
        batch_normalization=model.batch_normalization,
        dropout=model.dropout,
        input_dropout=model.input_dropout,
    )


def is_large(config: Config) -> bool:
    """Whether a step gains from a second thread: a small network's loses more by it."""
    count = network_of(config).parameter_count
    return config.training.batch_size * count >= SPLIT_MULTIPLICATIONS


def initial_parameters(config: Config, random: Random | None = None) -> Floats:
    """The flat parameter vector (count,) before the first step, drawn from the configuration's own seed.

    It is that of `network_of`, folded.
    """
    random = random or random_source(config.random, config.seed)
    network = training_network_of(config)
    drawn = network.initialize(random, config.initializer.name, config.initializer.scale)
    return network.fold(drawn, network.initial_running())


def check_names(config: Config) -> None:
    """Look up every name of the configuration in its registry; nothing is trained and nothing allocated.

    Raises:
        ConfigError: one is unknown, or a hyperparameter is not one of the chosen optimizer, schedule or loss.
    """
    network_of(config)
    for key, name, registry in (
        ("random", config.random, RANDOM_SOURCES),
        ("initializer.name", config.initializer.name, INITIALIZERS),
        ("loss.name", config.loss.name, LOSSES),
        ("regularizer.name", config.regularizer.name, REGULARIZERS),
        ("training.sampling", config.training.sampling, SAMPLERS),
        ("training.gradient", config.training.gradient, GRADIENTS),
    ):
        check_name(registry, key, name)
    optimizer = look_up(OPTIMIZERS, "optimizer.name", config.optimizer.name)
    schedule = look_up(SCHEDULES, "schedule.name", config.schedule.name)
    merge_hyperparameters("optimizer", optimizer.defaults, config.optimizer.hyperparameters())
    merge_hyperparameters("schedule", schedule.defaults, config.schedule.hyperparameters())
    if config.loss.label_smoothing and not LOSSES[config.loss.name].smooths:
        raise ConfigError(
            f"loss.label_smoothing={config.loss.label_smoothing:g}: {config.loss.name} takes no smoothed"
            f" labels; one that does is {', '.join(name for name, loss in LOSSES.items() if loss.smooths)}"
        )


def merge_hyperparameters(
    group: str, defaults: Mapping[str, float], given: Mapping[str, float]
) -> dict[str, float]:
    """The defaults of an optimizer or schedule with the values that the configuration gives.

    Raises:
        ConfigError: it has no hyperparameter of a given name.
    """
    for key in given:
        if key not in defaults:
            raise ConfigError(f"{group}.{key}: the chosen {group} has no such hyperparameter")
    return {**defaults, **given}
