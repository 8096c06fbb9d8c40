"""What can be told of a configuration before anything is run: unknown names, and too little memory."""

from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import ConfigError
from pipeline.data.datasets import check_roles
from pipeline.data.splitting import SPLITTERS
from pipeline.nn import memory, setup
from pipeline.nn.preprocessing import PREPROCESSORS
from pipeline.search import strategies


def check_names(config: Config) -> None:
    """Look up every name of a configuration, and of each of its trials; nothing is allocated.

    Raises:
        ConfigError: one is unknown; the message lists the known ones. Or the data set has not the files that
            its format consists of, or training takes more memory than this machine has.
    """
    check_roles(config.dataset.format, config.dataset.source(config.source).files)
    for key, name, registry in (
        ("split.name", config.split.name, SPLITTERS),
        ("preprocess.name", config.preprocess.name, PREPROCESSORS),
        ("runtime.name", config.runtime.name, runtime.TIERS),
    ):
        if name not in registry:
            raise ConfigError(f"{key}={name}: unknown; one of {', '.join(registry)}")
    for each in strategies.foreseen(config):
        setup.check_names(each)
        memory.check(each)
