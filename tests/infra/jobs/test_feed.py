"""The feed: every end of a job in one order, as it was, for as long as records last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
import redis

from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import EventsExpired
from infra.jobs.ledger import JobLedger
from infra.redis.client import connect
from infra.runtime.settings import WebhookSettings
from tests.infra.clock import Clock
from tests.infra.jobs.hooks import ended, latest, registered, taken
from tests.infra.ledgers import JOBS


def types(ledger: JobLedger, after: str | None = None) -> list[str]:
    return [event.type for event in ledger.feed.read(after).events]


def test_every_end_is_in_the_feed_in_order(ledger: JobLedger, clock: Clock) -> None:
    assert ledger.feed.read().events == ()
    for how, kind in (("succeeded", "recognition"), ("failed", "enrollment"), ("canceled", "recognition")):
        clock.pass_s(1)
        ended(ledger, how, kind)
    assert types(ledger) == ["recognition.succeeded", "enrollment.failed", "recognition.canceled"]
    first = ledger.feed.read(limit=1)
    assert (len(first.events), first.more, first.next_after) == (1, True, first.events[0].cursor)
    assert types(ledger, first.next_after) == ["enrollment.failed", "recognition.canceled"]
    rest = ledger.feed.read(first.next_after, limit=2)
    assert not rest.more
    end = ledger.feed.read(rest.next_after)
    assert (end.events, end.next_after) == ((), rest.next_after)
    assert ledger.feed.read("latest").next_after == rest.next_after


def test_a_cursor_from_before_the_first_event_sees_it(ledger: JobLedger) -> None:
    for start in (None, "latest"):
        assert ledger.feed.read(start).next_after == "00000000.0"
    ended(ledger)
    assert types(ledger, "00000000.0") == ["recognition.succeeded"]


def test_ends_at_the_same_time_have_an_order_without_gaps(ledger: JobLedger, clock: Clock) -> None:
    clock.pass_s(-100)  # nor does a clock that goes back change it
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ended(ledger), range(40)))
    cursor, seen = None, []
    while True:
        page = ledger.feed.read(cursor, limit=7)
        seen += [event.cursor for event in page.events]
        cursor = page.next_after
        if not page.more:
            break
    assert [int(str(one).partition(".")[2]) for one in seen] == list(range(1, 41))


def test_an_event_stays_as_it_was(ledger: JobLedger) -> None:
    """The failure of a job that was replayed since, and the answer whose webhook was sent, are reported as they happened."""
    job = ended(ledger, "failed", url="https://example.com/hook")
    failed = ledger.feed.read().events[0]
    assert failed.data == job.to_dict()
    ledger.replay(job.id)
    lease = ledger.start(job.id)
    assert lease is not None
    ledger.succeed(lease, {"recognitions": []})
    succeeded = ledger.get(job.id)
    [delivery_id] = ledger.deliveries.due()
    ledger.deliveries.delivered(taken(ledger, delivery_id), 200)
    assert ledger.get(job.id).to_dict()["webhook"] != succeeded.to_dict()["webhook"]
    again = ledger.feed.read().events
    assert [event.type for event in again] == ["recognition.failed", "recognition.succeeded"]
    assert again[0].data == failed.data
    assert again[1].data == succeeded.to_dict()
    assert again[1].id == delivery_id


def test_an_event_lasts_as_long_as_its_jobs_record(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    ended(ledger)
    old = ledger.feed.read().next_after
    clock.pass_s(JOBS.retention_s / 2)
    ended(ledger)
    clock.pass_s(JOBS.retention_s / 2 + 1)
    ledger.sweeper.retire()
    assert len(types(ledger)) == 1
    assert types(ledger, old) == ["recognition.succeeded"]
    clock.pass_s(JOBS.retention_s)
    ended(ledger, "canceled")
    with pytest.raises(EventsExpired) as expired:
        ledger.feed.read(old)
    assert types(ledger, expired.value.extra["oldest"]) == ["recognition.canceled"]
    ledger.sweeper.retire()
    assert len(list(redis_client.scan_iter("shitu:event:*"))) == 1
    assert types(ledger) == ["recognition.canceled"]


def test_a_cursor_of_another_feed_is_void(ledger: JobLedger, redis_client: redis.Redis) -> None:
    for _ in range(3):
        ended(ledger)
    cursor = ledger.feed.read().next_after
    redis_client.flushall()
    with pytest.raises(EventsExpired):
        ledger.feed.read(cursor)
    for _ in range(5):
        ended(ledger)
    with pytest.raises(EventsExpired):
        ledger.feed.read(cursor)
    epoch = ledger.feed.read("latest").next_after.partition(".")[0]
    with pytest.raises(EventsExpired):  # a Redis that lost its last moments
        ledger.feed.read(f"{epoch}.6")
    for wrong in ("", "x", "1", f"{epoch}.", f"{epoch}.-1", "*", f"{epoch}.1\n"):
        with pytest.raises(InvalidCursor):
            ledger.feed.read(wrong)


def test_who_waits_is_reported_at_once(ledger: JobLedger) -> None:
    cursor = ledger.feed.read().next_after
    waiting = Thread(target=ledger.feed.wait, args=(cursor, 30.0))
    waiting.start()
    ended(ledger)
    waiting.join(5)
    assert not waiting.is_alive()
    ledger.feed.wait(cursor, 30.0)  # there is one already


def test_every_endpoint_that_wants_it_is_reported_with_the_job(ledger: JobLedger, clock: Clock) -> None:
    every, failures = registered(ledger), registered(ledger, events=("recognition.failed", "enrollment.*"))
    off = registered(ledger, enabled=False)
    ended(ledger, "succeeded")
    clock.pass_s(1)
    ended(ledger, "failed")
    clock.pass_s(1)
    job = ended(ledger, "canceled", "enrollment", "https://own.example/hook")

    def report(endpoint_id: str) -> list[str | None]:
        return [one.type for one in ledger.deliveries.of_endpoint(endpoint_id, {"pending"}, 10, None)]

    assert report(every.id) == ["enrollment.canceled", "recognition.failed", "recognition.succeeded"]
    assert report(failures.id) == ["enrollment.canceled", "recognition.failed"]
    assert report(off.id) == []
    assert len(ledger.deliveries.due()) == 6
    assert job.webhook is not None
    messages = ledger.messages(job.id)
    assert messages[0] == job.webhook.delivery_id
    assert {ledger.deliveries.get(one).webhook_id for one in messages} == {job.webhook.delivery_id}
    assert len(messages) == 3


def test_a_prefix_of_its_own_has_a_feed_of_its_own(redis_url: str, clock: Clock) -> None:
    client = connect(redis_url, "other:place")
    ledger = JobLedger(client, JOBS, WebhookSettings(), now=clock)
    endpoint = registered(ledger)
    ended(ledger)
    delivery = taken(ledger, latest(ledger, endpoint).id)
    assert ledger.deliveries.delivered(delivery, 200)
    ledger.deliveries.test(endpoint, {})
    clock.pass_s(JOBS.retention_s + 1)
    ledger.sweeper.retire()
    ledger.feed.trim()
    ledger.endpoints.delete(endpoint.id)
    plain = connect(redis_url)
    assert [key for key in plain.scan_iter("*") if not key.startswith("other:place:")] == []
    plain.close()
    client.close()
