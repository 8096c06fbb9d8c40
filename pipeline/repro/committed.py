"""How an output of a fresh run differs from the committed one, as far as that is still at hand."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import PipelineError
from pipeline.core.files import arrays, parameters, tables
from pipeline.core.lockfile import bytes_hash, file_hash, folder_hash
from pipeline.core.paths import Layout
from pipeline.repro.clone import Clone, git, run_program
from pipeline.repro.difference import (
    Difference,
    array_difference,
    byte_difference,
    folder_difference,
    json_difference,
    table_difference,
    text_difference,
)
from pipeline.repro.jobs import dvc
from pipeline.repro.outcome import Row, State


@dataclass(frozen=True)
class Committed:
    """The committed outputs: in git by their bytes, else by their hash, and perhaps in the checkout.

    Attributes:
        layout: of the checkout.
        clone: of its last commit.
    """

    layout: Layout
    clone: Clone

    def in_git(self, output: str) -> bytes | None:
        """The bytes of an output in git; None for one that is not there."""
        try:
            return git(self.clone.root, "show", f"HEAD:./{output}")
        except PipelineError:
            return None

    def file(self, output: str, md5: str | None) -> bytes | None:
        """The bytes with this hash, from the checkout, its DVC cache or git; None where nobody has them."""
        for path in (self.layout.root / output, self._cached(md5)):
            if path is not None and path.is_file() and file_hash(path) == md5:
                return path.read_bytes()
        data = self.in_git(output)
        return data if data is not None and bytes_hash(data) == md5 else None

    def folder(self, output: str, md5: str | None) -> dict[str, str] | None:
        """The folder with this hash as path -> hash; None where nobody has it."""
        found = folder_hashes(self.layout.root / output)
        if folder_hash(found) == md5:
            return found
        path = self._cached(md5)
        if path is None or not path.is_file():
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}

    def _cached(self, md5: str | None) -> Path | None:
        """Where the checkout's DVC cache keeps what has this hash."""
        if md5 is None:
            return None
        try:
            printed = run_program(dvc("cache", "dir"), self.layout.root)
        except PipelineError:  # its own settings are damaged
            return None
        return Path(os.fsdecode(printed.removesuffix(b"\n"))) / "files" / "md5" / md5[:2] / md5[2:]


def explain(committed: Committed, row: Row) -> str:
    """How an output differs from the committed one, in one line."""
    if row.state is State.MISSING:
        return "the run did not make it"
    if row.state is State.UNRECORDED:
        return "the committed dvc.lock does not have it"
    found = committed.clone.root / row.output
    if found.is_dir():
        return _explain_folder(committed, row, found)
    if row.lock_agrees:
        how = _explain_file(committed.in_git(row.output), row.committed, found)
        return f"as dvc.lock says, but not as in git: {how}"
    return _explain_file(committed.file(row.output, row.committed), row.committed, found)


def _explain_folder(committed: Committed, row: Row, found: Path) -> str:
    before = committed.folder(row.output, row.committed)
    if before is None:
        return f"committed md5 {row.committed}; its files are not at hand, only the hash"
    difference = folder_difference(before, folder_hashes(found))
    if difference is None:
        return f"the same files, but not by the hash: committed md5 {row.committed}"
    place = difference.place
    if place not in before or not (found / place).is_file():
        return str(difference)
    inside = _explain_file(
        committed.file(f"{row.output}/{place}", before[place]), before[place], found / place
    )
    return f"{difference.count:,} of {difference.total:,} files differ; {place}: {inside}"


def _explain_file(committed: bytes | None, md5: str | None, found: Path) -> str:
    if committed is None:
        return (
            f"committed md5 {md5}, found {file_hash(found)}; the committed file is not at hand, only its hash"
        )
    return str(difference_of_files(committed, found) or "the same bytes")


def difference_of_files(committed: bytes, found: Path) -> Difference | str | None:
    """How a file differs from what it was: by what it holds if it is of a known kind, else by its bytes.

    Args:
        committed: its bytes before.
        found: the file now; its suffix tells the kind.

    Returns:
        None where it does not differ; a text where one of the two cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder, found.name)
        before.write_bytes(committed)
        read, compare = _KINDS.get(found.suffix, (Path.read_bytes, byte_difference))
        try:
            difference = compare(read(before), read(found))
        except (PipelineError, ValueError) as error:
            return f"one of the two cannot be read: {error}"
    # The same values can stand in other bytes.
    return difference or byte_difference(committed, found.read_bytes())


# Suffix -> how a file of that kind is read, and what tells two such values apart.
_KINDS: Final[Mapping[str, tuple[Callable[[Path], Any], Callable[[Any, Any], Difference | None]]]] = {
    ".npz": (arrays.read_arrays, array_difference),
    ".npy": (lambda path: {"": arrays.map_npy(path)}, array_difference),
    ".pkl": (parameters.read_parameters, array_difference),
    ".json": (tables.read_json, json_difference),
    ".csv": (tables.read_csv, table_difference),
    ".yaml": (lambda path: path.read_text("utf-8"), text_difference),
    ".md": (lambda path: path.read_text("utf-8"), text_difference),
}


def folder_hashes(path: Path) -> dict[str, str]:
    """The files of a folder as path -> hash."""
    return {
        file.relative_to(path).as_posix(): file_hash(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
