"""Keys take turns within a lane: who sends a thousand photos does not hold up who sends one."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import redis

from contracts.jobs import JobKind, Priority
from infra.jobs.lanes import FETCH
from infra.jobs.ledger import JobLedger
from infra.jobs.terms import Terms
from infra.redis.client import connect
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, RecordingQueue, started

KIND = JobKind.RECOGNITION
LANE = "shitu:jobs:lane:recognition:normal"


def made(ledger: JobLedger, owner: str, count: int = 1, priority: Priority = "normal") -> list[str]:
    return [ledger.create(KIND, REQUEST, terms=Terms(owner=owner, priority=priority)).id for _ in range(count)]


def turns(ledger: JobLedger, count: int) -> list[str]:
    """The owners of the next jobs, each started as a worker does."""
    found = []
    for _ in range(count):
        job_id = ledger.lanes.next(KIND)
        if job_id is None:
            break
        assert ledger.start(job_id) is not None
        found.append(ledger.get(job_id).owner)
    return found


def test_one_photo_does_not_wait_for_a_thousand(ledger: JobLedger) -> None:
    made(ledger, "many", 1000)
    (one,) = made(ledger, "one")
    assert ledger.forecast.of(ledger.get(one))["position"] == 2
    assert "one" in turns(ledger, 2)


def test_everybody_gets_the_same_and_in_their_own_order(ledger: JobLedger, clock: Clock) -> None:
    many = []
    for _ in range(30):
        many += made(ledger, "a")
        clock.pass_s(0.01)
    for owner in ("b", "c", ""):
        made(ledger, owner, 10)
    taken = turns(ledger, 20)
    assert Counter(taken) == {"a": 5, "b": 5, "c": 5, "": 5}
    assert all(set(taken[at : at + 4]) == {"a", "b", "c", ""} for at in range(0, 20, 4))
    assert [ledger.get(job_id).status for job_id in many[:6]] == ["processing"] * 5 + ["queued"]
    assert turns(ledger, 100)[-20:] == ["a"] * 20  # nothing is left idle for who has no more


def test_who_comes_again_comes_behind_who_waits(ledger: JobLedger) -> None:
    """Many small errands are no way round the turns."""
    made(ledger, "patient", 10)
    taken = []
    for _ in range(10):
        made(ledger, "busy")
        taken += turns(ledger, 1)
    assert Counter(taken) == {"patient": 5, "busy": 5}


def test_a_higher_priority_still_goes_first(ledger: JobLedger) -> None:
    made(ledger, "a", 3)
    made(ledger, "b", 3, priority="high")
    assert turns(ledger, 3) == ["b", "b", "b"]


def test_who_must_pause_holds_up_nobody(ledger: JobLedger, clock: Clock) -> None:
    (failed,) = made(ledger, "a")
    made(ledger, "b", 2)
    assert ledger.lanes.next(KIND) == failed
    assert ledger.release(started(ledger, ledger.get(failed)), delay_s=10)
    assert turns(ledger, 3) == ["b", "b"]
    clock.pass_s(10)
    assert turns(ledger, 1) == ["a"]


def test_what_a_dead_worker_took_is_put_back_in_its_owners_turn(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    (lost,) = made(ledger, "a")
    assert ledger.lanes.next(KIND) == lost  # and the worker dies before it starts it
    assert redis_client.keys(f"{LANE}*") == []
    clock.pass_s(200)
    assert ledger.sweeper.sweep(RecordingQueue()).republished == (lost,)
    assert turns(ledger, 2) == ["a"]


def test_nothing_is_left_of_jobs_that_ended(ledger: JobLedger, redis_client: redis.Redis) -> None:
    canceled, done = made(ledger, "a", 2)
    ledger.cancel(canceled)
    assert ledger.succeed(started(ledger, ledger.get(done)), {})
    assert redis_client.keys(f"{LANE}*") == []


def test_jobs_from_before_there_were_owners_are_found(ledger: JobLedger, redis_client: redis.Redis) -> None:
    (old,) = made(ledger, "")
    redis_client.delete(f"{LANE}:of:", f"{LANE}:owners")
    assert ledger.lanes.next(KIND) == old


def test_many_workers_take_each_job_once_and_still_by_turns(redis_url: str) -> None:
    ledgers = [JobLedger(connect(redis_url, "other")) for _ in range(4)]
    made(ledgers[0], "many", 60)
    made(ledgers[0], "few", 10)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda n: ledgers[n % 4].lanes.next(KIND), range(70)))
    assert len(set(taken)) == 70
    owners = [ledgers[0].get(job_id).owner for job_id in taken[:28] if job_id is not None]
    assert owners.count("few") >= 8


def test_photos_to_be_fetched_take_turns_too(ledger: JobLedger, redis_client: redis.Redis) -> None:
    for owner, count in (("many", 20), ("one", 1)):
        for _ in range(count):
            request = {**REQUEST, "image": {"key": None}}
            ledger.create(KIND, request, source_url="http://93.184.216.34/", terms=Terms(owner=owner))
    assert ledger.lanes.next(KIND) is None
    taken = [ledger.lanes.next(FETCH) for _ in range(2)]
    assert {ledger.get(str(job_id)).owner for job_id in taken} == {"many", "one"}
    lease = ledger.start(str(taken[0]), fetching=True)
    assert lease is not None
    assert ledger.fetched(lease, REQUEST)
    assert ledger.lanes.next(KIND) == taken[0]
    assert redis_client.zcard("shitu:jobs:lane:fetch:normal") == 19
