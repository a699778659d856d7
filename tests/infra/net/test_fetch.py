"""Fetching from real local servers: redirects, drips, caps, pinning, TLS. Names are simulated, connections are real."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.errors.photos import AddressForbidden, FetchFailed, FetchTimeout, FetchTooLarge, InvalidUrl
from infra.net.fetch import fetch, post
from tests.infra.local_servers import Server, raw_server, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOPBACK = ("127.0.0.0/8",)
LIMITS = {"timeout_s": 10.0, "max_bytes": 100_000}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def drip(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(0.05)


def test_fetches_the_bytes_of_a_picture(server: Server) -> None:
    server.paths["/a.jpg?size=2"] = (200, {}, b"\xff\xd8 picture")
    assert fetch(server.url("/a.jpg?size=2"), allowed=LOOPBACK, **LIMITS) == b"\xff\xd8 picture"
    _, _, headers, _ = server.requests[0]
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["User-Agent"].startswith("ShiTu/")


def test_loopback_is_refused_unless_allowed(server: Server) -> None:
    with pytest.raises(AddressForbidden):
        fetch(server.url("/a.jpg"), **LIMITS)
    assert server.requests == []


def test_connects_to_the_checked_address_under_the_original_host(server: Server) -> None:
    server.paths["/a.jpg"] = (200, {}, b"picture")
    content = fetch(server.url("/a.jpg", "pictures.example"), allowed=LOOPBACK, resolver=to_loopback, **LIMITS)
    assert content == b"picture"
    assert server.requests[0][2]["Host"] == f"pictures.example:{server.port}"


def test_a_name_that_changes_between_two_look_ups_gains_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check sees a public address; whoever looks again would see loopback. The connection must not go there."""
    server.paths["/"] = (200, {}, b"secret")
    answers = iter([["192.88.98.1"], ["127.0.0.1"], ["127.0.0.1"]])
    connected: list[str] = []

    def refused(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(FetchFailed):
        fetch(server.url("/", "rebinding.example"), resolver=lambda *_: next(answers), **LIMITS)
    assert connected == ["192.88.98.1"]


def test_tries_the_next_address_when_the_first_does_not_answer(server: Server) -> None:
    server.paths["/"] = (200, {}, b"picture")

    def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]  # nothing listens on the first

    assert fetch(server.url("/", "two.example"), allowed=LOOPBACK, resolver=resolver, **LIMITS) == b"picture"


def test_follows_redirects(server: Server) -> None:
    server.paths["/1"] = (302, {"Location": "/2"}, b"")
    server.paths["/2"] = (301, {"Location": server.url("/3")}, b"")
    server.paths["/3"] = (307, {"Location": "4?x=ä"}, b"")
    server.paths["/4?x=%C3%A4"] = (200, {}, b"picture")
    server.paths["/4?x=%C3%83%C2%A4"] = (200, {}, b"picture")  # header bytes are Latin-1 to http.client
    assert fetch(server.url("/1"), allowed=LOOPBACK, **LIMITS) == b"picture"


def test_gives_up_after_three_redirects(server: Server) -> None:
    server.paths["/"] = (302, {"Location": "/"}, b"")
    with pytest.raises(FetchFailed, match="redirects more than 3"):
        fetch(server.url("/"), allowed=LOOPBACK, **LIMITS)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/secret", "//127.0.0.1:{port}/secret", "http://[::ffff:127.0.0.1]:{port}/secret",
     "http://169.254.169.254/latest/meta-data/"],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    server.paths["/"] = (302, {"Location": location.format(port=server.port)}, b"")
    real_connect = socket.create_connection

    def public_is_local(address: tuple[str, int], timeout: float) -> socket.socket:
        assert address[0] == "192.88.98.1", "only the public address may be connected to"
        return real_connect(("127.0.0.1", address[1]), timeout)

    monkeypatch.setattr(socket, "create_connection", public_is_local)

    def resolver(host: str, port: int) -> list[str]:
        return ["192.88.98.1"] if host == "public.example" else [host]

    with pytest.raises(AddressForbidden):
        fetch(server.url("/", "public.example"), resolver=resolver, **LIMITS)
    assert [path for _, path, _, _ in server.requests] == ["/"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://user@example.org/", "http://[", "http://a b/"])
def test_a_redirect_to_something_else_is_refused(server: Server, location: str) -> None:
    server.paths["/"] = (302, {"Location": location}, b"")
    with pytest.raises(InvalidUrl):
        fetch(server.url("/"), allowed=LOOPBACK, **LIMITS)


def test_a_status_other_than_200_is_reported(server: Server) -> None:
    with pytest.raises(FetchFailed) as caught:
        fetch(server.url("/missing.jpg"), allowed=LOOPBACK, **LIMITS)
    assert caught.value.extra == {"status": 404}


def test_announced_size_over_the_cap_is_refused_before_reading(server: Server) -> None:
    server.paths["/"] = (200, {"Content-Length": "100001"}, b"")
    with pytest.raises(FetchTooLarge):
        fetch(server.url("/"), allowed=LOOPBACK, **LIMITS)


def test_exactly_the_cap_is_taken(server: Server) -> None:
    server.paths["/"] = (200, {}, b"x" * LIMITS["max_bytes"])
    assert len(fetch(server.url("/"), allowed=LOOPBACK, **LIMITS)) == LIMITS["max_bytes"]


def test_an_endless_body_without_a_length_is_cut_at_the_cap() -> None:
    def endless(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(endless) as port, pytest.raises(FetchTooLarge):
        fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS)


def test_a_chunked_body_is_read_and_capped() -> None:
    def chunked(size: int) -> Callable[[socket.socket], None]:
        def talk(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(size):
                connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            connection.sendall(b"0\r\n\r\n")

        return talk

    with raw_server(chunked(3)) as port:
        assert fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS) == b"x" * 3000
    with raw_server(chunked(101)) as port, pytest.raises(FetchTooLarge):
        fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS)


def test_a_body_that_ends_early_is_a_failure() -> None:
    def cut(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with raw_server(cut) as port, pytest.raises(FetchFailed, match="ended before"):
        fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS)


DRIPPING = {
    "status line": lambda: (bytes([byte]) for byte in b"HTTP/1.1 200 OK" * 1000),
    "headers": lambda: (piece for piece in [b"HTTP/1.1 200 OK\r\n"] + [b"X-More: 1\r\n"] * 1000),
    "body": lambda: (piece for piece in [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"] + [b"x"] * 1000),
    "continue": lambda: (piece for piece in [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000),
}


@pytest.mark.parametrize("what", DRIPPING)
def test_a_dripping_server_is_cut_off_by_the_total_time(what: str) -> None:
    """Every wait is short, so only a limit on the whole exchange ends it."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        drip(connection, DRIPPING[what]())

    started = time.monotonic()
    with raw_server(talk) as port:
        with pytest.raises(FetchTimeout):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, timeout_s=0.5, max_bytes=10_000)
        assert 0.4 < time.monotonic() - started < 3


def test_a_silent_server_ends_at_the_time_limit_with_tls_too() -> None:
    silence = threading.Event()
    for scheme in ("http", "https"):
        with raw_server(lambda _: silence.wait(3) and None) as port:
            started = time.monotonic()
            with pytest.raises(FetchTimeout):
                fetch(f"{scheme}://127.0.0.1:{port}/", allowed=LOOPBACK, timeout_s=0.3, max_bytes=10_000)
            assert time.monotonic() - started < 2
            silence.set()
        silence.clear()


def test_no_server_and_no_http_are_unreachable() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(FetchFailed):
        fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS)
    with (
        raw_server(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port,
        pytest.raises(FetchFailed),
    ):
        fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, **LIMITS)


def test_posts_a_body_and_returns_the_answers_beginning(server: Server) -> None:
    server.paths["/hook"] = (202, {"Retry-After": "7"}, b"x" * 5000)
    reply = post(server.url("/hook"), b"{}", {"Content-Type": "application/json"}, timeout_s=5, allowed=LOOPBACK)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (202, "7", b"x" * 1024)
    method, path, headers, body = server.requests[0]
    assert (method, path, headers["Content-Type"], body) == ("POST", "/hook", "application/json", b"{}")


def test_a_post_never_follows_a_redirect(server: Server) -> None:
    server.paths["/hook"] = (307, {"Location": "/elsewhere"}, b"")
    assert post(server.url("/hook"), b"{}", {}, timeout_s=5, allowed=LOOPBACK).status == 307
    assert [path for _, path, _, _ in server.requests] == ["/hook"]


def test_a_post_to_a_private_address_is_refused(server: Server) -> None:
    with pytest.raises(AddressForbidden):
        post(server.url("/hook"), b"{}", {}, timeout_s=5)
    assert server.requests == []


def test_a_receiver_that_never_ends_its_answer_costs_its_beginning_only() -> None:
    def endless(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(endless) as port:
        reply = post(f"http://127.0.0.1:{port}/", b"{}", {}, timeout_s=5, allowed=LOOPBACK)
    assert (reply.status, len(reply.body)) == (200, 1024)


@dataclass(frozen=True)
class Certified:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """A certificate for `receiver.example` alone, and a client that trusts only it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("receiver.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.3"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "receiver.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return Certified(server, ssl.create_default_context(cafile=str(pem)))


def test_tls_is_verified_against_the_name_not_the_address(certified: Certified) -> None:
    seen: list[str | None] = []
    certified.server.sni_callback = lambda _, name, __: seen.append(name)
    with serving(certified.server) as server:
        server.paths["/"] = (200, {}, b"picture")
        common = {"allowed": LOOPBACK, "resolver": to_loopback, **LIMITS}
        assert fetch(server.url("/", "receiver.example", "https"), tls=certified.client, **common) == b"picture"
        assert seen == ["receiver.example"]
        with pytest.raises(FetchFailed, match="certificate"):
            fetch(server.url("/", "other.example", "https"), tls=certified.client, **common)
        with pytest.raises(FetchFailed, match="certificate"):  # the system's authorities do not know it
            fetch(server.url("/", "receiver.example", "https"), **common)
        assert len(server.requests) == 1
