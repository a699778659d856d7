"""A pool of real workers: none, two while jobs wait, none again; and no running job pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.jobs.ledger import open_ledger
from infra.jobs.load import read_load
from infra.jobs.records import JobStatus
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, pattern, wait_for

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 40
SIDE_PX, SLOW_SIDE_PX = 1500, 6000
OPTIONS = '{"whole_image": "always", "detection_threshold": 1}'


def ready(stack: Stack) -> int:
    return len(open_ledger(stack.settings).presence.workers())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_from_none_to_two_to_none_without_a_lost_attempt(tmp_path: Path) -> None:
    settings = stack_settings(
        tmp_path,
        SHITU_SCALING__LEAST="0",
        SHITU_SCALING__TARGET_WAIT_S="0.1",
        SHITU_SCALING__IDLE_S="3",
        SHITU_SCALING__STARTUP_S="0.1",  # else one worker is rightly thought to be faster alone
        SHITU_WORKER__CONCURRENCY="1",
        SHITU_WORKER__SHUTDOWN_S="0.1",  # a stop would give the running job back; a retirement must not
    )
    report: list[str] = []
    with Stack(settings, workers=0, most=2, progress=report.append) as stack:
        service = Service(stack.base_url)
        assert stack.serving() == 0
        assert service.get("/readyz")["status"] == "ready", "none is needed yet"
        service.create_gallery("pool")
        service.enroll("pool", {"pattern 1": encode(pattern(1))})
        photos = [encode(pattern(number, SIDE_PX)) for number in range(JOBS)]  # the same one again is no work
        jobs = [service.accepted(service.ask(photo, "pool", options=OPTIONS)) for photo in photos]
        wait_for(lambda: stack.serving() == 2)
        done = [service.finished(job) for job in jobs]
        assert {(job["status"], job["attempts"]) for job in done} == {("succeeded", 1)}
        wait_for(lambda: stack.serving() == 0, timeout_s=60)
        wait_for(lambda: not any(name.startswith("worker") for name in stack.processes), timeout_s=60)
        assert ready(stack) == 0, "each said goodbye"
        assert (read_load(open_ledger(stack.settings)).startup_s or 0) > 0.5, "measured by the workers"

        slow = service.accepted(service.ask(encode(pattern(1, SLOW_SIDE_PX)), "pool", options=OPTIONS))
        ledger = open_ledger(stack.settings)
        wait_for(lambda: ledger.get(slow["id"]).status is JobStatus.PROCESSING, timeout_s=60)
        stack.retire_one()
        assert ledger.get(slow["id"]).status is JobStatus.PROCESSING, "retired while it works"
        ended = service.finished(slow)
        assert (ended["status"], ended["attempts"]) == ("succeeded", 1)
    assert any("workers instead of" in line for line in report)
