"""Which workers are ready, and when each queue last moved: the difference between a living worker and a working one.

After a lost connection a Celery worker can live, answer probes and take nothing. So a worker says that it is ready only
for a while, and every task it takes stamps its queue; the keeper's canary makes sure that there is always such a task.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from infra.jobs.scripts import CLOCK, CONSUMED, WORKERS


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that said it is ready: models loaded, and since when it need not be believed any more."""

    name: str
    info: dict[str, Any]  # engine, models, queues: what the worker reports of itself
    expires_at: float


_CONSUMED = CLOCK + "redis.call('HSET', KEYS[1], ARGV[2], seconds(now))"


def ready(report: Mapping[Any, str | bytes], now: float) -> tuple[WorkerInfo, ...]:
    """Who of the WORKERS is to be believed at `now`, by name."""
    records = [(str(name), json.loads(text)) for name, text in report.items()]
    alive = [WorkerInfo(name, one["info"], one["expires_at"]) for name, one in records if one["expires_at"] > now]
    return tuple(sorted(alive, key=lambda worker: worker.name))


class Presence:
    """The part of the ledger about workers; `time` gives the ledger's time in seconds, `now` as in JobLedger."""

    def __init__(self, client: redis.Redis, time: Callable[[], float], now: Callable[[], float] | None = None) -> None:
        self._redis = client
        self._time = time
        self._now = now
        self._consumed = client.register_script(_CONSUMED)

    def worker_ready(self, name: str, info: dict[str, Any], ttl_s: float) -> None:
        """`name` has its models loaded; believed for `ttl_s` seconds, so to be said again before."""
        record = json.dumps({"info": info, "expires_at": self._time() + ttl_s})
        self._redis.hset(WORKERS, name, record)

    def worker_gone(self, name: str) -> None:
        """`name` stops."""
        self._redis.hdel(WORKERS, name)

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Who is ready now, by name. Forgets those who have not been heard of."""
        report = self._redis.hgetall(WORKERS)
        alive = ready(report, self._time())
        if len(alive) < len(report):
            stale = {str(name) for name in report} - {worker.name for worker in alive}
            with contextlib.suppress(
                redis.ResponseError
            ):  # only tidying: a Redis that takes no writes can still be read
                self._redis.hdel(WORKERS, *stale)
        return alive

    def consumed(self, queue: str) -> None:
        """A worker has just taken a task from `queue`, if only a canary."""
        self._consumed(keys=[CONSUMED], args=["" if self._now is None else repr(self._now()), queue])

    def consumed_age_s(self) -> dict[str, float]:
        """For each queue that ever moved, the seconds since."""
        now = self._time()
        return {str(queue): max(0.0, now - float(at)) for queue, at in self._redis.hgetall(CONSUMED).items()}
