"""Fetches the pictures that requests name by URL, http(s) or s3, in threads of a courier's own.

Somebody else's server may be silent until the time is up. So neither a request waits for it, nor a worker that holds
models, nor a place of the webhooks: a task only leaves a job's id here. The message is gone then, but the ledger has the
job: what a killed courier held is found by the keeper, what a stopped one had not begun is published again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from contracts.errors import ServiceError
from contracts.jobs import JobKind
from infra.errors.photos import AddressForbidden, FetchFailed
from infra.jobs.lanes import FETCH
from infra.jobs.photos import Photos
from infra.net.fetch import fetch
from infra.objects.inputs import Inputs, is_s3
from infra.objects.opening import open_store
from infra.redis.client import open_client
from infra.runtime.telemetry import URL_FETCHES
from worker.attempt import attempt
from worker.item_fetcher import fetch_items

if TYPE_CHECKING:
    from infra.jobs.records import Job
    from infra.objects.store import ObjectStore
    from worker.lease_keeper import Checkpoint
    from worker.process import Process

WAITING = 10_000  # ids that one courier remembers; more are left to the keeper, who publishes them again
CLOSED_WITHIN_S = 1.0

log = logging.getLogger(__name__)


class Fetcher:
    """`web.url_concurrency` threads, started when there is something to do. All methods may be called from any thread."""

    def __init__(self, process: Process, photos: Photos, objects: ObjectStore) -> None:
        self._process = process
        self._photos = photos
        self._objects = objects
        self._inputs = Inputs(process.settings.objects, process.settings.web.url_timeout_s)
        self._waiting: deque[str] = deque()
        self._known: set[str] = set()  # waiting or under way: the keeper may publish a job again meanwhile
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._draining = False
        self._changed = threading.Condition()

    def take(self, job_id: str) -> None:
        """The job's picture is to be fetched; returns at once."""
        with self._changed:
            if self._draining or job_id in self._known or len(self._waiting) >= WAITING:
                return
            self._known.add(job_id)
            self._waiting.append(job_id)
            if len(self._waiting) > self._idle and len(self._threads) < self._process.settings.web.url_concurrency:
                thread = threading.Thread(target=self._run, name=f"fetch-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._changed.notify()

    def drain(self) -> None:
        """Begins nothing more; what waits is published for another courier, or for the next start."""
        with self._changed:
            self._draining = True
            left, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for job_id in left:
            self._process.queue.fetch(job_id)

    def close(self) -> None:
        """The process ends: what is still under way goes back to the ledger when its lease lapses."""
        self.drain()
        until = time.monotonic() + CLOSED_WITHIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting or self._draining)
                self._idle -= 1
                if not self._waiting:
                    return
                job_id = self._waiting.popleft()
            try:
                for candidate in self._process.ledger.lanes.candidates(FETCH, job_id):  # as with workers
                    if attempt(candidate, self._fetch, self._process, fetching=True):
                        break
            except Exception:  # the job's lease lapses, which counts as an attempt; the thread continues
                log.exception("a picture could not be looked after", extra={"job_id": job_id})
            finally:
                with self._changed:
                    self._known.discard(job_id)

    def _fetch(self, job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
        """The job's request with the key of its stored photo. Raises the address and fetch errors, StorageUnavailable."""
        if job.kind is JobKind.ENROLLMENT:
            last = job.attempts >= self._process.settings.jobs.max_attempts
            download = partial(self._download, job)
            return fetch_items(job, checkpoint, download, self._objects, self._process.ledger, last=last)
        data = self._download(job, job.source_url or "")
        checkpoint()
        image = {**job.request["image"], "key": self._photos.keep(data)}
        return {**job.request, "image": image}

    def _download(self, job: Job, url: str) -> bytes:
        web = self._process.settings.web
        try:
            if is_s3(url):
                data = self._inputs.read(url, web.max_body_bytes)
            else:
                data = fetch(url, timeout_s=web.url_timeout_s, max_bytes=web.max_body_bytes, allowed=web.allowed_hosts)
        except ServiceError as error:
            URL_FETCHES.labels(error.code).inc()
            if isinstance(error, FetchFailed):  # whose server it was, never the URL: it may hold secrets
                log.info("a picture was not fetched", extra={"job_id": job.id, "code": error.code})
            if isinstance(error, AddressForbidden):
                raise error.with_remedy("SHITU_WEB__ALLOWED_HOSTS") from None
            raise
        URL_FETCHES.labels("fetched").inc()
        return data


def open_fetcher(process: Process) -> Fetcher:
    """A fetcher on the stores of the process's settings."""
    settings = process.settings
    objects = open_store(settings.objects, settings.data_dir)
    return Fetcher(process, Photos(open_client(settings), objects), objects)
