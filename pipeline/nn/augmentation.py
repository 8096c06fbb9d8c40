"""Random changes of the train images, so that a network sees each of them anew in every epoch.

Every step draws from a random source of its own, that of (seed, step): neither the order of the steps, nor
the thread that does them, nor a resumed run makes a difference.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np

from pipeline.config.schema import Augment, Config
from pipeline.core.errors import ConfigError
from pipeline.core.registry import look_up
from pipeline.nn.arrays import Floats, Pixels

_STREAM: Final = 3  # beside those of weights and batches, of a random split (1), and of dropout (2)
_CHUNK_ROWS: Final = 32  # images that are warped at a time: their arrays stay in the cache

ImageShape = tuple[int, int, int]
Settings = Mapping[str, float]


class Augmentation(Protocol):
    """Changes batches of images, in buffers that it owns."""

    def apply(self, pixels: Pixels, out: Floats, step: int) -> None:
        """Write changed images to `out`, in the range of the pixels.

        Args:
            pixels: uint8 (n, features), channel fastest; n is at most the rows that this was made for.
            out: float32 (n, features).
            step: number of the step that the batch is for; it has the same changes whenever it is asked for.
        """


class Warp:
    """Rotates, scales, shears, shifts and bends grey images; what comes in from outside is 0.

    A pixel of the result has the value at some place of the original, found between four pixels by bilinear
    interpolation. That place, counted from the middle of the image, is ``A p + s + e(p)``: p is the pixel's
    own place; A rotates, scales and shears; s shifts the whole image; and e, the elastic part, is a smooth
    random field: numbers at the points of a coarse grid, each spread by a Gaussian, with the same deviation
    at every pixel. (Simard, Steinkraus and Platt, Best practices for convolutional neural networks applied to
    visual document analysis, 2003, smooth a number at each pixel instead.)

    Places are linear in what is drawn, so those of a batch are one matrix product for each axis.
    """

    def __init__(self, settings: Settings, image_shape: ImageShape, rows: int, seed: int) -> None:
        height, width, channels = image_shape
        if channels != 1:
            raise ConfigError(f"augment.name=digits: expected grey images, found {channels} channels")
        self._seed = seed
        # Half-widths of uniform distributions, in the order in which they are drawn.
        self._affine = np.array(
            [np.deg2rad(settings["rotation_degrees"]), settings["scale"], settings["shear"]], np.float32
        )
        self._shift = np.float32(settings["shift_pixels"])
        self._elastic = np.float32(
            settings["elastic_pixels"] * np.sqrt(3)
        )  # whose deviation is elastic_pixels
        self._basis = _basis((height, width), int(settings["elastic_grid"]), settings["elastic_sigma_pixels"])
        terms = len(self._basis)
        self._drawn = np.empty((rows, 3 + 2 * (terms - 2)), np.float32)
        self._factors = np.empty((2, rows, terms), np.float32)
        # A pixel of nothing all around, for what lies outside.
        self._padded = np.zeros((_CHUNK_ROWS, height + 2, width + 2), np.float32)
        self._starts = np.arange(_CHUNK_ROWS)[:, np.newaxis] * self._padded[0].size
        self._places = np.empty((2, _CHUNK_ROWS, height * width), np.float32)
        self._corners = np.empty((2, _CHUNK_ROWS, height * width), np.intp)
        self._values = np.empty((2, _CHUNK_ROWS, height * width), np.float32)

    def apply(self, pixels: Pixels, out: Floats, step: int) -> None:
        """As `Augmentation.apply`."""
        self._draw(len(pixels), step)
        for start in range(0, len(pixels), _CHUNK_ROWS):
            chunk = slice(start, min(start + _CHUNK_ROWS, len(pixels)))
            self._locate(self._factors[:, chunk])
            self._interpolate(pixels[chunk], out[chunk])

    def _draw(self, count: int, step: int) -> None:
        """Fill the factors of the basis for the first `count` images."""
        drawn = self._drawn[:count]
        _random(self._seed, step).random(out=drawn, dtype=np.float32)
        drawn *= 2
        drawn -= 1
        angle, scale, shear = drawn[:, :3].T * self._affine[:, np.newaxis]
        cosine, sine = np.exp(scale) * (np.cos(angle), np.sin(angle))
        for factors, field, along_y, along_x, middle in (
            (self._factors[0], 0, cosine + shear * sine, sine, self._padded.shape[1] / 2 - 0.5),
            (self._factors[1], 1, shear * cosine - sine, cosine, self._padded.shape[2] / 2 - 0.5),
        ):
            part = drawn[:, 3 + field :: 2]
            factors[:count, 0] = part[:, 0] * self._shift + np.float32(middle)
            factors[:count, 1] = along_y
            factors[:count, 2] = along_x
            np.multiply(part[:, 1:], self._elastic, out=factors[:count, 3:])

    def _locate(self, factors: Floats) -> None:
        """Find a chunk's corner pixels above and to the left, and how far from them each place is."""
        count = factors.shape[1]
        places, corners, whole = self._places[:, :count], self._corners[:, :count], self._values[:, :count]
        for axis, size in enumerate(self._padded.shape[1:]):
            np.matmul(factors[axis], self._basis, out=places[axis])
            # The last pixel but one, and next to the last: all beyond the rim is 0.
            np.clip(places[axis], 0, np.nextafter(np.float32(size - 1), np.float32(0)), out=places[axis])
        np.floor(places, out=whole)
        np.subtract(places, whole, out=places)
        np.copyto(corners, whole, casting="unsafe")
        np.multiply(corners[0], self._padded.shape[2], out=corners[0])
        np.add(corners[0], corners[1], out=corners[0])
        np.add(corners[0], self._starts[:count], out=corners[0])

    def _interpolate(self, pixels: Pixels, out: Floats) -> None:
        count, width = len(pixels), self._padded.shape[2]
        self._padded[:count, 1:-1, 1:-1] = pixels.reshape(count, self._padded.shape[1] - 2, width - 2)
        (down, across), corner = self._places[:, :count], self._corners[0, :count]
        below, right = self._values[:, :count]
        from_here = self._padded.reshape(-1)
        from_here.take(corner, out=out, mode="clip")
        from_here[1:].take(corner, out=right, mode="clip")
        _blend(out, right, across)
        from_here[width:].take(corner, out=below, mode="clip")
        from_here[width + 1 :].take(corner, out=right, mode="clip")
        _blend(below, right, across)
        _blend(out, below, down)


def _basis(sizes: tuple[int, int], points: int, sigma: float) -> Floats:
    """What the places of an image's pixels are sums of, float32 (3 + points², pixels).

    One, the pixel's distance from the middle down and across, and a Gaussian around each point of the grid.
    """
    down, across = (np.arange(size) - (size - 1) / 2 for size in sizes)
    rows = [np.ones(sizes), np.broadcast_to(down[:, np.newaxis], sizes), np.broadcast_to(across, sizes)]
    bumps = []
    for size in sizes:
        centres = (np.arange(points) + 0.5) * size / points - 0.5
        bump = np.exp(-0.5 * np.square((np.arange(size)[:, np.newaxis] - centres) / sigma))
        # Of independent numbers of deviation 1 the sum has it too.
        bumps.append(bump / np.sqrt(np.square(bump).sum(axis=1, keepdims=True)))
    rows += [
        np.outer(bumps[0][:, one], bumps[1][:, other]) for one in range(points) for other in range(points)
    ]
    return np.array(rows, np.float32).reshape(len(rows), -1)


def _blend(values: Floats, others: Floats, shares: Floats) -> None:
    """Go from the values towards the others by the shares, 0 to 1, in place; the others are lost."""
    np.subtract(others, values, out=others)
    np.multiply(others, shares, out=others)
    np.add(values, others, out=values)


class FlipAndShift:
    """Mirrors every other image, left to right, and shifts all by whole pixels.

    What comes in from outside repeats the pixels at the rim.
    """

    def __init__(self, settings: Settings, image_shape: ImageShape, rows: int, seed: int) -> None:
        height, width, channels = image_shape
        if settings["shift_pixels"] % 1:
            raise ConfigError(
                f"augment.shift_pixels={settings['shift_pixels']:g}: objects shifts by whole pixels"
            )
        self._seed, self._shift = seed, int(settings["shift_pixels"])
        self._flip_share = settings["flip_share"]
        self._down, self._across, self._channels = np.arange(height), np.arange(width), np.arange(channels)
        self._drawn = np.empty((rows, 3), np.float32)
        self._starts = np.arange(rows)[:, np.newaxis] * (height * width * channels)
        self._places = np.empty((rows, height, width * channels), np.intp)
        self._found = np.empty((rows, height * width * channels), np.uint8)

    def apply(self, pixels: Pixels, out: Floats, step: int) -> None:
        """As `Augmentation.apply`."""
        count = len(pixels)
        drawn = self._drawn[:count]
        _random(self._seed, step).random(out=drawn, dtype=np.float32)
        shifts = np.floor(drawn[:, :2] * (2 * self._shift + 1)).astype(np.intp) - self._shift
        flipped = drawn[:, 2:] < self._flip_share
        last_row, last_column = self._down[-1], self._across[-1]
        rows = np.clip(self._down - shifts[:, :1], 0, last_row)
        columns = np.clip(self._across - shifts[:, 1:], 0, last_column)
        columns = np.where(flipped, last_column - columns, columns)
        channels = len(self._channels)
        in_row = columns[..., np.newaxis] * channels + self._channels
        places = self._places[:count]
        np.add(
            (self._starts[:count] + rows * (len(self._across) * channels))[..., np.newaxis],
            in_row.reshape(count, 1, -1),
            out=places,
        )
        pixels.reshape(-1).take(places.reshape(count, -1), out=self._found[:count], mode="clip")
        np.copyto(out, self._found[:count])


def _random(seed: int, step: int) -> np.random.Generator:
    """What a step draws from. Uniform numbers alone: they are made by no function of the C library."""
    return np.random.Generator(np.random.PCG64([seed, _STREAM, step]))


class _Kind(NamedTuple):
    """One way to augment.

    Attributes:
        defaults: its settings and their default values.
        make: ``make(settings, image shape, rows, seed)``; None for no augmentation.
    """

    defaults: Settings
    make: Callable[[Settings, ImageShape, int, int], Augmentation] | None


AUGMENTATIONS: Final[Mapping[str, _Kind]] = {
    "none": _Kind({}, None),
    "digits": _Kind(
        {
            "rotation_degrees": 12.0,
            "scale": 0.12,
            "shear": 0.1,
            "shift_pixels": 1.5,
            "elastic_pixels": 1.2,
            "elastic_sigma_pixels": 4.0,
            "elastic_grid": 7,
        },
        Warp,
    ),
    "objects": _Kind({"flip_share": 0.5, "shift_pixels": 2.0}, FlipAndShift),
}
"""name -> how images are changed: none not at all; digits as `Warp` says; objects as `FlipAndShift` says."""


def augmentation_of(config: Config, rows: int) -> Augmentation | None:
    """What changes the train images, up to `rows` at a time, as a configuration says; None for nothing.

    Raises:
        ConfigError: the name is unknown, a setting is not one of the chosen augmentation, or it does not go
            with the data set's images.
    """
    kind = look_up(AUGMENTATIONS, "augment.name", config.augment.name)
    settings = {**kind.defaults, **_given(config.augment, kind.defaults)}
    height, width, channels = config.dataset.image_shape
    return None if kind.make is None else kind.make(settings, (height, width, channels), rows, config.seed)


def _given(augment: Augment, known: Settings) -> dict[str, float]:
    given = augment.settings()
    for key in given:
        if key not in known:
            raise ConfigError(f"augment.{key}: augment.name={augment.name} has no such setting")
    return given
