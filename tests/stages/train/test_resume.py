"""Resume state: what is kept of a training and of a search, and what becomes of a damaged one."""

import contextlib
import dataclasses
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.core import guard, runtime
from pipeline.core.paths import Layout
from pipeline.nn import training
from pipeline.nn.arrays import random_source, random_state, set_random_state
from pipeline.nn.training import Checkpoint
from pipeline.search.trials import Outcome
from pipeline.stages import split
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import load_parts
from pipeline.stages.train import resume as state
from pipeline.stages.train.resume import TrainingState, TrialLog, discard_old, state_key


def same(first: object, second: object) -> bool:
    """Equality of nested data with arrays in it, bit for bit; a list of numbers stands for an array."""
    if isinstance(first, np.ndarray):
        found = np.asarray(second)
        return found.shape == first.shape and np.asarray(found, first.dtype).tobytes() == first.tobytes()
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        return type(first) is type(second) and all(
            same(getattr(first, item.name), getattr(second, item.name)) for item in dataclasses.fields(first)
        )
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(same(first[key], second[key]) for key in first)
        )
    if isinstance(first, tuple):
        return (
            isinstance(second, tuple)
            and len(first) == len(second)
            and all(itertools.starmap(same, zip(first, second, strict=True)))
        )
    return type(first) is type(second) and (first == second or (first != first and second != second))  # noqa: PLR0124  (NaN)


@pytest.fixture
def checkpoints(parsed: Layout, configs: dict[str, Config]) -> Callable[..., list[Checkpoint]]:
    """Trains the tiny experiment with other values at some keys, from a checkpoint or from the beginning."""

    def run(changes: dict[str, object], resume: Checkpoint | None = None) -> list[Checkpoint]:
        config = with_values(configs["tiny"], changes)
        results = parsed.results("tiny")
        split.run(ExperimentContext(parsed, config, results))
        parts = load_parts(parsed.parsed("bundled", "tiny"), results, config)
        watched = {"train": parts.train, "valid": parts.valid}
        return list(training.train(config, parts.train, watched, parts.statistics, resume))

    return run


CHANGES: list[dict[str, object]] = [
    {},
    {"optimizer.name": "adam", "optimizer.learning_rate": 0.01},
    {"random": "legacy", "training.sampling": "shuffle"},
    {
        "dtype": "float64",
        "optimizer.name": "momentum",
        "training.early_stopping.monitor": "valid_loss",
        "training.epochs": 6,
    },
    {
        "model.batch_normalization": True,
        "model.dropout": 0.3,
        "model.input_dropout": 0.1,
        "loss.label_smoothing": 0.1,
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine", "warm_up": 0.2},
        "training.early_stopping.monitor": "valid_accuracy",
    },
]


@pytest.mark.parametrize("changes", CHANGES)
def test_a_saved_checkpoint_comes_back_bit_for_bit_and_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, checkpoints: Callable[..., list[Checkpoint]], changes: dict[str, object]
) -> None:
    undisturbed = checkpoints(changes)
    for number, checkpoint in enumerate(undisturbed):
        kept = TrainingState(tmp_path / f"{number}.npz")
        kept.save(checkpoint)
        back = kept.load()
        assert back is not None
        assert same(checkpoint, back)
        later = checkpoints(changes, back)
        assert len(later) == len(undisturbed) - number - 1
        for expected, found in zip(undisturbed[number + 1 :], later, strict=True):
            assert same(expected, found)


@given(
    seed=st.integers(0, 2**32 - 1), draws=st.integers(0, 700), name=st.sampled_from(["generator", "legacy"])
)
def test_any_state_of_a_random_source_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, draws: int, name: str
) -> None:
    random = random_source(name, seed)
    random.normal(size=draws)
    random.choice(10, 1)
    empty = np.zeros(0)
    checkpoint = Checkpoint(
        0, 0, empty, empty, empty, {}, random_state(random), (), empty, None, finished=False
    )
    kept = TrainingState(tmp_path_factory.mktemp("state") / "x.npz")
    kept.save(checkpoint)
    back = kept.load()
    assert back is not None
    other = random_source(name, 0)
    set_random_state(other, back.random_state)
    np.testing.assert_array_equal(other.normal(size=9), random.normal(size=9))
    np.testing.assert_array_equal(other.choice(1000, 9), random.choice(1000, 9))


def test_losses_that_json_does_not_have_come_back(tmp_path: Path) -> None:
    empty = np.zeros(0)
    history = ({"epoch": 0.0, "train_loss": math.inf, "valid_loss": math.nan},)
    kept = TrainingState(tmp_path / "x.npz")
    kept.save(Checkpoint(0, 0, empty, empty, empty, {}, {}, history, empty, None, finished=False))
    back = kept.load()
    assert back is not None
    assert same(history, back.history)


def test_without_a_state_there_is_nothing_to_go_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TrainingState(tmp_path / "x.npz").load() is None
    assert TrialLog(tmp_path / "x.trials").read() == []
    TrainingState(tmp_path / "x.npz").remove()
    assert capsys.readouterr().err == ""


def damages(data: bytes) -> Iterator[bytes]:
    yield b""
    yield data[: len(data) // 2]
    yield data[:-1]
    yield b"<html>"
    for place in range(0, len(data), max(1, len(data) // 60)):
        yield data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def test_a_damaged_state_is_discarded_with_a_line(
    tmp_path: Path, checkpoints: Callable[..., list[Checkpoint]], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = checkpoints({})[1]
    kept = TrainingState(tmp_path / "x.npz")
    kept.save(checkpoint)
    whole = kept.path.read_bytes()
    discarded = 0
    for data in damages(whole):
        kept.path.write_bytes(data)
        capsys.readouterr()
        back = kept.load()
        said = capsys.readouterr().err
        if back is None:
            assert said.startswith(f"{kept.path} is damaged (")
            assert said.endswith("); it is discarded, and training starts anew\n")
            assert said.count("\n") == 1
            assert not kept.path.exists()
            discarded += 1
        else:
            # A byte that no reader of a zip file looks at, such as a time stamp.
            assert same(checkpoint, back)
            assert said == ""
    assert discarded > 30


def test_saving_takes_at_most_a_twentieth_of_the_time(
    tmp_path: Path, checkpoints: Callable[..., list[Checkpoint]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = checkpoints({})
    times = iter([0.0, 1.0, 20.5, 21.5, 22.5])
    kept = TrainingState(tmp_path / "x.npz", clock=lambda: next(times))
    written: list[int] = []
    monkeypatch.setattr(state, "write_arrays", lambda _, **arrays: written.append(len(arrays["step_losses"])))
    kept.save(first)  # from 0 to 1: it takes a second
    kept.save(second)  # at 20.5: 19.5 seconds later
    assert written == [first.step]
    kept.save(second)  # at 21.5: 20.5 seconds later
    assert written == [first.step, second.step]


def test_the_key_depends_on_all_that_the_work_depends_on(
    parsed: Layout, configs: dict[str, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    config = configs["tiny"]
    inputs = [parsed.parsed("bundled", "tiny")]
    known = state_key(config, inputs)
    assert state_key(config, inputs) == known
    elsewhere = parsed.root / "elsewhere"
    shutil.copytree(inputs[0], elsewhere)
    assert state_key(config, [elsewhere]) == known
    others = [state_key(with_values(config, {"seed": 1}), inputs), state_key(config, [*inputs, *inputs])]
    labels = elsewhere / "train" / "labels.npy"
    before = labels.stat()
    data = bytearray(labels.read_bytes())
    data[-1] ^= 1
    labels.write_bytes(data)
    os.utime(labels, ns=(before.st_atime_ns, before.st_mtime_ns))
    others.append(state_key(config, [elsewhere]))
    monkeypatch.setattr(guard, "_STARTED_WITH", {guard._PACKAGE / "search.py": "another"})
    others.append(state_key(config, inputs))
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    assert state_key(config, inputs) == known
    # The same tier and NumPy, but it was loaded before the tier was set.
    monkeypatch.setattr(runtime, "arithmetic", lambda: {"matrix products": "another kernel's"})
    others.append(state_key(config, inputs))
    assert len({known, *others}) == 1 + len(others)


def test_old_states_are_removed(tmp_path: Path) -> None:
    day = 24 * 3600
    for name, age_days in (("a/old.npz", 31), ("a/new.npz", 29), ("b/old.trials", 40)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (1e9 - age_days * day,) * 2)
    discard_old(tmp_path, now=lambda: 1e9)
    assert [path.name for path in tmp_path.glob("*/*")] == ["new.npz"]


def test_old_files_beyond_a_link_are_kept(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "experiment"
    outside.mkdir(parents=True)
    (outside / "old.npz").touch()
    os.utime(outside / "old.npz", (0, 0))
    states = tmp_path / "states"
    states.mkdir()
    (states / "linked").symlink_to(outside)
    discard_old(states, now=lambda: 1e9)
    (tmp_path / "all").symlink_to(tmp_path / "outside")
    discard_old(tmp_path / "all", now=lambda: 1e9)
    assert (outside / "old.npz").exists()


OUTCOMES = [Outcome(3, 0.5), Outcome(0, 1 / 3), Outcome(1, math.nan, 'diverged: "so"\nand so')]


def logged(path: Path) -> TrialLog:
    log = TrialLog(path / "x.trials")
    add(log, *OUTCOMES)
    return log


def add(log: TrialLog, *outcomes: Outcome) -> None:
    with contextlib.closing(log):
        for outcome in outcomes:
            log.append(outcome)


def test_what_a_log_was_given_it_gives_back(tmp_path: Path) -> None:
    assert same(tuple(OUTCOMES), tuple(logged(tmp_path).read()))


def test_a_log_that_is_cut_off_anywhere_keeps_the_trials_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logged(tmp_path)
    whole = log.path.read_bytes()
    for length in range(len(whole)):
        log.path.write_bytes(whole[:length])
        found = tuple(log.read())
        assert same(found, tuple(OUTCOMES[: len(found)]))
        assert len(found) >= whole[:length].count(b"}\n")
        # And it goes on behind the torn line.
        add(log, Outcome(7, 0.25))
        assert same((*found, Outcome(7, 0.25)), tuple(log.read()))
    assert capsys.readouterr().err.count("lines damaged or cut off: 1; their trials run again") > 30


def test_a_damaged_line_of_a_log_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = logged(tmp_path)
    whole = log.path.read_bytes()
    for place in range(len(whole)):
        log.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        capsys.readouterr()
        found = tuple(log.read())
        expected = tuple(outcome for outcome in OUTCOMES if any(same(outcome, other) for other in found))
        assert same(expected, found)
        assert len(found) >= len(OUTCOMES) - 2


def test_a_trial_twice_in_a_log_counts_once(tmp_path: Path) -> None:
    log = logged(tmp_path)
    add(log, Outcome(0, 0.125))
    assert same(tuple(OUTCOMES), tuple(log.read()))


def test_removing_the_last_state_removes_its_folder(tmp_path: Path) -> None:
    log = logged(tmp_path / "search")
    # Of a process that was killed while it wrote.
    (tmp_path / "search" / ".x.trials.0123456789ab.tmp").touch()
    other = TrialLog(tmp_path / "search" / "y.trials")
    add(other, OUTCOMES[0])
    log.remove()
    assert not log.path.exists()
    assert other.path.exists()
    other.remove()
    assert not other.path.parent.exists()
