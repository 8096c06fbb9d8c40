"""What the processor has: told by the C library, by the kernel, or not at all."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.core import processor

ROOT = Path(__file__).resolve().parents[2]
FEATURES = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]  # the only list of what this processor has
HASWELL = "flags\t\t: fpu sse2 fma avx avx2 bmi2\n"


def test_what_numpy_finds_is_found() -> None:
    if processor.has(processor.AVX2) is None:
        pytest.skip("neither this C library nor this kernel tells")
    assert processor.has(processor.AVX2) == FEATURES["X86_V3"]


def test_the_c_library_and_the_kernel_agree() -> None:
    for instructions in (processor.AVX2, processor.AVX512):
        told = processor._by_c_library(instructions)
        if told is None:
            pytest.skip("this C library does not tell")
        assert processor._by_kernel(instructions, Path("/proc/cpuinfo")) == told


def test_another_c_library_leaves_it_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert processor._by_c_library(processor.AVX2) is None
    seen: list[Path] = []
    monkeypatch.setattr(processor, "_by_kernel", lambda _, path: seen.append(path))
    assert processor.has(processor.AVX2) is None
    assert seen == [Path("/proc/cpuinfo")]


@pytest.mark.parametrize(
    ("text", "avx2", "avx512"),
    [
        (HASWELL, True, False),
        (HASWELL.replace(" fma", ""), False, False),
        (HASWELL.replace(" avx2", " avx512f"), False, False),
        (HASWELL + "avx512dq\n", True, False),
        (HASWELL.replace("\n", " avx512f avx512dq avx512cd avx512bw avx512vl\n"), True, True),
        ("Features\t: fp asimd\n", None, None),
        ("", None, None),
    ],
)
def test_what_the_kernel_says(tmp_path: Path, text: str, avx2: bool | None, avx512: bool | None) -> None:  # noqa: FBT001  (expected values)
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}power management:\n")
    assert processor._by_kernel(processor.AVX2, path) is avx2
    assert processor._by_kernel(processor.AVX512, path) is avx512


def test_a_system_without_the_file(tmp_path: Path) -> None:
    assert processor._by_kernel(processor.AVX2, tmp_path / "cpuinfo") is None


def test_numpy_is_not_loaded_for_it() -> None:
    program = (
        "import sys\nfrom pipeline.core import processor\nprocessor.has('AVX2')\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)  # noqa: S603  (our own interpreter)
