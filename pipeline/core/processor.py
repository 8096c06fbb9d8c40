"""Which vector instructions the processor has, told without NumPy: a BLAS kernel that it lacks is fatal.

This module imports nothing but the standard library: `pipeline.core.runtime` needs it before NumPy is loaded.
"""

import ctypes
import re
from pathlib import Path
from typing import Final

AVX2: Final = "AVX2"
AVX512: Final = "AVX-512"

# As Linux names them; the C library numbers their places in what CPUID says.
_FLAGS: Final = {
    AVX2: {"avx2", "fma"},
    AVX512: {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"},
}
# (leaf, word, bit): word 0 to 3 for what the processor has in eax, ebx, ecx, edx, 4 to 7 for what of that the
# operating system lets programs use. https://sourceware.org/glibc/manual/latest/html_node/X86.html
_BITS: Final = {
    # The first word, for GLIBC_TUNABLES can take AVX2 away from the C library, but not from the BLAS.
    AVX2: ((0, 2, 12), (0, 2, 27), (1, 1, 5)),
    AVX512: ((1, 5, 16), (1, 5, 17), (1, 5, 28), (1, 5, 30), (1, 5, 31)),
}


def has(instructions: str) -> bool | None:
    """Whether the processor has `AVX2` (with FMA) or `AVX512`; None where nothing here can tell."""
    found = _by_c_library(instructions)
    return _by_kernel(instructions, Path("/proc/cpuinfo")) if found is None else found


def _by_c_library(instructions: str) -> bool | None:
    """What glibc 2.33 and later says on x86. It alone is right in an emulator, whose kernel is the host's."""
    try:
        # By its name as a text: two underscores before a name mean privacy in Python alone.
        leaf = getattr(ctypes.CDLL(None), "__x86_get_cpuid_feature_leaf")
    except (AttributeError, OSError, TypeError):  # another C library, another processor
        return None
    leaf.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    leaf.argtypes = (ctypes.c_uint32,)
    return all(leaf(number).contents[word] >> bit & 1 for number, word, bit in _BITS[instructions])


def _by_kernel(instructions: str, path: Path) -> bool | None:
    """What Linux says of the first processor."""
    try:
        found = re.search(r"^flags\s*:(.*)$", path.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else _FLAGS[instructions] <= set(found[1].split())
