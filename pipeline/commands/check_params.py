"""check-params: see that a shell takes every name in params.yaml as a name, before a command has it."""

import argparse

from pipeline.core.paths import Layout

EXAMPLE = "check-params"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""
    parser.description = (
        "See that every name in params.yaml (source, data sets, experiments) is a plain one: DVC puts them"
        " into the commands of dvc.yaml, which a shell reads. `make run` and `pipeline repro` do so first."
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Check params.yaml.

    Raises:
        ConfigError: it cannot be read, or holds a name that a shell would read as something else.
    """
    del options
    from pipeline.config.compose import read_params  # not needed for --help

    read_params(layout.params)
