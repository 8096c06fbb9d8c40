"""check-remote: what is damaged or missing on a remote is named and, on request, made room for."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Layout

Run = Callable[..., Any]


@pytest.fixture
def objects(checkout: Layout, tmp_path: Path) -> dict[str, Path]:
    """A remote with a file and a folder of two files; the objects by the paths of what they are."""
    storage = tmp_path / "storage"
    (checkout.root / ".dvc").mkdir()
    (checkout.root / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = true\n    analytics = false\n    remote = storage\n"
        f"['remote \"storage\"']\n    url = {storage}\n"
    )
    paths = {}

    def put(path: str, data: bytes, suffix: str = "") -> str:
        name = hashlib.md5(data).hexdigest() + suffix  # noqa: S324  (DVC's choice)
        paths[path] = storage / "files" / "md5" / name[:2] / name[2:]
        paths[path].parent.mkdir(parents=True, exist_ok=True)
        paths[path].write_bytes(data)
        return name

    members = [{"md5": put(f"folder/{name}", name.encode()), "relpath": name} for name in ("a", "b/c")]
    listed = put("folder", json.dumps(members).encode(), ".dir")
    alone = put("file", b"alone")
    outs = [{"path": "folder", "md5": listed}, {"path": "file", "md5": alone}]
    lock = {"schema": "2.0", "stages": {"x": {"cmd": "x", "outs": outs}}}
    (checkout.root / "dvc.lock").write_text(json.dumps(lock))
    put("of another commit", b"older")
    return paths


def test_nothing_is_wrong(cli: Run, objects: dict[str, Path]) -> None:
    ended = cli("check-remote")
    assert (ended.code, ended.out) == (0, f"{len(objects)} of {len(objects)} objects are as they should be\n")


@pytest.mark.parametrize(
    ("damaged", "also_removed"),
    [("file", set()), ("folder/b/c", {"folder"}), ("folder", set()), ("of another commit", set())],
)
def test_what_is_damaged_is_named_and_removed(
    cli: Run, objects: dict[str, Path], damaged: str, also_removed: set[str]
) -> None:
    objects[damaged].write_bytes(objects[damaged].read_bytes()[:-1] + b"?")
    ended = cli("check-remote")
    assert ended.code == 1
    assert ended.out.startswith(f"{damaged}: ")
    assert " is damaged, its hash is " in ended.out
    assert "pipeline: 1 of 5 objects are damaged or missing." in ended.err
    assert all(path.exists() for path in objects.values())
    ended = cli("check-remote", "--repair")
    assert (ended.code, ended.out.splitlines()[1:]) == (0, ["made room for them; now: dvc repro && dvc push"])
    # A folder's list as well: as long as it is there, DVC sends nothing of the folder.
    assert {path for path, file in objects.items() if not file.exists()} == {damaged, *also_removed}


def test_what_is_missing_of_a_folder_is_named(cli: Run, objects: dict[str, Path]) -> None:
    objects["folder/a"].unlink()
    ended = cli("check-remote")
    assert (ended.code, ended.out.split()[0], ended.out.split()[-1]) == (1, "folder/a:", "missing")
    assert cli("check-remote", "--repair").code == 0
    assert not objects["folder"].exists()


def test_what_an_interrupted_push_left_is_no_object(cli: Run, objects: dict[str, Path]) -> None:
    left = objects["file"].with_name(".FOAjzetbJBq7_BZiOh1hkQ.tmp")
    left.write_bytes(b"")
    ended = cli("check-remote", "--repair")
    assert ended.out.splitlines() == [
        "beside the objects lie 1 temporary files of interrupted pushes; they do no harm",
        f"{len(objects)} of {len(objects)} objects are as they should be",
    ]
    assert ended.code == 0
    assert left.exists()


def test_a_remote_that_is_not_there_is_bad_usage(cli: Run, objects: dict[str, Path]) -> None:
    assert objects
    ended = cli("check-remote", "nope")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("pipeline: ")
    assert "'nope'" in ended.err
    assert ended.err.endswith("To set one up: make remote URL=/media/storage\n")


def test_a_remote_out_of_reach_is_one_line(cli: Run, objects: dict[str, Path], checkout: Layout) -> None:
    assert objects
    with (checkout.root / ".dvc" / "config").open("a") as file:
        file.write("['remote \"gone\"']\n    url = ssh://nobody@127.0.0.1:9/storage\n")
    ended = cli("check-remote", "gone")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[0].startswith("pipeline: cannot read the remote: ")
