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
from typing import TYPE_CHECKING, Any

import redis
from botocore.exceptions import BotoCoreError, ClientError

from contracts.jobs import JobKind
from contracts.pictures import PictureRefusedError
from infra.errors.jobs import JobExpired
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryStore
from infra.jobs.function_queue import function_queue
from infra.jobs.records import Job, JobStatus
from infra.objects.opening import open_store
from worker.embedders import open_embedders
from worker.errors import JobError, job_error
from worker.function_events import Message, Request, Waiting, read_event
from worker.gallery_cache import GalleryCache
from worker.item_features import ItemFeatures
from worker.recognize import recognize
from worker.runtime import FEATURE_CACHE_BYTES, GALLERY_CACHE_BYTES, Runtime, describe, load_programs

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from worker.function_jobs import FunctionJobs

GONE = JobError("object_not_found", "The photo is not there any more.", retryable=False)
MISSING = {"NoSuchKey", "404", "NotFound"}

log = logging.getLogger(__name__)


class NotYet(Exception):  # noqa: N818 - not an error of ours: the request is to come again
    """The request could not be done now."""


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
        self._jobs.attempt(waiting.kind, waiting.job_id)

    def _answer(self, request: Request) -> None:
        if request.webhook_url is not None and self._jobs is None:
            raise NotYet("SHITU_JOBS__FUNCTION_QUEUE_URL is not set: without a ledger nobody sends a webhook")
        begun = time.perf_counter()
        answer: dict[str, Any] = {
            "bucket": request.bucket,
            "key": request.key,
            "gallery": request.gallery,
            "status": "failed",
            "result": None,
            "error": None,
        }
        try:
            photo = self._s3.get_object(Bucket=request.bucket, Key=request.key)["Body"].read()
            if self._jobs is None:
                answer["result"] = self._recognized(request, photo)
                answer["status"] = "succeeded"
            else:
                answer |= self._of_job(self._jobs, request, photo)
        except JobExpired:
            log.info("answered long ago", extra={"key": request.key})
            return
        except NotYet:
            raise
        except PictureRefusedError as error:
            answer["error"] = JobError(error.code, error.detail, retryable=False).to_dict()
        except (BotoCoreError, ClientError) as error:
            if not isinstance(error, ClientError) or error.response["Error"]["Code"] not in MISSING:
                raise
            answer["error"] = GONE.to_dict()
        except Exception as error:  # the request's last border, as worker.attempt is a job's
            known = job_error(error)
            if known.retryable:
                raise NotYet(known.code) from error
            answer["error"] = known.to_dict()
        body = json.dumps(answer, ensure_ascii=False).encode()
        self._s3.put_object(Bucket=request.bucket, Key=request.result_key, Body=body, ContentType="application/json")
        took_ms = round(1000 * (time.perf_counter() - begun), 1)
        log.info("answered", extra={"key": request.key, "status": answer["status"], "duration_ms": took_ms})

    @staticmethod
    def _of_job(jobs: FunctionJobs, request: Request, photo: bytes) -> dict[str, Any]:
        job = jobs.photo(request, photo)
        if not job.finished:
            raise NotYet(f"the job {job.id} has not ended")
        return {"job": job.id, "status": str(job.status), "result": job.result, "error": job.error}

    def _recognized(self, request: Request, data: bytes) -> dict[str, Any]:
        photo = _OnePhoto(data)
        body = {"gallery": request.gallery, "options": request.options, "image": {"key": request.key}}
        now = time.time()
        job = Job(request.key, JobKind.RECOGNITION, JobStatus.PROCESSING, body, created_at=now, started_at=now)
        runtime = replace(self._runtime, objects=photo)  # type: ignore[arg-type]  # all that a recognition asks of it
        return dict(recognize(job, runtime, _go_on))
