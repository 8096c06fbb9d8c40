"""`scenes`: small colour pictures in the shape of CIFAR-10: five landscapes and five patterns, drawn by code.

Each class has its own painter. All pictures then go through the same camera, which varies what does not tell
the class: mirroring, things in the way, direction and strength of the light, contrast, colour cast, noise.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.data.standins.drawing import Bytes, Drawing, balanced_labels, bell, uniform

SIDE: Final = 32
CHUNK: Final = 200

# float32 throughout: canvases (count, 3, SIDE, SIDE), masks (count, SIDE, SIDE), one number per picture
# (count, 1, 1), one colour per picture (count, 3, 1, 1). Any, for NumPy's stubs take float32 * 0.5 for
# float64.
Canvas = NDArray[Any]

# Pixel centres, in picture widths.
_PIXELS = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
X: Final[Canvas] = _PIXELS[None, None, :]
Y: Final[Canvas] = _PIXELS[None, :, None]

_STAR_SHARE: Final = 0.025

# Red, green, blue from 0 to 255. A sky has two colours: at the top and at the horizon.
_SKIES: Final = (
    ((70, 130, 215), (185, 215, 240)),
    ((40, 95, 180), (240, 205, 165)),
    ((95, 70, 140), (250, 150, 95)),
    ((130, 140, 155), (205, 205, 205)),
    ((20, 25, 65), (95, 80, 135)),
    ((120, 190, 215), (235, 235, 205)),
)
_GREENS: Final = ((70, 120, 60), (110, 140, 60), (55, 95, 85), (140, 125, 75), (95, 85, 110), (60, 90, 50))
_WATERS: Final = ((30, 85, 135), (40, 120, 135), (60, 75, 105), (95, 80, 110), (25, 60, 90))
_NIGHTS: Final = ((15, 18, 45), (30, 20, 60), (25, 40, 70), (60, 40, 80), (70, 95, 140), (125, 95, 125))
_BARKS: Final = ((60, 45, 35), (85, 65, 50), (40, 40, 45), (110, 95, 80), (75, 50, 60))
_WALLS: Final = ((60, 65, 85), (95, 85, 90), (120, 100, 85), (45, 45, 60), (85, 100, 110))
_CLAYS: Final = (
    (165, 80, 60),
    (150, 100, 80),
    (130, 120, 115),
    (185, 130, 90),
    (115, 70, 75),
    (95, 105, 120),
)
_BRIGHTS: Final = (
    (225, 85, 75),
    (240, 165, 60),
    (245, 220, 95),
    (110, 180, 90),
    (70, 165, 185),
    (75, 105, 195),
    (160, 95, 180),
    (235, 130, 165),
    (245, 240, 230),
    (70, 70, 80),
)


def _number(random: RandomState, count: int, low: float, high: float) -> Canvas:
    """One number per picture, evenly spread in [low, high): float32, (count, 1, 1)."""
    return uniform(random, low, high, (count, 1, 1)).astype(np.float32)


def _colour(
    random: RandomState, count: int, palette: tuple[tuple[int, int, int], ...], spread: float = 0.08
) -> Canvas:
    """One colour of the palette per picture, each varied a little: float32, (count, 3, 1, 1)."""
    chosen = np.array(palette, np.float64)[random.randint(0, len(palette), count, np.int64)] / 255.0
    varied = (
        chosen + uniform(random, -spread, spread, (count, 3)) + uniform(random, -spread, spread, (count, 1))
    )
    return varied.astype(np.float32)[:, :, None, None]


def _plain(colour: Canvas) -> Canvas:
    """A canvas of one colour per picture, or of one per line."""
    return np.broadcast_to(colour, (len(colour), 3, SIDE, SIDE)).copy()


def _paint(canvas: Canvas, mask: Canvas, colour: Canvas) -> None:
    """Lay colour over the canvas where the mask is 1, and partly where it is less."""
    canvas += mask[:, None] * (colour - canvas)


def _inside(distance: Canvas, softness: float = 1.0) -> Canvas:
    """Mask of where a distance (in picture widths) is positive, with an edge `softness` pixels wide."""
    return np.clip(SIDE / softness * distance + 0.5, 0.0, 1.0)


def _wave(phase: Canvas) -> Canvas:
    """A smooth wave of period 1 between -1 and 1, of two parabolas for want of a sine."""
    s = 2.0 * (phase - np.floor(phase)) - 1.0
    height: Canvas = 4.0 * s * (np.abs(s) - 1.0)
    return height


def _length(x: Canvas, y: Canvas) -> Canvas:
    """Length of the vectors (x, y)."""
    length: Canvas = np.sqrt(x * x + y * y)
    return length


def _direction(random: RandomState, count: int) -> tuple[Canvas, Canvas]:
    """One unit vector to the right per picture: a rational point of the circle, for want of a sine."""
    t = _number(random, count, -1.0, 1.0)
    scale = 1.0 / (1.0 + t * t)
    return (1.0 - t * t) * scale, 2.0 * t * scale


def _clouds(random: RandomState, count: int, cells: int) -> Canvas:
    """A smooth random field between 0 and 1 with `cells` patches across: float32, (count, SIDE, SIDE)."""
    field = random.random_sample((count, cells + 1, cells + 1)).astype(np.float32)
    place = _PIXELS * cells
    start = np.floor(place).astype(np.int64)
    share = place - start.astype(np.float32)
    share = share * share * (3.0 - 2.0 * share)
    rows = field[:, start] + share[:, None] * (field[:, start + 1] - field[:, start])
    clouds: Canvas = rows[:, :, start] + share * (rows[:, :, start + 1] - rows[:, :, start])
    return clouds


def _sky(random: RandomState, count: int, horizon: Canvas) -> Canvas:
    """A canvas of sky: a gradient down to the horizon, clouds, and a sun or moon somewhere."""
    hour = random.randint(0, len(_SKIES), count, np.int64)
    ends = np.array(_SKIES, np.float64)[hour] / 255.0 + uniform(random, -0.07, 0.07, (count, 2, 3))
    top, bottom = ends.astype(np.float32).transpose(1, 0, 2)[:, :, :, None, None]
    canvas = _plain(top + np.minimum(Y / horizon, 1.0)[:, None] * (bottom - top))
    veil = np.clip(_clouds(random, count, 5) * 2.0 - 1.0, 0.0, 1.0)
    _paint(
        canvas,
        veil * _number(random, count, 0.0, 0.7),
        _colour(random, count, ((250, 245, 240), (225, 215, 220))),
    )
    radius = _number(random, count, -0.06, 0.11)
    away = _length(X - _number(random, count, 0.05, 0.95), Y - horizon * _number(random, count, 0.1, 1.0))
    _paint(
        canvas,
        _inside(radius - away),
        _colour(random, count, ((255, 245, 200), (255, 215, 140), (250, 250, 250))),
    )
    return canvas


def _hills(random: RandomState, count: int) -> Canvas:
    """Ridges, one behind the other, paler with distance."""
    horizon = _number(random, count, 0.1, 0.75)
    canvas = _sky(random, count, horizon)
    haze = canvas[:, :, SIDE // 4, :1, None].copy()
    ground = _colour(random, count, _GREENS)
    height = horizon
    for distance in (0.65, 0.4, 0.15):
        broad, fine = _number(random, count, 0.5, 1.6), _number(random, count, 1.5, 4.0)
        ridge = height + _number(random, count, 0.03, 0.14) * _wave(
            X * broad + _number(random, count, 0.0, 1.0)
        )
        ridge = ridge + _number(random, count, 0.0, 0.05) * _wave(X * fine + _number(random, count, 0.0, 1.0))
        shade = ground * _number(random, count, 0.7, 1.15)[:, None]
        _paint(canvas, _inside(Y - ridge), shade + distance * (haze - shade))
        height = height + _number(random, count, 0.1, 0.24)
    return canvas


def _sea(random: RandomState, count: int) -> Canvas:
    """Water under the sky, with glitter and now and then a sail."""
    horizon = _number(random, count, 0.12, 0.85)
    canvas = _sky(random, count, horizon)
    _paint(canvas, _inside(Y - horizon), _colour(random, count, _WATERS))
    depth = np.maximum(Y - horizon, 0.0)
    # Seen at a slant, waves of one length crowd together towards the horizon.
    swell = 0.9 * (_clouds(random, count, 6) - 0.5)
    crests = _wave(_number(random, count, 0.9, 1.8) / (depth + 0.16) + swell)
    glitter = np.clip(crests * _clouds(random, count, 8) * 1.6, 0.0, 1.0)
    beside = X - _number(random, count, 0.1, 0.9)
    path = 1.0 / (1.0 + 30.0 * beside * beside)
    glitter = glitter * np.clip(path, 0.4, 1.0) * _inside(Y - horizon)
    _paint(
        canvas,
        glitter * _number(random, count, 0.3, 0.8),
        _colour(random, count, ((235, 240, 245), (255, 220, 170))),
    )
    mast, size = _number(random, count, 0.1, 0.9), _number(random, count, -0.1, 0.25)
    foot = horizon + _number(random, count, 0.02, 0.12)
    beside = np.abs(X - mast) * 2.0
    sail = np.minimum(foot - Y, size - (foot - Y) - beside)
    _paint(canvas, _inside(sail), _colour(random, count, ((250, 250, 245), (220, 80, 70), (240, 200, 110))))
    return canvas


def _forest(random: RandomState, count: int) -> Canvas:
    """Trunks, the far ones pale, under a crown of leaves."""
    canvas = _sky(random, count, _number(random, count, 0.7, 1.0))
    leaves = _colour(random, count, _GREENS)
    canvas += _number(random, count, 0.2, 0.7)[:, None] * (leaves - canvas)
    floor = _number(random, count, 0.55, 1.05)
    _paint(
        canvas, _inside(Y - floor - 0.04 * _wave(X * 2.0 + _number(random, count, 0.0, 1.0))), leaves * 0.6
    )
    bark = _colour(random, count, _BARKS)
    for trunk in range(6):
        near = 0.3 + 0.14 * trunk
        place = _number(random, count, 0.0, 1.0) + _number(random, count, -0.12, 0.12) * (Y - 0.5)
        width = near * _number(random, count, 0.025, 0.085)
        mask = _inside(width - np.abs(X - place)) * _inside(floor + 0.12 * near - Y)
        light = 1.3 - 0.4 * near + 3.0 * (X - place)
        _paint(canvas, mask * min(near + 0.2, 1.0), bark * np.clip(light, 0.6, 1.7)[:, None])
    crown = _clouds(random, count, 9) * 0.5 + _number(random, count, -0.3, 0.5) - Y
    _paint(canvas, _inside(crown, 3.0) * 0.9, leaves * (0.5 + _clouds(random, count, 12)[:, None]))
    return canvas


def _skyline(random: RandomState, count: int) -> Canvas:
    """Two rows of houses with lit windows."""
    canvas = _sky(random, count, _number(random, count, 0.6, 1.0))
    wall = _colour(random, count, _WALLS)
    lamp = _colour(random, count, ((255, 220, 130), (250, 240, 200), (180, 215, 235)))
    pictures = np.arange(count)[:, None, None]
    for near in (0.0, 1.0):
        along = X * _number(random, count, 4.0, 8.0) + _number(random, count, 0.0, 1.0)
        block = np.floor(along).astype(np.int64)
        roofs = (
            uniform(random, -0.1 + 0.2 * near, 0.35 + 0.2 * near, (count, 10))
            + uniform(random, 0.0, 0.45, (count, 1))
        ).astype(np.float32)
        tints = uniform(random, 0.75, 1.25, (count, 10)).astype(np.float32)
        mask = _inside(Y - roofs[pictures, block]) * (0.75 + 0.25 * near)
        _paint(canvas, mask, (wall * (1.25 - 0.45 * near)) * tints[pictures, block][:, None])
        across, down = along * _number(random, count, 2.0, 4.0), Y * _number(random, count, 9.0, 14.0)
        window = _inside(0.06 * _wave(across)) * _inside(0.06 * _wave(down))
        lit = random.random_sample((count, 16, 40)).astype(np.float32)
        lit = lit[pictures, np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)]
        _paint(canvas, 0.85 * mask * window * (lit < _number(random, count, 0.2, 0.9)), lamp)
    return canvas


def _moon(random: RandomState, count: int) -> Canvas:
    """A crescent among stars."""
    canvas = _plain(_colour(random, count, _NIGHTS))
    _paint(
        canvas,
        _clouds(random, count, 4) * _number(random, count, 0.1, 0.7),
        _colour(random, count, _BRIGHTS) * 0.7,
    )
    stars = random.random_sample((count, SIDE, SIDE)).astype(np.float32)
    _paint(
        canvas,
        np.where(stars < _STAR_SHARE, _number(random, count, 0.6, 1.0), np.float32(0.0)),
        _colour(random, count, ((255, 255, 250), (220, 230, 255))),
    )
    x, y = X - _number(random, count, 0.2, 0.8), Y - _number(random, count, 0.2, 0.8)
    radius = _number(random, count, 0.12, 0.36)
    across, down = _direction(random, count)
    # The lit part: a second circle, moved against the light, takes the rest away.
    shadow = _length(x + across * radius * _number(random, count, 0.2, 1.0), y + down * radius * 0.6)
    disc = _inside(radius - _length(x, y))
    crescent = disc * np.clip((shadow - radius * 0.85) * 7.0, 0.12, 1.0)
    surface = _colour(random, count, ((245, 235, 205), (240, 200, 160), (210, 220, 235), (220, 150, 130)))
    _paint(canvas, crescent, surface * (0.7 + 0.4 * _clouds(random, count, 8))[:, None])
    return canvas


def _flower(random: RandomState, count: int) -> Canvas:
    """One flower of four to seven petals in a meadow."""
    canvas = _plain(_colour(random, count, _GREENS + _WATERS))
    _paint(canvas, _clouds(random, count, 5), _colour(random, count, _GREENS + _BRIGHTS[3:7]) * 0.85)
    x, y = X - _number(random, count, 0.15, 0.85), Y - _number(random, count, 0.15, 0.85)
    away = _length(x, y) + 1e-3
    u, v = x / away, y / away
    # (u + iv) to the power n turns n times as fast: its real part, turned by a random angle, has n petals.
    real, imaginary = np.ones_like(u), np.zeros_like(u)
    petals = _number(random, count, 4.0, 8.0)
    for power in range(7):
        turn = power < np.floor(petals)
        real, imaginary = (
            np.where(turn, real * u - imaginary * v, real),
            np.where(turn, real * v + imaginary * u, imaginary),
        )
    across, down = _direction(random, count)
    outline = real * across + imaginary * down
    size = _number(random, count, 0.16, 0.42)
    edge = size * (0.68 + 0.32 * outline)
    colour = _colour(random, count, _BRIGHTS[:9])
    shade = 0.65 + 0.45 * away / size + 0.15 * outline
    _paint(canvas, _inside(edge - away), colour * np.clip(shade, 0.0, 1.2)[:, None])
    _paint(
        canvas,
        _inside(size * _number(random, count, 0.2, 0.34) - away),
        _colour(random, count, ((245, 200, 60), (90, 60, 40), (250, 240, 160))),
    )
    return canvas


def _bubbles(random: RandomState, count: int) -> Canvas:
    """Seven glassy bubbles."""
    canvas = _plain(_colour(random, count, _BRIGHTS + _WATERS + _GREENS))
    second = _colour(random, count, _BRIGHTS + _CLAYS)
    across, down = _direction(random, count)
    _paint(canvas, np.clip(0.5 + across * (X - 0.5) + down * (Y - 0.5), 0.0, 1.0), second)
    for _ in range(7):
        radius = _number(random, count, 0.04, 0.24)
        x, y = X - _number(random, count, 0.0, 1.0), Y - _number(random, count, 0.0, 1.0)
        away = _length(x, y)
        body = _inside(radius - away)
        rim = np.clip(away / radius, 0.0, 1.0)
        _paint(canvas, body * (0.25 + 0.6 * rim * rim), _colour(random, count, _BRIGHTS))
        spot = _inside(radius * 0.25 - _length(x + radius * 0.35, y + radius * 0.4))
        _paint(canvas, spot * 0.9, np.ones((1, 3, 1, 1), np.float32))
    return canvas


def _rings(random: RandomState, count: int) -> Canvas:
    """Rings around a centre, seen more or less at a slant."""
    canvas = _plain(_colour(random, count, _BRIGHTS))
    across, down = _direction(random, count)
    x, y = X - _number(random, count, 0.15, 0.85), Y - _number(random, count, 0.15, 0.85)
    squeeze = _number(random, count, 0.6, 1.0)
    away = _length(across * x + down * y, squeeze * (across * y - down * x))
    phase = away * _number(random, count, 3.0, 7.0) + _number(random, count, 0.0, 1.0)
    sharp = _number(random, count, 0.7, 4.0)
    _paint(canvas, np.clip(0.5 + sharp * _wave(phase), 0.0, 1.0), _colour(random, count, _BRIGHTS))
    return canvas


def _stripes(random: RandomState, count: int) -> Canvas:
    """Stripes of two or three colours in any direction, more or less bent."""
    canvas = _plain(_colour(random, count, _BRIGHTS))
    across, down = _direction(random, count)
    along, beside = across * X + down * Y, across * Y - down * X
    bend = _number(random, count, -0.5, 0.5) * beside * beside
    phase = (along + bend) * _number(random, count, 2.5, 6.5) + _number(random, count, 0.0, 1.0)
    sharp = _number(random, count, 0.7, 4.0)
    _paint(canvas, np.clip(0.5 + sharp * _wave(phase), 0.0, 1.0), _colour(random, count, _BRIGHTS))
    third = _inside(0.05 * (_wave(phase * 0.5) - _number(random, count, 0.6, 1.4)))
    _paint(canvas, third, _colour(random, count, _BRIGHTS))
    return canvas


def _bricks(random: RandomState, count: int) -> Canvas:
    """A wall in running bond, leaning a little."""
    canvas = _plain(_colour(random, count, ((200, 195, 185), (150, 145, 140), (95, 90, 90), (230, 220, 205))))
    lean = _number(random, count, -0.12, 0.12)
    x, y = X + lean * Y, Y - lean * X
    down = y * _number(random, count, 4.0, 8.0) + _number(random, count, 1.0, 2.0)
    row = np.floor(down)
    half = 0.5 * (row - 2.0 * np.floor(row * 0.5))
    across = x * _number(random, count, 2.2, 4.2) + half + _number(random, count, 1.0, 2.0)
    column = np.floor(across)
    joint = _number(random, count, 0.04, 0.12)
    u, v = across - column, down - row
    mask = np.minimum(np.minimum(u, 1.0 - u) * 2.0, np.minimum(v, 1.0 - v)) - joint
    mask = np.clip(mask * 7.0 + 0.4, 0.0, 1.0)
    tints = uniform(random, 0.72, 1.28, (count, 12, 8)).astype(np.float32)
    tint = tints[np.arange(count)[:, None, None], row.astype(np.int64), column.astype(np.int64)]
    _paint(canvas, mask, _colour(random, count, _CLAYS) * tint[:, None])
    return canvas


_PAINTERS: Final[dict[str, Callable[[RandomState, int], Canvas]]] = {
    "hills": _hills,
    "sea": _sea,
    "forest": _forest,
    "skyline": _skyline,
    "moon": _moon,
    "flower": _flower,
    "bubbles": _bubbles,
    "rings": _rings,
    "stripes": _stripes,
    "bricks": _bricks,
}
CLASS_NAMES: Final = tuple(_PAINTERS)


def _photograph(random: RandomState, canvas: Canvas) -> Bytes:
    """Take pictures of what was painted: uint8, (count, SIDE, SIDE, 3)."""
    count = len(canvas)
    mirrored = random.randint(0, 2, count, np.int64) == 1
    canvas[mirrored] = canvas[mirrored, :, :, ::-1]
    for _ in range(3):
        radius = _number(random, count, -0.1, 0.22)
        away = _length(
            X - _number(random, count, 0.0, 1.0),
            (Y - _number(random, count, 0.0, 1.0)) * _number(random, count, 0.5, 2.0),
        )
        _paint(
            canvas,
            _inside(radius - away, 2.0) * _number(random, count, 0.3, 0.9),
            _colour(random, count, _BRIGHTS),
        )
    across, down = _direction(random, count)
    slope = across * (X - 0.5) + down * (Y - 0.5)
    light = 1.0 + _number(random, count, -1.3, 1.3) * slope
    contrast = _number(random, count, 0.8, 1.25)
    cast = (0.06 * bell(random, (count, 3, 1, 1)) + 0.07 * bell(random, (count, 1, 1, 1))).astype(np.float32)
    canvas = (canvas * light[:, None] - 0.5) * contrast[:, None] + 0.5 + cast
    grain = np.frombuffer(random.bytes(2 * canvas.size), np.uint8).reshape(2, *canvas.shape)
    noise = grain[0].astype(np.float32) + grain[1].astype(np.float32) - 255.0
    strength = _number(random, count, 0.02, 0.22)[:, None]
    photographs: Bytes = np.clip(255.0 * canvas + strength * noise, 0.0, 255.0).astype(np.uint8)
    return photographs.transpose(0, 2, 3, 1)


def _draw(random: RandomState, count: int) -> tuple[Bytes, Bytes]:
    """Draw `count` pictures: images uint8 (count, SIDE, SIDE, 3), labels uint8 (count,)."""
    labels = balanced_labels(random, count)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for label, painter in enumerate(_PAINTERS.values()):
        (where,) = np.nonzero(labels == label)
        for start in range(0, len(where), CHUNK):
            rows = where[start : start + CHUNK]
            images[rows] = _photograph(random, painter(random, len(rows)))
    return images, labels


def draw_scenes(train_count: int = 10_000, test_count: int = 2_000) -> Drawing:
    """Draw the `scenes` data set: 32 x 32 colour pictures of the ten `CLASS_NAMES`.

    Args:
        train_count: number of train images, a multiple of ten.
        test_count: number of test images, a multiple of ten.

    Returns:
        The drawing: images uint8 (count, 32, 32, 3), labels uint8 (count,). The same counts always give
        the same bytes; a smaller drawing is not the beginning of a larger one.

    Raises:
        ConfigError: a count is not a positive multiple of ten.
    """
    return Drawing(*_draw(RandomState(21), train_count), *_draw(RandomState(22), test_count), CLASS_NAMES)
