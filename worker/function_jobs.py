"""Jobs of the ledger done by a function: a message of its queue says that one waits, as Celery's say it to the workers.

The ledger keeps the job, its lease and its attempts, so that a message may come twice or never: a function that is ended
leaves a lease that lapses, and the keeper sends the job to the queue again. Webhooks are the couriers'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.jobs import JobKind
from infra.jobs.function_queue import KINDS
from worker.attempt import attempt_next
from worker.one_network import classify, detect, embed
from worker.process import Process
from worker.recognize import recognize

if TYPE_CHECKING:
    from infra.jobs.function_queue import FunctionQueue
    from infra.runtime.settings import Settings
    from worker.attempt import Answer
    from worker.runtime import Runtime

ANSWERS: dict[JobKind, Answer] = {
    JobKind.RECOGNITION: recognize,
    JobKind.DETECTION: detect,
    JobKind.EMBEDDING: embed,
    JobKind.CLASSIFICATION: classify,
}


class FunctionJobs:
    """The function as a worker of the ledger in `settings`, which must name a Redis; `queue` is what calls the function."""

    def __init__(self, settings: Settings, runtime: Runtime, queue: FunctionQueue) -> None:
        self._process = Process(settings, queue, {kind.queue for kind in KINDS}, runtime)

    def attempt(self, kind: JobKind, job_id: str) -> None:
        """One attempt at the next job of this kind, if one is to be had. Raises redis.RedisError."""
        with self._process.working(kind.queue):
            attempt_next(kind, job_id, ANSWERS[kind], self._process)
