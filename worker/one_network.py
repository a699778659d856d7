"""The jobs that run one network on a photo and search nothing: detections, embeddings, classifications."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from contracts.options import CLASSIFY_OPTIONS, DETECT_OPTIONS, EMBED_OPTIONS
from infra.errors.jobs import ModelNotConfigured
from infra.runtime.telemetry import STAGES
from models.errors import ModelError
from models.pictures.image import crop
from models.recognition.pipeline import given_parts
from worker.photo import read_photo
from worker.runtime import used

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from contracts.options import Option
    from contracts.photo_results import (
        ClassificationResult,
        ClassScore,
        DetectionResult,
        EmbeddingResult,
        OfPart,
        PartClasses,
        PartEmbedding,
    )
    from contracts.results import ModelUsed
    from infra.jobs.records import Job
    from models.classifier import Classifier
    from models.detector import Detector
    from models.embedder import Embedder
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

    Image = NDArray[np.uint8]


def detect(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> DetectionResult:
    """The main objects of the job's photo. Raises ModelNotConfigured, and as `read_photo`."""
    options = chosen(job, DETECT_OPTIONS)
    started = time.perf_counter()
    image, timings = read_photo(job, runtime, checkpoint)
    with runtime.programs() as programs:
        if programs.detector is None:
            raise ModelNotConfigured("This service runs without a detector: SHITU_WORKER__DETECTOR is none.")
        began = time.perf_counter()
        found = programs.detector(image, options["detection_threshold"], options["max_detections"])
        timings["detect"] = lap("detect", began)
        model = named(programs.detector)
    timings["total"] = round(1000 * (time.perf_counter() - started), 2)
    return {
        "image": {"width": image.shape[1], "height": image.shape[0]},
        "detections": [{"box": list(one.box), "confidence": round(one.confidence, 6)} for one in found],
        "models": {"detector": model},
        "timings_ms": timings,
    }


def embed(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> EmbeddingResult:
    """The embeddings of the photo or of its boxes. Raises EmbedderUnknown, OptionsError for a box outside, and as `read_photo`."""
    options = chosen(job, EMBED_OPTIONS)
    named_one = job.request.get("embedder")
    digest = None if named_one is None else runtime.named(named_one)
    started = time.perf_counter()
    image, timings = read_photo(job, runtime, checkpoint)
    parts, crops = parts_of(image, options["boxes"])
    with runtime.programs(digest) as programs:
        began = time.perf_counter()
        rows = embedded(programs.embedder, crops)
        timings["embed"] = lap("embed", began)
        model, dim = named(programs.embedder), programs.embedder.dim
    found: list[PartEmbedding] = [
        {**part, "embedding": None if row is None else [round(value, 7) for value in row]}
        for part, row in zip(parts, rows, strict=True)
    ]
    timings["total"] = round(1000 * (time.perf_counter() - started), 2)
    return {
        "image": {"width": image.shape[1], "height": image.shape[0]},
        "dim": dim,
        "embeddings": found,
        "models": {"embedder": model},
        "timings_ms": timings,
    }


def classify(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> ClassificationResult:
    """The classes of the photo or of its boxes. Raises ModelNotConfigured, OptionsError, and as `read_photo`."""
    options = chosen(job, CLASSIFY_OPTIONS)
    started = time.perf_counter()
    image, timings = read_photo(job, runtime, checkpoint)
    parts, crops = parts_of(image, options["boxes"])
    with runtime.programs() as programs:
        if programs.classifier is None:
            raise ModelNotConfigured("This service runs without a classifier: SHITU_WORKER__CLASSIFIER is none.")
        began = time.perf_counter()
        answers = programs.classifier(crops, options["top_k"])
        timings["classify"] = lap("classify", began)
        model = named(programs.classifier)
    found: list[PartClasses] = []
    for part, answer in zip(parts, answers, strict=True):
        labels: Sequence[str | None] = answer.label_names or [None] * len(answer.class_ids)
        classes: list[ClassScore] = [
            {"class_id": class_id, "label": label, "score": score}
            for class_id, label, score in zip(answer.class_ids, labels, answer.scores, strict=True)
        ]
        found.append({**part, "classes": classes})
    timings["total"] = round(1000 * (time.perf_counter() - started), 2)
    return {
        "image": {"width": image.shape[1], "height": image.shape[0]},
        "classifications": found,
        "models": {"classifier": model},
        "timings_ms": timings,
    }


def chosen(job: Job, declared: Mapping[str, Option]) -> dict[str, Any]:
    """The job's options, with the defaults of what it does not name. Raises OptionsError."""
    given = job.request.get("options", {})
    for name, option in declared.items():
        if name in given:
            option.require(given[name])
    return {name: given.get(name, option.default) for name, option in declared.items()}


def parts_of(image: Image, boxes: Sequence[Sequence[int]] | None) -> tuple[list[OfPart], list[Image]]:
    """The given boxes, or the whole photo, and their pixels. Raises OptionsError for boxes outside of it."""
    height, width = image.shape[:2]
    if boxes is None:
        return [{"box": [0, 0, width, height]}], [image]
    given = given_parts(boxes, height, width)
    report: list[OfPart] = [{"box": list(part.box), "given": at} for at, part in enumerate(given)]
    return report, [crop(image, part.box) for part in given]


def embedded(embedder: Embedder, crops: Sequence[Image]) -> list[list[float] | None]:
    """A row for each crop; None for one that has no usable embedding, which costs no other its own."""
    try:
        return cast("list[list[float] | None]", embedder(crops).tolist())
    except ModelError as error:
        if error.code != "embedding_invalid":
            raise
        if len(crops) == 1:
            return [None]
        return [row for one in crops for row in embedded(embedder, [one])]


def lap(stage: str, began: float) -> float:
    """Milliseconds since `began`, counted as that stage's."""
    took_s = time.perf_counter() - began
    STAGES.labels(stage).observe(took_s)
    return round(1000 * took_s, 2)


def named(network: Detector | Embedder | Classifier) -> ModelUsed:
    """Which network it was."""
    return cast("ModelUsed", used(network))
