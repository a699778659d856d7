"""One search for a gallery's items by a picture: the whole of it is embedded, and its nearest items are the answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import ServiceError
from contracts.filters import filters_of
from contracts.options import NEAREST_OPTIONS
from worker.one_network import chosen, embedded, lap, named, parts_of
from worker.photo import read_photo
from worker.recognize import used_gallery

if TYPE_CHECKING:
    from contracts.photo_results import EmbeddingResult
    from infra.jobs.records import Job
    from worker.gallery_cache import CachedGallery
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime


def nearest_items(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> EmbeddingResult:
    """The photo's embedding by the gallery's embedder, and the items nearest to it: each picture by itself, fused or not.

    Raises GalleryNotFound, VersionNotFound, EmbedderMismatch, OptionsError, and as `read_photo`, whose errors come first.
    """
    options = chosen(job, NEAREST_OPTIONS)
    started = time.perf_counter()
    cached: CachedGallery | None = None
    failure: ServiceError | None = None
    try:
        cached = runtime.galleries.current(job.request["gallery"], options["version"])
        digest = runtime.embedder_of(cached.manifest)
    except ServiceError as error:
        failure = error
    image, timings = read_photo(job, runtime, checkpoint)
    if failure is not None or cached is None:
        raise failure or RuntimeError("no gallery and no reason")
    gallery = cached.gallery.by_pictures().filtered(filters_of(job.request.get("filter", ())))
    parts, crops = parts_of(image, None)
    with runtime.programs(digest) as programs:
        began = time.perf_counter()
        (row,) = embedded(programs.embedder, crops)
        timings["embed"] = lap("embed", began)
        model, dim = named(programs.embedder), programs.embedder.dim
    checkpoint()
    began = time.perf_counter()
    found = [] if row is None else gallery.search(np.array([row], np.float32), options["limit"])[0]
    timings["search"] = lap("search", began)
    timings["total"] = round(1000 * (time.perf_counter() - started), 2)
    return {
        "image": {"width": image.shape[1], "height": image.shape[0]},
        "dim": dim,
        "embeddings": [{**parts[0], "embedding": None if row is None else [round(value, 7) for value in row]}],
        "gallery": used_gallery(cached.manifest),
        "items": [match.to_dict() for match in found],
        "models": {"embedder": model},
        "timings_ms": timings,
    }
