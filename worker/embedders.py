"""The embedders of a worker process other than its default one: loaded when a gallery needs them, within a memory budget.

A program must be used by one thread at a time, so that several threads may hold several copies of one embedder. All
copies together take at most the budget; for another one the copy that was used longest ago goes, and where all are in
use the thread waits. A single embedder may be larger than the budget: it is loaded alone.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.embedder import Embedder, identity_of
from worker.model_folders import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from infra.runtime.settings import WorkerSettings

MEGABYTE = 1 << 20
# A copy takes about so much and the size of its files times that. Measured with OpenVINO on networks of 8, 19 and 34 MB:
# 46, 47 and 77 MB.
COPY_BYTES, COPY_RATIO = 34 * 1000 * 1000, 1.5

log = logging.getLogger("shitu.worker")


@dataclass(frozen=True)
class Known:
    """An embedder that can be loaded: its `name` and `digest`, its folder, and about how many bytes a copy takes.

    `setting` is what the settings call it, a folder perhaps.
    """

    name: str
    digest: str
    setting: str
    folder: Path
    size_bytes: int


class Embedders:
    """May be used by many threads. A thread holds one embedder of this at a time, or they might wait for each other."""

    def __init__(
        self, known: Sequence[Known] = (), limit_bytes: int = 0, load: Callable[[Known], Embedder] | None = None
    ) -> None:
        self._known = {one.digest: one for one in known}
        self._limit_bytes, self._load = limit_bytes, load
        self._idle: list[tuple[Known, Embedder]] = []  # the one used longest ago first
        self._size_bytes = 0  # of all copies, the ones in use and those being loaded too
        self._changed = threading.Condition()

    @property
    def known(self) -> tuple[Known, ...]:
        """All that can be loaded."""
        return tuple(self._known.values())

    @property
    def size_bytes(self) -> int:
        """About how many bytes the loaded copies take."""
        with self._changed:
            return self._size_bytes

    def digest_of(self, name: str) -> str | None:
        """The digest of the embedder of this name, folder or digest; None: there is none."""
        return next((one.digest for one in self._known.values() if name in (one.name, one.digest, one.setting)), None)

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    @contextmanager
    def borrowed(self, digest: str) -> Iterator[Embedder]:
        """A copy for the calling thread alone. Raises KeyError for a digest that is not known, ArtifactError, EngineError."""
        one = self._known[digest]
        embedder = self._taken(one)
        try:
            yield embedder
        finally:
            with self._changed:
                self._idle.append((one, embedder))
                self._changed.notify_all()

    def _taken(self, one: Known) -> Embedder:
        with self._changed:
            while True:
                for place in range(len(self._idle) - 1, -1, -1):
                    if self._idle[place][0] is one:
                        return self._idle.pop(place)[1]
                if self._has_room(one.size_bytes):
                    self._size_bytes += one.size_bytes
                    break
                self._changed.wait()
        began = time.perf_counter()
        try:
            if self._load is None:
                raise RuntimeError("there is nothing that loads embedders")
            embedder = self._load(one)
        except BaseException:
            with self._changed:
                self._size_bytes -= one.size_bytes
                self._changed.notify_all()
            raise
        log.info("embedder %s is loaded: %.0f ms", one.name, 1000 * (time.perf_counter() - began))
        return embedder

    def _has_room(self, size_bytes: int) -> bool:
        """Whether so much more fits, once the copies that nobody uses had to go."""
        while self._size_bytes and self._size_bytes + size_bytes > self._limit_bytes:
            if not self._idle:
                return False
            gone, _ = self._idle.pop(0)
            self._size_bytes -= gone.size_bytes
            log.info("embedder %s leaves the memory for another", gone.name)
        return True


def open_embedders(worker: WorkerSettings, default_digest: str) -> Embedders:
    """The embedders that the settings name as further ones. Official ones are pulled where they are not here yet.

    None is loaded. Raises ArtifactError and EngineError for one that is missing or not made for the precision.
    """
    found = []
    for name in worker.embedders:
        folder = folder_of(name)
        identity = identity_of(folder, worker.engine, worker.precision)
        size_bytes = COPY_BYTES + round(COPY_RATIO * sum(file.stat().st_size for file in identity.files))
        if identity.digest != default_digest:
            found.append(Known(identity.name, identity.digest, name, folder, size_bytes))

    def load(one: Known) -> Embedder:
        return Embedder(one.folder, worker.engine, worker.threads, worker.precision)

    return Embedders(found, worker.embedders_mb * MEGABYTE, load)
