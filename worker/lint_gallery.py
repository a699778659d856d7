"""One lint job: a version of a gallery is checked, item by item, and what was found is kept with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.errors.galleries import GalleryBusy
from infra.galleries.findings import counted, in_order
from infra.galleries.lint import lint
from infra.galleries.lint_reports import LintReports
from infra.galleries.neighbours import search
from worker.lease_keeper import GIVES_WAY, StopWork
from worker.several_objects import find_several

if TYPE_CHECKING:
    from collections.abc import Callable

    from contracts.lint import LintResult
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

TURN_S = 2.0  # of searching between two checkpoints
KEEP_S = 20.0  # of searching that a killed worker costs at most
WAY_S = 20.0  # after which other jobs that wait come first


def lint_gallery(
    job: Job, runtime: Runtime, checkpoint: Checkpoint, waits: Callable[[], bool] = lambda: False
) -> LintResult:
    """The `result` of `job`, once what was found is kept. `waits` as in worker.import_gallery.

    Raises GalleryNotFound, VersionNotFound, StorageUnavailable, and GalleryBusy if the version was written again meanwhile.
    """
    name, version = job.request["gallery"], job.request["version"]
    manifest, items, embeddings = runtime.store.load(name, version)
    reports = LintReports(runtime.objects)
    found = reports.progress(manifest, len(items))
    labels = [item.label for item in items]
    began = kept_at = time.monotonic()
    while not found.complete:
        search(labels, embeddings, found, TURN_S)
        now = time.monotonic()
        leaves = now - began > WAY_S and not found.complete and waits()
        if leaves or (now - kept_at > KEEP_S and not found.complete):
            reports.keep_progress(manifest, found)
            kept_at = now
        checkpoint({"done": int(found.done.sum()), "total": len(items)})
        if leaves:
            raise StopWork(GIVES_WAY)
    findings = lint(name, items, embeddings, found)
    objects = bool(job.request.get("objects"))
    if objects:
        findings = in_order([*findings, *find_several(manifest, items, runtime, reports, checkpoint, waits)])
    if runtime.store.manifest(name, version) != manifest:
        raise GalleryBusy("The gallery was written again while it was checked.")
    reports.put(manifest, [one.to_dict(name) for one in findings], runtime.store.versions(name), objects=objects)
    levels, kinds = counted(findings)
    return {
        "gallery": {"name": name, "version": manifest.version, "items": manifest.item_count},
        "levels": levels,
        "kinds": kinds,
    }
