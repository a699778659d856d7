"""Says in one line why a Redis server cannot serve: at start, where /readyz asks, and where a command failed."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis

from contracts.errors import ServiceError
from infra.errors.service import RedisMisconfigured, RedisUnavailable, StorageUnavailable
from infra.redis.client import connect

OLDEST = (6, 2)
PROBE_KEY = "shitu:probe"
PROBE_MS = 10_000
PROBE = "x" * 16_384  # about a job's size
NEARLY_FULL = 0.99
PEEK_S = 1.0
# What else listens on ports, by how it greets or answers PING.
OTHERS = {b"HTTP/": "an HTTP server", b"SSH-": "an SSH server", b"220": "a mail or FTP server", b"ERROR": "memcached"}

# The beginning of Redis' own words -> what they mean here, and whether someone has to change a setting.
REPLIES: tuple[tuple[str, type[ServiceError], str], ...] = (
    ("MISCONF", StorageUnavailable, "Redis cannot write to its disk (MISCONF), which is full or broken: it takes no writes until it can."),
    ("OOM", RedisUnavailable, "Redis is full (maxmemory): it takes no writes until there is room."),
    ("READONLY", RedisUnavailable, "Redis is read-only, a replica: REDIS_URL must name the primary."),
    ("NOREPLICAS", RedisUnavailable, "Redis has too few replicas to take writes (min-replicas-to-write)."),
    ("MASTERDOWN", RedisUnavailable, "Redis is a replica that has lost its primary: REDIS_URL must name the primary."),
    ("LOADING", RedisUnavailable, "Redis is still loading its data."),
    ("max number of clients", RedisUnavailable, "Redis takes no more clients (maxclients)."),
    ("NOAUTH", RedisMisconfigured, "Redis wants a password, and REDIS_URL has none."),
    ("HELLO must be called", RedisMisconfigured, "Redis wants a password, and REDIS_URL has none."),
    ("Authentication required", RedisMisconfigured, "Redis wants a password, and REDIS_URL has none."),
    ("without any password configured", RedisMisconfigured, "REDIS_URL has a password, but the server has none set."),
    ("WRONGPASS", RedisMisconfigured, "Redis refuses the name or password in REDIS_URL."),
    ("invalid username-password", RedisMisconfigured, "Redis refuses the name or password in REDIS_URL."),
    ("invalid password", RedisMisconfigured, "Redis refuses the name or password in REDIS_URL."),
    ("NOPERM", RedisMisconfigured, "Redis does not let the user of REDIS_URL run all commands: it needs +@all on the prefix's keys."),
    ("no permissions", RedisMisconfigured, "Redis does not let the user of REDIS_URL run all commands: it needs +@all on the prefix's keys."),
    ("protected mode", RedisMisconfigured, "Redis is in protected mode: it takes only local clients until a password is set."),
    ("DB index", RedisMisconfigured, "Redis has no database of the number in REDIS_URL."),
    ("SELECT is not allowed", RedisMisconfigured, "The server is a Redis Cluster, which has database 0 only and cannot be used: REDIS_URL must name one server."),
    ("CLUSTERDOWN", RedisMisconfigured, "The server is a Redis Cluster, which cannot be used: REDIS_URL must name one server."),
    ("MOVED", RedisMisconfigured, "The server is a Redis Cluster, which cannot be used: REDIS_URL must name one server."),
    ("CROSSSLOT", RedisMisconfigured, "The server is a Redis Cluster, which cannot be used: REDIS_URL must name one server."),
)  # fmt: skip

log = logging.getLogger(__name__)


def explained(error: Exception) -> ServiceError:
    """The service's own error for one of redis-py's."""
    text = str(error)
    if isinstance(error, redis.OutOfMemoryError):
        text = "OOM " + text
    elif isinstance(error, redis.ReadOnlyError):
        text = "READONLY " + text
    elif isinstance(error, redis.BusyLoadingError):
        text = "LOADING " + text
    for words, kind, meaning in REPLIES:
        if re.search(rf"\b{re.escape(words)}" if words.isupper() else re.escape(words), text):
            return kind(meaning)
    if isinstance(error, redis.TimeoutError):
        return RedisUnavailable("Redis does not answer in time.")
    if isinstance(error, redis.ResponseError):
        return RedisUnavailable("Redis refuses a command.")
    return RedisUnavailable("Redis cannot be reached.")


def check(url: str) -> None:
    """Asks the server of `url` once whether it can serve.

    Raises RedisMisconfigured where only a changed setting helps, RedisUnavailable where waiting may; each in one line.
    """
    with contextlib.closing(connect(url)) as client:
        try:
            report: dict[str, Any] = client.info()
        except (redis.RedisError, OSError, ValueError) as error:
            raise _located(_cause(url, error), url) from None
    if (problem := _unusable(report)) is not None:
        raise _located(RedisMisconfigured(problem), url)
    if (policy := _evicting(report)) is not None:
        log.warning("Redis would evict jobs once maxmemory is set: its maxmemory-policy is %s, not noeviction", policy)


def unready(client: redis.Redis) -> str | None:  # noqa: PLR0911 - one answer for each reason
    """Why the server takes no jobs now, or may lose them later; None: it is well. Raises redis.RedisError."""
    report: dict[str, Any] = {}
    with contextlib.suppress(redis.ResponseError):  # a rented server may forbid the question
        report = client.info()
    if (problem := _unusable(report)) is not None:
        return problem
    if report.get("role") == "slave":
        return explained(redis.ReadOnlyError("")).detail
    limit = int(report.get("maxmemory", 0))
    if limit and (policy := _evicting(report)) is not None:
        return f"Redis may evict jobs: its maxmemory-policy is {policy}, and must be noeviction."
    if report.get("aof_last_write_status", "ok") != "ok":
        return explained(redis.ResponseError("MISCONF")).detail
    if limit and int(report.get("used_memory", 0)) > NEARLY_FULL * limit:
        return explained(redis.OutOfMemoryError("")).detail
    try:
        client.set(PROBE_KEY, PROBE, px=PROBE_MS)
    except redis.ResponseError as error:
        return explained(error).detail
    return None


def _evicting(report: dict[str, Any]) -> str | None:
    """The policy that may remove keys when the memory allowed is used up, if it is one."""
    policy = str(report.get("maxmemory_policy", "noeviction"))
    return None if policy == "noeviction" else policy


def _unusable(report: dict[str, Any]) -> str | None:
    if report.get("redis_mode") == "sentinel":
        return "The server is a Redis Sentinel; REDIS_URL must name the Redis server itself."
    if report.get("cluster_enabled") or report.get("redis_mode") == "cluster":
        return explained(redis.ResponseError("MOVED")).detail
    version = re.match(r"(\d+)\.(\d+)", str(report.get("redis_version", "")))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        return f"The Redis server is version {version[1]}.{version[2]}; 6.2 is needed."
    return None


def _cause(url: str, error: Exception) -> ServiceError:
    parts = urlsplit(url)
    text = str(error)
    if isinstance(error, redis.ResponseError | redis.AuthenticationError | redis.BusyLoadingError) and not isinstance(
        error, redis.InvalidResponse
    ):
        return explained(error)
    if parts.scheme == "unix":
        reason = (
            "no such socket" if "No such file" in text else "permission denied" if "ermission" in text else "no answer"
        )
        return RedisUnavailable(f"The Redis server of REDIS_URL does not answer: {reason}.")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = re.search(r"certificate verify failed: (.*?)\.? ?\(_ssl", text)
        return RedisMisconfigured(
            f"The TLS certificate of the Redis server is not accepted: {why[1] if why else 'it cannot be verified'}."
            " Name its authority by ssl_ca_certs in REDIS_URL."
        )
    if isinstance(error, ssl.SSLError | FileNotFoundError | PermissionError) or "No such file" in text:
        names = [name for name, _ in parse_qsl(parts.query) if name.startswith("ssl_")]
        return RedisMisconfigured(f"A TLS file that REDIS_URL names ({', '.join(names)}) cannot be read.")
    return _by_listening(parts.scheme, parts.hostname or "", parts.port or 6379, error)


def _by_listening(  # noqa: PLR0911 - one answer for each thing that may be there
    scheme: str, host: str, port: int, error: Exception
) -> ServiceError:
    """What is at the port, when it does not speak as expected."""
    try:
        said = _answer_to_ping(host, port)
    except ConnectionRefusedError:
        return RedisUnavailable("The Redis server of REDIS_URL does not answer: nothing listens there.")
    except socket.gaierror:
        return RedisUnavailable("The Redis server of REDIS_URL does not answer: its host name is unknown.")
    except OSError:
        return RedisUnavailable("The Redis server of REDIS_URL does not answer: the host cannot be reached.")
    redis_speaks = said.startswith((b"+PONG", b"-NOAUTH", b"-ERR", b"-LOADING", b"-MISCONF", b"-DENIED", b"-WRONGPASS"))
    if redis_speaks and scheme == "rediss":
        return RedisMisconfigured("The Redis server speaks plain, not TLS: write redis:// in REDIS_URL.")
    if redis_speaks:
        return RedisUnavailable(f"The Redis server of REDIS_URL does not answer ({type(error).__name__}).")
    if _speaks_tls(host, port):
        if scheme == "redis":
            return RedisMisconfigured("The server speaks TLS: write rediss:// in REDIS_URL, or name its plain port.")
        if "ssl" in str(error).lower():
            return RedisMisconfigured(
                "The TLS handshake with the Redis server fails; it may want a client certificate (ssl_certfile)."
            )
        return RedisMisconfigured("What answers over TLS is no Redis server: is the port in REDIS_URL right?")
    other = next((name for start, name in OTHERS.items() if said.startswith(start)), "something else" if said else "")
    if other:
        return RedisMisconfigured(f"What answers is no Redis server but {other}: is the port in REDIS_URL right?")
    return RedisUnavailable("The Redis server of REDIS_URL does not answer: it takes the connection and stays silent.")


def _answer_to_ping(host: str, port: int) -> bytes:
    """The first bytes that come back; none from who stays silent or hangs up."""
    connection = socket.create_connection((host, port), timeout=PEEK_S)
    with connection, contextlib.suppress(TimeoutError, ConnectionError):
        connection.sendall(b"PING / HTTP/1.0\r\n\r\n")
        return connection.recv(64)
    return b""


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it is TLS
    try:
        with socket.create_connection((host, port), timeout=PEEK_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)
    except OSError:
        return False


def _located(error: ServiceError, url: str) -> ServiceError:
    """`error` with the server's address, without name and password."""
    parts = urlsplit(url)
    where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
    database = "" if parts.scheme == "unix" or parts.path in {"", "/"} else f", database {parts.path.strip('/')}"
    return type(error)(f"{error.detail} (at {where}{database})")
