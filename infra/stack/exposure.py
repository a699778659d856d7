"""Whether others than this machine can reach the service, and the refusal to let them in without a key.

On loopback no key is required: who is on the machine can read its files anyway. On any other address everybody who
reaches it could delete galleries, so that somebody must have said what is meant: `SHITU_KEYS__REQUIRED`, true or false.
Each way in looks here: `shitu up` and `shitu web` before they answer anybody, the application at its start (at the sockets that its
process was given, whatever server runs it), and each request (at the address that it comes from).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors.service import ConfigurationError

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

DEFAULT_SECRETS = {"only-for-this-machine"}  # of docker-compose.yml
REMEDY = (
    "Set SHITU_KEYS__REQUIRED=true and make the first key by `shitu keys create --scope admin`, or "
    "SHITU_KEYS__REQUIRED=false if everybody who reaches it may do everything."
)


def is_loopback(address: str) -> bool:
    """Whether an IP address is only to be reached from this machine; "" stands for a unix socket's other side."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address == ""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_public(host: str) -> bool:
    """Whether a server that listens on `host` can be reached from elsewhere; a name is looked up as `bind` does."""
    if host == "":
        return True  # all addresses
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True  # it will not listen there; if it does, it is not known where
    return not all(is_loopback(str(address[0])) for *_, address in found)


def refuse_unprotected(settings: Settings, listening: Iterable[str] = ()) -> None:
    """Raises ConfigurationError for a public address of the settings, or in `listening`, without a word about keys."""
    if settings.keys.required is not None:
        return
    if is_public(settings.web.host):
        raise ConfigurationError([f"SHITU_WEB__HOST: {report(settings.web.host)} {REMEDY}"])
    for address in listening:
        if not is_loopback(address):
            raise ConfigurationError([f"SHITU_KEYS__REQUIRED: {report(address)} {REMEDY}"])


def refuse_default_secrets(settings: Settings, env: Mapping[str, str]) -> None:
    """Raises ConfigurationError where others reach the service and a secret in `env` is one that everybody can read."""
    if not is_public(settings.web.published_on or settings.web.host):
        return
    known = sorted(name for name, value in env.items() if value in DEFAULT_SECRETS)
    if known:
        raise ConfigurationError(
            [f"{name}: the default secret is for loopback alone; choose your own." for name in known]
        )


def report(host: str) -> str:
    """What is wrong with an address that all can reach."""
    return f"{host or 'all addresses'!r} can be reached from other machines, and no keys are required."


def listening_on() -> list[str]:
    """The addresses of this process's listening sockets: whatever server loads the application has opened them before."""
    found = []
    for entry in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            number = int(entry.name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as opened:
                internet = opened.family in {socket.AF_INET, socket.AF_INET6}
                if internet and opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.append(str(opened.getsockname()[0]))
    return found
