"""report: write outputs/report.html, one page of all experiments in params.yaml that opens in a browser."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.build import build
from pipeline.config.compose import read_params
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files.atomic import remove, write_text
from pipeline.core.files.tables import read_json
from pipeline.core.paths import Layout
from pipeline.report.page.experiment import Experiment
from pipeline.report.page.render import FILES, render
from pipeline.stages.shared.context import Context


def inputs(context: Context) -> list[Path]:
    """What the stage reads, beside params.yaml: the page's own files, what plot gathered, and the table."""
    layout = context.layout
    names = read_params(layout.params).experiments
    return [*FILES, *(layout.results(name).page for name in names), layout.results_data]


def run(context: Context) -> None:
    """Write the page, and remove what experiments that are no longer in params.yaml left for it.

    Raises:
        PipelineError: an input cannot be read.
    """
    layout = context.layout
    paths = inputs(context)
    for path in sorted(layout.pages.glob("*.json")):
        # DVC compares the whole folder, which a fresh clone has without it.
        if path not in paths:
            remove(path)
    write_text(layout.report, make_page(layout, read_params(layout.params).experiments))


def make_page(layout: Layout, names: Iterable[str], changes: Mapping[str, Any] | None = None) -> str:
    """The page of some experiments of a checkout.

    Args:
        layout: of the checkout.
        names: of the experiments, in the order in which they are shown.
        changes: the differences between two revisions, to be shown first; see `render`.

    Raises:
        PipelineError: what it is made of is missing or damaged.
    """
    experiments = [read_experiment(layout.results(name).page) for name in names]
    return render(experiments, read_json(layout.results_data), changes)


def read_experiment(path: Path) -> Experiment:
    """What plot gathered of an experiment for the page, from NAME.json.

    Raises:
        PipelineError: it is missing, or something else.
    """
    try:
        return build(Experiment, read_json(path))
    except ConfigError as error:
        raise FormatError(
            f"{path}: {error}; make it again: dvc repro --force --single-item plot@{path.stem}"
        ) from None
