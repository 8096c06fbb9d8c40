"""results: set every experiment's results beside what was published about it."""

import argparse

from pipeline.commands.terminal import write
from pipeline.errors import UsageError
from pipeline.layout import Layout

EXAMPLE = "results --seeds 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train each quick experiment from N seeds and print mean ± standard deviation, writing nothing",
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Write outputs/results.md and .json, or print the table over several seeds.

    Raises:
        UsageError: fewer than two seeds are asked for.
        PipelineError: an experiment has not been run yet.
    """
    if options.seeds is None:
        from pipeline.stages.runner import run_results_stage  # noqa: PLC0415  (not needed for --help)

        run_results_stage(layout)
        write(layout.results_table.read_text(encoding="utf-8").rstrip("\n"))
        return
    if options.seeds < 2:  # noqa: PLR2004  (a deviation needs two)
        raise UsageError(f"--seeds {options.seeds}: expected 2 or more")
    from pipeline.stages import seeds  # noqa: PLC0415  (not needed for --help)

    write(seeds.over_seeds(layout, options.seeds).rstrip("\n"))
