"""The data card: counts, means, constant pixels, copies and images that look alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.files.images import LabelledImages, Part
from pipeline.report import card


def nothing(count: int) -> None:
    """Progress that nobody watches."""


def random_images(count: int, *, seed: int = 0, size: int = 48, channels: int = 3) -> np.ndarray:
    """Smooth pictures: a few waves each, so that they look like something and unlike each other."""
    random = np.random.default_rng(seed)
    waves = np.cos(np.pi * np.outer(np.arange(8), (np.arange(size) + 0.5) / size))
    strengths = (
        random.normal(size=(count, 8, 8, channels)) / (1 + np.add.outer(range(8), range(8)))[..., None]
    )
    pictures = np.einsum("nfgc,fh,gw->nhwc", strengths, waves, waves)
    low, high = pictures.min(axis=(1, 2, 3), keepdims=True), pictures.max(axis=(1, 2, 3), keepdims=True)
    return (20 + 200 * (pictures - low) / (high - low)).astype(np.uint8)


def part(images: np.ndarray, labels: object = None) -> LabelledImages:
    given_labels = np.zeros(len(images), np.uint8) if labels is None else np.asarray(labels, np.uint8)
    return LabelledImages(images, given_labels)


def describe(train: LabelledImages, test: LabelledImages, classes: int = 3) -> card.Card:
    parts: dict[Part, LabelledImages] = {"train": train, "test": test}
    return card.describe(parts, classes, nothing)


@given(
    st.integers(1, 40), st.sampled_from([(1, 1), (5, 3), (9, 12)]), st.sampled_from([1, 3]), st.integers(0, 9)
)
def test_a_part_is_described_as_plain_numpy_does(
    count: int, size: tuple[int, int], channels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 3, (count, *size, channels)).astype(np.uint8)
    images[:, 0, 0] = 7
    labels = random.integers(0, 3, count).astype(np.uint8)
    told: list[int] = []
    found = card.describe_part(part(images, labels), 4, told.append)
    assert sum(told) == count
    np.testing.assert_array_equal(found.class_counts, [(labels == label).sum() for label in range(4)])
    for label in range(4):
        expected = images[labels == label].mean(axis=0) if (labels == label).any() else 0
        np.testing.assert_allclose(found.class_means[label], expected * np.ones(images.shape[1:]), rtol=1e-12)
    for channel in range(channels):
        levels = np.bincount(images[..., channel].ravel(), minlength=256)
        np.testing.assert_array_equal(found.levels[channel], levels)
    np.testing.assert_array_equal(found.constant, (images == images[0]).all(axis=(0, 3)))
    np.testing.assert_array_equal(
        found.single_shade, [len(np.unique(image.reshape(-1, channels), axis=0)) == 1 for image in images]
    )


def test_the_pieces_in_which_images_are_read_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(30)
    images[20:24] = images[3:7]
    whole = describe(part(images), part(images[::3] // 2))
    monkeypatch.setattr(card, "_PIECE_BYTES", 4 * images[0].nbytes)
    monkeypatch.setattr(card, "_MOST_WAITING", 5)
    pieces = describe(part(images), part(images[::3] // 2))
    for name, found in pieces.parts.items():
        np.testing.assert_array_equal(found.hashes, whole.parts[name].hashes)
        np.testing.assert_array_equal(found.digests, whole.parts[name].digests)
        np.testing.assert_allclose(found.class_means, whole.parts[name].class_means)
    for relation, repeats in pieces.repeats.items():
        np.testing.assert_array_equal(repeats.copies, whole.repeats[relation].copies)
        np.testing.assert_array_equal(repeats.alike, whole.repeats[relation].alike)


def test_copies_are_told_within_parts_and_between_them() -> None:
    train, test = random_images(20), random_images(12, seed=1)
    train[[7, 15]] = train[2]
    test[4] = train[2]
    test[[6, 9]] = test[1]
    found = describe(part(train), part(test)).repeats
    assert found["train", "train"].copies.tolist() == [[2, 7], [2, 15]]
    assert found["train", "test"].copies.tolist() == [[2, 4]]
    assert found["test", "test"].copies.tolist() == [[1, 6], [1, 9]]
    assert all(not len(repeats.alike) for repeats in found.values())


@given(st.lists(st.integers(0, 6), max_size=30))
def test_each_copy_has_the_first_of_its_kind(kinds: list[int]) -> None:
    digests = np.array([[kind, kind % 2] for kind in kinds], np.uint64).reshape(-1, 2)
    expected = [[kinds.index(kind), place] for place, kind in enumerate(kinds) if kinds.index(kind) < place]
    assert card.find_copies(digests).tolist() == expected


@pytest.mark.parametrize("change", ["noise", "lighter", "paler", "moved", "sharpened"])
def test_an_image_that_was_changed_a_little_is_found(change: str) -> None:
    train, test = random_images(200), random_images(60, seed=1)
    picture = train[123].astype(float)
    test[17] = {
        "noise": np.clip(picture + np.random.default_rng(2).normal(scale=6, size=picture.shape), 0, 255),
        "lighter": picture + 20,
        "paler": 128 + (picture - 128) / 2,
        "moved": np.roll(picture, 1, axis=1),
        "sharpened": np.clip(picture + 0.5 * (picture - np.roll(picture, 1, axis=0)), 0, 255),
    }[change].astype(np.uint8)
    found = describe(part(train), part(test)).repeats["train", "test"]
    assert found.copies.tolist() == []
    assert found.alike.tolist() == [[123, 17]]


def test_of_several_images_that_look_alike_the_nearest_is_told_for_each_part() -> None:
    train, test = random_images(50), random_images(20, seed=1)
    noise = np.random.default_rng(2).normal(size=train[0].shape)
    train[9], train[30] = (np.clip(train[4] + scale * noise, 0, 255).astype(np.uint8) for scale in (6, 2))
    test[5] = np.clip(train[4] + 3 * noise, 0, 255).astype(np.uint8)
    found = describe(part(train), part(test)).repeats
    assert found["train", "test"].alike.tolist() == [[30, 5]]
    assert found["train", "train"].alike.tolist() == [[4, 9], [4, 30]]


def test_a_mirrored_image_is_missed_as_the_module_says() -> None:
    train, test = random_images(50), random_images(20, seed=1)
    test[5] = train[4, :, ::-1]
    assert len(describe(part(train), part(test)).repeats["train", "test"].alike) == 0


def test_images_of_one_shade_look_like_nothing() -> None:
    train = np.repeat(np.arange(10, dtype=np.uint8), 16 * 16).reshape(10, 16, 16, 1)
    test = train + np.uint8(100)
    found = describe(part(train), part(test))
    assert found.parts["train"].single_shade.all()
    assert all(not len(repeats.alike) for repeats in found.repeats.values())


def test_most_pairs_of_near_hashes_are_found_in_time_without_comparing_all_with_all() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 20_000, dtype=np.uint64)
    for place in range(0, 2000, 2):  # a partner with six different bits
        bits = random.choice(64, 6, replace=False)
        hashes[place + 1] = hashes[place] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
    found = {tuple(pair) for batch in card.find_candidates(hashes) for pair in batch.tolist()}
    wanted = {(place, place + 1) for place in range(0, 2000, 2)}
    assert found <= wanted
    assert len(found & wanted) > 950


def test_a_part_of_one_image_and_no_test_part() -> None:
    found = card.describe({"train": part(random_images(1))}, 2, nothing)
    assert list(found.repeats) == [("train", "train")]
    assert found.repeats["train", "train"].copies.shape == (0, 2)
    assert found.repeats["train", "train"].alike.shape == (0, 2)
