"""Reads REDIS_URL strictly: what two libraries would understand differently, or not at all, is refused by name here."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "unix")
TLS_OPTIONS = frozenset(
    {
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_check_hostname",
    }
)
TLS_FILES = frozenset({"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"})
OPTIONS = frozenset({"db", "client_name"})
CERTIFICATE_CHECKS = ("required", "optional", "none")
EXPECTED = "expected redis://host:port/db, rediss://… or unix:///path/to/redis.sock"
ENCODE = "in a name or password write # as %23, / as %2F, ? as %3F, : as %3A, @ as %40, % as %25, [ as %5B, ] as %5D"


def checked(url: str) -> str:
    """`url`, with `ssl_cert_reqs` in the spelling that redis-py and kombu share, and its TLS files' absolute paths.

    The processes of the service run in another folder than the one where the URL was written. Raises ValueError; never
    shows the URL.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("holds a space or a line end; in a password write a space as %20")
    if urlsplit(url.partition("#")[0].replace("[", "").replace("]", "")).scheme not in SCHEMES:
        raise ValueError(EXPECTED)
    if "#" in url:
        raise ValueError(f"holds an unencoded #: {ENCODE}")
    if re.search(r"%(?![0-9A-Fa-f]{2})", url):
        raise ValueError(f"holds an unencoded %: {ENCODE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"the port is not a number up to 65535, or a character is not encoded: {ENCODE}") from None
    if "@" in parts.path + parts.query:
        raise ValueError(f"holds an unencoded / or ?: {ENCODE}")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError(EXPECTED)
    elif not parts.hostname or port == 0:
        raise ValueError(EXPECTED)
    elif not re.fullmatch(r"/?\d*/?", parts.path):
        raise ValueError("the database, after the last /, must be a number")
    query = _query(parts.scheme, parts.query)
    address = url.partition("?")[0]
    address = parts.scheme + address[len(parts.scheme) :]  # in lower case, which is all that redis-py knows
    return f"{address}?{query}" if query else address


def _query(scheme: str, query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in pairs:
        if name in TLS_OPTIONS and scheme != "rediss":
            raise ValueError(f"{name} is for TLS: write rediss:// instead of {scheme}://, or leave it out")
        if name not in TLS_OPTIONS | OPTIONS:
            known = ", ".join(sorted(OPTIONS | TLS_OPTIONS))
            raise ValueError(f"there is no option {name[:40]!r}; there are {known}. Or an unencoded ?: {ENCODE}")
        if name == "db" and not value.isdecimal():
            raise ValueError("the database, db=, must be a number")
    canonical = [(name, _canonical(name, value)) for name, value in pairs]
    return query if canonical == pairs else urlencode(canonical, safe="/")


def _canonical(name: str, value: str) -> str:
    if name == "ssl_cert_reqs":
        return _checks(value)
    return str(Path(value).absolute()) if name in TLS_FILES and value else value


def _checks(value: str) -> str:
    """`required` for `CERT_REQUIRED`, `ssl.CERT_REQUIRED`, `VerifyMode.CERT_REQUIRED`, its number 2, and so on."""
    name = value.strip().lower().rpartition(".")[2].removeprefix("cert").removeprefix("_")
    if name in {"0", "1", "2"}:  # what Python prints of its constants
        name = CERTIFICATE_CHECKS[2 - int(name)]
    if name not in CERTIFICATE_CHECKS:
        raise ValueError(f"ssl_cert_reqs must be {', '.join(CERTIFICATE_CHECKS[:-1])} or {CERTIFICATE_CHECKS[-1]}")
    return name
