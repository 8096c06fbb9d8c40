from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.commands import repro
from pipeline.config.compose import read_params
from pipeline.core.paths import Layout

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_number_of_jobs_is_asked_for(cli: Run, checkout: Layout, count: str) -> None:
    del checkout
    ended = cli("repro", "--jobs", count)
    assert (ended.code, ended.err) == (2, f"pipeline: --jobs {count}: expected 1 or more\n")


def test_several_jobs_share_the_processors_and_a_search_has_them_all() -> None:
    assert repro._share(3, is_wide=False) == {"PIPELINE_THREADS": "1"}
    assert repro._share(3, is_wide=True) == {"PIPELINE_WORKERS": "3"}
    assert repro._share(1, is_wide=False) == {}
    assert repro._share(1, is_wide=True) == {}


def test_outside_of_dvc_it_is_one_line(cli: Run, checkout: Layout) -> None:
    assert not (checkout.root / ".dvc").exists()
    ended = cli("repro", "--jobs", "2")
    assert ended.code == 1
    assert ended.err.startswith("pipeline: DVC cannot read the stages: ERROR: ")
    assert ended.err.count("\n") == 1


def test_the_search_is_known_and_the_longest() -> None:
    params = read_params(ROOT / "params.yaml")
    work, searches = repro._work(Layout(ROOT), params)
    assert set(work) == {f"train@{experiment}" for experiment in params.experiments}
    assert searches == {"train@cifar10_grid"}
    assert sorted(work, key=lambda stage: work[stage])[-2:] == ["train@mnist_numerical", "train@cifar10_grid"]


def test_a_broken_experiment_is_left_to_its_compose_stage(checkout: Layout) -> None:
    before, _ = repro._work(checkout, read_params(checkout.params))
    (broken, *_) = before
    params = OmegaConf.load(checkout.params)
    params.experiments[broken.partition("@")[2]].seed = -1
    OmegaConf.save(params, checkout.params)
    after, _ = repro._work(checkout, read_params(checkout.params))
    assert set(before) - set(after) == {broken}


def test_the_plan_says_what_runs_and_how_long() -> None:
    work = {"train@a": 3e12, "train@b": 1e11}
    assert repro._plan(["parse@d", "train@a", "train@b"], work).startswith(
        "3 stages for a, b: from nothing about 40 seconds on two processors."
    )
    assert "for no experiment: from nothing about 10 seconds" in repro._plan(["parse@d"], work)
    assert "about 3 minutes" in repro._plan(["train@a"] * 6, work)
