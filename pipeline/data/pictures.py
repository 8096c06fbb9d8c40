"""Image files of any common format, size and mode, as arrays.

What a few bytes of a picture ask of a decoder has no bound: scans of a JPEG, tiles of a TIFF, text of a PNG.
So a `Decoder` is a process of its own, whose time and memory the system limits.
"""

import io
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.core import system
from pipeline.core.descriptions import HEAD_BYTES, describe, shorten
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.atomic import explained, read_bytes

Floats: TypeAlias = np.ndarray[Any, Any]

FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What is opened: not everything that Pillow can, for some of its readers start other programs."""

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm", ".pnm"}
)
"""Names of image files end in one of these, where a folder is searched for them."""

MAXIMUM_BYTES: Final = 2**26
"""The size of a file past which it is refused unread."""

MAXIMUM_PIXELS: Final = 2**26
"""The number of pixels past which an image is refused before it is decoded."""

MAXIMUM_SECONDS: Final = 3
"""Processor time after which the decoding of one image is given up."""

MAXIMUM_MEMORY: Final = 400 * 2**20
"""Bytes that decoding may take, the decoder's own program included."""

_LONGEST_SIDE: Final = 1000  # pixels kept of a larger image: far more than any data set's images have


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


class Decoder:
    """A process that decodes images one after the other; started for the first and after a failure.

    Used as ``with decoder() as images``.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path) -> Floats:
        """An image as float32 (height, width, 4): red, green, blue and opacity, from 0 to 255.

        It is turned upright as its EXIF data say; of several frames the first is taken; a side of more than
        1,000 pixels is averaged down to at most that.

        Raises:
            PipelineError: the file is missing or cannot be read.
            FormatError: it is no image, a damaged one, or one that takes more than `MAXIMUM_PIXELS`,
                `MAXIMUM_SECONDS` or `MAXIMUM_MEMORY`.
        """
        return self.decode(read_bytes(path, maximum_bytes=MAXIMUM_BYTES), path)

    def decode(self, data: bytes, path: Path) -> Floats:
        """What `read` gives for an image file that holds `data`; `path` names it in messages.

        Raises:
            FormatError: see `read`.
        """
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603  (this module)
                # -P: a picture's folder may hold a file called numpy.py.
                [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libtiff writes there of every flaw
            )
        process = self._process
        try:
            _send(process.stdin, data)
            height, width = _SHAPE.unpack(_received(process.stdout, _SHAPE.size))
            answer = _receive(process.stdout)
        except (BrokenPipeError, EOFError):
            raise FormatError(f"{path}: {_end(self._stopped())}") from None
        if height == 0:
            raise FormatError(f"{path}: {answer.decode()}")
        return np.frombuffer(answer, np.float32).reshape(height, width, 4)

    def _stopped(self) -> int:
        """The exit code of the process, whose pipes are closed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with process:
            process.kill()
            system.close_input(process)
        return process.returncode

    def close(self) -> None:
        """End the process."""
        self._stopped()


@contextmanager
def decoder() -> Iterator[Decoder]:
    """A `Decoder`, whose process ends with the block."""
    made = Decoder()
    try:
        yield made
    finally:
        made.close()


def _end(code: int) -> str:
    """Why a decoder's process ended."""
    if system.ran_out_of_time(code):
        return (
            f"expected an image that is decoded in {MAXIMUM_SECONDS} s; this one takes longer: save it anew"
        )
    return f"damaged image: its decoder ended with code {code}"


# Between the two processes: messages with their length before them; the decoder's begin with the height and
# width of an image, or with zeros before the words that refuse it.
_LENGTH: Final = struct.Struct("<Q")
_SHAPE: Final = struct.Struct("<LL")


def _send(stream: IO[bytes] | None, data: bytes) -> None:
    assert stream is not None  # noqa: S101  (a pipe)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> bytes:
    (length,) = _LENGTH.unpack(_received(stream, _LENGTH.size))
    return _received(stream, length)


def _received(stream: IO[bytes] | None, count: int) -> bytes:
    assert stream is not None  # noqa: S101  (a pipe)
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve() -> None:
    """Decode what comes over stdin until it ends: what a decoder's process runs."""
    system.limit_memory(MAXIMUM_MEMORY)
    while True:
        try:
            data = _receive(sys.stdin.buffer)
        except EOFError:
            return
        system.limit_processor_time(MAXIMUM_SECONDS)
        try:
            levels = decode(data)
        except FormatError as error:
            answer, shape = str(error).encode(), (0, 0)
        else:
            answer, shape = levels.tobytes(), levels.shape[:2]
        sys.stdout.buffer.write(_SHAPE.pack(*shape))
        _send(sys.stdout.buffer, answer)
        del data, answer


def decode(data: bytes) -> Floats:
    """An image as `Decoder.read` gives it, decoded in this process, without limits of time and memory.

    Raises:
        FormatError: it is no image, a damaged one, or one of more than `MAXIMUM_PIXELS`.
    """
    # Pillow warns of odd metadata, which do not matter here, and past a limit of its own of the size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check_size(opened)
                return _levels(opened)
        except UnidentifiedImageError:
            found = describe(data[:HEAD_BYTES])
            if found.endswith(" image"):
                raise FormatError(f"damaged image: it begins as {found} and does not go on") from None
            raise FormatError(f"expected an image ({', '.join(FORMATS)}), found {found}") from None
        except Image.DecompressionBombError:
            raise _too_large("far more") from None
        except PipelineError:
            raise
        # A decoder's complaints about damaged data have many classes.
        except Exception as error:
            if isinstance(error, MemoryError) or "memory" in str(error):
                raise FormatError(
                    f"expected an image that is decoded in {MAXIMUM_MEMORY // 2**20} MiB; this one takes"
                    " more: make it smaller"
                ) from None
            raise FormatError(f"damaged image: {shorten(str(error) or type(error).__name__)}") from error


def _check_size(opened: Image.Image) -> None:
    if opened.width * opened.height > MAXIMUM_PIXELS:
        raise _too_large(f"{opened.width:,} × {opened.height:,}")


def _too_large(found: str) -> FormatError:
    return FormatError(f"expected an image of at most {MAXIMUM_PIXELS:,} pixels, found {found}")


def _levels(opened: Image.Image) -> Floats:
    # A JPEG can be decoded at an eighth of its size; other formats know nothing of it.
    opened.draft(None, (_LONGEST_SIDE, _LONGEST_SIDE))
    image = ImageOps.exif_transpose(opened)
    factor = -(-max(image.size) // _LONGEST_SIDE)
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_levels(image, factor)
    if factor > 1 and image.mode in {"L", "RGB"} and "transparency" not in image.info:
        image, factor = image.reduce(factor), 1
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
    if image.mode != "F" and lowest >= 0 and highest <= 65535:
        lowest, highest = 0.0, 255.0 if highest <= 255 else 65535.0
    scaled = (grey - lowest) * (255 / max(highest - lowest, 1e-30))
    return np.stack([scaled, scaled, scaled, np.full_like(scaled, 255)], axis=-1)
