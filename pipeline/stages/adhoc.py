"""train as a Hydra application: split, train, evaluate and plot any configuration into runs/, apart from DVC.

The stages' own functions do the work; only the folder differs.
"""

from pathlib import Path

from omegaconf import DictConfig

from pipeline import config as configuration
from pipeline import runtime
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.layout import Layout, Results
from pipeline.progress import say
from pipeline.stages.runner import say_doubts


def _remedy(layout: Layout, config: Config) -> str:
    """The command that makes the data set: DVC's, where params.yaml selects it."""
    name, source = config.dataset.name, config.source
    params = configuration.read_params(layout.params)
    if source == params.get("source") and name in (params.get("datasets") or ()):
        return f"dvc repro parse@{name}"
    return f"pipeline fetch {name} --source {source} && pipeline parse {name} --source {source}"


def run(layout: Layout, composed: DictConfig, folder: Path) -> None:
    """Run one composed configuration into `folder`.

    Raises:
        PipelineError: a value is wrong, the data set is not parsed yet, or a stage fails.
    """
    config = configuration.check(composed)
    runtime.activate(config.runtime.name)
    from pipeline.stages import evaluate, plot, split, train  # noqa: PLC0415  (NumPy comes after the runtime)
    from pipeline.storage import write_text  # noqa: PLC0415  (the same)
    from pipeline.validation import check_names  # noqa: PLC0415  (the same)

    check_names(config)
    parsed = layout.parsed(config.source, config.dataset.name)
    if not parsed.is_dir():
        raise PipelineError(
            f"{parsed} is missing: the data set has not been fetched and parsed.\n"
            f"Run {_remedy(layout, config)}"
        )
    results = Results(folder)
    write_text(results.config, configuration.to_yaml(config))
    say_doubts(config.name)
    for stage in (split, train, evaluate, plot):
        stage.run(layout, config, results)
    say(f"results in {folder}")
