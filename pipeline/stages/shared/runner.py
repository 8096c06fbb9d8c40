"""How a stage is run: under its guard, and with the numeric environment of its configuration."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.compose import read_config, read_dataset
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.guard import unchanged
from pipeline.core.paths import Layout
from pipeline.core.progress import say


def run_data_stage(layout: Layout, stage: str, name: str, source: str, overrides: Sequence[str] = ()) -> None:
    """Run fetch or parse for one data set.

    Args:
        layout: of the checkout.
        stage: ``fetch`` or ``parse``.
        name: of the data set.
        source: ``bundled`` or ``official``.
        overrides: KEY=VALUE changes of the data set's definition.

    Raises:
        PipelineError: the stage failed, or what it reads changed meanwhile.
    """
    inputs = [layout.conf / "dataset" / f"{name}.yaml"]
    if stage != "fetch":
        inputs.append(layout.raw(source, name))
    with unchanged(f"{stage}@{name}", inputs):
        dataset = read_dataset(layout.conf, name, overrides)
        if stage != "fetch" and not layout.raw(source, name).is_dir():
            dataset.source(source)
            raise PipelineError(
                f"{layout.raw(source, name)} is missing: fetch the files first, or let DVC do it:"
                f" dvc repro {stage}@{name}"
            )
        importlib.import_module(f"pipeline.stages.{stage}").run(layout, dataset, source)


def run_compose_stage(layout: Layout, experiment: str) -> None:
    """Run compose for one experiment.

    Raises:
        PipelineError: the configuration is wrong, or what it is composed of changed meanwhile.
    """
    with unchanged(f"compose@{experiment}", [layout.conf, layout.params]):
        importlib.import_module("pipeline.stages.compose").run(layout, experiment)


def run_results_stage(layout: Layout) -> None:
    """Run results.

    Raises:
        PipelineError: an experiment has not been run, or what it left changed meanwhile.
    """
    module = importlib.import_module("pipeline.stages.results")
    inputs = [layout.params, *module.inputs(layout)]
    _check_there(inputs, "results")
    with unchanged("results", inputs):
        module.run(layout)


def run_experiment_stage(layout: Layout, stage: str, experiment: str) -> None:
    """Run split, train, evaluate or plot for one experiment.

    Raises:
        PipelineError: the stage failed, or what it reads changed meanwhile.
    """
    name = f"{stage}@{experiment}"
    results = layout.results(experiment)
    if not results.config.is_file():
        raise PipelineError(
            f"{results.config} is missing: compose the experiment first, or let DVC do it: dvc repro {name}"
        )
    with unchanged(name, [results.config]):
        config = read_config(results.config)
        runtime.activate(config.runtime.name)
        module = importlib.import_module(f"pipeline.stages.{stage}")
        inputs = module.inputs(layout, config)
        _check_there(inputs, name)
        if stage == "train":
            # The other stages of this machine have the same to say.
            say_doubts(experiment)
        with unchanged(name, inputs):
            module.run(layout, config, results)


def say_doubts(experiment: str) -> None:
    """Say why the results may have other bits than elsewhere, where the tier cannot hold its promise."""
    found = runtime.doubts()
    if found:
        say(f"{experiment}: the results may have other bits than on other machines: {'; '.join(found)}")


def _check_there(inputs: Sequence[Path], stage: str) -> None:
    for path in inputs:
        if not path.exists():
            raise PipelineError(
                f"{path} is missing: an earlier stage makes it. Let DVC run what is needed: dvc repro {stage}"
            )
