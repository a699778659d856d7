"""Lists batches, the newest first.

The index is written by the script that makes a batch. A batch's record goes by Redis' own expiry, of which no script hears:
each new batch drops what has gone of the oldest entries, and a page drops what it meets, so that the index stays as long as
what it is about.

    shitu:jobs:list:batch    zset   {created_at}:{id} of all batches, all scores 0
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from infra.jobs.batch_records import parse_batch
from infra.jobs.batches import LIST, batch_key
from infra.jobs.listing import CHUNK, MOST_LOOKED_AT, packed, read_cursor, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.jobs.batch_records import Batch


@dataclass(frozen=True)
class WantedBatches:
    """Which batches: all that is given must hold. Times are seconds since 1970, from `after` on and before `before`."""

    status: str | None = None
    gallery: str | None = None
    after: float | None = None
    before: float | None = None

    def fits(self, batch: Batch) -> bool:
        """Whether it is one of them; the times decide before."""
        if self.status is not None and batch.status != self.status:
            return False
        return self.gallery is None or batch.request.get("gallery") == self.gallery


@dataclass(frozen=True)
class BatchPage:
    """Some batches, the newest first; `next_after` continues after them, None at the end."""

    batches: tuple[Batch, ...]
    next_after: str | None


class BatchListing:
    """The part of the ledger that lists batches; may be used by many threads."""

    def __init__(self, client: redis.Redis, time: Callable[[], float]) -> None:
        self._redis = client
        self._time = time

    def page(self, wanted: WantedBatches, limit: int, after: str | None = None) -> BatchPage:
        """At most `limit` batches after `after`, a page's `next_after`. Raises InvalidCursor, redis.RedisError.

        A page ends early, with a cursor to continue from, where too many do not fit.
        """
        highest = "+" if wanted.before is None else f"({stamp(wanted.before)}"
        lowest = "-" if wanted.after is None else f"[{stamp(wanted.after)}"
        cursor = read_cursor(after)
        if cursor is not None and (highest == "+" or cursor < highest[1:]):
            highest = f"({cursor}"
        found: list[tuple[str, Batch]] = []
        looked_at, count = 0, min(CHUNK, limit + 1)
        while True:
            members = [str(one) for one in self._redis.zrevrangebylex(LIST, highest, lowest, start=0, num=count)]
            found += [(member, batch) for member, batch in self._read(members) if wanted.fits(batch)]
            looked_at += len(members)
            if len(found) > limit:
                return BatchPage(tuple(batch for _, batch in found[:limit]), packed(found[limit - 1][0]))
            if len(members) < count:
                return BatchPage(tuple(batch for _, batch in found), None)
            if looked_at >= MOST_LOOKED_AT:
                return BatchPage(tuple(batch for _, batch in found), packed(members[-1]))
            highest, count = f"({members[-1]}", CHUNK

    def _read(self, members: list[str]) -> list[tuple[str, Batch]]:
        now = self._time()
        with self._redis.pipeline(transaction=False) as pipe:
            for member in members:
                key = batch_key(member.partition(":")[2])
                pipe.hgetall(key)
                pipe.pttl(key)
            answers = pipe.execute(raise_on_error=False)
        found, gone = [], []
        for member, record, left_ms in zip(members, answers[::2], answers[1::2], strict=True):
            if not record:
                gone.append(member)
            elif isinstance(record, dict):
                found.append((member, parse_batch(record, now + left_ms / 1000)))
        if gone:
            with contextlib.suppress(redis.ResponseError):  # a Redis that takes no writes can still list
                self._redis.zrem(LIST, *gone)
        return found
