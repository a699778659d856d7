"""Remembers which webhook messages are still to be delivered, when to try next, and what became of each attempt.

A message is written in the same transaction as the end of its job, and is sent until the receiver takes it: at least
once, under one stable `webhook-id`. The schedule is kept here and not in Celery, whose delayed messages outlive their
visibility timeout and come back doubled.
"""

from __future__ import annotations

import json
import random
import time as system_time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from infra.errors.webhooks import DeliveryFinished, DeliveryNotFound, WebhookDisabled
from infra.jobs import delivery_scripts, scripts
from infra.jobs.endpoints import Endpoint, deliveries_key
from infra.jobs.feed import event_key
from infra.jobs.records import DELIVERY_ID, new_id
from infra.runtime import tracing
from infra.runtime.settings import WebhookSettings

if TYPE_CHECKING:
    from infra.runtime.tracing import TraceContext

HIDDEN_S = 30.0  # a due delivery that was handed to the queue is handed out again after this
LEASE_MARGIN_S = 30.0  # a courier's lease outlives its HTTP time limit by this
LONGEST_RETRY_AFTER_S = 86_400.0
JITTER = 0.1
QUICK_S = 5.0  # a receiver that answers within is sent several messages at a time
SLOW_SHARE = 0.25  # of a courier's places, for all receivers that were slow
DOUBTFUL_SHARE = 0.75  # for those and the ones that are still to be known
PARKED_S = 60.0  # a message that finds no place is looked at again, were it not called before
FEWEST_FAILURES = 5  # that disable an endpoint: one message a month that fails is no dead receiver
ANSWER_CHARS = 1024
PIECE = 200
SILENT_END = "Each attempt was counted, and the last one ended without a word."


@dataclass(frozen=True)
class DeliveryAttempt:
    """What one attempt came to: `status` of HTTP if there was an answer, `error` if it was no 2xx."""

    at: float
    attempt: int
    status: int | None
    error: str | None
    answer: str | None = None  # the beginning of what the receiver said
    duration_ms: float | None = None


@dataclass(frozen=True)
class Seen:
    """What a courier saw of a receiver in one attempt: the answer's beginning, and how long it took."""

    answer: str = ""
    duration_s: float = 0.0


UNSEEN = Seen()


@dataclass(frozen=True)
class Delivery:
    """A webhook message. `status` is pending, delivered, failed, disabled (410 Gone, or the endpoint is) or stopped.

    To a job's own webhook, `id` is the webhook-id, which is that of its event; to an endpoint, the event's with the
    endpoint's, and the event's is sent.
    """

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
    event_id: str | None = None
    type: str | None = None  # of the event
    endpoint_id: str | None = None
    test: bool = False
    ended_at: float | None = None
    trace: TraceContext | None = None  # that its job belongs to

    @property
    def webhook_id(self) -> str:
        """The header of this name: the same for all messages about one event."""
        return self.event_id or self.id


class Deliveries:
    """The part of the ledger about webhook messages; `now` as in JobLedger."""

    def __init__(self, client: redis.Redis, settings: WebhookSettings, now: Callable[[], str]) -> None:
        self._redis = client
        self._settings = settings
        self._now = now
        self.call: Callable[[str], object] = lambda _delivery_id: None  # who hands the next to a receiver to the queue
        self._claim = client.register_script(delivery_scripts.CLAIM_DUE)
        self._take = client.register_script(delivery_scripts.TAKE)
        self._record = client.register_script(delivery_scripts.RECORD)
        self._replay = client.register_script(delivery_scripts.REPLAY_DELIVERY)
        self._stop = client.register_script(delivery_scripts.STOP)
        self._add = client.register_script(delivery_scripts.ADD)
        places = settings.concurrency
        self._places = (settings.per_receiver, max(1, int(places * SLOW_SHARE)), max(1, int(places * DOUBTFUL_SHARE)))

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
        """Counts an attempt and leases the message to the caller.

        None: not due, finished, another courier has it, or its receiver has as many under way as it may.

        A message whose couriers died over all its attempts fails here: nobody is left to say so.
        """
        lease_s = self._settings.timeout_s + LEASE_MARGIN_S
        args: list[str | float] = [self._now(), lease_s, delivery_id, self._settings.max_attempts, SILENT_END]
        args += [*self._places, PARKED_S]
        flat: list[str] = self._take(keys=[self._key(delivery_id), scripts.DUE], args=args)
        return _parse(dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    def delivered(self, delivery: Delivery, status: int, seen: Seen = UNSEEN) -> bool:
        """The receiver answered 2xx. False: the lease was lost meanwhile, so that another attempt follows."""
        return self._write(delivery, "delivered", 0.0, status, "", seen)

    def failed(
        self,
        delivery: Delivery,
        error: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        seen: Seen = UNSEEN,
    ) -> str:
        """Schedules the next attempt; 410 disables the message and its endpoint, the last attempt fails it.

        Returns the new status, or "lost" if the lease was lost, so that another attempt follows in any case.
        """
        if status == 410:
            outcome = "disabled"
        elif delivery.test or delivery.attempts >= self._settings.max_attempts:
            outcome = "failed"
        else:
            outcome = "pending"
        delay_s = self._delay_s(delivery.attempts, retry_after_s)
        return outcome if self._write(delivery, outcome, delay_s, status, error, seen) else "lost"

    def replay(self, delivery_id: str) -> Delivery:
        """Makes the message due at once with all its attempts ahead, under the same id. Raises DeliveryNotFound."""
        self.get(delivery_id)
        self._replay(keys=[self._key(delivery_id), scripts.DUE], args=[self._now()])
        return self.get(delivery_id)

    def stop(self, delivery_id: str) -> Delivery:
        """Sends a pending message no more. Raises DeliveryNotFound, DeliveryFinished."""
        before = self.get(delivery_id)
        if not self._stop(keys=[self._key(delivery_id), scripts.DUE], args=[self._now()]):
            raise DeliveryFinished(f"Only a pending delivery can be stopped; {delivery_id} is {before.status}.")
        return self.get(delivery_id)

    def test(self, endpoint: Endpoint, data: dict[str, object]) -> Delivery:
        """A message of type webhook.test, tried once, whether or not the endpoint is enabled."""
        event_id = new_id("msg", system_time.time())
        delivery_id = to_endpoint(event_id, endpoint.id)
        self._send(delivery_id, event_id, endpoint.id, "1", json.dumps(data))
        return self.get(delivery_id)

    def add(self, endpoint: Endpoint, event_id: str) -> bool:
        """A message to the endpoint about an event that it was not sent. False: it was, or the event is gone."""
        return self._send(to_endpoint(event_id, endpoint.id), event_id, endpoint.id, "", "")

    def of_endpoint(self, endpoint_id: str, statuses: Container[str], limit: int, before: str | None) -> list[Delivery]:
        """The endpoint's messages of these statuses, the latest first, at most `limit` of them, those before an id."""
        found: list[Delivery] = []
        for delivery in self._backwards(endpoint_id, "+inf", "-inf", before):
            if delivery.status in statuses:
                found.append(delivery)
                if len(found) == limit:
                    break
        return found

    def between(self, endpoint_id: str, since: float, until: float) -> Iterator[Delivery]:
        """The endpoint's messages of this time, tests apart, the latest first."""
        for delivery in self._backwards(endpoint_id, f"({until:.6f}", f"{since:.6f}", None):
            if not delivery.test:
                yield delivery

    def require_enabled(self, endpoint: Endpoint) -> None:
        """Raises WebhookDisabled."""
        if not endpoint.enabled:
            raise WebhookDisabled(f"The webhook {endpoint.id} is disabled: enable it first.")

    def _backwards(self, endpoint_id: str, until: str, since: str, before: str | None) -> Iterator[Delivery]:
        listed = deliveries_key(endpoint_id)
        start = 0
        if before is not None:
            rank: Any = self._redis.zrevrank(listed, before)
            if rank is None:
                raise DeliveryNotFound(f"There is no delivery {before[:64]!r} of this webhook.")
            start = int(rank) + 1
        while True:
            if before is not None:
                ids = self._redis.zrevrange(listed, start, start + PIECE - 1)
            else:
                ids = self._redis.zrevrangebyscore(listed, until, since, start=start, num=PIECE)
            with self._redis.pipeline(transaction=False) as pipe:
                for one in ids:
                    pipe.hgetall(self._key(str(one)))
                records: list[dict[str, str]] = pipe.execute()
            expired = [str(one) for one, record in zip(ids, records, strict=True) if not record]
            if expired:  # tests, which are not kept as long as jobs may be
                self._redis.zrem(listed, *expired)
            yield from (_parse(record) for record in records if record)
            if len(ids) < PIECE:
                return
            start += PIECE - len(expired)

    def _send(self, delivery_id: str, event_id: str, endpoint_id: str, test: str, data: str) -> bool:
        keys = [self._key(delivery_id), scripts.DUE, event_key(event_id)]
        return bool(self._add(keys=keys, args=[self._now(), delivery_id, event_id, endpoint_id, test, data]))

    def _delay_s(self, attempts: int, retry_after_s: float | None) -> float:
        schedule = self._settings.schedule_s
        planned = schedule[min(attempts, len(schedule) - 1)] * (1 + random.uniform(0, JITTER))
        return max(planned, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))

    def _write(
        self, delivery: Delivery, outcome: str, delay_s: float, status: int | None, error: str, seen: Seen
    ) -> bool:
        keys = [self._key(delivery.id), scripts.DUE, self._key(delivery.id) + ":log"]
        http_status = "" if status is None else str(status)
        args: list[str | float] = [self._now(), delivery.token, outcome, delay_s, http_status, error[:500]]
        args += [seen.answer[:ANSWER_CHARS], f"{1000 * seen.duration_s:.0f}", int(seen.duration_s <= QUICK_S)]
        args += [*self._places, HIDDEN_S, self._settings.disable_after_s, FEWEST_FAILURES, delivery.id]
        written, *called = self._record(keys=keys, args=args)
        for one in called:
            self.call(str(one))
        return bool(written)

    @staticmethod
    def _key(delivery_id: str) -> str:
        return scripts.delivery_key(delivery_id)


def to_endpoint(event_id: str, endpoint_id: str) -> str:
    """The id of the message about an event to an endpoint."""
    return f"dlv_{event_id[4:]}{endpoint_id[4:]}"


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
        event_id=record.get("event_id"),
        type=record.get("type"),
        endpoint_id=record.get("endpoint"),
        test="test" in record,
        ended_at=float(record["ended_at"]) if record.get("ended_at") else None,
        trace=tracing.parse(record.get("traceparent"), record.get("tracestate")),
    )


def _parse_attempt(line: str) -> DeliveryAttempt:
    entry = json.loads(line)
    return DeliveryAttempt(
        at=float(entry["at"]),
        attempt=int(entry["attempt"]),
        status=int(entry["status"]) if entry["status"] else None,
        error=entry["error"] or None,
        answer=entry.get("answer") or None,
        duration_ms=float(entry["ms"]) if entry.get("ms") else None,
    )
