"""What each command imports: nothing that it does not need. Seconds are benchmarks/stages.py's business."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., Any]

# The packages that take their time.
HEAVY = {
    "PIL",
    "concurrent.futures",
    "dvc",
    "hydra",
    "joblib",
    "matplotlib",
    "numpy",
    "omegaconf",
    "requests",
    "threadpoolctl",
    "tqdm",
}
# Measuring coverage imports more.
UNMEASURED = {"COVERAGE_PROCESS_START": ""}
REPORTING = """\
import sys
from pipeline.__main__ import main
code = main(sys.argv[1:])
print(*sorted(sys.modules), sep="\\n")
sys.exit(code)
"""


@pytest.fixture
def imported(tmp_path: Path, python: Run) -> Callable[..., set[str]]:
    """Gives every module that a command leaves loaded, run in a checkout in which nothing has been run."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*arguments: str, code: int = 0) -> set[str]:
        ended = python("-c", REPORTING, *arguments, environment=UNMEASURED, cwd=tmp_path)
        assert ended.code == code, ended.err
        return set(ended.out.splitlines())

    return run


@pytest.mark.parametrize("command", [[], ["compose"], ["fetch"], ["train"], ["compare"]])
def test_help_imports_no_stage_and_nothing_of_others(
    imported: Callable[..., set[str]], command: list[str]
) -> None:
    modules = imported(*command, "--help")
    assert not modules & HEAVY
    assert not any(name.startswith("pipeline.stages") for name in modules)


def test_compose_imports_hydra_and_no_more(imported: Callable[..., set[str]], tmp_path: Path) -> None:
    modules = imported("compose", "mnist_two_layer")
    assert (tmp_path / "outputs" / "mnist_two_layer" / "config.yaml").is_file()
    assert modules & HEAVY <= {"hydra", "numpy", "omegaconf", "concurrent.futures"}
    assert {"hydra", "numpy"} <= modules  # otherwise this looks at the wrong names
    assert "pipeline.stages.compose" in modules
    assert "pipeline.stages.train.stage" not in modules


def test_reading_a_composed_configuration_needs_no_hydra(imported: Callable[..., set[str]]) -> None:
    imported("compose", "mnist_two_layer")
    modules = imported("split", "mnist_two_layer", code=1)  # nothing is parsed
    assert "pipeline.stages.split" in modules
    assert "hydra" not in modules


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        ("fetch", {"omegaconf"}),
        ("parse", {"concurrent.futures", "numpy", "omegaconf"}),
        ("split", {"numpy", "omegaconf"}),
        ("train", {"concurrent.futures", "joblib", "numpy", "omegaconf"}),  # a search needs joblib
        ("evaluate", {"numpy", "omegaconf"}),
        ("plot", {"PIL", "concurrent.futures", "matplotlib", "numpy", "omegaconf"}),
        ("results", {"numpy", "omegaconf"}),
    ],
)
def test_a_stage_imports_only_what_it_needs(python: Run, stage: str, allowed: set[str]) -> None:
    program = f"import sys, pipeline.stages.shared.runner, pipeline.stages.{stage}; print(*sys.modules)"
    modules = set(python("-c", program, environment=UNMEASURED).out.split())
    assert f"pipeline.stages.{stage}" in modules
    assert modules & HEAVY <= allowed
