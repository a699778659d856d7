"""One attempt at a job: take the lease, do the work, record how it ended. Every ending of a job is written here.

Whatever happens in between, the job is never lost: an attempt that records no end (a crash, a lost connection)
leaves a lease that lapses, and the keeper queues the job again.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from contracts.errors import ServiceError
from infra.errors.galleries import MilvusUnavailable
from infra.errors.photos import FetchFailed
from infra.errors.service import BucketMissing, RedisUnavailable, StorageRefused, StorageUnavailable, StorageUnreachable
from infra.runtime import audit, tracing
from infra.runtime.logs import about_job
from infra.runtime.telemetry import ETA_ERROR, JOB_DURATION, QUEUE_WAIT
from worker.errors import job_error
from worker.lease_keeper import CANCEL_REQUESTED, GIVES_WAY, SHUTTING_DOWN, LeaseKeeper, StopWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from contracts.jobs import JobKind
    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Job, Lease
    from worker.lease_keeper import Checkpoint
    from worker.process import JobQueue, Process
    from worker.runtime import Runtime

    Answer = Callable[[Job, Runtime, Checkpoint], Any]  # makes a job's `result`
    Work = Callable[[Job, Checkpoint], dict[str, Any]]
    Ending = tuple[str, Callable[[], bool]]  # what it is called, and the write that makes it so

FIRST_RETRY_S = 2.0  # doubled with every attempt
LONGEST_RETRY_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0  # a server's Retry-After is followed so far; a job's user waits meanwhile
PAUSE_S = 0.5
# A full disk, an absent store or expired credentials are not the job's fault: they cost no attempt, for a day.
OUTAGES = frozenset(
    error.code
    for error in (
        StorageUnavailable,
        StorageUnreachable,
        StorageRefused,
        BucketMissing,
        RedisUnavailable,
        MilvusUnavailable,
    )
)
OUTAGE_S = 86_400.0
OUTAGE_RETRY_S = 10.0

log = logging.getLogger(__name__)


def attempt(job_id: str, work: Work, process: Process, *, fetching: bool = False) -> bool:
    """Does `work` if the job is to be had. Returns whether it was; how it ended only the ledger knows.

    `fetching`: the work only fetches the job's photo; its answer is the job's new request, for a worker to continue with.
    """
    ledger = process.ledger
    lease = ledger.start(job_id, fetching=fetching)
    if lease is None:
        return False  # finished, canceled, or in another worker's hands: messages may come twice
    process.notice_erasures(lease.erasures)
    job = lease.job or ledger.get(job_id)
    sent_from = tracing.current()
    attributes: tracing.Attributes = {
        "messaging.system": "redis",
        "messaging.destination.name": "fetch" if fetching else job.kind.queue,
        "messaging.operation.type": "process",
        "messaging.message.id": job_id,
        "shitu.attempt": lease.attempt,
    }
    # The job's own trace: which message made this process look is chance, and the keeper's have none.
    links = [sent_from] if sent_from and job.trace and sent_from.trace_id == job.trace.trace_id else []
    name = f"process {'fetch' if fetching else job.kind}"
    with about_job(job_id), tracing.span(name, "consumer", job.trace, attributes, links) as span:
        outcome = _attempt(lease, job, work, process, fetching=fetching)
        span.set({"shitu.outcome": outcome})
        if outcome in {"failed", "retried", "lost"}:
            span.fail(outcome)
    return True


def attempt_next(kind: JobKind, job_id: str, answer: Answer, process: Process) -> None:
    """One attempt at a job of this kind: a message says that one waits, and which is next is the lanes' to say."""
    for candidate in process.ledger.lanes.candidates(kind, job_id):
        if attempt(candidate, work_of(answer, process), process):
            break


def work_of(answer: Answer, process: Process) -> Work:
    """What `attempt` does to answer a job with this process's networks and galleries."""

    def work(job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
        audit.act_as(f"job {job.id}", job_id=job.id)
        result: dict[str, Any] = answer(job, process.runtime, checkpoint)
        return result

    return work


def _attempt(lease: Lease, job: Job, work: Work, process: Process, *, fetching: bool) -> str:
    """Does the work under the lease and records how it ended; gives what that is called."""
    ledger, job_id = process.ledger, job.id
    kind = "fetch" if fetching else job.kind
    if lease.attempt == 1 and job.started_at is not None:
        waited_since = job.fetched_at or job.created_at
        QUEUE_WAIT.labels(kind).observe(job.started_at - waited_since)
        tracing.record("wait in queue", waited_since, job.started_at)
    started = time.perf_counter()
    lease_s = process.settings.jobs.lease_s
    with LeaseKeeper(ledger, lease, lease_s, process.must_stop) as keeper:
        try:
            result = work(job, keeper.checkpoint)
        except StopWork as stop:
            outcome, end = _stopped(ledger, lease, stop)
        except Exception as error:  # the job's last border: any error must become the job's error
            outcome, end = _failed(ledger, lease, job, error)
        else:
            outcome, end = "succeeded", partial(ledger.fetched if fetching else ledger.succeed, lease, result)
        try:
            recorded = persist(end, lease_s)
        except redis.RedisError:
            raise
        except Exception as error:  # an answer that cannot be written down is a failed attempt
            outcome, end = _failed(ledger, lease, job, error)
            recorded = persist(end, lease_s)
    duration_s = time.perf_counter() - started
    JOB_DURATION.labels(kind, outcome).observe(duration_s)
    log.info(
        "attempt ended",
        extra={
            "job_id": job_id,
            "attempt": lease.attempt,
            "outcome": outcome,
            "recorded": recorded,
            "duration_ms": round(1000 * duration_s, 1),
        },
    )
    if recorded and ((fetching and outcome == "succeeded") or (outcome == "released" and not process.must_stop())):
        process.queue.publish(job.kind, job_id)
    elif recorded:
        ended = notify(job_id, ledger, process.queue)
        if outcome == "succeeded" and ended is not None and lease.attempt == 1:
            compare_eta(ended)
    return outcome


def persist(write: Callable[[], bool], patience_s: float) -> bool:
    """`write()`, repeated while Redis cannot be reached, for `patience_s` seconds at most; then RedisError.

    The work is done: a short outage should not cost it. The lease's token makes the repetition harmless.
    """
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return write()
        except redis.RedisError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(PAUSE_S)


def compare_eta(job: Job) -> None:
    """Measures how far off the first estimate of a job was that has just ended."""
    if job.eta_s is not None and job.completed_at is not None:
        error_s = job.completed_at - job.created_at - job.eta_s
        ETA_ERROR.labels(job.kind, "late" if error_s > 0 else "early").observe(abs(error_s))


def notify(job_id: str, ledger: JobLedger, queue: JobQueue) -> Job | None:
    """Hands the messages about a finished job to the couriers now instead of at the keeper's next round. Gives the job."""
    try:
        found = ledger.ended(job_id)
    except Exception:  # the delivery is written in the ledger; the keeper finds it
        log.warning("the job's webhook could not be sent at once", extra={"job_id": job_id}, exc_info=True)
        return None
    if found is None:
        return None
    job, messages = found
    if job.finished:
        for delivery_id in messages:
            queue.deliver(delivery_id)
    return job


def _stopped(ledger: JobLedger, lease: Lease, stop: StopWork) -> Ending:
    if stop.reason == CANCEL_REQUESTED:
        return "canceled", partial(ledger.finish_canceled, lease)
    if stop.reason in {SHUTTING_DOWN, GIVES_WAY}:
        return "released", partial(ledger.release, lease, counted=False)  # not the job's fault: another worker takes it
    return "lost", lambda: False


def _failed(ledger: JobLedger, lease: Lease, job: Job, error: Exception) -> Ending:
    known = job_error(error)
    fields = {"job_id": lease.job_id, "attempt": lease.attempt, "code": known.code}
    if known.retryable or known.code in OUTAGES:
        # What http.client says of a failed exchange may quote the URL with its secrets.
        log.error("attempt failed", extra=fields, exc_info=None if isinstance(error, FetchFailed) else error)
    else:
        log.info("job refused", extra=fields)
    if known.code in OUTAGES and job.created_at + OUTAGE_S > time.time():
        return "retried", partial(ledger.release, lease, delay_s=OUTAGE_RETRY_S, counted=False)
    if known.retryable and not lease.last:
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (lease.attempt - 1))
        if isinstance(error, ServiceError) and error.retry_after_s is not None:
            delay_s = max(delay_s, min(LONGEST_RETRY_AFTER_S, error.retry_after_s))
        return "retried", partial(ledger.release, lease, delay_s=delay_s)
    return "failed", partial(ledger.fail, lease, known.to_dict())
