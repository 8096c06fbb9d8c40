"""The ledger: what a stage ran with against what DVC recorded, in the forms that DVC and YAML give them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core import guard, ledger
from pipeline.core.errors import PipelineError
from pipeline.core.leftovers import PATTERNS
from tests.shared import git

STAGE = "compose@x"
CONF = "name: x\nclasses: [a, 'no']\nrate: 1e-3\nplain:\nmore: {a: 1, b: true}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in (
        ("pipeline/metrics.py", "old"),
        ("pipeline/nn/a.py", "a"),
        ("pipeline/nn/b.py", "b"),
        ("conf/dataset/x.yaml", CONF),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def record(root: Path, *, output: str = "outputs/x/config.yaml") -> None:
    """What DVC writes into dvc.lock, of what there is now."""
    hashes = ledger.look(root)["hashes"]
    nn = ledger._hash(hashes, "pipeline/nn")  # DVC itself is asked in test_dvc.py
    (root / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  {STAGE}:\n    cmd: python -m pipeline compose x\n    deps:\n"
        "    - path: data/parsed\n      hash: md5\n      md5: 00.dir\n"
        f"    - path: pipeline/metrics.py\n      hash: md5\n      md5: {hashes['pipeline/metrics.py']}\n"
        f"    - path: pipeline/nn\n      hash: md5\n      md5: {nn}\n"
        "    params:\n      conf/dataset/x.yaml:\n        classes:\n        - a\n        - no\n"
        f"        rate: {'0.001' if '1e-3' in (root / 'conf/dataset/x.yaml').read_text() else '0.2'}\n"
        "        plain: null\n        more.b: true\n        more:\n          a: 1\n          b: true\n"
        f"    outs:\n    - path: {output}\n      hash: md5\n      md5: 00\n"
    )


def pending(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "runs/ran").iterdir())


def test_what_agrees_is_forgotten(root: Path) -> None:
    ledger.leave(root, STAGE, ledger.look(root))
    ledger.check(root)  # DVC has recorded nothing yet
    assert pending(root) == [f"{STAGE}.json"]
    record(root)
    ledger.check(root, STAGE)  # it runs again
    assert pending(root) == [f"{STAGE}.json"]
    ledger.check(root)
    assert pending(root) == []


EDITS: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "pipeline/metrics.py").write_text("new"), "pipeline/metrics.py"),
    (lambda root: (root / "pipeline/nn/b.py").unlink(), "pipeline/nn"),
    (lambda root: (root / "pipeline/nn/c.py").touch(), "pipeline/nn"),
    (
        lambda root: (root / "conf/dataset/x.yaml").write_text(CONF.replace("1e-3", "0.2")),
        "rate in conf/dataset/x.yaml",
    ),
]


@pytest.mark.parametrize(("edit", "named"), EDITS)
def test_an_edit_in_the_gap_is_told_until_the_stage_has_run_again(
    root: Path, edit: Callable[[Path], object], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger._say_once.cache_clear()
    ledger.leave(root, STAGE, ledger.look(root))
    edit(root)
    record(root)
    said = (
        f"dvc.lock: {named} was edited after {STAGE} had run and before DVC recorded it, so its results are"
        f" of the former contents; run: dvc repro --force --single-item {STAGE}"
    )
    for running, inputs in ((None, []), ("train@x", [root / "outputs/x/config.yaml"])):
        with pytest.raises(PipelineError) as caught:
            ledger.check(root, running, inputs)
        assert str(caught.value) == said
    # A stage that needs nothing of it goes on, so that two of them can both be run again.
    ledger.check(root, "train@y", [root / "outputs/y/config.yaml"])
    assert capsys.readouterr().err == said + "\n"
    ledger.leave(root, STAGE, ledger.look(root))
    ledger.check(root)


def test_what_is_left_over_is_in_no_hash(root: Path) -> None:
    before = ledger.look(root)
    for name in ("metrics.py~", ".metrics.py.swp", "nn/#a.py#", "nn/__pycache__/a.pyc"):
        (root / "pipeline" / name).parent.mkdir(exist_ok=True)
        (root / "pipeline" / name).touch()
    (root / "pipeline/nn/.#a.py").symlink_to("nobody@nowhere.1")
    assert ledger.look(root) == before


@pytest.mark.parametrize("length", range(10, 600, 50))
def test_a_lock_file_that_is_being_written_says_nothing(root: Path, length: int) -> None:
    ledger.leave(root, STAGE, ledger.look(root))
    (root / "pipeline/metrics.py").write_text("new")
    record(root)
    text = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(text[: min(length, text.index("    outs:"))])
    ledger.check(root)
    assert pending(root) == [f"{STAGE}.json"]


def test_what_came_with_a_commit_is_of_another_run(root: Path) -> None:
    ledger.leave(root, STAGE, ledger.look(root))
    (root / "pipeline/metrics.py").write_text("someone else's")
    record(root)
    for arguments in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "x"]):
        git(root, *arguments)
    ledger.check(root)
    assert pending(root) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hashes": 1', "\0"])
def test_a_damaged_record_says_nothing(root: Path, text: str) -> None:
    record(root)
    (root / "runs/ran").mkdir(parents=True)
    (root / "runs/ran" / f"{STAGE}.json").write_text(text)
    ledger.check(root)


def test_only_stages_of_dvc_leave_records(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_STARTED_WITH", {})
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with guard.unchanged(STAGE, []):
        pass
    assert not (root / "runs").exists()
    monkeypatch.setenv("DVC_STAGE", STAGE)
    monkeypatch.setenv("DVC_ROOT", str(root))
    with guard.unchanged(STAGE, []):
        pass
    found = json.loads((root / "runs/ran" / f"{STAGE}.json").read_text())
    assert found["texts"] == {"conf/dataset/x.yaml": CONF}
    assert sorted(found["hashes"]) == [
        "conf/dataset/x.yaml",
        "pipeline/metrics.py",
        "pipeline/nn/a.py",
        "pipeline/nn/b.py",
    ]


def test_dvc_leaves_out_what_the_guard_leaves_out() -> None:
    lines = (Path(__file__).resolve().parents[2] / ".dvcignore").read_text().splitlines()
    ignored = [line.removeprefix("\\") for line in lines if not line.startswith(("# ", "/"))]
    assert sorted(ignored) == sorted(PATTERNS)
