"""Opens Redis from one URL, for redis-py and for Celery, with time limits that keep a request from hanging.

`redis://host:port/db`, `rediss://…` (TLS) or `unix:///path/to/redis.sock?db=0`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 5.0


def connect(url: str) -> redis.Redis:
    """A client with a connection pool, safe to share between threads; replies are `str`.

    A lost connection is tried three times within half a second, then redis.RedisError reaches the caller. So every
    write to Redis here must be safe to repeat. A server that accepts and stays silent is not asked twice.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=REPLY_TIMEOUT_S,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=0.25, base=0.05), 3, supported_errors=(redis.ConnectionError,)),
        **({} if is_socket(url) else {"socket_keepalive": True}),
    )


def is_socket(url: str) -> bool:
    """Whether the URL names a unix socket, which knows no TCP options."""
    return urlsplit(url).scheme == "unix"


def celery_url(url: str) -> str:
    """The same server as kombu spells it: a unix socket is `redis+socket:///path?virtual_host=<db>` there.

    kombu leaves TLS certificates unchecked unless told otherwise, redis-py checks them: here both do.
    """
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        return url + ("&" if parts.query else "?") + "ssl_cert_reqs=required"
    if not is_socket(url):
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def server_version(client: redis.Redis) -> tuple[int, int]:
    """Major and minor version of the Redis (or compatible) server."""
    info: dict[str, Any] = client.info("server")
    major, minor = str(info["redis_version"]).split(".")[:2]
    return int(major), int(minor)
