"""Tables, bars and sketches."""

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.shared import terminal
from pipeline.core.errors import UsageError

SHARES = st.floats(0, 1)


@given(SHARES, st.integers(1, 60))
def test_a_bar_is_as_long_as_its_share(share: float, width: int) -> None:
    blocks = terminal.bar(share, width, blocks=True)
    eighths = sum("▏▎▍▌▋▊▉█".index(block) + 1 for block in blocks)
    assert abs(eighths - 8 * share * width) <= 0.5
    assert set(blocks[:-1]) <= {"█"}
    assert len(blocks) <= width
    plain = terminal.bar(share, width, blocks=False)
    assert plain == "#" * len(plain)
    assert abs(len(plain) - share * width) <= 0.5


@given(SHARES)
def test_a_percentage_claims_no_certainty(share: float) -> None:
    text = terminal.percent(share)
    assert (text == "0.00 %") == (share == 0)
    assert (text == "100.00 %") == (share == 1)
    if text[0] not in "<>":
        assert abs(float(text.removesuffix(" %")) - 100 * share) <= 0.005001


def test_percentages() -> None:
    assert [terminal.percent(share) for share in (0, 1e-9, 0.5, 0.99999, 1)] == [
        "0.00 %",
        "<0.01 %",
        "50.00 %",
        ">99.99 %",
        "100.00 %",
    ]


def test_a_profile_has_a_character_for_each_share() -> None:
    assert terminal.profile([0, 0.005, 0.02, 0.3, 0.99, 1]) == "  ▁▃██"


def test_a_table_is_aligned() -> None:
    assert terminal.table([["name", "count", ""], ["a", "1,000", "x"], ["bcdef", "2", ""]]) == [
        "name   count",
        "a      1,000  x",
        "bcdef      2",
    ]
    assert terminal.table([["ab", "c"]], left=(0, 1)) == ["ab  c"]


def test_a_sketch_takes_two_rows_of_pixels_for_a_line() -> None:
    image = [[0, 0, 0], [0, 0, 0], [255, 0, 0], [255, 60, 0], [255, 255, 128], [0, 0, 0], [0, 0, 0]]
    assert terminal.sketch(image, blocks=True) == ["█  ", "▒▒░"]
    assert terminal.sketch(image, blocks=False) == ["#  ", "::."]
    assert terminal.sketch([[0, 0]] * 4, blocks=True) == []
    assert terminal.sketch([[255]], blocks=False) == [":"]


def test_what_the_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, blocks, text in (
        ("ascii", False, "4 ? 5\n"),
        ("cp437", False, "4 · 5\n"),
        ("utf-8", True, "4 · 5\n"),
    ):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, newline=""))
        terminal.write("4 · 5")
        terminal.write_json({"ü": [1.5, None]})
        assert terminal.has_blocks() == blocks
        sys.stdout.flush()
        shown = written.getvalue().decode(encoding)
        assert shown.startswith(text)
        assert json.loads(shown.removeprefix(text)) == {"ü": [1.5, None]}


def test_a_picture_is_a_png_of_its_own(tmp_path: Path) -> None:
    terminal.check_picture(None)
    terminal.check_picture(tmp_path / "a.PNG", [tmp_path / "b.png"])
    for name in ("a", "a.jpg", "png", "a.png.txt"):
        with pytest.raises(UsageError, match="PNG"):
            terminal.check_picture(tmp_path / name)
    (tmp_path / "link.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(UsageError, match="one of the files"):
        terminal.check_picture(tmp_path / "link.png", [tmp_path / "b.png"])


def test_no_name_steers_the_terminal_or_makes_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2J\nb"
    for line in terminal.table([["class", "share"], [hostile, "1 %"]]):
        terminal.write(line)
    terminal.write(hostile)
    assert capsys.readouterr().out == "class    share\na?[2J?b    1 %\na?[2J?b\n"
    terminal.write_json({"name": hostile})
    assert capsys.readouterr().out == '{\n  "name": "a\\u001b[2J\\nb"\n}\n'
