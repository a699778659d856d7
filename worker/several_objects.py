"""The part of a lint job that looks at the pictures: by the detector, one after the other, to be gone on with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.errors.jobs import ModelNotConfigured
from infra.errors.photos import ObjectNotFound
from infra.galleries.findings import several_objects
from models.errors import ImageError
from models.pictures.image import crop, decode
from models.recognition.several_objects import separate_objects
from worker.lease_keeper import GIVES_WAY, StopWork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.galleries.findings import Finding
    from infra.galleries.lint_reports import LintReports
    from infra.galleries.store import GalleryManifest, Item
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

KEEP_S = 20.0  # of looking that a killed worker costs at most
WAY_S = 20.0  # after which other jobs that wait come first


def find_several(
    manifest: GalleryManifest,
    items: Sequence[Item],
    runtime: Runtime,
    reports: LintReports,
    checkpoint: Checkpoint,
    waits: Callable[[], bool],
) -> list[Finding]:
    """The items whose pictures show several objects, once what was found is kept; which pictures could not be read, too.

    Raises ModelNotConfigured for a worker without a detector, StorageUnavailable.
    """
    counts = reports.counted_objects(manifest)
    began = kept_at = time.monotonic()
    for item in items:
        if item.id in counts:
            continue
        counts[item.id] = _count(item, runtime)
        now = time.monotonic()
        leaves = now - began > WAY_S and waits()
        if leaves or now - kept_at > KEEP_S:
            reports.keep_objects(manifest, counts)
            kept_at = now
        checkpoint({"done": len(counts), "total": len(items)})
        if leaves:
            raise StopWork(GIVES_WAY)
    reports.keep_objects(manifest, counts)
    return [several_objects(manifest.name, item, count) for item in items if (count := counts[item.id] or 0) > 1]


def _count(item: Item, runtime: Runtime) -> int | None:
    """How many objects the item's part of its picture shows; None: the picture is not there, or cannot be read."""
    limits = runtime.settings.images
    try:
        data = runtime.objects.get(item.image_key)
        picture = decode(data, max_pixels=limits.max_pixels, min_side_px=limits.min_side_px)
    except (ObjectNotFound, ImageError):
        return None
    part = picture if item.box is None else crop(picture, item.box)
    with runtime.programs() as programs:
        if programs.detector is None:
            raise ModelNotConfigured("This service runs without a detector: SHITU_WORKER__DETECTOR is none.")
        return len(separate_objects(programs.detector(part), part.shape[0] * part.shape[1]))
