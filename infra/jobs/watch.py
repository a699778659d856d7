"""Waits for a job's end and follows its history, asleep in Redis meanwhile: reading is all that happens here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from infra.errors.jobs import JobExpired, JobNotFound
from infra.errors.requests import InvalidCursor
from infra.jobs import scripts
from infra.jobs.records import Job, JobEvent, parse_event

BLOCK_S = 4.0  # one blocking read; shorter than the client's reply timeout


class JobWatch:
    """`get` gives a job as it is now, or raises JobNotFound, JobExpired. Safe to share between threads."""

    def __init__(self, client: redis.Redis, get: Callable[[str], Job]) -> None:
        self._redis = client
        self._get = get

    def wait(self, job_id: str, timeout_s: float, known: Job | None = None) -> Job:
        """The job once it has finished, or as it is after `timeout_s` seconds. Sleeps in Redis meanwhile.

        `known`: the job as the caller has just read it, or none. Raises JobNotFound, JobExpired.
        """
        deadline = time.monotonic() + timeout_s
        job = known or self._get(job_id)
        last_id = "0-0"
        while not job.finished and (left_s := deadline - time.monotonic()) > 0:
            # The first read returns the history at once; later ones wait for what comes after it, so that no end is missed.
            events = self._read(scripts.events_key(job_id), last_id, min(left_s, BLOCK_S))
            last_id = events[-1].id if events else last_id
            if not events or any(event.status.finished for event in events):
                job = self._get(job_id)  # ended, replayed since, or gone
        return job if job.finished else self._get(job_id)

    def events(self, job_id: str, last_id: str = "0-0", heartbeat_s: float = 15.0) -> Iterator[JobEvent | None]:
        """The job's history after `last_id` and as it happens, to its end; None after `heartbeat_s` quiet seconds.

        Raises JobNotFound and JobExpired (before the first event), InvalidCursor for a `last_id` of another make.
        """
        first, _, second = last_id.partition("-")
        if not (first.isdecimal() and second.isdecimal() and len(last_id) < 40):
            raise InvalidCursor("Last-Event-ID is not an id of this stream.")
        self._get(job_id)
        return self._follow(job_id, last_id, heartbeat_s)

    def _follow(self, job_id: str, last_id: str, heartbeat_s: float) -> Iterator[JobEvent | None]:
        key = scripts.events_key(job_id)
        quiet_since = time.monotonic()
        over, looked = False, False
        block_s = 0.0  # first what there is already; whoever resumes after the end must not wait for nothing
        while True:
            events = self._read(key, last_id, 0.0 if over else block_s)
            block_s = min(BLOCK_S, heartbeat_s)
            for event in events:
                last_id = event.id
                yield event
                if event.status.finished:
                    return
            if over:
                return
            if events:
                quiet_since = time.monotonic()
                continue
            quiet = time.monotonic() - quiet_since >= heartbeat_s
            if looked and not quiet:
                continue
            # Nothing new. If the end lies before `last_id`, or the record is gone, nothing will come; else read on.
            looked = True
            with contextlib.suppress(JobNotFound, JobExpired):
                over = self._get(job_id).finished
                if quiet and not over:
                    quiet_since = time.monotonic()
                    yield None
                continue
            return

    def _read(self, key: str, last_id: str, block_s: float) -> list[JobEvent]:
        block_ms = max(1, int(block_s * 1000)) if block_s > 0 else None
        answer: Any = self._redis.xread({key: last_id}, count=100, block=block_ms)
        return [parse_event(event_id, entry) for _, entries in answer or () for event_id, entry in entries]
