"""Jobs of the ledger done by a function: a message of its queue says that one waits, as Celery's say it to the workers.

The ledger keeps the job, its lease and its attempts, so that a message may come twice or never: a function that is ended
leaves a lease that lapses, and the keeper sends the job to the queue again. Webhooks are the couriers'. A photo in a bucket
becomes such a job, too: its request says where the photo is (`origin`), so that whichever message ends the job can have
its answer written there.
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
from worker.attempt import attempt, work_of
from worker.one_network import classify, detect, embed
from worker.process import Process
from worker.recognize import recognize

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def attempt(self, kind: JobKind, job_id: str) -> list[str]:
        """One attempt at the next job of this kind, if one is to be had: the lanes' choice, as in worker.attempt.attempt_next.

        Gives the jobs about photos in a bucket that have ended, of those it came across and the message's own: their
        answers are to be written, perhaps again; its own is the last. Raises redis.RedisError.
        """
        looked_at = []
        with self._process.working(kind.queue):
            for candidate in self._process.ledger.lanes.candidates(kind, job_id):
                looked_at.append(candidate)
                if attempt(candidate, work_of(ANSWERS[kind], self._process), self._process):
                    break
        if kind is not JobKind.RECOGNITION:
            return []
        others = [one for one in looked_at if one != job_id]
        return [one for one in (*others, job_id) if self._to_be_told(one)]

    def _to_be_told(self, job_id: str) -> bool:
        found = self._process.ledger.ended(job_id)
        return found is not None and found[0].finished and "origin" in found[0].request

    def get(self, job_id: str) -> Job:
        """JobLedger.get."""
        return self._process.ledger.get(job_id)

    def wake(self, job_id: str) -> None:
        """Sends a message of its own for the job."""
        self._process.queue.publish(JobKind.of(job_id), job_id)

    def photo(self, request: Request, read: Callable[[], bytes]) -> Job:
        """The job about a photo in a bucket, after one attempt, if it is to be had. The request may come again.

        `read` gives the photo's bytes, and is called only where there is no job yet. Raises what it does; PictureRefusedError,
        InvalidUrl and AddressForbidden (of the webhook) before there is a job; JobExpired for one that ended long ago, and
        JobErased; redis.RedisError, StorageUnavailable.
        """
        ledger = self._process.ledger
        job_id = fixed_id(JobKind.RECOGNITION.prefix, request.at, request.identity)
        try:
            job = ledger.get(job_id)
        except JobNotFound:
            job = self._made(job_id, request, read())
        if not job.finished:
            with self._process.working(JobKind.RECOGNITION.queue):
                attempt(job_id, work_of(ANSWERS[JobKind.RECOGNITION], self._process), self._process)
            job = ledger.get(job_id)
        return job

    def _made(self, job_id: str, request: Request, data: bytes) -> Job:
        seen = look(data)
        seen.require_size(self._settings.images.max_pixels, self._settings.images.min_side_px)
        if request.webhook_url is not None:
            check_spelling(request.webhook_url, self._settings.webhooks.allowed_hosts)
        name = request.key.rpartition("/")[2]
        image = {"name": name, "width": seen.width, "height": seen.height, "format": seen.format}
        body = {"gallery": request.gallery, "options": request.options, "origin": request.origin}
        body["image"] = {"key": self._photos.keep(data), **image}
        return self._process.ledger.create(JobKind.RECOGNITION, body, request.webhook_url, job_id=job_id)
