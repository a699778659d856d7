"""The job ledger: what was accepted, who works on it, how it ended. It is the truth; the queue is only a hint.

Celery on Redis loses messages (a worker killed between taking one and noting it). So a job is written here with a
deadline before it is queued, a worker holds a lease on it while it runs, and `sweep` publishes again whatever is
overdue. Duplicates are the price: `start` gives the lease to one at a time, and only the latest lease's token may
finish the job. Attempts are capped: a job that kills its workers fails with `job_poisoned` and can be replayed.

Every method may raise redis.RedisError when the server cannot be reached.
"""

from __future__ import annotations

import itertools
import json
import logging
import time as system_time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import redis
from redis.client import Pipeline
from redis.commands.core import Script

from contracts.jobs import JobError, JobKind
from infra.errors.jobs import JobExpired, JobFinished, JobNotFound, JobPoisoned
from infra.errors.keys import OpenJobsLimited
from infra.errors.requests import UploadTooSlow
from infra.errors.service import StorageUnavailable
from infra.jobs import scripts, stumbles
from infra.jobs.batches import Batches
from infra.jobs.deliveries import UNSEEN, Deliveries, Delivery, Seen
from infra.jobs.endpoints import Endpoints
from infra.jobs.feed import Feed
from infra.jobs.forecast import Forecast
from infra.jobs.lanes import Lanes
from infra.jobs.listing import Listing, facets_of, found_facets
from infra.jobs.presence import Presence
from infra.jobs.records import (
    JOB_ID,
    Job,
    JobEvent,
    JobStatus,
    Lease,
    LedgerStats,
    Renewal,
    Swept,
    new_id,
    parse_job,
)
from infra.jobs.scripts import PHOTOS_PREFIX
from infra.jobs.stats import read_stats
from infra.jobs.terms import USUAL, Terms
from infra.jobs.watch import JobWatch
from infra.redis.client import open_client, server_time
from infra.redis.durability import wait_until_written
from infra.runtime import tracing
from infra.runtime.settings import JobSettings, Settings, WebhookSettings

__all__ = ["Job", "JobEvent", "JobLedger", "JobStatus", "Lease", "LedgerStats", "Renewal", "Swept", "open_ledger"]

OPEN_RETRY_S = 2.0  # a job takes about so long, and its end is what is waited for
STUMBLES = 5  # over one broken record, before the keeper gives it up

log = logging.getLogger(__name__)


class JobQueue(Protocol):
    """Where ids are published: infra.jobs.queue.Queue."""

    def publish(self, kind: JobKind, job_id: str) -> bool:
        """Publishes a job for the workers."""

    def fetch(self, job_id: str) -> bool:
        """Publishes a job whose photo is still to be fetched."""


def open_ledger(settings: Settings) -> JobLedger:
    """The ledger on the Redis of `settings`, which must name one."""
    return JobLedger(open_client(settings), settings.jobs, settings.webhooks)


class JobLedger:
    """Jobs, their deliveries and their workers in Redis 6.2 or newer. Safe to share between threads.

    `client` must decode replies (infra.redis.client.connect). `now` gives seconds since 1970; None: the Redis server's
    clock, which is the same for all machines.
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: JobSettings | None = None,
        webhooks: WebhookSettings | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._redis = client
        self._settings = settings or JobSettings()
        self._webhooks = webhooks or WebhookSettings()
        self._now = now
        self.deliveries = Deliveries(client, self._webhooks, self.clock)
        self.feed = Feed(client, self._settings.retention_s, self.time)
        self.endpoints = Endpoints(client, self.time)
        self.presence = Presence(client, self.time)
        self.listing = Listing(client)
        self.lanes = Lanes(client, self.clock)
        self.forecast = Forecast(client, self.presence, self.time)
        self.batches = Batches(client, self)
        self._watch = JobWatch(client, self.get)
        self._create, self._start, self._renew = self._scripts(scripts.CREATE, scripts.START, scripts.RENEW)
        self._finish, self._release, self._cancel = self._scripts(scripts.FINISH, scripts.RELEASE, scripts.CANCEL)
        self._replay, self._sweep, self._retire = self._scripts(scripts.REPLAY, scripts.SWEEP, scripts.RETIRE)
        (self._cancel_late,) = self._scripts(scripts.CANCEL_LATE)
        self._fetched, self._abandon = self._scripts(scripts.FETCHED, scripts.ABANDON)

    def time(self) -> float:
        """The ledger's time: seconds since 1970."""
        if self._now is not None:
            return self._now()
        return server_time(self._redis)

    # A job's life.

    def create(
        self,
        kind: str,
        request: dict[str, Any],
        webhook_url: str | None = None,
        source_url: str | None = None,
        *,
        job_id: str | None = None,
        terms: Terms = USUAL,
    ) -> Job:
        """Accepts a job: once this returns no kill loses it. `kind` is a JobKind or its name.

        `source_url`: where the photo must be fetched before a worker can have the job; see `fetched`. `job_id`: drawn by
        the caller (`new_id`), who may come twice: the job that has it already is then given as it is.

        The photo of a recognition is kept from now on until the job is retired (infra.jobs.photos). Raises UploadTooSlow if
        it was removed before: it was uploaded longer ago than anybody waits for; OpenJobsLimited if its owner has all the
        open jobs that `terms` allow.
        """
        job_id = job_id or new_id(JobKind(kind).prefix, self._now() if self._now else system_time.time())
        args = self._creation(kind, request, webhook_url, source_url, terms)
        flat: list[str] = self._run(self._create, job_id, *args)
        if flat == ["full"]:
            raise _too_many_open(terms.most_open)
        if not flat:
            raise UploadTooSlow("The photo took too long to arrive and is not kept any more; send it again.")
        wait_until_written(self._redis)
        return parse_job(dict(zip(flat[::2], flat[1::2], strict=True)))

    def create_in(
        self, pipe: Pipeline, kind: str, request: dict[str, Any], webhook_url: str | None, job_id: str, terms: Terms
    ) -> None:
        """`create` as a part of a transaction: infra.jobs.batches."""
        args = self._creation(kind, request, webhook_url, None, terms)
        self._run(self._create, job_id, *args, client=pipe)

    def cancel_in(self, pipe: Pipeline, job_id: str) -> None:
        """`cancel` as a part of a transaction; of a job that has ended nothing changes."""
        self._run(self._cancel, job_id, client=pipe)

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound (also for what is no id), or JobExpired when the record's retention has ended."""
        if not JOB_ID.fullmatch(job_id):
            raise JobNotFound("There is no job with this id.")
        record = self._redis.hgetall(scripts.job_key(job_id))
        if record:
            return parse_job({str(name): str(value) for name, value in record.items()})
        if self._redis.exists(scripts.tombstone_key(job_id)):
            raise JobExpired(f"The job {job_id} ended and its record has expired.")
        raise JobNotFound(f"There is no job {job_id}.")

    def start(self, job_id: str, *, fetching: bool = False) -> Lease | None:
        """Takes the job: queued, or left by a worker whose lease lapsed. None: finished, canceled, or held by another.

        `fetching`: only a job whose photo is still to be fetched; otherwise only one whose photo is there.
        """
        if not JOB_ID.fullmatch(job_id):
            return None
        cap = self._settings.max_attempts
        args = (self._settings.lease_s, cap, self._poison(), int(fetching))
        answer: list[Any] | None = self._run(self._start, job_id, *args)
        if not answer:
            return None
        token, attempt, expires_at = answer
        return Lease(job_id, int(token), int(attempt), float(expires_at), last=int(attempt) >= cap)

    def renew(self, lease: Lease, progress: dict[str, Any] | None = None) -> Renewal:
        """Holds the job for another lease, and tells `progress` to whoever waits. The answer is true only if held."""
        text = "" if progress is None else json.dumps(progress)
        return Renewal(self._run(self._renew, lease.job_id, lease.token, self._settings.lease_s, text))

    def succeed(self, lease: Lease, result: dict[str, Any]) -> bool:
        """Ends the job with its result. False: nothing written, for the lease was lost or the job canceled.

        Raises ValueError for a result with NaN or infinity, which JSON does not have.
        """
        return self._end(
            lease, JobStatus.SUCCEEDED, "result", json.dumps(result, allow_nan=False), found_facets(result)
        )

    def fetched(self, lease: Lease, request: dict[str, Any]) -> bool:
        """The photo is stored and `request` names its key: the job waits for a worker, for the caller to publish.

        False as in `succeed`. Raises StorageUnavailable if the photo was removed before it was named.
        """
        photo = str(request["image"]["key"])
        args = (lease.token, json.dumps(request), photo, self._settings.queued_deadline_s)
        outcome: str = self._run(self._fetched, lease.job_id, *args)
        if outcome == "gone":
            raise StorageUnavailable("The photo was removed before its job could name it.")
        return outcome == "fetched"

    def fail(self, lease: Lease, error: JobError) -> bool:
        """Ends the job with an error `{"code", "message", "retryable"}`. False as in `succeed`."""
        return self._end(lease, JobStatus.FAILED, "error", json.dumps(error))

    def finish_canceled(self, lease: Lease) -> bool:
        """Ends the job as canceled, after `renew` said that this was asked. False: the lease was lost."""
        return self._end(lease, JobStatus.CANCELED, "", "")

    def release(self, lease: Lease, *, delay_s: float = 0.0, counted: bool = True) -> bool:
        """Gives the job back unfinished; the sweeper publishes it after `delay_s` seconds, or the caller does at once.

        `counted=False` when the attempt is not the job's fault (a worker told to stop). A job with no attempt left
        fails as poisoned, one that was to be canceled is. False: the lease was lost.
        """
        args = (lease.token, delay_s, int(counted), self._settings.max_attempts, self._poison())
        return bool(self._run(self._release, lease.job_id, *args))

    def cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once; a running one at its worker's next look, and its result is dropped.

        May be repeated. Raises JobNotFound, JobExpired, or JobFinished if the job succeeded or failed.
        """
        self.get(job_id)
        status: str | None = self._run(self._cancel, job_id)
        if status in {JobStatus.SUCCEEDED, JobStatus.FAILED}:
            raise JobFinished(f"The job {job_id} has already {status}.", status=str(status))
        return self.get(job_id)

    def replay(self, job_id: str) -> Job:
        """Makes a failed job queued again with all its attempts ahead; the caller publishes it (or the sweeper does).

        Raises JobNotFound, JobExpired, JobFinished if it has not failed, or OpenJobsLimited as `create`.
        """
        self.get(job_id)
        status: str | None = self._run(self._replay, job_id, 0.0)
        if status == "full":
            raise _too_many_open()
        if status not in {JobStatus.FAILED, None}:
            raise JobFinished(f"Only a failed job can be replayed; {job_id} is {status}.", status=str(status))
        wait_until_written(self._redis)
        return self.get(job_id)

    # The keeper's work.

    def overdue(self, now: float | None = None, limit: int = 1000) -> list[str]:
        """Open jobs whose deadline has passed, the longest overdue first."""
        until = self.time() if now is None else now
        return [str(found) for found in self._redis.zrangebyscore(scripts.OPEN, "-inf", until, start=0, num=limit)]

    def sweep(self, queue: JobQueue, now: float | None = None) -> Swept:
        """Publishes overdue jobs again, ends those that are poisoned or were to be canceled. Keepers may run side by side."""
        settings = self._settings
        done: dict[str, list[str]] = {"republished": [], "poisoned": [], "canceled": []}
        for job_id in self.overdue(now):
            args = (settings.queued_deadline_s, settings.max_attempts, self._poison())
            try:
                outcome: str = self._run(self._sweep, job_id, *args, now=now)
                if outcome == "to_fetch":
                    outcome = "republished"
                    queue.fetch(job_id)
                elif outcome == "republished":
                    queue.publish(JobKind.of(job_id), job_id)
            except Exception as error:  # one broken record must not keep the keeper from all others
                self._stumbled(job_id, scripts.OPEN, error)
                continue
            if outcome:
                done[outcome].append(job_id)
        return Swept(**{name: tuple(ids) for name, ids in done.items()})

    def cancel_late(self, now: float | None = None, limit: int = 1000) -> tuple[str, ...]:
        """Cancels open jobs whose Cancel-After has passed. Returns those that ended so at once; running ones follow."""
        until = self.time() if now is None else now
        canceled = []
        for job_id in map(str, self._redis.zrangebyscore(scripts.CANCEL_AT, "-inf", until, start=0, num=limit)):
            try:
                outcome: str = self._run(self._cancel_late, job_id, now=now)
            except Exception as error:  # as in `sweep`
                self._stumbled(job_id, scripts.CANCEL_AT, error)
                continue
            if outcome:
                canceled.append(job_id)
            elif not self._redis.exists(scripts.job_key(job_id)):
                self._redis.zrem(scripts.CANCEL_AT, job_id)
        return tuple(canceled)

    def retire(self, now: float | None = None, limit: int = 1000) -> tuple[str, ...]:
        """Removes jobs whose retention has ended, leaving a tombstone that answers 410 for a while. Returns their ids."""
        until = self.time() if now is None else now
        ids = self._redis.zrangebyscore(scripts.FINISHED, "-inf", until, start=0, num=limit)
        retired = []
        for job_id in map(str, ids):
            try:
                if self._run(
                    self._retire, job_id, self._settings.tombstone_s, self._webhooks.failed_retention_s, now=now
                ):
                    retired.append(job_id)
            except Exception as error:  # as in `sweep`
                self._stumbled(job_id, scripts.FINISHED, error)
        return tuple(retired)

    def due_deliveries(self, now: float | None = None) -> list[str]:
        """Deliveries.due: the webhook messages to hand to the queue now."""
        return self.deliveries.due(now)

    def messages(self, job_id: str) -> tuple[str, ...]:
        """The ids of the messages about the job's latest end."""
        events = str(self._redis.hget(scripts.job_key(job_id), "event_ids") or "").split()
        return self.feed.deliveries_of(events[-1]) if events else ()

    def take_delivery(self, delivery_id: str) -> Delivery | None:
        """Deliveries.take: leases one message for one attempt."""
        return self.deliveries.take(delivery_id)

    def delivered(self, delivery: Delivery, status: int, seen: Seen = UNSEEN) -> bool:
        """Deliveries.delivered: the receiver took it."""
        return self.deliveries.delivered(delivery, status, seen)

    def delivery_failed(
        self,
        delivery: Delivery,
        error: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        seen: Seen = UNSEEN,
    ) -> str:
        """Deliveries.failed: it did not, and what follows."""
        return self.deliveries.failed(delivery, error, status=status, retry_after_s=retry_after_s, seen=seen)

    # Waiting and watching.

    def wait(self, job_id: str, timeout_s: float) -> Job:
        """JobWatch.wait: the job once it has finished, or as it is after `timeout_s` seconds."""
        return self._watch.wait(job_id, timeout_s)

    def events(self, job_id: str, last_id: str = "0-0", heartbeat_s: float = 15.0) -> Iterator[JobEvent | None]:
        """JobWatch.events: the job's history after `last_id` and as it happens, to its end."""
        return self._watch.events(job_id, last_id, heartbeat_s)

    def stats(self) -> LedgerStats:
        """How many jobs wait and run, how long the oldest has waited, what is to be delivered."""
        return read_stats(self._redis, self.time(), self.presence.consumed_age_s())

    def _stumbled(self, job_id: str, where: str, error: Exception) -> None:
        """Counts a keeper's stumble over an entry: looked at again at growing intervals, and then never again.

        A server that cannot be reached, is full or read-only is no entry's fault: that error is raised.
        """
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            raise error
        times = stumbles.stumbled(self._redis, job_id)
        if times < STUMBLES:
            log.error("a job's record is broken", extra={"job_id": job_id, "times": times}, exc_info=error)
            self._redis.zadd(where, {job_id: self.time() + stumbles.pause_s(times)}, xx=True)
            return
        log.error("a job's record stays broken; it is given up", extra={"job_id": job_id}, exc_info=error)
        told = {"code": JobPoisoned.code, "message": "The job's record cannot be read.", "retryable": False}
        self._run(self._abandon, job_id, json.dumps(told))
        stumbles.given_up(self._redis, job_id)

    def _creation(
        self, kind: str, request: dict[str, Any], webhook_url: str | None, source_url: str | None, terms: Terms
    ) -> tuple[str | float, ...]:
        """The own arguments of CREATE."""
        photo = str(request.get("image", {}).get("key") or "")
        return (
            kind,
            json.dumps(request),
            webhook_url or "",
            self._settings.queued_deadline_s,
            photo if photo.startswith(PHOTOS_PREFIX) else "",
            source_url or "",
            *itertools.chain.from_iterable({**terms.fields(), **tracing.headers()}.items()),
            "facets",
            facets_of(request, terms.metadata),
        )

    def _end(self, lease: Lease, status: JobStatus, field: str, text: str, facets: str = "") -> bool:
        return bool(self._run(self._finish, lease.job_id, lease.token, str(status), field, text, facets))

    def _scripts(self, *sources: str) -> list[Script]:
        return [self._redis.register_script(source) for source in sources]

    def _run(
        self, script: Script, job_id: str, *args: str | float, now: float | None = None, client: Pipeline | None = None
    ) -> Any:
        """Runs a job script with the keys and the five arguments that all of them have."""
        keys = [
            scripts.job_key(job_id),
            scripts.OPEN,
            scripts.QUEUED,
            scripts.FINISHED,
            scripts.TOTALS,
            scripts.events_key(job_id),
            scripts.DUE,
        ]
        clock = self.clock() if now is None else repr(now)
        delivery_id = new_id("msg", system_time.time())
        common = (clock, job_id, self._settings.retention_s, delivery_id, self._webhooks.schedule_s[0])
        return script(keys=keys, args=[*common, *args], client=client)

    def clock(self) -> str:
        """The first argument of every script: the time, or nothing for the server's own."""
        return "" if self._now is None else repr(self._now())

    def _poison(self) -> str:
        cap = self._settings.max_attempts
        message = f"The job was given up: each of its {cap} attempts ended without an answer."
        return json.dumps({"code": JobPoisoned.code, "message": message, "retryable": False, "attempts": cap})


def _too_many_open(most: int = 0) -> OpenJobsLimited:
    told = f"{most} open jobs" if most else "no more open jobs"
    return OpenJobsLimited(
        f"The key that asked may have {told} at a time; wait until one has ended, or cancel one.",
        retry_after_s=OPEN_RETRY_S,
    )
