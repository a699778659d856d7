"""Pictures of enrolments by URL, fetched from a real local server into a real ledger: each alone, each once, whatever dies."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from infra.jobs.records import JobStatus
from infra.jobs.sources import pack_sources, parse_sources
from tests.infra.local_servers import Server, serving
from tests.infra.processes import eventually
from tests.worker.test_fetcher import ended, fetcher
from worker.fetcher import open_fetcher
from worker.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

PLENTY = {f"/{number}.jpg": (200, {}, f"picture {number}".encode()) for number in range(9)}


@pytest.fixture
def courier(process: Process) -> Iterator[Process]:
    web = dataclasses.replace(
        process.settings.web, allowed_hosts=("127.0.0.1",), url_timeout_s=10.0, max_body_bytes=1000
    )
    process.settings = dataclasses.replace(process.settings, web=web)
    process.fetcher = open_fetcher(process)
    yield process
    process.fetcher.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.paths.update(PLENTY)
        yield running


def create(courier: Process, *urls: str) -> str:
    items = [{"name": f"{place}.jpg", "label": "cola"} for place in range(len(urls))]
    request = {"gallery": "drinks", "items": items, "crop": "whole"}
    return courier.ledger.create("enrollment", request, source_url=pack_sources(dict(enumerate(urls)))).id


def items_of(courier: Process, job_id: str) -> list[dict[str, Any]]:
    return list(courier.ledger.get(job_id).request["items"])


def test_all_pictures_are_kept_by_their_content_and_a_worker_has_the_job(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/1.jpg?key=s3cret"] = (200, {}, b"with a key")
    job_id = create(courier, server.url("/0.jpg"), server.url("/1.jpg?key=s3cret"))
    assert courier.ledger.start(job_id) is None  # it is nothing for a worker yet
    fetcher(courier).take(job_id)
    eventually(lambda: redis_client.llen("shitu:queue:enroll") == 1)
    job = courier.ledger.get(job_id)
    assert (job.status, job.attempts, job.source_url) == (JobStatus.QUEUED, 0, None)
    objects = fetcher(courier)._objects
    for item, data in zip(items_of(courier, job_id), (b"picture 0", b"with a key"), strict=True):
        assert item["sha256"] == hashlib.sha256(data).hexdigest()
        assert item["image_key"].startswith("images/")  # the gallery's, no job's photo
        assert objects.get(item["image_key"]) == data
    assert "s3cret" not in str(redis_client.hgetall(f"shitu:job:{job_id}"))
    assert not list(redis_client.scan_iter("shitu:photo:*"))
    assert courier.ledger.start(job_id) is not None


def test_a_picture_that_is_not_to_be_had_is_rejected_alone(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/large"] = (200, {}, b"x" * 1001)
    server.paths["/moved"] = (302, {"Location": "http://192.168.0.1/a.jpg"}, b"")
    job_id = create(courier, server.url("/gone"), server.url("/0.jpg"), server.url("/large"), server.url("/moved"))
    fetcher(courier).take(job_id)
    eventually(lambda: redis_client.llen("shitu:queue:enroll") == 1)
    items = items_of(courier, job_id)
    codes = [item.get("error", {}).get("code") for item in items]
    assert codes == ["fetch_failed", None, "fetch_too_large", "address_forbidden"]
    assert ["image_key" in item for item in items] == [False, True, False, False]
    assert "SHITU_WEB__ALLOWED_HOSTS" in items[3]["error"]["message"]


def test_a_servers_bad_moment_costs_only_the_pictures_that_failed(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/busy.jpg"] = (503, {}, b"")
    job_id = create(courier, server.url("/0.jpg"), server.url("/busy.jpg"), server.url("/2.jpg"))
    fetcher(courier).take(job_id)
    eventually(lambda: courier.ledger.get(job_id).status is JobStatus.QUEUED and courier.ledger.get(job_id).attempts)
    assert parse_sources(courier.ledger.get(job_id).source_url) == {1: server.url("/busy.jpg")}
    assert ["image_key" in item for item in items_of(courier, job_id)] == [True, False, True]
    server.paths["/busy.jpg"] = PLENTY["/1.jpg"]
    again(courier, job_id)
    eventually(lambda: redis_client.llen("shitu:queue:enroll") == 1)
    assert all("image_key" in item for item in items_of(courier, job_id))
    requested = [path for _, path, _, _ in server.requests]
    assert (requested.count("/0.jpg"), requested.count("/2.jpg"), requested.count("/busy.jpg")) == (1, 1, 2)


def test_after_the_last_attempt_the_rest_is_rejected_and_the_others_are_added(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/busy.jpg"] = (503, {}, b"")
    job_id = create(courier, server.url("/busy.jpg"), server.url("/0.jpg"))
    fetcher(courier).take(job_id)
    most = courier.settings.jobs.max_attempts
    for attempt in range(1, most):
        eventually(lambda: courier.ledger.get(job_id).attempts == attempt and waits(courier, job_id))  # noqa: B023
        again(courier, job_id)
    eventually(lambda: redis_client.llen("shitu:queue:enroll") == 1)
    busy, there = items_of(courier, job_id)
    assert (busy["error"]["code"], busy["error"]["retryable"], "image_key" in there) == ("fetch_failed", True, True)
    assert [path for _, path, _, _ in server.requests].count("/busy.jpg") == most


def test_what_a_killed_courier_had_fetched_is_not_fetched_again(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    job_id = create(courier, server.url("/0.jpg"), server.url("/1.jpg"))
    lease = courier.ledger.start(job_id, fetching=True)  # of one that dies after the first picture
    assert lease is not None
    assert lease.job is not None
    key = fetcher(courier)._objects.put_image(b"picture 0")
    items = [{**lease.job.request["items"][0], "image_key": key, "sha256": "0" * 64}, lease.job.request["items"][1]]
    rest = pack_sources({1: server.url("/1.jpg")})
    assert courier.ledger.fetched_one(lease.job, {**lease.job.request, "items": items}, str(rest))
    courier.ledger._redis.hset(f"shitu:job:{job_id}", "lease_until", "0")
    again(courier, job_id)
    eventually(lambda: redis_client.llen("shitu:queue:enroll") == 1)
    assert [path for _, path, _, _ in server.requests] == ["/1.jpg"]
    assert items_of(courier, job_id)[0]["image_key"] == key
    assert not courier.ledger.fetched_one(lease.job, lease.job.request, "{}")  # the dead one writes no more


def test_a_silent_server_is_given_up_after_three_pictures(process: Process) -> None:
    from infra.errors.photos import FetchTimeout
    from worker.item_fetcher import fetch_items

    requested: list[str] = []

    def silent(url: str) -> bytes:
        requested.append(url)
        raise FetchTimeout("The server did not answer completely in time.")

    urls = [f"https://silent.example/{number}.jpg" for number in range(6)]
    job = process.ledger.get(create(process, *urls))
    objects: Any = None
    request = fetch_items(job, lambda _=None: None, silent, objects, process.ledger, last=True)
    assert len(requested) == 3
    assert {item["error"]["code"] for item in request["items"]} == {"fetch_timeout"}


def test_a_job_that_is_canceled_meanwhile_is_not_continued(courier: Process, server: Server) -> None:
    job_id = create(courier, server.url("/0.jpg"))
    courier.ledger.cancel(job_id)
    fetcher(courier).take(job_id)
    assert ended(courier, job_id).status is JobStatus.CANCELED
    assert server.requests == []


def waits(courier: Process, job_id: str) -> bool:
    return courier.ledger.get(job_id).status is JobStatus.QUEUED


def again(courier: Process, job_id: str) -> None:
    """The next attempt now, not after its pause."""
    eventually(
        lambda: job_id not in fetcher(courier)._known
    )  # the one before has ended wholly: until then it is not taken twice
    courier.ledger._redis.zadd("shitu:jobs:open", {job_id: 0}, xx=True)
    courier.ledger.sweeper.sweep(courier.queue)
    fetcher(courier).take(job_id)
