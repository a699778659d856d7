"""A ledger on the tests' Redis, with a clock that is set by hand."""

from __future__ import annotations

import pytest
import redis

from infra.jobs.ledger import JobLedger
from infra.runtime.settings import WebhookSettings
from tests.infra.clock import Clock
from tests.infra.ledgers import JOBS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, WebhookSettings(), now=clock)
