"""Writes on a full, read-only or forbidden disk, and writers that are killed: the old file or the new."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import system
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic
from pipeline.core.paths import Layout
from pipeline.stages import plot
from tests.shared import files_of_at_most

ROOT = Path(__file__).resolve().parent.parent


# Commands


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("fetch tiny --source official", "data/raw/official/tiny/train-images-idx3-ubyte"),
        ("train tiny", "outputs/tiny/parameters.pkl"),
        ("plot tiny", "outputs/tiny/plots/training_curves.png"),
    ],
)
def test_a_command_that_cannot_write_ends_in_one_line_and_does_it_later(
    evaluated: Layout,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
    cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    output: str,
) -> None:
    """One for each way of writing: a download, the arrays of a stage, a folder of pictures."""
    monkeypatch.setenv("PIPELINE_MIRROR", str(tiny.raw))
    draw = plot._figures
    monkeypatch.setattr(plot, "_figures", lambda context: itertools.islice(draw(context), 1))
    path = evaluated.root / output
    assert cli(*command.split()).code == 0
    right = path.read_bytes()
    path.write_bytes(b"old")
    with files_of_at_most(1000):  # room for what is said, not for the file
        ended = cli(*command.split())
    (line,) = [line for line in ended.err.splitlines() if line.startswith("pipeline: ")]
    assert re.match(r"pipeline: cannot (read or )?write \S+: File too large", line)
    assert "Traceback" not in ended.err
    assert ended.code == 1
    # Only a download has something to go on from.
    left = [file for file in evaluated.root.rglob("*") if file.name.endswith((".tmp", ".part"))]
    assert bool(left) == command.startswith("fetch")
    assert path.read_bytes() == b"old"
    assert cli(*command.split()).code == 0
    assert path.read_bytes() == right


# Killed writers

# Forks writers that are killed at the Nth line of core/files that they run, until one gets to the end.
KILLED = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from pipeline.core.files import arrays, atomic

def npy(path, value):
    with arrays.atomic_npy(path, (500,), "f8") as writer:
        writer.write_rows(0, np.full(500, value))

writers = {
    "text": lambda path, value: atomic.write_text(path, f"{value}\\n" * 3000),
    "arrays": lambda path, value: arrays.write_arrays(path, a=np.full(500, value)),
    "npy": npy,
}
write, folder = writers[sys.argv[1]], Path(sys.argv[2])
path = folder / "file"
atomic.write_bytes(folder / "other", b"x")
contents = []
for value in (1.0, 2.0):
    write(path, value)
    contents.append(path.read_bytes())

def in_child(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]

def killed_at(line, value):
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if "/pipeline/core/files/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    write(path, value)
    sys.settrace(None)

states, most_left, line = [], 0, 0
while True:
    line += 1
    write(path, 1.0)
    status = in_child(lambda: killed_at(line, 2.0))
    states.append(contents.index(path.read_bytes()) if path.read_bytes() in contents else -1)
    most_left = max(most_left, len(os.listdir(folder)))
    if status == 0:
        break
    assert status == signal.SIGKILL
print(json.dumps({"states": states, "most_left": most_left}))
write(path, 1.0)
print(*sorted(os.listdir(folder)))
"""


# One for each way into the temporary file; all other writers are made of these.
@pytest.mark.parametrize("writer", ["text", "arrays", "npy"])
def test_killed_at_any_line_a_writer_leaves_the_old_file_or_the_new(
    python: Callable[..., Any], tmp_path: Path, writer: str
) -> None:
    memory = Path("/dev/shm")  # noqa: S108  (a folder below it; there the flush to the disk takes no time)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        ended = python("-c", KILLED, writer, folder)
    assert ended.code == 0, ended.err
    first, last = ended.out.splitlines()
    found = json.loads(first)
    # First the old one, from some line on the new one.
    assert found["states"] == sorted(found["states"])
    assert set(found["states"]) == {0, 1}
    assert len(found["states"]) > 30
    # The next write of the same file removes what a killed one left behind.
    assert found["most_left"] == 3
    assert last == "file other"


def test_writers_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    """What another is writing is no leftover."""
    path = tmp_path / "file"
    with atomic.atomic_write(path) as first:
        first.write(b"first")
        atomic.write_bytes(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  (hidden files count)


def test_only_leftovers_of_the_same_file_are_removed(tmp_path: Path) -> None:
    kept = [
        ".other.0123456789ab.tmp",
        ".file.tmp",
        ".file.0123456789abc.tmp",
        "file.0123456789ab.tmp",
        ".fileX",
    ]
    for name in [*kept, ".file.0123456789ab.tmp"]:
        (tmp_path / name).write_bytes(b"x")
    atomic.write_bytes(tmp_path / "file", b"x")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "file"])  # noqa: PTH208  (hidden files count)


def test_a_file_that_is_taken_for_a_leftover_before_it_is_locked_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_lock = system.lock
    taken = []

    def lock(descriptor: int, *, wait: bool = True) -> bool:
        if not taken:
            (leftover,) = tmp_path.iterdir()
            leftover.unlink()
            taken.append(leftover)
        return real_lock(descriptor, wait=wait)

    monkeypatch.setattr(system, "lock", lock)
    atomic.write_bytes(tmp_path / "file", b"x")
    assert len(taken) == 1
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lock(*_: object, **__: object) -> bool:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(system, "lock", lock)
    (tmp_path / ".file.0123456789ab.tmp").write_bytes(b"x")
    atomic.write_bytes(tmp_path / "file", b"x")
    # Nobody knows whether that one is being written.
    assert sorted(os.listdir(tmp_path)) == [".file.0123456789ab.tmp", "file"]  # noqa: PTH208  (hidden files count)


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """With `cache.type symlink` or `hardlink` that is DVC's cache."""
    cached = tmp_path / "cached"
    cached.write_bytes(b"old")
    (tmp_path / "soft").symlink_to(cached)
    (tmp_path / "hard").hardlink_to(cached)
    for name in ("soft", "hard"):
        atomic.write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert cached.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["--version"], ""),  # without a buffer argparse does not look whether its text is written
        (["show", "--dataset", "tiny", "--index", "0"], ""),
        (["show", "--dataset", "tiny", "--index", "0"], "1"),
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(
    parsed: Any,  # noqa: ANN401  (of conftest.py)
    arguments: list[str],
    unbuffered: str,
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(  # noqa: S603  (our own program)
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=parsed.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    *_, line = done.stderr.splitlines()
    assert line == "pipeline: cannot write to stdout: No space left on device"
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


# No other writes

WRITING_METHODS = {
    "write_text",
    "write_bytes",
    "savefig",
    "tofile",
    "savetxt",
    "touch",
    "symlink_to",
    "rename",
}
WRITING_FUNCTIONS = {
    *("numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.savetxt", "numpy.memmap"),
    *(
        "json.dump",
        "pickle.dump",
        "shutil.copy",
        "shutil.copy2",
        "shutil.copyfile",
        "shutil.copytree",
        "shutil.move",
    ),
    *("os.rename", "os.replace", "os.write", "os.mkfifo", "os.link", "os.symlink"),
    *("tempfile.mkstemp", "tempfile.NamedTemporaryFile", "zipfile.ZipFile", "tarfile.open", "gzip.open"),
}
# What else writes, and why it may.
ALLOWED = {
    ("pipeline/core/files/atomic.py", "temporary.open"): "the temporary file of an atomic write",
    ("pipeline/core/files/arrays.py", "zipfile.ZipFile"): "reads; or writes into the file of an atomic write",
    ("pipeline/core/files/arrays.py", "np.memmap"): "read-only",
    ("pipeline/core/files/arrays.py", "self.write_bytes"): "into the file of an atomic write",
    ("pipeline/core/files/arrays.py", "archive.open"): "into the file of an atomic write",
    ("pipeline/stages/train/resume.py", "self.path.open"): "a log, every line of which has its checksum",
    ("pipeline/data/formats/zips.py", "zipfile.ZipFile"): "reads",
    ("pipeline/data/local.py", "tarfile.open"): "into the file of an atomic write",
    (
        "pipeline/data/download/part.py",
        "path.open",
    ): "an unfinished download, renamed once its checksum is right",
    ("pipeline/commands/shared/runs.py", "(folder / LOG).open"): "a log, line by line as a run goes on",
    (
        "pipeline/commands/shared/runs.py",
        "(journal / f'{job.number}.json').write_text",
    ): "in a temporary folder, to be read again",
    ("pipeline/core/system.py", "os.fdopen"): "a stream that goes nowhere",
    ("pipeline/repro/clone.py", "log.open"): "in verify's temporary folder",
    ("pipeline/repro/clone.py", "(folder / 'config.local').write_text"): "in verify's temporary folder",
    ("pipeline/repro/clone.py", "python.write_text"): "in verify's temporary folder",
    ("pipeline/repro/committed.py", "before.write_bytes"): "in a temporary folder, to be read again",
}


def called(function: ast.expr) -> str:
    return ast.unparse(function)


def writes_in(source: str) -> Iterator[str]:
    """Calls that write to a file, or might."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = called(node.func)
        last = name.rpartition(".")[2]
        full = re.sub(r"^np\.", "numpy.", name)
        if last in {"open", "fdopen"} and name not in {"os.open", "Image.open"}:
            modes = [
                node.args[0 if "." in name and not name.startswith(("io.", "os.")) else 1 :],
                node.keywords,
            ]
            texts = [ast.unparse(each) for group in modes for each in group]
            if any(re.search(r"""(?:^|=)['"][^'"]*[wxa+]""", text) for text in texts):
                yield name
        elif name == "os.open":
            if re.search(r"O_(WRONLY|RDWR|CREAT)", ast.unparse(node)) and "os.devnull" not in ast.unparse(
                node
            ):
                yield name
        elif ("." in name and last in WRITING_METHODS) or full in WRITING_FUNCTIONS:
            yield name


def test_a_read_is_no_write() -> None:
    assert not list(writes_in("path.open()\npath.open('rb')\nopen(path)\nos.open(os.devnull, os.O_WRONLY)"))


def test_every_write_of_the_package_is_atomic() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        for name in writes_in(path.read_text())
    }
    assert found == set(ALLOWED)


def test_an_error_of_a_leftover_does_not_hinder_a_write(tmp_path: Path) -> None:
    (tmp_path / ".file.0123456789ab.tmp").mkdir()
    atomic.write_bytes(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
    (tmp_path / "folder").mkdir()
    with pytest.raises(PipelineError, match=r"^cannot write .*/folder: Is a directory$"):
        atomic.write_bytes(tmp_path / "folder", b"x")
