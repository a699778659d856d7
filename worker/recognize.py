"""One recognition job: the stored photo and the gallery's current version in, the job's `result` out.

Galleries of different embedders may be searched at once: the photo is embedded once for each, and the answers are merged.
"""

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
from models.options import OptionsError, RecognizeOptions
from models.recognition.merged import merged
from models.recognition.paddleclas import to_paddleclas
from worker.answer_cache import answer_key, sight_key
from worker.photo import read_photo, reread, waited_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.results import RecognitionResult
    from contracts.usage import GalleryUsed
    from infra.galleries.store import GalleryManifest
    from infra.jobs.records import Job
    from models.galleries.gallery import Gallery
    from models.recognition.pipeline import Sight
    from models.recognition.results import Recognitions
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
    groups = by_embedder(several, runtime)
    key = None
    if failure is None and not options.trace:  # a trace shows how this answer came about
        key = answer_key(job, options, seen_by(runtime, *groups), [one.manifest for one in several])
    answer = None if key is None else runtime.answers.answer(key)
    timings = waited_ms(job)
    if answer is None:
        answer, read = computed(job, options, groups, failure, runtime, checkpoint, begun_at)
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
        "models": runtime.models_with(next(iter(groups))),
        "timings_ms": timings,
    }
    if len(used) > 1:
        result["galleries"] = used
    if len(groups) > 1:
        result["embedders"] = [runtime.models_with(digest)["embedder"] for digest in groups]
        result["decisions"] = answer["decisions"]
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
            runtime.embedder_of(one.manifest)
    except ServiceError as error:
        return [], error
    return several, None


def by_embedder(several: list[CachedGallery], runtime: Runtime) -> dict[str, list[CachedGallery]]:
    """The galleries by the digests of their embedders; an empty one that belongs to none goes with the first that does."""
    first = next((one.manifest for one in several if one.manifest.embedder_digest is not None), None)
    groups: dict[str, list[CachedGallery]] = {}
    for one in several:
        of = one.manifest if first is None or one.manifest.embedder_digest is not None else first
        groups.setdefault(runtime.embedder_of(of), []).append(one)
    return groups


def computed(
    job: Job,
    options: RecognizeOptions,
    groups: Mapping[str, list[CachedGallery]],
    failure: ServiceError | None,
    runtime: Runtime,
    checkpoint: Checkpoint,
    begun_at: int,
) -> tuple[dict[str, Any], dict[str, float]]:
    """The answer of the networks and the galleries, and the times of reading the photo. Of a photo seen before, only the search.

    `groups` are the galleries by the digests of their embedders.
    """
    managed = options.compat is None
    keys = {digest: sight_key(job, options, seen_by(runtime, digest)) for digest in groups}
    sights: dict[str, Sight | None] = dict.fromkeys(groups)
    if not options.trace:
        sights = {digest: runtime.answers.sight(key) for digest, key in keys.items()}
    read: dict[str, float] = {}
    began = time.perf_counter()
    if failure is not None or not all(sights.values()):
        image, read = read_photo(job, runtime, checkpoint, colour_managed=managed)
        read = {name: read[name] for name in ("fetch", "decode")}
        pixels = lambda: image  # noqa: E731 - or the photo once more, where it is wanted at all
    else:
        checkpoint()
        pixels = cache(partial(reread, job, runtime, colour_managed=managed))
    if failure is not None:
        raise failure
    if options.trace and len(groups) > 1:
        raise OptionsError("trace", "the galleries are of different embedders; search them one by one")
    seen: Sight | None = None
    answers: list[Recognitions] = []
    for digest, several in groups.items():
        gallery = searched_gallery(several, runtime, alone=len(groups) == 1)
        gallery = gallery.filtered(filters_of(job.request.get("filter", ())))
        with runtime.programs(digest) as programs:
            if not answers:
                tracing.record_stages(read, began)
            began = time.perf_counter()
            recognizer, sight = programs.recognizer, sights[digest]
            if options.trace:
                found = recognizer(pixels(), gallery, options, checkpoint)
            elif sight is None:
                sight = (
                    recognizer.look(pixels(), options, checkpoint)
                    if seen is None
                    else recognizer.look_again(seen, pixels(), checkpoint)
                )
                BATCH_SIZE.observe(len(sight.parts))
                runtime.answers.keep_sight(keys[digest], sight, begun_at)
                found = recognizer.answer(sight, pixels, gallery, options, checkpoint)
            else:
                found = recognizer.answer(replace(sight, timings_ms={}), pixels, gallery, options, checkpoint)
            seen = seen or sight
        answers.append(found)
        timed = found.timings_ms.items()
        tracing.record_stages({name: ms for name, ms in timed if name != "total"}, began)
    whole = merged(answers, options)
    answer: dict[str, Any] = {**whole.to_dict()}
    if len(answers) > 1:
        answer["decisions"] = [one.to_dict()["decision"] for one in answers]
    if options.compat == "paddleclas":
        answer["paddleclas"] = to_paddleclas(whole)
    return answer, read


def searched_gallery(several: list[CachedGallery], runtime: Runtime, *, alone: bool) -> Gallery:
    """The galleries of one embedder as one. Where others are searched too (not `alone`), its items name their gallery."""
    if len(several) == 1 and alone:
        return several[0].gallery
    return runtime.galleries.joined(several).gallery


def seen_by(runtime: Runtime, *digests: str) -> dict[str, Any]:
    """What detections and embeddings depend on, with the photo and the options: for the keys of what is cached."""
    return {**runtime.models, "embedder": digests}


def used_gallery(manifest: GalleryManifest) -> GalleryUsed:
    """Which version was searched."""
    return {"name": manifest.name, "version": manifest.version, "items": manifest.item_count}
