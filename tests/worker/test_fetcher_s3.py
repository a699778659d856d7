"""Photos by `s3://bucket/key`, fetched by a courier from a real S3 server into a real ledger."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.jobs.records import JobStatus
from tests.infra.processes import eventually
from tests.worker.test_fetcher import create, ended, fetcher
from worker.fetcher import open_fetcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from worker.process import Process


@pytest.fixture
def bucket(s3_endpoint: str, s3_bucket: str) -> str:
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.put_object(Bucket=s3_bucket, Key="open/a.jpg", Body=b"picture")
    client.put_object(Bucket=s3_bucket, Key="open/large.jpg", Body=b"x" * 1001)
    return s3_bucket


@pytest.fixture
def courier(process: Process, s3_endpoint: str, bucket: str) -> Iterator[Process]:
    objects = dataclasses.replace(
        process.settings.objects, endpoint_url=s3_endpoint, input_buckets=(f"{bucket}/open", "never-made")
    )
    web = dataclasses.replace(process.settings.web, max_body_bytes=1000)
    process.settings = dataclasses.replace(process.settings, objects=objects, web=web)
    process.fetcher = open_fetcher(process)
    yield process
    process.fetcher.close()


def test_an_object_becomes_the_photo_of_its_job(courier: Process, bucket: str, redis_client: redis.Redis) -> None:
    job_id = create(courier, f"s3://{bucket}/open/a.jpg")
    fetcher(courier).take(job_id)
    eventually(lambda: redis_client.llen("shitu:queue:recognize") == 1)
    job = courier.ledger.get(job_id)
    assert (job.status, job.attempts, job.source_url) == (JobStatus.QUEUED, 0, None)
    assert fetcher(courier)._photos._objects.get(job.request["image"]["key"]) == b"picture"


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("{bucket}/open/nothing.jpg", "bucket_key_missing"),
        ("{bucket}/open/large.jpg", "fetch_too_large"),
        ("never-made/a.jpg", "bucket_not_found"),
        ("{bucket}/closed/a.jpg", "bucket_forbidden"),  # of a job from before the setting changed
    ],
)
def test_an_object_that_cannot_be_had_fails_its_job_at_once(
    courier: Process, bucket: str, place: str, code: str
) -> None:
    job_id = create(courier, "s3://" + place.format(bucket=bucket))
    fetcher(courier).take(job_id)
    job = ended(courier, job_id)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.error is not None
    assert (job.error["code"], job.error["retryable"]) == (code, False)
