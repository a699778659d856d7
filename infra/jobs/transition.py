"""Calls a script of the ledger about one job (infra.jobs.scripts), with the keys and arguments that all of them have."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from infra.errors.jobs import JobPoisoned
from infra.jobs import scripts
from infra.jobs.records import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis
    from redis.client import Pipeline

    from infra.runtime.settings import JobSettings, WebhookSettings


class Transition:
    """One of these scripts; may be used by many threads. `clock` gives its first argument, see JobLedger.clock."""

    def __init__(
        self,
        client: redis.Redis,
        settings: JobSettings,
        webhooks: WebhookSettings,
        clock: Callable[[], str],
        source: str,
    ) -> None:
        self._settings = settings
        self._webhooks = webhooks
        self._clock = clock
        self._script = client.register_script(source)

    def __call__(
        self, job_id: str, *args: str | float, now: float | None = None, client: Pipeline | None = None
    ) -> Any:
        """Runs it with `args`, its own; within a transaction, if `client` is one. Raises redis.RedisError."""
        keys = [
            scripts.job_key(job_id),
            scripts.OPEN,
            scripts.QUEUED,
            scripts.FINISHED,
            scripts.TOTALS,
            scripts.events_key(job_id),
            scripts.DUE,
        ]
        clock = self._clock() if now is None else repr(now)
        delivery_id = new_id("msg", time.time())
        common = (clock, job_id, self._settings.retention_s, delivery_id, self._webhooks.schedule_s[0])
        return self._script(keys=keys, args=[*common, *args], client=client)


def poison(settings: JobSettings) -> str:
    """The error, as JSON, of a job that has no attempt left."""
    cap = settings.max_attempts
    message = f"The job was given up: each of its {cap} attempts ended without an answer."
    return json.dumps({"code": JobPoisoned.code, "message": message, "retryable": False, "attempts": cap})
