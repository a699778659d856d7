"""Webhook messages in the ledger: written with the job's end, tried by schedule, never lost and never doubled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from infra.errors.jobs import JobExpired
from infra.errors.webhooks import DeliveryNotFound
from infra.jobs.deliveries import Delivery
from infra.jobs.ledger import Job, JobLedger
from infra.jobs.records import DELIVERY_ID
from infra.runtime.settings import JobSettings, WebhookSettings
from tests.infra.clock import Clock

WEBHOOKS = WebhookSettings(schedule_s=(0, 5, 300), max_attempts=4, timeout_s=20)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JobSettings(retention_s=1000), WEBHOOKS, now=clock)


def finished_job(ledger: JobLedger) -> Job:
    job = ledger.create("recognition", {}, "https://example.com/hook")
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.succeed(lease, {})
    return ledger.get(job.id)


def taken(ledger: JobLedger, delivery_id: str) -> Delivery:
    delivery = ledger.deliveries.take(delivery_id)
    assert delivery is not None
    return delivery


def test_the_end_of_a_job_is_due_at_once(ledger: JobLedger) -> None:
    ledger.create("recognition", {}, "https://example.com/hook")
    assert ledger.deliveries.due() == []  # nothing has ended yet
    job = finished_job(ledger)
    assert job.webhook is not None
    [delivery_id] = ledger.deliveries.due()
    assert DELIVERY_ID.fullmatch(delivery_id)
    assert job.webhook.delivery_id == delivery_id
    assert ledger.deliveries.due() == []  # handed out already
    delivery = taken(ledger, delivery_id)
    assert (delivery.job_id, delivery.url, delivery.attempts) == (job.id, "https://example.com/hook", 1)


def test_a_job_without_webhook_says_nobody(ledger: JobLedger) -> None:
    job = ledger.create("recognition", {})
    ledger.cancel(job.id)
    assert ledger.stats().deliveries_pending == 0


def test_a_delivery_lost_by_the_queue_is_handed_out_again(ledger: JobLedger, clock: Clock) -> None:
    finished_job(ledger)
    first = ledger.deliveries.due()
    clock.pass_s(30)
    assert ledger.deliveries.due() == first


def test_one_courier_at_a_time(ledger: JobLedger, clock: Clock) -> None:
    finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    with ThreadPoolExecutor(8) as pool:
        took = [delivery for delivery in pool.map(ledger.deliveries.take, [delivery_id] * 8) if delivery]
    assert len(took) == 1
    clock.pass_s(50)  # the courier died: its time limit and a margin have passed
    assert ledger.deliveries.due() == [delivery_id]
    second = taken(ledger, delivery_id)
    assert second.attempts == 2
    assert not ledger.deliveries.delivered(took[0], 200)
    assert ledger.deliveries.failed(took[0], "late", status=410) == "lost"
    assert ledger.deliveries.delivered(second, 204)
    assert ledger.deliveries.take(delivery_id) is None


def test_delivered_is_the_end(ledger: JobLedger) -> None:
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    assert ledger.deliveries.delivered(taken(ledger, delivery_id), 204)
    webhook = ledger.get(job.id).to_dict()["webhook"]
    assert webhook == {
        "url": "https://example.com/hook",
        "status": "delivered",
        "attempts": 1,
        "last_status": 204,
        "id": delivery_id,
    }
    assert ledger.stats().deliveries_pending == 0


def test_failures_follow_the_schedule_and_end(ledger: JobLedger, clock: Clock) -> None:
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    for planned_s in (5, 300, 300):  # the schedule's last delay repeats
        delivery = taken(ledger, delivery_id)
        assert ledger.deliveries.failed(delivery, "HTTP 500", status=500) == "pending"
        assert ledger.deliveries.take(delivery_id) is None  # a doubled message comes too early
        wait_s = ledger.deliveries.get(delivery_id).next_at - clock.at
        assert planned_s <= wait_s <= planned_s * 1.1 + 0.001
        assert ledger.deliveries.due(clock.at + planned_s - 0.01) == []
        clock.pass_s(wait_s)
        assert ledger.deliveries.due() == [delivery_id]
    assert ledger.deliveries.failed(taken(ledger, delivery_id), "connection refused") == "failed"
    assert ledger.deliveries.due(clock.at + 10**6) == []
    log = ledger.deliveries.attempts(delivery_id)
    assert [(attempt.attempt, attempt.status, attempt.error) for attempt in log] == [
        (1, 500, "HTTP 500"),
        (2, 500, "HTTP 500"),
        (3, 500, "HTTP 500"),
        (4, None, "connection refused"),
    ]
    webhook = ledger.get(job.id).webhook
    assert webhook is not None
    assert (webhook.status, webhook.attempts, webhook.last_status) == ("failed", 4, None)


def test_the_receiver_may_ask_for_more_time(ledger: JobLedger, clock: Clock) -> None:
    finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    ledger.deliveries.failed(taken(ledger, delivery_id), "HTTP 429", status=429, retry_after_s=3600)
    assert ledger.deliveries.get(delivery_id).next_at == pytest.approx(clock.at + 3600)
    clock.pass_s(3600)
    ledger.deliveries.failed(taken(ledger, delivery_id), "HTTP 503", status=503, retry_after_s=10**9)
    assert ledger.deliveries.get(delivery_id).next_at == pytest.approx(clock.at + 86_400)


def test_410_disables(ledger: JobLedger, clock: Clock) -> None:
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    assert ledger.deliveries.failed(taken(ledger, delivery_id), "HTTP 410", status=410) == "disabled"
    assert ledger.deliveries.due(clock.at + 10**6) == []
    webhook = ledger.get(job.id).webhook
    assert webhook is not None
    assert webhook.status == "disabled"


def test_replay_sends_the_same_message_again(ledger: JobLedger) -> None:
    finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    ledger.deliveries.delivered(taken(ledger, delivery_id), 200)
    replayed = ledger.deliveries.replay(delivery_id)
    assert (replayed.id, replayed.status, replayed.attempts) == (delivery_id, "pending", 0)
    assert ledger.deliveries.due() == [delivery_id]
    assert taken(ledger, delivery_id).attempts == 1
    for unknown in ("msg_" + "0" * 26, "x", "*"):
        with pytest.raises(DeliveryNotFound):
            ledger.deliveries.replay(unknown)


def test_a_replayed_jobs_new_end_is_a_new_message(ledger: JobLedger) -> None:
    job = ledger.create("recognition", {}, "https://example.com/hook")
    lease = ledger.start(job.id)
    assert lease is not None
    ledger.fail(lease, {"code": "x", "message": "", "retryable": True})
    [old] = ledger.deliveries.due()
    ledger.replay(job.id)
    assert ledger.deliveries.take(old) is None  # the message about the failure is void
    assert ledger.stats().deliveries_pending == 0
    lease = ledger.start(job.id)
    assert lease is not None
    ledger.succeed(lease, {})
    [new] = ledger.deliveries.due()
    assert new != old


def test_a_job_stays_until_its_message_is_delivered(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    clock.pass_s(2000)
    assert ledger.sweeper.retire() == ()
    assert ledger.get(job.id).finished
    ledger.deliveries.delivered(taken(ledger, delivery_id), 200)
    clock.pass_s(3600)
    assert ledger.sweeper.retire() == (job.id,)
    with pytest.raises(JobExpired):
        ledger.get(job.id)
    assert list(redis_client.scan_iter(f"*{delivery_id}*")) == []


def test_a_courier_from_before_a_replay_changes_nothing(ledger: JobLedger, clock: Clock) -> None:
    """The fence of a replay: what an attempt that is under way still finds out is about the message before."""
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    before = taken(ledger, delivery_id)
    ledger.deliveries.replay(delivery_id)
    assert ledger.deliveries.failed(before, "gone", status=410) == "lost"
    assert not ledger.deliveries.delivered(before, 200)
    assert ledger.deliveries.attempts(delivery_id) == ()
    webhook = ledger.get(job.id).to_dict()["webhook"]
    assert (webhook["status"], webhook["last_status"]) == ("pending", None)
    again = taken(ledger, delivery_id)
    assert again.token > before.token
    assert ledger.deliveries.delivered(again, 204)


def test_couriers_that_die_over_a_message_use_its_attempts_up(ledger: JobLedger, clock: Clock) -> None:
    job = finished_job(ledger)
    [delivery_id] = ledger.deliveries.due()
    for _ in range(WEBHOOKS.max_attempts):
        taken(ledger, delivery_id)
        clock.pass_s(60)  # nothing is heard of it any more
    assert ledger.deliveries.take(delivery_id) is None
    assert ledger.get(job.id).to_dict()["webhook"]["status"] == "failed"
    assert "without a word" in (ledger.deliveries.get(delivery_id).last_error or "")
    assert ledger.stats().deliveries_pending == 0


def test_a_due_message_without_a_record_is_forgotten(ledger: JobLedger, redis_client: redis.Redis) -> None:
    gone = "msg_" + "0" * 26
    redis_client.zadd("shitu:deliveries:due", {gone: 0})
    assert ledger.deliveries.due() == [gone]
    assert ledger.deliveries.take(gone) is None
    assert ledger.stats().deliveries_pending == 0
