"""A job's photo, from the store to pixels, and how long that took: the beginning of every job about one photo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from models.pictures.image import decode
from worker.previews import keep_preview

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime


def read_photo(
    job: Job, runtime: Runtime, checkpoint: Checkpoint, *, colour_managed: bool = True
) -> tuple[NDArray[np.uint8], dict[str, float]]:
    """The photo (H, W, 3), and the times of its waiting, fetching and decoding in milliseconds.

    Raises ImageError for a picture that does not decode, ObjectNotFound for one that is gone, StorageUnavailable.
    """
    key = job.request["image"]["key"]
    limits = runtime.settings.images
    started = time.perf_counter()
    image_bytes = runtime.objects.get(key)
    fetched = time.perf_counter()
    checkpoint()
    image = decode(
        image_bytes, max_pixels=limits.max_pixels, min_side_px=limits.min_side_px, colour_managed=colour_managed
    )
    decoded = time.perf_counter()
    keep_preview(runtime.objects, key, image_bytes, image)
    checkpoint()
    fetch_ms, decode_ms = 1000 * (fetched - started), 1000 * (decoded - fetched)
    return image, {**waited_ms(job), "fetch": round(fetch_ms, 2), "decode": round(decode_ms, 2)}


def reread(job: Job, runtime: Runtime, *, colour_managed: bool = True) -> NDArray[np.uint8]:
    """The photo's pixels once more, for a job that began without them. Raises as `read_photo`."""
    limits = runtime.settings.images
    return decode(
        runtime.objects.get(job.request["image"]["key"]),
        max_pixels=limits.max_pixels,
        min_side_px=limits.min_side_px,
        colour_managed=colour_managed,
    )


def waited_ms(job: Job) -> dict[str, float]:
    """What came before the work: the `queue` until this attempt began, and of a photo by URL its `download`."""
    since = job.created_at if job.fetched_at is None else job.fetched_at
    waited = {} if job.fetched_at is None else {"download": round(1000 * (job.fetched_at - job.created_at), 2)}
    if job.started_at is not None:
        waited["queue"] = round(1000 * max(0.0, job.started_at - since), 2)
    return waited
