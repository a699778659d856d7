"""Looks galleries through, a share of the time at each request, and remembers what was found of the versions asked last.

Every item of a gallery is compared with all others: seconds for 10,000 of them, minutes for 100,000. A request does what it
can within SECONDS, the next one goes on, and a version that was searched whole is answered at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from infra.errors.galleries import GalleryBusy
from infra.galleries.lint import lint
from infra.galleries.neighbours import Found, search

if TYPE_CHECKING:
    from infra.galleries.findings import Finding
    from infra.galleries.store import GalleryManifest, GalleryStore

T = TypeVar("T")

SECONDS = 10.0  # of searching in one request
PATIENCE_S = 15.0  # with other requests that are searching: one does at a time, with all the cores that it may have
KEPT = 4  # versions; some 5 MB each for 100,000 items


@dataclass(frozen=True)
class Report:
    """What was found of a version, the worst first, when so many of its items had been compared with the others."""

    checked: int
    complete: bool
    findings: list[Finding]


class Linter:
    """May be used by many threads."""

    def __init__(self, store: GalleryStore, seconds: float = SECONDS) -> None:
        self._store, self._seconds = store, seconds
        self._found: OrderedDict[GalleryManifest, Found] = OrderedDict()
        self._reports: OrderedDict[GalleryManifest, Report] = OrderedDict()  # of those that were searched whole
        self._searching = threading.Lock()

    def report(self, manifest: GalleryManifest) -> Report:
        """Raises GalleryBusy while others are searching, and GalleryNotFound, VersionNotFound if it has just gone."""
        known = self._reports.get(manifest)
        if known is not None:
            return known
        if not self._searching.acquire(timeout=PATIENCE_S):
            raise GalleryBusy("Galleries are being looked through for others; ask again.")
        try:
            return self._reports.get(manifest) or self._searched(manifest)
        finally:
            self._searching.release()

    def _searched(self, manifest: GalleryManifest) -> Report:
        _, items, embeddings = self._store.load(manifest.name, manifest.version)
        found = self._found.get(manifest) or Found.nothing(len(items))
        search([item.label for item in items], embeddings, found, self._seconds)
        report = Report(int(found.done.sum()), found.complete, lint(manifest.name, items, embeddings, found))
        self._found.pop(manifest, None)
        if found.complete:
            _keep(self._reports, manifest, report)
        else:
            _keep(self._found, manifest, found)
        return report


def _keep(kept: OrderedDict[GalleryManifest, T], manifest: GalleryManifest, value: T) -> None:
    kept[manifest] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
