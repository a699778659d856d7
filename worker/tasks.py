"""The Celery tasks. Each carries an id or nothing; what a process holds for them is in `worker.process`.

Importing this module reads no setting and loads no model: a courier never imports `worker.runtime`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import current_task, shared_task

from contracts.jobs import JobKind
from infra.jobs.queue import CANARY, DELIVER, FETCH
from infra.net.webhooks import deliver as deliver_once
from infra.runtime import tracing
from infra.runtime.telemetry import DELIVERIES
from worker.attempt import attempt_next
from worker.process import current

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.jobs.records import Job
    from infra.runtime.tracing import TraceContext
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

log = logging.getLogger(__name__)


@shared_task(name=JobKind.RECOGNITION.task)
def recognize(job_id: str) -> None:
    """Recognises a job's photo."""
    from worker.recognize import recognize as answer

    run(JobKind.RECOGNITION, job_id, answer)


@shared_task(name=JobKind.ENROLLMENT.task)
def enroll(job_id: str) -> None:
    """Adds a job's pictures to their gallery."""
    from worker.enroll import enroll as add

    run(JobKind.ENROLLMENT, job_id, add)


@shared_task(name=JobKind.DETECTION.task)
def detect(job_id: str) -> None:
    """Detects the main objects of a job's photo."""
    from worker.one_network import detect as answer

    run(JobKind.DETECTION, job_id, answer)


@shared_task(name=JobKind.EMBEDDING.task)
def embed(job_id: str) -> None:
    """Embeds a job's photo, and finds the items of a gallery that are nearest to it where one is named."""
    from worker.nearest_items import nearest_items
    from worker.one_network import embed as alone

    def answer(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> Any:
        return (nearest_items if "gallery" in job.request else alone)(job, runtime, checkpoint)

    run(JobKind.EMBEDDING, job_id, answer)


@shared_task(name=JobKind.CLASSIFICATION.task)
def classify(job_id: str) -> None:
    """Classifies a job's photo."""
    from worker.one_network import classify as answer

    run(JobKind.CLASSIFICATION, job_id, answer)


@shared_task(name=JobKind.IMPORT.task)
def import_(job_id: str) -> None:
    """Imports what a job names into its gallery."""
    from worker.import_gallery import import_gallery, others_wait

    def answer(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> Any:
        return import_gallery(job, runtime, checkpoint, lambda: others_wait(current().ledger))

    run(JobKind.IMPORT, job_id, answer)


@shared_task(name=JobKind.EVALUATION.task)
def evaluate(job_id: str) -> None:
    """Compares a version of a gallery with another."""
    from worker.evaluate_version import evaluate_version as answer

    run(JobKind.EVALUATION, job_id, answer)


@shared_task(name=JobKind.LINT.task)
def lint(job_id: str) -> None:
    """Looks a version of a gallery through."""
    from worker.import_gallery import others_wait
    from worker.lint_gallery import lint_gallery

    def answer(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> Any:
        return lint_gallery(job, runtime, checkpoint, lambda: others_wait(current().ledger))

    run(JobKind.LINT, job_id, answer)


@shared_task(name=JobKind.REEMBEDDING.task)
def reembed(job_id: str) -> None:
    """Embeds a gallery again."""
    from worker.import_gallery import others_wait
    from worker.reembed import reembed as again

    def answer(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> Any:
        return again(job, runtime, checkpoint, lambda: others_wait(current().ledger))

    run(JobKind.REEMBEDDING, job_id, answer)


def run(kind: JobKind, job_id: str, answer: Callable[[Job, Runtime, Checkpoint], Any]) -> None:
    """One attempt at a job of this kind: `answer` makes its `result` with the models of this process."""
    process = current()
    with process.working(kind.queue), tracing.use(sent_from()):
        attempt_next(kind, job_id, answer, process)


def sent_from() -> TraceContext | None:
    """Where the message was sent that this task is run for; None if it does not say, or outside a worker."""
    headers = (current_task.request.headers if current_task else None) or {}
    return tracing.parse(headers.get("traceparent"), headers.get("tracestate"))


@shared_task(name=DELIVER)
def deliver(delivery_id: str) -> None:
    """Tries one webhook once; the ledger knows when to try again."""
    process = current()
    with process.working("deliver"), tracing.use(sent_from()):
        outcome = deliver_once(process.ledger, delivery_id, process.settings)
    DELIVERIES.labels(outcome.status).inc()
    log.info(
        "delivery attempted",
        extra={
            "delivery_id": delivery_id,
            "status": outcome.status,
            "http_status": outcome.http_status,
            **({"trace_id": outcome.trace_id} if outcome.trace_id else {}),
        },
    )


@shared_task(name=FETCH)
def fetch(job_id: str) -> None:
    """Leaves a job's photo to the threads that fetch: a task that waited here would hold a place of the webhooks."""
    process = current()
    with process.working("fetch"):
        if process.fetcher is not None:
            process.fetcher.take(job_id)


@shared_task(name=CANARY)
def canary(queue: str) -> None:
    """Proves that `queue` is consumed: to live is not to work."""
    with current().working(queue):
        log.debug("canary", extra={"queue": queue})
