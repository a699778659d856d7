"""One recognition job: the stored photo and the gallery's current version in, the job's `result` out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.runtime.telemetry import STAGES
from models.options import RecognizeOptions
from models.pictures.image import decode
from models.recognition.paddleclas import to_paddleclas
from worker.previews import keep_preview

if TYPE_CHECKING:
    from contracts.results import GalleryUsed, RecognitionResult
    from infra.galleries.store import GalleryManifest
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime


def recognize(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> RecognitionResult:
    """The `result` of `job`; `checkpoint` is called between the stages and raises when the work must stop.

    Raises ImageError for a picture that does not decode, ObjectNotFound for one that is gone, GalleryNotFound for a
    gallery deleted meanwhile, EmbedderMismatch for one that another model made, StorageUnavailable.
    """
    request = job.request
    options = RecognizeOptions.from_dict(request.get("options", {}))
    started = time.perf_counter()
    image_bytes = runtime.objects.get(request["image"]["key"])
    fetched = time.perf_counter()
    checkpoint()
    image = decode(
        image_bytes,
        max_pixels=runtime.settings.images.max_pixels,
        min_side_px=runtime.settings.images.min_side_px,
        colour_managed=options.compat is None,
    )
    decoded = time.perf_counter()
    keep_preview(runtime.objects, request["image"]["key"], image_bytes, image)
    checkpoint()
    several = [runtime.galleries.current(name) for name in request.get("galleries") or [request["gallery"]]]
    for one in several:
        runtime.require_same_model(one.manifest)
    current = several[0] if len(several) == 1 else runtime.galleries.joined(several)
    used = [used_gallery(one.manifest) for one in several]
    with runtime.programs() as programs:
        found = programs.recognizer(image, current.gallery, options, checkpoint)
    answer = found.to_dict()
    timings = {
        **waited_ms(job),
        "fetch": round(1000 * (fetched - started), 2),
        "decode": round(1000 * (decoded - fetched), 2),
        **answer["timings_ms"],
        "total": round(1000 * (time.perf_counter() - started), 2),
    }
    for stage, took_ms in timings.items():
        if stage not in {"total", *waited_ms(job)}:  # waiting has metrics of its own
            STAGES.labels(stage).observe(took_ms / 1000)
    result: RecognitionResult = {
        "image": answer["image"],
        "recognitions": answer["recognitions"],
        "dropped": answer["dropped"],
        "reason": answer["reason"],
        "decision": answer["decision"],
        "gallery": used[0],
        "models": runtime.models,
        "timings_ms": timings,
    }
    if len(used) > 1:
        result["galleries"] = used
    if "trace" in answer:
        result["trace"] = answer["trace"]
    if options.compat == "paddleclas":
        result["paddleclas"] = to_paddleclas(found)
    return result


def used_gallery(manifest: GalleryManifest) -> GalleryUsed:
    """Which version was searched."""
    return {"name": manifest.name, "version": manifest.version, "items": manifest.item_count}


def waited_ms(job: Job) -> dict[str, float]:
    """What came before the work: the `queue` until this attempt began, and of a photo by URL its `download`."""
    since = job.created_at if job.fetched_at is None else job.fetched_at
    waited = {} if job.fetched_at is None else {"download": round(1000 * (job.fetched_at - job.created_at), 2)}
    if job.started_at is not None:
        waited["queue"] = round(1000 * max(0.0, job.started_at - since), 2)
    return waited
