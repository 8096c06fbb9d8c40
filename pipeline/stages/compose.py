"""compose: write the resolved configuration of an experiment to outputs/EXPERIMENT/config.yaml."""

from pathlib import Path

from pipeline.config.compose import compose, experiment_overrides, read_params, to_yaml
from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import ConfigError
from pipeline.core.files.atomic import write_text
from pipeline.core.registry import check_name
from pipeline.data.datasets import check_roles
from pipeline.data.splitting import SPLITTERS
from pipeline.nn import memory, setup
from pipeline.nn.augmentation import augmentation_of
from pipeline.nn.preprocessing import check_settings
from pipeline.search import strategies
from pipeline.stages.shared.context import Context


def inputs(context: Context) -> list[Path]:
    """What the stage reads, beside params.yaml."""
    return [context.layout.conf]


def run(context: Context) -> None:
    """Compose what params.yaml and conf/ say of an experiment, check it and write it.

    Raises:
        ConfigError: a value is unknown, of the wrong type or out of range.
    """
    layout, experiment = context.layout, context.name
    params = read_params(layout.params)
    config = compose(layout.conf, experiment_overrides(params, experiment))
    if config.name != experiment:
        # The other stages would look for its files in another folder.
        raise ConfigError(f"name={config.name}: expected {experiment}, the experiment's name in params.yaml")
    check_names(config)
    write_text(layout.results(experiment).config, to_yaml(config))


def check_names(config: Config) -> None:
    """Look up every name of a configuration, and of each of its trials; nothing is allocated.

    Raises:
        ConfigError: one is unknown; the message lists the known ones. Or the data set has not the files that
            its format consists of, or training takes more memory than this machine has.
    """
    check_roles(config.dataset.format, config.dataset.source(config.source))
    for key, name, registry in (
        ("split.name", config.split.name, SPLITTERS),
        ("runtime.name", config.runtime.name, runtime.TIERS),
    ):
        check_name(registry, key, name)
    check_settings(config.preprocess)
    for each in strategies.foreseen(config):
        setup.check_names(each)
        augmentation_of(each, rows=1)
        memory.check(each)
