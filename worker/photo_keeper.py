"""Deletes, again and again, the photos that no job names any more. A slow or absent object store holds up nothing else.

Any number may run: each step of infra.jobs.photos is safe to do twice.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import redis

from contracts.errors import ServiceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from infra.jobs.photos import Photos
    from infra.runtime.settings import JobSettings

LONGEST_INTERVAL_S = 30.0
SEARCH_INTERVAL_S = 86_400.0  # between two readings of all that is stored
BATCH = 100

log = logging.getLogger(__name__)


class PhotoKeeper:
    """The rounds. `run` returns once `stop` is set. `allowed` raises ServiceError while nothing may be deleted yet."""

    def __init__(self, settings: JobSettings, photos: Photos, allowed: Callable[[], None] = lambda: None) -> None:
        self._interval_s = min(LONGEST_INTERVAL_S, 10 * settings.sweep_interval_s)
        self._photos = photos
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
                log.warning("photos not looked after", extra={"reason": type(error).__name__})
                self._search = None
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("photos not looked after")
                self._search = None
            if not more:
                stop.wait(self._interval_s)

    def round(self) -> bool:
        """Deletes some photos and looks at some that are stored. True if there is more to delete."""
        self._allowed()  # by the records of another installation all of ours would be unnamed
        now = time.monotonic()
        if self._search is None and now >= self._search_at:
            self._search = self._photos.stored()
        if self._search is not None and not self._photos.adopt(self._search):
            self._search, self._search_at = None, now + SEARCH_INTERVAL_S
        removed = self._photos.remove_unnamed(BATCH)
        if removed:
            log.info("photos deleted", extra={"count": removed})
        return removed >= BATCH
