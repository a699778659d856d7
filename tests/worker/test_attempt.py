"""Attempts at jobs on a real ledger: every ending is recorded once, and only by whoever holds the lease."""

from __future__ import annotations

import errno
import io
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from infra.errors.service import BucketMissing, StorageRefused, StorageUnavailable, StorageUnreachable
from infra.jobs.ledger import JobLedger
from infra.jobs.records import Job, JobStatus
from infra.runtime.logs import JsonFormatter
from models.errors import EngineError, ImageError
from worker.attempt import attempt, persist
from worker.lease_keeper import Checkpoint
from worker.process import Process

REQUEST = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}


def answer(_job: Job, _checkpoint: Checkpoint) -> dict[str, Any]:
    """Work that ends at once."""
    return {"recognitions": []}


def until_stopped(_job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
    """Work that never ends by itself."""
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        checkpoint()
        time.sleep(0.005)
    raise AssertionError("nobody stopped the work")


def raising(error: Exception) -> Callable[[Job, Checkpoint], dict[str, Any]]:
    """Work that ends with `error`."""

    def work(_job: Job, _checkpoint: Checkpoint) -> dict[str, Any]:
        raise error

    return work


def queued(client: redis.Redis) -> list[str]:
    """The messages for the couriers."""
    return [str(message) for message in client.lrange("shitu:queue:deliver", 0, -1)]


def new_job(process: Process, webhook_url: str | None = None) -> str:
    """A queued recognition job's id."""
    return process.ledger.create("recognition", REQUEST, webhook_url).id


@pytest.mark.parametrize(
    "trouble",
    [
        StorageUnavailable("The store does not answer."),
        StorageUnreachable("No connection."),
        StorageRefused("The credentials have expired."),
        BucketMissing("No such bucket."),
        *(OSError(number, "x") for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)),
    ],
)
def test_a_trouble_of_the_storage_costs_a_job_nothing(
    process: Process, redis_client: redis.Redis, trouble: Exception
) -> None:
    """However often: the job waits until it is over, and succeeds then."""
    job_id = new_job(process)
    for _ in range(2 * process.settings.jobs.max_attempts):
        attempt(job_id, raising(trouble), process)
        job = process.ledger.get(job_id)
        assert (job.status, job.attempts, job.error) == (JobStatus.QUEUED, 0, None)
        assert job_id not in process.ledger.sweeper.overdue()  # not at once again
    attempt(job_id, answer, process)
    assert process.ledger.get(job_id).status is JobStatus.SUCCEEDED


def test_success_is_recorded_and_its_webhook_handed_over(process: Process, redis_client: redis.Redis) -> None:
    job_id = new_job(process, "http://127.0.0.1:9/hook")
    attempt(job_id, answer, process)
    job = process.ledger.get(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result == {"recognitions": []}
    assert job.attempts == 1
    assert job.webhook is not None
    assert job.webhook.delivery_id is not None
    assert any(
        job.webhook.delivery_id in json.loads(message)["headers"]["argsrepr"] for message in queued(redis_client)
    )


def test_every_line_that_is_written_during_a_job_has_its_id(process: Process) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    library = logging.getLogger("some.library")
    library.addHandler(handler)
    job_id = new_job(process)

    def work(job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
        library.warning("a line")
        return answer(job, checkpoint)

    try:
        attempt(job_id, work, process)
        library.warning("another line")
    finally:
        library.removeHandler(handler)
    first, second = map(json.loads, written.getvalue().splitlines())
    assert (first["job_id"], "job_id" in second) == (job_id, False)


def test_a_finished_job_is_not_worked_on_again(process: Process) -> None:
    job_id = new_job(process)
    attempt(job_id, answer, process)
    attempt(job_id, raising(AssertionError("ran twice")), process)
    assert process.ledger.get(job_id).status is JobStatus.SUCCEEDED


def test_the_users_mistake_fails_at_once_with_its_code(process: Process) -> None:
    job_id = new_job(process)
    attempt(job_id, raising(ImageError("The file ends too early.", "image_truncated")), process)
    job = process.ledger.get(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error == {"code": "image_truncated", "message": "The file ends too early.", "retryable": False}
    assert job.attempts == 1


def test_the_workers_trouble_is_tried_again_later_and_then_reported_without_its_text(process: Process) -> None:
    job_id = new_job(process)
    cap = process.settings.jobs.max_attempts
    for number in range(1, cap + 1):
        assert process.ledger.get(job_id).status is JobStatus.QUEUED
        attempt(job_id, raising(RuntimeError("/srv/secret/path")), process)
        assert process.ledger.get(job_id).attempts == number
        if number < cap:
            assert job_id not in process.ledger.sweeper.overdue()  # not at once
            assert job_id in process.ledger.sweeper.overdue(process.ledger.time() + 61)
    job = process.ledger.get(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error["code"] == "internal_error"
    assert "secret" not in str(job.to_dict())


def test_a_lease_outlives_its_length_while_the_work_runs(process: Process) -> None:
    job_id = new_job(process)
    finish = threading.Event()

    def work(_job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
        finish.wait(10)
        checkpoint()
        return {"done": True}

    worker = threading.Thread(target=attempt, args=(job_id, work, process))
    worker.start()
    wait_for(lambda: process.ledger.get(job_id).status is JobStatus.PROCESSING)
    watch_until = time.monotonic() + 2 * process.settings.jobs.lease_s
    while time.monotonic() < watch_until:
        assert process.ledger.start(job_id) is None
        time.sleep(0.02)
    finish.set()
    worker.join(10)
    job = process.ledger.get(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.attempts == 1


def test_cancel_stops_the_work_between_stages(process: Process) -> None:
    job_id = new_job(process)
    worker = threading.Thread(target=attempt, args=(job_id, until_stopped, process))
    worker.start()
    wait_for(lambda: process.ledger.get(job_id).status is JobStatus.PROCESSING)
    process.ledger.cancel(job_id)
    worker.join(10)
    assert process.ledger.get(job_id).status is JobStatus.CANCELED


def test_an_attempt_that_lost_its_lease_publishes_nothing(process: Process, redis_client: redis.Redis) -> None:
    job_id = new_job(process)

    def slow(_job: Job, _checkpoint: Checkpoint) -> dict[str, Any]:
        # Another worker takes over, as after a long pause of this machine.
        later = process.ledger.time() + 100
        other = JobLedger(redis_client, process.settings.jobs, now=lambda: later)
        lease = other.start(job_id)
        assert lease is not None
        assert other.succeed(lease, {"by": "the other"})
        return {"by": "the late one"}

    attempt(job_id, slow, process)
    assert process.ledger.get(job_id).result == {"by": "the other"}


def test_a_stopped_worker_gives_its_job_back_uncounted(process: Process) -> None:
    job_id = new_job(process)
    worker = threading.Thread(target=attempt, args=(job_id, until_stopped, process))
    worker.start()
    wait_for(lambda: process.ledger.get(job_id).status is JobStatus.PROCESSING)
    process.drain(within_s=0.05)
    worker.join(10)
    job = process.ledger.get(job_id)
    assert job.status is JobStatus.QUEUED
    assert job.attempts == 0


def test_progress_is_reported_while_the_work_runs(process: Process) -> None:
    job_id = new_job(process)
    seen: list[dict[str, Any] | None] = []

    def work(_job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
        checkpoint({"done": 3, "total": 5})
        seen.append(process.ledger.get(job_id).progress)
        return {}

    attempt(job_id, work, process)
    assert seen == [{"done": 3, "total": 5}]


def test_an_engine_error_names_its_code_but_no_path(process: Process) -> None:
    job_id = new_job(process)
    for _ in range(process.settings.jobs.max_attempts):
        attempt(job_id, raising(EngineError("cannot open /srv/models/inference.onnx")), process)
    error = process.ledger.get(job_id).error
    assert error is not None
    assert error["code"] == "engine_failed"
    assert "/srv" not in error["message"]


def test_a_write_survives_a_short_outage_and_no_endless_one() -> None:
    failures = [redis.ConnectionError(), redis.TimeoutError()]

    def write() -> bool:
        if failures:
            raise failures.pop()
        return True

    assert persist(write, patience_s=5)

    def never() -> bool:
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        persist(never, patience_s=0)


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Returns once `condition` holds; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
