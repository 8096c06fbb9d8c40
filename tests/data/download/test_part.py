"""Going on where a download ended."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from pipeline.config.schema import File
from pipeline.data.download.fetch import Limits
from tests.data.download.world import (
    CONTENT,
    FIRST,
    HALF,
    NAME,
    SECOND,
    TAG,
    Request,
    World,
    drops,
    good,
    some_bytes,
    status,
)


def test_a_dropped_download_goes_on_where_it_ended(world: World) -> None:
    world.server.script("first.test", drops(1000), drops(2000), good())
    world.fetch()
    world.assert_delivered()
    ranges = [request.headers.get("Range") for request in world.server.seen]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]
    # The second answer brought no ETag, and was in answer to the first one's.
    assert [request.headers.get("If-Range") for request in world.server.seen] == [None, TAG, TAG]


def test_a_later_run_goes_on_where_the_former_ended(world: World) -> None:
    world.server.script("first.test", drops(HALF), status(404))
    world.fails()
    assert world.part.read_bytes() == CONTENT[:HALF]
    assert json.loads(world.record.read_text()) == {
        "mirror": f"https://first.test/files/{NAME}",
        "validator": TAG,
    }
    world.server.script("first.test", good())
    world.told.clear()
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[-1].headers["Range"] == f"bytes={HALF}-"
    assert world.server.seen[-1].headers["If-Range"] == TAG
    assert world.told[0] == f"{NAME}: going on at 150.0 kB"


def test_a_date_identifies_a_file_without_a_strong_tag(world: World) -> None:
    date = "Wed, 04 Mar 2026 05:06:07 GMT"

    def behave(request: Request) -> None:
        request.head(200, Content_Length=len(CONTENT), ETag='W/"weak"', Last_Modified=date)
        request.body(CONTENT[:HALF])
        request.hang_up()

    world.server.script("first.test", behave, good(tag=None))
    world.fetch()
    world.assert_delivered()
    assert world.server.seen[1].headers["If-Range"] == date


def test_a_file_that_changed_is_sent_anew(world: World) -> None:
    world.leave_part(bytes(HALF), validator='"state-0"')
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 1
    assert not world.pauses


def test_a_file_that_changed_is_noticed_where_the_server_does_not_care(world: World) -> None:
    rest = CONTENT[HALF:]
    world.leave_part(bytes(HALF), validator='"state-0"')
    world.server.script(
        "first.test",
        status(206, rest, Content_Range=f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", ETag=TAG),
        good(),
    )
    world.fetch()
    world.assert_delivered()
    assert "changed its file" in world.told[1]
    assert "Range" not in world.server.seen[1].headers


def test_an_ignored_range_starts_from_nothing(world: World) -> None:
    world.leave_part(CONTENT[:HALF])
    world.server.script("first.test", status(200, CONTENT))
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 1


def test_a_server_may_send_less_than_the_rest(world: World) -> None:
    def behave(request: Request) -> None:
        start = request.range_start()
        piece = CONTENT[start : start + 100_000]
        content_range = f"bytes {start}-{start + len(piece) - 1}/{len(CONTENT)}"
        request.head(206, Content_Range=content_range, Content_Length=len(piece), ETag=TAG)
        request.body(piece)

    world.leave_part(CONTENT[:50_000])
    world.server.script("first.test", behave)
    world.fetch()
    world.assert_delivered()
    assert len(world.server.seen) == 3


def test_another_mirror_goes_on_where_the_first_ended(world: World) -> None:
    world.server.script("first.test", drops(HALF), status(404))
    world.server.script("second.test", good(tag='"another"'))
    world.fetch(FIRST, SECOND)
    world.assert_delivered()
    (request,) = world.server.requests("second.test")
    assert request.headers["Range"] == f"bytes={HALF}-"
    assert "If-Range" not in request.headers


@pytest.mark.parametrize("validator", [TAG, None, '"state-0"'])
@pytest.mark.parametrize("host", ["first.test", "second.test"])
def test_a_bad_beginning_is_not_blamed_on_the_mirror_that_adds_the_rest(
    world: World, host: str, validator: str | None
) -> None:
    world.leave_part(bytes(HALF), host=host, validator=validator)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()


@pytest.mark.parametrize(
    "record", ["", "{", "[]", '"x"', '{"mirror": 1}', "\x00", '{"validator": "a\\r\\nb"}']
)
def test_a_damaged_record_is_ignored(world: World, record: str) -> None:
    world.part.write_bytes(CONTENT[:HALF])
    world.record.write_text(record)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert "If-Range" not in world.server.seen[0].headers


def test_a_part_that_is_the_whole_file_needs_no_network(world: World) -> None:
    world.leave_part(CONTENT)
    world.fetch()
    assert not world.server.seen
    world.assert_delivered()


@pytest.mark.parametrize("part", [b"", bytes(len(CONTENT)), CONTENT + b"x", bytes(2 * len(CONTENT))])
def test_a_part_of_no_use_is_discarded(world: World, part: bytes) -> None:
    world.leave_part(part)
    world.server.script("first.test", good())
    world.fetch()
    world.assert_delivered()
    assert "Range" not in world.server.seen[0].headers


def test_attempts_that_bring_the_file_forward_do_not_count(world: World) -> None:
    content = some_bytes(6 * 2**20)
    file = File(NAME, len(content), hashlib.sha256(content).hexdigest())
    world.server.script("first.test", drops(2**20, content))
    world.fetch(file=file, limits=Limits(attempts=2))
    assert (world.folder / NAME).read_bytes() == content
    assert len(world.server.seen) == 6


def test_attempts_that_only_repeat_the_beginning_do_count(world: World) -> None:
    content = some_bytes(3 * 2**20)
    file = File(NAME, len(content), hashlib.sha256(content).hexdigest())
    world.server.script("first.test", drops(2**21, content, ranges=False))
    world.fails(file=file, limits=Limits(attempts=3))
    assert len(world.server.seen) == 3


def test_parts_may_wait_elsewhere(world: World, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting" / "mnist"
    world.server.script("first.test", drops(HALF), status(404))
    world.fails(part_folder=waiting)
    assert sorted(path.name for path in waiting.iterdir()) == [f"{NAME}.part", f"{NAME}.part.json"]
    assert not list(world.folder.iterdir())
    world.server.script("first.test", good())
    world.fetch(part_folder=waiting)
    world.assert_delivered()
    assert not list(waiting.iterdir())


def test_parts_may_wait_on_another_file_system(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(18, os.strerror(18))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    world.server.script("first.test", good())
    world.fetch(part_folder=tmp_path / "waiting")
    world.assert_delivered()
    assert not list((tmp_path / "waiting").iterdir())
