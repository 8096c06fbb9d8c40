"""The record experiments: a DVC project inside the checkout's, and their recipes on a small stand-in."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.build import with_values
from pipeline.config.compose import compose, read_params
from pipeline.core.files.tables import read_json
from pipeline.core.paths import Layout, find_root
from pipeline.stages import evaluate, split
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.train import stage as train

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "records"
PARAMS, RECORDS = (read_params(folder / "params.yaml") for folder in (ROOT, FOLDER))


def test_records_have_the_code_of_the_checkout_and_outputs_of_their_own() -> None:
    for name in (
        "conf",
        "pipeline",
        ".dvcignore",
        ".dvc/plots.html",
        ".dvc/plots",
    ):
        assert (FOLDER / name).is_symlink()
        assert (FOLDER / name).resolve() == ROOT / name
    # git reads no such file through a link, nor DVC of a commit.
    for name in (".gitignore", ".dvc/.gitignore", ".dvc/config"):
        assert (FOLDER / name).read_text() == (ROOT / name).read_text()
    assert find_root(FOLDER / "outputs") == FOLDER


def stages(folder: Path) -> list[str]:
    """The text of a dvc.yaml's stages: all lines of it that are indented or empty."""
    found = re.findall(r"^stages:\n(?:(?: .*)?\n)+", (folder / "dvc.yaml").read_text(), re.MULTILINE)
    return [each.rstrip() for each in found]


def test_records_have_the_stages_of_the_checkout_and_plots_of_their_own() -> None:
    assert stages(FOLDER) == stages(ROOT), "make records/dvc.yaml"
    plots = [plot for entry in OmegaConf.load(FOLDER / "dvc.yaml").plots for plot in entry.values()]
    listed = {Path(path).parent.name for plot in plots for path in plot.y}
    assert listed
    assert listed <= set(RECORDS.experiments)


def test_make_takes_an_edit_of_the_stages_over_into_the_records(tmp_path: Path) -> None:
    for name in ("Makefile", "dvc.yaml", "records/dvc.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    theirs = tmp_path / "records" / "dvc.yaml"
    expected = theirs.read_text().replace("desc: ", "desc: At last: ")
    ours = tmp_path / "dvc.yaml"
    ours.write_text(ours.read_text().replace("desc: ", "desc: At last: "))
    subprocess.run(["make", "--always-make", "records/dvc.yaml"], cwd=tmp_path, check=True)  # noqa: S607
    assert theirs.read_text() == expected
    assert stages(theirs.parent) == stages(tmp_path)


@pytest.mark.slow
def test_dvc_takes_the_records_for_a_project_apart() -> None:
    listed = {
        folder: subprocess.run(
            [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for folder in (ROOT, FOLDER)
    }
    for folder, params in ((ROOT, PARAMS), (FOLDER, RECORDS)):
        assert {name for name in listed[folder] if name.startswith("train@")} == {
            f"train@{experiment}" for experiment in params.experiments
        }


# fashion_record has the recipe of mnist_record.
@pytest.mark.parametrize("experiment", sorted(set(RECORDS.experiments) - {"fashion_record"}))
def test_a_recipe_learns_the_stand_in(experiment: str, parsed: Layout) -> None:
    config = compose(parsed.conf, [f"experiment={experiment}", "dataset=tiny", "source=bundled"])
    config = with_values(
        config,
        {
            "split.train_count": None,
            "split.valid_count": 40,
            "split.test_count": None,
            "model.hidden": [100] * len(config.model.hidden),
            "training.batch_size": 20,
            "training.epochs": 40,
        },
    )
    if config.preprocess.components is not None:
        config = with_values(config, {"preprocess.components": 30})
    for stage in (split, train, evaluate):
        stage.run(ExperimentContext(parsed, config, parsed.results(experiment)))
    found = read_json(parsed.results(experiment).metrics)
    # A tenth of 100 test images would be right by chance.
    assert found["test"] > 0.3
    assert found["train"] > 0.5
