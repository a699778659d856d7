"""Purges, again and again, the galleries that were deleted long enough ago. A slow object store holds up nothing else.

Any number may run: each step is safe to do twice.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import redis

from infra.errors import ServiceError
from infra.galleries.deleted import purge_due

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from infra.galleries.store import GalleryStore
    from infra.runtime.settings import Settings

LONGEST_INTERVAL_S = 30.0

log = logging.getLogger(__name__)


class GalleryKeeper:
    """The rounds. `run` returns once `stop` is set. `time` gives the ledger's seconds since 1970.

    `allowed` raises ServiceError while nothing may be deleted yet.
    """

    def __init__(
        self,
        settings: Settings,
        store: GalleryStore,
        time: Callable[[], float],
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        self._interval_s = min(LONGEST_INTERVAL_S, 10 * settings.jobs.sweep_interval_s)
        self._keep_s = settings.galleries.keep_deleted_s
        self._store = store
        self._time = time
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
        """Purges what is due."""
        self._allowed()
        purged = purge_due(self._store, self._keep_s, self._time())
        if purged:
            log.info("galleries purged", extra={"count": purged})
