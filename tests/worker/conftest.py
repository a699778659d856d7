"""An opened worker process without models, on the tests' Redis, with leases short enough to watch them lapse."""

from __future__ import annotations

import dataclasses

import pytest

from infra.jobs.queue import Queue, make_celery
from infra.runtime.settings import JobSettings, Settings
from worker.process import Process

LEASE_S = 0.9


@pytest.fixture
def process(settings: Settings) -> Process:
    """What tasks work with, minus the networks."""
    jobs = JobSettings(lease_s=LEASE_S, queued_deadline_s=5, sweep_interval_s=0.05)
    short = dataclasses.replace(settings, jobs=jobs)
    return Process(short, Queue(make_celery(short)), {"recognize"}, None)
