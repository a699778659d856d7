"""Remembers which webhook messages are still to be delivered, when to try next, and what became of each attempt.

A message is written in the same transaction as the end of its job, and is sent until the receiver takes it: at least
once, under one stable `webhook-id`. The schedule is kept here and not in Celery, whose delayed messages outlive their
visibility timeout and come back doubled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import redis

from infra.errors import DeliveryNotFound
from infra.jobs import delivery_scripts, scripts
from infra.jobs.records import DELIVERY_ID
from infra.runtime.settings import WebhookSettings

HIDDEN_S = 30.0  # a due delivery that was handed to the queue is handed out again after this
LEASE_MARGIN_S = 30.0  # a courier's lease outlives its HTTP time limit by this
LONGEST_RETRY_AFTER_S = 86_400.0
JITTER = 0.1
SILENT_END = "Each attempt was counted, and the last one ended without a word."


@dataclass(frozen=True)
class DeliveryAttempt:
    """What one attempt came to: `status` of HTTP if there was an answer, `error` if it was no 2xx."""

    at: float
    attempt: int
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """A webhook message. `id` is the webhook-id; `status` is pending, delivered, failed or disabled (410 Gone)."""

    id: str
    job_id: str
    url: str
    status: str
    attempts: int  # this one included
    token: int
    created_at: float
    next_at: float
    last_status: int | None = None
    last_error: str | None = None


class Deliveries:
    """The part of the ledger about webhook messages; `now` as in JobLedger."""

    def __init__(self, client: redis.Redis, settings: WebhookSettings, now: Callable[[], str]) -> None:
        self._redis = client
        self._settings = settings
        self._now = now
        self._claim = client.register_script(delivery_scripts.CLAIM_DUE)
        self._take = client.register_script(delivery_scripts.TAKE)
        self._record = client.register_script(delivery_scripts.RECORD)
        self._replay = client.register_script(delivery_scripts.REPLAY_DELIVERY)

    def due(self, now: float | None = None, limit: int = 100) -> list[str]:
        """The ids of messages whose time has come. Each is then hidden for HIDDEN_S, so that keepers don't double it."""
        ids: list[str] = self._claim(
            keys=[scripts.DUE], args=[self._now() if now is None else repr(now), HIDDEN_S, limit]
        )
        return ids

    def get(self, delivery_id: str) -> Delivery:
        """Raises DeliveryNotFound."""
        record = self._redis.hgetall(self._key(delivery_id)) if DELIVERY_ID.fullmatch(delivery_id) else {}
        if not record:
            raise DeliveryNotFound(f"There is no delivery {delivery_id[:64]!r}.")
        return _parse({str(name): str(value) for name, value in record.items()})

    def attempts(self, delivery_id: str) -> tuple[DeliveryAttempt, ...]:
        """What was tried so far, oldest first, at most 50."""
        lines = self._redis.lrange(self._key(delivery_id) + ":log", 0, -1)
        return tuple(_parse_attempt(str(line)) for line in lines)

    def take(self, delivery_id: str) -> Delivery | None:
        """Counts an attempt and leases the message to the caller. None: not due, finished, or another courier has it.

        A message whose couriers died over all its attempts fails here: nobody is left to say so.
        """
        lease_s = self._settings.timeout_s + LEASE_MARGIN_S
        args: list[str | float] = [self._now(), lease_s, delivery_id, self._settings.max_attempts, SILENT_END]
        flat: list[str] = self._take(keys=[self._key(delivery_id), scripts.DUE], args=args)
        return _parse(dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    def delivered(self, delivery: Delivery, status: int) -> bool:
        """The receiver answered 2xx. False: the lease was lost meanwhile, so that another attempt follows."""
        return self._write(delivery, "delivered", 0.0, status, "")

    def failed(
        self, delivery: Delivery, error: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> str:
        """Schedules the next attempt; 410 disables the message, the last attempt fails it.

        Returns the new status, or "lost" if the lease was lost, so that another attempt follows in any case.
        """
        if status == 410:
            outcome = "disabled"
        elif delivery.attempts >= self._settings.max_attempts:
            outcome = "failed"
        else:
            outcome = "pending"
        delay_s = self._delay_s(delivery.attempts, retry_after_s)
        return outcome if self._write(delivery, outcome, delay_s, status, error) else "lost"

    def replay(self, delivery_id: str) -> Delivery:
        """Makes the message due at once with all its attempts ahead, under the same id. Raises DeliveryNotFound."""
        self.get(delivery_id)
        self._replay(keys=[self._key(delivery_id), scripts.DUE], args=[self._now()])
        return self.get(delivery_id)

    def _delay_s(self, attempts: int, retry_after_s: float | None) -> float:
        schedule = self._settings.schedule_s
        planned = schedule[min(attempts, len(schedule) - 1)] * (1 + random.uniform(0, JITTER))
        return max(planned, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))

    def _write(self, delivery: Delivery, outcome: str, delay_s: float, status: int | None, error: str) -> bool:
        keys = [self._key(delivery.id), scripts.DUE, self._key(delivery.id) + ":log"]
        http_status = "" if status is None else str(status)
        args: list[str | float] = [self._now(), delivery.token, outcome, delay_s, http_status, error[:500]]
        return bool(self._record(keys=keys, args=args))

    @staticmethod
    def _key(delivery_id: str) -> str:
        return scripts.delivery_key(delivery_id)


def _parse(record: dict[str, str]) -> Delivery:
    return Delivery(
        id=record["id"],
        job_id=record["job_id"],
        url=record["url"],
        status=record["status"],
        attempts=int(record["attempts"]),
        token=int(record["token"]),
        created_at=float(record["created_at"]),
        next_at=float(record["next_at"]),
        last_status=int(record["last_status"]) if record.get("last_status") else None,
        last_error=record.get("last_error") or None,
    )


def _parse_attempt(line: str) -> DeliveryAttempt:
    entry = json.loads(line)
    return DeliveryAttempt(
        at=float(entry["at"]),
        attempt=int(entry["attempt"]),
        status=int(entry["status"]) if entry["status"] else None,
        error=entry["error"] or None,
    )
