"""Photos in a bucket as jobs of a real ledger, with a function that has no networks: its answers are the test's."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.exceptions import ClientError

import worker.attempt
import worker.function
from contracts.jobs import JobKind
from infra.erasure.jobs import erase_job
from infra.jobs.records import fixed_id
from tests.e2e.service import encode, pattern
from tests.worker.test_function_events import notified, queued
from worker.function import Function
from worker.function_events import Request, read_event

if TYPE_CHECKING:
    import redis

    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Job
    from infra.runtime.settings import Settings

KEY = "uploads/drinks/shelf 1.jpg"
EARLY, LATE = "2026-11-28T08:00:00.000Z", "2026-11-28T08:00:05.000Z"


def upload(bucket: str, key: str = KEY, at: str = EARLY) -> dict[str, Any]:
    record = notified(key.replace(" ", "+"))
    record["s3"]["bucket"]["name"] = bucket
    record["s3"]["object"]["sequencer"] = at
    return queued({"Records": [{**record, "eventTime": at}]}, "upload " + at)


class Opened(NamedTuple):
    """A function with a ledger, and the bucket of the photos. `troubles` are raised by the next attempts, in their order."""

    function: Function
    ledger: JobLedger
    s3: Any
    bucket: str
    sqs: Any
    queue_url: str
    troubles: list[Exception]

    def put(self, key: str = KEY, data: bytes | None = None) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=encode(pattern(1)) if data is None else data)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def answer(self, key: str = KEY) -> dict[str, Any] | None:
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=f"results/{key}.json")["Body"].read()
        except ClientError:
            return None
        found: dict[str, Any] = json.loads(body)
        return found

    def call(self, record: dict[str, Any]) -> bool:
        """Whether the message is done."""
        return self.function.handle({"Records": [record]}) == {"batchItemFailures": []}

    def job_id(self, record: dict[str, Any]) -> str:
        [message] = read_event({"Records": [record]})
        [request] = message.requests
        assert isinstance(request, Request)
        return fixed_id("rec", request.at, request.identity)

    def sent(self) -> list[dict[str, Any]]:
        """The messages in its queue, which are taken out."""
        found = []
        while taken := self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(one["Body"]) for one in taken]
        return found


@pytest.fixture
def opened(settings: Settings, s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Opened:
    from worker.function_jobs import ANSWERS

    troubles: list[Exception] = []

    def answer(job: Job, _runtime: object, _checkpoint: object) -> dict[str, Any]:
        if troubles:
            raise troubles.pop(0)
        return {"recognitions": [], "photo": job.request["image"]["name"]}

    monkeypatch.setattr(worker.attempt, "FIRST_RETRY_S", 0.0)
    monkeypatch.setitem(ANSWERS, JobKind.RECOGNITION, answer)
    programs = SimpleNamespace(embedder=SimpleNamespace(digest="x"))
    monkeypatch.setattr(worker.function, "load_programs", lambda _settings: programs)
    monkeypatch.setattr(worker.function, "describe", lambda _programs: {})
    monkeypatch.setattr(worker.function, "open_embedders", lambda *_: None)
    sqs = boto3.client("sqs", endpoint_url=s3_endpoint, region_name="us-east-1")
    queue_url = sqs.create_queue(QueueName=s3_bucket)["QueueUrl"]
    own = dataclasses.replace(settings, jobs=dataclasses.replace(settings.jobs, function_queue_url=queue_url))
    s3 = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    function = Function(own, s3)
    assert function._jobs is not None
    ledger = function._jobs._process.ledger
    return Opened(function, ledger, s3, s3_bucket, sqs, queue_url, troubles)


def test_a_message_that_comes_again_after_its_photo_was_deleted_repeats_the_jobs_answer(opened: Opened) -> None:
    opened.put()
    record = upload(opened.bucket)
    assert opened.call(record)
    first = opened.answer()
    assert first is not None
    assert (first["status"], first["job"]) == ("succeeded", opened.job_id(record))
    opened.delete(KEY)
    assert opened.call(record)
    assert opened.answer() == first
    # Its function died between the end of the job and the writing.
    opened.delete(f"results/{KEY}.json")
    assert opened.call(record)
    assert opened.answer() == first


def test_a_photo_that_never_became_a_job_keeps_its_answer_when_it_is_gone(opened: Opened) -> None:
    record = upload(opened.bucket)
    opened.put(data=b"no picture")
    assert opened.call(record)
    opened.delete(KEY)
    assert opened.call(record)
    refused = opened.answer()
    assert refused is not None
    assert refused["error"]["code"] == "image_not_an_image"
    assert opened.call(upload(opened.bucket, "uploads/drinks/never.jpg"))
    gone = opened.answer("uploads/drinks/never.jpg")
    assert gone is not None
    assert gone["error"]["code"] == "object_not_found"


@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_a_job_that_its_own_message_ends_is_answered_next_to_its_photo(opened: Opened, ending: str) -> None:
    """The first attempt is to be repeated; the keeper's message, which names the job alone, continues it."""
    opened.put()
    record = upload(opened.bucket)
    job_id = opened.job_id(record)
    most = opened.ledger._settings.max_attempts
    opened.troubles.extend([MemoryError()] * (1 if ending == "succeeded" else most))
    assert not opened.call(record)
    assert opened.answer() is None
    while not opened.ledger.get(job_id).finished:
        assert opened.call(queued({"job": job_id}))
    job, answer = opened.ledger.get(job_id), opened.answer()
    assert answer == {
        "bucket": opened.bucket,
        "key": KEY,
        "gallery": "drinks",
        "status": ending,
        "result": job.result,
        "error": job.error,
        "job": job_id,
    }
    assert job.request["origin"] == f"s3://{opened.bucket}/{KEY}"
    # Its function died between the end of the job and the writing; the message comes again.
    opened.delete(f"results/{KEY}.json")
    assert opened.call(queued({"job": job_id}))
    assert opened.answer() == answer


def test_a_job_that_another_ones_message_ends_is_answered_too(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lanes say which job is next. If its answer cannot be written, a message of its own is sent for it."""
    opened.put()
    first, second = upload(opened.bucket), upload(opened.bucket, "uploads/drinks/2.jpg", LATE)
    opened.put("uploads/drinks/2.jpg")
    opened.troubles.append(MemoryError())
    assert not opened.call(first)
    assert opened.call(second)
    other = queued({"job": opened.job_id(second)})
    with monkeypatch.context() as patch:
        patch.setattr(opened.function, "_s3", boto3.client("s3", endpoint_url="http://127.0.0.1:1", region_name="x"))
        assert not opened.call(other), "the answer of its own job cannot be written"
    assert opened.ledger.get(opened.job_id(first)).finished
    assert opened.answer() is None
    assert opened.sent() == [{"job": opened.job_id(first)}]
    assert opened.call(queued({"job": opened.job_id(first)}))
    answer = opened.answer()
    assert answer is not None
    assert answer["job"] == opened.job_id(first)


def test_an_earlier_upload_does_not_overwrite_the_answer_of_a_later_one(opened: Opened) -> None:
    opened.put()
    early, late = upload(opened.bucket), upload(opened.bucket, at=LATE)
    assert opened.call(early)
    assert opened.call(late)
    for record in (early, queued({"job": opened.job_id(early)})):
        assert opened.call(record)
        answer = opened.answer()
        assert answer is not None
        assert answer["job"] == opened.job_id(late)


def test_a_replayed_job_is_answered_anew(opened: Opened) -> None:
    opened.put()
    record = upload(opened.bucket)
    job_id = opened.job_id(record)
    opened.troubles.extend([MemoryError()] * opened.ledger._settings.max_attempts)
    while not opened.call(record):
        pass
    opened.ledger.replay(job_id)
    assert opened.call(queued({"job": job_id}))
    answer = opened.answer()
    assert answer is not None
    assert (answer["status"], answer["error"]) == ("succeeded", None)


def test_no_answer_is_written_about_an_erased_job(opened: Opened, redis_client: redis.Redis) -> None:
    opened.put()
    record = upload(opened.bucket)
    job_id = opened.job_id(record)
    assert opened.call(record)
    assert erase_job(redis_client, opened.ledger, job_id, 60) is not None
    assert opened.answer() is not None, "the user's own bucket is not the service's to empty"
    opened.delete(f"results/{KEY}.json")
    for again in (record, queued({"job": job_id})):
        assert opened.call(again)
        assert opened.answer() is None


def test_a_job_from_elsewhere_is_answered_in_the_ledger_alone(opened: Opened) -> None:
    request = {"gallery": "drinks", "image": {"key": "images/00/00", "name": "a.jpg"}, "options": {}}
    job = opened.ledger.create("recognition", request)
    assert opened.call(queued({"job": job.id}))
    assert opened.ledger.get(job.id).finished
    assert "Contents" not in opened.s3.list_objects_v2(Bucket=opened.bucket)
