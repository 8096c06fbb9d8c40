"""The server and the folder of a test."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline.data.download.mirrors import MIRROR_VARIABLE
from tests.data.download.world import Server, ToLoopback, World


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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
def world(shared_server: Server, tmp_path: Path) -> Iterator[World]:
    shared_server.over.clear()
    shared_server.scripts.clear()
    shared_server.seen.clear()
    folder = tmp_path / "data"
    folder.mkdir()
    with requests.Session() as session:
        session.mount("https://", ToLoopback(shared_server.url))
        yield World(shared_server, folder, session)
    shared_server.over.set()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
