"""Recognition as a function: photos that S3 or SQS names, the workers' pipeline, answers next to the photos; or jobs of the ledger.

A photo that S3 or SQS names needs no ledger and no Redis: the queue that calls it is what keeps a request until it is done, and
the answer's place follows from the photo's, so that a call that comes twice writes the same again. Where the service
hands its jobs to that queue, messages name them, and a photo becomes one of them: worker.function_jobs. Galleries come from the object store of the
settings, as a worker reads them. An image that cannot be read is an answer too (`failed`, with its code); what another try may mend is reported
to SQS as failed (`batchItemFailures`), which sends it again and in the end to its dead-letter queue.
"""

from __future__ import annotations

import json
import logging
import queue
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from botocore.exceptions import BotoCoreError, ClientError

from contracts.jobs import JobKind
from contracts.pictures import PictureRefusedError
from infra.errors.jobs import JobExpired, JobNotFound
from infra.errors.service import StorageUnavailable
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryStore
from infra.jobs.function_queue import function_queue
from infra.jobs.records import Job, JobStatus
from infra.objects.opening import open_store
from worker.embedders import open_embedders
from worker.errors import JobError, job_error
from worker.function_events import Message, Request, Waiting, place, read_event, result_key
from worker.gallery_cache import GalleryCache
from worker.item_features import ItemFeatures
from worker.recognize import recognize
from worker.runtime import FEATURE_CACHE_BYTES, GALLERY_CACHE_BYTES, Runtime, describe, load_programs

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from worker.function_jobs import FunctionJobs

TIMED = len("rec_") + 10  # so many characters of a job's id sort by time: infra.jobs.records.new_id
GONE = JobError("object_not_found", "The photo is not there any more.", retryable=False)
MISSING = {"NoSuchKey", "404", "NotFound"}

log = logging.getLogger(__name__)


class NotYet(Exception):  # noqa: N818 - not an error of ours: the request is to come again
    """The request could not be done now."""


class PhotoGone(Exception):  # noqa: N818 - likewise
    """The photo was removed before it was looked at."""


@dataclass(frozen=True)
class _OnePhoto:
    """The object store of one request: its photo, and nothing else is kept."""

    data: bytes

    def get(self, key: str) -> bytes:
        return self.data

    def exists(self, key: str) -> bool:
        """Whatever it is: no preview is wanted."""
        return True


def _go_on(progress: dict[str, Any] | None = None) -> None:
    """A checkpoint where nobody cancels: Lambda itself ends what takes too long, and the request comes again."""


class Function:
    """The opened function: models loaded, galleries kept from call to call. `s3` is a boto3 client."""

    def __init__(self, settings: Settings, s3: Any) -> None:
        objects = open_store(settings.objects, settings.data_dir)
        store = GalleryStore(objects, milvus=open_milvus(settings.milvus))
        cache = GalleryCache(
            store, GALLERY_CACHE_BYTES, ItemFeatures(store, objects, settings.images, FEATURE_CACHE_BYTES)
        )
        programs = load_programs(settings.worker)
        idle: queue.LifoQueue[Any] = queue.LifoQueue()
        idle.put(programs)
        others = open_embedders(settings.worker, programs.embedder.digest)
        self._runtime = Runtime(settings, objects, store, cache, describe(programs), idle, embedders=others)
        self._s3 = s3
        self._jobs: FunctionJobs | None = None
        if (called_by := function_queue(settings)) is not None:
            from worker.function_jobs import FunctionJobs  # the ledger takes a while that photos alone need not wait

            self._jobs = FunctionJobs(settings, self._runtime, called_by)

    def handle(self, event: Any, _context: object = None) -> dict[str, Any]:
        """Does all requests of `event`. Returns what failed, as SQS wants it.

        Raises EventRefused for what is no event, and NotYet for an S3 notification that must come again.
        """
        failed = [message for message in read_event(event) if not self._done(message)]
        if any(message.id is None for message in failed):
            raise NotYet("S3 calls again")
        return {"batchItemFailures": [{"itemIdentifier": message.id} for message in failed]}

    def _done(self, message: Message) -> bool:
        if message.refused is not None:  # it never becomes a request: its queue's dead letters are for people
            log.error("a message is no request", extra={"message_id": message.id, "reason": message.refused})
            return message.id is None
        for request in message.requests:
            try:
                if isinstance(request, Waiting):
                    self._try(request)
                else:
                    self._answer(request)
            except (NotYet, BotoCoreError, ClientError, redis.RedisError):
                log.exception("a request must come again", extra={"subject": request.subject})
                return False
        return True

    def _try(self, waiting: Waiting) -> None:
        if self._jobs is None:
            raise NotYet("SHITU_JOBS__FUNCTION_QUEUE_URL is not set: the function has no ledger")
        begun = time.perf_counter()
        for job_id in self._jobs.attempt(waiting.kind, waiting.job_id):
            try:
                job = self._jobs.get(job_id)
                self._tell(job, job.request["origin"], begun)
            except (JobExpired, JobNotFound):
                log.info("the job is gone, and is answered no more", extra={"job_id": job_id})
            except (BotoCoreError, ClientError, StorageUnavailable) as error:
                if job_id == waiting.job_id:
                    raise NotYet("the answer cannot be written") from error
                log.exception("the answer cannot be written", extra={"job_id": job_id})
                self._jobs.wake(job_id)  # the message that is here is another job's

    def _answer(self, request: Request) -> None:
        if request.webhook_url is not None and self._jobs is None:
            raise NotYet("SHITU_JOBS__FUNCTION_QUEUE_URL is not set: without a ledger nobody sends a webhook")
        begun = time.perf_counter()
        ended: dict[str, Any]
        try:
            if self._jobs is not None:  # the ledger knows whether the photo, which may be gone by now, is still needed
                job = self._jobs.photo(request, partial(self._photo, request))
                if not job.finished:
                    raise NotYet(f"the job {job.id} has not ended")
                self._tell(job, request.origin, begun)
                return
            ended = {"status": "succeeded", "result": self._recognized(request, self._photo(request))}
        except JobExpired as error:  # or erased
            log.info("the job is gone, and is answered no more", extra={"key": request.key, "code": error.code})
            return
        except PhotoGone:
            if self._answered(request.bucket, request.key) is not None:
                log.info("answered before the photo was removed", extra={"key": request.key})
                return
            ended = {"error": GONE.to_dict()}
        except (NotYet, BotoCoreError, ClientError):
            raise
        except PictureRefusedError as error:
            ended = {"error": JobError(error.code, error.detail, retryable=False).to_dict()}
        except Exception as error:  # the request's last border, as worker.attempt is a job's
            known = job_error(error)
            if known.retryable:
                raise NotYet(known.code) from error
            ended = {"error": known.to_dict()}
        self._write(request.bucket, request.key, request.gallery, ended, begun)

    def _tell(self, job: Job, origin: str, begun: float) -> None:
        """Writes how a job ended next to its photo, perhaps again."""
        bucket, key = place(origin)
        if self._answered_later(bucket, key, job.id):
            log.info("a later photo in its place was answered", extra={"key": key, "job_id": job.id})
            return
        ended = {"job": job.id, "status": str(job.status), "result": job.result, "error": job.error}
        self._write(bucket, key, job.request["gallery"], ended, begun)

    def _write(self, bucket: str, key: str, gallery: str, ended: dict[str, Any], begun: float) -> None:
        nothing = {"status": "failed", "result": None, "error": None}
        answer = {"bucket": bucket, "key": key, "gallery": gallery, **nothing, **ended}
        body = json.dumps(answer, ensure_ascii=False).encode()
        self._s3.put_object(Bucket=bucket, Key=result_key(key), Body=body, ContentType="application/json")
        took_ms = round(1000 * (time.perf_counter() - begun), 1)
        log.info("answered", extra={"key": key, "status": answer["status"], "duration_ms": took_ms})

    def _photo(self, request: Request) -> bytes:
        try:
            return bytes(self._s3.get_object(Bucket=request.bucket, Key=request.key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                raise PhotoGone from error
            raise

    def _answered(self, bucket: str, key: str) -> dict[str, Any] | None:
        """The answer that lies next to a photo; empty for what is none of ours."""
        try:
            body = self._s3.get_object(Bucket=bucket, Key=result_key(key))["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise
        try:
            found = json.loads(body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _answered_later(self, bucket: str, key: str, job_id: str) -> bool:
        """Whether the answer there is about a photo that was put there after that of this job."""
        try:
            found = self._answered(bucket, key) or {}
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDenied":  # said of what is missing, too, to who may not list
                return False
            raise
        return str(found.get("job", ""))[:TIMED] > job_id[:TIMED]

    def _recognized(self, request: Request, data: bytes) -> dict[str, Any]:
        photo = _OnePhoto(data)
        body = {"gallery": request.gallery, "options": request.options, "image": {"key": request.key}}
        now = time.time()
        job = Job(request.key, JobKind.RECOGNITION, JobStatus.PROCESSING, body, created_at=now, started_at=now)
        runtime = replace(self._runtime, objects=photo)  # type: ignore[arg-type]  # all that a recognition asks of it
        return dict(recognize(job, runtime, _go_on))
