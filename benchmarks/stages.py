"""Where the time of the whole run goes: a table by stage of `dvc repro` from nothing, and of a no-op.

    python benchmarks/stages.py               a clone of HEAD, DVC's cache empty; the bundled data
    python benchmarks/stages.py TARGET ...    only these stages and what they need

Each stage's process measures itself: start-up (from its start to its first line of Python), imports,
checking (the guard's hashes before and after, the code's own among them), reading and writing (whole files of
our own; what is mapped is read while computing), and computing, which is the rest. DVC is what lies between
the end of one stage's process and the start of the next: hashing and caching outputs, dvc.lock, starting.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
COLUMNS: Final = ("start-up", "imports", "checking", "reading", "computing", "writing")
NO_OPS: Final = 5

# Becomes sitecustomize.py, which Python runs before anything else: nothing in the package knows of it.
MEASURING: Final = """\
import builtins, importlib, os, sys, time

def measure():
    log, began = os.environ["STAGES_LOG"], time.clock_gettime(time.CLOCK_BOOTTIME)
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    started = ticks / os.sysconf("SC_CLK_TCK")
    seconds = dict.fromkeys(("imports", "checking", "reading", "writing"), 0.0)
    running = []

    def timed(kind, function):
        def call(*arguments, **named):
            # What runs inside another measured call is part of that one.
            if running and (kind != "imports" or running[-1] == "imports"):
                return function(*arguments, **named)
            running.append(kind)
            before = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                taken = time.perf_counter() - before
                running.pop()
                seconds[kind] += taken
                if running:
                    seconds[running[-1]] -= taken
        return call

    wrapped = set()

    def wrap():
        storage, guard = sys.modules.get("pipeline.core.files.atomic"), sys.modules.get("pipeline.core.guard")
        for module, names in (
            (storage, {"read": "reading", "map_": "reading", "write_": "writing"}),
            (guard, {"_digests": "checking", "remember_code": "checking", "_changed_code": "checking"}),
        ):
            if module is None or module.__name__ in wrapped:
                continue
            if getattr(module.__spec__, "_initializing", False):
                continue
            wrapped.add(module.__name__)
            for name, value in list(vars(module).items()):
                kind = next((kind for start, kind in names.items() if name.startswith(start)), None)
                if name == "reading" or kind is None or not callable(value):
                    continue
                if name == "_changed_code":
                    value = (lambda generator: lambda: list(generator()))(value)
                setattr(module, name, timed(kind, value))

    def importing(function):
        function = timed("imports", function)
        def call(*arguments, **named):
            module = function(*arguments, **named)
            wrap()
            return module
        return call

    builtins.__import__ = importing(builtins.__import__)
    importlib.import_module = importing(importlib.import_module)

    import atexit, json
    def report():
        row = {"stage": sys.argv[1:3], "from": started, "start-up": began - started, **seconds}
        row["to"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        with open(log, "a") as file:
            file.write(json.dumps(row) + chr(10))
    atexit.register(report)

# Not in the workers of a search, nor in DVC.
if sys.orig_argv[1:3] == ["-m", "pipeline"] and "STAGES_LOG" in os.environ:
    measure()
"""


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _print_row(name: str, cells: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


def _environment(folder: Path) -> dict[str, str]:
    """This interpreter's programs first, the clone's package, and the measuring in every process."""
    (folder / "measuring").mkdir()
    (folder / "measuring" / "sitecustomize.py").write_text(MEASURING, encoding="utf-8")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder / 'measuring'}{os.pathsep}{folder / 'clone'}",
        "STAGES_LOG": str(folder / "log"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }


def _repro(clone: Path, environment: dict[str, str], targets: list[str]) -> tuple[float, float]:
    """When `dvc repro` started and ended."""
    started = _now()
    done = subprocess.run(  # noqa: S603  (DVC, in a clone of its own)
        [sys.executable, "-m", "dvc", "repro", *targets],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return started, _now()


def _print_stages(rows: list[dict[str, Any]], started: float, ended: float) -> None:
    print(f"| stage | {' | '.join(COLUMNS)} | whole | DVC before it |")
    print(f"| --- |{' ---: |' * (len(COLUMNS) + 2)}")
    totals: dict[str, list[float]] = {}
    last = started
    for row in rows:
        whole = row["to"] - row["from"]
        row["computing"] = whole - sum(row[name] for name in COLUMNS if name != "computing")
        cells = [*(row[name] for name in COLUMNS), whole, row["from"] - last]
        last = row["to"]
        stage, name = (*row["stage"], "")[:2]
        _print_row(f"{stage}@{name}" if name else stage, cells)
        totals[stage] = [a + b for a, b in zip(totals.get(stage, [0.0] * len(cells)), cells, strict=True)]
    for stage, cells in totals.items():
        _print_row(f"**{stage}, all**", cells)
    everything = [sum(column) for column in zip(*totals.values(), strict=True)]
    everything[-1] += ended - last
    _print_row("**the whole run**", everything)
    print(f"\n`dvc repro` from nothing: {ended - started:.1f} s, {len(rows)} stages")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="stages, as dvc repro takes them")
    parser.add_argument("--folder", type=Path, help="where the clone goes, by default a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        clone = folder / "clone"
        git = shutil.which("git") or "git"
        subprocess.run([git, "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603  (git)
        environment = _environment(folder)
        started, ended = _repro(clone, environment, options.targets)
        rows = [json.loads(line) for line in (folder / "log").read_text(encoding="utf-8").splitlines()]
        _print_stages(sorted(rows, key=lambda row: row["from"]), started, ended)
        idle = []
        for _ in range(NO_OPS):
            started, ended = _repro(clone, environment, options.targets)
            idle.append(ended - started)
        python = [sys.executable, "-c", "import dvc.cli, dvc.commands.repro, dvc.repo"]
        imports = []
        for _ in range(NO_OPS):
            started = _now()
            subprocess.run(python, check=True, env=environment)  # noqa: S603  (this interpreter)
            imports.append(_now() - started)
        print(
            f"a no-op: {statistics.median(idle):.2f} s (median of {NO_OPS}), of which"
            f" {statistics.median(imports):.2f} s are Python's start and DVC's imports"
        )


if __name__ == "__main__":
    main()
