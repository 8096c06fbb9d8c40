"""init: a folder that has all of a checkout that a run needs, whether from a checkout or from a wheel."""

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.commands import init

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def files(root: Path, *names: str) -> dict[str, bytes]:
    """Relative path -> content of the files of these names, or below them."""
    found = {}
    for name in names:
        path = root / name
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found[str(file.relative_to(root))] = file.read_bytes()
    return found


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in no checkout and no repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return tmp_path


def test_the_project_is_that_of_the_checkout(cli: Run, outside: Path) -> None:
    ended = cli("init", "mine")
    assert (ended.code, ended.err) == (0, "")
    assert files(outside, "mine") == {
        f"mine/{name}": data for name, data in files(ROOT, *init.PROJECT, "pipeline").items()
    } | {name: data for name, data in files(outside, "mine").items() if name.startswith("mine/.git/")}
    assert (outside / "mine" / ".git").is_dir()
    told = ended.out.splitlines()
    assert told[:2] == ["A project is in mine. Next:", "  cd mine"]
    command = shlex.split(told[2], comments=True)
    assert command[:5] == ["python", "-m", "pipeline", "repro", "--jobs"]
    assert command[-1] in OmegaConf.load(ROOT / "params.yaml").experiments


def test_without_git_dvc_is_told_so(cli: Run, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(outside / "nothing"))
    ended = cli("init", "mine")
    assert ended.code == 0
    assert "git was not found" in ended.out
    assert (outside / "mine/.dvc/config.local").read_text() == "[core]\n    no_scm = true\n"


def test_a_repository_is_kept(cli: Run, outside: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "mine"], cwd=outside, check=True)  # noqa: S607
    head = (outside / "mine/.git/HEAD").stat()
    assert cli("init", "mine").code == 0
    assert (outside / "mine/.git/HEAD").stat().st_mtime_ns == head.st_mtime_ns
    assert not (outside / "mine/.dvc/config.local").exists()


@pytest.mark.parametrize("make", [Path.touch, lambda path: (path / "x").mkdir(parents=True)])
def test_nothing_is_overwritten(cli: Run, outside: Path, make: Callable[[Path], None]) -> None:
    make(outside / "mine")
    before = sorted(outside.rglob("*"))
    ended = cli("init", "mine")
    assert ended.code == 2
    assert ended.err == "pipeline: mine: exists and is not an empty folder; name another\n"
    assert sorted(outside.rglob("*")) == before


def test_a_wheel_has_what_is_unpacked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {name: f"pipeline/project/{name}" for name in init.PROJECT}


@pytest.mark.slow
@pytest.mark.parametrize("has_git", [True, False])
def test_a_project_from_a_wheel_runs(outside: Path, *, has_git: bool) -> None:
    """Beside no checkout: the wheel's package unpacks it, and then its own runs."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheel", str(ROOT)]
    subprocess.run(build, check=True)  # noqa: S603  (our own package)
    (wheel,) = (outside / "wheel").iterdir()
    install = [*pip, "install", "--no-deps", "--target", "installed", str(wheel)]
    subprocess.run(install, check=True)  # noqa: S603  (the same)
    programs = outside / "bin"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (programs / "python").chmod(0o755)
    if has_git:
        (programs / "git").symlink_to(str(shutil.which("git")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {
        "PATH": str(programs),
        "PYTHONPATH": str(outside / "installed"),
        "DVC_SITE_CACHE_DIR": str(outside / "site"),
    }

    def run(folder: Path, *command: str) -> str:
        done = subprocess.run(  # noqa: S603  (our own program)
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(outside, "pipeline", "init", "mine")
    mine = outside / "mine"
    assert files(mine, *init.PROJECT, "pipeline") == files(ROOT, *init.PROJECT, "pipeline")
    said = run(mine, "pipeline", "repro", "--jobs", "1", "mnist_two_layer")
    assert "mnist_two_layer on drawn digits (not MNIST): accuracy " in said
    assert {"parameters.pkl", "metrics.json", "plots"} <= {
        path.name for path in (mine / "outputs/mnist_two_layer").iterdir()
    }
    assert "Data and pipelines are up to date" in run(mine, "dvc", "repro", "plot@mnist_two_layer")
    # The folder's own code is what runs.
    with (mine / "pipeline/stages/plot.py").open("a") as file:
        file.write("\n# edited\n")
    assert "Running stage 'plot@mnist_two_layer'" in run(mine, "dvc", "repro", "plot@mnist_two_layer")
