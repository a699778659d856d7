"""The service behind a proxy, and below a path of its host: the outermost layer, which the others need not know of.

What a proxy says (`X-Forwarded-For`, `-Proto`, `-Host`, `-Prefix`) is believed only of the addresses in
`web.trusted_proxies`, none by default, and otherwise removed: anybody can send it. Below `web.root_path` a proxy may take
the path off or leave it on; links in answers have it either way.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from web.access.auth import PEER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from infra.runtime.settings import WebSettings

FORWARDED = ("FOR", "PROTO", "HOST", "PREFIX", "PORT", "SERVER", "SSL")
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxied:
    """A WSGI application around another one."""

    def __init__(self, application: Callable[..., Iterable[bytes]], settings: WebSettings) -> None:
        self._application = application
        self._root = settings.root_path
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in settings.trusted_proxies]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        peer = str(environ.get("REMOTE_ADDR") or "")
        environ[PEER] = peer
        said = {name: _list(environ.pop(f"HTTP_X_FORWARDED_{name}", "")) for name in FORWARDED}
        root = self._root
        if (address := _address(peer)) is not None and self._trusts(address):
            _believe(environ, said, self._client(address, said["FOR"]))
            if said["PREFIX"] and PREFIX.fullmatch(prefix := said["PREFIX"][-1].rstrip("/")):
                root = prefix
        if root:
            environ["SCRIPT_NAME"] = root
            path = str(environ.get("PATH_INFO", ""))
            if path == root or path.startswith(f"{root}/"):
                environ["PATH_INFO"] = path[len(root) :] or "/"
        return self._application(environ, start_response)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _client(self, peer: Address, chain: list[str]) -> Address:
        """The last address of the chain that is no trusted proxy: what stands before it, anybody may have written."""
        client = peer
        for text in reversed(chain):
            address = _address(text)
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client


def _believe(environ: dict[str, Any], said: dict[str, list[str]], client: Address) -> None:
    environ["REMOTE_ADDR"] = str(client)
    if said["PROTO"] and said["PROTO"][-1].lower() in {"http", "https"}:
        environ["wsgi.url_scheme"] = said["PROTO"][-1].lower()
    if said["HOST"] and HOST.fullmatch(said["HOST"][-1]):
        environ["HTTP_HOST"] = said["HOST"][-1]


def _list(header: str) -> list[str]:
    return [part.strip() for part in header.split(",") if part.strip()]


def _address(text: str) -> Address | None:
    """An address, with or without a port: some proxies add it."""
    bare = re.sub(r"^\[(.*)\](:\d+)?$|^(\d+\.\d+\.\d+\.\d+):\d+$", r"\1\3", text)
    try:
        found = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
