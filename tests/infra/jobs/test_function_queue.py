"""Ids for a function go to its queue of SQS, a real server's, and to no worker's."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis

from contracts.jobs import JobKind
from infra.jobs.function_queue import KINDS, FunctionQueue
from infra.jobs.queue import make_celery, open_queue
from infra.runtime.settings import ConfigurationError, load_settings
from infra.runtime.telemetry import REGISTRY
from tests.infra.s3_server import CREDENTIALS, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.runtime.settings import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as endpoint:  # moto's, which has SQS too
        yield endpoint


@pytest.fixture
def sqs(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    names = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("sqs", endpoint_url=server, **names)


def failures() -> float:
    return REGISTRY.get_sample_value("shitu_publish_failures_total", {"queue": "function"}) or 0.0


def test_jobs_about_one_photo_go_to_the_function_and_the_others_to_workers(
    sqs: Any, settings: Settings, redis_client: redis.Redis
) -> None:
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    queue = open_queue(load_settings({**settings.to_env(), "SHITU_JOBS__FUNCTION_QUEUE_URL": url}))
    for kind in JobKind:
        assert queue.publish(kind, f"{kind.prefix}_1")
    assert queue.deliver("msg_1")
    assert {kind for kind in JobKind if redis_client.llen(f"shitu:queue:{kind.queue}")} == set(JobKind) - set(KINDS)
    assert redis_client.llen("shitu:queue:deliver") == 1
    sent = [json.loads(message["Body"]) for _ in KINDS for message in sqs.receive_message(QueueUrl=url)["Messages"]]
    assert sorted(one["job"] for one in sent) == sorted(f"{kind.prefix}_1" for kind in KINDS)


@pytest.mark.parametrize("path", ["refused", "no such queue"])
def test_a_queue_that_cannot_be_reached_costs_neither_an_error_nor_much_time(sqs: Any, path: str, server: str) -> None:
    url = f"{server}/123456789012/nothing" if path == "no such queue" else "http://127.0.0.1:1/1/jobs"
    before, began = failures(), time.monotonic()
    assert not FunctionQueue(url).publish(JobKind.RECOGNITION, "rec_1")
    assert failures() == before + 1
    assert time.monotonic() - began < 10


def test_without_a_queue_workers_do_all(settings: Settings, redis_client: redis.Redis) -> None:
    queue = open_queue(settings, make_celery(settings))
    assert queue.publish(JobKind.RECOGNITION, "rec_1")
    assert redis_client.llen("shitu:queue:recognize") == 1


def test_what_is_no_address_is_refused_with_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="SHITU_JOBS__FUNCTION_QUEUE_URL"):
        load_settings({"SHITU_JOBS__FUNCTION_QUEUE_URL": "arn:aws:sqs:eu-central-1:1:jobs"})
