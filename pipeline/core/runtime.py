"""The numeric environment: which kernels NumPy and its BLAS use, fixed before NumPy is first imported.

The bits of a trained network depend on the BLAS kernel (chosen by CPU type), on the number of BLAS
threads and on NumPy's own SIMD paths. A tier fixes all three:

- ``portable``: the AVX2 kernels; the same bits on every x86-64 machine with AVX2. The default.
- ``avx512``: the AVX-512 kernels; the same bits on every machine that has them, other bits than ``portable``.
- ``native``: whatever the libraries choose; free to differ from machine to machine.

Three things are beyond a tier, for they are settled before Python starts or are not there at all: the
processor, the C library (NumPy calls its float64 exp and log) and which NumPy is installed. `doubts` looks at
what the tier has come to, down to the bits of a few results.

This module imports nothing but the standard library, for it has to run before NumPy does.
"""

import contextlib
import hashlib
import math
import multiprocessing
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.core import processor, system
from pipeline.core.errors import ConfigError
from pipeline.core.registry import check_name

VARIABLE: Final = "PIPELINE_RUNTIME"
THREADS_VARIABLE: Final = "PIPELINE_THREADS"

# NumPy's dispatched instruction sets above AVX2, as numpy._core._multiarray_umath.__cpu_dispatch__ names
# them; tests/core/test_runtime.py compares the two.
_ABOVE_AVX2: Final = ("X86_V4", "AVX512_ICL", "AVX512_SPR")
_ABOVE_AVX512: Final = ("AVX512_ICL", "AVX512_SPR")

ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "GOTO_NUM_THREADS": "1",
}
"""What keeps any build of OpenBLAS on one thread."""

TIERS: Final[Mapping[str, Mapping[str, str]]] = {
    "portable": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(_ABOVE_AVX2),
        **ONE_THREAD,
    },
    "avx512": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "NPY_DISABLE_CPU_FEATURES": " ".join(_ABOVE_AVX512),
        **ONE_THREAD,
    },
    "native": {},
}

_NEEDED: Final = {"portable": processor.AVX2, "avx512": processor.AVX512}

# The beginnings of SHA-256 over the results of `_arithmetic`. A new NumPy may change them, and then all
# outputs too: `python -c "from pipeline.core import runtime; print(runtime.arithmetic())"` prints them.
_BITS: Final[Mapping[str, Mapping[str, str]]] = {
    "portable": {
        "matrix products": "370aa21754a3b325",
        "float32 functions": "539d1c71b89923f5",
        "float64 functions": "eb6d965211faabbb",
        "Python's own functions": "4e84a6f01fb8e87e",
    },
    "avx512": {
        "matrix products": "9667d744df48100b",
        "float32 functions": "539d1c71b89923f5",
        "float64 functions": "47031d41f5fbb90d",
        "Python's own functions": "4e84a6f01fb8e87e",
    },
}

# What drawing libraries read at their import, for which there is one right value: they would draw other
# pictures, or not at all. Jupyter's MPLBACKEND names a module that is its own.
_DRAWING: Final = {"MPLBACKEND": "agg"}
_NOT_FOR_DRAWING: Final = (
    "FREETYPE_PROPERTIES",
    "MATPLOTLIBRC",
    "PILLOW_ALIGNMENT",
    "PILLOW_BLOCKS_MAX",
    "PILLOW_BLOCK_SIZE",
)

# NumPy refuses to be told both what to enable and what to disable.
_CONFLICTING: Final = ("NPY_ENABLE_CPU_FEATURES",)

_active: str | None = None
# What the environment said before the first tier changed it.
_found: dict[str, str | None] = {}


def active() -> str | None:
    """The tier this process runs on; None before the first `activate`."""
    return _active


def activate(tier: str | None = None) -> str:
    """Set the environment of `tier` for this process and its children, before NumPy is imported.

    Args:
        tier: a key of `TIERS`; by default the environment variable PIPELINE_RUNTIME, else ``portable``.

    Returns:
        The tier's name.

    Raises:
        ConfigError: the tier is unknown, or NumPy is already loaded under another one.
    """
    global _active  # noqa: PLW0603  (the environment is the process's own, and so is what was done to it)
    place = "runtime" if tier else VARIABLE
    tier = tier or os.environ.get(VARIABLE) or "portable"
    check_name(TIERS, place, tier)
    if tier == _active:
        return tier
    if "numpy" in sys.modules and _active is not None:
        raise ConfigError(
            f"runtime={tier}: NumPy is already loaded with runtime={_active}; "
            f"set {VARIABLE}={tier} in the environment instead"
        )
    _restore()
    if TIERS[tier]:
        for name in (*TIERS[tier], *_CONFLICTING):
            _found[name] = os.environ.pop(name, None)
        os.environ.update(_variables(tier))
    # Child processes (search workers) import NumPy under the same tier.
    os.environ[VARIABLE] = tier
    # A CPU without AVX-512 has nothing to disable, and NumPy warns of that.
    warnings.filterwarnings("ignore", message=".*NPY_DISABLE_CPU_FEATURES", category=ImportWarning)
    _active = tier
    return tier


def set_up() -> None:
    """Fix the environment of a process that imports the package: NumPy's tier, and what drawing reads."""
    prepare_drawing()
    # A program that imported NumPy first keeps its own environment; `doubts` then says what differs.
    if "numpy" in sys.modules:
        inherit()
    else:
        # The command line comes after this, and says in its own way that PIPELINE_RUNTIME names no tier.
        with contextlib.suppress(ConfigError):
            activate()


def prepare_drawing() -> None:
    """Keep the user's settings from libraries that draw, before they are imported; for child processes too.

    What matplotlib finds in settings files is beyond the environment: see `pipeline.report.plots.style`.
    """
    for name in _NOT_FOR_DRAWING:
        os.environ.pop(name, None)
    os.environ.update(_DRAWING)


def inherit() -> None:
    """Take over the tier of the parent process, for a worker that has NumPy loaded before this package.

    Its environment was that of the tier from the start. Where it is another, no tier becomes active.
    """
    global _active  # noqa: PLW0603  (as above)
    tier = os.environ.get(VARIABLE, "")
    if tier in TIERS and _variables(tier).items() <= os.environ.items():
        _active = tier


def _variables(tier: str) -> dict[str, str]:
    """What to set for a tier on this machine."""
    variables = dict(TIERS[tier])
    if variables and processor.has(_NEEDED[tier]) is False:
        # OpenBLAS believes what it is told, and would die of an illegal instruction.
        del variables["OPENBLAS_CORETYPE"]
    return variables


def _restore() -> None:
    """Give the variables that the tier before this one set back what they were."""
    before = environment_before()
    for name in _found:
        os.environ.pop(name, None)
        if name in before:
            os.environ[name] = before[name]
    _found.clear()


def threads() -> int:
    """How many threads a training run may use: 1 or 2. They decide how long it takes, and no bit of it.

    PIPELINE_THREADS says it; by default as many as there are processors for this process, but 1 in a process
    that another one started, such as a search's workers, which are as many as there are processors.

    Raises:
        ConfigError: the variable is no number from 1 on.
    """
    text = os.environ.get(THREADS_VARIABLE, "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"{THREADS_VARIABLE}={text}: expected a number of threads, 1 or more")
        return min(int(text), 2)
    if multiprocessing.current_process().name != "MainProcess":
        return 1
    return min(processors(), 2)


def environment_before() -> dict[str, str]:
    """The environment without what the active tier changed in it, for programs that choose a tier anew."""
    kept = {name: value for name, value in os.environ.items() if name not in _found}
    return {**kept, **{name: value for name, value in _found.items() if value is not None}}


def memory_bytes() -> int:
    """How much memory this process can have: the machine's, or what its limits and control groups leave."""
    return min([system.memory_bytes(), *_control_group_limits(Path("/"))])


def processors() -> int:
    """How many processors this process can use: those it may run on, or what its control groups leave."""
    return min([system.processors(), *_control_group_processors(Path("/"))])


def _control_group_limits(root: Path) -> Iterator[int]:
    """Memory limits of this process's control group and of those around it, as far as they can be read."""
    for group, is_first in _control_groups(root, "memory"):
        text = _text(group / ("memory.limit_in_bytes" if is_first else "memory.max"))
        if text.isdecimal():
            yield int(text)


def _control_group_processors(root: Path) -> Iterator[int]:
    """The same for processors: their time in a period, as that of whole ones, rounded up."""
    for group, is_first in _control_groups(root, "cpu"):
        if is_first:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        else:
            quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield max(math.ceil(int(quota) / int(period)), 1)


def _control_groups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """The folders of this process's control group and of those around it; whether they are of version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 has one tree for all controllers, version 1 one for each.
        top = root / (f"sys/fs/cgroup/{controller}" if controllers else "sys/fs/cgroup")
        group = top / name.lstrip("/")
        while group.is_relative_to(top):
            yield group, bool(controllers)
            group = group.parent


def _text(path: Path) -> str:
    """What is in a file of the kernel's; nothing if it is not there, or a container does not show it."""
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


def doubts() -> list[str]:
    """Why this machine may not give the bits that the active tier promises; empty where it does.

    Imports NumPy. Each entry is one readable clause.
    """
    import numpy as np  # may only be imported after activate()
    from threadpoolctl import threadpool_info  # looks at the libraries that NumPy loaded

    if _active is None:
        return [
            "no runtime tier is active: NumPy was imported before the pipeline, or PIPELINE_RUNTIME is wrong"
        ]
    if _active == "native":
        return ["runtime=native promises nothing"]
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        # Its instructions and kernels have other names: nothing more to compare.
        return [f"the processor is {platform.machine()}, not x86-64"]
    found: list[str] = []
    features = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]  # noqa: SLF001  (the only place that says which SIMD paths NumPy takes)
    if not features.get("X86_V3" if _active == "portable" else "X86_V4", False):
        found.append(f"NumPy does not use the {_NEEDED[_active]} instructions")
    blas = [library for library in threadpool_info() if library.get("user_api") == "blas"]
    kernel = TIERS[_active]["OPENBLAS_CORETYPE"]
    if not blas or any(library.get("internal_api") != "openblas" for library in blas):
        found.append("NumPy's BLAS is not OpenBLAS")
    elif any(library.get("architecture") != kernel for library in blas):
        found.append(f"OpenBLAS runs its {blas[0].get('architecture')} kernel instead of {kernel}")
    elif any(library.get("num_threads") != 1 for library in blas):
        found.append("OpenBLAS runs more than one thread")
    if found:
        return found
    others = [name for name, bits in arithmetic().items() if bits != _BITS[_active][name]]
    if others:
        found.append(
            f"{' and '.join(others)} give other bits than in the locked environment: another NumPy"
            f" (this is {np.__version__}), another C library, or GLIBC_TUNABLES"
        )
    return found


def arithmetic() -> dict[str, str]:
    """What the libraries make of a few thousand numbers: what was computed -> 16 digits of its SHA-256.

    Imports NumPy. Takes a few milliseconds. The operands come from integers alone, so they are the same
    everywhere.
    """
    import numpy as np  # may only be imported after activate()

    results: dict[str, list[bytes]] = {"matrix products": []}
    for dtype in (np.float32, np.float64):
        integers = np.arange(1, 80_001, dtype=np.uint64) * 2_654_435_761 % 2**32
        numbers: Any = (integers / 2**32 - 0.5).astype(dtype)
        wide, tall = numbers[:60_000].reshape(75, 800), numbers[:42_400].reshape(800, 53)
        products = (wide @ tall, wide.T @ (wide @ tall), np.vdot(numbers, numbers), numbers.sum())
        results["matrix products"] += [np.asarray(product).tobytes() for product in products]
        some = numbers[:10_000] * 16
        functions = (np.exp(some), np.log(np.abs(some)), np.tanh(some))
        results[f"{dtype.__name__} functions"] = [function.tobytes() for function in functions]
    powers = [(math.exp(-step / 40), 0.999 ** (step + 0.5), math.cos(step / 40)) for step in range(1000)]
    results["Python's own functions"] = [np.array(powers).tobytes()]
    return {name: hashlib.sha256(b"".join(parts)).hexdigest()[:16] for name, parts in results.items()}
