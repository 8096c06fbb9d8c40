"""Which source of a data set a command uses where none is given: that of params.yaml, which it says."""

from pipeline.core.paths import Layout
from pipeline.core.progress import say


def read_source(layout: Layout) -> str:
    """The source that params.yaml selects.

    Raises:
        ConfigError: params.yaml cannot be read.
    """
    from pipeline.config.compose import read_params  # not needed for --help

    return str(read_params(layout.params).get("source", "bundled"))


def parse_command(layout: Layout, dataset: str, source: str) -> str:
    """The command that fetches and parses a data set: DVC's, where params.yaml selects it."""
    from pipeline.config.compose import read_params  # not needed for --help

    params = read_params(layout.params)
    if source == params.get("source") and dataset in (params.get("datasets") or ()):
        return f"dvc repro parse@{dataset}"
    return f"pipeline fetch {dataset} --source {source} && pipeline parse {dataset} --source {source}"


def say_source(source: str, option: str = "--source ") -> None:
    """Say in a line which source is used though none was given, and how to have the other."""
    other = "bundled" if source == "official" else "official"
    say(f"source: {source}, as in params.yaml ({option}{other} for the other)")
