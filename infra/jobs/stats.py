"""The ledger in numbers: what metrics, health checks and keepers look at."""

from __future__ import annotations

import redis

from infra.jobs import scripts
from infra.jobs.records import QUEUES, LedgerStats


def queue_key(queue: str) -> str:
    """The Redis list of a Celery queue: kombu's `global_keyprefix`, which infra.jobs.queue sets, and the queue's name."""
    return f"shitu:queue:{queue}"


def read_stats(client: redis.Redis, now: float, consumed_age_s: dict[str, float]) -> LedgerStats:
    """The numbers at `now`, in one transaction of constant-time questions; `consumed_age_s` is handed through."""
    with client.pipeline(transaction=True) as pipe:
        pipe.zcard(scripts.OPEN)
        pipe.zcard(scripts.QUEUED)
        pipe.zrange(scripts.QUEUED, 0, 0, withscores=True)
        pipe.hgetall(scripts.TOTALS)
        pipe.zcount(scripts.DUE, "-inf", now)
        pipe.zcard(scripts.DUE)
        for queue in QUEUES:
            pipe.llen(queue_key(queue))
        opened, queued, oldest, totals, due, pending, *lengths = pipe.execute()
    finished: dict[tuple[str, str], int] = {}
    for name, count in totals.items():
        kind, _, status = name.partition(":")
        finished[kind, status] = int(count)
    return LedgerStats(
        queued=queued,
        processing=max(0, opened - queued),
        oldest_queued_age_s=max(0.0, now - oldest[0][1]) if oldest else 0.0,
        finished=finished,
        deliveries_due=due,
        deliveries_pending=pending,
        messages=dict(zip(QUEUES, lengths, strict=True)),
        consumed_age_s=consumed_age_s,
    )
