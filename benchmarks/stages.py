"""Where the time of a run goes: `dvc repro` from nothing by stage, and the loop of change and look.

    python benchmarks/stages.py                       a clone of HEAD, DVC's cache empty; the bundled data
    python benchmarks/stages.py TARGET ...            only these stages and what they need
    python benchmarks/stages.py --before COMMIT ...   the loop in a clone of that commit too, in turn

The loop is what a user does again and again: one value of mnist_two_layer changed in three ways, and a run
without a change. Processor seconds are of all processes, and hardly depend on what else a machine does.

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
EXPERIMENT: Final = "mnist_two_layer"
RATES: Final = (0.2, 0.3, 0.4)  # of the ways below; each trains anew

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


def _clone(folder: Path, commit: str) -> tuple[Path, dict[str, str]]:
    """A clone of a commit, and an environment: this interpreter's programs first, and the clone's package."""
    clone = folder / "clone"
    git = shutil.which("git") or "git"
    subprocess.run([git, "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603  (git)
    for command in (
        ["checkout", "--quiet", commit],
        # `dvc exp run` commits.
        ["config", "user.name", "benchmark"],
        ["config", "user.email", "benchmark@localhost"],
    ):
        subprocess.run([git, *command], cwd=clone, check=True)  # noqa: S603  (git)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }
    # Each process would compile all that it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return clone, environment


def _measuring(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment with the measuring in every process, which writes to `folder`/log."""
    (folder / "measuring").mkdir()
    (folder / "measuring" / "sitecustomize.py").write_text(MEASURING, encoding="utf-8")
    path = f"{folder / 'measuring'}{os.pathsep}{environment['PYTHONPATH']}"
    return {**environment, "PYTHONPATH": path, "STAGES_LOG": str(folder / "log")}


def _run(clone: Path, environment: dict[str, str], *command: str) -> tuple[float, float]:
    """Seconds and processor seconds that a module of Python's takes in a clone."""
    started, before = _now(), os.times()
    done = subprocess.run(  # noqa: S603  (DVC or the pipeline, in a clone of its own)
        [sys.executable, "-m", *command],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    after = os.times()
    processor = after.children_user - before.children_user + after.children_system - before.children_system
    return _now() - started, processor


def _loop(clone: Path, environment: dict[str, str], targets: list[str]) -> dict[str, tuple[float, float]]:
    """Seconds and processor seconds of each way to change a value and look, and of changing nothing."""
    target, key = f"plot@{EXPERIMENT}", "optimizer.learning_rate"
    no_ops = [_run(clone, environment, "dvc", "repro", *targets) for _ in range(NO_OPS)]
    definition = clone / "conf" / "experiment" / f"{EXPERIMENT}.yaml"
    original = definition.read_text(encoding="utf-8")
    definition.write_text(f"{original}\noptimizer:\n  learning_rate: {RATES[0]}\n", encoding="utf-8")
    edited = _run(clone, environment, "dvc", "repro", target)
    definition.write_text(original, encoding="utf-8")
    change = f"++experiments.{EXPERIMENT}.{key}={RATES[1]}"
    return {
        "`dvc exp run -S …`": _run(clone, environment, "dvc", "exp", "run", "-S", change, target),
        "an edit in conf/, `dvc repro`": edited,
        "`pipeline train`": _run(
            clone, environment, "pipeline", "train", f"experiment={EXPERIMENT}", f"{key}={RATES[2]}"
        ),
        f"no change, `dvc repro` (median of {NO_OPS})": (
            statistics.median(seconds for seconds, _ in no_ops),
            statistics.median(processor for _, processor in no_ops),
        ),
    }


def _print_loops(loops: dict[str, dict[str, tuple[float, float]]]) -> None:
    heads = [f"{name}, {unit}" for unit in ("s", "processor s") for name in loops]
    print(f"\n| change and look | {' | '.join(heads)} |")
    print(f"| --- |{' ---: |' * len(heads)}")
    for way in next(iter(loops.values())):
        _print_row(way, [times[way][unit] for unit in (0, 1) for times in loops.values()])


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
    parser.add_argument("--before", metavar="COMMIT", help="measure the loop at this commit too")
    parser.add_argument("--folder", type=Path, help="where the clones go, by default a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        clones = {}
        for label, commit in (("before", options.before), ("now", "HEAD")):
            if commit:
                folder = Path(name) / label
                folder.mkdir()
                clones[label] = _clone(folder, commit)
        if options.before:
            _run(*clones["before"], "dvc", "repro", *options.targets)
        clone, environment = clones["now"]
        started = _now()
        _run(clone, _measuring(clone.parent, environment), "dvc", "repro", *options.targets)
        ended = _now()
        rows = [json.loads(line) for line in (clone.parent / "log").read_text(encoding="utf-8").splitlines()]
        _print_stages(sorted(rows, key=lambda row: row["from"]), started, ended)
        _print_loops({label: _loop(*where, options.targets) for label, where in clones.items()})


if __name__ == "__main__":
    main()
