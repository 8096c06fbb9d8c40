"""results: set every experiment's results beside what was published about it."""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.shared.terminal import write_lines
from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout, Results

if TYPE_CHECKING:
    from pipeline.config.schema import Config

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
        from pipeline.stages.shared.runner import Options, run_stage  # not needed for --help

        run_stage(layout, "results", Options())
        write_lines(layout.results_table.read_text(encoding="utf-8").rstrip("\n"))
        return
    if options.seeds < 2:  # a deviation needs two
        raise UsageError(f"--seeds {options.seeds}: expected 2 or more")
    write_lines(over_seeds(layout, options.seeds).rstrip("\n"))


def over_seeds(layout: Layout, count: int) -> str:
    """The table with every quick experiment trained from `count` seeds, as Markdown; nothing is written.

    An experiment with a search, or whose published seed is known, keeps its one run.

    Raises:
        PipelineError: an experiment has not been run, or a run fails.
    """
    from pipeline.config.compose import read_config  # not needed for --help
    from pipeline.core.progress import progress
    from pipeline.report import published
    from pipeline.stages import results
    from pipeline.stages.shared.context import Context

    paths = results.inputs(Context(layout))
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise PipelineError(f"{missing[0]} is missing: not every experiment has been run; run: dvc repro")
    summaries = [results.read_summary(path, path.stem) for path in paths]
    configs = [read_config(layout.results(summary.experiment).config) for summary in summaries]
    repeated = [config for config in configs if not config.search.space and config.random != "legacy"]
    table: list[published.Row] = []
    with progress(len(repeated) * (count - 1), "further seeds", "runs") as bar:
        for summary, config in zip(summaries, configs, strict=True):
            runs = []
            for offset in range(1, count if config in repeated else 1):
                runs.append(_rerun(layout, replace(config, seed=config.seed + offset)))
                bar.advance()
            table += published.rows(summary, runs)
    return published.as_markdown(table, summaries)


def _rerun(layout: Layout, config: "Config") -> dict[str, float]:
    from pipeline.stages import evaluate, results, split, train  # not needed for --help
    from pipeline.stages.shared.context import ExperimentContext

    with tempfile.TemporaryDirectory() as folder:
        context = ExperimentContext(layout, config, Results(Path(folder)))
        for stage in (split, train, evaluate):
            stage.run(context)
        return results.read_summary(context.results.summary, config.name).figures
