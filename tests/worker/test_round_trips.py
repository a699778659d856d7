"""How many requests to Redis one recognition takes: a number that may fall, and does not grow unseen (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis.connection import AbstractConnection

from contracts.jobs import JobKind
from infra.jobs.records import Job
from worker.process import Process, set_current
from worker.runtime import Runtime
from worker.tasks import run

WORKER_TRIPS = 4  # which job is next, its lease with its record, its end, whom to notify
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
REQUEST = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent, one entry for each time that an answer is waited for."""
    sent: list[str] = []
    send = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, check_health: bool = True) -> Any:
        sent.append(str(b"".join(command) if isinstance(command, list) else command)[:60])
        return send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


@pytest.fixture
def working(process: Process) -> Iterator[Process]:
    process._runtime = cast("Runtime", object())
    set_current(process)
    yield process
    set_current(None)


def answer(_job: Job, _runtime: Runtime, checkpoint: Any) -> dict[str, Any]:
    checkpoint()
    return {"recognitions": []}


def test_a_worker_calls_redis_so_often_for_a_job(working: Process, trips: list[str]) -> None:
    jobs = [working.ledger.create("recognition", REQUEST).id for _ in range(4)]
    run(JobKind.RECOGNITION, jobs[0], answer)  # connects, loads the scripts, stamps the queue
    for job_id in jobs[1:]:
        trips.clear()
        run(JobKind.RECOGNITION, job_id, answer)
        assert len(trips) <= WORKER_TRIPS, trips
        assert working.ledger.get(job_id).status == "succeeded"


def test_accepting_a_job_reads_where_it_stands_in_one_trip(working: Process, trips: list[str]) -> None:
    working.ledger.forecast.snapshot()
    trips.clear()
    working.ledger.forecast.snapshot(owner="key_a")
    assert len(trips) == 1, trips
