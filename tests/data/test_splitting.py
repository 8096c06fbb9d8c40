"""Splits: disjoint index arrays, of the promised sizes and proportions, from the promised seed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.config import schema
from pipeline.core.errors import ConfigError
from pipeline.data import splitting
from pipeline.data.splitting import SPLITTERS, Split, stratified
from pipeline.nn.arrays import RANDOM_SOURCES, Integers, random_source

examples = settings(deadline=None, max_examples=50)
every_source = pytest.mark.parametrize("source", RANDOM_SOURCES)


def labels_of(seed: int, count: int, classes: int = 4) -> Integers:
    return np.random.default_rng(seed).integers(0, classes, count).astype(np.uint8)


def chosen(name: str, train: Integers, test: Integers, *, seed: int = 0, **given_settings: Any) -> Split:  # noqa: ANN401  (the schema's own)
    return splitting.split(
        schema.Split(name, **given_settings), train, test, random_source("generator", seed)
    )


def parts_of(split: Split) -> list[list[int]]:
    return [split.train.tolist(), split.valid.tolist(), split.test.tolist()]


# --- head and tail


@pytest.mark.parametrize(
    ("available", "counts", "expected"),
    [
        # As published: 50,000 + 10,000 + 10,000; 49,000 + 1,000 + 1,000; all of it; the first hundred.
        ((60_000, 10_000), (50_000, 10_000, 10_000), ((0, 50_000), (50_000, 60_000), (0, 10_000))),
        ((50_000, 10_000), (None, 1000, 1000), ((0, 49_000), (49_000, 50_000), (0, 1000))),
        ((60_000, 10_000), (None, 0, None), ((0, 60_000), (60_000, 60_000), (0, 10_000))),
        ((60_000, 10_000), (100, 0, None), ((0, 100), (100, 100), (0, 10_000))),
    ],
)
def test_head_and_tail_as_published(
    available: tuple[int, int],
    counts: tuple[int | None, int, int | None],
    expected: tuple[tuple[int, int], ...],
) -> None:
    train, valid, test = counts
    split = chosen(
        "head_tail",
        np.zeros(available[0], np.uint8),
        np.zeros(available[1], np.uint8),
        train_count=train,
        valid_count=valid,
        test_count=test,
    )
    assert parts_of(split) == [list(range(*ends)) for ends in expected]


@examples
@given(
    available=st.integers(1, 40),
    tests=st.integers(1, 20),
    train=st.none() | st.integers(1, 45),
    valid=st.integers(0, 45),
    test=st.none() | st.integers(1, 25),
)
def test_head_and_tail_of_any_counts(
    available: int, tests: int, train: int | None, valid: int, test: int | None
) -> None:
    arrays = np.zeros(available, np.uint8), np.zeros(tests, np.uint8)
    counts: dict[str, Any] = {"train_count": train, "valid_count": valid, "test_count": test}
    fits = (train or 1) + valid <= available and (test or 0) <= tests
    if not fits:
        with pytest.raises(ConfigError, match="there are"):
            chosen("head_tail", *arrays, **counts)
        return
    split = chosen("head_tail", *arrays, **counts)
    sizes = (train or available - valid, valid, test or tests)
    assert parts_of(split) == [
        list(range(sizes[0])),
        list(range(sizes[0], sizes[0] + valid)),
        list(range(sizes[2])),
    ]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"train_count": 9, "valid_count": 2}, "9 train \\+ 2 valid images asked for, 10 there are"),
        ({"train_count": 11}, "11 train \\+ 0 valid images asked for, 10 there are"),
        ({"valid_count": 10}, "1 train \\+ 10 valid images asked for, 10 there are"),
        ({"test_count": 6}, "6 test images asked for, 5 there are"),
    ],
)
def test_too_much_asked_for_is_told_in_numbers(counts: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        chosen("head_tail", np.zeros(10, np.uint8), np.zeros(5, np.uint8), **counts)


@every_source
def test_head_and_tail_look_neither_at_labels_nor_at_the_seed(source: str) -> None:
    given_settings = schema.Split("head_tail", train_count=5, valid_count=3)
    splits = [
        splitting.split(given_settings, labels_of(seed, 10), labels_of(seed, 4), random_source(source, seed))
        for seed in (1, 2)
    ]
    assert parts_of(splits[0]) == parts_of(splits[1])


# --- stratified


@every_source
@examples
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 200),
    classes=st.integers(1, 6),
    train=st.floats(0.01, 1),
    valid=st.floats(0, 0.99),
)
def test_every_class_has_its_proportion(
    source: str, seed: int, count: int, classes: int, train: float, valid: float
) -> None:
    assume(train + valid <= 1)
    labels = labels_of(seed, count, classes)
    settings_of_split = schema.Split("stratified", train_fraction=train, valid_fraction=valid)
    # Unchecked: so few images may leave the train part empty.
    split = stratified(labels, labels_of(seed, 7), settings_of_split, random_source(source, seed))
    for label in range(classes):
        members = int((labels == label).sum())
        trained = int((labels[split.train] == label).sum())
        validated = int((labels[split.valid] == label).sum())
        assert trained == round(train * members)
        assert trained + validated == round((train + valid) * members)
        # The nearest whole numbers, of which the second is the difference of two.
        assert abs(trained - train * members) <= 0.5
        assert abs(validated - valid * members) <= 1
    together = np.concatenate([split.train, split.valid])
    assert len(np.unique(together)) == len(together)
    assert split.train.dtype == split.valid.dtype == split.test.dtype == np.int64
    assert (np.diff(split.train) > 0).all()
    assert (np.diff(split.valid) > 0).all()
    assert split.test.tolist() == list(range(7))


@every_source
def test_the_seed_decides_who_is_drawn(source: str) -> None:
    labels, tests = labels_of(1, 100), labels_of(2, 10)
    given_settings = schema.Split("stratified", train_fraction=0.5, valid_fraction=0.25, test_count=4)

    def drawn(seed: int) -> list[list[int]]:
        return parts_of(splitting.split(given_settings, labels, tests, random_source(source, seed)))

    assert drawn(3) == drawn(3)
    assert drawn(3)[0] != drawn(4)[0]
    assert drawn(3)[2] == [0, 1, 2, 3]


def test_every_image_can_be_drawn_into_either_part() -> None:
    labels = labels_of(1, 20, 2)
    trained, validated = set[int](), set[int]()
    for seed in range(30):
        split = chosen("stratified", labels, labels, seed=seed, train_fraction=0.5, valid_fraction=0.5)
        assert sorted(parts_of(split)[0] + parts_of(split)[1]) == list(range(20))
        trained |= set(split.train.tolist())
        validated |= set(split.valid.tolist())
    assert trained == validated == set(range(20))


def test_fractions_that_add_up_to_one_leave_no_image_out() -> None:
    # Not all of these sums are exactly 1 in binary, and with one image in five both parts could round down.
    for count in (5, 20, 101):
        for train, valid in (
            (0.7, 0.3),
            (0.1 + 0.2, 0.7),
            (1 / 3, 2 / 3),
            (6 / 7, 1 / 7),
            (0.9, 0.1),
            (0.5, 0.5),
        ):
            labels = labels_of(5, count)
            split = chosen("stratified", labels, labels, train_fraction=train, valid_fraction=valid)
            assert len(split.train) + len(split.valid) == count


@pytest.mark.parametrize(("train", "valid"), [(0.8, 0.3), (1.0, 1e-9), (0.5, 0.999)])
def test_fractions_that_do_not_fit_are_refused(train: float, valid: float) -> None:
    with pytest.raises(ConfigError, match="do not fit into 1"):
        chosen("stratified", labels_of(1, 10), labels_of(2, 5), train_fraction=train, valid_fraction=valid)


def test_fractions_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match="the train part is empty"):
        chosen("stratified", labels_of(1, 20, 10), labels_of(2, 5), train_fraction=0.001)


def test_too_many_test_images_are_refused_here_too() -> None:
    with pytest.raises(ConfigError, match="6 test images asked for, 5 there are"):
        chosen("stratified", labels_of(1, 10), labels_of(2, 5), test_count=6)


# --- every splitter


@pytest.mark.parametrize("name", SPLITTERS)
@examples
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(10, 60), tests=st.integers(1, 20))
def test_no_part_shares_an_image_and_test_images_are_their_own_set(
    name: str, seed: int, count: int, tests: int
) -> None:
    split = chosen(
        name,
        labels_of(seed, count, 2),
        labels_of(seed, tests, 2),
        seed=seed,
        train_count=5,
        valid_count=3,
        train_fraction=0.5,
        valid_fraction=0.3,
    )
    split.check(count, tests)
    assert not set(split.train.tolist()) & set(split.valid.tolist())
    assert max(split.train.max(), split.valid.max()) < count
    assert len(split.test) == tests


@pytest.mark.parametrize("name", SPLITTERS)
def test_labels_stay_as_they_are(name: str) -> None:
    train, test = labels_of(1, 30), labels_of(2, 10)
    for labels in (train, test):
        labels.flags.writeable = False
    chosen(name, train, test, train_count=10, train_fraction=0.5)
    np.testing.assert_array_equal(train, labels_of(1, 30))


def test_an_unknown_splitter_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"split\.name=folds: unknown; one of head_tail, stratified"):
        chosen("folds", labels_of(1, 10), labels_of(2, 5))


def test_defaults_train_on_everything_and_validate_on_nothing() -> None:
    for name in SPLITTERS:
        split = chosen(name, labels_of(1, 10), labels_of(2, 5))
        assert parts_of(split) == [list(range(10)), [], list(range(5))]


# --- the check


@pytest.mark.parametrize(
    ("train", "valid", "test", "told"),
    [
        ([0, 10], [], [], "the train part reaches past the 10 images"),
        ([-1], [], [], "the train part reaches past"),
        ([0], [10], [], "the valid part reaches past the 10 images"),
        ([0], [1], [5], "the test part reaches past the 5 images"),
        ([0, 0], [], [], "the train part has an image twice"),
        ([0], [1, 1], [], "the valid part has an image twice"),
        ([0], [1], [2, 2], "the test part has an image twice"),
        ([], [1], [], "the train part is empty"),
        ([0, 3], [3, 4], [], "the train and valid parts share images"),
    ],
)
def test_unsound_splits_are_found(train: list[int], valid: list[int], test: list[int], told: str) -> None:
    split = Split(*(np.array(part, dtype=np.int64) for part in (train, valid, test)))
    with pytest.raises(ConfigError, match=told):
        split.check(10, 5)


def test_a_sound_split_passes() -> None:
    # Train and test may have the same numbers: they index different sets.
    Split(np.array([9, 0]), np.array([3]), np.array([0, 4])).check(10, 5)
    chosen("head_tail", labels_of(1, 4), labels_of(2, 2), valid_count=1).check(4, 2)


# --- without a test set


@given(count=st.integers(3, 60), seed=st.integers(0, 2**32 - 1))
@examples
def test_without_a_test_set_the_test_part_is_taken_from_the_training_set(count: int, seed: int) -> None:
    train, test = labels_of(seed, count), labels_of(0, 0)
    for name, given_settings in (
        ("head_tail", {"valid_count": 1, "test_count": 1}),
        ("stratified", {"train_fraction": 0.5, "valid_fraction": 0.25, "test_fraction": 0.25}),
    ):
        try:
            split = chosen(name, train, test, seed=seed, **given_settings)
        except ConfigError as error:
            # Of a few images per class a quarter may be none.
            assert name == "stratified"
            assert str(error).startswith(("split.test_fraction: ", "split: the train part is empty"))  # noqa: PT017  (one of two good ends)
            continue
        parts = parts_of(split)
        assert sorted(index for part in parts for index in part) == list(range(count))
        assert len(split.test)


def test_without_a_test_set_its_size_has_to_be_said() -> None:
    train, test = labels_of(0, 20), labels_of(0, 0)
    for name, key in (("head_tail", "test_count"), ("stratified", "test_fraction")):
        with pytest.raises(ConfigError, match=rf"^split.{key}: the data set has no test set"):
            chosen(name, train, test)
    with pytest.raises(ConfigError, match="15 train \\+ 3 valid \\+ 3 test images asked for, 20 there are"):
        chosen("head_tail", train, test, train_count=15, valid_count=3, test_count=3)
    with pytest.raises(ConfigError, match=r"0.9 train \+ 0.0 valid \+ 0.2 test do not fit into 1"):
        chosen("stratified", train, test, train_fraction=0.9, test_fraction=0.2)
