"""Talks HTTP to servers that users named: checked address, one deadline for the whole exchange, a cap on bytes.

`fetch` reads a user's image, `post` delivers a webhook. Both connect to the address that `infra.net.addresses` checked, under
the original Host and TLS server name. http.client alone waits again for every byte; here every wait is bounded by what is
left of one deadline, so that a server that drips cannot hold a thread. Environment proxies are not used: they would look
the name up again.
"""

from __future__ import annotations

import email.utils
import functools
import http.client
import io
import socket
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin

from contracts.errors import ServiceError
from infra.errors.photos import FetchFailed, FetchTimeout, FetchTooLarge, InvalidUrl
from infra.net.addresses import Target, check_url, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from _typeshed import WriteableBuffer

    from infra.net.addresses import Resolver

USER_AGENT = "ShiTu/0.1"
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_BYTES = 65536
THROTTLES = frozenset({429, 502, 503, 504})  # answers whose Retry-After is honoured


@dataclass(frozen=True)
class Reply:
    """What a server answered to `post`: header names in lower case, the body's beginning."""

    status: int
    headers: dict[str, str]
    body: bytes


def fetch(
    url: str,
    *,
    timeout_s: float,
    max_bytes: int,
    allowed: Sequence[str] = (),
    resolver: Resolver = resolve,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """GETs `url` within `timeout_s` seconds in all; at most 3 redirects, each checked like the first address.

    `tls` replaces the system's certificate authorities. Raises InvalidUrl, AddressForbidden, FetchFailed (unreachable, or
    a status other than 200, which is then `extra["status"]`), FetchTimeout, FetchTooLarge.
    """
    deadline = _Deadline(timeout_s)
    for _ in range(MAX_REDIRECTS + 1):
        target = check_url(url, allowed, resolver=resolver, timeout_s=deadline.left_s())
        with _exchange(target, deadline, tls, method="GET", body=b"", headers={"Accept": "image/*"}) as response:
            if response.status not in REDIRECTS:
                return _image_bytes(response, max_bytes)
            location = response.getheader("Location")
        if not location:
            raise FetchFailed("The server redirects without saying where to.", status=response.status)
        try:
            url = urljoin(target.url, location)
        except ValueError as error:
            raise InvalidUrl("The server redirects to something that is no URL.") from error
    raise FetchFailed(f"The server redirects more than {MAX_REDIRECTS} times.")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    allowed: Sequence[str] = (),
    max_reply_bytes: int = 1024,
    resolver: Resolver = resolve,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """POSTs `body` and returns whatever the server answers: a redirect is an answer too, it is never followed.

    At most `max_reply_bytes` of the answer's body are read. Raises like `fetch`, but not for the status.
    """
    deadline = _Deadline(timeout_s)
    target = check_url(url, allowed, resolver=resolver, timeout_s=deadline.left_s())
    with _exchange(target, deadline, tls, method="POST", body=body, headers=headers) as response:
        beginning = _beginning(response, max_reply_bytes)
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, beginning)


def retry_after_s(status: int, value: str | None) -> float | None:
    """How long a server asks to be left alone, in seconds: its Retry-After as a number or a date; None without."""
    value = (value or "").strip()
    if status not in THROTTLES or not value:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class _Deadline:
    """One point in time by which everything must be done."""

    def __init__(self, timeout_s: float) -> None:
        self._end = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds left, more than 0. Raises FetchTimeout."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchTimeout("The server did not answer completely in time.")
        return left


class _DeadlineReader(io.RawIOBase):
    """A connection's incoming bytes; each wait is bounded by what is left."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connection.settimeout(self._deadline.left_s())
        return self._connection.recv_into(buffer)


class _DeadlineSocket:
    """The part of a socket that http.client uses, bounded by a deadline."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.left_s())  # for sendall this bounds the whole of it
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._connection, self._deadline))

    def close(self) -> None:
        """Does nothing: http.client closes before the answer is read, and `_exchange` owns the connection."""


@contextmanager
def _exchange(
    target: Target,
    deadline: _Deadline,
    tls: ssl.SSLContext | None,
    *,
    method: str,
    body: bytes,
    headers: Mapping[str, str],
) -> Iterator[http.client.HTTPResponse]:
    """One request over one new connection; every fault of the other side becomes a FetchFailed."""
    try:
        with _connect(target, deadline, tls) as connection:
            client = http.client.HTTPConnection(target.host, target.port)
            client.sock = cast("socket.socket", _DeadlineSocket(connection, deadline))
            client.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": target.host_header, "User-Agent": USER_AGENT, "Connection": "close", **headers}
            if method != "GET":
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                client.putheader(name, value)
            client.endheaders(body or None)
            with client.getresponse() as response:
                yield response
    except ServiceError:
        raise
    except TimeoutError as error:
        raise FetchTimeout("The server did not answer completely in time.") from error
    except ssl.SSLCertVerificationError as error:
        raise FetchFailed("The server's TLS certificate is not valid for this host.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed("The server could not be reached or did not answer in HTTP.") from error


def _connect(target: Target, deadline: _Deadline, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection to the first checked address that takes one, each given its share of the time. Raises OSError."""
    failure: OSError | None = None
    for position, address in enumerate(target.addresses):
        share_s = deadline.left_s() / (len(target.addresses) - position)
        try:
            connection = socket.create_connection((address, target.port), timeout=share_s)
        except OSError as error:
            failure = error
            continue
        if target.scheme == "http":
            return connection
        try:
            connection.settimeout(deadline.left_s())  # the handshake is bounded as a whole by it
            return (tls or _system_authorities()).wrap_socket(connection, server_hostname=target.host)
        except BaseException:
            connection.close()
            raise
    raise failure or OSError("no address")


@functools.cache
def _system_authorities() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads the whole list of authorities: once is enough


def _image_bytes(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    if response.status != http.HTTPStatus.OK:
        wait_s = retry_after_s(response.status, response.getheader("Retry-After"))
        raise FetchFailed(f"The server answered {response.status}.", status=response.status, retry_after_s=wait_s)
    announced = response.length  # from Content-Length; None when chunked or read until the end
    if announced is not None and announced > max_bytes:
        raise FetchTooLarge(f"The content is {announced} bytes, more than the {max_bytes} allowed.")
    content = _beginning(response, max_bytes + 1)
    if len(content) > max_bytes:
        raise FetchTooLarge(f"The content is more than the {max_bytes} bytes allowed.")
    if announced is not None and len(content) < announced:
        raise FetchFailed("The connection ended before the content did.")
    return content


def _beginning(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < max_bytes and (piece := response.read(min(READ_BYTES, max_bytes - len(content)))):
        content += piece
    return bytes(content)
