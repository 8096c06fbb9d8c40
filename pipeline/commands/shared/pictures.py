"""Image files of any common format, size and mode, as arrays."""

import io
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.atomic import explained, read_bytes
from pipeline.nn.arrays import Floats

FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What is opened: not everything that Pillow can, for some of its readers start other programs."""

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm", ".pnm"}
)
"""Names of image files end in one of these, where a folder is searched for them."""

MAXIMUM_BYTES: Final = 2**28
"""The size of a file past which it is refused unread."""

MAXIMUM_PIXELS: Final = 2**26
"""The number of pixels past which an image is refused before it is decoded."""

_LONGEST_SIDE: Final = 2000  # pixels kept of a larger image: far more than any data set's images have


def find(paths: list[Path]) -> list[Path]:
    """The image files that paths name: files as they are, of a folder those whose suffix is an image's.

    Raises:
        PipelineError: a folder cannot be read, or holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        with explained("read", path):
            inside = sorted(file for file in path.iterdir() if _is_image(file))
        if not inside:
            raise PipelineError(f"{path}: no image in this folder ({', '.join(sorted(SUFFIXES))})")
        found += inside
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read(path: Path) -> Floats:
    """An image as float32 (height, width, 4): red, green, blue and opacity, from 0 to 255.

    It is turned upright as its EXIF data say; of several frames the first is taken; a side of more than
    2,000 pixels is averaged down to at most that.

    Raises:
        PipelineError: the file is missing or cannot be read.
        FormatError: it is no image, a damaged one, or one of more than `MAXIMUM_PIXELS`.
    """
    data = read_bytes(path, maximum_bytes=MAXIMUM_BYTES)
    # Pillow warns of odd metadata, which do not matter here, and past a limit of its own of the size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check_size(path, opened)
                return _levels(opened)
        except UnidentifiedImageError:
            found = describe(data[:HEAD_BYTES])
            if found.endswith(" image"):
                raise FormatError(f"{path}: damaged image: it begins as {found} and does not go on") from None
            raise FormatError(f"{path}: expected an image ({', '.join(FORMATS)}), found {found}") from None
        except Image.DecompressionBombError:
            raise _too_large(path, "far more") from None
        except PipelineError:
            raise
        # A decoder's complaints about damaged data have many classes.
        except Exception as error:
            raise FormatError(
                f"{path}: damaged image: {shorten(str(error) or type(error).__name__)}"
            ) from error


def _check_size(path: Path, opened: Image.Image) -> None:
    if opened.width * opened.height > MAXIMUM_PIXELS:
        raise _too_large(path, f"{opened.width:,} × {opened.height:,}")


def _too_large(path: Path, found: str) -> FormatError:
    return FormatError(f"{path}: expected an image of at most {MAXIMUM_PIXELS:,} pixels, found {found}")


def _levels(opened: Image.Image) -> Floats:
    image = ImageOps.exif_transpose(opened)
    factor = -(-max(image.size) // _LONGEST_SIDE)
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_levels(image, factor)
    # Palettes, two-tone and premultiplied images cannot be averaged as they are.
    image = image.convert("RGBA")
    if factor > 1:
        image = image.reduce(factor)
    return np.asarray(image, dtype=np.float32)


def _deep_levels(image: Image.Image, factor: int) -> Floats:
    """Grey levels of more than 8 bits, as (rows, columns, 4) from 0 to 255.

    Whole numbers range to 65535, or to 255 where none is larger; others as far as they do.
    """
    grey = np.asarray(image, dtype=np.float32)
    if not np.isfinite(grey).all():
        raise ValueError("some pixels are not finite numbers")
    if factor > 1:
        grey = np.asarray(Image.fromarray(grey).reduce(factor))
    lowest, highest = float(grey.min()), float(grey.max())
    if image.mode != "F" and lowest >= 0 and highest <= 65535:  # noqa: PLR2004  (16 bits)
        lowest, highest = 0.0, 255.0 if highest <= 255 else 65535.0  # noqa: PLR2004  (8 bits)
    scaled = (grey - lowest) * (255 / max(highest - lowest, 1e-30))
    return np.stack([scaled, scaled, scaled, np.full_like(scaled, 255)], axis=-1)
