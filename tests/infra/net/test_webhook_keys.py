"""Endpoints' keys: sealed at rest, both kinds of signature verified by libraries of others, rotation without a gap."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from infra.errors.webhooks import WebhookKeysUnreadable
from infra.jobs.ledger import JobLedger
from infra.net.webhook_keys import EndpointKeys, new_keys, new_secret, reseal, sealed, sign_with, unsealed
from infra.net.webhooks import deliver, message
from tests.infra.clock import Clock
from tests.infra.jobs.hooks import ended, latest, registered
from tests.infra.local_servers import serving

if TYPE_CHECKING:
    import redis

    from infra.runtime.settings import Settings

ID = "whk_" + "0" * 26


def verify_v1a(public_key: str, headers: dict[str, str], body: bytes) -> None:
    """As the specification spells it. Raises InvalidSignature if none of the signatures is this key's."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split():
        version, _, text = signature.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(text), signed)
            except InvalidSignature:
                continue
            return
    raise InvalidSignature


def test_both_signatures_verify_and_of_two_keys_either_does() -> None:
    old, new = new_keys(), new_keys()
    body = '{"a":"ジュース"}'.encode()
    headers = sign_with([new, old], "msg_1", int(time.time()), body)
    assert [one.partition(",")[0] for one in headers["webhook-signature"].split()] == ["v1", "v1", "v1a", "v1a"]
    for keys in (old, new):
        assert Webhook(keys.secret).verify(body, headers) == {"a": "ジュース"}
        verify_v1a(keys.public_key, headers, body)
        with pytest.raises(InvalidSignature):
            verify_v1a(keys.public_key, headers, body + b" ")
    with pytest.raises(InvalidSignature):
        verify_v1a(new_keys().public_key, headers, body)


def test_keys_are_unreadable_without_the_installations_secret_or_for_another_endpoint() -> None:
    ours, keys = new_secret(), new_keys()
    kept = sealed(ours, ID, keys)
    assert unsealed(ours, ID, kept) == keys
    assert unsealed(f"{new_secret()} {ours}", ID, kept) == keys  # the installation's secret is being replaced
    for installation, endpoint in ((new_secret(), ID), (ours, "whk_" + "1" * 26)):
        with pytest.raises(WebhookKeysUnreadable):
            unsealed(installation, endpoint, kept)
    for secret in (keys.secret, keys.private_key):
        assert secret.encode() not in base64.b64decode(kept)
        assert secret not in repr(keys)
    assert sealed(ours, ID, keys) != kept


@pytest.fixture
def hooks(settings: Settings) -> Settings:
    return replace(settings, webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",), timeout_s=5.0))


@pytest.fixture
def clock() -> Clock:
    return Clock(float(int(time.time())))


@pytest.fixture
def ledger(redis_client: redis.Redis, hooks: Settings, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, hooks.jobs, hooks.webhooks, now=clock)


def test_an_endpoint_gets_what_the_feed_has_signed_with_its_own_keys(ledger: JobLedger, hooks: Settings) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (200, {}, "好".encode() * 2000)
        endpoint, other = registered(ledger, receiver.url("/hook")), registered(ledger, receiver.url("/hook"))
        ended(ledger, url=receiver.url("/hook"))
        for delivery_id in ledger.deliveries.due():
            assert deliver(ledger, delivery_id, hooks).status == "delivered"
    [event] = ledger.feed.read().events
    bodies = [body for _, _, _, body in receiver.requests]
    assert bodies == [message(event)] * 3
    assert json.loads(bodies[0]) == event.to_dict()
    assert {headers["webhook-id"] for _, _, headers, _ in receiver.requests} == {event.id}
    for one in (endpoint, other):
        [mine] = [headers for _, _, headers, body in receiver.requests if _verifies(one.public_key, headers, body)]
        assert "v1a," in mine["webhook-signature"]
    [attempt] = ledger.deliveries.attempts(latest(ledger, endpoint).id)
    assert attempt.answer is not None
    assert set(attempt.answer.removesuffix("\ufffd")) == {"好"}
    assert len(attempt.answer) <= 1024
    assert attempt.duration_ms is not None


def test_rotation_signs_with_both_for_its_time(ledger: JobLedger, hooks: Settings, clock: Clock) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (200, {}, b"")
        endpoint = registered(ledger, receiver.url("/hook"))
        keys = new_keys()
        kept = sealed(str(hooks.webhooks.secret), endpoint.id, keys)
        ledger.endpoints.rotate(endpoint.id, kept, keys.public_key, 3600)
        for pass_s in (3599, 1):
            clock.pass_s(pass_s)
            ended(ledger)
            deliver(ledger, latest(ledger, endpoint).id, hooks)
    both, one = ([headers, body] for _, _, headers, body in receiver.requests)
    assert _verifies(endpoint.public_key, *both)
    assert _verifies(keys.public_key, *both)
    assert not _verifies(endpoint.public_key, *one)
    assert _verifies(keys.public_key, *one)


def test_an_endpoint_of_another_secret_fails_with_what_to_do(ledger: JobLedger, hooks: Settings) -> None:
    endpoint = registered(ledger, "http://127.0.0.1:9999/hook")
    ended(ledger)
    other = replace(hooks, webhooks=replace(hooks.webhooks, secret=new_secret()))
    outcome = deliver(ledger, latest(ledger, endpoint).id, other)
    assert outcome.status == "pending"
    assert "webhook_keys_unreadable" in str(outcome.error)


def test_a_new_secret_of_the_installation_takes_over_in_two_steps(ledger: JobLedger, hooks: Settings) -> None:
    endpoint, foreign = registered(ledger), registered(ledger)
    old, new = str(hooks.webhooks.secret), new_secret()
    keys = new_keys()
    ledger.endpoints.rotate(endpoint.id, sealed(old, endpoint.id, keys), keys.public_key, 3600)
    ledger.endpoints.rotate(foreign.id, sealed(new_secret(), foreign.id, keys), keys.public_key, 0)
    assert reseal(ledger.endpoints, f"{new} {old}") == [endpoint.id, endpoint.id]
    both = ledger.endpoints.get(endpoint.id).keys_at(ledger.time())
    assert [unsealed(new, endpoint.id, text).public_key for text in both] == [keys.public_key, endpoint.public_key]
    assert reseal(ledger.endpoints, f"{new} {old}") == []


def test_a_message_from_before_there_were_events_is_sent(
    ledger: JobLedger, hooks: Settings, redis_client: redis.Redis
) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (200, {}, b"")
        ended(ledger, url=receiver.url("/hook"))
        [delivery_id] = ledger.deliveries.due()
        redis_client.hdel(f"shitu:delivery:{delivery_id}", "event_id", "receiver", "type")
        assert deliver(ledger, delivery_id, hooks).status == "delivered"
    [(_, _, headers, body)] = receiver.requests
    assert headers["webhook-id"] == delivery_id
    assert json.loads(body) == ledger.feed.read().events[0].to_dict()


def test_an_endpoint_that_answers_410_is_disabled(ledger: JobLedger, hooks: Settings) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (410, {}, b"gone")
        endpoint = registered(ledger, receiver.url("/hook"))
        ended(ledger)
        assert deliver(ledger, latest(ledger, endpoint).id, hooks).status == "disabled"
    assert ledger.endpoints.get(endpoint.id).disabled_reason == "gone"


def _verifies(public_key: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        verify_v1a(public_key, headers, body)
    except InvalidSignature:
        return False
    return True


def test_keys_say_only_their_public_half() -> None:
    keys = EndpointKeys("whsec_a", "whsk_b", "whpk_c")
    assert repr(keys) == "EndpointKeys(public_key='whpk_c')"
