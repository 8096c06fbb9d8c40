"""A repository with what a page of two revisions is made of: outputs of `tiny`, in git instead of DVC."""

from typing import Any

from pipeline.config.build import with_values
from pipeline.config.compose import read_config, to_yaml
from pipeline.core.files.atomic import write_text
from pipeline.core.paths import Layout
from pipeline.stages import evaluate, plot, results, split, train
from pipeline.stages.shared.context import Context, ExperimentContext
from tests.shared import git


def plot_and_tabulate(layout: Layout) -> None:
    """Make of the outputs of `tiny` what the page shows of them."""
    outputs = layout.results("tiny")
    plot._write_page(ExperimentContext(layout, read_config(outputs.config), outputs))
    results.run(Context(layout))


def train_again(layout: Layout, **changes: Any) -> None:  # noqa: ANN401  (values of a configuration)
    """Make the outputs of `tiny` again, with other values; two underscores of a key stand for a dot."""
    outputs = layout.results("tiny")
    values = {key.replace("__", "."): value for key, value in changes.items()}
    config = with_values(read_config(outputs.config), values)
    write_text(outputs.config, to_yaml(config))
    for stage in (split, train, evaluate):
        stage.run(ExperimentContext(layout, config, outputs))
    plot_and_tabulate(layout)


def commit_outputs(layout: Layout) -> None:
    """Make a repository of a checkout with the outputs of `tiny`; its data are in no commit."""
    root = layout.root
    layout.params.write_text(layout.params.read_text().replace("  tiny_grid: {dataset: tiny}\n", ""))
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text("/data\n/runs\n")
    plot_and_tabulate(layout)
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "first")
