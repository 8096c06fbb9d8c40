"""train as a Hydra application: split, train, evaluate and plot any configuration into runs/, apart from DVC.

The stages' own functions do the work; only the folder differs.
"""

from pathlib import Path

from omegaconf import DictConfig

from pipeline.config.compose import check, read_params, to_yaml
from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout, Results
from pipeline.core.progress import say
from pipeline.stages.shared.runner import say_doubts


def _remedy(layout: Layout, config: Config) -> str:
    """The command that makes the data set: DVC's, where params.yaml selects it."""
    name, source = config.dataset.name, config.source
    params = read_params(layout.params)
    if source == params.get("source") and name in (params.get("datasets") or ()):
        return f"dvc repro parse@{name}"
    return f"pipeline fetch {name} --source {source} && pipeline parse {name} --source {source}"


def run(layout: Layout, composed: DictConfig, folder: Path) -> None:
    """Run one composed configuration into `folder`.

    Raises:
        PipelineError: a value is wrong, the data set is not parsed yet, or a stage fails.
    """
    config = check(composed)
    runtime.activate(config.runtime.name)
    from pipeline.core.files.atomic import write_text
    from pipeline.stages import evaluate, plot, split, train  # NumPy comes after the runtime
    from pipeline.stages.checks import check_names

    check_names(config)
    parsed = layout.parsed(config.source, config.dataset.name)
    if not parsed.is_dir():
        raise PipelineError(
            f"{parsed} is missing: the data set has not been fetched and parsed.\n"
            f"Run {_remedy(layout, config)}"
        )
    results = Results(folder)
    write_text(results.config, to_yaml(config))
    say_doubts(config.name)
    for stage in (split, train, evaluate, plot):
        stage.run(layout, config, results)
    say(f"results in {folder}")
