"""Deletes, again and again, what nobody can name any more: uploads by links, and results of jobs that are gone. Any number may run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

import redis

from contracts.errors import ServiceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

INTERVAL_S = 30.0
SEARCH_INTERVAL_S = 86_400.0  # between two readings of all that is stored
BATCH = 100

log = logging.getLogger(__name__)


class Leftovers(Protocol):
    """What is looked after: infra.jobs.uploads.Uploads, infra.jobs.results.Results."""

    def stored(self) -> Iterator[str]:
        """The keys of all that is stored."""

    def remove_stray(self, stored: Iterator[str], limit: int = 500) -> bool:
        """Deletes some of them that nothing knows; False when there are no more."""

    def remove_expired(self, limit: int = 100) -> int:
        """Deletes what is due; how many."""


class UploadKeeper:
    """The rounds. `run` returns once `stop` is set. `allowed` raises ServiceError while nothing may be deleted yet."""

    def __init__(self, kept: Leftovers, allowed: Callable[[], None] = lambda: None, what: str = "uploads") -> None:
        self._kept = kept
        self._what = what
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
                log.warning("%s not looked after", self._what, extra={"reason": type(error).__name__})
                self._search = None
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("%s not looked after", self._what)
                self._search = None
            if not more:
                stop.wait(INTERVAL_S)

    def round(self) -> bool:
        """Deletes some, and looks at some that are stored. True if there is more to delete."""
        self._allowed()
        now = time.monotonic()
        if self._search is None and now >= self._search_at:
            self._search = self._kept.stored()
        if self._search is not None and not self._kept.remove_stray(self._search):
            self._search, self._search_at = None, now + SEARCH_INTERVAL_S
        removed = self._kept.remove_expired(BATCH)
        if removed:
            log.info("%s expired", self._what, extra={"count": removed})
        return removed >= BATCH
