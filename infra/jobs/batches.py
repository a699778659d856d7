"""Batches: many photos in one request, one job each, to be polled, followed and canceled as one.

A batch and its jobs are written in one transaction, so that there is never a part of it; the ids of its jobs follow from
its own, so that a repetition finds what is there. From then on the scripts that change a job update its batch (`NOTIFY_BATCH`, part
of all of them). It ends with its last job, and is kept as long from then on.

    shitu:jobs:batch:{id}   hash    created_at, request, entries (JSON), open (jobs), completed_at, cancel_requested,
                                    and job:{id} -> status
    shitu:events:{id}       stream  the changes of its jobs, and at the end `completed`
    shitu:jobs:list:batch   zset    which batches there are: infra.jobs.batch_list
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import redis

from infra.errors.jobs import BatchExpired, BatchNotFound, JobFinished
from infra.errors.keys import OpenJobsLimited
from infra.errors.requests import InvalidCursor
from infra.jobs import scripts
from infra.jobs.batch_records import PREFIX, Batch, BatchEvent, Entry, Planned, parse_batch
from infra.jobs.records import ALPHABET, parse_job
from infra.jobs.watch import BLOCK_S
from infra.redis.durability import wait_until_written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contracts.jobs import JobKind
    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Job
    from infra.jobs.terms import Terms

BATCH_ID = re.compile(rf"{PREFIX}_[0-7][{ALPHABET}]{{25}}")
MOST_JOBS = 1 << 20
OPEN_S = 30 * 86_400  # a batch whose jobs never end is forgotten at last
CHUNK = 50
LIST = "shitu:jobs:list:batch"
OPEN_RETRY_S = 5.0

# ARGV: now, id, request, entries, open_s, how many jobs, and their owner's key of open ones with how many that may be (0:
# any). What is refused here, the jobs' own scripts in the same transaction refuse as well, for they find no batch.
_CREATE = (
    scripts.CLOCK
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local count, mine, most = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
if most > 0 and redis.call('ZCARD', mine) + count > most then
  for _, one in ipairs(redis.call('ZRANGE', mine, 0, -1)) do
    if not redis.call('ZSCORE', KEYS[2], one) then redis.call('ZREM', mine, one) end
  end
  if redis.call('ZCARD', mine) + count > most then return -1 end
end
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'request', ARGV[3], 'entries', ARGV[4], 'created_at', seconds(now), 'open', 0)
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[5]))
for _, one in ipairs(redis.call('ZRANGE', KEYS[3], 0, 1)) do
  if redis.call('EXISTS', 'shitu:jobs:batch:' .. string.match(one, '[^:]+$')) == 0 then redis.call('ZREM', KEYS[3], one) end
end
redis.call('ZADD', KEYS[3], 0, seconds(now) .. ':' .. ARGV[2])
return 1
"""
)


class Batches:
    """The batches of a ledger; may be used by many threads. Every method may raise redis.RedisError."""

    def __init__(self, client: redis.Redis, ledger: JobLedger) -> None:
        self._redis = client
        self._ledger = ledger
        self._create = client.register_script(_CREATE)

    def create(
        self,
        batch_id: str,
        kind: JobKind,
        request: dict[str, Any],
        planned: Sequence[Planned],
        webhook_url: str | None,
        terms: Sequence[Terms],
    ) -> Batch:
        """Accepts all jobs at once, with `terms` for each picture; a batch that is there already is given as it is.

        Raises OpenJobsLimited if their owner may not have so many more.
        """
        entries: list[dict[str, Any]] = []
        with self._redis.pipeline(transaction=True) as pipe:
            for index, one in enumerate(planned):
                job_id = None if one.request is None else job_id_of(batch_id, kind, index)
                entries.append({"name": one.name, "job_id": job_id, "error": one.error})
            args: list[str | float] = [self._ledger.clock(), batch_id, json.dumps(request), json.dumps(entries), OPEN_S]
            count, most = sum(one.request is not None for one in planned), terms[0].most_open
            args += [count, f"shitu:key:{terms[0].owner}:open", most]
            self._create(keys=[batch_key(batch_id), scripts.OPEN, LIST], args=args, client=pipe)
            for one, entry, own in zip(planned, entries, terms, strict=True):
                if one.request is not None:
                    self._ledger.create_in(
                        pipe, kind, one.request, webhook_url, str(entry["job_id"]), own, one.source_url
                    )
            made, *_ = pipe.execute()
        if made == -1:
            report = f"The request's key may have {most} open jobs at a time, and the batch has {count}."
            raise OpenJobsLimited(report, retry_after_s=OPEN_RETRY_S)
        wait_until_written(self._redis)
        return self.get(batch_id)

    def get(self, batch_id: str) -> Batch:
        """Raises BatchNotFound, BatchExpired."""
        if not BATCH_ID.fullmatch(batch_id):
            raise BatchNotFound("There is no batch with this id.")
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(batch_key(batch_id))
            pipe.pttl(batch_key(batch_id))
            pipe.exists(scripts.tombstone_key(batch_id))
            record, left_ms, existed = pipe.execute()
        if not record:
            if existed:
                raise BatchExpired(f"The batch {batch_id} ended and its record has expired.")
            raise BatchNotFound(f"There is no batch {batch_id}.")
        return parse_batch(record, self._ledger.time() + left_ms / 1000)

    def cancel(self, batch_id: str) -> Batch:
        """Cancels all open jobs at once. May be repeated. Raises JobFinished if all had ended by themselves."""
        batch = self.get(batch_id)
        if batch.finished and not batch.cancel_requested:
            raise JobFinished(f"All jobs of the batch {batch_id} have ended.", status=batch.status)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(batch_key(batch_id), "cancel_requested", "1")
            for one in batch.entries:
                if one.job_id is not None and not one.finished:
                    self._ledger.cancel_in(pipe, one.job_id)
            pipe.execute()
        return self.get(batch_id)

    def jobs(self, batch: Batch) -> Iterator[tuple[Entry, Job | None]]:
        """Each picture with its job, in order, read bit by bit; None: it has none, or its record has expired."""
        for start in range(0, len(batch.entries), CHUNK):
            part = batch.entries[start : start + CHUNK]
            with self._redis.pipeline(transaction=False) as pipe:
                for one in part:
                    pipe.hgetall(scripts.job_key(one.job_id or ""))
                records = pipe.execute()
            for one, record in zip(part, records, strict=True):
                yield one, parse_job(self._ledger.results.whole(record)) if record else None

    def wait(self, batch_id: str, timeout_s: float) -> Batch:
        """The batch once it has ended, or as it is after `timeout_s` seconds. Sleeps in Redis meanwhile."""
        deadline = time.monotonic() + timeout_s
        last_id = "0-0"
        while True:
            batch = self.get(batch_id)
            left_s = deadline - time.monotonic()
            if batch.finished or left_s <= 0:
                return batch
            for event in self._read(batch_id, last_id, min(left_s, BLOCK_S)):
                last_id = event.id

    def events(self, batch_id: str, last_id: str = "0-0", heartbeat_s: float = 15.0) -> Iterator[BatchEvent | None]:
        """The changes after `last_id` and as they happen, to the end; None after `heartbeat_s` quiet seconds.

        Raises BatchNotFound and BatchExpired (before the first event), InvalidCursor for a `last_id` of another make.
        """
        if not re.fullmatch(r"\d{1,19}-\d{1,19}", last_id, re.ASCII):
            raise InvalidCursor("Last-Event-ID is not an id of this stream.")
        self.get(batch_id)
        return self._follow(batch_id, last_id, heartbeat_s)

    def _follow(self, batch_id: str, last_id: str, heartbeat_s: float) -> Iterator[BatchEvent | None]:
        quiet_since, block_s, over = time.monotonic(), 0.0, False
        while True:
            events = self._read(batch_id, last_id, 0.0 if over else block_s)
            block_s = min(BLOCK_S, heartbeat_s)
            for event in events:
                last_id = event.id
                quiet_since = time.monotonic()
                yield event
            if events:
                continue
            if over:
                return
            try:
                over = self.get(batch_id).finished
            except (BatchNotFound, BatchExpired):
                return
            if not over and time.monotonic() - quiet_since >= heartbeat_s:
                quiet_since = time.monotonic()
                yield None

    def _read(self, batch_id: str, last_id: str, block_s: float) -> list[BatchEvent]:
        block_ms = max(1, int(block_s * 1000)) if block_s > 0 else None
        answer: Any = self._redis.xread({scripts.events_key(batch_id): last_id}, count=100, block=block_ms)
        return [
            BatchEvent(event_id, entry.get("job"), entry["status"])
            for _, entries in answer or ()
            for event_id, entry in entries
        ]


def job_id_of(batch_id: str, kind: JobKind, index: int) -> str:
    """The id of a batch's job: its own in each repetition of the request, and in the order of the pictures."""
    number = 0
    for character in batch_id.partition("_")[2]:
        number = number << 5 | ALPHABET.index(character)
    number = number // MOST_JOBS * MOST_JOBS + index
    return f"{kind.prefix}_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))


def batch_key(batch_id: str) -> str:
    """The key of a batch's record."""
    return f"shitu:jobs:batch:{batch_id}"
