"""Where a file can be had: the definition's mirrors, and a mirror or folder of the user's own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import url2pathname

from pipeline.config.schema import File
from pipeline.core.errors import ConfigError

MIRROR_VARIABLE: Final = "PIPELINE_MIRROR"
"""The environment variable that names a mirror of the user's own: a folder, or the URL of one."""


def mirror_from_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """The mirror that the user names in PIPELINE_MIRROR, for `fetch(own_mirror=...)`; None without one."""
    return environment.get(MIRROR_VARIABLE, "").strip() or None


@dataclass(frozen=True)
class Place:
    """One place to take the file from.

    Attributes:
        place: a URL, or the path of a local file.
        label: the same without credentials and query, which may be shown.
        own: whether it is the user's own mirror.
    """

    place: str | Path
    label: str
    own: bool = False


def places_of(file: File, mirrors: Sequence[str], own_mirror: str | None, dataset: str | None) -> list[Place]:
    """Where to look for a file, the user's own mirror first.

    Raises:
        ConfigError: there is no mirror, or one is not to be used.
    """
    sources = _own_places(own_mirror, dataset, file.name) if own_mirror else []
    for mirror in mirrors:
        url = _below(mirror, file.name) if mirror.endswith("/") else mirror
        if urlsplit(url).scheme != "https":
            raise ConfigError(
                f"mirror {_label(url)}: expected an https URL; one of your own goes into {MIRROR_VARIABLE}"
            )
        sources.append(Place(url, _label(url)))
    if not sources:
        raise ConfigError(f"{file.name}: there is no mirror to fetch it from")
    return sources


def _own_places(mirror: str, dataset: str | None, name: str) -> list[Place]:
    scheme, separator, _ = mirror.partition("://")
    scheme = scheme.lower()
    if mirror.lower().startswith("file:/"):
        scheme, separator = "file", ":"
    names = [f"{dataset}/{name}", name] if dataset else [name]
    if separator and scheme in {"http", "https"}:
        urls = [_below(mirror, below) for below in names]
        return [Place(url, _label(url), own=True) for url in urls]
    try:
        folder = Path(mirror).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{MIRROR_VARIABLE}={_label(mirror)}: there is no such user; give the folder's path"
        ) from None
    if separator:
        parts = urlsplit(mirror)
        if scheme != "file" or parts.netloc not in {"", "localhost"}:
            raise ConfigError(
                f"{MIRROR_VARIABLE}={_label(mirror)}: expected a folder, or an http, https or file URL of one"
            )
        folder = Path(url2pathname(parts.path))
    return [Place(folder / below, str(folder / below), own=True) for below in names]


def _below(folder_url: str, name: str) -> str:
    parts = urlsplit(folder_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}"))


def _label(url: str) -> str:
    """`url` without user, password, query and fragment: all that may be a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
