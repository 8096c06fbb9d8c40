"""train by overrides: any configuration into a folder, by the stages' own functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from pipeline.commands import train
from pipeline.config.compose import read_config, to_yaml
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.paths import Layout

Run = Callable[..., Any]


@pytest.fixture
def given(configs: dict[str, Config]) -> DictConfig:
    """What Hydra composes of the experiment `tiny`."""
    return OmegaConf.create(to_yaml(configs["tiny"]))


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that ran, in their order, without running."""
    ran: list[str] = []
    for stage in ("split", "train", "evaluate", "plot"):
        monkeypatch.setattr(f"pipeline.stages.{stage}.run", lambda *_, stage=stage: ran.append(stage))
    return ran


def test_the_stages_run_in_their_order_into_the_folder(
    parsed: Layout, given: DictConfig, tmp_path: Path, order: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given.model.hidden = [5]
    train.run_composed(parsed, given, tmp_path / "run")
    assert order == ["split", "train", "evaluate", "plot"]
    assert read_config(tmp_path / "run" / "config.yaml").model.hidden == [5]
    assert capsys.readouterr().err == f"results in {tmp_path / 'run'}\n"


def test_either_source(parsed: Layout, given: DictConfig, tmp_path: Path, order: list[str]) -> None:
    given.source = "official"
    train.run_composed(parsed, given, tmp_path / "run")
    assert order
    assert read_config(tmp_path / "run" / "config.yaml").title == "a few digits"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", -1, "seed=-1: expected 0 <= seed < 2**32"),
        ("model.activation", "nope", "model.activation=nope: unknown; one of "),
        ("split.name", "nope", "split.name=nope: unknown; one of "),
        ("runtime.name", "nope", "runtime=nope: unknown; one of "),
        ("runtime.name", "native", "runtime=native: NumPy is already loaded with runtime=portable; "),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    parsed: Layout, given: DictConfig, tmp_path: Path, order: list[str], key: str, value: object, said: str
) -> None:
    OmegaConf.update(given, key, value)
    with pytest.raises(ConfigError) as caught:
        train.run_composed(parsed, given, tmp_path / "run")
    assert str(caught.value).startswith(said)
    assert not order
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "dvc repro parse@tiny"),
        # params.yaml selects the other source, or does not list the data set: DVC would not make it.
        (
            {"source": "official"},
            "pipeline fetch tiny --source official && pipeline parse tiny --source official",
        ),
        (
            {"dataset.name": "mnist"},
            "pipeline fetch mnist --source bundled && pipeline parse mnist --source bundled",
        ),
    ],
)
def test_data_that_is_not_there(
    checkout: Layout,
    given: DictConfig,
    tmp_path: Path,
    order: list[str],
    changes: dict[str, str],
    command: str,
) -> None:
    for key, value in changes.items():
        OmegaConf.update(given, key, value)
    with pytest.raises(PipelineError) as caught:
        train.run_composed(checkout, given, tmp_path / "run")
    missing = checkout.parsed(given.source, given.dataset.name)
    assert str(caught.value) == (
        f"{missing} is missing: the data set has not been fetched and parsed.\nRun {command}"
    )
    assert not order
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("tier", "flags"), [("native", ["-m"]), ("portable", [])])
def test_another_tier_by_override(parsed: Layout, python: Run, tier: str, flags: list[str]) -> None:
    """In a process of its own; whatever tier the environment names, the configuration's counts."""
    other = {"native": "portable", "portable": "native"}[tier]
    folder = parsed.root / "run"
    ended = python(
        *("-m", "pipeline", "train", *flags, "experiment=tiny", f"runtime={tier}", "training.epochs=1"),
        *(f"hydra.run.dir={folder}", f"hydra.sweep.dir={parsed.root}", "hydra.sweep.subdir=run"),
        environment={"PIPELINE_RUNTIME": other},
        cwd=parsed.root,
    )
    assert ended.code == 0, ended.err
    promised = "the results may have other bits than on other machines: runtime=native promises nothing"
    assert ended.err.count(promised) == (tier == "native")
    assert read_config(folder / "config.yaml").runtime.name == tier
