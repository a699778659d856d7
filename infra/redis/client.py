"""Opens Redis from one URL, for redis-py and for Celery, with time limits that keep a request from hanging.

`redis://host:port/db`, `rediss://…` (TLS) or `unix:///path/to/redis.sock?db=0`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from infra.runtime import redis_url, tracing

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 5.0
MOST_CONNECTIONS = 10_000  # of one process; redis-py's own 100 are fewer than the threads that a web process may have

PREFIX = "shitu"
# What keys begin with in the code. Values never do: an id, a JSON text, a worker's `host:number`.
_KEY = re.compile(
    r"shitu:(?=(?:jobs?|stumbled|events|tombstone|event|feed|webhooks?|receivers?|delivery|deliveries|workers|consumed|photos?|gallery|keeper|keys?|store|probe|queue)(?::|$))"
)


def connect(url: str, prefix: str = PREFIX) -> redis.Redis:
    """A client with a connection pool, safe to share between threads; replies are `str`.

    A lost connection is tried three times within half a second, then redis.RedisError reaches the caller. So every
    write to Redis here must be safe to repeat. A server that accepts and stays silent gets no second request.
    No health checks: a server that cannot write refuses PING too, and what can be read must be readable then.
    With another `prefix`, keys that the code calls `shitu:…` are `prefix:…` in the server.
    """
    kind = redis.Redis if prefix == PREFIX else _prefixed(prefix)
    return kind.from_url(
        redis_url.checked(url),
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=REPLY_TIMEOUT_S,
        max_connections=MOST_CONNECTIONS,
        retry=Retry(ExponentialBackoff(cap=0.25, base=0.05), 3, supported_errors=(redis.ConnectionError,)),
        **({} if is_socket(url) else {"socket_keepalive": True}),
    )


def open_client(settings: Settings) -> redis.Redis:
    """The client for an installation's keys: the server and the prefix of `settings`, which must name a server."""
    if settings.redis_url is None:
        raise ValueError("settings.redis_url is not set: the launcher sets it for the processes that it starts")
    return tracing.instrument_redis(connect(settings.redis_url, settings.redis_prefix))


def is_socket(url: str) -> bool:
    """Whether the URL names a unix socket, which knows no TCP options."""
    return urlsplit(url).scheme == "unix"


def celery_url(url: str) -> str:
    """The same server as kombu spells it: a unix socket is `redis+socket:///path?virtual_host=<db>` there.

    kombu leaves TLS certificates unchecked unless set otherwise, redis-py checks them: here both do.
    """
    parts = urlsplit(redis_url.checked(url))
    query = dict(parse_qsl(parts.query))
    database = query.get("db", "0")
    if not is_socket(url):
        path = f"/{database}" if "db" in query else parts.path  # kombu looks for it nowhere else
        tls = {name: value for name, value in query.items() if name.startswith("ssl_")}
        if parts.scheme == "rediss":
            tls.setdefault("ssl_cert_reqs", "required")
        return urlunsplit(parts._replace(path=path, query=urlencode(tls, safe="/")))
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def in_installation(text: str, prefix: str) -> str:
    """A key, or a script that names keys in quotes, as this installation has it."""
    return text.replace("'shitu:", f"'{prefix}:") if "'shitu:" in text else _KEY.sub(f"{prefix}:", text, count=1)


def _prefixed(prefix: str) -> type[redis.Redis]:
    """A client that writes `prefix` for `shitu` in keys and scripts."""

    def renamed(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_renamed(argument, prefix) for argument in arguments)

    class Pipeline(redis.client.Pipeline):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            return super().execute_command(*renamed(args), **options)  # type: ignore[no-untyped-call]

    class Client(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            return super().execute_command(*renamed(args), **options)  # type: ignore[no-untyped-call]

        def register_script(self, script: Any) -> Any:
            return super().register_script(in_installation(script, prefix))

        def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:  # redis-py's
            return Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    return Client


def _renamed(argument: Any, prefix: str) -> Any:
    if not isinstance(argument, str):
        return argument
    if _KEY.match(argument) or "redis.call('" in argument:
        return in_installation(argument, prefix)
    return argument


def server_time(client: redis.Redis) -> float:
    """The clock that all processes share: seconds since 1970."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)
