"""The queue of Amazon SQS that wakes a function (`worker.function_app`) for jobs about one photo, in place of Celery's queues.

As with Celery a message is only a hint and carries an id, `{"job": "rec_…"}`: what gets lost, the sweeper sends again.
"""

from __future__ import annotations

import json
import logging
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from contracts.jobs import JobKind
from infra.runtime.telemetry import PUBLISH_FAILURES

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

# What one photo and the loaded networks answer; the others write galleries, or last longer than a function may.
KINDS = (JobKind.RECOGNITION, JobKind.DETECTION, JobKind.EMBEDDING, JobKind.CLASSIFICATION)
NAME = "function"
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ATTEMPTS = 1, 3, 2  # a client waits for its 202 meanwhile
DEFAULT_REGION = "us-east-1"  # what servers other than Amazon's expect

log = logging.getLogger(__name__)


class FunctionQueue:
    """Sends ids to the queue at `url`, with credentials by boto3's own chain. No method raises: it logs, counts and answers False."""

    def __init__(self, url: str) -> None:
        self._url = url

    def publish(self, kind: JobKind, job_id: str) -> bool:
        """A job of this kind, one of KINDS, waits in the ledger."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps({"job": job_id}))
        except (BotoCoreError, ClientError, ValueError) as error:
            PUBLISH_FAILURES.labels(NAME).inc()
            fields = {"kind": str(kind), "subject": job_id, "error": type(error).__name__}
            log.warning("could not wake the function", extra=fields)
            return False
        return True

    def fetch(self, job_id: str) -> bool:
        """Not for a function: the keeper hands it to a courier."""
        return False

    def deliver(self, delivery_id: str) -> bool:
        """Not for a function: the keeper hands it to a courier."""
        return False

    @cached_property
    def _client(self) -> Any:
        import boto3  # takes a quarter of a second that a function need not pay before it must send something
        from botocore.config import Config

        parts = urlsplit(self._url)
        named = re.fullmatch(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", parts.hostname or "")
        session = boto3.session.Session()
        return session.client(
            "sqs",
            endpoint_url=f"{parts.scheme}://{parts.netloc}",
            region_name=named[1] if named else session.region_name or DEFAULT_REGION,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ),
        )


def function_queue(settings: Settings) -> FunctionQueue | None:
    """That of the settings; None: workers take all jobs."""
    url = settings.jobs.function_queue_url
    return None if url is None else FunctionQueue(url)
