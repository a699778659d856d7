"""One recognition job: the stored photo and the gallery's current version in, the job's `result` out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contracts.comparisons import difference
from contracts.filters import filters_of
from infra.runtime import tracing
from infra.runtime.telemetry import STAGES
from models.options import RecognizeOptions
from models.recognition.paddleclas import to_paddleclas
from worker.photo import read_photo, waited_ms

if TYPE_CHECKING:
    from contracts.results import RecognitionResult
    from contracts.usage import GalleryUsed
    from infra.galleries.store import GalleryManifest
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime


def recognize(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> RecognitionResult:
    """The `result` of `job`; `checkpoint` is called between the stages and raises when the work must stop.

    Raises ImageError for a picture that does not decode, ObjectNotFound for one that is gone, GalleryNotFound for a
    gallery deleted meanwhile, VersionNotFound for a version, EmbedderMismatch for one that another model made, StorageUnavailable.
    """
    request = job.request
    options = RecognizeOptions.from_dict(request.get("options", {}))
    started = time.perf_counter()
    image, timings = read_photo(job, runtime, checkpoint, colour_managed=options.compat is None)
    names, version = request.get("galleries") or [request["gallery"]], request.get("version")
    several = [runtime.galleries.current(name, version) for name in names]
    for one in several:
        runtime.require_same_model(one.manifest)
    current = several[0] if len(several) == 1 else runtime.galleries.joined(several)
    searched = current.gallery.filtered(filters_of(request.get("filter", ())))
    used = [used_gallery(one.manifest) for one in several]
    with runtime.programs() as programs:
        begun = time.perf_counter()
        found = programs.recognizer(image, searched, options, checkpoint)
    answer = found.to_dict()
    timings |= {**answer["timings_ms"], "total": round(1000 * (time.perf_counter() - started), 2)}
    for stage, took_ms in timings.items():
        if stage not in {"total", *waited_ms(job)}:  # waiting has metrics of its own
            STAGES.labels(stage).observe(took_ms / 1000)
    tracing.record_stages({name: timings[name] for name in ("fetch", "decode")}, started)
    tracing.record_stages({name: ms for name, ms in answer["timings_ms"].items() if name != "total"}, begun)
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
    if "compared" in request:
        result["difference"] = difference(request["compared"], result)
    if "trace" in answer:
        result["trace"] = answer["trace"]
    if options.compat == "paddleclas":
        result["paddleclas"] = to_paddleclas(found)
    return result


def used_gallery(manifest: GalleryManifest) -> GalleryUsed:
    """Which version was searched."""
    return {"name": manifest.name, "version": manifest.version, "items": manifest.item_count}
