"""compose: write the resolved configuration of an experiment to outputs/EXPERIMENT/config.yaml."""

from pipeline import config as configuration
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.layout import Layout
from pipeline.storage import write_text
from pipeline.validation import check_names


def run(layout: Layout, experiment: str) -> Config:
    """Compose what params.yaml and conf/ say of `experiment`, check it and write it.

    Raises:
        ConfigError: a value is unknown, of the wrong type or out of range.
    """
    params = configuration.read_params(layout.params)
    config = configuration.compose(layout.conf, configuration.experiment_overrides(params, experiment))
    if config.name != experiment:
        # The other stages would look for its files in another folder.
        raise ConfigError(f"name={config.name}: expected {experiment}, the experiment's name in params.yaml")
    check_names(config)
    write_text(layout.results(experiment).config, configuration.to_yaml(config))
    return config
