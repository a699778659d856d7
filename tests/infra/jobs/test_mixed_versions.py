"""Records of a later version: what this one does not know of them harms nothing, and is still there when it is done.

In a rolling update both versions work on the same Redis. tests/e2e/test_rolling_update.py has the worker of an older one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from contracts.jobs import JobKind
from contracts.keys import Scope
from infra.jobs.batch_records import Planned
from infra.jobs.ledger import JobLedger, JobStatus
from infra.jobs.records import new_id
from infra.jobs.terms import Terms
from infra.keys.store import KeyStore, Limits, record_key
from tests.infra.jobs.hooks import latest, registered, taken
from tests.infra.ledgers import REQUEST, RecordingQueue, started

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.infra.clock import Clock

LATER = {"of_a_later_version": json.dumps({"deep": [1, "ジュース"]})}
WANTED: dict[str, Any] = {
    **REQUEST,
    "of_a_later_version": {"deep": True},
    "image": {"key": None, "name": "a.jpg", "of_a_later_version": 1},
}


def grown(client: redis.Redis, *prefixes: str) -> list[str]:
    """Adds the later version's field to every hash whose key begins so, and gives the keys."""
    keys = [
        key for prefix in prefixes for key in map(str, client.scan_iter(f"{prefix}*")) if client.type(key) == "hash"
    ]
    assert keys
    for key in keys:
        client.hset(key, mapping=LATER)
    return keys


def succeeds(ledger: JobLedger, job_id: str, _: Clock) -> None:
    lease = ledger.start(job_id)
    assert lease is not None
    assert lease.job is not None
    assert lease.job.request["of_a_later_version"] == {"deep": True}
    assert ledger.renew(lease, {"done": 1, "total": 2})
    assert ledger.succeed(lease, {"recognitions": [], "of_a_later_version": 2})
    assert ledger.get(job_id).result == {"recognitions": [], "of_a_later_version": 2}


def is_given_back_and_replayed(ledger: JobLedger, job_id: str, clock: Clock) -> None:
    lease = started(ledger, ledger.get(job_id))
    assert ledger.release(lease, delay_s=1)
    clock.pass_s(2)
    assert ledger.sweeper.sweep(RecordingQueue()).republished == (job_id,)
    lease = started(ledger, ledger.get(job_id))
    assert ledger.fail(lease, {"code": "storage_unavailable", "message": "Away.", "retryable": True})
    assert ledger.replay(job_id).status is JobStatus.QUEUED
    succeeds(ledger, job_id, clock)


def loses_its_worker(ledger: JobLedger, job_id: str, clock: Clock) -> None:
    lost = started(ledger, ledger.get(job_id))
    clock.pass_s(31)
    assert ledger.sweeper.sweep(RecordingQueue()).republished == (job_id,)
    succeeds(ledger, job_id, clock)
    assert not ledger.succeed(lost, {"recognitions": []})


def is_canceled(ledger: JobLedger, job_id: str, _: Clock) -> None:
    lease = started(ledger, ledger.get(job_id))
    ledger.cancel(job_id)
    assert ledger.finish_canceled(lease)


@pytest.mark.parametrize("life", [succeeds, is_given_back_and_replayed, loses_its_worker, is_canceled])
def test_a_job_keeps_what_only_a_later_version_knows(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis, life: Callable[[JobLedger, str, Clock], None]
) -> None:
    job = ledger.create("recognition", WANTED)
    [key] = grown(redis_client, "shitu:job:")
    life(ledger, job.id, clock)
    assert redis_client.hget(key, "of_a_later_version") == LATER["of_a_later_version"]
    done = ledger.get(job.id)
    assert done.finished
    assert done.to_dict()["request"] == WANTED
    [event] = ledger.feed.read(limit=10).events[-1:]
    assert event.data["request"] == WANTED, "whoever hears of the end gets it too"
    clock.pass_s(1001)
    assert ledger.sweeper.retire() == (job.id,)
    assert list(redis_client.scan_iter("shitu:job:*")) == [], "and goes with the rest of the record"


def test_a_fetched_photo_joins_what_the_request_says(ledger: JobLedger, redis_client: redis.Redis) -> None:
    job = ledger.create("recognition", WANTED, source_url="https://example.com/a.jpg")
    lease = ledger.start(job.id, fetching=True)
    assert lease is not None
    assert lease.job is not None
    # As worker.fetcher does.
    fetched = {**lease.job.request, "image": {**lease.job.request["image"], "key": "photos/ab/abc"}}
    assert ledger.fetched(lease, fetched)
    assert ledger.get(job.id).request == {**WANTED, "image": {**WANTED["image"], "key": "photos/ab/abc"}}


def test_messages_endpoints_batches_and_keys_of_a_later_version_are_read(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    endpoint = registered(ledger)
    batch_id = new_id("bat", clock.at)
    terms = [Terms(batch=batch_id)]
    batch = ledger.batches.create(batch_id, JobKind.RECOGNITION, {"later": 1}, [Planned("a.jpg", WANTED)], None, terms)
    store = KeyStore(redis_client)
    key, token = store.create("till", [Scope.READ], limits=Limits(open_jobs=3))
    limits = {**json.loads(str(redis_client.hget(record_key(key.id), "limits"))), "of_a_later_version": 9}
    redis_client.hset(record_key(key.id), mapping={"limits": json.dumps(limits), "scopes": "read of_a_later_version"})
    kept = grown(redis_client, "shitu:job:", "shitu:webhook:", "shitu:jobs:batch:", "shitu:key:")

    job_id = str(batch.entries[0].job_id)
    succeeds(ledger, job_id, clock)
    assert ledger.batches.get(batch_id).status == "completed"
    kept += grown(redis_client, "shitu:delivery:", "shitu:event:")
    delivery = taken(ledger, latest(ledger, endpoint).id)
    assert ledger.deliveries.delivered(delivery, 204)
    assert ledger.deliveries.get(delivery.id).status == "delivered"
    assert ledger.endpoints.get(endpoint.id).url == endpoint.url
    found = store.find(token)
    assert (found.scopes, found.limits) == ((Scope.READ,), Limits(open_jobs=3))
    ledger.presence.worker_ready("a:1", {"of_a_later_version": 1}, ttl_s=60)
    assert len(ledger.presence.workers()) == 1
    assert [key for key in kept if redis_client.hget(key, "of_a_later_version") != LATER["of_a_later_version"]] == []
