"""The table of results with its quick experiments trained from several seeds."""

import tempfile
from dataclasses import replace
from pathlib import Path

from pipeline import results as tables
from pipeline.config import Config
from pipeline.layout import Layout, Results
from pipeline.progress import progress
from pipeline.stages import evaluate, results, split, train


def over_seeds(layout: Layout, count: int) -> str:
    """The table with every quick experiment trained from `count` seeds, as Markdown; nothing is written.

    An experiment with a search, or whose published seed is known, keeps its one run.

    Raises:
        PipelineError: an experiment has not been run, or a run fails.
    """
    configs = results.configs(layout)
    repeated = [config for config in configs if not config.search.space and config.random != "legacy"]
    table: list[tables.Row] = []
    with progress(len(repeated) * (count - 1), "further seeds", "runs") as bar:
        for config in configs:
            runs = [results.figures(layout.results(config.name))]
            for offset in range(1, count if config in repeated else 1):
                runs.append(_rerun(layout, replace(config, seed=config.seed + offset)))
                bar.advance()
            table += tables.rows(config, runs)
    return tables.as_markdown(table, results.texts(configs))


def _rerun(layout: Layout, config: Config) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        found = Results(Path(folder))
        for stage in (split, train, evaluate):
            stage.run(layout, config, found)
        return results.figures(found)
