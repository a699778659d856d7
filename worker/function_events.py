"""What a function is called with: an SQS batch or an S3 notification, read into requests. Nothing of it is trusted.

A message of SQS is `{"job": ID}`, an S3 notification, or `{"bucket", "key", "gallery", "options", "webhook_url"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from contracts.errors import OptionsError
from contracts.jobs import JobKind
from infra.jobs.function_queue import KINDS
from infra.jobs.records import JOB_ID
from models.options import RecognizeOptions

UPLOADS = "uploads/"  # S3 notifications of other keys are of no concern, those of our own answers least of all
RESULTS = "results/"
S3 = "s3://"


def result_key(key: str) -> str:
    """Where the answer about the photo `key` goes: a retry writes the same again."""
    return f"{RESULTS}{key}.json"


def place(origin: str) -> tuple[str, str]:
    """The bucket and the key of a Request's `origin`."""
    bucket, _, key = origin.removeprefix(S3).partition("/")
    return bucket, key


class EventRefused(ValueError):  # noqa: N818 - what becomes of the message is said, not what went wrong here
    """A message that is no request, whenever it is read."""


@dataclass(frozen=True)
class Request:
    """One photo: where it is, and in which gallery it is looked up."""

    bucket: str
    key: str
    gallery: str
    options: dict[str, Any] = field(default_factory=dict)
    webhook_url: str | None = None
    event: str = ""  # what tells it from a later one about the same place, and is the same where it comes again
    at: float = 0.0  # when it was sent, in seconds since 1970; 0: unknown

    @property
    def identity(self) -> str:
        """The same for each time that this request comes, and for no other."""
        return json.dumps([self.bucket, self.key, self.gallery, self.event])

    @property
    def subject(self) -> str:
        """What a log's line is about."""
        return self.key

    @property
    def origin(self) -> str:
        """Where its photo is, as the job about it has it; see `place`."""
        return f"{S3}{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Waiting:
    """A job waits in the ledger: infra.jobs.function_queue."""

    kind: JobKind
    job_id: str

    @property
    def subject(self) -> str:
        """What a log's line is about."""
        return self.job_id


@dataclass(frozen=True)
class Message:
    """One record of an event: its id by which its failure is reported to SQS, and its requests or why it has none."""

    id: str | None
    requests: tuple[Request | Waiting, ...] = ()
    refused: str | None = None


def read_event(event: Any) -> list[Message]:
    """The messages of an SQS batch, or those of an S3 notification. Raises EventRefused for anything else."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise EventRefused("expected an SQS batch or an S3 notification: an object with Records")
    return [_message(record) for record in records]


def _message(record: Any) -> Message:
    source = record.get("eventSource") if isinstance(record, dict) else None
    if source == "aws:s3":
        return Message(None, *_read(_of_s3, record))
    if source != "aws:sqs" or not isinstance(record.get("messageId"), str):
        raise EventRefused(f"expected records of aws:sqs or aws:s3, not of {source!r}")
    return Message(record["messageId"], *_read(_of_sqs, record))


def _read(reader: Any, record: Any) -> tuple[tuple[Request | Waiting, ...], str | None]:
    try:
        return reader(record), None
    except (KeyError, TypeError, AttributeError) as error:
        return (), f"a part is missing or of another kind: {error}"
    except (EventRefused, OptionsError, ValueError) as error:
        return (), str(error)


def _of_sqs(record: dict[str, Any]) -> tuple[Request | Waiting, ...]:
    """A message of ours, or an S3 notification that went through the queue."""
    body = json.loads(record["body"])
    if body.get("Event") == "s3:TestEvent":  # sent when the notification is set up
        return ()
    if "Records" in body:
        return tuple(request for inner in body["Records"] for request in _of_s3(inner))
    if body.keys() == {"job"}:
        return (_waiting(body["job"]),)
    if unknown := sorted(body.keys() - {"bucket", "key", "gallery", "options", "webhook_url"}):
        raise EventRefused(f"unknown: {', '.join(unknown)}")
    request = _request(body["bucket"], body["key"], body["gallery"], body.get("options", {}))
    webhook_url = body.get("webhook_url")
    if webhook_url is not None and not isinstance(webhook_url, str):
        raise EventRefused("webhook_url: expected a text")
    sent_ms = record.get("attributes", {}).get("SentTimestamp", "0")
    return (replace(request, webhook_url=webhook_url, event=record["messageId"], at=int(sent_ms) / 1000),)


def _of_s3(record: dict[str, Any]) -> tuple[Request, ...]:
    """An uploaded object `uploads/GALLERY/…`."""
    key = unquote_plus(record["s3"]["object"]["key"])
    if not record["eventName"].startswith("ObjectCreated:") or not key.startswith(UPLOADS) or key.endswith("/"):
        return ()
    gallery, slash, _ = key.removeprefix(UPLOADS).partition("/")
    if not slash:
        raise EventRefused(f"{key}: expected {UPLOADS}GALLERY/NAME")
    about = record["s3"]["object"]
    event = ":".join(str(about.get(name, "")) for name in ("versionId", "eTag", "sequencer"))
    at = datetime.fromisoformat(record["eventTime"]).timestamp() if "eventTime" in record else 0.0
    return (replace(_request(record["s3"]["bucket"]["name"], key, gallery, {}), event=event, at=at),)


def _waiting(job_id: Any) -> Waiting:
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise EventRefused("job: expected the id of a job")
    kind = JobKind.of(job_id)
    if kind not in KINDS:
        raise EventRefused(f"job: a function does no {kind}")
    return Waiting(kind, job_id)


def _request(bucket: Any, key: Any, gallery: Any, options: Any) -> Request:
    for name, value in (("bucket", bucket), ("key", key), ("gallery", gallery)):
        if not isinstance(value, str) or not value:
            raise EventRefused(f"{name}: expected a text")
    if key.startswith(RESULTS):
        raise EventRefused(f"{key} is an answer")
    if not isinstance(options, dict):
        raise EventRefused("options: expected an object")
    RecognizeOptions.from_dict(options)
    return Request(bucket, key, gallery, options)
