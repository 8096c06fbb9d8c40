"""results: write outputs/results.md and outputs/results.json over all experiments in params.yaml."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.compose import read_config, read_params
from pipeline.config.schema import Config
from pipeline.core.errors import PipelineError
from pipeline.core.files import contracts
from pipeline.core.files.atomic import write_text
from pipeline.core.files.tables import read_csv, read_json, write_json
from pipeline.core.paths import Layout, Results
from pipeline.report import published as tables


def inputs(layout: Layout) -> list[Path]:
    """What the stage reads."""
    folders = [layout.results(name) for name in _names(layout)]
    return [path for found in folders for path in (found.config, found.metrics, found.steps)]


def run(layout: Layout) -> None:
    """Write the table of what `dvc repro` made.

    Raises:
        PipelineError: an experiment has not been run.
    """
    found = configs(layout)
    table = [row for config in found for row in tables.rows(config, [figures(layout.results(config.name))])]
    write_text(layout.results_table, tables.as_markdown(table, texts(found)))
    write_json(layout.results_data, tables.as_json(table, texts(found)))


def configs(layout: Layout) -> list[Config]:
    """The composed configurations of the experiments in params.yaml, in its order.

    Raises:
        PipelineError: an experiment has not been run.
    """
    missing = [path for path in inputs(layout) if not path.is_file()]
    if missing:
        raise PipelineError(f"{missing[0]} is missing: not every experiment has been run; run: dvc repro")
    return [read_config(layout.results(name).config) for name in _names(layout)]


def texts(found: Sequence[Config]) -> dict[str, str]:
    """Experiment -> what was published about it, in words."""
    return {config.name: config.published.text if config.published else "" for config in found}


def figures(found: Results) -> dict[str, float]:
    """The figures of one run by measure."""
    remedy = f"train it again: dvc repro --force --single-item train@{found.folder.name}"
    steps = contracts.numbers(read_csv(found.steps), contracts.STEPS, found.steps, remedy)
    return tables.measured(read_json(found.metrics), steps["loss"].tolist())


def _names(layout: Layout) -> list[str]:
    return list(read_params(layout.params).experiments)
