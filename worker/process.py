"""What one worker process holds: always the ledger and the queue, and the loaded models unless it is a courier.

Celery's tasks are plain functions, so what they share lives here, in the one module variable of the package. It is set
after fork (Faiss, OpenVINO and open connections do not survive one) by the signals in `worker.app`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import redis

from infra.jobs import sweeper
from infra.jobs.ledger import open_ledger
from infra.jobs.load import SLOTS, STARTUP
from infra.runtime.machine import process_age_s, read_limits, resident_bytes
from infra.stack.installation import Ownership, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from infra.jobs.ledger import JobLedger
    from infra.runtime.settings import Settings
    from worker.fetcher import Fetcher
    from worker.runtime import Runtime

STALLED_S = 60.0
STAMP_S = 1.0
FROZEN_S = 120.0  # no call into a library keeps the GIL so long, not even where several processes share a core

log = logging.getLogger(__name__)


class JobQueue(sweeper.JobQueue, Protocol):
    """Where a process publishes ids: infra.jobs.queue.Queue, or a function's."""

    def deliver(self, delivery_id: str) -> bool:
        """A webhook message is due."""


class Process:
    """An open worker process. `runtime` is None in a courier, which delivers webhooks and fetches pictures (`fetcher`)."""

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        queues: Collection[str],
        runtime: Runtime | None,
        clock: Callable[[], float] = time.monotonic,
        frozen_s: float = FROZEN_S,
        concurrency: int = 1,
    ) -> None:
        self.settings = settings
        self.queue = queue
        self.ledger: JobLedger = open_ledger(settings)
        self.ledger.deliveries.call = queue.deliver
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._ownership = Ownership(partial(verify, settings))
        self._queues = sorted(queues)
        self._concurrency = concurrency
        self._runtime = runtime
        self.fetcher: Fetcher | None = None
        self._closed = threading.Event()
        self._stamped: dict[str, float] = {}
        self._stop_at: float | None = None
        self._clock = clock
        self._frozen_s = frozen_s
        self._running = 0
        self._busy_s, self._changed_at, self._beat_at = 0.0, self._clock(), self._clock()
        self._memory_limit_bytes = read_limits().memory_bytes
        self._guard = threading.Lock()
        self._moved_at = self._clock()
        self._started_in_s: float | None = None  # until it is noted
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def runtime(self) -> Runtime:
        """The models' side. A task that needs it never reaches a process without: each kind consumes its own queues."""
        if self._runtime is None:
            raise RuntimeError("this worker process was opened without models")
        return self._runtime

    def announce(self) -> None:
        """The process consumes from now on: says so while it holds models, and watches that it is true, until `close`."""
        if self._runtime is not None:
            self._started_in_s = process_age_s()
        self._heart.start()

    @contextmanager
    def working(self, queue: str) -> Iterator[None]:
        """Around every task: stamps its queue as moving, and this process as one that takes tasks."""
        self._end_if_foreign()
        try:
            self._stamp(queue)
        except Exception:  # a stamp for health checks; the work itself finds out whether Redis is there
            log.warning("could not stamp a queue as moving", extra={"queue": queue}, exc_info=True)
        with self._guard:
            self._count_busy()
            self._running += 1
        try:
            yield
        finally:
            with self._guard:
                self._count_busy()
                self._running -= 1
                self._moved_at = self._clock()

    def _stamp(self, queue: str) -> None:
        """At most once a second: whoever reads the stamps worries after many."""
        now = time.monotonic()
        if now - self._stamped.get(queue, float("-inf")) >= STAMP_S:
            self.ledger.presence.consumed(queue)
            self._stamped[queue] = now

    def _end_if_foreign(self) -> None:
        """Started while Redis was away, only now can it be seen that its jobs are another installation's."""
        if (why := self._ownership.foreign()) is not None:
            log.critical("this worker ends: %s", why)
            os._exit(1)  # a Celery task cannot end its worker, and what waits here is for others

    def notice_erasures(self, count: int) -> None:
        """So many erasures were made so far: the models' side forgets what it kept before the last one."""
        answers = getattr(self._runtime, "answers", None)
        if answers is not None:
            answers.notice(count)

    def stalled(self, waiting: int) -> bool:
        """Whether `waiting` messages wait, and have for STALLED_S seconds, while this process does nothing."""
        with self._guard:
            if waiting == 0 or self._running:
                self._moved_at = self._clock()
            return self._clock() - self._moved_at > STALLED_S

    def busy_ratio(self) -> float:
        """Which share of this process's places was busy since the last call, 0 to 1."""
        with self._guard:
            self._count_busy()
            passed_s = self._changed_at - self._beat_at
            busy_s, self._busy_s, self._beat_at = self._busy_s, 0.0, self._changed_at
        return min(1.0, busy_s / (passed_s * self._concurrency)) if passed_s > 0 else 0.0

    def _count_busy(self) -> None:
        now = self._clock()
        self._busy_s += self._running * (now - self._changed_at)
        self._changed_at = now

    def drain(self, within_s: float) -> None:
        """The process has to stop: what runs may finish within `within_s` seconds, then it is given back."""
        self._closed.set()
        self._stop_at = self._clock() + within_s
        if self.fetcher is not None:
            self.fetcher.drain()

    def must_stop(self) -> bool:
        """Whether running work must now end at its next checkpoint."""
        return self._stop_at is not None and self._clock() > self._stop_at

    def close(self) -> None:
        """Says that this process is gone."""
        self._closed.set()
        if self.fetcher is not None:
            self.fetcher.close()
        self._say_goodbye()

    def _beat(self) -> None:
        interval_s = self.settings.worker.heartbeat_s
        while not self._closed.is_set():
            # Native code that never gives up the GIL stops this thread too. What counts here needs no GIL: if the next
            # beat does not come, it writes where every thread stands and ends the process, to be started again.
            faulthandler.dump_traceback_later(interval_s + self._frozen_s, exit=True)
            self._end_if_foreign()
            try:
                if self._runtime is not None:
                    info = {
                        "models": self._runtime.models,
                        "embedders": [
                            {"name": one.name, "digest": one.digest} for one in self._runtime.embedders.known
                        ],
                        "queues": self._queues,
                        "pid": os.getpid(),
                        "concurrency": self._concurrency,
                        "busy_ratio": self.busy_ratio(),
                        "rss_bytes": resident_bytes(),
                        "memory_limit_bytes": self._memory_limit_bytes,
                    }
                    self.ledger.presence.worker_ready(self.name, info, ttl_s=3 * interval_s)
                    self._note_start()
                    self.notice_erasures(self.ledger.erasures())
                messages = self.ledger.stats().messages
            except redis.RedisError:
                log.warning("could not reach the ledger for a heartbeat")
            except Exception:  # without this thread the process would be ended as frozen
                log.exception("a heartbeat failed")
            else:
                if self.stalled(sum(messages[queue] for queue in self._queues)):
                    # After a lost connection a Celery consumer may live and take nothing; only a new process helps.
                    log.critical("this worker takes no tasks though some wait; it ends, to be started again")
                    os._exit(1)
            self._closed.wait(interval_s)
        faulthandler.cancel_dump_traceback_later()
        # A drained process may work on for long, but takes no more: nothing may count on its places.
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        try:
            self.ledger.presence.worker_gone(self.name)
        except Exception:
            log.warning("could not say goodbye; the ledger forgets this worker by itself")

    def _note_start(self) -> None:
        """What starting one more worker costs: the scaling policy counts with it."""
        if self._started_in_s is not None:
            self.ledger.forecast.note(STARTUP, self._started_in_s)
            self.ledger.forecast.note(SLOTS, self._concurrency)
            self._started_in_s = None


_current: Process | None = None


def set_current(process: Process | None) -> None:
    """Makes `process` what this process's tasks work with."""
    global _current  # noqa: PLW0603 - see the module's docstring
    _current = process


def is_open() -> bool:
    """Whether `current` has something to give."""
    return _current is not None


def current() -> Process:
    """The open process. Raises RuntimeError outside a started worker."""
    if _current is None:
        raise RuntimeError("no worker process is open: tasks run in a worker started with `celery -A worker.app`")
    return _current
