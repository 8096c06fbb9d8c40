"""report: write one page of all experiments that opens in a browser, without network."""

import argparse

from pipeline.core.paths import Layout, shown_path

EXAMPLE = "report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""
    parser.description = (
        "Write outputs/report.html: every experiment beside what was published about it, its curves,"
        " confusion matrix, mistakes, calibration, weights and search; and paper to draw a digit on, which"
        " the networks answer in the browser."
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Write the page, and say where it is.

    Raises:
        PipelineError: an experiment has not been run yet.
    """
    from pipeline.commands.shared.terminal import write  # not needed for --help
    from pipeline.stages.shared.runner import Options, run_stage

    del options
    run_stage(layout, "report", Options())
    write(f"open {shown_path(layout.report)} in a browser")
