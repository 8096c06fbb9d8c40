import os
import re
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.config.build import with_values
from pipeline.config.compose import compose
from pipeline.config.schema import Config
from pipeline.core import runtime, system
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Results
from pipeline.nn import evaluation, examples, memory, setup, training
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.preprocessing import Statistics
from pipeline.search.trials import Trial
from pipeline.stages.compose import check_names
from pipeline.stages.train import trials as task_module
from pipeline.stages.train.workers import requirements_of
from tests.shared import allocating_less_than

CONF = Path(__file__).resolve().parents[2] / "conf"
COUNT = 2000
PIXELS = np.ones((COUNT, 28 * 28), np.uint8)
EXAMPLES = examples.Examples(PIXELS, np.zeros(COUNT, np.uint8), np.arange(COUNT))
STATISTICS = Statistics(255.0, np.zeros(28 * 28), np.ones(28 * 28))


def composed(*overrides: str) -> Config:
    """A configuration whose training set has `COUNT` images, all of them for the train part."""
    config = compose(CONF, ["split=mnist_50_10_10", *overrides])
    source = replace(config.dataset.source(config.source), train_count=COUNT)
    return replace(
        config,
        dataset=replace(config.dataset, sources={config.source: source}),
        split=replace(config.split, train_count=None),
    )


def measured_bytes(config: Config) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        statistics = STATISTICS
        if (components := config.preprocess.components) is not None:
            projection = np.ones((28 * 28, components), np.float32)
            statistics = Statistics(1.0, np.zeros(28 * 28), contrast=10.0, projection=projection)
        watched = {"train": EXAMPLES, "valid": EXAMPLES}
        for checkpoint in training.train(config, EXAMPLES, watched, statistics, threads=2):
            assert not checkpoint.finished or checkpoint.epoch >= 1
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


REPLACEMENT = "++training.sampling=replacement"
SHAPES = {
    "parameters": ("model.hidden=[1500]", "training.batch_size=50", "training.epochs=1"),
    "two layers": ("model.hidden=[500,300]", "dtype=float64", "training.batch_size=200", "training.epochs=1"),
    "batch": ("model.hidden=[20]", "training.batch_size=6000", REPLACEMENT, "training.epochs=1"),
    "batch of doubles": ("model.hidden=[]", "training.batch_size=2000", "dtype=float64", "training.epochs=1"),
    "drawn batches": ("training=ten_thousand_steps", "training.steps=2", "training.batch_size=9000"),
    "early stopping": (
        "model.hidden=[900]",
        "training.early_stopping.monitor=valid_loss",
        "training.epochs=1",
    ),
    "normalized": (
        "model.hidden=[900,100]",
        "model.batch_normalization=true",
        "model.dropout=0.5",
        "training.batch_size=1000",
        "training.epochs=1",
    ),
    "augmented": (
        "augment=digits",
        "model.hidden=[20]",
        "training.batch_size=6000",
        REPLACEMENT,
        "training.epochs=1",
    ),
    "projected": ("preprocess=pca", "model.hidden=[20]", "training.batch_size=500", "training.epochs=1"),
}
OF_OPTIMIZERS = {
    name: ("model.hidden=[600]", f"optimizer={name}", "training.epochs=1") for name in OPTIMIZERS
}


@pytest.mark.parametrize(
    "overrides",
    [
        *(pytest.param(overrides, id=name) for name, overrides in SHAPES.items()),
        *(
            pytest.param(overrides, id=name, marks=pytest.mark.slow)
            for name, overrides in OF_OPTIMIZERS.items()
        ),
    ],
)
def test_training_takes_no_more_than_was_said(overrides: tuple[str, ...]) -> None:
    config = composed(*overrides)
    told, found = sum(memory.needed_bytes(config).values()), measured_bytes(config)
    assert found > 5_000_000
    assert found <= told <= 3 * found


@pytest.mark.parametrize("hidden", ["[]", "[5]", "[5,30]", "[3,4,5]"])
def test_numerical_gradients_take_no_more_than_was_said(hidden: str) -> None:
    size = ("training.batch_size=20", "training.steps=1")
    config = composed("training=numerical", "dtype=float64", f"model.hidden={hidden}", *size)
    assert measured_bytes(config) <= sum(memory.needed_bytes(config).values())


def test_each_share_stands_under_the_key_that_it_grows_with() -> None:
    config = composed("training=ten_thousand_steps")
    usual = memory.needed_bytes(config)
    for key, value in (("model.hidden", [5000]), ("training.batch_size", 5000), ("training.steps", 10**7)):
        changed = memory.needed_bytes(with_values(config, {key: value}))
        assert max(changed, key=lambda name: changed[name] / usual[name]) == key


TOO_LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "layers": (
        {"model.hidden": [40_000, 40_000]},
        # 1.63e9 parameters of 4 bytes, 11 times, and 500 rows of three arrays of outputs.
        r"training needs up to 72\.4 GB .*: 72\.3 GB for model\.hidden=\[40000, 40000\], .*",
    ),
    "batch": ({"training.batch_size": 2**30}, r".* [\d.,]+ GB for training\.batch_size=1073741824, .*"),
    "steps": (
        {"training.steps": 2**30, "training.epochs": None},
        r".* 25\.8 GB for training\.steps=1073741824",
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_too_much_is_told_before_anything_is_allocated(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 8 * 10**9)
    values, told = TOO_LARGE[case]
    config = with_values(composed(), values)
    with allocating_less_than(1_000_000):
        for check in (check_names, memory.check):
            with pytest.raises(ConfigError) as caught:
                check(config)
            assert re.fullmatch(told, str(caught.value)), str(caught.value)
        setup.check_names(config)


def test_every_trial_of_a_search_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "memory_bytes", lambda: 8 * 10**9)
    space = "++search.space.model.hidden=[[10],[20],[40000,40000]]"
    with pytest.raises(ConfigError, match=r"72\.3 GB for model\.hidden=\[40000, 40000\]"):
        check_names(composed("search=grid", space))


def test_what_fits_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed()
    needed = sum(memory.needed_bytes(config).values())
    monkeypatch.setattr(runtime, "memory_bytes", lambda: needed)
    assert memory.check(config) == needed
    monkeypatch.setattr(runtime, "memory_bytes", lambda: needed - 1)
    with pytest.raises(ConfigError):
        memory.check(config)


@pytest.mark.parametrize(("room", "workers"), [(10, 4), (4, 4), (3, 3), (1, 1)])
def test_no_more_trials_run_side_by_side_than_there_is_memory_for(
    room: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(task_module.WORKERS_VARIABLE, "4")
    monkeypatch.setattr(runtime, "memory_bytes", lambda: room * 1000 + 999)
    assert task_module._count_side_by_side(1000) == workers


def test_a_trial_keeps_one_checkpoint_and_not_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each holds the parameters several times over, and a run has one for every epoch.
    class Weights:
        result, epoch = None, 0

    alive: weakref.WeakSet[Weights] = weakref.WeakSet()
    most = 0

    def checkpoints(*_: object, threads: int) -> Iterator[Weights]:
        del threads
        nonlocal most
        for _epoch in range(20):
            weights = Weights()
            alive.add(weights)
            most = max(most, len(alive))
            yield weights

    parts = SimpleNamespace(train=EXAMPLES, valid=EXAMPLES, statistics=STATISTICS)
    monkeypatch.setattr(task_module, "load_parts", lambda *_: parts)
    monkeypatch.setattr(task_module, "train", checkpoints)
    found = {"valid": evaluation.Evaluation(0.0, 0.5)}
    monkeypatch.setattr(task_module, "evaluate_parts", lambda *_: found)
    task = task_module.TrialTask(Path(), Results(Path()), requirements_of(Path(), []), None)
    assert task(composed(), Trial(0, {})) == 0.5
    assert most == 2  # the former one, and the one that takes its place


# How much the machine has


def kernel(root: Path, *lines: str, **files: str) -> Path:
    """`root` with a /proc/self/cgroup of these lines and these files of control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    for place, text in files.items():
        path = root / "sys/fs/cgroup" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_limits_of_control_groups_of_version_2(tmp_path: Path) -> None:
    limits = {"memory.max": "max", "a/memory.max": "3000", "a/b/memory.max": "5000", "c/memory.max": "1"}
    assert list(runtime._control_group_limits(kernel(tmp_path, "0::/a/b", **limits))) == [5000, 3000]


def test_limits_of_control_groups_of_version_1(tmp_path: Path) -> None:
    name = "memory.limit_in_bytes"
    limits = {f"memory/{name}": "9223372036854771712", f"memory/a/{name}": "3000", f"cpu/a/{name}": "1"}
    root = kernel(tmp_path, "12:cpu,cpuacct:/a", "4:memory:/a", "0::/", **limits)
    assert list(runtime._control_group_limits(root)) == [3000, 9223372036854771712]


def test_processors_of_control_groups_of_version_2(tmp_path: Path) -> None:
    files = {"a/cpu.max": "max 100000", "a/b/cpu.max": "150000 100000", "a/b/c/cpu.max": "1000 100000"}
    assert list(runtime._control_group_processors(kernel(tmp_path, "0::/a/b/c", **files))) == [1, 2]


def test_processors_of_control_groups_of_version_1(tmp_path: Path) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
        "cpu/a/cpu.cfs_quota_us": "300000",
        "cpu/a/cpu.cfs_period_us": "100000",
    }
    assert list(runtime._control_group_processors(kernel(tmp_path, "3:cpu,cpuacct:/a", **files))) == [3]


def test_processors_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    for left, number in (([], 3), ([8, 2], 2)):
        monkeypatch.setattr(runtime, "_control_group_processors", lambda _, left=left: iter(left))
        assert runtime.processors() == number


@pytest.mark.parametrize("line", ["0::/not/here", "4:memory:/not/here", "0::/../../.."])
def test_a_group_that_cannot_be_seen_sets_no_limit(line: str, tmp_path: Path) -> None:
    root = kernel(tmp_path, line)
    assert [*runtime._control_group_limits(root), *runtime._control_group_processors(root)] == []
    assert list(runtime._control_group_limits(tmp_path / "nowhere")) == []


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < runtime.memory_bytes() <= system.memory_bytes()
    monkeypatch.setattr(system, "memory_bytes", lambda: 5000)
    for limits, least in (([], 5000), ([2**62], 5000), ([2**62, 3000], 3000)):
        monkeypatch.setattr(runtime, "_control_group_limits", lambda _, limits=limits: iter(limits))
        assert runtime.memory_bytes() == least
