"""What each command imports: nothing that it does not need. Seconds are benchmarks/stages.py's business."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

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
REPORTING = """\
import sys
from pipeline.__main__ import main
code = main(sys.argv[1:])
print(*sorted(sys.modules), sep="\\n")
sys.exit(code)
"""


def imported(folder: Path, *arguments: str, code: int = 0) -> set[str]:
    """Every module that a command leaves loaded."""
    done = subprocess.run(  # noqa: S603  (this interpreter)
        [sys.executable, "-c", REPORTING, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_START": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout in which nothing has been run."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [[], ["compose"], ["fetch"], ["train"], ["compare"]])
def test_help_imports_no_stage_and_nothing_of_others(folder: Path, command: list[str]) -> None:
    modules = imported(folder, *command, "--help")
    assert not modules & HEAVY
    assert not any(name.startswith("pipeline.stages") for name in modules)


def test_compose_imports_hydra_and_no_more(folder: Path) -> None:
    modules = imported(folder, "compose", "mnist_two_layer")
    assert (folder / "outputs" / "mnist_two_layer" / "config.yaml").is_file()
    assert modules & HEAVY <= {"hydra", "numpy", "omegaconf", "concurrent.futures"}
    assert {"hydra", "numpy"} <= modules  # otherwise this looks at the wrong names
    assert "pipeline.stages.compose" in modules
    assert "pipeline.stages.train.stage" not in modules


def test_reading_a_composed_configuration_needs_no_hydra(folder: Path) -> None:
    imported(folder, "compose", "mnist_two_layer")
    modules = imported(folder, "split", "mnist_two_layer", code=1)  # nothing is parsed
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
def test_a_stage_imports_only_what_it_needs(stage: str, allowed: set[str]) -> None:
    done = subprocess.run(  # noqa: S603  (this interpreter)
        [
            sys.executable,
            "-c",
            f"import sys, pipeline.stages.shared.runner, pipeline.stages.{stage}; print(*sys.modules)",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_START": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.split())
    assert f"pipeline.stages.{stage}" in modules
    assert modules & HEAVY <= allowed
