"""A receiver that is slow or dead holds few places of the couriers, and what waits for it is called when one is free."""

from __future__ import annotations

import pytest
import redis

from infra.jobs.deliveries import PARKED_S, Delivery, Seen
from infra.jobs.ledger import JobLedger
from infra.runtime.settings import WebhookSettings
from tests.infra.clock import Clock
from tests.infra.jobs.hooks import ended, latest, registered, taken
from tests.infra.ledgers import JOBS

SLOW = Seen(duration_s=19.0)


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, WebhookSettings(concurrency=8, per_receiver=3), now=clock)


@pytest.fixture
def called(ledger: JobLedger) -> list[str]:
    found: list[str] = []
    ledger.deliveries.call = found.append
    return found


def messages(ledger: JobLedger, url: str, count: int) -> list[str]:
    """The ids of messages to jobs' own webhooks at this URL, in the order in which they wait: all are due at once."""
    found = []
    for number in range(count):
        webhook = ended(ledger, url=f"{url}/{number}").webhook
        assert webhook is not None
        found.append(str(webhook.delivery_id))
    return sorted(found)  # those of one millisecond are in no order


def take(ledger: JobLedger, ids: list[str]) -> list[Delivery]:
    return [delivery for one in ids if (delivery := ledger.deliveries.take(one)) is not None]


def test_one_at_a_time_until_it_has_answered_quickly(ledger: JobLedger, called: list[str]) -> None:
    ids = messages(ledger, "https://a.example", 6)
    [first] = take(ledger, ids)
    assert take(ledger, ids) == []
    ledger.deliveries.delivered(first, 200)
    assert called == ids[1:4]  # it is quick: three at a time, those that wait longest
    flying = take(ledger, ids)
    assert [one.id for one in flying] == ids[1:4]
    ledger.deliveries.delivered(flying[0], 200)
    assert called == ids[1:5]


def test_a_slow_answer_makes_it_one_at_a_time_again(ledger: JobLedger, called: list[str]) -> None:
    ids = messages(ledger, "https://a.example", 6)
    ledger.deliveries.delivered(take(ledger, ids)[0], 200)
    flying = take(ledger, ids)
    called.clear()
    for one in flying[:2]:
        ledger.deliveries.failed(one, "timeout", seen=SLOW)
    assert called == []  # the third is still under way
    ledger.deliveries.failed(flying[2], "timeout", seen=SLOW)
    assert called == [ids[4]]


def test_another_receiver_is_not_held_up(ledger: JobLedger, called: list[str]) -> None:
    quick = messages(ledger, "https://quick.example", 1)
    ledger.deliveries.delivered(take(ledger, quick)[0], 200)
    for number in range(10):
        dead = messages(ledger, f"https://dead{number}.example:8443", 3)
        take(ledger, dead)
    assert len(take(ledger, messages(ledger, "https://quick.example", 3))) == 3
    assert ledger.deliveries.take(messages(ledger, "https://new.example", 1)[0]) is None  # 6 of 8 places are taken


def test_slow_ones_share_a_quarter_of_the_places_and_new_ones_find_others(
    ledger: JobLedger, clock: Clock, called: list[str]
) -> None:
    ids = {number: messages(ledger, f"https://dead{number}.example", 3) for number in range(6)}
    for known in take(ledger, [one[0] for one in ids.values()]):
        ledger.deliveries.failed(known, "timeout", seen=SLOW)
    called.clear()
    rest = [message for one in ids.values() for message in one[1:]]
    flying = take(ledger, rest)
    assert [one.id for one in flying] == [ids[0][1], ids[1][1]]  # two of eight places
    assert ledger.deliveries.take(messages(ledger, "https://new.example", 1)[0]) is not None
    ledger.deliveries.failed(flying[0], "timeout", seen=SLOW)
    assert called[0] == ids[2][1]  # each receiver has its turn
    clock.pass_s(1)
    [next_one] = take(ledger, [ids[2][1]])
    called.clear()
    ledger.deliveries.failed(next_one, "timeout", seen=SLOW)
    assert called[0] == ids[3][1]


def test_endpoints_of_one_host_do_not_hold_each_other_up(ledger: JobLedger) -> None:
    first, second = registered(ledger), registered(ledger)
    ended(ledger)
    assert ledger.deliveries.take(latest(ledger, first).id) is not None
    assert ledger.deliveries.take(latest(ledger, second).id) is not None


def test_a_courier_that_died_frees_its_places(ledger: JobLedger, clock: Clock) -> None:
    ids = messages(ledger, "https://a.example", 2)
    assert len(take(ledger, ids)) == 1
    clock.pass_s(50)  # the lease has lapsed
    assert [one.id for one in take(ledger, ids)] == [ids[0]]
    clock.pass_s(50)
    assert [one.id for one in take(ledger, ids[::-1])] == [ids[1]]


def test_a_lost_call_is_repeated_by_the_keeper_at_a_pace_that_leaves_room(ledger: JobLedger, clock: Clock) -> None:
    ids = messages(ledger, "https://dead.example", 150)
    take(ledger, ids)
    ledger.deliveries.due()
    assert ledger.deliveries.due(clock.at + PARKED_S - 1) == [ids[0]]  # the one whose lease will have lapsed
    within = ledger.deliveries.due(clock.at + PARKED_S + 1)
    assert 0 < len(within) < 80
    assert ledger.deliveries.due(clock.at + 151)


def test_a_stopped_message_is_not_called(ledger: JobLedger, called: list[str]) -> None:
    ids = messages(ledger, "https://a.example", 3)
    [first] = take(ledger, ids)
    ledger.deliveries.stop(ids[1])
    ledger.deliveries.failed(first, "timeout", seen=SLOW)
    assert called == [ids[2]]


def test_a_message_from_before_there_were_receivers_is_taken(ledger: JobLedger, redis_client: redis.Redis) -> None:
    [delivery_id] = messages(ledger, "https://a.example", 1)
    redis_client.hdel(f"shitu:delivery:{delivery_id}", "receiver", "event_id")
    delivery = taken(ledger, delivery_id)
    assert delivery.webhook_id == delivery_id
    assert ledger.deliveries.delivered(delivery, 200)
