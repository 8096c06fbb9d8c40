"""The server and the folder of a test."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline.data.download.mirrors import MIRROR_VARIABLE
from tests.data.download.world import ToLoopback, World, running_server


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            MIRROR_VARIABLE,
        }:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "data"
    folder.mkdir()
    with running_server() as server, requests.Session() as session:
        session.mount("https://", ToLoopback(server.url))
        yield World(server, folder, session)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """One at which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])
