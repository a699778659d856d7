"""Endpoints: changed, disabled by what they answer, enabled again, deleted with what was on its way."""

from __future__ import annotations

import pytest
import redis

from infra.errors.webhooks import DeliveryFinished, DeliveryNotFound, TooManyWebhooks, WebhookDisabled, WebhookNotFound
from infra.jobs import endpoints
from infra.jobs.endpoints import Endpoint
from infra.jobs.ledger import JobLedger
from infra.runtime.settings import WebhookSettings
from tests.infra.clock import Clock
from tests.infra.jobs.hooks import ended, latest, registered, taken
from tests.infra.ledgers import JOBS

DAY = 86_400.0
WEBHOOKS = WebhookSettings(schedule_s=(0, 5), max_attempts=2, disable_after_s=5 * DAY, failed_retention_s=3 * DAY)


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, WEBHOOKS, now=clock)


def failing(ledger: JobLedger, endpoint: Endpoint, clock: Clock) -> None:
    """One more event that cannot be delivered, to its last attempt."""
    ended(ledger)
    delivery = latest(ledger, endpoint)
    for _ in range(WEBHOOKS.max_attempts):
        ledger.deliveries.failed(taken(ledger, delivery.id), "HTTP 500", status=500)
        clock.pass_s(6)
    assert ledger.deliveries.get(delivery.id).status == "failed"


def test_410_disables_the_endpoint_and_what_is_pending(ledger: JobLedger, clock: Clock) -> None:
    endpoint = registered(ledger)
    ended(ledger)
    first = latest(ledger, endpoint)
    ended(ledger)
    second = latest(ledger, endpoint)
    assert ledger.deliveries.failed(taken(ledger, first.id), "HTTP 410", status=410) == "disabled"
    now = ledger.endpoints.get(endpoint.id)
    assert (now.enabled, now.disabled_reason, now.disabled_at) == (False, "gone", clock.at)
    assert ledger.deliveries.take(second.id) is None
    assert ledger.deliveries.get(second.id).status == "disabled"
    assert ledger.stats().deliveries_pending == 0
    ended(ledger)
    assert len(ledger.deliveries.of_endpoint(endpoint.id, {"pending", "disabled"}, 10, None)) == 2
    with pytest.raises(WebhookDisabled):
        ledger.deliveries.require_enabled(now)
    again = ledger.endpoints.update(endpoint.id, enabled=True)
    assert (again.enabled, again.disabled_reason, again.failures, again.failing_since) == (True, None, 0, None)
    assert ledger.deliveries.replay(second.id).status == "pending"
    assert ledger.deliveries.delivered(taken(ledger, second.id), 200)


def test_days_of_nothing_but_failures_disable(ledger: JobLedger, clock: Clock) -> None:
    endpoint = registered(ledger)
    began = clock.at
    for _ in range(4):
        failing(ledger, endpoint, clock)
        clock.pass_s(DAY)
    found = ledger.endpoints.get(endpoint.id)
    assert (found.enabled, found.failures, found.failing_since) == (True, 8, began)
    clock.pass_s(DAY)
    ended(ledger)
    ledger.deliveries.failed(taken(ledger, latest(ledger, endpoint).id), "HTTP 500", status=500)
    found = ledger.endpoints.get(endpoint.id)
    assert (found.enabled, found.disabled_reason) == (False, "failing")


def test_one_success_begins_again(ledger: JobLedger, clock: Clock) -> None:
    endpoint = registered(ledger)
    for _ in range(4):
        failing(ledger, endpoint, clock)
    clock.pass_s(3 * DAY)
    ended(ledger)
    ledger.deliveries.delivered(taken(ledger, latest(ledger, endpoint).id), 200)
    assert ledger.endpoints.get(endpoint.id).failing_since is None
    clock.pass_s(4 * DAY)
    failing(ledger, endpoint, clock)
    assert ledger.endpoints.get(endpoint.id).enabled


def test_a_rare_event_that_fails_is_no_dead_receiver(ledger: JobLedger, clock: Clock) -> None:
    endpoint = registered(ledger)
    failing(ledger, endpoint, clock)
    clock.pass_s(10 * DAY)
    failing(ledger, endpoint, clock)
    assert ledger.endpoints.get(endpoint.id).enabled


def test_what_is_pending_goes_to_a_changed_url(ledger: JobLedger) -> None:
    endpoint = registered(ledger)
    ended(ledger)
    ledger.endpoints.update(endpoint.id, url="https://example.com/new", events=("enrollment.*",), description="x")
    assert taken(ledger, latest(ledger, endpoint).id).url == "https://example.com/new"
    found = ledger.endpoints.get(endpoint.id)
    assert (found.events, found.description) == (("enrollment.*",), "x")
    ended(ledger)
    assert len(ledger.deliveries.due()) == 0  # the first is under way, and nobody wants the second


def test_deleting_forgets_its_messages(ledger: JobLedger, redis_client: redis.Redis) -> None:
    endpoint, other = registered(ledger), registered(ledger)
    for _ in range(3):
        ended(ledger)
    flying = taken(ledger, latest(ledger, endpoint).id)
    ledger.endpoints.delete(endpoint.id)
    assert not ledger.deliveries.delivered(flying, 200)
    assert ledger.stats().deliveries_pending == 3  # the other's
    assert list(redis_client.scan_iter(f"*{endpoint.id}*")) == []
    assert list(redis_client.scan_iter(f"shitu:delivery:*{endpoint.id[4:]}*")) == []
    assert [one.id for one in ledger.endpoints.all()] == [other.id]
    for action in (ledger.endpoints.get, ledger.endpoints.delete, ledger.endpoints.update):
        with pytest.raises(WebhookNotFound):
            action(endpoint.id)
    with pytest.raises(WebhookNotFound):
        ledger.endpoints.rotate(endpoint.id, "x", "y", 0)


def test_a_message_whose_endpoint_vanished_is_dropped(ledger: JobLedger, redis_client: redis.Redis) -> None:
    """A deletion that died in its middle."""
    endpoint = registered(ledger)
    ended(ledger)
    delivery = latest(ledger, endpoint)
    redis_client.delete(f"shitu:webhook:{endpoint.id}")
    assert ledger.deliveries.take(delivery.id) is None
    assert ledger.stats().deliveries_pending == 0


def test_there_is_a_limit(ledger: JobLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST", 2)
    registered(ledger)
    registered(ledger)
    with pytest.raises(TooManyWebhooks):
        registered(ledger)


def test_a_pending_message_can_be_stopped_even_while_it_is_sent(ledger: JobLedger, clock: Clock) -> None:
    job = ended(ledger, url="https://own.example/hook")
    assert job.webhook is not None
    delivery_id = str(job.webhook.delivery_id)
    flying = taken(ledger, delivery_id)
    assert ledger.deliveries.stop(delivery_id).status == "stopped"
    assert ledger.deliveries.failed(flying, "late", status=500) == "lost"
    clock.pass_s(10**6)
    assert ledger.deliveries.due() == []
    assert ledger.get(job.id).to_dict()["webhook"]["status"] == "stopped"
    with pytest.raises(DeliveryFinished):
        ledger.deliveries.stop(delivery_id)
    with pytest.raises(DeliveryNotFound):
        ledger.deliveries.stop("dlv_" + "0" * 52)
    assert ledger.deliveries.replay(delivery_id).status == "pending"


def test_what_failed_can_be_sent_again_for_days(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    endpoint = registered(ledger)
    failing(ledger, endpoint, clock)
    clock.pass_s(JOBS.retention_s + 3600)
    assert ledger.sweeper.retire() == ()
    [failed] = ledger.deliveries.of_endpoint(endpoint.id, {"failed"}, 10, None)
    assert ledger.feed.event(failed.webhook_id) is not None
    clock.pass_s(3 * DAY)
    assert ledger.sweeper.retire() == (failed.job_id,)
    assert ledger.deliveries.of_endpoint(endpoint.id, {"failed"}, 10, None) == []
    for kind in ("event", "delivery", "job"):
        assert list(redis_client.scan_iter(f"shitu:{kind}:*")) == []


def test_a_test_is_one_attempt_and_says_nothing_of_the_endpoint(ledger: JobLedger, redis_client: redis.Redis) -> None:
    endpoint = registered(ledger, enabled=False)
    delivery = ledger.deliveries.test(endpoint, {"message": "hello"})
    event = ledger.feed.event(delivery.webhook_id)
    assert event is not None
    assert event.to_dict()["type"] == "webhook.test"
    assert ledger.deliveries.failed(taken(ledger, delivery.id), "HTTP 410", status=410) == "disabled"
    found = ledger.endpoints.get(endpoint.id)
    assert (found.failures, found.disabled_reason) == (0, "by_request")
    second = ledger.deliveries.test(endpoint, {})
    assert ledger.deliveries.failed(taken(ledger, second.id), "HTTP 500", status=500) == "failed"
    assert ledger.feed.read().events == ()
    assert redis_client.zcard("shitu:deliveries:due") == 0
    for key in redis_client.scan_iter("shitu:delivery:*"):
        assert redis_client.ttl(key) > 0


def test_an_event_of_before_can_be_reported_once(ledger: JobLedger) -> None:
    ended(ledger)
    endpoint = registered(ledger)
    [(event_id, kind)] = ledger.feed.between(0, 10**11)
    assert kind == "recognition.succeeded"
    assert ledger.deliveries.add(endpoint, event_id)
    assert not ledger.deliveries.add(endpoint, event_id)
    assert taken(ledger, latest(ledger, endpoint).id).webhook_id == event_id
    assert not ledger.deliveries.add(endpoint, "msg_" + "0" * 26)
