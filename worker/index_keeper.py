"""Has the indexes built that large galleries lack, one gallery at a time, in a process of its own (worker.index_builder)."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from contracts.errors import ServiceError
from infra.errors.galleries import GalleryNotFound
from infra.galleries.milvus_tidy import look_after
from worker.index_builder import missing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from infra.galleries.store import GalleryStore
    from infra.runtime.settings import Settings

LONGEST_INTERVAL_S = 30.0
POLL_S = 0.2
RESTED_S = 600.0  # after a builder that failed, until the same gallery is tried again
STOP_S = 5.0
TIDIED_S = 600.0

log = logging.getLogger(__name__)


class IndexKeeper:
    """The rounds. `run` returns once `stop` is set. Any number may run: what two build is the same twice, and one alone fills a server."""

    def __init__(self, settings: Settings, store: GalleryStore, allowed: Callable[[], None] = lambda: None) -> None:
        self._interval_s = min(LONGEST_INTERVAL_S, 10 * settings.jobs.sweep_interval_s)
        self._store = store
        self._allowed = allowed
        self._tidy_at = 0.0
        self._resting: dict[str, float] = {}  # by gallery, until when

    def run(self, stop: threading.Event) -> None:
        """A round every some seconds."""
        while not stop.is_set():
            try:
                self.round(stop)
                self.tidy()
            except (ServiceError, OSError) as error:
                log.warning("indexes not looked after", extra={"reason": type(error).__name__})
            except Exception:  # what one round stumbles over must not end all later ones
                log.exception("indexes not looked after")
            stop.wait(self._interval_s)

    def round(self, stop: threading.Event) -> None:
        """Has built what is missing. A gallery that can't be read keeps no other from its own."""
        self._allowed()
        for name in self._store.names():
            if stop.is_set():
                return
            if self._resting.get(name, 0.0) > time.monotonic():
                continue
            try:
                if not missing(self._store, self._store.manifest(name)):
                    continue
            except GalleryNotFound:  # deleted in this moment
                continue
            except ServiceError as error:
                log.warning("an index not looked after", extra={"gallery": name, "why": error.detail})
                continue
            if not self._built(name, stop) and not stop.is_set():
                self._resting[name] = time.monotonic() + RESTED_S

    def tidy(self) -> None:
        """Removes from Milvus what no gallery needs, every TIDIED_S. Raises MilvusUnavailable, StorageUnavailable."""
        if self._store.milvus is None or time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDIED_S
        gone = look_after(self._store, self._store.milvus)
        if gone:
            log.info("rows of no gallery removed from Milvus", extra={"count": gone})

    def _built(self, name: str, stop: threading.Event) -> bool:
        """Whether a builder did its work."""
        builder = subprocess.Popen([sys.executable, "-P", "-m", "worker.index_builder", name])
        try:
            while builder.poll() is None and not stop.wait(POLL_S):
                pass
        finally:
            if builder.poll() is None:
                builder.terminate()
                try:
                    builder.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    builder.kill()
                    builder.wait()
        if builder.returncode:
            log.warning("an index was not built", extra={"gallery": name, "status": builder.returncode})
        return builder.returncode == 0
