"""The keeper's part of the ledger: jobs that are overdue, whose Cancel-After has passed, or whose retention has ended.

What one record makes impossible is tried again at growing intervals, and then never again: it must not keep the keeper
from all others.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Protocol

import redis

from contracts.jobs import JobKind
from infra.errors.jobs import JobPoisoned
from infra.jobs import keeper_scripts, stumbles
from infra.jobs.records import Swept
from infra.jobs.scripts import CANCEL_AT, FINISHED, OPEN, job_key
from infra.jobs.transition import poison

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.jobs.transition import Transition
    from infra.runtime.settings import JobSettings, WebhookSettings

STUMBLES = 5  # over one broken record, before the keeper gives it up

log = logging.getLogger(__name__)


class JobQueue(Protocol):
    """Where ids are published: infra.jobs.queue.Queue."""

    def publish(self, kind: JobKind, job_id: str) -> bool:
        """Publishes a job for the workers."""

    def fetch(self, job_id: str) -> bool:
        """Publishes a job whose photo is still to be fetched."""


class Sweeper:
    """What the keeper does in each round; every step may be done twice. `time` and `transition` as in JobLedger."""

    def __init__(
        self,
        client: redis.Redis,
        settings: JobSettings,
        webhooks: WebhookSettings,
        time: Callable[[], float],
        transition: Callable[[str], Transition],
    ) -> None:
        self._redis = client
        self._settings = settings
        self._webhooks = webhooks
        self._time = time
        self._sweep, self._retire = transition(keeper_scripts.SWEEP), transition(keeper_scripts.RETIRE)
        self._cancel_late, self._abandon = transition(keeper_scripts.CANCEL_LATE), transition(keeper_scripts.ABANDON)

    def overdue(self, now: float | None = None, limit: int = 1000) -> list[str]:
        """Open jobs whose deadline has passed, the longest overdue first."""
        until = self._time() if now is None else now
        return [str(found) for found in self._redis.zrangebyscore(OPEN, "-inf", until, start=0, num=limit)]

    def sweep(self, queue: JobQueue, now: float | None = None) -> Swept:
        """Publishes overdue jobs again, ends those that are poisoned or were to be canceled. Keepers may run side by side."""
        settings = self._settings
        done: dict[str, list[str]] = {"republished": [], "poisoned": [], "canceled": []}
        for job_id in self.overdue(now):
            args = (settings.queued_deadline_s, settings.max_attempts, poison(settings))
            try:
                outcome: str = self._sweep(job_id, *args, now=now)
                if outcome == "to_fetch":
                    outcome = "republished"
                    queue.fetch(job_id)
                elif outcome == "republished":
                    queue.publish(JobKind.of(job_id), job_id)
            except Exception as error:  # one broken record must not keep the keeper from all others
                self._stumbled(job_id, OPEN, error)
                continue
            if outcome:
                done[outcome].append(job_id)
        return Swept(**{name: tuple(ids) for name, ids in done.items()})

    def cancel_late(self, now: float | None = None, limit: int = 1000) -> tuple[str, ...]:
        """Cancels open jobs whose Cancel-After has passed. Returns those that ended so at once; running ones follow."""
        until = self._time() if now is None else now
        canceled = []
        for job_id in map(str, self._redis.zrangebyscore(CANCEL_AT, "-inf", until, start=0, num=limit)):
            try:
                outcome: str = self._cancel_late(job_id, now=now)
            except Exception as error:  # as in `sweep`
                self._stumbled(job_id, CANCEL_AT, error)
                continue
            if outcome:
                canceled.append(job_id)
            elif not self._redis.exists(job_key(job_id)):
                self._redis.zrem(CANCEL_AT, job_id)
        return tuple(canceled)

    def retire(self, now: float | None = None, limit: int = 1000) -> tuple[str, ...]:
        """Removes jobs whose retention has ended, leaving a tombstone that answers 410 for a while. Returns their ids."""
        until = self._time() if now is None else now
        ids = self._redis.zrangebyscore(FINISHED, "-inf", until, start=0, num=limit)
        retired = []
        for job_id in map(str, ids):
            try:
                if self._retire(job_id, self._settings.tombstone_s, self._webhooks.failed_retention_s, now=now):
                    retired.append(job_id)
            except Exception as error:  # as in `sweep`
                self._stumbled(job_id, FINISHED, error)
        return tuple(retired)

    def _stumbled(self, job_id: str, where: str, error: Exception) -> None:
        """Counts a keeper's stumble over an entry: looked at again at growing intervals, and then never again.

        A server that cannot be reached, is full or read-only is no entry's fault: that error is raised.
        """
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            raise error
        times = stumbles.stumbled(self._redis, job_id)
        if times < STUMBLES:
            log.error("a job's record is broken", extra={"job_id": job_id, "times": times}, exc_info=error)
            self._redis.zadd(where, {job_id: self._time() + stumbles.pause_s(times)}, xx=True)
            return
        log.error("a job's record stays broken; it is given up", extra={"job_id": job_id}, exc_info=error)
        report = {"code": JobPoisoned.code, "message": "The job's record cannot be read.", "retryable": False}
        self._abandon(job_id, json.dumps(report))
        stumbles.given_up(self._redis, job_id)
