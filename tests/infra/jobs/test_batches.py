"""A batch in the ledger ends whatever becomes of its jobs, even of one whose record something else wrote."""

from __future__ import annotations

import redis

from contracts.jobs import JobKind
from infra.jobs.batch_records import Batch, Planned
from infra.jobs.ledger import JobLedger
from infra.jobs.records import new_id
from infra.jobs.terms import Terms
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, RecordingQueue


def batch_of(ledger: JobLedger, clock: Clock, count: int) -> Batch:
    batch_id = new_id("bat", clock.at)
    planned = [Planned(f"{number}.jpg", REQUEST) for number in range(count)]
    terms = [Terms(batch=batch_id)] * count
    return ledger.batches.create(batch_id, JobKind.RECOGNITION, {"gallery": "drinks"}, planned, None, terms)


def test_creating_it_again_gives_what_is_there(ledger: JobLedger, clock: Clock) -> None:
    first = batch_of(ledger, clock, 3)
    lease = ledger.start(str(first.entries[0].job_id))
    assert lease is not None
    planned = [Planned(f"{number}.jpg", REQUEST) for number in range(3)]
    terms = [Terms(batch=first.id)] * 3
    again = ledger.batches.create(first.id, JobKind.RECOGNITION, {"gallery": "drinks"}, planned, None, terms)
    assert [one.status for one in again.entries] == ["processing", "queued", "queued"]
    assert len(ledger.sweeper.overdue(clock.at + 1e6)) == 3


def test_poisoned_and_late_jobs_end_it(ledger: JobLedger, clock: Clock) -> None:
    batch = batch_of(ledger, clock, 1)
    job_id = str(batch.entries[0].job_id)
    for _ in range(3):
        assert ledger.start(job_id) is not None
        clock.pass_s(31)
    assert ledger.sweeper.sweep(RecordingQueue()).poisoned == (job_id,)
    ended = ledger.batches.get(batch.id)
    assert (ended.status, ended.entries[0].status) == ("completed", "failed")
    assert [event.status for event in ledger.batches.events(batch.id) if event][-2:] == ["failed", "completed"]


def test_a_broken_record_ends_it_too(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    batch = batch_of(ledger, clock, 2)
    broken, fine = (str(one.job_id) for one in batch.entries)
    redis_client.hset(f"shitu:job:{broken}", "attempts", "many")
    lease = ledger.start(fine)
    assert lease is not None
    assert ledger.succeed(lease, {})
    for _ in range(6):
        clock.pass_s(1000)
        ledger.sweeper.sweep(RecordingQueue())
    ended = ledger.batches.get(batch.id)
    assert (ended.status, [one.status for one in ended.entries]) == ("completed", ["failed", "succeeded"])
