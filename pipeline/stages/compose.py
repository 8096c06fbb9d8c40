"""compose: write the resolved configuration of an experiment to outputs/EXPERIMENT/config.yaml."""

from pipeline.config.compose import compose, experiment_overrides, read_params, to_yaml
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError
from pipeline.core.files.atomic import write_text
from pipeline.core.paths import Layout
from pipeline.stages.checks import check_names


def run(layout: Layout, experiment: str) -> Config:
    """Compose what params.yaml and conf/ say of `experiment`, check it and write it.

    Raises:
        ConfigError: a value is unknown, of the wrong type or out of range.
    """
    params = read_params(layout.params)
    config = compose(layout.conf, experiment_overrides(params, experiment))
    if config.name != experiment:
        # The other stages would look for its files in another folder.
        raise ConfigError(f"name={config.name}: expected {experiment}, the experiment's name in params.yaml")
    check_names(config)
    write_text(layout.results(experiment).config, to_yaml(config))
    return config
