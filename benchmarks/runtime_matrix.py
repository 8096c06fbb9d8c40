"""The same short run in many environments, one line each with the hash of all its results.

Every line of the portable tier has to show one hash, and every line of the avx512 tier another; if not, the
exit code is 1. What is meant to differ, without AVX2 for example, has to be told by `runtime.doubts`.

    python benchmarks/runtime_matrix.py          # all of it, some minutes; the emulator is Debian's qemu-user
    python benchmarks/runtime_matrix.py --quick  # neither emulator nor other Pythons nor pictures, for CI

What is run is in fingerprint.py.
"""

import argparse
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.core import processor, runtime

ROOT: Final = Path(__file__).resolve().parent.parent
QUICK_PARTS: Final = ("drawing", "split", "components", "training")
# The emulator starts programs by the real processor: worker processes are not emulated.
EMULATED_PARTS: Final = ("drawing", "split", "components", "training", "stages")
PARTS: Final = (*EMULATED_PARTS, "workers")
# What hangs on nothing but integers and correctly rounded operations is the same even without AVX2.
EXACT_PARTS: Final = ("drawing", "split")
HASH_DIGITS: Final = 16
KERNELS: Final = ("SkylakeX", "Sandybridge", "Zen", "Cooperlake")
ABOVE_AVX2: Final = runtime.TIERS["portable"]["NPY_DISABLE_CPU_FEATURES"]
STYLE: Final = "font.size: 30\nlines.linewidth: 9\nsavefig.dpi: 30\n"


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    Attributes:
        name: what is special about it.
        tier: of the runtime.
        variables: set in the environment.
        command: the interpreter, and what it is run by.
        root: of the checkout to run.
        parts: of fingerprint.py.
        same: whether the results have to be those of the tier.
    """

    name: str
    tier: str = "portable"
    variables: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable,)
    root: Path = ROOT
    parts: Sequence[str] = PARTS
    same: bool = True


def environments(folder: Path, *, quick: bool) -> Iterator[Setting]:
    """What a user's environment may say, on this processor and with this Python."""
    parts = QUICK_PARTS if quick else PARTS
    yield Setting("as it is", parts=parts)
    thread_variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "GOTO_NUM_THREADS")
    for threads in "24" if quick else "124":
        variables = dict.fromkeys(thread_variables, threads)
        yield Setting(f"OPENBLAS_NUM_THREADS={threads}", variables=variables, parts=parts)
    for kernel in KERNELS[:2] if quick else KERNELS:
        yield Setting(f"OPENBLAS_CORETYPE={kernel}", variables={"OPENBLAS_CORETYPE": kernel}, parts=parts)
    for variables in (
        {"NPY_DISABLE_CPU_FEATURES": f"X86_V3 {ABOVE_AVX2}"},
        {"NPY_ENABLE_CPU_FEATURES": "X86_V3 X86_V4"},
        {"PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Asia/Kathmandu"},
        {"PYTHONHASHSEED": "0", "LC_ALL": "de_DE.UTF-8", "TZ": "America/Caracas"},
    ):
        name = " ".join(f"{name}={value}" for name, value in variables.items())
        yield Setting(name, variables=variables, parts=parts)
    other = folder / "another földer 数"
    for name in ("pipeline", "conf", "benchmarks"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    yield Setting(f"in the folder {other.name!r}", root=other, parts=parts)


def styles(folder: Path) -> Iterator[Setting]:
    """A user's own settings for pictures."""
    style = folder / "matplotlibrc"
    style.write_text(STYLE, "utf-8")
    yield Setting("a matplotlibrc of one's own", variables={"MATPLOTLIBRC": str(style)})


def other_pythons(given: Sequence[str], folder: Path) -> Iterator[Setting | str]:
    """Other versions of Python, each with the locked libraries; a text for one that cannot be had."""
    for version, python in sorted(found_pythons(given).items()):
        name = "Python " + ".".join(map(str, version))
        home = folder / f"python{version[0]}.{version[1]}"
        print(f"setting up {name} with the locked libraries", file=sys.stderr)
        program = str(home / "bin" / "python")
        install = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # As `make setup` does it.
        install += ["--no-build-isolation", "--require-hashes", "-r"]
        for command in (
            [python, "-m", "venv", str(home)],
            [*install, "requirements-build.lock"],
            [*install, "requirements.lock"],
        ):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  (an interpreter that was found or given)
            if done.returncode:
                yield f"{name}: cannot be set up: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
                break
        else:
            yield Setting(name, command=(program,))


def found_pythons(given: Sequence[str]) -> dict[tuple[int, int], str]:
    """Version -> interpreter, from 3.11 and other than this one."""
    names = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    pyenv = sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python"))
    found: dict[tuple[int, int], str] = {}
    for python in given or [*pyenv, *filter(None, names)]:
        command = [python, "-c", "import sys; print(*sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (the same)
        if re.fullmatch(r"\d+ \d+\n", done.stdout):
            major, minor = map(int, done.stdout.split())
            if (3, 11) <= (major, minor) != sys.version_info[:2]:
                found[major, minor] = python
    return found


def emulated(program: str | None) -> Iterator[Setting | str]:
    """Other processors, as qemu-user imitates them."""
    if program is None:
        yield "other processors: no qemu-x86_64 here (Debian: apt-get install qemu-user)"
        return
    for model in ("Haswell", "EPYC-Rome", "Skylake-Server", "max"):
        yield Setting(
            f"qemu -cpu {model}", command=(program, "-cpu", model, sys.executable), parts=EMULATED_PARTS
        )
    yield Setting(
        "qemu -cpu SandyBridge (no AVX2)",
        command=(program, "-cpu", "SandyBridge", sys.executable),
        parts=EMULATED_PARTS,
        same=False,
    )


def other_tiers(*, quick: bool) -> Iterator[Setting | str]:
    """The avx512 tier where the processor has it, the native one, and what no tier can mend."""
    parts = QUICK_PARTS if quick else PARTS
    if platform.libc_ver()[0] == "glibc":
        tunables = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"}
        yield Setting("GLIBC_TUNABLES=…=-AVX2,-FMA", variables=tunables, parts=parts, same=False)
    if processor.has(processor.AVX512):
        chosen: list[dict[str, str]] = [
            {},
            {"OPENBLAS_NUM_THREADS": "4"},
            {"OPENBLAS_CORETYPE": "Haswell"},
            {"OPENBLAS_CORETYPE": "Cooperlake"},
            {"NPY_DISABLE_CPU_FEATURES": f"X86_V3 {ABOVE_AVX2}"},
        ]
        for variables in chosen[:2] if quick else chosen:
            name = " ".join(f"{name}={value}" for name, value in variables.items()) or "as it is"
            yield Setting(name, "avx512", variables, parts=parts)
    else:
        yield "avx512: this processor has no AVX-512"
    if not quick:
        yield Setting("as it is", "native", parts=parts, same=False)


def measured(setting: Setting, arguments: Sequence[str]) -> dict[str, Any]:
    """What fingerprint.py prints under a setting; {"failure": its last line} where it fails."""
    environment = {
        **runtime.environment_before(),
        "PYTHONPATH": str(setting.root),
        "PYTHONDONTWRITEBYTECODE": "1",
        runtime.VARIABLE: setting.tier,
        **setting.variables,
    }
    done = subprocess.run(  # noqa: S603  (an interpreter, on a program of this folder)
        [*setting.command, str(setting.root / "benchmarks" / "fingerprint.py"), *arguments],
        cwd=setting.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failure": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


class Table:
    """The lines so far, and whether they are what they have to be."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.wrong: list[str] = []
        self._first: dict[tuple[str, str], str] = {}
        self._line("tier", "environment", "hash of all results", "", "seconds")

    def _line(self, tier: str, name: str, text: str, verdict: str, seconds: str) -> None:
        print(f"{tier:9} {name:{self.width}}  {text:20} {verdict:10} {seconds:>7}", flush=True)

    def skip(self, reason: str) -> None:
        """A line for what cannot be tried here."""
        print(f"{'-':9} {reason}", flush=True)

    def add(self, setting: Setting) -> None:
        """Run a setting, show it and judge it."""
        started = time.perf_counter()
        found = measured(setting, [part for name in setting.parts for part in ("--part", name)])
        seconds = f"{time.perf_counter() - started:.1f}"
        if "failure" in found:
            self.wrong.append(f"{setting.tier}, {setting.name}: {found['failure']}")
            self._line(setting.tier, setting.name, "-", "FAILED", seconds)
            return
        parts: Mapping[str, str] = found["parts"]
        # The first line of a tier sets what the others have to show, part by part.
        expected = {name: self._first.setdefault((setting.tier, name), bits) for name, bits in parts.items()}
        differing = [name for name, bits in parts.items() if bits != expected[name]]
        # Shown is one hash over the parts that every line has.
        shown = combined({name: parts[name] for name in QUICK_PARTS} | {"stages": parts.get("stages", "")})
        if setting.tier == "native":
            verdict = "free"
        elif not setting.same:
            verdict = "differs" if differing else "same"
            if differing and not found["doubts"]:
                self.wrong.append(f"{setting.name}: {', '.join(differing)} differ, and nobody is told")
            exact = [name for name in EXACT_PARTS if name in differing]
            if exact:
                self.wrong.append(f"{setting.name}: {' and '.join(exact)} should not hang on the processor")
        else:
            verdict = "DIFFERENT" if differing else "same"
            if differing:
                self.wrong.append(f"{setting.tier}, {setting.name}: {', '.join(differing)} differ")
        self._line(setting.tier, setting.name, shown, verdict, seconds)
        for doubt in found["doubts"]:
            print(f"{'':9} {'':{self.width}}  {doubt}", flush=True)


def combined(parts: Mapping[str, str]) -> str:
    """One hash over several."""
    return hashlib.sha256("".join(parts.values()).encode()).hexdigest()[:HASH_DIGITS]


def main() -> int:
    """Print the matrix; 1 where a line is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="only what is cheap")
    parser.add_argument(
        "--pythons",
        nargs="*",
        metavar="PATH",
        help="interpreters to try (default: those found)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runtime-matrix-") as name:
        folder = Path(name)
        settings: list[Setting | str] = [*environments(folder, quick=options.quick)]
        if not options.quick:
            settings += [*styles(folder), *other_pythons(options.pythons or [], folder)]
            settings += emulated(shutil.which("qemu-x86_64"))
        settings += other_tiers(quick=options.quick)
        table = Table(max(len(each.name) for each in settings if isinstance(each, Setting)))
        for setting in settings:
            if isinstance(setting, str):
                table.skip(setting)
            else:
                table.add(setting)
    print()
    for line in table.wrong:
        print(f"WRONG: {line}")
    if not table.wrong:
        print("Every line shows what it has to.")
    return int(bool(table.wrong))


if __name__ == "__main__":
    sys.exit(main())
