"""What differs between operating systems, and the package without what only some of them have."""

import hashlib
import importlib.util
import os
import pkgutil
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.config.schema import File
from pipeline.core import system
from pipeline.core.files import atomic
from pipeline.core.paths import Layout
from pipeline.data.download import fetch

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]

# Windows has none of these modules. `import` takes a None for a module that is not there.
HIDE = """
import sys
sys.modules.update(dict.fromkeys(["fcntl", "resource", "termios", "pwd"]))
"""
# Modules that need an extra, and which.
EXTRAS = {"pipeline.search.engines.dask": "distributed", "pipeline.search.engines.ray": "ray"}

STAGES = """
import functools
from pipeline.data import standins
from pipeline.__main__ import main
standins.DRAWINGS["digits"] = functools.partial(standins.draw_digits, 200, 100)
for command in ("fetch", "parse", "compose", "split", "train", "evaluate", "plot"):
    if main([command, "tiny"]):
        sys.exit(f"{command} failed")
sys.exit(main(["results"]))
"""


def test_every_module_can_be_imported_without_those_of_posix(python: Run) -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(pipeline.__path__, "pipeline.")
        if module.name not in EXTRAS or importlib.util.find_spec(EXTRAS[module.name])
    ]
    assert len(names) > 50
    ended = python(
        "-c", f"{HIDE}\nimport importlib\nfor name in {names}:\n    importlib.import_module(name)\n"
    )
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.slow
def test_an_experiment_runs_without_the_modules_of_posix(
    checkout: Layout, python: Run, tiny_outputs: Path
) -> None:
    params = checkout.params.read_text()
    checkout.params.write_text(params.replace("  tiny_grid: {dataset: tiny}\n", ""))
    # filelock says that it would have only soft locks, which is not what is used of it.
    ended = python("-W", "ignore::UserWarning:filelock", "-c", HIDE + STAGES, cwd=checkout.root)
    assert ended.code == 0, ended.err
    # With the same bytes as in this process, which has all modules.
    for path in tiny_outputs.iterdir():
        if path.name == "summary.json":
            assert checkout.results("tiny").summary.read_bytes() == path.read_bytes()
        else:
            assert (checkout.results("tiny").folder / path.name).read_bytes() == path.read_bytes()
    assert len(list(checkout.results("tiny").plots.glob("*.png"))) > 3
    assert "| tiny " in checkout.results_table.read_text()


def test_a_lock_is_one_openings_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    program = (
        "import os, sys, time\nfrom pipeline.core import system\n"
        "system.lock(os.open(sys.argv[1], os.O_RDWR))\nprint('held', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen(  # noqa: S603  (our own interpreter)
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        first, second = system.open_to_lock(path), system.open_to_lock(path)
        try:
            assert not system.lock(first, wait=False)
            holder.send_signal(signal.SIGKILL)
            assert system.lock(first)
            assert not system.lock(second, wait=False)
            os.close(first)
            assert system.lock(second, wait=False)
        finally:
            os.close(second)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_postponed_to_the_end_of_a_block(number: int) -> None:
    came: list[str] = []
    before = signal.signal(number, lambda *_: came.append("handled"))
    try:
        with system.postponed_signals():
            signal.raise_signal(number)
            came.append("end")
        assert came == ["end", "handled"]
        signal.raise_signal(number)
        assert came == ["end", "handled", "handled"]
        signal.signal(number, signal.SIG_IGN)
        with system.postponed_signals():
            assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_link_is_not_opened_to_be_locked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        system.open_to_lock(tmp_path / "link")


def test_memory_is_the_machines_or_what_the_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert system.memory_bytes() == machine
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5000, resource.RLIM_INFINITY))
    assert system.memory_bytes() == 5000
    monkeypatch.setitem(sys.modules, "resource", None)
    assert system.memory_bytes() == machine


@pytest.fixture
def closed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, a file that is open is neither renamed nor removed."""

    def refusing(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(path: Path, *arguments: object, **options: Any) -> Any:  # noqa: ANN401  (a method of Path)
            for descriptor in Path("/proc/self/fd").iterdir():
                if descriptor.exists() and path.exists() and descriptor.samefile(path):
                    raise PermissionError(13, "it is open", str(path))
            return change(path, *arguments, **options)

        return changed

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    monkeypatch.setattr(system, "REPLACES_OPEN_FILES", False)


@pytest.mark.usefixtures("closed_first")
def test_files_are_written_where_an_open_one_cannot_be_renamed(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        atomic.write_bytes(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("closed_first")
def test_files_are_fetched_where_an_open_one_cannot_be_renamed(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    for folder in ("mirror", "parts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mirror" / "file").write_bytes(content)
    # From what had arrived, and then from nothing.
    (tmp_path / "parts" / "file.part").write_bytes(content)
    file = File("file", len(content), hashlib.sha256(content).hexdigest())
    for name in ("resumed", "new"):
        fetched = fetch.fetch(
            file, [], tmp_path / name, part_folder=tmp_path / "parts", own_mirror=str(tmp_path / "mirror")
        )
        assert fetched.read_bytes() == content
        # The next one goes on from nothing.
        assert [path.read_bytes() for path in (tmp_path / "parts").iterdir()] == [b""]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("command", "code"), [("--help", 0), ("nonsense", 2), ("split tiny", 1), ("train name=a/b", 2)]
)
def test_a_closed_stream_is_no_fault(checkout: Layout, closed: str, command: str, code: int) -> None:
    """The command ends as it would have ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603  (a shell, for its redirections)
        ["/bin/sh", "-c", f'exec "$0" -m pipeline {command} {closed}', sys.executable],
        cwd=checkout.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert ("pipeline: " in done.stderr) == (code > 0 and "2>&-" not in closed)


def test_a_file_does_not_take_a_closed_streams_place(python: Callable[..., Any], tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nos.close(2)\nsys.stderr = None\n"
        "from pipeline.core import system; system.open_closed_streams()\n"
        f"with Path({str(tmp_path / 'file')!r}).open('w') as file:\n"
        "    os.write(2, b'from a library'); print('ours', file=sys.stderr, flush=True)\n"
    )
    assert python("-c", program).code == 0
    assert (tmp_path / "file").read_bytes() == b""
