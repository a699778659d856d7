"""How often the keeper stumbled over one entry (a job's record, a photo), so that it can give it up: a counter in Redis that lapses."""

from __future__ import annotations

import redis

from infra.jobs.scripts import stumbled_key

FIRST_PAUSE_S = 5.0  # doubled with each
KEPT_S = 86_400


def stumbled(client: redis.Redis, entry_id: str) -> int:
    """Counts one more; how often it was by now."""
    times = int(client.incr(stumbled_key(entry_id)))
    client.expire(stumbled_key(entry_id), KEPT_S)
    return times


def pause_s(times: int) -> float:
    """How long to leave the entry alone after so many stumbles."""
    return float(FIRST_PAUSE_S * 2**times)


def given_up(client: redis.Redis, entry_id: str) -> None:
    """Nobody looks at the entry again: its counter is not needed any more."""
    client.delete(stumbled_key(entry_id))
