"""Augmentation: what it does to images, and that nothing but the seed and the step decides what is drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.config.compose import compose
from pipeline.config.schema import Augment, Config
from pipeline.core.errors import ConfigError
from pipeline.nn.arrays import Floats, Pixels
from pipeline.nn.augmentation import AUGMENTATIONS, Augmentation, FlipAndShift, Warp, augmentation_of
from tests.shared import allocating_less_than

CONF = Path(__file__).resolve().parents[2] / "conf"

examples = settings(deadline=None, max_examples=25)
seeds, steps = st.integers(0, 2**32 - 1), st.integers(1, 10**6)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
KINDS = sorted(set(AUGMENTATIONS) - {"none"})
every = pytest.mark.parametrize("name", KINDS)
STILL = {
    **dict.fromkeys(AUGMENTATIONS["digits"].defaults, 0.0),
    "elastic_grid": 3,
    "elastic_sigma_pixels": 2.0,
}


def drawn(count: int, shape: tuple[int, int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, int(np.prod(shape))), dtype=np.uint8)


def made(name: str, shape: tuple[int, int, int], rows: int, seed: int, **values: float) -> Augmentation:
    kind = AUGMENTATIONS[name]
    assert kind.make is not None
    return kind.make({**kind.defaults, **values}, shape, rows, seed)


def applied(augmentation: Augmentation, pixels: Pixels, step: int) -> Floats:
    out = np.full(pixels.shape, -77, np.float32)
    augmentation.apply(pixels, out, step)
    return out


@examples
@given(shapes, st.integers(1, 70), seeds, steps)
def test_no_strength_is_no_change(shape: tuple[int, int], count: int, seed: int, step: int) -> None:
    grey, colour = drawn(count, (*shape, 1), seed), drawn(count, (*shape, 3), seed)
    np.testing.assert_array_equal(applied(Warp(STILL, (*shape, 1), count, seed), grey, step), grey)
    still = FlipAndShift({"flip_share": 0.0, "shift_pixels": 0.0}, (*shape, 3), count, seed)
    np.testing.assert_array_equal(applied(still, colour, step), colour)


@examples
@given(st.integers(0, 3), seeds, steps)
def test_objects_are_mirrored_and_rolled_inside(shift: int, seed: int, step: int) -> None:
    shape, count = (9, 11, 3), 40
    pixels = drawn(count, shape, seed)
    changed = applied(made("objects", shape, count, seed, shift_pixels=float(shift)), pixels, step)
    seen = set()
    inside = slice(shift, -shift or None)
    for image, found in zip(pixels.reshape(-1, *shape), changed.reshape(-1, *shape), strict=True):
        ways = [
            (down, across, flip)
            for down in range(-shift, shift + 1)
            for across in range(-shift, shift + 1)
            for flip in (False, True)
            if np.array_equal(
                found[inside, inside],
                np.roll(image, (down, across), (0, 1))[:, :: -1 if flip else 1][inside, inside],
            )
        ]
        assert len(ways) == 1
        seen |= set(ways)
    assert {flip for _, _, flip in seen} == {False, True}
    assert max(abs(down) for down, _, _ in seen) == max(abs(across) for _, across, _ in seen) == shift


def test_objects_repeat_the_rim() -> None:
    shape = (4, 5, 1)
    image = np.arange(20, dtype=np.uint8).reshape(1, -1)
    shifter = made("objects", shape, 1, 0, flip_share=0.0, shift_pixels=3.0)
    for step in range(1, 30):
        found = applied(shifter, image, step).reshape(4, 5)
        padded = np.pad(image.reshape(4, 5), 3, mode="edge")
        assert any(
            np.array_equal(found, padded[down : down + 4, across : across + 5])
            for down in range(7)
            for across in range(7)
        )


@examples
@given(seeds, steps)
def test_digits_shift_as_bilinear_interpolation_does(seed: int, step: int) -> None:
    shape = (8, 9, 1)
    image = drawn(1, shape, seed)
    warp = Warp({**STILL, "shift_pixels": 2.5}, shape, 1, seed)
    found = applied(warp, image, step).reshape(8, 9)
    # A picture of places shifted likewise tells by how much.
    down, across = (
        applied(Warp({**STILL, "shift_pixels": 2.5}, shape, 1, seed), ramp.reshape(1, -1), step).reshape(
            8, 9
        )[4, 4]
        - 40
        for ramp in np.meshgrid(np.arange(8) * 10, np.arange(9) * 10, indexing="ij")
    )
    expected = ndimage.shift(
        np.pad(image.reshape(8, 9), 4).astype(float), (-down / 10, -across / 10), order=1, mode="constant"
    )[4:-4, 4:-4]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_digits_stay_in_the_range_of_pixels_and_move_about_as_far_as_asked() -> None:
    shape, count = (28, 28, 1), 400
    pixels = drawn(count, shape)
    changed = applied(made("digits", shape, count, 1), pixels, 1)
    assert changed.min() >= 0
    assert changed.max() <= 255
    # A ramp tells how far each pixel of the middle has moved.
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (count, 28, 28)).reshape(count, -1)
    bent = Warp(
        {**STILL, "elastic_pixels": 1.0, "elastic_grid": 7, "elastic_sigma_pixels": 4.0}, shape, count, 1
    )
    moved = (applied(bent, ramp, 1) / 9 - ramp / 9).reshape(count, 28, 28)[:, 8:20, 8:20]
    np.testing.assert_allclose(moved.std(axis=0), 1, atol=0.15)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.25)
    # Pixels side by side move alike.
    assert np.abs(np.diff(moved, axis=2)).max() < 1.5


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    shape = (7, 7, 1)
    image = drawn(1, shape)
    for step in range(1, 200):
        warp = Warp({**STILL, "rotation_degrees": 90.0}, shape, 1, 0)
        angle = np.rad2deg(
            np.random.Generator(np.random.PCG64([0, 3, step])).random(dtype=np.float32) * np.pi
        )
        if 89 < abs(angle - 90) < 90:
            found = applied(warp, image, step).reshape(7, 7)
            turned = [np.rot90(image.reshape(7, 7), quarter) for quarter in (1, 3)]
            nearest = min(np.abs(found - each).mean() for each in turned)
            assert nearest < 6 < np.abs(found - image.reshape(7, 7)).mean()
            return
    raise AssertionError("no step turns by nearly 90 degrees")


@every
@examples
@given(seed=seeds, step=steps, count=st.integers(1, 40))
def test_the_seed_and_the_step_decide_alone(name: str, seed: int, step: int, count: int) -> None:
    shape = (6, 5, 1)
    pixels = drawn(count, shape)
    augmentation = made(name, shape, 40, seed)
    found = applied(augmentation, pixels, step)
    # Whatever came before, and in any other process.
    applied(augmentation, drawn(40, shape, 1), step + 1)
    np.testing.assert_array_equal(applied(augmentation, pixels, step), found)
    np.testing.assert_array_equal(applied(made(name, shape, count, seed), pixels, step), found)
    # A smaller batch has the changes of the first images; its products may be rounded otherwise.
    fewer = applied(augmentation, pixels[: count // 2 + 1], step)
    np.testing.assert_allclose(fewer, found[: count // 2 + 1], atol=0.05)


@every
def test_other_steps_and_seeds_draw_otherwise(name: str) -> None:
    shape = (8, 8, 1)
    pixels = drawn(30, shape)
    found = [applied(made(name, shape, 30, seed), pixels, step) for seed, step in ((1, 1), (1, 2), (2, 1))]
    assert not any(
        np.array_equal(one, other) for one, other in zip(found, [*found[1:], found[0]], strict=True)
    )


@every
def test_little_is_allocated(name: str) -> None:
    shape = (28, 28, 1)
    pixels, out = drawn(256, shape), np.empty((256, 784), np.float32)
    augmentation = made(name, shape, 256, 0)
    augmentation.apply(pixels, out, 1)
    # A few numbers for an image, and its rows and columns; no array of the pixels.
    with allocating_less_than(out.nbytes / 2):
        augmentation.apply(pixels, out, 2)


# --- from a configuration


def config(*overrides: str) -> Config:
    return compose(CONF, overrides)


def test_none_is_the_default_and_changes_nothing() -> None:
    assert augmentation_of(config(), 10) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["augment=digits", "dataset=cifar10"],
            "augment.name=digits: expected grey images, found 3 channels",
        ),
        (
            ["augment=objects", "augment.shift_pixels=1.5"],
            "augment.shift_pixels=1.5: objects shifts by whole pixels",
        ),
        (["augment=objects", "+augment.shear=1"], "augment.shear: augment.name=objects has no such setting"),
        (["augment.name=mixup"], "augment.name=mixup: unknown; one of none, digits, objects"),
    ],
)
def test_what_cannot_be_done_is_told(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        augmentation_of(config(*overrides), 10)
    assert str(caught.value) == message


def test_settings_are_those_given() -> None:
    values: dict[str, Any] = {"name": "objects", "shift_pixels": 1.0}
    assert Augment(**values).settings() == {"shift_pixels": 1.0}
