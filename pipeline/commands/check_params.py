"""check-params: check that every name in params.yaml is safe in a shell command.

And that no merge left its markers in a file that DVC reads: DVC would say where its parser stopped.
"""

import argparse

from pipeline.core.paths import Layout

EXAMPLE = "check-params"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""
    parser.description = (
        "See that every name in params.yaml (source, data sets, experiments) is a plain one: DVC puts them"
        " into the commands of dvc.yaml, which a shell reads. And that no merge left conflict markers there,"
        " in dvc.yaml or in dvc.lock. `make run` and `pipeline repro` do so first."
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Check params.yaml, and the files of DVC for conflict markers.

    Raises:
        ConfigError: it cannot be read, or holds a name that a shell would read as something else; or a merge
            left conflict markers.
    """
    del options
    from pipeline.config.compose import read_params  # not needed for --help
    from pipeline.core.conflicts import refuse_conflicts_in

    read_params(layout.params)
    refuse_conflicts_in(layout.root / "dvc.yaml", layout.root / "dvc.lock")
