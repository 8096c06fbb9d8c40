"""How stages are run: what they watch is what DVC watches, and what they read is what DVC compares."""

import hashlib
import importlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.config.build import with_values
from pipeline.config.compose import read_config
from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout
from pipeline.stages.shared import runner
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS: Mapping[str, Any] = {
    name: stage.get("do", stage)
    for name, stage in OmegaConf.to_container(OmegaConf.load(ROOT / "dvc.yaml"), resolve=False)[
        "stages"
    ].items()
}
# Beside those that `runner` knows as others.
EXPERIMENT_STAGES = ["split", "train", "evaluate", "plot"]


def resolved(text: str) -> str:
    """A path in dvc.yaml, for the experiment `tiny`."""
    for name, value in (("key", "tiny"), ("item.dataset", "tiny"), ("source", "bundled"), ("item", "tiny")):
        text = text.replace(f"${{{name}}}", value)
    return text


def data_dependencies(stage: str) -> set[str]:
    return {resolved(path) for path in DEFINITIONS[stage]["deps"] if not path.startswith("pipeline/")}


def outputs(stage: str) -> set[str]:
    listed = [entry for kind in ("outs", "metrics", "plots") for entry in DEFINITIONS[stage].get(kind, [])]
    return {resolved(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in listed}


def parameters(stage: str) -> set[str]:
    """The keys of config.yaml that DVC compares."""
    (entry,) = DEFINITIONS[stage]["params"]
    return {resolved(key) for keys in entry.values() for key in keys}


@pytest.mark.parametrize("stage", EXPERIMENT_STAGES)
def test_a_stage_watches_the_files_that_dvc_waits_for(
    checkout: Layout, configs: dict[str, Config], stage: str
) -> None:
    module = importlib.import_module(f"pipeline.stages.{stage}")
    inputs = module.inputs(
        ExperimentContext(checkout, configs["tiny"], checkout.results(configs["tiny"].name))
    )
    watched = {path.relative_to(checkout.root).as_posix() for path in inputs}
    assert watched == data_dependencies(stage)


@pytest.mark.parametrize("stage", ["split", "train", "evaluate"])
def test_a_stage_writes_the_files_that_dvc_keeps(
    evaluated: Layout, configs: dict[str, Config], stage: str
) -> None:
    def files() -> set[str]:
        return {
            path.relative_to(evaluated.root).as_posix() for path in evaluated.root.glob("outputs/tiny/*.*")
        }

    before = files()
    for path in outputs(stage):
        (evaluated.root / path).unlink()
    module = importlib.import_module(f"pipeline.stages.{stage}")
    module.run(ExperimentContext(evaluated, configs["tiny"], evaluated.results("tiny")))
    assert files() == before


def test_a_stage_reads_what_earlier_stages_write() -> None:
    """Every dependency inside outputs/ and data/ is made by another stage."""
    made = set().union(*(outputs(stage) for stage in DEFINITIONS if stage != "results"))
    for stage in EXPERIMENT_STAGES:
        assert data_dependencies(stage) <= made


# Another value for every key that has a bearing on some stage, by key.
OTHERS: Mapping[str, object] = {
    "seed": 99,
    "random": "legacy",
    "dtype": "float64",
    "dataset.licence": "other",
    "dataset.citation": "other",
    "dataset.format": "cifar10",
    "dataset.sources.bundled.title": "other",
    "dataset.sources.bundled.classes": [f"class {number}" for number in range(10)],
    "dataset.sources.bundled.train_count": 7,
    "dataset.sources.official.title": "other",
    "split.valid_count": 20,
    "preprocess.name": "mean_image",
    "model.hidden": [5],
    "model.activation": "relu",
    "initializer.name": "normal",
    "initializer.scale": 0.5,
    "loss.name": "squared_error",
    "regularizer.name": "l2",
    "regularizer.strength": 0.25,
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.03,
    "schedule.name": "cosine",
    "training.batch_size": 7,
    "training.epochs": 2,
    "training.sampling": "replacement",
    "training.step_loss": "after",
    "training.early_stopping.monitor": "valid_loss",
    "search.seed": 9,
    "published": {"text": "other", "test_accuracy": 0.5},
}


class Recorder:
    """In the place of the plotting functions: writes down what it is asked to draw."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        return lambda *given, **named: (name, given, named)

    def save(self, figure: object, stream: Any) -> None:  # noqa: ANN401  (a binary file)
        stream.write(pickle.dumps(figure))


@pytest.mark.parametrize("stage", EXPERIMENT_STAGES)
def test_a_value_that_dvc_does_not_compare_changes_nothing(
    evaluated: Layout, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Or else `dvc repro` would call a result up to date that is not."""
    for name in ("confusion", "curves", "gallery", "searches", "style", "weights"):
        monkeypatch.setattr(f"pipeline.stages.plot.{name}", Recorder())
    module = importlib.import_module(f"pipeline.stages.{stage}")
    results = evaluated.results("tiny")
    compared = parameters(stage)
    config = read_config(results.config)

    def result(given: Config) -> dict[Path, str]:
        module.run(ExperimentContext(evaluated, given, results))
        return {
            path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in results.folder.rglob("*")
            if path.is_file()
        }

    expected = result(config)
    ignored = {
        key: value
        for key, value in OTHERS.items()
        if not any(key == each or key.startswith(f"{each}.") for each in compared)
    }
    assert ignored
    assert result(with_values(config, ignored)) == expected


@pytest.mark.parametrize("stage", ["split", "train", "evaluate"])
def test_most_values_that_dvc_compares_change_something(evaluated: Layout, cli: Run, stage: str) -> None:
    """The test above could otherwise pass with a stage that reads nothing."""
    changed = {
        "split": "split.valid_count",
        "train": "optimizer.learning_rate",
        "evaluate": "model.activation",
    }[stage]
    results = evaluated.results("tiny")
    module = importlib.import_module(f"pipeline.stages.{stage}")
    names = {"split": "split.npz", "train": "parameters.pkl", "evaluate": "metrics.json"}
    before = (results.folder / names[stage]).read_bytes()
    del cli
    config = with_values(read_config(results.config), {changed: OTHERS[changed]})
    module.run(ExperimentContext(evaluated, config, results))
    assert (results.folder / names[stage]).read_bytes() != before


def test_the_tier_of_the_configuration_is_activated_before_the_stage_is_imported(
    composed: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed.results("tiny").config
    config.write_text(config.read_text().replace("name: portable", "name: native"))
    asked: list[str] = []

    def refuse(name: str) -> None:
        asked.append(name)
        raise PipelineError("far enough")

    monkeypatch.setattr(runtime, "activate", refuse)
    with pytest.raises(PipelineError, match="far enough"):
        runner.run_stage(composed, "split", runner.Options("tiny"))
    assert asked == ["native"]


def test_a_stage_on_the_tier_of_its_configuration(composed: Layout, python: Run) -> None:
    """In a process of its own, where NumPy is not loaded yet."""
    config = composed.results("tiny").config
    text = config.read_text()
    for tier, code in (("native", 0), ("nope", 2)):
        config.write_text(text.replace("name: portable", f"name: {tier}"))
        ended = python("-m", "pipeline", "split", "tiny", environment={"PIPELINE_RUNTIME": ""})
        assert ended.code == code, ended.err
    assert ended.err == "pipeline: runtime=nope: unknown; one of portable, avx512, native\n"


@pytest.mark.usefixtures("evaluated")
def test_training_says_where_the_promise_cannot_hold(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "doubts", lambda: ["the processor is a 6502", "it is slow"])
    said = "tiny: the results may have other bits than on other machines: the processor is a 6502; it is slow"
    assert cli("train", "tiny").err.splitlines()[0] == said
    # Once is enough.
    for stage in ("split", "evaluate"):
        assert said not in cli(stage, "tiny").err
    monkeypatch.setattr(runtime, "doubts", list)
    assert "may have other bits" not in cli("train", "tiny").err


def test_a_configuration_that_was_edited_by_hand_is_checked(composed: Layout, cli: Run) -> None:
    config = composed.results("tiny").config
    config.write_text(config.read_text().replace("batch_size: 20", "batch_size: 0"))
    ended = cli("train", "tiny")
    assert ended.err == "pipeline: training.batch_size=0: expected a positive number below 2**31\n"
    assert ended.code == 2
