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

from pipeline.config.compose import read_params

ROOT = Path(__file__).resolve().parent.parent

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
