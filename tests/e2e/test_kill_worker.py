"""Nothing accepted is lost: the worker, and Redis itself, are killed with SIGKILL while jobs run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from infra.jobs.ledger import JobLedger, open_ledger
from infra.jobs.records import JobStatus
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import serving

SLOW_SIDE_PX = 6000  # decoding so large a photo takes long enough to be caught at it
OPTIONS = '{"whole_image": "always", "detection_threshold": 1}'


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: its processes die. A message that died with Redis is missed after four seconds."""
    with Stack(stack_settings(tmp_path_factory.mktemp("stack"), SHITU_JOBS__QUEUED_DEADLINE_S="4")) as running:
        yield running


@pytest.fixture(scope="module")
def service(stack: Stack) -> Service:
    own = Service(stack.base_url)
    own.create_gallery("kill")
    own.enroll("kill", {"pattern 1": encode(pattern(1)), "pattern 2": encode(pattern(2))})
    return own


@pytest.fixture(scope="module")
def ledger(stack: Stack, service: Service) -> JobLedger:
    return open_ledger(stack.settings)


@cache
def slow_photo(number: int) -> bytes:
    """Another one for each try: what was answered once is answered from the cache."""
    return encode(pattern(2, SLOW_SIDE_PX + number))


def stop_in_the_middle(
    stack: Stack, service: Service, ledger: JobLedger, webhook_url: str | None = None
) -> dict[str, Any]:
    """A job whose worker is frozen (SIGSTOP, to all its processes) while it works on it."""
    pid = stack.processes["worker"].pid
    assert pid is not None
    for number in range(5):
        job = service.accepted(service.ask(slow_photo(number), "kill", options=OPTIONS, webhook_url=webhook_url))
        wait_for(lambda: ledger.get(job["id"]).status is not JobStatus.QUEUED)  # noqa: B023 - called at once
        os.killpg(pid, signal.SIGSTOP)
        if ledger.get(job["id"]).status is JobStatus.PROCESSING:
            return job
        os.killpg(pid, signal.SIGCONT)  # it was faster: once more
    raise AssertionError("the worker finished every job before it could be stopped")


def test_a_job_whose_worker_is_killed_is_finished_by_the_next(
    stack: Stack, service: Service, ledger: JobLedger
) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (200, {}, b"")
        job = stop_in_the_middle(stack, service, ledger, receiver.url("/hook"))
        pid = stack.processes["worker"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        done = service.finished(job)
        assert done["status"] == "succeeded"
        assert done["attempts"] == 2
        assert set(labels(done["result"])) == {"pattern 2"}
        assert stack.processes["worker"].pid != pid
        wait_for(lambda: service.get(job["links"]["self"])["webhook"]["status"] == "delivered")
        assert len({headers["webhook-id"] for _, _, headers, _ in receiver.requests}) == 1


def test_queued_jobs_outlive_their_worker(stack: Stack, service: Service) -> None:
    seeds = [1, 2] * 6
    jobs = [service.accepted(service.ask(encode(pattern(seed, 1600)), "kill", options=OPTIONS)) for seed in seeds]
    pid = stack.processes["worker"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for seed, job in zip(seeds, jobs, strict=True):
        done = service.finished(job)
        assert done["status"] == "succeeded"
        assert set(labels(done["result"])) == {f"pattern {seed}"}
    wait_for(lambda: stack.processes["worker"].pid not in {None, pid})  # all may have been done before it was killed


def test_accepted_jobs_outlive_redis(stack: Stack, service: Service, ledger: JobLedger) -> None:
    """One job is in the middle and eight wait when Redis is killed; the worker goes on while it is away."""
    worker, server = stack.processes["worker"].pid, stack.processes["redis"].pid
    assert worker is not None
    assert server is not None
    jobs = [stop_in_the_middle(stack, service, ledger)]
    try:
        jobs += [service.accepted(service.ask(encode(pattern(1, 1600)), "kill", options=OPTIONS)) for _ in range(8)]
        assert not any(ledger.get(job["id"]).finished for job in jobs)
        os.kill(server, signal.SIGKILL)
    finally:
        os.killpg(worker, signal.SIGCONT)
    wait_for(lambda: stack.processes["redis"].pid not in {None, server})
    wait_for(lambda: service.http.get(service.base_url + "/readyz", timeout=10).status_code == 200)
    for job in jobs:
        assert service.finished(job)["status"] == "succeeded"


def test_a_worker_that_wakes_up_late_does_not_overwrite(stack: Stack, service: Service, ledger: JobLedger) -> None:
    job = stop_in_the_middle(stack, service, ledger)
    sleeper = stack.processes["worker"].pid
    assert sleeper is not None
    try:
        stack.add_worker()
        done = service.finished(job)
        assert done["status"] == "succeeded"
        assert done["attempts"] == 2
    finally:
        os.killpg(sleeper, signal.SIGCONT)
    # The sleeper finishes its own attempt now; a job asked of it afterwards shows that it is past it.
    for _ in range(4):
        service.recognized(encode(pattern(1)), "kill")
    assert service.get(job["links"]["self"]) == done
