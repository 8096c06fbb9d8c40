"""Plain text for a terminal: tables, bars, sketches, in the characters that the terminal can show."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.descriptions import one_line
from pipeline.core.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EIGHTHS: Final = "▏▎▍▌▋▊▉█"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_SHADES: Final = " ░▒▓█"
_PLAIN_SHADES: Final = " .:*#"


def write(text: str = "") -> None:
    """Write a line to stdout; what its encoding lacks, or what would steer it, becomes question marks.

    Raises:
        PipelineError: stdout goes to a disk that is full, and the like.
        BrokenPipeError: its reader has gone.
    """
    encoding = sys.stdout.encoding or "utf-8"
    text = one_line(text)
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise PipelineError(f"cannot write to stdout: {error.strerror}") from error


def write_lines(text: str) -> None:
    """Write several lines, as `write` does each.

    Raises:
        PipelineError: as `write`, and likewise BrokenPipeError.
    """
    for line in text.split("\n"):
        write(line)


def write_json(value: Mapping[str, Any]) -> None:
    """Write an object to stdout as JSON, in ASCII."""
    write_lines(json.dumps(value, indent=2, allow_nan=False))


def has_blocks() -> bool:
    """Whether stdout's encoding has the block characters that bars are made of."""
    try:
        (_EIGHTHS + _HEIGHTS + _SHADES).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def columns() -> int:
    """Width of the terminal in characters; 80 where there is none."""
    return shutil.get_terminal_size().columns


def check_picture(path: Path | None, inputs: Sequence[Path] = (), option: str = "--picture") -> None:
    """See that `--picture`, or another option, names a PNG file, and none of the files that are read.

    Raises:
        UsageError: it does not.
    """
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise UsageError(f"{option} {path}: the picture is written as PNG; give a name that ends in .png")
    if path.resolve() in {other.resolve() for other in inputs}:
        raise UsageError(f"{option} {path}: that is one of the files to read; give another name")


def save_picture(path: Path, figure: "Figure", classes: Sequence[str]) -> None:
    """Draw a figure into a PNG file, and say which letters of the class names its font lacks.

    Raises:
        PipelineError: it cannot be written.
    """
    from pipeline.core.files.atomic import write_bytes
    from pipeline.report.plots import style
    from pipeline.stages.plot import say_missing_glyphs

    say_missing_glyphs(classes)
    write_bytes(path, style.to_png(figure))


def table(rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Rows of cells as aligned lines, two spaces between columns; those not in `left` are right-aligned."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def percent(share: float) -> str:
    """A share from 0 to 1 in percent with two decimals, without claiming a 0 or 100 that it is not."""
    if 0 < share < 0.00005:  # would be rounded to 0.00
        return "<0.01 %"
    if 0.99995 <= share < 1:  # would be rounded to 100.00
        return ">99.99 %"
    return f"{100 * share:.2f} %"


def bar(share: float, width: int, *, blocks: bool) -> str:
    """A bar for a share from 0 to 1, `width` characters long for 1: in eighths of a block, or in "#"."""
    if not blocks:
        return "#" * round(share * width)
    eighths = round(8 * share * width)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def profile(shares: Sequence[float]) -> str:
    """Shares from 0 to 1 as a row of blocks, one character each; a share below 1 % is a blank."""
    return "".join(_HEIGHTS[min(7, int(8 * share))] if share >= 0.01 else " " for share in shares)


def sketch(rows: Sequence[Sequence[int]], *, blocks: bool) -> list[str]:
    """Grey levels from 0 to 255 in shades, a character for two rows of pixels; no empty lines around."""
    shades = _SHADES if blocks else _PLAIN_SHADES
    below = [*rows[1::2], *[[0] * len(rows[0])] * (len(rows) % 2)]
    lines = [
        "".join(shades[(4 * (upper + lower) + 255) // 510] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], below, strict=True)
    ]
    drawn = [number for number, line in enumerate(lines) if line.strip()]
    return lines[drawn[0] : drawn[-1] + 1] if drawn else []
