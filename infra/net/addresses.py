"""Decides which URLs this service may call on a client's behalf, and pins them to the addresses that were checked.

A URL from outside may name the machine itself, its neighbours or the cloud's metadata service, in many spellings. Only
one thing is reliable: the addresses that the name resolves to. They are looked up once, every one of them must be
allowed, and the connection goes to these very addresses (`infra.net.fetch`): a name that answers differently at the second
look-up gains nothing. The ranges are IANA's special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from infra.errors.photos import AddressForbidden, FetchFailed, FetchTimeout, InvalidUrl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Resolver = Callable[[str, int], Sequence[str]]
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_CHARS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
SAFE_LOW_PORTS = frozenset({80, 443})
FIRST_HIGH_PORT = 1024

# Never reachable: no setting allows them. Metadata services hand out a machine's credentials.
NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "100::/64", "2001:db8::/32", "3fff::/20", "5f00::/16", "fd00:ec2::/32", "fe80::/10", "fec0::/10",
        "ff00::/8",
    )
)  # fmt: skip
PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
)  # fmt: skip
GLOBAL_V6 = ipaddress.ip_network("2000::/3")
NAT64 = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48"))
ALL = ("0.0.0.0/0", "::/0")  # allows all that a setting can
COMPATIBLE_V6 = ipaddress.ip_network("::/96")


@dataclass(frozen=True)
class Target:
    """A checked URL. `host` is ASCII without brackets, `path` includes the query, `addresses` are all allowed."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]

    @property
    def host_header(self) -> str:
        """The value of the Host header: with brackets for IPv6, without the scheme's default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again, in its normal form: the base of relative redirects."""
        return f"{self.scheme}://{self.host_header}{self.path}"


def is_allowed(address: str, *, host: str = "", allowed: Sequence[str] = ()) -> bool:
    """Whether this service may connect to `address`, an IPv4 or IPv6 literal (scope ids are refused).

    IPv6 addresses that carry an IPv4 one (mapped, compatible, 6to4, NAT64) are judged by it too: the network would
    unpack them. `allowed` (contracts.hosts: names, addresses, networks) opens loopback, private and shared addresses that
    it names, or all of those that `host` has if it names that; never link-local, metadata or multicast.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None or ip.teredo is not None:
            return False
        if (embedded := _embedded_v4(ip)) is not None:
            return is_allowed(str(embedded), host=host, allowed=allowed)
    if any(ip in network for network in NEVER):
        return False
    if any(ip in network for network in PRIVATE):
        return _is_named(host, ip, tuple(allowed))
    # A second opinion, for ranges set aside after these lists were written.
    return ip.is_global and not ip.is_reserved and (ip.version == 4 or ip in GLOBAL_V6)


def resolve(host: str, port: int) -> list[str]:
    """All addresses of `host` by the system's resolver, in its order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def check_url(
    url: str, allowed: Sequence[str] = (), *, resolver: Resolver = resolve, timeout_s: float = 10.0
) -> Target:
    """Parses `url`, resolves its host once and checks every address by `is_allowed`. Raises InvalidUrl, AddressForbidden, FetchFailed,
    FetchTimeout (the look-up took longer than `timeout_s` seconds).
    """
    scheme, host, port, path = parse_url(url)
    _check_port(port)
    addresses = _resolve_in_time(resolver, host, port, timeout_s)
    _check_addresses(host, addresses, allowed)
    return Target(scheme, host, port, path, addresses)


def check_spelling(url: str, allowed: Sequence[str] = ()) -> None:
    """What can be said of `url` without a look-up: its form, its port, and a host that is an address or this machine.

    Never waits, so that a request may do it. Every connection checks the resolved addresses with `check_url` anyway.
    Raises InvalidUrl, AddressForbidden.
    """
    _, host, port, _ = parse_url(url)
    _check_port(port)
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: always this machine
        addresses = ["127.0.0.1"]
    else:
        try:  # AI_NUMERICHOST reads every spelling of an address that a connection would, 0x7f.1 too, and asks nobody
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
    _check_addresses(host, addresses, allowed)


def parse_url(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path with query) of an absolute http(s) URL, in ASCII. Raises InvalidUrl."""
    if len(url) > MAX_URL_CHARS:
        raise InvalidUrl(f"The URL is longer than {MAX_URL_CHARS} characters.")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise InvalidUrl("The URL has a space, a backslash or a control character in it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("The URL's host or port cannot be read.") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise InvalidUrl("The URL must start with http:// or https://.")
    if "@" in parts.netloc:
        raise InvalidUrl("The URL must not carry a user name or a password.")
    if port == 0:
        raise InvalidUrl("Port 0 cannot be connected to.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return parts.scheme, _ascii_host(parts), port or DEFAULT_PORTS[parts.scheme], f"{path}?{query}" if query else path


def _ascii_host(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        raise InvalidUrl("The URL names no host.")
    if "[" in parts.netloc:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError as error:
            raise InvalidUrl("The URL's IPv6 address cannot be read.") from error
        if address.scope_id is not None:
            raise InvalidUrl("The URL's IPv6 address must not name an interface.")
        return str(address)
    try:
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise InvalidUrl("The URL's host name cannot be read.") from error
    if not re.fullmatch(r"[a-z0-9_.-]{1,253}", ascii_host):
        raise InvalidUrl("The URL's host name has characters that no host name has.")
    return ascii_host


def _check_port(port: int) -> None:
    if port not in SAFE_LOW_PORTS and port < FIRST_HIGH_PORT:
        raise AddressForbidden(f"Port {port} is not allowed: use 80, 443 or one from {FIRST_HIGH_PORT} up.")


@functools.cache
def _named(allowed: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...], tuple[Network, ...]]:
    """Of a list of allowed hosts: the names, the ends of names (`.internal`), the networks."""
    names, ends, networks = set(), [], []
    for entry in allowed:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            if entry.startswith("*."):
                ends.append(entry[1:])
            else:
                names.add(entry)
    return frozenset(names), tuple(ends), tuple(networks)


def _is_named(host: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, allowed: tuple[str, ...]) -> bool:
    names, ends, networks = _named(allowed)
    name = host.rstrip(".")
    return name in names or name.endswith(ends) or any(ip in network for network in networks)


def _check_addresses(host: str, addresses: Sequence[str], allowed: Sequence[str]) -> None:
    # One bad address among good ones is enough: which one the connection would take is the name's owner's choice.
    if not all(is_allowed(address, host=host, allowed=allowed) for address in addresses):
        by_setting = all(is_allowed(address, host=host, allowed=ALL) for address in addresses)
        raise AddressForbidden(
            f"The host {host!r} is at an address that is private, local or reserved.", by_setting=by_setting
        )


def _embedded_v4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    in_last_bits = any(ip in network for network in NAT64) or (ip in COMPATIBLE_V6 and int(ip) > 1)
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if in_last_bits else None


def _resolve_in_time(resolver: Resolver, host: str, port: int, timeout_s: float) -> tuple[str, ...]:
    """The system's look-up knows no time limit: it runs in a thread that is left to itself when it is late."""
    addresses: list[str] = []
    failures: list[Exception] = []

    def look_up() -> None:
        try:
            addresses.extend(resolver(host, port))
        except (OSError, UnicodeError) as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, name="resolver", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise FetchTimeout(f"The name {host!r} was not resolved in time.")
    if failures or not addresses:
        raise FetchFailed(f"The name {host!r} cannot be resolved.") from (failures[0] if failures else None)
    return tuple(addresses)
