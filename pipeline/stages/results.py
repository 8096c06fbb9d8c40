"""results: write outputs/results.md and outputs/results.json over all experiments in params.yaml."""

from pathlib import Path

from pipeline.config.build import build
from pipeline.config.checks import require
from pipeline.config.compose import read_params
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files.atomic import remove, write_text
from pipeline.core.files.tables import read_json, write_json
from pipeline.report import published
from pipeline.stages.shared.context import Context


def inputs(context: Context) -> list[Path]:
    """What the stage reads, beside params.yaml: the summary of every experiment, in its order."""
    experiments = read_params(context.layout.params).experiments
    return [context.layout.results(name).summary for name in experiments]


def run(context: Context) -> None:
    """Write the table, and remove what experiments that are no longer in params.yaml left for it.

    Raises:
        PipelineError: a summary cannot be read.
    """
    layout, paths = context.layout, inputs(context)
    for path in sorted(layout.summaries.glob("*.json")):
        # DVC compares the whole folder, which a fresh clone has without it.
        if path not in paths:
            remove(path)
    summaries = [read_summary(path, path.stem) for path in paths]
    table = [row for summary in summaries for row in published.rows(summary)]
    write_text(layout.results_table, published.as_markdown(table, summaries))
    write_json(layout.results_data, published.as_json(table, summaries))


def read_summary(path: Path, experiment: str) -> published.Summary:
    """What evaluate wrote of an experiment for the table.

    Raises:
        FormatError: it is something else.
    """
    try:
        summary = build(published.Summary, read_json(path))
        require(summary.experiment == experiment, "experiment", summary.experiment, experiment)
    except ConfigError as error:
        raise FormatError(
            f"{path}: {error}; make it again: dvc repro --force --single-item evaluate@{experiment}"
        ) from None
    return summary
