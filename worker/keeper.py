"""`python -m worker.keeper`: repairs what the queue lost, wakes due webhooks, ends retention, proves that queues move.

Photos that no job names any more are deleted next to the rounds, by worker.store_keeper; deleted galleries are purged,
and erasures finished, by worker.gallery_keeper; indexes of large galleries are built by worker.index_keeper.

Any number may run: each step of a round belongs to the one that holds the leader lock (redis-py's `Lock`), which is
checked and extended before each step. A leader that dies is replaced when its lock lapses. Each step of the ledger is
safe to do twice anyway. A Redis outage costs rounds, never the process.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import redis
from redis.exceptions import LockError
from redis.lock import Lock

import shitu.packages  # noqa: F401 - first: it makes sure that the packages below are ours
from contracts.errors import ServiceError
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryLock, GalleryStore
from infra.jobs.ledger import open_ledger
from infra.jobs.load import described, read_load
from infra.jobs.photos import Photos
from infra.jobs.queue import Queue, open_queue
from infra.jobs.uploads import Uploads
from infra.net.webhook_keys import reseal
from infra.objects.opening import open_store
from infra.redis.check import explained
from infra.redis.client import open_client
from infra.runtime.logs import configure_logging, fatal
from infra.runtime.settings import load_settings
from infra.runtime.telemetry import SWEPT
from infra.stack.installation import Ownership, verify, verify_or_exit
from worker.gallery_keeper import GalleryKeeper
from worker.index_keeper import IndexKeeper
from worker.store_keeper import StoreKeeper

if TYPE_CHECKING:
    from types import FrameType

    from infra.jobs.ledger import JobLedger
    from infra.runtime.settings import Settings

LEADER_KEY = "shitu:keeper"
LEADER_ROUNDS = 5  # a keeper that misses so many rounds is replaced
RETIRE_INTERVAL_S = 30.0
STOP_WITHIN_S = 6.0
MOST_WAKING = 1000  # due messages that wait in the queue

log = logging.getLogger(__name__)


class Keeper:
    """The rounds. `run` returns once `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        ledger: JobLedger,
        queue: Queue,
        ownership: Ownership | None = None,
    ) -> None:
        self._ownership = ownership
        self._interval_s = settings.jobs.sweep_interval_s
        self._canary_interval_s = settings.worker.heartbeat_s
        self._ledger = ledger
        self._queue = queue
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        lock_s = max(1.0, LEADER_ROUNDS * self._interval_s)
        self._lock = Lock(client, LEADER_KEY, timeout=lock_s, blocking=False, thread_local=False)
        self._canary_at = 0.0
        self._retire_at = 0.0
        self._scaling, self._log_at = settings.scaling, 0.0
        self._secret = settings.webhooks.secret  # until everything is sealed under the first of it

    def run(self, stop: threading.Event) -> None:
        """A round every `sweep_interval_s` seconds."""
        while not stop.is_set():
            if self._ownership is not None and (why := self._ownership.foreign()) is not None:
                raise fatal(why)
            try:
                self.round()
            except redis.RedisError as error:
                log.warning("round skipped: %s", explained(error).detail, extra={"reason": type(error).__name__})
            except Exception:  # what one round stumbles over must not stop the repairs of the next
                log.exception("round failed")
            stop.wait(self._interval_s)
        try:
            with suppress(LockError):  # another's, or lapsed: nothing to give back
                self._lock.release()
        except redis.RedisError:
            log.warning("could not resign; the leader lock lapses by itself")

    def round(self) -> bool:
        """One round, if this keeper leads. Returns whether it led to the end."""
        steps = (self._sweep, self._cancel_late, self._wake, self._prove, self._retire, self._reseal, self._notify)
        for step in steps:
            if not self._leads():  # a step may take longer than the lock lasts
                return False
            try:
                step()
            except (redis.ConnectionError, redis.TimeoutError):
                raise  # the others would wait for nothing
            except Exception:  # what one step stumbles over must not keep the others from their work
                log.exception("a step of the round failed")
        return True

    def _leads(self) -> bool:
        """Extends the lock if it is this keeper's, takes it if it is free."""
        with suppress(LockError):  # never held, lapsed, or another's
            return self._lock.reacquire()
        return bool(self._lock.acquire(token=self._name))

    def _sweep(self) -> None:
        swept = self._ledger.sweeper.sweep(self._queue)
        if swept.republished or swept.poisoned or swept.canceled:
            log.info(
                "swept",
                extra={"republished": swept.republished, "poisoned": swept.poisoned, "canceled": swept.canceled},
            )
        for outcome in ("republished", "poisoned", "canceled"):
            SWEPT.labels(outcome).inc(len(getattr(swept, outcome)))

    def _cancel_late(self) -> None:
        canceled = self._ledger.sweeper.cancel_late()
        if canceled:
            log.info("canceled after the time given", extra={"canceled": canceled})
            SWEPT.labels("canceled").inc(len(canceled))

    def _wake(self) -> None:
        # Messages that nobody has taken yet are enough: without couriers the same messages would pile up.
        room = MOST_WAKING - self._ledger.stats().messages["deliver"]
        while room > 0 and (due := self._ledger.deliveries.due()):
            room -= len(due)
            for delivery_id in due:
                self._queue.deliver(delivery_id)

    def _reseal(self) -> None:
        if self._secret is not None:
            done = reseal(self._ledger.endpoints, self._secret)
            if done:
                log.info("sealed the keys of webhooks under the newest secret", extra={"webhooks": done})
            self._secret = None

    def _prove(self) -> None:
        now = time.monotonic()
        if now >= self._canary_at:
            self._canary_at = now + self._canary_interval_s
            # Messages that wait show by being taken that their queue moves; without workers canaries would only pile up.
            for queue, waiting in self._ledger.stats().messages.items():
                if waiting == 0:
                    self._queue.canary(queue)

    def _notify(self) -> None:
        """The load, for autoscalers that read logs."""
        now = time.monotonic()
        if self._scaling.log_s and now >= self._log_at:
            self._log_at = now + self._scaling.log_s
            log.info("load", extra=described(read_load(self._ledger), self._scaling))

    def _retire(self) -> None:
        now = time.monotonic()
        if now >= self._retire_at:
            self._retire_at = now + min(RETIRE_INTERVAL_S, 10 * self._interval_s)
            self._ledger.sweeper.retire()
            self._ledger.feed.trim()


def main() -> None:
    """Keeps until SIGTERM or SIGINT."""
    try:
        settings = load_settings()
    except ServiceError as error:
        raise fatal(error.detail) from None
    configure_logging(settings.log)
    if settings.redis_url is None:
        raise fatal("REDIS_URL is not set: `shitu up` starts the keeper together with a Redis server")
    stop = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    verify_or_exit(settings)
    client = open_client(settings)
    ownership = Ownership(partial(verify, settings))
    ledger = open_ledger(settings)
    keeper = Keeper(settings, client, ledger, open_queue(settings), ownership)
    try:
        objects = open_store(settings.objects, settings.data_dir)
        photos = StoreKeeper(Photos(client, objects), "photos", ownership.require, 10 * settings.jobs.sweep_interval_s)
        store = GalleryStore(objects, GalleryLock(client), open_milvus(settings.milvus))
        galleries = GalleryKeeper(settings, store, client, ledger, ownership.require)
        indexes = IndexKeeper(settings, store, ownership.require)
        kept = settings.objects
        uploads = StoreKeeper(Uploads(client, objects, kept.link_s, kept.upload_s), "uploads", ownership.require)
        results = StoreKeeper(ledger.results, "results", ownership.require)
    except (ServiceError, OSError) as error:
        raise fatal(str(error)) from None
    cleaner = threading.Thread(target=photos.run, args=(stop,), name="photos", daemon=True)
    if not settings.jobs.keep_photos:
        cleaner.start()
    threading.Thread(target=uploads.run, args=(stop,), name="uploads", daemon=True).start()
    threading.Thread(target=results.run, args=(stop,), name="results", daemon=True).start()
    threading.Thread(target=galleries.run, args=(stop,), name="galleries", daemon=True).start()
    building = threading.Thread(target=indexes.run, args=(stop,), name="indexes", daemon=True)
    building.start()
    log.info("keeper started")
    keeper.run(stop)
    building.join(STOP_WITHIN_S)  # it ends its builder
    log.info("keeper stopped")


if __name__ == "__main__":
    main()
