"""The matrix of environments: it judges its lines, and the cheap part of it holds."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import runtime_matrix as matrix

SCRIPT = Path(matrix.__file__)


def found(changes: Mapping[str, str] | None = None, *doubts: str) -> dict[str, Any]:
    parts = {"drawing": "d", "split": "s", "components": "c", "training": "t", "stages": "f"}
    return {"parts": parts | dict(changes or {}), "doubts": list(doubts)}


@pytest.mark.parametrize(
    ("result", "same", "tier", "wrong"),
    [
        (found(), True, "portable", []),
        (found({"training": "x"}), True, "portable", ["portable, second: training differ"]),
        (found({"training": "x"}, "a doubt"), True, "portable", ["portable, second: training differ"]),
        (found({"training": "x"}, "a doubt"), False, "portable", []),
        (found({"components": "x"}, "a doubt"), False, "portable", []),
        (found({"training": "x"}), False, "portable", ["second: training differ, and nobody is told"]),
        (
            found({"split": "x"}, "a doubt"),
            False,
            "portable",
            ["second: split should not hang on the processor"],
        ),
        ({"failure": "oh"}, True, "portable", ["portable, second: oh"]),
        # Another tier has bits of its own, and native none that anybody could expect.
        (found({"training": "x"}), True, "avx512", []),
        (found({"training": "x"}), False, "native", []),
    ],
)
def test_a_line_is_judged(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: dict[str, Any],
    same: bool,  # noqa: FBT001  (a column of the table)
    tier: str,
    wrong: list[str],
) -> None:
    table = matrix.Table(10)
    results = iter([found(), result])
    monkeypatch.setattr(matrix, "measured", lambda *_: next(results))
    table.add(matrix.Setting("first"))
    table.add(matrix.Setting("second", tier, same=same))
    assert table.wrong == wrong
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3 + len(result.get("doubts", []))


def test_without_the_emulator() -> None:
    (line,) = matrix.emulated(None)
    assert "no qemu-x86_64 here" in line
    settings = list(matrix.emulated("/usr/bin/qemu-x86_64"))
    assert [setting.same for setting in settings] == [True] * 4 + [False]


@pytest.mark.slow
def test_the_cheap_part_holds() -> None:
    done = subprocess.run(  # noqa: S603  (our own interpreter)
        [sys.executable, str(SCRIPT), "--quick"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SCRIPT.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    hashes = re.findall(r"^portable .* ([0-9a-f]{16}) +same ", done.stdout, re.MULTILINE)
    assert len(hashes) >= 10
    assert len(set(hashes)) == 1


@pytest.mark.slow
def test_what_is_run_has_all_its_parts() -> None:
    """Those that take long aside; the matrix itself runs them."""
    done = subprocess.run(  # noqa: S603  (this interpreter)
        [sys.executable, SCRIPT.with_name("fingerprint.py"), "--part", "workers", "--part", "split"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["parts"]) == {"workers", "split"}
