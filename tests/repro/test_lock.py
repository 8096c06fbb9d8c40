"""dvc.lock is put in order beside DVC's own processes."""

import subprocess
import sys
import threading
from pathlib import Path

import dvc.lock
import pytest
from dvc.repo import Repo

from pipeline.core.errors import FormatError
from pipeline.repro.lock import Recorded, lock_text, read_lock, sort_lock

TEXT = """\
schema: '2.0'
stages:
  fetch@tiny:
    cmd: python -m pipeline fetch tiny
    deps:
    - path: pipeline/data/download/fetch.py
      hash: md5
      md5: aa
      size: 3
    outs:
    - path: data/raw/tiny
      hash: md5
      md5: bb.dir
      size: 9
      nfiles: 2
  train@x:
    cmd: python -m pipeline train x
    deps:
    - path: data/raw/tiny
      hash: md5
      md5: bb.dir
    params:
      outputs/x/config.yaml:
        seed: 0
        text: ${not.resolved}
    outs:
    - path: outputs/x/parameters.pkl
      md5: cc
"""


FIRST = "  first:\n    cmd: a\n"
SECOND = "  second:\n    cmd: b\n"
THIRD = "  third:\n    cmd: c\n"
HEAD = "schema: '2.0'\nstages:\n"
ORDER = ["first", "second", "third"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of DVC's, without git."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "project"
    root.mkdir()
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], cwd=root, check=True)
    return root


def test_what_dvc_writes_meanwhile_is_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "dvc.lock").write_text(HEAD + SECOND + FIRST)
    waits = threading.Event()
    monkeypatch.setattr(dvc.lock.time, "sleep", lambda _: waits.set() or released.wait(60))
    released = threading.Event()
    sorting = threading.Thread(target=sort_lock, args=(project, ORDER))
    with Repo(str(project)) as repo, repo.lock:
        sorting.start()
        assert waits.wait(60)
        (project / "dvc.lock").write_text(HEAD + SECOND + THIRD + FIRST)
    released.set()
    sorting.join(60)
    assert lock_text(project) == HEAD + FIRST + SECOND + THIRD


def test_what_is_in_order_is_left_alone(tmp_path: Path) -> None:
    """Without asking DVC, which would know no such folder."""
    assert lock_text(tmp_path) == ""
    sort_lock(tmp_path, ORDER)
    assert not (tmp_path / "dvc.lock").exists()
    (tmp_path / "dvc.lock").write_text(HEAD + FIRST + SECOND)
    sort_lock(tmp_path, ORDER)
    assert lock_text(tmp_path) == HEAD + FIRST + SECOND


def test_what_a_lock_says() -> None:
    lock = read_lock(TEXT)
    assert lock == {
        "fetch@tiny": Recorded(
            "python -m pipeline fetch tiny",
            {"pipeline/data/download/fetch.py": "aa"},
            {},
            {"data/raw/tiny": "bb.dir"},
        ),
        "train@x": Recorded(
            "python -m pipeline train x",
            {"data/raw/tiny": "bb.dir"},
            {"outputs/x/config.yaml": {"seed": 0, "text": "${not.resolved}"}},
            {"outputs/x/parameters.pkl": "cc"},
        ),
    }
    assert read_lock("schema: '2.0'\n") == {}


@pytest.mark.parametrize(
    "text", ["[]", "stages: [1]", "stages: {a: {}}", "stages: {a: {cmd: b, outs: [c]}}", "{"]
)
def test_what_is_no_lock(text: str) -> None:
    with pytest.raises(FormatError, match=r"^mine: not what DVC writes: "):
        read_lock(text, "mine")
