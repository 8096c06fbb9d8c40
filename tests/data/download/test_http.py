"""No network, proxies, certificates, secrets, and what headers say."""

import datetime as dt
import ipaddress
import math
import socket
import ssl
import threading
from contextlib import ExitStack
from email.utils import format_datetime
from pathlib import Path
from typing import NoReturn

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from pipeline.core.errors import FetchError
from pipeline.data.download.fetch import fetch
from pipeline.data.download.http import Answer
from pipeline.data.download.mirrors import MIRROR_VARIABLE
from tests.data.download.world import (
    FILE,
    FIRST,
    IMPATIENT,
    NAME,
    PATIENT,
    SECOND,
    UNCONNECTED,
    Behaviour,
    Server,
    ToLoopback,
    World,
    drops,
    good,
    redirects_to,
    right_size_wrong_bytes,
    status,
)


def assert_no_network(message: str) -> None:
    what, ways_out = message.splitlines()
    assert what == f"{NAME}: no network? None of the mirrors can be reached (first.test, second.test)"
    assert "`source: bundled` in params.yaml" in ways_out
    assert f"{MIRROR_VARIABLE}=FOLDER-OR-URL" in ways_out


def test_without_network_two_lines_name_the_ways_out(world: World, closed_port: int) -> None:
    world.session.mount("https://", ToLoopback(f"http://127.0.0.1:{closed_port}"))
    assert_no_network(world.fails(FIRST, SECOND))
    assert len(world.pauses) == 2  # one for each mirror: that there is no network is said soon
    assert not list(world.folder.iterdir())


def test_without_name_resolution_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object) -> NoReturn:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    world.session.mount("https://", HTTPAdapter())
    assert_no_network(world.fails(FIRST, SECOND))
    assert "its name cannot be resolved" in world.told[0]


def test_a_name_resolution_that_hangs_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object) -> NoReturn:
        world.server.over.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    world.session.mount("https://", HTTPAdapter())
    assert "gives no answer within 0.5 s" in world.fails(limits=IMPATIENT)


def test_a_connection_that_hangs_is_given_up(world: World) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill its queue: from here on nobody gets through
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003  (its only parameter)
            waiting.connect_ex(listener.getsockname())
        world.session.mount("https://", ToLoopback(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        assert_no_network(world.fails(FIRST, SECOND, limits=UNCONNECTED))
    assert "no connection within 0.25 s" in world.told[0]


def test_a_proxy_from_the_environment_is_honoured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", world.server.url.replace("http://", "http://user:secret@"))
    world.server.script("proxied", good())
    world.fetch(own_mirror="http://mirror.test/data")
    world.assert_delivered()
    (request,) = world.server.seen
    assert request.path == f"http://mirror.test/data/{NAME}"
    assert request.headers["Proxy-Authorization"].startswith("Basic ")
    assert not any("secret" in text for text in world.told)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_work_is_named_as_the_cause(
    world: World, monkeypatch: pytest.MonkeyPatch, closed_port: int, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:secret@127.0.0.1:{closed_port}")
    with pytest.raises(FetchError, match="the proxy that the environment names") as caught:
        fetch(FILE, [], world.folder, own_mirror=f"{scheme}://mirror.test/", sleep=world.pauses.append)
    assert "secret" not in str(caught.value)


def test_certificates_are_verified(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.script("own", good())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        mirror = server.url.replace("http:", "https:") + "/own/"
        try:
            with pytest.raises(FetchError, match="its certificate cannot be verified"):
                fetch(FILE, [mirror], world.folder)
            assert not server.seen
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_path))
            fetch(FILE, [mirror], world.folder)
        finally:
            server.shutdown()
            thread.join()
    world.assert_delivered()


@pytest.mark.parametrize(
    "behaviour",
    [status(500), drops(1000), right_size_wrong_bytes, redirects_to("https://x:secret@y.test:bad/")],
)
def test_no_secret_of_a_url_is_told_or_kept(
    world: World, behaviour: Behaviour, capfd: pytest.CaptureFixture[str]
) -> None:
    world.server.script("own", behaviour)
    own = world.server.url.replace("://", "://user:secret@") + "/own?token=secret#secret"
    with pytest.raises(FetchError) as caught:
        world.fetch("https://user:secret@first.test/x?signature=secret", own_mirror=own)
    assert world.server.requests("own")[0].headers["Authorization"].startswith("Basic ")
    assert world.server.requests("own")[0].path == f"/own/{NAME}?token=secret"
    assert world.server.requests("first.test")[0].path.endswith("signature=secret")
    kept = [path.read_bytes() for path in world.folder.iterdir()]
    assert b"secret" not in b"".join(kept)
    assert "secret" not in "\n".join([*world.told, str(caught.value), *capfd.readouterr()])
    assert caught.value.__cause__ is None


def test_credentials_do_not_follow_a_redirect_to_another_host(world: World) -> None:
    world.server.script("first.test", redirects_to(f"{SECOND}{NAME}"))
    world.server.script("second.test", good())
    world.fetch("https://user:secret@first.test/files/")
    first, second = world.server.seen
    assert first.headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in second.headers
    world.assert_delivered()


NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (format_datetime(NOW + dt.timedelta(seconds=9), usegmt=True), 9.0),
        (format_datetime(NOW - dt.timedelta(days=9), usegmt=True), 0.0),
        ("Wed, 04 Mar 2026 05:06:16 -0000", 9.0),
        ("3600", 3600.0),
        ("999999999", 999999999.0),
        ("9" * 5000, 0.0),
        ("-5", 0.0),
        ("1e3", 0.0),
        ("soon", 0.0),
        ("Wed, 99 Mar 99999999999999 05:06:16 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", math.inf),
    ],
)
def test_what_retry_after_says(text: str, seconds: float) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = text
    found = Answer(response, None, PATIENT).retry_after_seconds(NOW.timestamp())  # type: ignore[arg-type]  # nothing is read from it
    assert found == seconds if seconds < math.inf else found > 10**9


header_names = st.sampled_from(
    ["Content-Range", "Content-Length", "ETag", "Last-Modified", "Retry-After", "Content-Type"]
)
header_texts = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.from_regex(r"\Abytes [0-9]{1,30}-[0-9]{1,30}/[0-9]{1,30}\Z"),
    st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Dec) [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} .{0,6}\Z"),
)


@given(st.dictionaries(header_names, header_texts))
@settings(deadline=None, max_examples=80)
def test_whatever_headers_say_reading_them_does_no_harm(headers: dict[str, str]) -> None:
    response = requests.Response()
    response.status_code = 200
    response.headers.update(headers)
    answer = Answer(response, None, PATIENT)  # type: ignore[arg-type]  # nothing is read from it
    assert answer.retry_after_seconds(0.0) >= 0
    assert answer.length is None or answer.length >= 0
    assert all(number is None or number >= 0 for number in answer.range)
    assert answer.validator is None or answer.validator.isprintable()
    assert answer.is_page in {True, False}
