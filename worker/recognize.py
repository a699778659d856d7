"""One recognition job: the stored photo and the gallery's current version in, the job's `result` out."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from contracts.comparisons import difference
from contracts.errors import ServiceError
from contracts.filters import filters_of
from infra.runtime import tracing
from infra.runtime.telemetry import BATCH_SIZE, STAGES
from models.options import RecognizeOptions
from models.recognition.paddleclas import to_paddleclas
from worker.answer_cache import answer_key, sight_key
from worker.photo import read_photo, reread, waited_ms

if TYPE_CHECKING:
    from contracts.results import RecognitionResult
    from contracts.usage import GalleryUsed
    from infra.galleries.store import GalleryManifest
    from infra.jobs.records import Job
    from worker.gallery_cache import CachedGallery
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime


def recognize(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> RecognitionResult:
    """The `result` of `job`; `checkpoint` is called between the stages and raises when the work must stop.

    Raises ImageError for a picture that does not decode, ObjectNotFound for one that is gone, GalleryNotFound for a
    gallery deleted meanwhile, VersionNotFound for a version, EmbedderMismatch for one that another model made, StorageUnavailable.
    """
    request = job.request
    options = RecognizeOptions.from_dict(request.get("options", {}))
    started, begun_at = time.perf_counter(), runtime.answers.erasures
    several, failure = searched(job, runtime)
    key = None
    if failure is None and not options.trace:  # a trace tells how this answer came about
        key = answer_key(job, options, runtime.models, [one.manifest for one in several])
    answer = None if key is None else runtime.answers.answer(key)
    timings = waited_ms(job)
    if answer is None:
        answer, read = computed(job, options, several, failure, runtime, checkpoint, begun_at)
        timings |= {**read, **answer.pop("timings_ms")}
        if key is not None:
            runtime.answers.keep_answer(key, answer, begun_at)
    timings["total"] = round(1000 * (time.perf_counter() - started), 2)
    for stage, took_ms in timings.items():
        if stage not in {"total", *waited_ms(job)}:  # waiting has metrics of its own
            STAGES.labels(stage).observe(took_ms / 1000)
    used = [used_gallery(one.manifest) for one in several]
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
    if "paddleclas" in answer:
        result["paddleclas"] = answer["paddleclas"]
    return result


def searched(job: Job, runtime: Runtime) -> tuple[list[CachedGallery], ServiceError | None]:
    """The galleries that the job names, and what is wrong with them: a photo's own mistake is reported before that."""
    names, version = job.request.get("galleries") or [job.request["gallery"]], job.request.get("version")
    try:
        several = [runtime.galleries.current(name, version) for name in names]
        for one in several:
            runtime.require_same_model(one.manifest)
    except ServiceError as error:
        return [], error
    return several, None


def computed(
    job: Job,
    options: RecognizeOptions,
    several: list[CachedGallery],
    failure: ServiceError | None,
    runtime: Runtime,
    checkpoint: Checkpoint,
    begun_at: int,
) -> tuple[dict[str, Any], dict[str, float]]:
    """The answer of the networks and the galleries, and the times of reading the photo. Of a photo seen before, only the search."""
    managed = options.compat is None
    key = sight_key(job, options, runtime.models)
    sight = None if options.trace or failure is not None else runtime.answers.sight(key)
    read: dict[str, float] = {}
    began = time.perf_counter()
    if sight is None:
        image, read = read_photo(job, runtime, checkpoint, colour_managed=managed)
        read = {name: read[name] for name in ("fetch", "decode")}
    else:
        checkpoint()
    if failure is not None:
        raise failure
    whole = (several[0] if len(several) == 1 else runtime.galleries.joined(several)).gallery
    gallery = whole.filtered(filters_of(job.request.get("filter", ())))
    with runtime.programs() as programs:
        tracing.record_stages(read, began)
        began = time.perf_counter()
        recognizer = programs.recognizer
        if options.trace:
            found = recognizer(image, gallery, options, checkpoint)
        elif sight is None:
            sight = recognizer.look(image, options, checkpoint)
            BATCH_SIZE.observe(len(sight.parts))
            runtime.answers.keep_sight(key, sight, begun_at)
            found = recognizer.answer(sight, lambda: image, gallery, options, checkpoint)
        else:
            sight = replace(sight, timings_ms={})
            pixels = cache(partial(reread, job, runtime, colour_managed=managed))
            found = recognizer.answer(sight, pixels, gallery, options, checkpoint)
    answer: dict[str, Any] = {**found.to_dict()}
    tracing.record_stages({name: ms for name, ms in answer["timings_ms"].items() if name != "total"}, began)
    if options.compat == "paddleclas":
        answer["paddleclas"] = to_paddleclas(found)
    return answer, read


def used_gallery(manifest: GalleryManifest) -> GalleryUsed:
    """Which version was searched."""
    return {"name": manifest.name, "version": manifest.version, "items": manifest.item_count}
