"""Leases are kept for work that moves, not for work that hangs."""

from __future__ import annotations

import time

import pytest

from infra.jobs.records import Lease
from tests.worker.conftest import LEASE_S
from worker.lease_keeper import LOST, LeaseKeeper, StopWork
from worker.process import Process


def never() -> bool:
    return False


def leased(process: Process) -> Lease:
    job = process.ledger.create("recognition", {})
    lease = process.ledger.start(job.id)
    assert lease is not None
    return lease


def lapses(process: Process, lease: Lease, within_s: float) -> bool:
    """Whether the job becomes overdue within this time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if lease.job_id in process.ledger.sweeper.overdue():
            return True
        time.sleep(0.02)
    return False


def test_work_that_hangs_loses_its_lease_so_that_the_job_continues_elsewhere(process: Process) -> None:
    lease = leased(process)
    with LeaseKeeper(process.ledger, lease, LEASE_S, never, stuck_s=0.5) as keeper:
        assert lapses(process, lease, 10)
        with pytest.raises(StopWork, match=LOST):
            keeper.checkpoint()


def test_work_that_moves_keeps_its_lease(process: Process) -> None:
    lease = leased(process)
    with LeaseKeeper(process.ledger, lease, LEASE_S, never, stuck_s=0.5) as keeper:
        until = time.monotonic() + LEASE_S + 0.5 + 0.3  # stuck, and lapsed by now
        while time.monotonic() < until:
            keeper.checkpoint()
            assert lease.job_id not in process.ledger.sweeper.overdue()
            time.sleep(0.05)
