"""Purges galleries that were deleted long enough ago, and finishes erasures. A slow object store holds up nothing else.

Any number may run: each step is safe to do twice.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import redis

from contracts.errors import ServiceError
from infra.erasure.eraser import Eraser
from infra.errors.galleries import MilvusUnavailable
from infra.galleries.deleted import purge_due
from worker.imports.leftovers import clear_imports

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from infra.galleries.store import GalleryStore
    from infra.jobs.ledger import JobLedger
    from infra.runtime.settings import Settings

LONGEST_INTERVAL_S = 30.0

log = logging.getLogger(__name__)


class GalleryKeeper:
    """The rounds. `run` returns once `stop` is set. `allowed` raises ServiceError while nothing may be deleted yet."""

    def __init__(
        self,
        settings: Settings,
        store: GalleryStore,
        client: redis.Redis,
        ledger: JobLedger,
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        self._interval_s = min(LONGEST_INTERVAL_S, 10 * settings.jobs.sweep_interval_s)
        self._keep_s = settings.galleries.keep_deleted_s
        self._store = store
        self._time = ledger.time
        self._ledger = ledger
        self._eraser = Eraser(store, client, ledger, settings.galleries.picture_grace_s, settings.jobs.tombstone_s)
        self._allowed = allowed

    def run(self, stop: threading.Event) -> None:
        """A round every some seconds."""
        while not stop.is_set():
            try:
                self.round()
            except (redis.RedisError, ServiceError) as error:
                log.warning("deleted galleries not looked after", extra={"reason": type(error).__name__})
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("deleted galleries not looked after")
            stop.wait(self._interval_s)

    def round(self) -> None:
        """Purges what is due, and erases what is left to erase, the pictures of what was purged too."""
        self._allowed()
        away: MilvusUnavailable | None = None
        try:
            purged = purge_due(self._store, self._keep_s, self._time(), self._eraser.before_purge)
            if purged:
                log.info("galleries purged", extra={"count": purged})
        except MilvusUnavailable as error:  # what has nothing to do with it is done all the same
            away = error
        cleared = clear_imports(self._store.objects, self._ledger)
        if cleared:
            log.info("files of ended imports removed", extra={"count": cleared})
        finished = self._eraser.finish_left()
        if finished:
            log.info("erasures finished", extra={"count": finished})
        if away is not None:
            raise away
