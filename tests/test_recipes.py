"""The recipes of CONTRIBUTING.md for a stage, a command and an experiment, followed word for word."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.core.files.tables import read_json
from pipeline.core.paths import Layout

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., Any]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(title: str) -> list[str]:
    """The blocks of code under a recipe, in their order."""
    (recipe,) = re.findall(rf"^\*\*{title}\.\*\* (.+?)(?=^\*\*|^## )", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```\w+\n(.+?)^```$", recipe, re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package in a folder of its own, to be added to."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.slow
def test_a_stage_is_one_module_and_one_block(composed: Layout, package: Path, python: Run) -> None:
    module, block = blocks("A stage")
    (package / "pipeline" / "stages" / "count.py").write_text(module)
    environment = {"PYTHONPATH": str(package)}
    for arguments in (["split", "tiny"], ["count", "tiny"]):
        ended = python("-m", "pipeline", *arguments, environment=environment)
        assert ended.code == 0, ended.err
    counts = read_json(composed.results("tiny").folder / "counts.json")
    assert sum(counts.values()) == 160  # of 200, 40 are the valid part
    assert list(counts) == list("0123456789")
    ended = python("-m", "pipeline", "--help", environment={**environment, "COLUMNS": "200"})
    assert re.search(r"^    count +count the images of each class", ended.out, re.MULTILINE)

    # What tests/test_wiring.py and DVC say of the block.
    for name in ("tests", "conf"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "params.yaml"):
        shutil.copy(ROOT / name, package)
    (package / "records").mkdir()
    (package / "records" / "conf").symlink_to("../conf")
    shutil.copy(ROOT / "records" / "params.yaml", package / "records")
    stages, title, lists = (ROOT / "dvc.yaml").read_text().partition("\n# DVC has no foreach")
    (package / "dvc.yaml").write_text(f"{stages}\n{block}{title}{lists}")
    names = [
        "test_dvc_waits_for_the_code_that_a_stage_imports_and_for_no_other_folder[count]",
        "test_dvc_watches_only_parameters_that_a_configuration_has[count]",
        "test_stages_modules_and_commands_have_one_name",
        "test_every_module_beside_those_that_are_shared_is_a_stage_or_command",
    ]
    ended = python(
        *("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
        *(f"tests/test_wiring.py::{name}" for name in names),
        environment={**environment, "COVERAGE_PROCESS_START": ""},
        cwd=package,
    )
    assert "4 passed" in ended.out, ended.out


def test_a_command_is_one_module(checkout: Layout, package: Path, python: Run) -> None:
    del checkout
    (module,) = blocks("A command")
    (package / "pipeline" / "commands" / "count_classes.py").write_text(module)
    environment = {"PYTHONPATH": str(package), "COLUMNS": "200"}
    assert python("-m", "pipeline", "count-classes", "tiny", environment=environment).out == (
        "bundled: 10 classes\nofficial: 10 classes\n"
    )
    ended = python("-m", "pipeline", "--help", environment=environment)
    assert re.search(r"^    count-classes +say how many classes", ended.out, re.MULTILINE)


def test_an_experiment_is_one_file_and_one_line(checkout: Layout, cli: Run) -> None:
    (definition,) = blocks("An experiment")
    (checkout.conf / "experiment" / "mnist_adam.yaml").write_text(definition)
    line = re.search(r"here `(mnist_adam: .+)`;", TEXT)
    assert line is not None
    params = checkout.params.read_text().replace("[tiny]", "[tiny, mnist]")
    checkout.params.write_text(f"{params}  {line[1]}\n")
    ended = cli("compose", "mnist_adam")
    assert ended.code == 0, ended.err
    config = OmegaConf.load(checkout.results("mnist_adam").config)
    assert (config.optimizer.name, config.training.epochs, config.dataset.name) == ("adam", 3, "mnist")
