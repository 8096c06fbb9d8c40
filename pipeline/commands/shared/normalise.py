"""From a picture of any size to an image as a data set stores it. Arrays in, arrays out."""

from typing import Final

import numpy as np
from PIL import Image

from pipeline.core.errors import PipelineError
from pipeline.nn.arrays import Floats, Pixels

# How MNIST's images were made: the ink's bounding box is scaled to 20 of 28 pixels, aspect kept, and its
# centre of mass put to the middle (LeCun et al., yann.lecun.com/exdb/mnist). In its files the longer side is
# 20, and the centre of mass within half a pixel of row and column 14.
_BOX: Final = 20 / 28
_FAINTEST_BOX: Final = 0.25
"""Share of the contrast from which on a pixel counts for the bounding box: less may be a JPEG's ringing."""
_LEAST_CONTRAST: Final = 8.0
"""Grey levels of 255 below which a picture is taken for blank."""
_DARK_ENOUGH: Final = 200.0
"""Ink from which on an image that is in place is taken as it is."""
_LUMA: Final = np.array([299, 587, 114], dtype=np.float64)


def as_stored(picture: Floats, image_shape: tuple[int, int, int]) -> Pixels:
    """A picture as an image of a data set: `centred` for one channel, else resized as a whole.

    What is transparent is laid on black or on white, whichever is further from what is not.

    Args:
        picture: float (height, width, 4): red, green, blue and opacity, each from 0 to 255.
        image_shape: height, width and channels (1 or 3) of the data set's images.

    Returns:
        uint8 of `image_shape`.

    Raises:
        PipelineError: there is nothing to see in the picture, or the data set has another number of channels.
    """
    height, width, channels = image_shape
    colours = _on_paper(np.asarray(picture, dtype=np.float64))
    if channels == 1:
        return centred(_grey(colours), (height, width))[..., np.newaxis]
    if channels != 3:
        raise PipelineError(f"a picture cannot be made into an image of {channels} channels")
    bands = [_resized(colours[..., band], (height, width)) for band in range(channels)]
    return _rounded(np.stack(bands, axis=-1))


def centred(grey: Floats, size: tuple[int, int]) -> Pixels:
    """A grey picture as MNIST's images were made: light ink on black, scaled to a box, centred by its mass.

    The paper is the median of the picture's outermost pixels; ink is what differs from it, in the direction
    in which more does. A picture that is of that size and in place already is neither scaled nor moved.

    Args:
        grey: float (rows, columns), from 0 to 255, dark on light or light on dark.
        size: height and width of the image to be made.

    Returns:
        uint8 of shape `size`, the paper 0 and the darkest ink 255.

    Raises:
        PipelineError: the picture is of one shade.
    """
    ink = _ink(np.asarray(grey, dtype=np.float64))
    dark = ink > _FAINTEST_BOX * ink.max()
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    extent = (int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
    if ink.shape == size and _in_place(ink, extent):
        return _rounded(ink if ink.max() >= _DARK_ENOUGH else ink * (255 / ink.max()))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = _BOX * min(size) / max(extent)
    box = _resized(box, (max(1, round(extent[0] * factor)), max(1, round(extent[1] * factor))))
    image = np.zeros(size)
    top, left = (
        min(max(round(whole / 2 - middle), 0), whole - part)
        for whole, part, middle in zip(size, box.shape, _centre_of_mass(box), strict=True)
    )
    image[top : top + box.shape[0], left : left + box.shape[1]] = box
    return _rounded(image * (255 / image.max()))


def _in_place(ink: Floats, extent: tuple[int, int]) -> bool:
    """Whether ink is about as large, and as much in the middle, as in a data set of this kind."""
    size = ink.shape
    off = max(
        abs(middle - (whole - 0.5) / 2) for whole, middle in zip(size, _centre_of_mass(ink), strict=True)
    )
    return off <= 1 and bool(abs(max(extent) / min(size) - _BOX) <= 3 / 28)


def _centre_of_mass(ink: Floats) -> tuple[float, float]:
    total = float(ink.sum())
    return (
        float(ink.sum(axis=1) @ np.arange(ink.shape[0])) / total,
        float(ink.sum(axis=0) @ np.arange(ink.shape[1])) / total,
    )


def _ink(grey: Floats) -> Floats:
    """How much each pixel differs from the paper; 0 where it is the paper."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    lowest, highest = float(grey.min()), float(grey.max())
    if highest - lowest < _LEAST_CONTRAST:
        raise PipelineError("nothing to see: all its pixels are about the same")
    ink = np.maximum(paper - grey if paper - lowest > highest - paper else grey - paper, 0)
    # Paper is not even in a photograph; a drawing's border has no deviation, and nothing is cut there.
    unevenness = 1.5 * float(np.quantile(np.abs(border - paper), 0.95))
    ink[ink <= min(unevenness, 0.4 * ink.max())] = 0
    return np.asarray(ink)


def _grey(colours: Floats) -> Floats:
    """Luma (ITU-R BT.601) of (rows, columns, 3); exact for equal colours, whose weights are whole numbers."""
    return np.asarray(colours @ _LUMA / _LUMA.sum())


def _on_paper(picture: Floats) -> Floats:
    """(rows, columns, 3) of (rows, columns, 4): what is transparent becomes black or white."""
    colours, opacity = picture[..., :3], picture[..., 3:] / 255
    if opacity.min() == 1:
        return colours
    covered = float(opacity.sum())
    mean = float((_grey(colours) * opacity[..., 0]).sum()) / covered if covered else 0.0
    paper = 0.0 if mean > 127.5 else 255.0
    return np.asarray(colours * opacity + paper * (1 - opacity))


def _resized(band: Floats, size: tuple[int, int]) -> Floats:
    """A band (rows, columns) resampled to `size`, every pixel an average of those it covers."""
    if band.shape == size:
        return band
    source = Image.fromarray(np.ascontiguousarray(band, dtype=np.float32))
    return np.asarray(source.resize(size[::-1], Image.Resampling.HAMMING), dtype=np.float64)


def _rounded(levels: Floats) -> Pixels:
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
