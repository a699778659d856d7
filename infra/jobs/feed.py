"""The feed of events: each end of a job, in one order, with the very bodies that webhooks send.

An event is written in the same script as the end that it reports (`infra.jobs.scripts`), and lasts as long as a job's record
does. A cursor is `epoch.number`: numbers grow by one, and the epoch names this feed, so that a cursor of a Redis that was
emptied meanwhile is seen to be void.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import redis

from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import EventsExpired
from infra.jobs import scripts
from infra.jobs.records import EVENT_ID, Job, WebhookState, isoformat, parse_job
from infra.jobs.results import Results

FEED = "shitu:feed"
EPOCH = "shitu:feed:epoch"
FLOOR = "shitu:feed:floor"
LATEST = "latest"
CURSOR = re.compile(r"([0-9a-z]{8})\.(\d{1,15})")
NOTHING_YET = "00000000.0"  # the cursor of a feed without events
BLOCK_S = 4.0  # one blocking read; shorter than the client's reply timeout
PIECE = 500


@dataclass(frozen=True)
class Event:
    """Something that happened. `id` is the webhook-id of every message about it; `data` is what it says."""

    id: str
    type: str
    at: float  # seconds since 1970
    data: dict[str, Any]
    cursor: str | None = None  # its place in the feed; a test has none
    job_id: str | None = None

    def to_dict(self, root: str = "") -> dict[str, Any]:
        """The body: `{"type": "recognition.succeeded", "timestamp": <when the job ended>, "data": <the job>}`.

        `root` as in Job.to_dict.
        """
        links = {name: f"{root}{link}" for name, link in self.data.get("links", {}).items()}
        data = {**self.data, "links": links} if links else self.data
        return {"type": self.type, "timestamp": isoformat(self.at), "data": data}


@dataclass(frozen=True)
class FeedPage:
    """Events in their order; `next_after` is the cursor after them, `more` whether others follow already."""

    events: tuple[Event, ...]
    next_after: str
    more: bool


class Feed:
    """The part of the ledger that reads events; `time` gives its clock. Safe to share between threads."""

    def __init__(
        self, client: redis.Redis, retention_s: float, now: Callable[[], float], results: Results | None = None
    ) -> None:
        self._redis = client
        self._results = results or Results(client)
        self._retention_s = retention_s
        self._now = now

    def read(self, after: str | None = None, limit: int = 100) -> FeedPage:
        """The events after the cursor `after`; None: from the oldest that is kept; `latest`: none that is there yet.

        Raises InvalidCursor, EventsExpired.
        """
        epoch, start = self._start(after)
        entries: Any = self._redis.xrange(FEED, f"{start + 1}-0", "+", count=limit + 1)
        found = [(int(entry_id.partition("-")[0]), fields["id"]) for entry_id, fields in entries[:limit]]
        events = self._events([event_id for _, event_id in found], epoch)
        return FeedPage(tuple(events), f"{epoch}.{found[-1][0] if found else start}", len(entries) > limit)

    def wait(self, after: str, timeout_s: float) -> None:
        """Returns when there is an event after the cursor, or after `timeout_s` seconds. Sleeps in Redis meanwhile."""
        number = int(after.rpartition(".")[2])
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            block_ms = max(1, int(1000 * min(left_s, BLOCK_S)))
            if self._redis.xread({FEED: f"{number}-0"}, count=1, block=block_ms):
                return

    def event(self, event_id: str) -> Event | None:
        """One event; None if it is not kept any more, or its job was removed."""
        found = self._events([event_id], "") if EVENT_ID.fullmatch(event_id) else []
        return found[0] if found else None

    def deliveries_of(self, event_id: str) -> tuple[str, ...]:
        """The ids of the messages about an event."""
        return tuple(str(self._redis.hget(event_key(event_id), "deliveries") or "").split())

    def between(self, since: float, until: float) -> Iterator[tuple[str, str]]:
        """(id, type) of the kept events of a stretch of time, in their order."""
        start = 0
        while True:
            entries: Any = self._redis.xrange(FEED, f"{start + 1}-0", "+", count=PIECE)
            for entry_id, fields in entries:
                start = int(entry_id.partition("-")[0])
                if since <= float(fields["at"]) < until:
                    kind = self._redis.hget(event_key(fields["id"]), "type")
                    if kind:
                        yield fields["id"], str(kind)
            if len(entries) < PIECE:
                return

    def trim(self) -> None:
        """Forgets what is past its retention. May be repeated and interrupted: old entries are refused by their time too."""
        cutoff = self._now() - self._retention_s
        count = 1  # mostly there is nothing to do
        while True:
            entries: Any = self._redis.xrange(FEED, "-", "+", count=count)
            old = [entry_id for entry_id, fields in entries if float(fields["at"]) < cutoff]
            if not old:
                return
            self._redis.set(FLOOR, old[-1].partition("-")[0])
            self._redis.xdel(FEED, *old)
            count = PIECE

    def _start(self, after: str | None) -> tuple[str, int]:
        """The epoch, and the number after which to read. Raises InvalidCursor, EventsExpired."""
        matched = CURSOR.fullmatch(after) if after not in {None, LATEST} and after is not None else None
        if after not in {None, LATEST} and matched is None:
            raise InvalidCursor("This is no cursor: send the `next_after` or an event's `cursor`, or `latest`.")
        self.trim()
        epoch = str(self._redis.get(EPOCH) or NOTHING_YET.partition(".")[0])
        floor = int(self._redis.get(FLOOR) or 0)
        last = self._last()
        if after is None:
            return epoch, floor
        if matched is None:
            return epoch, last
        if after == NOTHING_YET and floor == 0:
            return epoch, 0  # read before the first event
        number = int(matched[2])
        if matched[1] != epoch or not floor <= number <= last:
            oldest = f"{epoch}.{floor}"
            raise EventsExpired(
                f"Events after this cursor are not kept any more; continue from {oldest!r} and look for what is missing.",
                oldest=oldest,
            )
        return epoch, number

    def _last(self) -> int:
        if not self._redis.exists(FEED):
            return 0
        about: Any = self._redis.xinfo_stream(FEED)
        return int(str(about["last-generated-id"]).partition("-")[0])

    def _events(self, ids: list[str], epoch: str) -> list[Event]:
        """Those of the events that are kept, in their order: two round trips for all."""
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.hgetall(event_key(event_id))
            records: list[dict[str, str]] = pipe.execute()
            for record in records:
                needed = record.get("job_id") and "job" not in record
                pipe.hgetall(scripts.job_key(record["job_id"]) if needed else event_key("none"))
            jobs: list[dict[str, str]] = pipe.execute()
        found = (_parse(record, job, epoch, self._results) for record, job in zip(records, jobs, strict=True))
        return [event for event in found if event is not None]


def event_key(event_id: str) -> str:
    """The key of an event's record."""
    return f"shitu:event:{event_id}"


def report(job: Job, event_id: str, expires_at: float | None) -> dict[str, Any]:
    """The job as it was when it ended: its webhook was still to be sent, and its record was to last as long as others do."""
    webhook = job.webhook
    if webhook is not None:
        webhook = WebhookState(url=webhook.url, delivery_id=event_id)
    data: dict[str, Any] = {**replace(job, webhook=webhook, expires_at=expires_at).to_dict()}
    return data


def _parse(record: dict[str, str], job_record: Mapping[str, str], epoch: str, results: Results) -> Event | None:
    if not record:
        return None
    number = record.get("cursor")
    job_id = record.get("job_id") or None
    if job_id is None:
        data: dict[str, Any] = json.loads(record["data"])
    else:
        if "job" in record:
            flat: list[str] = json.loads(record["job"])
            job_record = dict(zip(flat[::2], flat[1::2], strict=True))
        if not job_record:
            return None
        expires_at = record.get("expires_at")
        data = report(parse_job(results.whole(job_record)), record["id"], float(expires_at) if expires_at else None)
    cursor = f"{epoch}.{number}" if number and epoch else None
    return Event(record["id"], record["type"], float(record["at"]), data, cursor, job_id)
