"""What DVC's own commands show of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.compare import show_metrics
from dvc_render import VegaRenderer
from dvc_render.html import HTML
from PIL import Image

from pipeline.config.compose import read_params
from tests.shared import git

ROOT = Path(__file__).resolve().parent.parent

SHOWN = {
    "metrics.json": '{"train": 0.5, "valid": 0.5, "test": 0.9, "loss": 0.1}',
    "history.csv": "epoch,step,train_accuracy,valid_accuracy\n0,0,0.5,0.5\n1,9,0.6,0.5\n",
    "steps.csv": "step,loss\n0,2\n1,1\n",
    "trials.csv": "trial,valid_accuracy\n0,0.5\n",
    "per_part.csv": "part,accuracy\ntrain,0.5\n",
    "per_class.csv": "class,f1\n0,0.5\n",
    "roc.csv": "false_positive_rate,true_positive_rate\n0,0\n1,1\n",
    "predictions.csv": "actual,predicted\n0,1\n",
}
NPM = """\
#!/bin/sh
# npm pack --silent --pack-destination FOLDER NAME@VERSION
test "$*" = "pack --silent --pack-destination $4 $5" || exit 1
work=$(mktemp -d)
mkdir -p "$work/package/build"
echo "the licence of $5" > "$work/package/LICENSE"
echo "code('$5')" > "$work/package/build/${5%@*}.min.js"
tar -czf "$4/$(echo "$5" | tr @ -).tgz" -C "$work" package
rm -r "$work"
"""


def test_the_table_of_metrics_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    experiments = read_params(ROOT / "params.yaml").experiments
    figures = dict.fromkeys(("train", "valid", "test", "loss"), 0.12345)
    files = {f"outputs/{name}/metrics.json": {"data": figures} for name in experiments}
    show_metrics({"workspace": {"data": files}})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(experiments)
    assert max(map(len, lines)) <= 80


def fill_outputs(project: Path) -> None:
    """Give every experiment of a project all that DVC shows, small and the same for each."""
    for name in read_params(project / "params.yaml").experiments:
        folder = project / "outputs" / name
        (folder / "plots").mkdir(parents=True)
        for path, text in SHOWN.items():
            (folder / path).write_text(text)
        Image.new("L", (8, 8)).save(folder / "plots" / "picture.png")


@pytest.mark.slow
@pytest.mark.parametrize("inside", [".", "records"])
def test_dvc_shows_and_compares_without_a_warning(inside: str, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for name in (".dvc", "records"):
        passed_over = shutil.ignore_patterns(
            "cache", "tmp", "data", "outputs", "dvc_plots", "*.local", "*.lock"
        )
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=passed_over)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "conf", root / "conf")
    project = root / inside
    fill_outputs(project)

    def run(*command: str) -> str:
        environment = {**os.environ, "COLUMNS": "80"}
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)  # noqa: S603, PLW1510  (DVC)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def commit() -> None:
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "all")

    dvc = (sys.executable, "-m", "dvc")
    git(root, "init", "--quiet", "--initial-branch", "main")
    commit()
    shown = run(*dvc, "metrics", "show").splitlines()
    experiments = read_params(project / "params.yaml").experiments
    assert len(shown) == 1 + len(experiments)
    assert max(map(len, shown)) <= 80
    assert run(*dvc, "plots", "show").endswith("dvc_plots/index.html\n")
    first = next(iter(experiments))
    metrics = project / "outputs" / first / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0.9", "0.75"))
    commit()
    (line,) = run(*dvc, "metrics", "diff", "HEAD~1", "HEAD").splitlines()[1:]
    assert line.split() == [f"outputs/{first}/metrics.json", "test", "0.9", "0.75", "-0.15"]
    assert run(*dvc, "plots", "diff", "HEAD~1", "--targets", f"outputs/{first}/history.csv")


@pytest.mark.slow
def test_a_page_with_its_scripts_inside(tmp_path: Path) -> None:
    npm = tmp_path / "programs" / "npm"
    npm.parent.mkdir()
    npm.write_text(NPM)
    npm.chmod(0o755)
    root = tmp_path / "checkout"
    (root / ".dvc").mkdir(parents=True)
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        "requirements-build.lock",
        ".dvc/plots.html",
    ):
        shutil.copyfile(ROOT / name, root / name)
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (root / ".venv").mkdir()
    (root / ".venv" / ".ready").touch()
    path = os.pathsep.join([str(npm.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["make", "plots-offline"], cwd=root, env={**os.environ, "PATH": path}, check=True)  # noqa: S607
    assert "html_template = plots_offline.html" in (root / ".dvc" / "config.local").read_text()
    template = (root / ".dvc" / "plots_offline.html").read_text()
    page = HTML(template).with_scripts(VegaRenderer.SCRIPTS).with_element("the curves").embed()
    assert "src=" not in page
    ours = (ROOT / ".dvc" / "plots.html").read_text()
    scripts = "".join(
        f"<script>/*\nthe licence of {package}\n*/\ncode('{package}')\n</script>\n"
        for package in re.findall(r"vega[a-z-]*@[\d.]+", VegaRenderer.SCRIPTS)
    )
    assert template == ours.replace("    {scripts}\n", scripts)
