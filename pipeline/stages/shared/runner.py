"""How a stage is run: under its guard, and with the numeric environment of its configuration.

A stage is a module of `pipeline.stages` with ``inputs(context)``, the files and folders that it reads, and
``run(context)``. Its context is that of an experiment, unless it is named here.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.config.compose import read_config, read_dataset, read_params
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.guard import unchanged
from pipeline.core.paths import Layout
from pipeline.core.registry import check_name
from pipeline.stages.shared.context import Context, DatasetContext, ExperimentContext


@dataclass(frozen=True)
class Options:
    """What the command line says of a stage.

    Attributes:
        name: of the data set or experiment; empty for a stage of all of them.
        source: of the data set.
        overrides: KEY=VALUE changes of the data set's definition.
        engine: where a search runs; empty for what the environment says.
    """

    name: str = ""
    source: str = "bundled"
    overrides: Sequence[str] = ()
    engine: str = ""


@dataclass(frozen=True)
class Kind:
    """How a stage comes by its context.

    Attributes:
        definition: the file that says what is to be done.
        context: reads it.
    """

    definition: Callable[[Layout, Options], Path]
    context: Callable[[Layout, Options], Context | DatasetContext | ExperimentContext]


def _read_dataset(layout: Layout, options: Options) -> DatasetContext:
    dataset = read_dataset(layout.conf, options.name, options.overrides)
    dataset.source(options.source)  # refuses an unknown one
    return DatasetContext(layout, dataset, options.source)


def _read_experiment(layout: Layout, options: Options) -> ExperimentContext:
    results = layout.results(options.name)
    config = read_config(results.config)
    # NumPy comes with the stage's module, and after the runtime.
    runtime.activate(config.runtime.name)
    return ExperimentContext(layout, config, results, options.engine)


_EXPERIMENT: Final = Kind(lambda layout, options: layout.results(options.name).config, _read_experiment)
_DATASET: Final = Kind(
    lambda layout, options: layout.conf / "dataset" / f"{options.name}.yaml", _read_dataset
)
# It writes the data set's definition.
_PLACES: Final = Kind(lambda layout, _: layout.conf / "local.yaml", _read_dataset)
_SELECTION: Final = Kind(
    lambda layout, _: layout.params, lambda layout, options: Context(layout, options.name)
)
_KINDS: Final[Mapping[str, Kind]] = {
    "describe": _PLACES,
    "fetch": _DATASET,
    "parse": _DATASET,
    "compose": _SELECTION,
    "report": _SELECTION,
    "results": _SELECTION,
}


def run_stage(layout: Layout, stage: str, options: Options) -> None:
    """Run a stage as DVC does.

    Args:
        layout: of the checkout.
        stage: a module of `pipeline.stages`.
        options: what it is run for.

    Raises:
        PipelineError: the stage failed, what it reads is missing, or changed meanwhile.
    """
    name = f"{stage}@{options.name}" if options.name else stage
    kind = _KINDS.get(stage, _EXPERIMENT)
    definition = kind.definition(layout, options)
    if kind is _EXPERIMENT and not definition.is_file():
        experiments = read_params(layout.params).get("experiments") or {}
        check_name([str(experiment) for experiment in experiments], "experiment", options.name)
        raise PipelineError(
            f"{definition} is missing: compose the experiment first, or let DVC do it: dvc repro {name}"
        )
    with unchanged(name, [definition]) as watch:
        context = kind.context(layout, options)
        module = importlib.import_module(f"pipeline.stages.{stage}")
        inputs = module.inputs(context)
        for path in inputs:
            if not path.exists():
                raise PipelineError(f"{path} is missing: an earlier stage makes it. {_remedy(context, name)}")
        watch(inputs)
        module.run(context)


def _remedy(context: Context | DatasetContext | ExperimentContext, stage: str) -> str:
    """What to do where an input is missing."""
    if isinstance(context, DatasetContext):
        # The source may be another one than DVC's.
        return f"Run: pipeline fetch {context.dataset.name} --source {context.source}"
    return f"Let DVC run what is needed: dvc repro {stage}"
