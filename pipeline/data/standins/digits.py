"""`digits`: handwritten-looking numerals in the shape of MNIST, drawn by code.

A numeral is a few pen strokes: smooth curves through control points. An image takes one of its digit's
templates, moves the control points, bends, stretches, slants and turns the whole, and inks it with a pen of
its own width and pressure. As in MNIST the numeral fills a box of about 20 pixels and has its centre of mass
in the middle of 28 x 28, and the paper is exactly 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.data.standins.drawing import Bytes, Drawing, Floats, balanced_labels, bell, uniform

SIDE: Final = 28
BOX: Final = 20.0
CHUNK: Final = 256
CLASS_NAMES: Final = tuple("0123456789")

# Control points "x,y" on a sheet about 70 wide and 100 high, y downwards; "/" lifts the pen or turns a
# corner. Points at the same place are one point and stay together when they are moved.
TEMPLATES: Final[tuple[tuple[str, ...], ...]] = (
    (
        "40,2 16,12 4,48 13,86 36,98 58,84 66,50 58,14 36,2",
        "50,8 28,2 8,26 6,66 22,96 46,92 60,60 58,24 42,4 28,8",
        "34,3 14,16 8,52 16,88 32,98 48,86 54,50 46,14 30,2 18,10",
        "62,30 50,6 26,4 6,30 4,66 24,96 50,90 66,62 64,32",
        "56,6 30,4 8,30 12,78 34,97 58,76 62,38 48,10 34,4 20,14",
        "40,0 20,20 4,60 12,94 32,96 54,66 64,28 52,4 36,4",
    ),
    (
        "34,0 33,50 33,100",
        "52,0 36,50 18,100",
        "14,24 36,2 / 36,2 35,50 34,100",
        "16,22 38,2 / 38,2 37,50 36,98 / 12,98 36,98 62,97",
        "40,0 32,48 28,100",
        "30,0 36,50 42,100",
        "8,36 44,2 / 44,2 42,50 40,100",
    ),
    (
        "6,24 18,6 40,2 58,18 52,42 30,68 4,96 / 4,96 34,94 68,95",
        "6,26 20,6 42,3 58,20 50,46 28,74 10,92 4,84 18,76 38,90 68,92",
        "2,12 26,4 56,8 58,28 34,62 6,96 / 6,96 36,97 64,94",
        "10,30 14,10 36,2 54,14 50,40 34,66 12,90 / 12,90 24,82 44,92 66,84",
        "16,16 34,2 56,12 52,36 26,66 2,88 / 2,88 22,84 46,94 70,84",
        "8,20 30,2 54,14 46,44 14,94 / 14,94 40,95 64,98",
    ),
    (
        "6,16 26,2 52,10 50,34 24,47 / 24,47 52,52 62,74 44,95 18,98 2,84",
        "8,4 32,5 58,4 / 58,4 42,22 28,40 / 28,40 54,46 62,72 44,94 18,97 4,86",
        "6,14 30,2 54,14 46,38 26,48 22,44 32,44 54,56 58,80 36,98 4,90",
        "4,8 36,4 54,18 42,40 20,50 / 20,50 46,56 52,78 34,98 8,100",
        "14,8 34,2 48,14 38,32 18,42 / 18,42 48,44 66,66 52,92 22,98 4,88",
        "8,24 22,4 48,4 58,22 42,42 26,48 / 26,48 42,52 54,68 46,90 26,98 10,88",
    ),
    (
        "16,4 12,30 6,54 / 6,54 34,56 64,52 / 52,6 48,52 44,100",
        "46,2 26,32 4,62 / 4,62 36,64 68,62 / 46,2 46,50 46,100",
        "12,6 6,30 14,50 34,52 54,44 / 58,2 54,50 48,100",
        "20,0 14,24 4,50 / 4,50 34,50 66,44 / 44,26 42,62 38,100",
        "34,2 20,30 6,58 / 6,58 30,60 58,58 / 50,24 44,62 40,100",
        "10,2 8,24 12,40 30,44 52,40 / 52,40 56,20 58,2 / 52,40 50,70 50,100",
    ),
    (
        "58,3 36,5 18,5 / 18,5 15,26 12,44 / 12,44 34,37 58,52 58,78 36,97 4,90",
        "64,2 34,4 16,16 20,38 44,50 58,68 46,92 20,98 4,90",
        "20,6 16,24 14,42 / 14,42 40,38 56,58 50,84 26,97 4,92 / 20,6 40,6 64,4",
        "56,4 38,6 22,4 / 22,4 16,24 10,46 / 10,46 32,44 52,60 46,86 22,99 6,96",
        "62,8 42,4 24,8 / 24,8 20,26 18,44 / 18,44 36,46 46,64 40,84 22,98 2,90",
        "12,4 14,24 12,40 / 12,40 36,36 54,50 56,76 38,94 10,94 / 12,4 34,6 58,2",
    ),
    (
        "50,2 26,18 8,54 10,86 32,98 54,86 54,64 34,54 14,70",
        "38,0 16,34 8,72 22,96 46,92 56,72 42,56 22,64 10,82",
        "60,4 34,14 12,44 4,74 16,96 40,96 50,78 40,62 22,64 8,80",
        "26,0 14,32 10,66 16,94 36,98 52,84 46,66 28,64 14,78",
        "42,0 26,24 16,52 14,82 30,98 48,88 48,68 30,66 15,82",
        "56,8 36,4 16,24 6,60 18,94 46,94 58,72 40,54 16,62 8,76",
    ),
    (
        "4,8 32,8 62,5 / 62,5 44,44 28,100",
        "4,10 30,7 60,6 / 60,6 46,34 30,66 22,100 / 22,52 42,52 62,49",
        "6,24 8,8 / 8,8 34,8 60,6 / 60,6 48,40 36,68 32,100",
        "2,14 20,4 40,12 58,6 / 58,6 44,38 34,66 30,100",
        "10,4 36,6 56,4 / 56,4 52,40 50,70 48,100",
        "2,6 24,12 44,10 64,2 / 64,2 36,36 24,64 20,100 / 12,58 30,56 48,50",
    ),
    (
        "54,16 36,2 14,12 18,34 40,50 56,74 40,96 14,92 10,70 30,50 52,32 54,14",
        "34,47 14,34 16,10 36,2 54,14 50,36 34,47 / 34,47 10,62 10,86 34,98 58,84 54,60 34,47",
        "58,8 34,2 14,18 28,40 46,58 46,86 24,98 8,82 20,60 42,40 58,22 60,6",
        "40,48 18,34 24,8 46,4 56,22 40,48 22,64 12,84 26,98 44,86 46,66 34,48",
        "52,20 40,2 20,8 20,28 38,46 54,70 46,94 22,96 10,78 22,58 42,42 54,24",
        "30,46 48,36 54,16 38,2 20,14 22,32 42,50 58,76 42,98 16,92 12,70 30,46",
    ),
    (
        "56,18 36,2 12,14 8,36 26,48 48,36 57,14 / 57,14 54,58 48,100",
        "54,20 36,3 12,14 10,38 30,48 50,34 56,14 58,44 52,78 34,97 10,92",
        "50,10 26,6 6,28 16,46 38,40 56,14 / 56,14 44,56 30,100",
        "58,8 34,4 16,20 16,42 36,48 54,30 58,8 / 58,8 57,50 58,100",
        "46,6 22,6 12,26 26,42 46,34 54,10 / 54,10 48,54 34,100",
        "56,22 42,2 18,8 10,30 28,44 50,34 56,20 / 56,20 60,56 50,88 30,98 12,84",
    ),
)


@dataclass(frozen=True)
class Strokes:
    """A template, ready to be drawn: ink samples as weighted sums of control points.

    Attributes:
        points: float64, (points, 2): the control points.
        indices: int64, (4, samples): which four control points shape a sample.
        weights: float64, (4, samples): and how much of each.
        inked: bool, (samples - 1,): whether the pen is down from a sample to the next.
    """

    points: Floats
    indices: NDArray[np.int64]
    weights: Floats
    inked: NDArray[np.bool_]


def read_template(text: str) -> Strokes:
    """Turn a template's text into samples along Catmull-Rom curves, about half a pixel apart.

    The curves: E. Catmull and R. Rom, "A class of local interpolating splines", 1974.
    """
    names: dict[str, int] = {}
    indices: list[tuple[int, int, int, int]] = []
    weights: list[tuple[float, float, float, float]] = []
    inked: list[bool] = []
    strokes = [[names.setdefault(name, len(names)) for name in stroke.split()] for stroke in text.split("/")]
    points = np.array([[float(number) for number in name.split(",")] for name in names])
    for stroke in strokes:
        for position, (start, end) in enumerate(pairwise(stroke)):
            # Beyond its ends a stroke goes on straight: the missing neighbour mirrors the one that is there.
            first, last = position == 0, position == len(stroke) - 2
            before, after = stroke[max(position - 1, 0)], stroke[min(position + 2, len(stroke) - 1)]
            across, down = points[end] - points[start]
            pieces = 2 + int(np.sqrt(across * across + down * down) / 2.5)
            for piece in range(pieces + last):
                t = piece / pieces
                a = 0.5 * t * (-1 + t * (2 - t))
                b = 0.5 * (2 + t * t * (-5 + 3 * t))
                c = 0.5 * t * (1 + t * (4 - 3 * t))
                d = 0.5 * t * t * (t - 1)
                if first:
                    a, b, c = 0.0, b + 2 * a, c - a
                if last:
                    b, c, d = b - d, c + 2 * d, 0.0
                indices.append((before, start, end, after))
                weights.append((a, b, c, d))
                inked.append(piece < pieces)
    return Strokes(points, np.array(indices).T.copy(), np.array(weights).T.copy(), np.array(inked[:-1]))


def _write(random: RandomState, template: Strokes, count: int) -> tuple[Floats, Floats, Floats]:
    """Write one template `count` times.

    Returns:
        x and y in pixels and the amount of ink, each float64 (count, samples). All are multiples of 1/256, so
        that sums of them and of their products are exact, in whatever order.
    """
    # Most writers are tidy, a few are not.
    u = random.random_sample((count, 1))
    haste = 0.7 + 1.2 * u * u * u
    moved = template.points + 3.3 * haste[:, :, None] * bell(random, (count, *template.points.shape))
    x, y = (
        template.weights[0] * moved[:, template.indices[0], axis]
        + template.weights[1] * moved[:, template.indices[1], axis]
        + template.weights[2] * moved[:, template.indices[2], axis]
        + template.weights[3] * moved[:, template.indices[3], axis]
        for axis in (0, 1)
    )
    x = (x - 34.0) / 50.0
    y = (y - 50.0) / 50.0

    bend = 0.165 * haste * bell(random, (4, count, 1))
    x, y = x + bend[0] * y * y + bend[1] * x * y, y + bend[2] * x * x + bend[3] * x * y
    x = x * uniform(random, 0.8, 1.5, (count, 1))
    x = x - y * (0.12 + 0.24 * bell(random, (count, 1)))
    # A turn without sine and cosine: the half angle's tangent gives a point on the unit circle.
    t = 0.095 * bell(random, (count, 1))
    cosine, sine = (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
    x, y = cosine * x - sine * y, sine * x + cosine * y

    extent = np.maximum(
        x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True),
        y.max(axis=1, keepdims=True) - y.min(axis=1, keepdims=True),
    )
    scale = (BOX - 1.6) * uniform(random, 0.93, 1.04, (count, 1)) / extent
    x, y = x * scale, y * scale
    across, down = x[:, 1:] - x[:, :-1], y[:, 1:] - y[:, :-1]
    length = np.where(template.inked, np.sqrt(across * across + down * down), 0.0)
    pressure = 1.0 + 0.3 * uniform(random, -1.0, 1.0, (count, 1)) * y[:, 1:] / (0.5 * BOX)
    ink = np.floor(256.0 * length * pressure) / 256.0
    x = np.floor(128.0 * (x[:, 1:] + x[:, :-1])) / 256.0
    y = np.floor(128.0 * (y[:, 1:] + y[:, :-1])) / 256.0
    total = ink.sum(axis=1, keepdims=True)
    middle = (SIDE - 1) / 2
    x = x + np.floor(256.0 * (middle - (ink * x).sum(axis=1, keepdims=True) / total)) / 256.0
    y = y + np.floor(256.0 * (middle - (ink * y).sum(axis=1, keepdims=True) / total)) / 256.0
    edge = SIDE - 1 - 1 / 256
    return np.clip(x, 0.0, edge), np.clip(y, 0.0, edge), ink


def _splat(x: Floats, y: Floats, ink: Floats) -> NDArray[np.float32]:
    """Share every sample's ink among the four pixels around it: float32, (count, SIDE, SIDE)."""
    count = len(x)
    left, top = np.floor(x), np.floor(y)
    right_share, lower_share = x - left, y - top
    corner = (np.arange(count)[:, None] * SIDE + top.astype(np.int64)) * SIDE + left.astype(np.int64)
    lower, upper = ink * lower_share, ink * (1.0 - lower_share)
    size = count * SIDE * SIDE
    sheet = np.zeros(size)
    for offset, amount in (
        (0, upper * (1.0 - right_share)),
        (1, upper * right_share),
        (SIDE, lower * (1.0 - right_share)),
        (SIDE + 1, lower * right_share),
    ):
        sheet += np.bincount((corner + offset).ravel(), amount.ravel(), size)
    return sheet.astype(np.float32).reshape(count, SIDE, SIDE)


def _blur(
    sheet: NDArray[np.float32], near: NDArray[np.float32], far: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Spread ink to the first (`near`) and second (`far`) neighbours in both directions."""
    centre = 1.0 - 2.0 * near - 2.0 * far
    for _ in range(2):
        wide = np.zeros((sheet.shape[0], SIDE, SIDE + 4), np.float32)
        wide[:, :, 2:-2] = sheet
        sheet = (
            centre * sheet
            + near * (wide[:, :, 1:-3] + wide[:, :, 3:-1])
            + far * (wide[:, :, :-4] + wide[:, :, 4:])
        )
        sheet = sheet.transpose(0, 2, 1)
    return sheet


def _ink(random: RandomState, x: Floats, y: Floats, ink: Floats) -> Bytes:
    """Turn written samples into images: uint8, (count, SIDE, SIDE)."""
    count = len(x)
    pen = random.random_sample((count, 1, 1)).astype(np.float32)
    sheet = _blur(_splat(x, y, ink), 0.19 + 0.07 * pen, 0.11 * pen * pen)
    gain = 3.6 + 7.6 * pen * uniform(random, 0.75, 1.0, (count, 1, 1)).astype(np.float32)
    darkness = uniform(random, 225.0, 300.0, (count, 1, 1)).astype(np.float32)
    sheet = np.clip(gain * (sheet - 0.08), 0.0, 1.0)
    grain = np.frombuffer(random.bytes(sheet.size), np.uint8).reshape(sheet.shape).astype(np.float32)
    return np.minimum(sheet * (darkness - 0.12 * grain), 255.0).astype(np.uint8)


def _draw(random: RandomState, count: int) -> tuple[Bytes, Bytes]:
    """Draw `count` numerals: images uint8 (count, SIDE, SIDE, 1), labels uint8 (count,)."""
    labels = balanced_labels(random, count)
    hands = random.random_sample(count)
    images = np.empty((count, SIDE, SIDE, 1), np.uint8)
    for label, texts in enumerate(TEMPLATES):
        for hand, text in enumerate(texts):
            (where,) = np.nonzero((labels == label) & (np.floor(hands * len(texts)) == hand))
            template = read_template(text)
            for start in range(0, len(where), CHUNK):
                rows = where[start : start + CHUNK]
                images[rows, :, :, 0] = _ink(random, *_write(random, template, len(rows)))
    return images, labels


def draw_digits(train_count: int = 60_000, test_count: int = 10_000) -> Drawing:
    """Draw the `digits` data set: 28 x 28 grey numerals, white ink on black paper.

    Args:
        train_count: number of train images, a multiple of ten.
        test_count: number of test images, a multiple of ten.

    Returns:
        The drawing: images uint8 (count, 28, 28, 1), labels uint8 (count,). The same counts always give
        the same bytes; a smaller drawing is not the beginning of a larger one.

    Raises:
        ConfigError: a count is not a positive multiple of ten.
    """
    return Drawing(*_draw(RandomState(11), train_count), *_draw(RandomState(12), test_count), CLASS_NAMES)
