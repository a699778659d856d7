"""Where no keys are required: by which names the service answers, and whose pages may change anything.

Being on this machine is all that is required then. A browser is there, and so is every site that is open in it. Two
doors are closed to those sites: a name of their own that leads here (DNS rebinding: to the browser their page is then
one of this service, so that neither Origin nor Sec-Fetch-Site shows it; the Host does), and requests that need no
answer (Origin shows them). An IP address in Host cannot be rebound, and `localhost` is this machine's own in every
browser (RFC 6761, the WHATWG's Secure Contexts).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from flask import request

from infra.errors.keys import CrossSite, HostUnknown
from web.access import cors
from web.services import services

if TYPE_CHECKING:
    from infra.runtime.settings import WebSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"health.live", "health.ready"})  # say nothing that a site could use
LOCAL = "localhost"
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::(\d{0,5}))?", re.ASCII)


def require() -> None:
    """Raises HostUnknown, CrossSite for a request that another site's page may have made."""
    if request.endpoint in PROBES:
        return
    host = request.environ.get("HTTP_HOST")  # as a trusted proxy sent it (web.access.proxy); None: HTTP/1.0, no browser
    if host is not None and not _is_own(host, services().settings.web):
        raise HostUnknown(_unknown(host))
    if request.method not in SAFE_METHODS and _is_elsewhere():
        raise CrossSite(
            "Another site's page sent this request: Origin is not the scheme, host and port of this service. "
            "SHITU_WEB__CORS_ORIGINS would allow it; behind a proxy, SHITU_WEB__TRUSTED_PROXIES must name the proxy, "
            "and Host (or X-Forwarded-Host) must be the host that the browser requested, with its port."
        )


def _is_own(host: str, settings: WebSettings) -> bool:
    parts = _split(host)
    if parts is None:
        return False
    name, _ = parts
    if _is_address(name) or name == LOCAL or name.endswith(f".{LOCAL}"):
        return True
    ends = tuple(one[1:] for one in settings.hosts if one.startswith("*."))
    return name != "" and (name in {*settings.hosts, settings.host.lower().rstrip(".")} or name.endswith(ends))


def _is_elsewhere() -> bool:
    """Whether the request is of a page that is neither this service's own nor one of `web.cors_origins`."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and cors.is_allowed(origin):
        return False
    if site not in {None, "same-origin", "none"}:  # none: the person's own doing
        return True
    return origin is not None and not _is_requested(origin)


def _is_requested(origin: str) -> bool:
    """Whether it is scheme, host and port of the request itself."""
    scheme, _, rest = origin.lower().partition("://")
    theirs, ours = _split(rest), _split(request.environ.get("HTTP_HOST", ""))
    if theirs is None or ours is None or scheme != request.scheme:
        return False
    usual = str(DEFAULT_PORTS.get(scheme, ""))
    return (theirs[0], theirs[1] or usual) == (ours[0], ours[1] or usual)


def _split(host: str) -> tuple[str, str] | None:
    """Name and port ("": none) as they are compared; None: it is no host."""
    found = _HOST.fullmatch(host.lower())
    return None if found is None else (found[1].removesuffix("."), found[2] or "")


def _is_address(name: str) -> bool:
    try:
        # With brackets a version 6, without them a version 4: `[127.0.0.1]` is neither.
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _unknown(host: str) -> str:
    parts = _split(host)
    named = (
        f"SHITU_WEB__HOSTS={parts[0]} " if parts is not None and re.search("[a-z]", parts[0]) else "SHITU_WEB__HOSTS "
    )
    return (
        f"This service does not answer to the name {host[:253]!r}, since no keys are required: any site could have it lead "
        f"here. Use an IP address or localhost, or set {named}if the name is the service's own; or require keys "
        "(SHITU_KEYS__REQUIRED=true)."
    )
