"""Files of one's own: where they are, checksums, folders as one file."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, FormatError, PipelineError
from pipeline.data import local


def make_folder(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 100)
    return root


NAMES = ["train/b/2.png", "train/a/1.png", "test/ä/1.png", "read me.txt"]


def test_a_folder_becomes_the_same_file_whenever_and_wherever_it_is_packed(tmp_path: Path) -> None:
    folders = [make_folder(tmp_path / "one" / "x", NAMES), make_folder(tmp_path / "two" / "y", NAMES[::-1])]
    make_folder(folders[1], [".hidden", ".git/config", "train/a/.1.png.tmp", "train/b/2.png~"])
    os.utime(folders[1] / NAMES[0], (1, 1))
    (folders[1] / NAMES[1]).chmod(0o600)
    packed = []
    for folder in folders:
        target = tmp_path / f"{folder.name}.tar"
        local.copy(folder, target)
        packed.append(target.read_bytes())
        assert local.checksum(target) == local.checksum(folder)
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        assert archive.getnames() == sorted(NAMES)
        for name in NAMES:
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == name.encode() * 100


def test_every_change_below_a_folder_changes_its_checksum(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "x", NAMES)
    seen = {local.checksum(folder)}
    (folder / NAMES[0]).write_bytes(b"other")
    seen.add(local.checksum(folder))
    (folder / NAMES[1]).rename(folder / "train/a/3.png")
    seen.add(local.checksum(folder))
    (folder / NAMES[2]).unlink()
    seen.add(local.checksum(folder))
    assert len(seen) == 4


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ["a/Cat.png", "a/cat.png"])
    if len(list((folder / "a").iterdir())) == 1:
        pytest.skip("this file system takes the two for one")
    with pytest.raises(FormatError, match=r"a/Cat.png and a/cat.png differ in case alone"):
        local.checksum(folder)


def test_a_link_to_a_folder_is_refused_and_one_to_a_file_is_followed(tmp_path: Path) -> None:
    make_folder(tmp_path, ["x/a/1.png", "y/b/1.png"])
    (tmp_path / "x" / "a" / "2.png").symlink_to(tmp_path / "y" / "b" / "1.png")
    (tmp_path / "x" / ".hidden").symlink_to(tmp_path / "y")
    assert [name for name, _ in local.files_in(tmp_path / "x")] == ["a/1.png", "a/2.png"]
    (tmp_path / "x" / "b").symlink_to(tmp_path / "y" / "b")
    with pytest.raises(FormatError, match=r"x/b: expected a folder, found a link to one"):
        local.checksum(tmp_path / "x")


@pytest.mark.parametrize(
    ("place", "name", "origin"),
    [
        ("x", "x.tar", "x"),
        ("x/train", "train.tar", "x/train"),
        ("x", "train.tar", "x/train"),
        ("x/read me.txt", "read me.txt", "x/read me.txt"),
        ("x", "read me.txt", "x/read me.txt"),
    ],
)
def test_a_raw_file_is_found_where_the_place_says(tmp_path: Path, place: str, name: str, origin: str) -> None:
    make_folder(tmp_path / "x", NAMES)
    assert local.find_origin(tmp_path / place, name) == tmp_path / origin


def test_a_raw_file_that_is_gone_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path / "x", NAMES)
    with pytest.raises(PipelineError, match=r"x/y.tar is missing: conf/dataset names it"):
        local.find_origin(tmp_path / "x", "y.tar")


def test_a_file_beside_the_place_is_none_of_its_files(tmp_path: Path) -> None:
    """Nothing would notice when it changes: DVC depends on the place."""
    make_folder(tmp_path, ["train.csv", "test.csv", "more/1.png"])
    for name in ("test.csv", "more.tar"):
        with pytest.raises(PipelineError, match=rf"names this file, but conf/dataset {name}; let conf/local"):
            local.find_origin(tmp_path / "train.csv", name)


def write_places(root: Path, text: str) -> None:
    (root / "conf").mkdir()
    (root / "conf" / "local.yaml").write_text(text)


def test_places_are_read_and_found(tmp_path: Path) -> None:
    make_folder(tmp_path / "x", NAMES)
    write_places(tmp_path, "local:\n  near: x\n  gone: ../nowhere/at/all\n")
    assert local.find_place(tmp_path, "near") == tmp_path / "x"
    with pytest.raises(PipelineError, match=r"nowhere/at/all is missing: conf/local.yaml says"):
        local.find_place(tmp_path, "gone")
    with pytest.raises(ConfigError, match=r"local.yaml: other is not in it; add a line `other: PATH`"):
        local.find_place(tmp_path, "other")


@pytest.mark.parametrize("text", ["local: [a]", "a: b", "- a", "local:\n  a: 1\n", "local: {a: [b]}", "a: ["])
def test_a_list_of_places_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    write_places(tmp_path, text)
    with pytest.raises(ConfigError, match=r"local\.yaml: "):
        local.read_places(tmp_path / "conf")
