"""The job ledger: what was accepted, who works on it, how it ended. It is the truth; the queue is only a hint.

Celery on Redis loses messages (a worker killed between taking one and noting it). So a job is written here with a
deadline before it is queued, a worker holds a lease on it while it runs, and the sweeper (infra.jobs.sweeper) publishes
again whatever is overdue. Duplicates are the price: `start` gives the lease to one at a time, and only the latest lease's
token may finish the job. Attempts are capped: a job that kills its workers fails with `job_poisoned` and can be replayed.

Every method may raise redis.RedisError when the server cannot be reached.
"""

from __future__ import annotations

import itertools
import json
import time as system_time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import redis
from redis.client import Pipeline

from contracts.jobs import JobError, JobKind
from infra.errors.jobs import JobErased, JobExpired, JobFinished, JobNotFound
from infra.errors.keys import OpenJobsLimited
from infra.errors.requests import UploadTooSlow
from infra.errors.service import StorageUnavailable
from infra.jobs import lease_scripts, scripts
from infra.jobs.batch_list import BatchListing
from infra.jobs.batches import Batches
from infra.jobs.deliveries import Deliveries
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
    new_id,
    parse_job,
)
from infra.jobs.results import Results
from infra.jobs.scripts import PHOTOS_PREFIX
from infra.jobs.stats import read_stats
from infra.jobs.sweeper import Sweeper
from infra.jobs.terms import USUAL, Terms
from infra.jobs.transition import Transition, poison
from infra.jobs.watch import JobWatch
from infra.objects.opening import open_store
from infra.redis.client import open_client, server_time
from infra.redis.durability import wait_until_written
from infra.runtime import tracing
from infra.runtime.settings import JobSettings, Settings, WebhookSettings

__all__ = ["Job", "JobEvent", "JobLedger", "JobStatus", "Lease", "LedgerStats", "Renewal", "open_ledger"]

OPEN_RETRY_S = 2.0  # a job takes about so long, and its end is what is waited for


def open_ledger(settings: Settings) -> JobLedger:
    """The ledger on the Redis of `settings`, which must name one."""
    client = open_client(settings)
    objects = open_store(settings.objects, settings.data_dir)
    return JobLedger(
        client, settings.jobs, settings.webhooks, results=Results(client, objects, settings.jobs.result_bytes)
    )


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
        results: Results | None = None,
    ) -> None:
        self._redis = client
        self.results = results or Results(client)
        self._settings = settings or JobSettings()
        self._webhooks = webhooks or WebhookSettings()
        self._now = now
        self.deliveries = Deliveries(client, self._webhooks, self.clock)
        self.feed = Feed(client, self._settings.retention_s, self.time, self.results)
        self.endpoints = Endpoints(client, self.time)
        self.presence = Presence(client, self.time, now)
        self.listing = Listing(client, self.results)
        self.lanes = Lanes(client, self.clock)
        self.forecast = Forecast(client, now)
        self.batches = Batches(client, self)
        self.batch_listing = BatchListing(client, self.time)
        self._watch = JobWatch(client, self.get)
        transition = partial(Transition, client, self._settings, self._webhooks, self.clock)
        self.sweeper = Sweeper(client, self._settings, self._webhooks, self.time, transition)
        self._create, self._cancel, self._replay = map(transition, (scripts.CREATE, scripts.CANCEL, scripts.REPLAY))
        self._start, self._renew = transition(lease_scripts.START), transition(lease_scripts.RENEW)
        self._fetched, self._release = transition(lease_scripts.FETCHED), transition(lease_scripts.RELEASE)
        self._fetched_one = transition(lease_scripts.FETCHED_ONE)
        self._finish = transition(lease_scripts.FINISH)
        self._ended = client.register_script(lease_scripts.ENDED)

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

        `source_url`: where the photo must be fetched before a worker can have the job (of an enrolment what
        `infra.jobs.sources` packs); see `fetched`. `job_id`: drawn by
        the caller (`new_id`), who may come twice: the job that has it already is then given as it is.

        The photo of a recognition is kept from now on until the job is retired (infra.jobs.photos). Raises UploadTooSlow if
        it was removed before: it was uploaded longer ago than anybody waits for; OpenJobsLimited if its owner has all the
        open jobs that `terms` allow.
        """
        job_id = job_id or new_id(JobKind(kind).prefix, self._now() if self._now else system_time.time())
        args = self._creation(kind, request, webhook_url, source_url, terms)
        flat: list[str] = self._create(job_id, *args)
        if flat == ["full"]:
            raise _too_many_open(terms.most_open)
        if not flat:
            raise UploadTooSlow("The photo took too long to arrive and is not kept any more; send it again.")
        wait_until_written(self._redis)
        return parse_job(dict(zip(flat[::2], flat[1::2], strict=True)))

    def create_in(
        self,
        pipe: Pipeline,
        kind: str,
        request: dict[str, Any],
        webhook_url: str | None,
        job_id: str,
        terms: Terms,
        source_url: str | None = None,
    ) -> None:
        """`create` as a part of a transaction: infra.jobs.batches."""
        args = self._creation(kind, request, webhook_url, source_url, terms)
        self._create(job_id, *args, client=pipe)

    def cancel_in(self, pipe: Pipeline, job_id: str) -> None:
        """`cancel` as a part of a transaction; of a job that has ended nothing changes."""
        self._cancel(job_id, client=pipe)

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound (also for what is no id), JobExpired when the record's retention has ended, or JobErased."""
        if not JOB_ID.fullmatch(job_id):
            raise JobNotFound("There is no job with this id.")
        record = self._redis.hgetall(scripts.job_key(job_id))
        if record:
            return parse_job(self.results.whole({str(name): str(value) for name, value in record.items()}))
        tombstone = self._redis.get(scripts.tombstone_key(job_id))
        if tombstone == scripts.ERASED:
            raise JobErased(f"The job {job_id} was erased for good.")
        if tombstone is not None:
            raise JobExpired(f"The job {job_id} ended and its record has expired.")
        raise JobNotFound(f"There is no job {job_id}.")

    def start(self, job_id: str, *, fetching: bool = False) -> Lease | None:
        """Takes the job: queued, or left by a worker whose lease lapsed. None: finished, canceled, or held by another.

        `fetching`: only a job whose photo is still to be fetched; otherwise only one whose photo is there.
        """
        if not JOB_ID.fullmatch(job_id):
            return None
        cap = self._settings.max_attempts
        args = (self._settings.lease_s, cap, poison(self._settings), int(fetching))
        answer: list[Any] | None = self._start(job_id, *args)
        if not answer:
            return None
        token, attempt, expires_at, erasures, flat = answer
        job = parse_job(dict(zip(flat[::2], flat[1::2], strict=True)))
        last = int(attempt) >= cap
        return Lease(job_id, int(token), int(attempt), float(expires_at), last, int(erasures), job)

    def renew(self, lease: Lease, progress: dict[str, Any] | None = None) -> Renewal:
        """Holds the job for another lease, and reports `progress` to whoever waits. The answer is true only if held."""
        text = "" if progress is None else json.dumps(progress)
        return Renewal(self._renew(lease.job_id, lease.token, self._settings.lease_s, text))

    def succeed(self, lease: Lease, result: dict[str, Any]) -> bool:
        """Ends the job with its result. False: nothing written, for the lease was lost or the job canceled.

        Raises ValueError for a result with NaN or infinity, which JSON does not have; StorageUnavailable where it is so
        large that it belongs in the object store, and that fails.
        """
        text = self.results.kept(lease.job_id, lease.token, json.dumps(result, allow_nan=False))
        return self._end(lease, JobStatus.SUCCEEDED, "result", text, found_facets(result))

    def fetched(self, lease: Lease, request: dict[str, Any]) -> bool:
        """The photo, or all pictures, are stored and `request` names their keys: the job waits for a worker, for the caller to publish.

        False as in `succeed`. Raises StorageUnavailable if the photo was removed before it was named.
        """
        photo = str(request.get("image", {}).get("key") or "")
        args = (lease.token, json.dumps(request), photo, self._settings.queued_deadline_s)
        outcome: str = self._fetched(lease.job_id, *args)
        if outcome == "gone":
            raise StorageUnavailable("The photo was removed before its job could name it.")
        return outcome == "fetched"

    def fetched_one(self, job: Job, request: dict[str, Any], source_url: str) -> bool:
        """One of several pictures is stored, and `request` names it; `source_url` has the rest. `job` as its lease gave it.

        False: nothing written, for the lease was lost.
        """
        return bool(self._fetched_one(job.id, job.token, json.dumps(request), source_url))

    def fail(self, lease: Lease, error: JobError) -> bool:
        """Ends the job with an error `{"code", "message", "retryable"}`. False as in `succeed`."""
        return self._end(lease, JobStatus.FAILED, "error", json.dumps(error))

    def finish_canceled(self, lease: Lease) -> bool:
        """Ends the job as canceled, after `renew` said that this was requested. False: the lease was lost."""
        return self._end(lease, JobStatus.CANCELED, "", "")

    def release(self, lease: Lease, *, delay_s: float = 0.0, counted: bool = True) -> bool:
        """Gives the job back unfinished; the sweeper publishes it after `delay_s` seconds, or the caller does at once.

        `counted=False` when the attempt is not the job's fault (a worker that has to stop). A job with no attempt left
        fails as poisoned, one that was to be canceled is. False: the lease was lost.
        """
        args = (lease.token, delay_s, int(counted), self._settings.max_attempts, poison(self._settings))
        return bool(self._release(lease.job_id, *args))

    def cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once; a running one at its worker's next look, and its result is dropped.

        May be repeated. Raises JobNotFound, JobExpired, or JobFinished if the job succeeded or failed.
        """
        self.get(job_id)
        status: str | None = self._cancel(job_id)
        if status in {JobStatus.SUCCEEDED, JobStatus.FAILED}:
            raise JobFinished(f"The job {job_id} has already {status}.", status=str(status))
        return self.get(job_id)

    def replay(self, job_id: str) -> Job:
        """Makes a failed job queued again with all its attempts ahead; the caller publishes it (or the sweeper does).

        Raises JobNotFound, JobExpired, JobFinished if it has not failed, or OpenJobsLimited as `create`.
        """
        self.get(job_id)
        status: str | None = self._replay(job_id, 0.0)
        if status == "full":
            raise _too_many_open()
        if status not in {JobStatus.FAILED, None}:
            raise JobFinished(f"Only a failed job can be replayed; {job_id} is {status}.", status=str(status))
        wait_until_written(self._redis)
        return self.get(job_id)

    # Waiting and watching.

    def wait(self, job_id: str, timeout_s: float, known: Job | None = None) -> Job:
        """JobWatch.wait: the job once it has finished, or as it is after `timeout_s` seconds."""
        return self._watch.wait(job_id, timeout_s, known)

    def events(self, job_id: str, last_id: str = "0-0", heartbeat_s: float = 15.0) -> Iterator[JobEvent | None]:
        """JobWatch.events: the job's history after `last_id` and as it happens, to its end."""
        return self._watch.events(job_id, last_id, heartbeat_s)

    def messages(self, job_id: str) -> tuple[str, ...]:
        """The ids of the messages about the job's latest end."""
        events = str(self._redis.hget(scripts.job_key(job_id), "event_ids") or "").split()
        return self.feed.deliveries_of(events[-1]) if events else ()

    def erasures(self) -> int:
        """How many erasures got as far as deleting."""
        return int(self._redis.get(scripts.ERASURES) or 0)

    def note_erasure(self) -> None:
        """What was kept of jobs and galleries is to be forgotten; once too often does no harm."""
        self._redis.incr(scripts.ERASURES)

    def ended(self, job_id: str) -> tuple[Job, tuple[str, ...]] | None:
        """The job as it is, without its result, and the ids of the messages about its latest end, in one round trip; None: it is gone."""
        flat, report = self._ended(keys=[scripts.job_key(job_id)])
        if not flat:
            return None
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        record.pop("result", None)  # which may lie in the object store
        return parse_job(record), tuple(str(report or "").split())

    def stats(self) -> LedgerStats:
        """How many jobs wait and run, how long the oldest has waited, what is to be delivered."""
        return read_stats(self._redis, self.time(), self.presence.consumed_age_s())

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
        return bool(self._finish(lease.job_id, lease.token, str(status), field, text, facets))

    def clock(self) -> str:
        """The first argument of every script: the time, or nothing for the server's own."""
        return "" if self._now is None else repr(self._now())


def _too_many_open(most: int = 0) -> OpenJobsLimited:
    report = f"{most} open jobs" if most else "no more open jobs"
    return OpenJobsLimited(
        f"The request's key may have {report} at a time; wait until one has ended, or cancel one.",
        retry_after_s=OPEN_RETRY_S,
    )
