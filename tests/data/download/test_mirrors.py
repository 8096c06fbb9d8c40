"""A mirror of one's own, and what is none."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ConfigError
from pipeline.data.download.fetch import fetch
from pipeline.data.download.mirrors import MIRROR_VARIABLE, mirror_from_environment, places_of
from tests.data.download.world import CONTENT, FILE, FIRST, NAME, SECOND, World, good, status


def test_the_environment_names_a_mirror() -> None:
    assert mirror_from_environment({}) is None
    assert mirror_from_environment({MIRROR_VARIABLE: " "}) is None
    assert mirror_from_environment({MIRROR_VARIABLE: " ../data/mnist\n"}) == "../data/mnist"


@pytest.mark.parametrize("end", ["", "/"])
def test_an_own_server_goes_first_and_may_be_plain_http(world: World, end: str) -> None:
    world.server.script("own", good())
    world.fetch(FIRST, own_mirror=f"{world.server.url}/own/some%20where{end}")
    assert [seen.path for seen in world.server.seen] == [f"/own/some%20where/{NAME}"]
    world.assert_delivered()


def test_an_own_server_is_looked_into_below_the_dataset_first(world: World) -> None:
    world.server.script("own", status(404), good())
    world.fetch(FIRST, own_mirror=f"{world.server.url}/own", dataset="mnist")
    assert [seen.path for seen in world.server.seen] == [f"/own/mnist/{NAME}", f"/own/{NAME}"]
    world.assert_delivered()


@pytest.mark.parametrize(
    "form", ["path", "path/", "file:", "FILE://", "file://", "file://localhost", "quoted"]
)
@pytest.mark.parametrize("below", ["", "mnist"])
def test_an_own_folder_goes_first(world: World, tmp_path: Path, form: str, below: str) -> None:
    own = tmp_path / "my own"
    (own / below).mkdir(parents=True)
    (own / below / NAME).write_bytes(CONTENT)
    mirror = {
        "path": str(own),
        "path/": f"{own}/",
        "file:": f"file:{own}",
        "FILE://": f"FILE://{own}",
        "file://": f"file://{own}",
        "file://localhost": f"file://localhost{own}",
        "quoted": own.as_uri(),
    }[form]
    world.leave_part(CONTENT[:10])
    world.fetch(FIRST, own_mirror=mirror, dataset="mnist")
    assert not world.server.seen
    world.assert_delivered()
    assert (own / below / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("present", "text"),
    [
        (None, "no such file"),
        (b"", "has 0 bytes instead of 300000: it holds nothing (an empty file)"),
        (b"\0\0\x08\x01\0\0\0\1\7", "has 9 bytes instead of 300000: it holds idx data, unpacked; the packed"),
        (b"<html>", "has 6 bytes instead of 300000: it holds an HTML page"),
        (bytes(len(CONTENT)), "wrong checksum"),
    ],
)
def test_in_an_own_folder_too_the_checksum_decides(
    world: World, tmp_path: Path, present: bytes | None, text: str
) -> None:
    if present is not None:
        (tmp_path / NAME).write_bytes(present)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert world.told[0].startswith(f"{tmp_path / NAME}: {text}")
    world.assert_delivered()


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.parametrize(
    "near", [NAME.replace(".gz", " (1).gz"), NAME.removesuffix(".gz"), f"{NAME}.download", f"Copy of {NAME}"]
)
def test_a_file_of_nearly_the_name_is_named(world: World, tmp_path: Path, near: str, below: str) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / near).write_bytes(CONTENT)
    (tmp_path / below / "readme.txt").write_bytes(b"x")
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path), dataset=below or None)
    assert f"{tmp_path / below / NAME}: no such file, but {near} is there: rename it" in world.told[0]
    world.assert_delivered()


@pytest.mark.parametrize("scheme", ["HTTP", "Http"])
def test_the_scheme_of_an_own_mirror_may_be_in_capitals(world: World, scheme: str) -> None:
    world.server.script("own", good())
    world.fetch(FIRST, own_mirror=world.server.url.replace("http", scheme) + "/own")
    assert [seen.path for seen in world.server.seen] == [f"/own/{NAME}"]
    world.assert_delivered()


@pytest.mark.parametrize("end", ["/", f"/{NAME}"])
def test_the_scheme_of_a_mirror_may_be_in_capitals(end: str) -> None:
    (place,) = places_of(FILE, [f"HTTPS://first.test{end}"], None, None)
    assert str(place.place).lower() == f"https://first.test/{NAME}".lower()


def test_only_a_data_set_with_a_stand_in_is_told_to_use_it(world: World) -> None:
    world.server.script("first.test", status(404), status(404))
    assert "source: bundled" in str(world.fails(FIRST))
    assert "bundled" not in str(world.fails(FIRST, has_stand_in=False))


def test_in_an_own_folder_only_plain_files_are_opened(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert "no such file" in world.told[0]


def test_an_own_folder_that_cannot_be_read_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    plain_open = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (passed on as they are)
        if self == tmp_path / NAME:
            raise PermissionError(13, os.strerror(13), str(self))
        return plain_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    world.server.script("first.test", good())
    world.fetch(FIRST, own_mirror=str(tmp_path))
    assert world.told[0] == f"{tmp_path / NAME}: cannot be read: Permission denied; trying the next place"
    world.assert_delivered()


def test_an_own_mirror_alone_will_do(world: World, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    fetch(FILE, [], world.folder, own_mirror=str(tmp_path))
    world.assert_delivered()


@pytest.mark.parametrize(
    "mirror", ["ftp://user:secret@example.test/x", "s3://bucket", "file://elsewhere/data"]
)
def test_an_own_mirror_of_another_kind_is_refused(world: World, mirror: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a folder, or an http, https or file URL") as caught:
        world.fetch(own_mirror=mirror)
    assert "secret" not in str(caught.value)


def test_a_folder_of_a_user_that_there_is_not(world: World) -> None:
    with pytest.raises(ConfigError, match=r"=~nobody-of-this-name/x: there is no such user"):
        world.fetch(own_mirror="~nobody-of-this-name/x")


# What is refused


@pytest.mark.parametrize(
    "mirror", ["http://user:secret@first.test/", "ftp://first.test/", "/data/", "first.test/"]
)
def test_mirrors_are_https(world: World, mirror: str) -> None:
    with pytest.raises(ConfigError, match="expected an https URL") as caught:
        world.fetch(SECOND, mirror)
    assert "secret" not in str(caught.value)
    assert not world.server.seen


@pytest.mark.parametrize(
    ("mirrors", "own"),
    [(["https://[x:secret@y]/"], None), ([], "http://[secret"), ([], "http://x\u2100y:secret@host/")],
)
def test_a_mirror_is_a_url(tmp_path: Path, mirrors: list[str], own: str | None) -> None:
    with pytest.raises(ConfigError, match=f"{NAME}: a mirror is no URL") as caught:
        fetch(FILE, mirrors, tmp_path, own_mirror=own)
    assert "secret" not in str(caught.value)


def test_no_mirror_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no mirror"):
        fetch(FILE, [], tmp_path / "data")
    assert not (tmp_path / "data").exists()
