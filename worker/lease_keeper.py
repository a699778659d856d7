"""Keeps a job's lease alive from a thread, and stops the work when it must.

A job may run longer than its lease. The thread renews the lease every third of it; the work asks `checkpoint` between
its stages. Renewal is refused when another worker took the job over or when its owner wants it canceled: either way
the work must stop and publish nothing. Work that hangs asks no more, and a lease renewed for it would hold its job for
ever: after a while without a checkpoint the lease is left to lapse, and the job is tried again or fails as poisoned.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

import redis

from infra.jobs.records import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Lease

STUCK_S = 300.0  # no stage takes so long: not even the largest photo's, nor a large gallery's first load

log = logging.getLogger(__name__)


class StopWork(Exception):  # noqa: N818 - not an error: the work is to end early
    """The work must end now without a result, because `reason` says so."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Checkpoint(Protocol):
    """What work calls between its stages: LeaseKeeper.checkpoint."""

    def __call__(self, progress: dict[str, Any] | None = None) -> None: ...


LOST = str(Renewal.LOST)
CANCEL_REQUESTED = str(Renewal.CANCEL_REQUESTED)
SHUTTING_DOWN = "shutting_down"
GIVES_WAY = "gives_way"  # a long job to quicker ones that wait: it is queued again after them


class LeaseKeeper:
    """A context manager that renews `lease` until it is left. `lease_s` is the lease's length in seconds;
    `shutting_down` says whether the process may not work on any longer; `stuck_s` is the longest time between two
    checkpoints.
    """

    def __init__(
        self,
        ledger: JobLedger,
        lease: Lease,
        lease_s: float,
        shutting_down: Callable[[], bool],
        stuck_s: float = STUCK_S,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._lease_s = lease_s
        self._shutting_down = shutting_down
        self._stuck_s = stuck_s
        self._moved_at = time.monotonic()
        self._progress: dict[str, Any] | None = None
        self._left = threading.Event()
        self._refused: str | None = None
        self._thread = threading.Thread(target=self._renew_until_left, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def checkpoint(self, progress: dict[str, Any] | None = None) -> None:
        """Raises StopWork if the work must end. New `progress` is written at once, which renews the lease at once too."""
        self._moved_at = time.monotonic()
        if progress is not None and progress != self._progress:
            self._progress = progress
            self._renew()
        if self._refused is not None:
            raise StopWork(self._refused)
        if self._shutting_down():
            raise StopWork(SHUTTING_DOWN)

    def _renew_until_left(self) -> None:
        renewed_at = time.monotonic()
        while self._refused is None and not self._left.wait(self._lease_s / 3):
            if time.monotonic() - self._moved_at > self._stuck_s:
                log.error("a job hangs; its lease is given up", extra={"job_id": self._lease.job_id})
                self._refused = LOST
            elif self._renew():
                renewed_at = time.monotonic()
            elif time.monotonic() - renewed_at > self._lease_s:
                self._refused = self._refused or LOST

    def _renew(self) -> bool:
        """Whether the lease was renewed. An unreachable ledger refuses nothing: the lease holds until it runs out."""
        try:
            renewal = self._ledger.renew(self._lease, self._progress)
        except redis.RedisError:
            log.warning("could not renew a lease", extra={"job_id": self._lease.job_id})
            return False
        except Exception:  # the thread must not end: the lease runs out by itself if this stays so
            log.exception("could not renew a lease", extra={"job_id": self._lease.job_id})
            return False
        if not renewal:
            self._refused = str(renewal)
        return bool(renewal)
