"""A job removed at once, with its answer, its events and the bodies of its webhooks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from infra.errors.jobs import JobExpired, JobFinished, JobNotFound
from infra.errors.webhooks import DeliveryFinished, DeliveryNotFound
from infra.jobs.change_scripts import INDEX, REMOVE
from infra.jobs.scripts import CLOCK, events_key, job_key

if TYPE_CHECKING:
    import redis

    from infra.jobs.ledger import JobLedger

# Like the job's retirement (infra.jobs.keeper_scripts), without a look at what is still to be delivered. KEYS: job, its
# stream. ARGV: now, id, tombstone_s. Returns how many messages and events went; -1: it is still open.
_ERASE = (
    CLOCK
    + INDEX
    + REMOVE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status == 'queued' or status == 'processing' then return -1 end
local gone = remove(KEYS[1], KEYS[2], ARGV[2], now, tonumber(ARGV[3]))
redis.call('SET', 'shitu:tombstone:' .. ARGV[2], 'erased', 'KEEPTTL')  -- infra.jobs.scripts.ERASED
return gone
"""
)


def erase_job(client: redis.Redis, ledger: JobLedger, job_id: str, tombstone_s: float) -> int | None:
    """Removes all that Redis has of the job. How many messages and events went; None: it is running, ask again.

    An open job is canceled first. One that is not there any more is done. Raises redis.RedisError.
    """
    with suppress(JobNotFound, JobExpired, JobFinished):
        if not ledger.get(job_id).finished and not ledger.cancel(job_id).finished:
            return None
    for event in str(client.hget(job_key(job_id), "event_ids") or "").split():
        for message in ledger.feed.deliveries_of(event):
            with suppress(DeliveryFinished, DeliveryNotFound):
                ledger.deliveries.stop(message)
    gone = int(
        client.register_script(_ERASE)(keys=[job_key(job_id), events_key(job_id)], args=["", job_id, tombstone_s])
    )
    if gone < 0:
        return None
    ledger.results.remove_due()  # its result among them; where the store fails the keeper finishes it
    return gone
