"""One recognition job: the stored photo and the gallery's current version in, the job's `result` out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.runtime import tracing
from infra.runtime.telemetry import STAGES
from models.options import RecognizeOptions
from models.pictures.image import decode
from models.recognition.paddleclas import to_paddleclas
from worker.previews import keep_preview

if TYPE_CHECKING:
    from contracts.results import RecognitionResult
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
    current = runtime.galleries.current(request["gallery"])
    runtime.require_same_model(current.manifest)
    with runtime.programs() as programs:
        begun = time.perf_counter()
        found = programs.recognizer(image, current.gallery, options, checkpoint)
    answer = found.to_dict()
    timings = {
        "fetch": round(1000 * (fetched - started), 2),
        "decode": round(1000 * (decoded - fetched), 2),
        **answer["timings_ms"],
        "total": round(1000 * (time.perf_counter() - started), 2),
    }
    for stage, took_ms in timings.items():
        if stage != "total":
            STAGES.labels(stage).observe(took_ms / 1000)
    tracing.record_stages({"fetch": timings["fetch"], "decode": timings["decode"]}, started)
    tracing.record_stages({name: ms for name, ms in answer["timings_ms"].items() if name != "total"}, begun)
    result: RecognitionResult = {
        "image": answer["image"],
        "recognitions": answer["recognitions"],
        "dropped": answer["dropped"],
        "reason": answer["reason"],
        "decision": answer["decision"],
        "gallery": {
            "name": current.manifest.name,
            "version": current.manifest.version,
            "items": current.manifest.item_count,
        },
        "models": runtime.models,
        "timings_ms": timings,
    }
    if options.compat == "paddleclas":
        result["paddleclas"] = to_paddleclas(found)
    return result
