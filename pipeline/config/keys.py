"""Which keys of the configuration a search may vary."""

from typing import Final

from pipeline.config.build import explain_unknown_key, fields_at, type_at
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError


def check_search_key(key: str) -> None:
    """See that a dotted key of a search space is one that a trial can have a value of its own for.

    Raises:
        ConfigError: the configuration has no such key, or the search has no influence on it.
    """
    top = key.partition(".")[0]
    if top in _FIXED_BEFORE_A_SEARCH:
        raise ConfigError(f"search.space.{key}: {top} is the same for all trials")
    if type_at(Config, key) is None:
        siblings = fields_at(Config, key.rpartition(".")[0])
        raise ConfigError(explain_unknown_key(Config, key, siblings, prefix="search.space."))


# The parts of the data set are chosen before, and the numeric environment is the process's own.
_FIXED_BEFORE_A_SEARCH: Final = (
    *("name", "source", "dataset", "split", "preprocess", "search", "runtime", "published"),
)
