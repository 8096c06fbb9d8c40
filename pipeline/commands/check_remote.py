"""check-remote: read every object on a DVC remote and compare it with its hash.

`dvc pull` finds a damaged object where the remote has `verify true`. But `dvc push` never replaces one: it
looks only whether an object of that name is there, and for a folder's files only whether their list is.
"""

import argparse
import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.paths import Layout

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

EXAMPLE = "check-remote --repair"

_PIECE_BYTES = 1 << 20
_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("remote", nargs="?", help="a name from `dvc remote list` (default: DVC's default)")
    parser.add_argument(
        "--repair", action="store_true", help="remove what is damaged, so that `dvc push` sends it again"
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the damaged objects, and remove them if asked to.

    Raises:
        ConfigError: there is no such remote, or it keeps files under other names than their hashes.
        PipelineError: the remote cannot be read; or something on it is damaged and stays.
    """
    from pipeline.commands.shared.terminal import write
    from pipeline.core.progress import progress

    with _remote(layout, options.remote) as objects:
        there = sorted(objects.all())  # type: ignore[no-untyped-call]  # DVC leaves some types out
        names = [name for name in there if _OBJECT.fullmatch(name)]
        paths = _outputs(layout)
        faults: dict[str, str] = {}
        lists: dict[str, dict[str, str]] = {}
        with progress(len(names), "checking the remote", "objects") as bar:
            for name in names:
                found = _md5(objects, name)
                if found != name.removesuffix(".dir"):
                    faults[name] = f"damaged, its hash is {found}"
                elif name.endswith(".dir"):
                    lists[name] = _members(objects, name)
                bar.advance()
        for name, members in lists.items():
            folder = paths.get(name, name)
            paths |= {member: f"{folder}/{path}" for member, path in members.items()}
            faults |= {member: "missing" for member in members if member not in names}
        for name, fault in faults.items():
            write(f"{paths.get(name, 'of another commit')}: {name} is {fault}")
        if options.repair:
            _remove(objects, {name for name in faults if name in names} | _lists_with(faults, lists))
    if len(there) > len(names):
        # They may also be of one that is under way: so they stay.
        count = len(there) - len(names)
        write(f"beside the objects lie {count} temporary files of interrupted pushes; they do no harm")
    if faults and not options.repair:
        raise PipelineError(
            f"{len(faults)} of {len(names)} objects are damaged or missing. To send them"
            " again, from a checkout that has them or can make them:\n"
            "pipeline check-remote --repair && dvc repro && dvc push"
        )
    if faults:
        write("made room for them; now: dvc repro && dvc push")
    else:
        write(f"{len(names)} of {len(names)} objects are as they should be")


def _lists_with(faults: Collection[str], lists: Mapping[str, Collection[str]]) -> set[str]:
    """The folders' lists that name something faulty: while they stay, DVC takes their files for there."""
    return {name for name, members in lists.items() if any(member in faults for member in members)}


@contextlib.contextmanager
def _remote(layout: Layout, name: str | None) -> Iterator["HashFileDB"]:
    """The objects on a remote; each storage's own errors in our words."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(layout.root)) as repo:
            try:
                objects = repo.cloud.get_remote_odb(name, "check-remote")
            except DvcException as error:
                raise ConfigError(f"{error}\nTo set one up: make remote URL=/media/storage") from error
            yield objects
    except PipelineError:
        raise
    except Exception as error:  # every kind of storage has error classes of its own
        text = str(error).splitlines()
        raise PipelineError(f"cannot read the remote: {text[0] if text else type(error).__name__}") from error


def _md5(objects: "HashFileDB", name: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)  # DVC's choice
    with objects.fs.open(objects.oid_to_path(name), "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _members(objects: "HashFileDB", name: str) -> dict[str, str]:
    """Hash -> path of the files in a folder, from its list."""
    with objects.fs.open(objects.oid_to_path(name), "rb") as file:
        return {entry["md5"]: entry["relpath"] for entry in json.loads(file.read())}


def _outputs(layout: Layout) -> dict[str, str]:
    """Hash -> path of what dvc.lock names."""
    from pipeline.repro.lock import read_lock

    lock = layout.root / "dvc.lock"
    recorded = read_lock(lock.read_text("utf-8")).values() if lock.is_file() else ()
    return {md5: path for stage in recorded for path, md5 in stage.outputs.items()}


def _remove(objects: "HashFileDB", names: Collection[str]) -> None:
    from dvc_data.hashfile.db import get_index

    for name in names:
        objects.fs.remove(objects.oid_to_path(name))
    # DVC remembers what it has seen on a remote, and would not look there again.
    with contextlib.closing(get_index(objects)) as seen:
        seen.clear()
