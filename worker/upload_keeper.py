"""Deletes, again and again, what was uploaded by links and can't be named any more. Any number may run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import redis

from contracts.errors import ServiceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from infra.jobs.uploads import Uploads

INTERVAL_S = 30.0
SEARCH_INTERVAL_S = 86_400.0  # between two readings of all that is stored
BATCH = 100

log = logging.getLogger(__name__)


class UploadKeeper:
    """The rounds. `run` returns once `stop` is set. `allowed` raises ServiceError while nothing may be deleted yet."""

    def __init__(self, uploads: Uploads, allowed: Callable[[], None] = lambda: None) -> None:
        self._uploads = uploads
        self._allowed = allowed
        self._search: Iterator[str] | None = None
        self._search_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """A round every some seconds, at once again while there is more to delete."""
        while not stop.is_set():
            more = False
            try:
                more = self.round()
            except (redis.RedisError, ServiceError) as error:
                log.warning("uploads not looked after", extra={"reason": type(error).__name__})
                self._search = None
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("uploads not looked after")
                self._search = None
            if not more:
                stop.wait(INTERVAL_S)

    def round(self) -> bool:
        """Deletes some, and looks at some that are stored. True if there is more to delete."""
        self._allowed()
        now = time.monotonic()
        if self._search is None and now >= self._search_at:
            self._search = self._uploads.stored()
        if self._search is not None and not self._uploads.remove_stray(self._search):
            self._search, self._search_at = None, now + SEARCH_INTERVAL_S
        removed = self._uploads.remove_expired(BATCH)
        if removed:
            log.info("uploads expired", extra={"count": removed})
        return removed >= BATCH
