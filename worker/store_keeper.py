"""Deletes, again and again, what no job or request can name any more: photos, uploads by links, and results.

Each kind has a keeper of its own, so a slow or absent object store holds up nothing else. Any number may run: each step
of what they look after is safe to do twice.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

import redis

from contracts.errors import ServiceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

LONGEST_INTERVAL_S = 30.0
SEARCH_INTERVAL_S = 86_400.0  # between two readings of all that is stored
BATCH = 100

log = logging.getLogger(__name__)


class Kept(Protocol):
    """What is looked after: infra.jobs.photos.Photos, infra.jobs.uploads.Uploads, infra.jobs.results.Results."""

    def stored(self) -> Iterator[str]:
        """The keys of all that is stored."""

    def check_stored(self, stored: Iterator[str], limit: int = 500) -> bool:
        """Of the next `limit` of them, deletes or marks those that nothing knows; False when there are no more."""

    def remove_due(self, limit: int = 100) -> int:
        """Deletes what is due; how many."""


class StoreKeeper:
    """The rounds over one kind, `what`. `run` returns once `stop` is set. `allowed` raises ServiceError while nothing may be deleted yet."""

    def __init__(
        self, kept: Kept, what: str, allowed: Callable[[], None] = lambda: None, interval_s: float = LONGEST_INTERVAL_S
    ) -> None:
        self._kept = kept
        self._what = what
        self._allowed = allowed
        self._interval_s = min(LONGEST_INTERVAL_S, interval_s)
        self._search: Iterator[str] | None = None
        self._search_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """A round every some seconds, at once again while there is more to delete."""
        while not stop.is_set():
            more = False
            try:
                more = self.round()
            except (redis.RedisError, ServiceError) as error:
                log.warning("%s not looked after", self._what, extra={"reason": type(error).__name__})
                self._search = None
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("%s not looked after", self._what)
                self._search = None
            if not more:
                stop.wait(self._interval_s)

    def round(self) -> bool:
        """Deletes some, and looks at some that are stored. True if there is more to delete."""
        self._allowed()  # by the records of another installation all of ours would be unknown
        now = time.monotonic()
        if self._search is None and now >= self._search_at:
            self._search = self._kept.stored()
        if self._search is not None and not self._kept.check_stored(self._search):
            self._search, self._search_at = None, now + SEARCH_INTERVAL_S
        removed = self._kept.remove_due(BATCH)
        if removed:
            log.info("%s deleted", self._what, extra={"count": removed})
        return removed >= BATCH
