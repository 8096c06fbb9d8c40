"""The guard: what may and what may not happen to a stage's inputs and code while it runs."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.compose import read_config
from pipeline.core import guard
from pipeline.core.errors import PipelineError
from pipeline.core.guard import unchanged
from pipeline.core.paths import Layout
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files and a subfolder with one, in the working directory."""
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (folder / name).write_text(name)
    return folder


def remove_all(folder: Path) -> None:
    for name in ("sub/c", "a", "b"):
        (folder / name).unlink()
    (folder / "sub").rmdir()
    folder.rmdir()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "a").write_text("other"), "data/a"),
        (lambda folder: (folder / "sub" / "c").write_text("C"), "data/sub/c"),
        (lambda folder: (folder / "b").unlink(), "data/b"),
        (lambda folder: (folder / "new").write_text(""), "data/new"),
        (lambda folder: (folder / "sub" / "new").write_text(""), "data/sub/new"),
        (lambda folder: (folder / "a").rename(folder / "z"), "data/a"),
        (lambda folder: ((folder / "a").unlink(), (folder / "a").mkdir()), "data/a"),
        (remove_all, "data/a"),
    ],
)
def test_a_change_is_told(folder: Path, change: Callable[[Path], object], named: str) -> None:
    with pytest.raises(PipelineError) as caught, unchanged("train@x", [folder]):
        change(folder)
    assert str(caught.value) == (
        f"{named} changed while train@x ran; nothing was recorded.\n"
        "Its outputs are of the old state: run `dvc repro` again."
    )


def test_a_single_file_is_watched(folder: Path) -> None:
    with pytest.raises(PipelineError, match=r"^data/a changed while x ran"), unchanged("x", [folder / "a"]):
        (folder / "a").write_text("other")
    with unchanged("x", [folder / "a"]):
        (folder / "b").write_text("other")


def test_a_file_that_appears_or_disappears_is_told(folder: Path) -> None:
    path = folder / "new"
    with pytest.raises(PipelineError, match=r"^data/new changed"), unchanged("x", [path]):
        path.write_text("")
    with pytest.raises(PipelineError, match=r"^data/new changed"), unchanged("x", [path]):
        path.unlink()


def test_what_is_missing_all_the_time_is_for_the_stage_to_tell(folder: Path) -> None:
    with unchanged("x", [folder / "nope"]):
        pass


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda folder: os.utime(folder / "a", (1, 1)),
        lambda folder: (folder / "a").write_text("a"),
        lambda folder: ((folder / "a").unlink(), (folder / "a").write_text("a")),
        lambda folder: ((folder / "a").write_text("other"), (folder / "a").write_text("a")),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder.parent / "elsewhere").write_text(""),
        lambda folder: (folder / "a").read_text(),
    ],
    ids=["nothing", "touched", "written", "anew", "back", "empty-folder", "elsewhere", "read"],
)
def test_what_leaves_the_inputs_as_they_were_is_fine(folder: Path, change: Callable[[Path], object]) -> None:
    with unchanged("x", [folder]):
        change(folder)


def test_a_file_elsewhere_is_named_in_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "sub")
    with pytest.raises(PipelineError) as caught, unchanged("x", [folder]):
        (folder / "a").write_text("other")
    assert str(caught.value).startswith(f"{folder / 'a'} changed while x ran")


def test_an_error_inside_is_told_instead(folder: Path) -> None:
    def fail() -> None:
        (folder / "a").write_text("other")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), unchanged("x", [folder]):
        fail()


# Code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules in place of the pipeline's own."""
    folder = tmp_path / "sample_package_of_the_guard"
    folder.mkdir()
    for name in ("__init__", "used", "unused"):
        (folder / f"{name}.py").write_text(f"NAME = '{name}'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_PACKAGE", folder)
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    yield folder
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def use(package: Path, module: str) -> None:
    importlib.import_module(f"{package.name}.{module}")


def test_a_change_of_code_in_use_is_told(package: Path) -> None:
    guard.remember_code()
    use(package, "used")
    with pytest.raises(PipelineError) as caught, unchanged("train@x", []):
        (package / "used.py").write_text("NAME = 'other'\n")
    assert str(caught.value).startswith(f"{package.name}/used.py changed while train@x ran; nothing was")


def test_a_change_before_the_code_is_imported_is_told(package: Path) -> None:
    """Whatever it is that was imported, it is not what was there when the command began."""
    guard.remember_code()
    (package / "used.py").write_text("NAME = 'other'\n")
    with pytest.raises(PipelineError, match=r"used\.py changed while x ran"), unchanged("x", []):
        use(package, "used")


def test_code_that_is_deleted_is_told(package: Path) -> None:
    guard.remember_code()
    use(package, "used")
    with pytest.raises(PipelineError, match=r"used\.py changed while x ran"), unchanged("x", []):
        (package / "used.py").unlink()


def test_code_that_is_not_in_use_may_change(package: Path) -> None:
    guard.remember_code()
    use(package, "used")
    with unchanged("x", []):
        (package / "unused.py").write_text("NAME = 'other'\n")
        (package / "new.py").write_text("")
        os.utime(package / "used.py", (1, 1))


def test_modules_without_a_file_do_not_matter(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard.remember_code()
    for name, module in (("a_module_of_none", None), ("a_module_of_a_string", "text")):
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]  # some libraries do so
    with unchanged("x", []):
        use(package, "used")


def test_all_of_the_package_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    guard.remember_code()
    root = Path(guard.__file__).parent.parent
    # The command line itself has no bearing on a result.
    assert set(guard._STARTED_WITH) == set(root.rglob("*.py")) - {root / "__main__.py"}


# The stages under their guard


def edit(path: Path) -> None:
    """Change a file, or one in a folder."""
    file = next(each for each in sorted(path.rglob("*")) if each.is_file()) if path.is_dir() else path
    file.write_bytes(file.read_bytes() + b"\n")


STAGES = ["compose", "split", "train", "evaluate", "plot"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_fails_if_any_of_its_inputs_changes(
    evaluated: Layout,
    cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    module = importlib.import_module(f"pipeline.stages.{stage}")
    config = read_config(evaluated.results("tiny").config)
    if stage == "compose":
        inputs = [evaluated.params, evaluated.conf / "optimizer" / "adam.yaml"]
    else:
        inputs = [
            evaluated.results("tiny").config,
            *module.inputs(ExperimentContext(evaluated, config, evaluated.results(config.name))),
        ]
    for path in inputs:
        monkeypatch.setattr(module, "run", lambda *_, path=path: edit(path))
        ended = cli(stage, "tiny")
        shown = path.relative_to(evaluated.root).as_posix()
        assert ended.err.startswith(f"pipeline: {shown}")
        assert f" changed while {stage}@tiny ran; nothing was recorded.\n" in ended.err
        assert ended.code == 1
    monkeypatch.setattr(module, "run", lambda *_: None)
    assert cli(stage, "tiny").code == 0


@pytest.mark.parametrize(
    ("stage", "paths"),
    [
        ("fetch", ["conf/dataset/tiny.yaml"]),
        ("parse", ["conf/dataset/tiny.yaml", "data/raw/bundled/tiny/train-labels-idx1-ubyte"]),
    ],
)
def test_a_data_stage_fails_if_any_of_its_inputs_changes(
    checkout: Layout,
    cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    paths: list[str],
) -> None:
    raw = checkout.raw("bundled", "tiny") / "train-labels-idx1-ubyte"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"")
    for path in paths:
        monkeypatch.setattr(f"pipeline.stages.{stage}.run", lambda *_, path=path: edit(checkout.root / path))
        ended = cli(stage, "tiny", "--source", "bundled")
        assert ended.err.startswith(
            f"pipeline: {path} changed while {stage}@tiny ran; nothing was recorded.\n"
        )
        assert ended.code == 1


def test_a_file_is_read_once_for_its_hash_until_it_is_touched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest, now = guard._digest, time.time_ns() + 60 * 10**9
    monkeypatch.setattr(guard, "_SEEN", {})
    monkeypatch.setattr("pipeline.core.guard.time.time_ns", lambda: now)
    monkeypatch.setattr(guard, "_digest", lambda path: (read.append(path.name), digest(path))[1])
    first = guard.content_digest(folder)
    assert guard.content_digest(folder) == first
    assert sorted(read) == ["a", "b", "c"]
    (folder / "a").write_text("another")
    assert guard.content_digest(folder) != first
    assert sorted(read) == ["a", "a", "b", "c"]


def test_a_file_that_is_written_twice_within_a_tick_of_the_clock_is_read_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now, stat = folder / "a", time.time_ns(), Path.stat
    frozen = SimpleNamespace(st_mode=0o100644, st_ino=1, st_size=5, st_mtime_ns=now, st_ctime_ns=now)
    monkeypatch.setattr(Path, "stat", lambda self, **more: frozen if self == path else stat(self, **more))
    monkeypatch.setattr(guard, "_SEEN", {})
    found = set()
    for text in ("first", "other"):
        path.write_text(text)
        found.add(guard.content_digest(path))
    assert len(found) == 2
