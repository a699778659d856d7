"""Jobs of the ledger done by a function: a message of its queue says that one waits, as Celery's say it to the workers.

The ledger keeps the job, its lease and its attempts, so that a message may come twice or never: a function that is ended
leaves a lease that lapses, and the keeper sends the job to the queue again. Webhooks are the couriers'. A photo in a bucket
becomes such a job, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.jobs import JobKind
from contracts.pictures import look
from infra.errors.jobs import JobNotFound
from infra.jobs.function_queue import KINDS
from infra.jobs.photos import Photos
from infra.jobs.records import fixed_id
from infra.net.addresses import check_spelling
from infra.redis.client import open_client
from worker.attempt import attempt, attempt_next, work_of
from worker.one_network import classify, detect, embed
from worker.process import Process
from worker.recognize import recognize

if TYPE_CHECKING:
    from infra.jobs.function_queue import FunctionQueue
    from infra.jobs.records import Job
    from infra.runtime.settings import Settings
    from worker.attempt import Answer
    from worker.function_events import Request
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
        self._photos = Photos(open_client(settings), runtime.objects)
        self._settings = settings

    def attempt(self, kind: JobKind, job_id: str) -> None:
        """One attempt at the next job of this kind, if one is to be had. Raises redis.RedisError."""
        with self._process.working(kind.queue):
            attempt_next(kind, job_id, ANSWERS[kind], self._process)

    def photo(self, request: Request, data: bytes) -> Job:
        """The job about a photo of these bytes in a bucket, after one attempt, if it is to be had. The request may come again.

        Raises PictureRefusedError, InvalidUrl and AddressForbidden (of the webhook) before there is a job; JobExpired for one
        that ended long ago; redis.RedisError, StorageUnavailable.
        """
        ledger = self._process.ledger
        job_id = fixed_id(JobKind.RECOGNITION.prefix, request.at, request.identity)
        try:
            job = ledger.get(job_id)
        except JobNotFound:
            job = self._made(job_id, request, data)
        if not job.finished:
            with self._process.working(JobKind.RECOGNITION.queue):
                attempt(job_id, work_of(recognize, self._process), self._process)
            job = ledger.get(job_id)
        return job

    def _made(self, job_id: str, request: Request, data: bytes) -> Job:
        seen = look(data)
        seen.require_size(self._settings.images.max_pixels, self._settings.images.min_side_px)
        if request.webhook_url is not None:
            check_spelling(request.webhook_url, self._settings.webhooks.allowed_hosts)
        name = request.key.rpartition("/")[2]
        image = {"name": name, "width": seen.width, "height": seen.height, "format": seen.format}
        body = {"gallery": request.gallery, "options": request.options}
        body["image"] = {"key": self._photos.keep(data), **image}
        return self._process.ledger.create(JobKind.RECOGNITION, body, request.webhook_url, job_id=job_id)
