"""What size pictures have, and whether they have colours, by their headers."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from PIL import Image

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.data.pictures import FORMATS

MOST_OPENED: Final = 500
"""Pictures whose sizes are looked at."""

Opener: TypeAlias = Callable[[str], contextlib.AbstractContextManager[BinaryIO]]
"""Opens a file of a folder or archive by its name there."""

_LONGEST_SIDE: Final = 64  # pixels; larger pictures are made smaller
_SMALL: Final = 32


def opened(names: Sequence[str], open_one: Opener) -> Iterator[tuple[str, BinaryIO]]:
    """Some of the pictures, from everywhere among them, by name."""
    for name in names[:: -(-len(names) // MOST_OPENED)]:
        with open_one(name) as file:
            yield name, file


def common_shape(
    place: Path, pictures: Iterable[tuple[str, BinaryIO]], notes: list[str]
) -> tuple[int, int, int]:
    """The size that most pictures have, made smaller where it is large, and one channel if all are grey.

    Args:
        place: that holds them, for messages.
        pictures: name and contents of each.
        notes: takes what is worth telling of the sizes.

    Raises:
        FormatError: one is no picture, or there are none.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    colour = False
    for name, file in pictures:
        look = _look(file)
        if look is None:
            raise FormatError(
                f"{place}: {shorten(name)}: not a picture that can be read; remove or replace it"
            )
        sizes[look[:2]] += 1
        colour |= look[2]
    if not sizes:
        raise FormatError(f"{place}: expected pictures, found none")
    (height, width), _ = sizes.most_common(1)[0]
    if len(sizes) > 1:
        low, high = min(sizes), max(sizes)
        notes.append(
            f"pictures of {len(sizes):,} sizes, from {low[0]} × {low[1]} to {high[0]} × {high[1]}: all are"
            " resized to one"
        )
    if max(height, width) > _LONGEST_SIDE:
        factor = _SMALL / max(height, width)
        notes.append(f"most pictures are {height} × {width}: made smaller (--shape for another size)")
        height, width = max(1, round(height * factor)), max(1, round(width * factor))
    return height, width, 3 if colour else 1


def _look(file: BinaryIO) -> tuple[int, int, bool] | None:
    """Height, width and whether it has colours, as a picture's header says; None if it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as picture:
                return picture.height, picture.width, picture.mode not in {"1", "L", "LA", "I", "I;16", "F"}
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None
