"""How many vectors each gallery has and which version is in force, for Prometheus: the largest galleries by name.

Read from the store, which on S3 takes a request or two for each gallery. So it is read beside the scrapes, now and then;
a scrape tells what was read last.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.errors.galleries import GalleryNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.galleries.reader import GalleryReader

NAMED = 100  # galleries that have series of their own; the others are reported together
OTHER = "_other"  # no gallery's name: those begin with a letter or a digit
REFRESH_S = 30.0
PATIENCE_S = 1.0  # that a scrape waits for a reading which it began

log = logging.getLogger(__name__)


class GalleryCollector(Collector):
    """Metrics of the galleries in `store`, read at most every `refresh_s` seconds."""

    def __init__(self, store: GalleryReader, refresh_s: float = REFRESH_S, patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self._patience_s = patience_s
        self._guard = threading.Lock()
        self._reading: threading.Thread | None = None
        self._read_at: float | None = None
        self._found: dict[str, tuple[int, int]] = {}  # name: version, vectors

    def collect(self) -> Iterator[Metric]:
        """What was read last; nothing in a gallery's place that could not be read."""
        self._refresh()
        largest = sorted(self._found.items(), key=lambda entry: (-entry[1][1], entry[0]))
        vectors = GaugeMetricFamily(
            "shitu_index_vectors", "Vectors of a gallery's current version.", labels=["gallery"]
        )
        info = GaugeMetricFamily(
            "shitu_index_version_info", "Always 1: which version is in force.", labels=["gallery", "version"]
        )
        for name, (version, count) in largest[:NAMED]:
            vectors.add_metric([name], count)
            info.add_metric([name, str(version)], 1)
        if others := largest[NAMED:]:
            vectors.add_metric([OTHER], sum(count for _, (_, count) in others))
        yield vectors
        yield info

    def _refresh(self) -> None:
        with self._guard:
            old = self._read_at is None or time.monotonic() - self._read_at >= self._refresh_s
            if self._reading is None and old:
                self._reading = threading.Thread(target=self._read, name="gallery-metrics", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(self._patience_s)

    def _read(self) -> None:
        found: dict[str, tuple[int, int]] = {}
        try:
            for name in self._store.names():
                try:
                    manifest = self._store.manifest(name)
                except GalleryNotFound:  # deleted meanwhile
                    continue
                found[name] = (manifest.version, manifest.item_count)
            self._found = found
        except Exception:  # a store that fails is told by readiness; metrics go on with what was read last
            log.warning("the galleries could not be counted", exc_info=True)
        finally:
            with self._guard:
                self._reading, self._read_at = None, time.monotonic()
