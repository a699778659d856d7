"""Limits on a real Redis: taken whole or not at all, given back evenly, never by two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from infra.errors.keys import BytesLimited, OpenJobsLimited, RateLimited
from infra.jobs.ledger import JobLedger
from infra.jobs.terms import Terms
from infra.keys.limits import Allowance, KeyLimits, Quota, allowance
from infra.keys.store import Limits
from infra.redis.client import connect
from infra.runtime.settings import KeySettings
from tests.infra.ledgers import REQUEST, started

KEY = "key_000000000000"
NOW = 1_800_000_000.0


@pytest.fixture
def limits(redis_client: redis.Redis) -> KeyLimits:
    return KeyLimits(redis_client)


def test_requests_come_back_evenly(limits: KeyLimits) -> None:
    allowed = Allowance(requests_per_minute=3, open_jobs=0, bytes_per_day=0)
    for left in (2, 1, 0):
        (quota,), refused = limits.take(KEY, allowed, 0, NOW)
        assert (refused, quota.left, quota.reset_s) == (None, left, 20 * (3 - left))
    (quota,), refused = limits.take(KEY, allowed, 0, NOW + 5)
    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s == pytest.approx(15)
    assert quota.state() == '"requests";r=0;t=55'
    assert quota.policy() == '"requests";q=3;w=60'
    assert limits.take(KEY, allowed, 0, NOW + 20.01)[1] is None
    assert limits.take(KEY, allowed, 0, NOW + 20.02)[1] is not None
    assert limits.take("key_111111111111", allowed, 0, NOW + 20.02)[1] is None


def test_a_clock_that_goes_back_gives_nothing(limits: KeyLimits) -> None:
    allowed = Allowance(1, 0, 0)
    assert limits.take(KEY, allowed, 0, NOW)[1] is None
    assert limits.take(KEY, allowed, 0, NOW - 1000)[1] is not None


def test_bytes_are_taken_whole_or_not_at_all(limits: KeyLimits) -> None:
    allowed = Allowance(requests_per_minute=10, open_jobs=0, bytes_per_day=1000)
    assert limits.take(KEY, allowed, 900, NOW)[1] is None
    (requests, left), refused = limits.take(KEY, allowed, 200, NOW)
    assert isinstance(refused, BytesLimited)
    assert refused.retry_after_s == pytest.approx(8640)
    assert (requests.left, left.left) == (9, 100)  # the refused one cost neither
    assert left.policy() == '"bytes";q=1000;w=86400;qu="content-bytes"'
    assert limits.take(KEY, allowed, 100, NOW)[1] is None
    assert limits.take(KEY, allowed, 0, NOW)[1] is None  # what has no body is let through
    _, refused = limits.take(KEY, allowed, 1001, NOW)
    assert isinstance(refused, BytesLimited)
    assert (refused.retryable, refused.retry_after_s) == (False, None)


def test_what_came_without_a_length_is_owed(limits: KeyLimits) -> None:
    allowed = Allowance(0, 0, 1000)
    limits.charge(KEY, allowed, 3000, NOW)
    (quota,), refused = limits.take(KEY, allowed, 1, NOW)
    assert quota.left == 0
    assert refused is not None
    assert refused.retry_after_s == pytest.approx(2001 * 86.4)


def test_many_at_once_get_no_more_than_there_is(redis_url: str) -> None:
    allowed = Allowance(requests_per_minute=20, open_jobs=0, bytes_per_day=0)
    counters = [KeyLimits(connect(redis_url)) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: counters[n % 4].take(KEY, allowed, 0, NOW)[1], range(60)))
    assert answers.count(None) == 20


def test_a_keys_own_limit_goes_before_the_settings() -> None:
    settings = KeySettings(requests_per_minute=60, open_jobs=5)
    assert allowance(Limits(), settings) == Allowance(60, 5, 0)
    assert allowance(Limits(requests_per_minute=0, bytes_per_day=9), settings) == Allowance(0, 5, 9)
    assert not allowance(Limits(), KeySettings())
    assert Quota("open-jobs", 5, None, 2, None, "concurrent-requests").state() == '"open-jobs";r=2'


def test_open_jobs_are_counted_from_acceptance_to_end(ledger: JobLedger, redis_client: redis.Redis) -> None:
    mine = Terms(owner=KEY, most_open=2)
    first, second = (ledger.create("recognition", REQUEST, terms=mine) for _ in range(2))
    with pytest.raises(OpenJobsLimited, match="2 open jobs"):
        ledger.create("recognition", REQUEST, terms=mine)
    ledger.create("recognition", REQUEST, terms=replace(mine, owner="key_111111111111"))
    ledger.create("recognition", REQUEST)
    lease = started(ledger, first)
    with pytest.raises(OpenJobsLimited):
        ledger.create("recognition", REQUEST, terms=mine)
    assert ledger.fail(lease, {"code": "x_y", "message": "", "retryable": False})
    third = ledger.create("recognition", REQUEST, terms=mine)
    with pytest.raises(OpenJobsLimited):  # a replay is an open job again
        ledger.replay(first.id)
    ledger.cancel(second.id)
    ledger.cancel(third.id)
    assert redis_client.exists(f"shitu:key:{KEY}:open") == 0
    ledger.replay(first.id)
    assert redis_client.zcard(f"shitu:key:{KEY}:open") == 1


def test_a_job_that_was_made_already_is_given_again_to_a_full_key(ledger: JobLedger) -> None:
    mine = Terms(owner=KEY, most_open=1)
    job = ledger.create("recognition", REQUEST, terms=mine)
    assert ledger.create("recognition", REQUEST, job_id=job.id, terms=mine).id == job.id


def test_what_ended_out_of_sight_does_not_count_for_ever(ledger: JobLedger, redis_client: redis.Redis) -> None:
    mine = Terms(owner=KEY, most_open=1)
    job = ledger.create("recognition", REQUEST, terms=mine)
    redis_client.delete(f"shitu:job:{job.id}")
    redis_client.zrem("shitu:jobs:open", job.id)
    ledger.create("recognition", REQUEST, terms=mine)


def test_two_installations_count_apart(redis_url: str) -> None:
    mine = Terms(owner=KEY, most_open=1)
    for prefix in ("one", "two"):
        client = connect(redis_url, prefix)
        JobLedger(client).create("recognition", REQUEST, terms=mine)
        assert KeyLimits(client).take(KEY, Allowance(1, 1, 0), 0, NOW)[1] is None
    assert not list(connect(redis_url).scan_iter("shitu:*"))
