"""The training loop: what it computes, that it can be stopped anywhere, what it refuses."""

import copy
import inspect
import pickle
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.build import with_values
from pipeline.config.schema import Config, Preprocess
from pipeline.core.errors import DivergenceError
from pipeline.nn import preprocessing, setup, training
from pipeline.nn.arrays import (
    DTYPES,
    RANDOM_SOURCES,
    Floats,
    random_source,
)
from pipeline.nn.evaluation import Evaluator
from pipeline.nn.examples import Examples
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.schedules import SCHEDULES, Moment
from pipeline.nn.setup import network_of, total_steps
from pipeline.nn.training import LOOKUP_STEPS, Checkpoint, train
from pipeline.nn.workspace import Workspace
from tests.nn.toys import (
    TRAIN,
    UNIT,
    VALID,
    assert_same,
    composed,
    every_sampler,
    every_source,
    examples,
    in_turn,
    toy_config,
    toy_parts,
    trained,
)
from tests.shared import allocating_less_than

# --- what is computed


def textbook(config: Config, part: Examples, steps: int) -> tuple[Floats, list[float], list[float]]:
    """Gradient descent on a network of one sigmoid layer, written out; losses before and after each step."""
    random = random_source(config.random, config.seed)
    named = {
        name: view.copy()
        for name, view in network_of(config).views(setup.initial_parameters(config, random)).items()
    }
    x_all = (part.pixels[part.indices].astype(np.float32) / np.float32(255)).astype(np.float64)
    t_all = np.eye(3)[part.labels[part.indices]]

    def passes(x: Floats, t: Floats) -> tuple[Floats, Floats, float]:
        a = 1 / (1 + np.exp(-(x @ named["W1"] + named["b1"])))
        powers = np.exp(a @ named["W2"] + named["b2"])
        y = powers / powers.sum(axis=1, keepdims=True)
        return a, y, float(-(t * np.log(y)).sum(axis=1).mean())

    size, before, after = config.training.batch_size, [], []
    per_epoch = -(-len(part) // size)
    for step in range(steps):
        start = step % per_epoch * size
        x, t = x_all[start : start + size], t_all[start : start + size]
        a, y, loss = passes(x, t)
        before.append(loss)
        d2 = (y - t) / len(x)
        d1 = d2 @ named["W2"].T * a * (1 - a)
        gradient = {"W1": x.T @ d1, "b1": d1.sum(axis=0), "W2": a.T @ d2, "b2": d2.sum(axis=0)}
        for name in named:
            named[name] -= config.optimizer.learning_rate * gradient[name]
        after.append(passes(x, t)[2])
    return np.concatenate([named[name].ravel() for name in ("W1", "b1", "W2", "b2")]), before, after


@pytest.mark.parametrize("gradient", ["backpropagation", "numerical"])
@pytest.mark.parametrize("step_loss", ["before", "after"])
def test_training_is_the_textbook_loop(gradient: str, step_loss: str) -> None:
    # 22 images in batches of 4: the last batch of an epoch has 2, and the third epoch is cut after 3 steps.
    config = toy_config(
        dtype="float64",
        model__activation="sigmoid",
        optimizer__learning_rate=0.5,
        training__sampling="sequential",
        training__gradient=gradient,
        training__step_loss=step_loss,
        training__epochs=None,
        training__steps=15,
    )
    last = trained(config)[-1]
    parameters, before, after = textbook(config, TRAIN, 15)
    close = 1e-11 if gradient == "backpropagation" else 1e-6
    np.testing.assert_allclose(last.parameters, parameters, rtol=close, atol=close)
    np.testing.assert_allclose(last.step_losses, after if step_loss == "after" else before, rtol=close)


def test_step_losses_include_the_penalty_and_the_history_does_not() -> None:
    values: dict[str, Any] = {"dtype": "float64", "initializer__scale": 2.0, "training__batch_size": 22}
    values["training__sampling"] = "sequential"
    plain, penalised = (
        trained(toy_config(**values, regularizer__name="l2", regularizer__strength=strength))
        for strength in (0.0, 0.1)
    )
    weights = network_of(toy_config(**values)).views(plain[0].parameters)
    penalty = 0.05 * sum(float((weights[name] ** 2).sum()) for name in ("W1", "W2"))
    assert plain[0].history == penalised[0].history
    assert penalised[1].step_losses[0] - plain[1].step_losses[0] == pytest.approx(penalty, rel=1e-12)
    # The only batch is the whole train part, so the first step's loss is that of the untrained network.
    assert plain[1].step_losses[0] == pytest.approx(plain[0].history[0]["train_loss"], rel=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_learns_under_every_schedule(optimizer: str, schedule: str) -> None:
    rate = {"adam": 0.05, "adamw": 0.05, "rmsprop": 0.05, "adagrad": 0.1}.get(optimizer, 0.3)
    config = toy_config(
        optimizer={"name": optimizer, "learning_rate": rate},
        schedule={"name": schedule},
        training__epochs=15,
    )
    first, *_, last = trained(config)
    assert last.history[-1]["train_loss"] < 0.5 * first.history[0]["train_loss"]
    assert last.history[-1]["train_accuracy"] > 0.9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_history_has_the_rate_of_each_epochs_last_step(schedule: str) -> None:
    config = toy_config(
        schedule={"name": schedule}, optimizer__learning_rate=0.2, training__epochs=None, training__steps=15
    )
    rows = trained(config)[-1].history
    chosen = SCHEDULES[schedule]
    moments = [(0, 0), (0, 5), (1, 11), (2, 14)]
    assert [row["learning_rate"] for row in rows] == [
        0.2 * chosen.factor(Moment(epoch, step, 15), chosen.defaults) for epoch, step in moments
    ]


@every_sampler
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loop_takes_batches_from_the_sampler_and_rates_from_the_schedule(
    sampling: str, schedule: str
) -> None:
    # The same batches and rates, fed to a loop of one's own.
    config = toy_config(
        dtype="float64",
        schedule={"name": schedule, **({"every_epochs": 1} if schedule == "step" else {})},
        training__sampling=sampling,
        training__epochs=2,
    )
    chosen_schedule = SCHEDULES[schedule]
    hyperparameters = {**chosen_schedule.defaults, **config.schedule.hyperparameters()}
    random = random_source(config.random, config.seed)
    workspace = Workspace(network_of(config), 4)
    workspace.parameters[:] = setup.initial_parameters(config, random)
    losses: list[float] = []
    for epoch in range(2):
        for positions in in_turn(sampling, random, 22, 4, 6):
            rate = chosen_schedule.factor(Moment(epoch, len(losses), 12), hyperparameters)
            chosen = TRAIN.indices[positions]
            workspace.inputs[: len(chosen)] = TRAIN.pixels[chosen].astype(np.float32) / np.float32(255)
            losses.append(workspace.backward(TRAIN.labels[chosen]))
            workspace.parameters -= config.optimizer.learning_rate * rate * workspace.gradient
    last = trained(config)[-1]
    np.testing.assert_allclose(last.step_losses, losses, rtol=1e-12)
    np.testing.assert_allclose(last.parameters, workspace.parameters, rtol=1e-12)


# --- epochs


@examples
@given(
    count=st.integers(1, 30), batch_size=st.integers(1, 35), length=st.integers(1, 20), in_steps=st.booleans()
)
def test_there_is_one_evaluation_per_epoch_and_none_is_skipped(
    count: int, batch_size: int, length: int, *, in_steps: bool
) -> None:
    config = toy_config(
        model__hidden=[],
        training__batch_size=batch_size,
        training__steps=length if in_steps else None,
        training__epochs=None if in_steps else min(length, 5),
    )
    part = toy_parts(count)[0]
    per_epoch = -(-count // batch_size)
    steps = length if in_steps else min(length, 5) * per_epoch
    assert total_steps(config, count) == steps
    found = list(train(config, part, {"train": part}, UNIT))
    expected = [*range(0, steps, per_epoch), steps]
    assert [checkpoint.step for checkpoint in found] == expected
    assert [checkpoint.epoch for checkpoint in found] == list(range(len(expected)))
    assert [checkpoint.finished for checkpoint in found] == [False] * (len(expected) - 1) + [True]
    for checkpoint in found:
        assert [row["step"] for row in checkpoint.history] == expected[: checkpoint.epoch + 1]
        assert [row["epoch"] for row in checkpoint.history] == list(range(checkpoint.epoch + 1))
        assert checkpoint.step_losses.shape == (checkpoint.step,)


def test_epochs_are_as_many_steps() -> None:
    by_epochs = trained(toy_config(training__epochs=3))[-1]
    by_steps = trained(toy_config(training__epochs=None, training__steps=18))[-1]
    assert_same(by_steps, by_epochs)


def test_a_batch_larger_than_the_train_part_is_all_of_it() -> None:
    values: dict[str, Any] = {"training__sampling": "sequential", "dtype": "float64"}
    larger = trained(toy_config(training__batch_size=100, **values))[-1]
    exact = trained(toy_config(training__batch_size=22, **values))[-1]
    assert larger.step == exact.step == 3
    np.testing.assert_array_equal(larger.parameters, exact.parameters)


# --- seeds


@every_source
@every_sampler
def test_the_seed_decides_every_bit(source: str, sampling: str) -> None:
    config = toy_config(random=source, training__sampling=sampling, seed=3)
    whole = trained(config)
    for found, expected in zip(trained(config), whole, strict=True):
        assert_same(found, expected)
    other = trained(with_values(config, {"seed": 4}))
    assert other[0].parameters.tobytes() != whole[0].parameters.tobytes()
    assert other[-1].parameters.tobytes() != whole[-1].parameters.tobytes()


@every_sampler
def test_the_seed_decides_the_batches_too(sampling: str) -> None:
    # All weights zero: only the batches can differ.
    runs = [
        trained(toy_config(seed=seed, training__sampling=sampling, initializer__scale=0.0)) for seed in (3, 4)
    ]
    assert runs[0][0].parameters.tobytes() == runs[1][0].parameters.tobytes()
    same_losses = np.array_equal(runs[0][-1].step_losses, runs[1][-1].step_losses)
    assert same_losses == (sampling == "sequential")


def test_initial_parameters_are_those_that_training_starts_from() -> None:
    config = toy_config(random="legacy", seed=5)
    np.testing.assert_array_equal(setup.initial_parameters(config), trained(config)[0].parameters)


@pytest.mark.parametrize(
    ("sampling", "optimizer", "augment"), [("shuffle", "sgd", "digits"), ("replacement", "adam", "none")]
)
def test_two_threads_give_the_bits_of_one(sampling: str, optimizer: str, augment: str) -> None:
    # Large enough to be cut in two: the products, the update, and loading beside training.
    config = with_values(
        composed("regularizer=l2", "preprocess=standardize", f"optimizer={optimizer}", f"augment={augment}"),
        {
            "model.hidden": [300, 260],
            "training.batch_size": 230,
            "training.sampling": sampling,
            "training.epochs": 3,
            "optimizer.learning_rate": 0.01,
            "regularizer.strength": 1e-3,
        },
    )
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (700, 784), dtype=np.uint8)
    part = Examples(pixels, random.integers(0, 10, 700), np.arange(700))
    statistics = preprocessing.learn(Preprocess("standardize"), pixels, part.indices, 1)
    runs = []
    for threads in (1, 2):
        *_, last = train(config, part, {"train": part}, statistics, threads=threads)
        runs.append(last)
    assert_same(runs[1], runs[0])


# --- resuming


@every_source
@every_sampler
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_going_on_from_any_checkpoint_gives_the_same_bits(source: str, sampling: str, optimizer: str) -> None:
    config = toy_config(
        random=source,
        training__sampling=sampling,
        optimizer={"name": optimizer, "learning_rate": 0.05},
        schedule={"name": "cosine"},
        regularizer={"name": "l2", "strength": 0.01},
        training__step_loss="after",
        # 6 steps to an epoch: the last one is cut short.
        training__epochs=None,
        training__steps=21,
    )
    whole = trained(config)
    kept = copy.deepcopy(whole)
    assert [checkpoint.step for checkpoint in whole] == [0, 6, 12, 18, 21]
    for checkpoint in whole:
        # As a file would bring it back.
        saved: Checkpoint = pickle.loads(pickle.dumps(checkpoint))  # noqa: S301  (written on this line)
        rest = trained(config, saved)
        for found, expected in zip(rest, whole[checkpoint.epoch + 1 :], strict=True):
            assert_same(found, expected)
    # And none was changed by what came after it.
    for checkpoint, before in zip(whole, kept, strict=True):
        assert_same(checkpoint, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("monitor", ["valid_loss", "valid_accuracy"])
def test_going_on_with_early_stopping(dtype: str, monitor: str) -> None:
    config = toy_config(
        dtype=dtype,
        optimizer__learning_rate=1.0,
        training__epochs=30,
        training__early_stopping={"monitor": monitor, "patience": 4, "min_delta": 0.0},
    )
    whole = trained(config)
    # It waits, and neither the first nor the last epoch is the best one.
    assert whole[-1].best is not None
    assert 0 < whole[-1].best.epoch < whole[-1].epoch < 30
    for checkpoint in whole:
        rest = trained(config, pickle.loads(pickle.dumps(checkpoint)))  # noqa: S301  (written on this line)
        for found, expected in zip(rest, whole[checkpoint.epoch + 1 :], strict=True):
            assert_same(found, expected)


@pytest.mark.parametrize("augment", ["digits", "objects"])
def test_going_on_with_augmentation(augment: str) -> None:
    config = toy_config(augment={"name": augment})
    straight = trained(config)
    for checkpoint in straight[:-1]:
        assert_same(trained(config, checkpoint)[-1], straight[-1])
    # It is not the run without it.
    assert straight[-1].parameters.tobytes() != trained(toy_config())[-1].parameters.tobytes()


def test_going_on_with_numerical_gradients() -> None:
    config = toy_config(dtype="float64", training__gradient="numerical", training__sampling="replacement")
    whole = trained(config)
    for found, expected in zip(trained(config, whole[1]), whole[2:], strict=True):
        assert_same(found, expected)


def test_a_finished_run_has_nothing_left_to_do() -> None:
    config = toy_config()
    assert trained(config, trained(config)[-1]) == []


def test_a_checkpoint_is_plain_data() -> None:
    def kinds(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(kinds(item) for item in value.values()))
        return {type(value)}

    for source in RANDOM_SOURCES:
        last = trained(toy_config(random=source, optimizer={"name": "adam", "learning_rate": 0.1}))[-1]
        plain = (last.optimizer_state, last.random_state, *last.history)
        assert set().union(*(kinds(each) for each in plain)) <= {int, float, str, np.ndarray}
        assert {type(last.parameters), type(last.step_losses)} == {np.ndarray}
        assert last.step_losses.dtype == np.float64


# --- what cannot have an influence


def test_the_test_part_is_not_even_passed() -> None:
    assert list(inspect.signature(train).parameters) == [
        "config",
        "examples",
        "watched",
        "statistics",
        "resume",
        "threads",
    ]


def test_images_outside_the_train_part_have_no_influence() -> None:
    config = toy_config(training__epochs=4)
    expected = trained(config)[-1]
    others = np.setdiff1d(np.arange(60), TRAIN.indices)
    pixels, labels = TRAIN.pixels.copy(), TRAIN.labels.copy()
    pixels[others] = 255 - pixels[others]
    labels[others] = 0
    *_, last = train(config, Examples(pixels, labels, TRAIN.indices), {}, UNIT)
    assert last.parameters.tobytes() == expected.parameters.tobytes()
    assert last.step_losses.tobytes() == expected.step_losses.tobytes()
    np.testing.assert_equal(last.random_state, expected.random_state)


def test_the_history_has_what_is_watched() -> None:
    config = toy_config()
    none = Examples(VALID.pixels, VALID.labels, VALID.indices[:0])
    base = ["epoch", "step", "learning_rate"]
    for watched, columns in (
        ({}, []),
        ({"train": TRAIN, "valid": none}, ["train_loss", "train_accuracy"]),
        ({"valid": VALID}, ["valid_loss", "valid_accuracy"]),
    ):
        *_, last = train(config, TRAIN, watched, UNIT)
        assert all(list(row) == [*base, *columns] for row in last.history)


@every_sampler
def test_nothing_that_is_passed_in_is_changed(sampling: str) -> None:
    train_part, valid_part = toy_parts()
    statistics = preprocessing.learn(Preprocess("standardize"), train_part.pixels, train_part.indices, 1)
    learnt = [array for array in (statistics.mean, statistics.deviation) if array is not None]
    arrays = [train_part.pixels, train_part.labels, train_part.indices, valid_part.indices, *learnt]
    kept = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    config = toy_config(training__sampling=sampling)
    watched = {"train": train_part, "valid": valid_part}
    *_, last = train(config, train_part, watched, statistics)
    assert last.finished
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)


# --- divergence


def test_a_run_that_diverges_says_when_and_with_which_learning_rate() -> None:
    config = toy_config(name="steep", optimizer__learning_rate=1e30, model__activation="relu")
    with pytest.raises(DivergenceError) as caught:
        trained(config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert re.fullmatch(
        r"steep diverged in epoch 1 at step 2: the loss is (nan|inf) with learning rate 1e\+30\.", lines[0]
    )
    assert "optimizer.learning_rate" in lines[1]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"optimizer.learning_rate": 1e30}, "a smaller optimizer.learning_rate or initializer.scale"),
        (
            {"optimizer.learning_rate": 1e30, "regularizer.name": "l2", "regularizer.strength": 0.1},
            "a smaller optimizer.learning_rate or initializer.scale",
        ),
        (
            {"regularizer.name": "l2", "regularizer.strength": 1e38},
            "a regularizer.strength well below 1e+38",
        ),
        (
            # The gradients' squares are 0 in float32, so that the first step divides by epsilon.
            {
                "optimizer": {"name": "adagrad", "learning_rate": 0.1, "epsilon": 2e-38},
                "initializer": {"name": "normal", "scale": 1e-11},
                "model.hidden": [8, 8],
            },
            "an optimizer.epsilon well above 2e-38",
        ),
    ],
)
def test_the_advice_after_divergence_fits_its_cause(values: dict[str, Any], advice: str) -> None:
    with pytest.raises(DivergenceError) as caught:
        trained(with_values(toy_config(model__activation="relu"), values))
    assert str(caught.value).splitlines()[1] == f"Try {advice}; nothing was saved as a result."


def test_divergence_in_a_later_epoch_is_counted_through() -> None:
    # Every step multiplies the weights by 1 - rate · strength, about minus a million.
    config = toy_config(
        optimizer__learning_rate=1e3,
        schedule={"name": "step", "decay": 0.5, "every_epochs": 1},
        regularizer={"name": "l2", "strength": 1e3},
        training__batch_size=11,
        training__epochs=20,
    )
    with pytest.raises(DivergenceError) as caught:
        trained(config)
    found = re.match(
        r"toy diverged in epoch (\d+) at step (\d+): .* with learning rate ([\d.e+]+)\.", str(caught.value)
    )
    assert found is not None
    epoch, step, rate = int(found[1]), int(found[2]), float(found[3])
    assert epoch == -(-step // 2) > 1
    assert rate == pytest.approx(1e3 * 0.5 ** (epoch - 1), rel=1e-5)


@pytest.mark.parametrize(
    ("rate", "step_loss", "watched"),
    [
        # Past the largest number: the parameters themselves give it away.
        (3e38, "before", {}),
        (3e38, "after", {}),
        (3e38, "before", {"train": TRAIN}),
        # Huge but numbers: seen in the loss of the batch after the step, or in the epoch's evaluation.
        (1e30, "after", {}),
        (1e30, "before", {"train": TRAIN}),
    ],
)
def test_the_very_last_step_can_diverge_too(
    rate: float, step_loss: str, watched: dict[str, Examples]
) -> None:
    # There is only one step, and the loss before it is sound.
    config = toy_config(
        optimizer__learning_rate=rate,
        model__activation="relu",
        initializer__scale=10.0,
        training__step_loss=step_loss,
        training__epochs=None,
        training__steps=1,
    )
    with pytest.raises(DivergenceError, match="toy diverged in epoch 1 at step 1: "):
        list(train(config, TRAIN, watched, UNIT))


# --- memory


@every_sampler
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_epoch_allocates_nothing_that_grows_with_network_or_batch(sampling: str, optimizer: str) -> None:
    config = with_values(
        composed("regularizer=l2", f"optimizer={optimizer}"),
        {
            "model.hidden": [300, 200],
            "regularizer.strength": 1e-3,
            "training.batch_size": 100,
            "training.sampling": sampling,
            "training.step_loss": "after",
        },
    )
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (500, 784)).astype(np.uint8)
    part = Examples(pixels, random.integers(0, 10, 500), np.arange(500))
    run = training._Run(config, {}, part, UNIT)
    run.epoch(0, 0)
    # The smallest buffers are a batch's second-layer outputs (80,000 bytes); the gradient has 1.2 million.
    # What is left: NumPy's own buffer of 8,192 numbers for adding a bias, index and loss vectors of a batch,
    # and an epoch's positions.
    with allocating_less_than(np.getbufsize() * 4 + 40_000):
        run.epoch(1, 5)


@pytest.mark.parametrize(
    "choices",
    [
        ("experiment=mnist_three_layer",),
        ("experiment=mnist_relu_squared",),
        ("experiment=cifar10_two_layer",),
        (
            "model.hidden=[300,200]",
            "model.batch_normalization=true",
            "model.dropout=0.3",
            "model.input_dropout=0.1",
            "loss.label_smoothing=0.1",
            "optimizer=adamw",
        ),
    ],
)
def test_a_step_allocates_nothing_after_the_first(choices: tuple[str, ...]) -> None:
    config = with_values(
        composed(*choices),
        {
            "training.batch_size": 50,
            "training.sampling": "replacement",
            "training.steps": 1000,
            "training.epochs": None,
        },
    )
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (1000, config.sizes[0]), dtype=np.uint8)
    part = Examples(pixels, random.integers(0, 10, 1000), np.arange(1000))
    statistics = preprocessing.learn(config.preprocess, pixels, part.indices, 1)
    run = training._Run(config, {}, part, statistics)

    def traced(first: int, count: int) -> tuple[int, int]:
        """Bytes that stay after that many steps, and bytes at their peak."""
        run.epoch_steps = count
        tracemalloc.start()
        try:
            run.epoch(0, first)
            return tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    traced(0, 3)
    (_, one), (stays, hundred) = traced(3, 1), traced(4, 100)
    assert stays < 2_000
    # Nothing but the positions of the 99 further batches, of 8 bytes each, which are drawn at once, and the
    # images and labels of those that are looked up at once, and of those before them.
    assert hundred - one <= (99 + 4 * LOOKUP_STEPS) * 50 * 8 + 2_000


# --- from end to end


def drawn_digits(count: int, seed: int) -> Examples:
    """Images 28×28 of ten fixed random patterns under heavy noise and a shift of up to two pixels."""
    patterns = np.kron(np.random.default_rng(0).integers(0, 2, (10, 7, 7)), np.ones((1, 4, 4), dtype=int))
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    images = [
        np.roll(patterns[label], tuple(random.integers(-2, 3, 2)), axis=(0, 1)) * random.integers(100, 200)
        for label in labels
    ]
    noisy = np.array(images) + random.integers(0, 56, (count, 28, 28))
    return Examples(noisy.reshape(count, 784).astype(np.uint8), labels, np.arange(count))


def test_the_two_layer_experiment_learns_to_tell_ten_patterns_apart() -> None:
    config = with_values(composed("experiment=mnist_two_layer"), {"training.steps": 1500})
    part, unseen = drawn_digits(1000, 1), drawn_digits(500, 2)
    first, *_, last = train(config, part, {}, UNIT)
    evaluate = Evaluator(network_of(config), config.loss.name, UNIT).evaluate
    assert evaluate(first.parameters, unseen).accuracy < 0.3
    assert evaluate(last.parameters, unseen).accuracy > 0.97
    assert last.step_losses[-100:].mean() < 0.1 * last.step_losses[:10].mean()


@pytest.mark.parametrize(("hidden", "solved"), [([8], True), ([], False)])
def test_a_hidden_layer_solves_what_none_cannot(hidden: list[int], *, solved: bool) -> None:
    # Exclusive or: two pixels, class 1 where just one of them is bright.
    pixels = np.array([[0, 0], [0, 255], [255, 0], [255, 255]], dtype=np.uint8)
    part = Examples(pixels, np.array([0, 1, 1, 0]), np.arange(4))
    config = toy_config(
        dataset__image_shape=[1, 2, 1],
        dataset__sources__bundled__classes=["even", "odd"],
        model__hidden=hidden,
        optimizer={"name": "adam", "learning_rate": 0.05},
        training__batch_size=4,
        training__epochs=150,
    )
    *_, last = train(config, part, {"train": part}, UNIT)
    assert (last.history[-1]["train_accuracy"] == 1) == solved
    assert (last.history[-1]["train_loss"] < 0.05) == solved
