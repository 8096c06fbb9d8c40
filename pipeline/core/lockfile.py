"""What is in dvc.lock: its text by stage (reading all of its YAML takes half a second), and DVC's hashes."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path


def split_stages(lock: str) -> tuple[str, dict[str, str]]:
    """What stands before the stages, and the lines of each stage by its name, in the file's order."""
    head, title, body = lock.partition("stages:\n")
    blocks = [block for block in re.split(r"(?m)^(?=  \S)", body) if block]
    return head + title, {block.partition("\n")[0].strip(" :'\""): block for block in blocks}


def bytes_hash(data: bytes) -> str:
    """The hash that DVC gives a file of these bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def file_hash(path: Path) -> str:
    """The hash that DVC gives a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_hash(files: Mapping[str, str]) -> str:
    """The hash that DVC gives a folder of these files: path below it -> hash."""
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return bytes_hash(json.dumps(entries).encode()) + ".dir"
