"""Pictures by URL, fetched from real local servers into a real ledger: every ending, and hosts that never answer."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from infra.jobs.queue import Queue, make_celery
from infra.jobs.records import JobStatus
from tests.infra.local_servers import Server, serving
from tests.infra.processes import eventually
from worker.fetcher import Fetcher, open_fetcher
from worker.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from infra.jobs.ledger import Job

IMAGE = {"key": None, "name": "a.jpg", "width": None, "height": None, "format": None}
REQUEST = {"gallery": "drinks", "image": IMAGE, "options": {"top_k": 3}}


# Silent hosts are given up soon; a server that answers has time enough on the busiest machine.
in_haste = pytest.mark.parametrize("url_timeout_s", [0.4])


@pytest.fixture
def url_timeout_s() -> float:
    return 10.0


@pytest.fixture
def courier(process: Process, url_timeout_s: float) -> Iterator[Process]:
    """A courier that may reach this machine, and gives a server `url_timeout_s`."""
    web = dataclasses.replace(
        process.settings.web,
        allowed_hosts=("127.0.0.1",),
        url_timeout_s=url_timeout_s,
        url_concurrency=3,
        max_body_bytes=1000,
    )
    process.settings = dataclasses.replace(process.settings, web=web)
    process.fetcher = open_fetcher(process)
    yield process
    process.fetcher.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def create(courier: Process, url: str) -> str:
    return courier.ledger.create("recognition", REQUEST, source_url=url).id


def fetcher(courier: Process) -> Fetcher:
    assert courier.fetcher is not None
    return courier.fetcher


def ended(courier: Process, job_id: str) -> Job:
    """The job once it failed; its retries are not waited for, each is hurried once: one that began keeps its lease."""
    hurried = {0}

    def look() -> bool:
        job = courier.ledger.get(job_id)
        if job.status is JobStatus.QUEUED and job.attempts not in hurried:
            hurried.add(job.attempts)
            courier.ledger._redis.zadd("shitu:jobs:open", {job_id: 0}, xx=True)
            courier.ledger.sweeper.sweep(courier.queue)
            fetcher(courier).take(job_id)
        return courier.ledger.get(job_id).finished

    eventually(look)
    return courier.ledger.get(job_id)


def test_a_picture_is_stored_by_its_content_and_the_job_continues(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/a.jpg?key=s3cret"] = (200, {}, b"picture")
    job_id = create(courier, server.url("/a.jpg?key=s3cret"))
    assert courier.ledger.start(job_id) is None  # it is nothing for a worker yet
    fetcher(courier).take(job_id)
    eventually(lambda: redis_client.llen("shitu:queue:recognize") == 1)
    job = courier.ledger.get(job_id)
    assert (job.status, job.attempts, job.source_url) == (JobStatus.QUEUED, 0, None)
    assert job.request["options"] == {"top_k": 3}
    assert fetcher(courier)._photos._objects.get(job.request["image"]["key"]) == b"picture"
    assert redis_client.smembers(f"shitu:photo:{job.request['image']['key']}") == {job_id}
    assert "s3cret" not in str(redis_client.hgetall(f"shitu:job:{job_id}"))  # it is not needed any more
    assert courier.ledger.start(job_id, fetching=True) is None
    assert courier.ledger.start(job_id) is not None


@pytest.mark.parametrize(
    ("path", "code", "attempts"),
    [
        ("/gone", "fetch_failed", 1),
        ("/moved", "address_forbidden", 1),
        ("/large", "fetch_too_large", 1),
        ("/busy", "fetch_failed", 3),
    ],
)
def test_a_url_without_a_picture_fails_its_job_with_the_code(
    courier: Process, server: Server, path: str, code: str, attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path += "?key=s3cret"
    server.paths["/moved?key=s3cret"] = (302, {"Location": "http://169.254.169.254/latest"}, b"")
    server.paths["/large?key=s3cret"] = (200, {}, b"x" * 1001)
    server.paths["/busy?key=s3cret"] = (503, {}, b"")
    job_id = create(courier, server.url(path))
    fetcher(courier).take(job_id)
    job = ended(courier, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error["code"] == code
    assert job.error["retryable"] is (attempts > 1)
    assert job.attempts == attempts
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str(job.to_dict())


def test_a_trouble_that_passes_is_over_with_the_next_attempt(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/a.jpg"] = (503, {}, b"")
    job_id = create(courier, server.url("/a.jpg"))
    fetcher(courier).take(job_id)
    eventually(lambda: courier.ledger.get(job_id).attempts == 1 and job_id in queued(redis_client))
    assert job_id not in courier.ledger.sweeper.overdue()  # not at once
    server.paths["/a.jpg"] = (200, {}, b"picture")
    redis_client.zadd("shitu:jobs:open", {job_id: 0}, xx=True)
    courier.ledger.sweeper.sweep(courier.queue)
    assert redis_client.llen("shitu:queue:fetch") == 1  # published to those who fetch, not to the workers
    assert redis_client.llen("shitu:queue:recognize") == 0

    def continues() -> bool:
        fetcher(courier).take(job_id)  # the keeper's message
        return courier.ledger.get(job_id).source_url is None

    eventually(continues)


@pytest.mark.parametrize(("retry_after", "waits_s"), [("50", 50), ("86400", 600), ("0", 2), ("soon", 2)])
def test_a_server_that_sets_a_pause_is_within_bounds(
    courier: Process, server: Server, redis_client: redis.Redis, retry_after: str, waits_s: float
) -> None:
    server.paths["/a.jpg"] = (429, {"Retry-After": retry_after}, b"")
    job_id = create(courier, server.url("/a.jpg"))
    fetcher(courier).take(job_id)
    eventually(lambda: courier.ledger.get(job_id).attempts == 1 and job_id in queued(redis_client))
    due_s = (redis_client.zscore("shitu:jobs:open", job_id) or 0) - courier.ledger.time()
    assert waits_s - 2 < due_s <= waits_s


def test_another_installation_shares_only_the_server(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    """Every key that fetching touches has the prefix; the photo's among them."""
    server.paths["/a.jpg"] = (200, {}, b"picture")
    settings = dataclasses.replace(courier.settings, redis_prefix="shop")
    shop = Process(settings, Queue(make_celery(settings)), {"deliver", "fetch"}, None)
    shop.fetcher = open_fetcher(shop)
    try:
        job_id = create(shop, server.url("/a.jpg"))
        fetcher(shop).take(job_id)
        eventually(lambda: redis_client.llen("shop:queue:recognize") == 1)
    finally:
        shop.close()
    assert redis_client.exists(f"shop:photo:{shop.ledger.get(job_id).request['image']['key']}")
    assert [key for key in redis_client.scan_iter() if not str(key).startswith("shop:")] == []


def queued(client: redis.Redis) -> list[str]:
    return [str(job_id) for job_id in client.zrange("shitu:jobs:queued", 0, -1)]


@contextlib.contextmanager
def silence() -> Iterator[str]:
    """The URL of a host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a.jpg"


@in_haste
def test_silent_hosts_hold_some_places_for_some_time_and_nobody_who_hands_over(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/a.jpg"] = (200, {}, b"picture")
    with silence() as url:
        jobs = [create(courier, url) for _ in range(6)]
        good = create(courier, server.url("/a.jpg"))
        started = time.monotonic()
        for job_id in [*jobs, good, *jobs]:  # the keeper may publish again what still waits
            fetcher(courier).take(job_id)
        assert time.monotonic() - started < 2  # one after the other they would take five
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("fetch-")]
        assert len(threads) == 3
        eventually(lambda: courier.ledger.get(good).source_url is None)
        assert time.monotonic() - started < 5
        assert {courier.ledger.get(job_id).attempts for job_id in jobs} == {1}


def test_a_courier_that_dies_in_mid_fetch_loses_nothing(
    courier: Process, server: Server, redis_client: redis.Redis
) -> None:
    server.paths["/a.jpg"] = (200, {}, b"picture")
    job_id = create(courier, server.url("/a.jpg"))
    assert courier.ledger.start(job_id, fetching=True) is not None  # and nothing more is heard of it
    eventually(lambda: job_id in courier.ledger.sweeper.overdue())
    assert courier.ledger.sweeper.sweep(courier.queue).republished == (job_id,)
    assert redis_client.llen("shitu:queue:fetch") == 1
    fetcher(courier).take(job_id)
    eventually(lambda: redis_client.llen("shitu:queue:recognize") == 1)


@in_haste
def test_a_stopped_courier_publishes_what_it_had_not_begun(courier: Process, redis_client: redis.Redis) -> None:
    with silence() as url:
        jobs = [create(courier, url) for _ in range(5)]
        for job_id in jobs:
            fetcher(courier).take(job_id)
        eventually(lambda: len(queued(redis_client)) == 2)
        courier.drain(within_s=0.0)
        assert redis_client.llen("shitu:queue:fetch") == 2
        # What was under way is given back uncounted, as by every worker that is stopped.
        eventually(lambda: {courier.ledger.get(job_id).status for job_id in jobs} == {JobStatus.QUEUED})


@in_haste
def test_a_canceled_job_is_not_continued(courier: Process, server: Server, redis_client: redis.Redis) -> None:
    with silence() as url:
        job_id = create(courier, url)
        fetcher(courier).take(job_id)
        eventually(lambda: courier.ledger.get(job_id).status is JobStatus.PROCESSING)
        courier.ledger.cancel(job_id)
        assert ended(courier, job_id).status is JobStatus.CANCELED
    assert redis_client.llen("shitu:queue:recognize") == 0
