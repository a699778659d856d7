"""Jobs of photos: made, waited for, compared; what is said of their answers. Steps without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shitu.client.errors import JobFailed
from shitu.client.exchange import Ref, Steps, call, id_of, once
from shitu.client.kinds import RECOGNITIONS
from shitu.client.sending import Filters, Terms, filters_sent, send_photo

if TYPE_CHECKING:
    from contracts.jobs import Priority
    from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
    from contracts.results import RecognitionJob, RecognitionResult
    from contracts.usage import Box
    from shitu.client.options import RecognitionOptions
    from shitu.client.pictures import Picture
    from web.answers import Feedback


Verdict = Literal["right", "wrong", "ignore"]


def create_recognition(
    photo: Picture | Mapping[str, Any],
    gallery: str | Sequence[str],
    options: RecognitionOptions | None = None,
    *,
    name: str | None = None,
    filters: Filters | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[RecognitionJob]:
    """Has a photo recognised: the job as it was accepted. `photo` may be a URL (http, https, s3), which the
    service fetches, or an upload of `uploads.create`.

    `gallery`: several are searched as one. `filters`: only items with this metadata are searched. `cancel_after_s`: when it is given up if it has not ended. Raises ProblemError.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    galleries = [gallery] if isinstance(gallery, str) else list(gallery)
    found: RecognitionJob = yield from send_photo(
        "/recognitions", photo, name, options, galleries, terms, filters_sent(filters)
    )
    return found


def recognize(
    photo: Picture | Mapping[str, Any],
    gallery: str | Sequence[str],
    options: RecognitionOptions | None = None,
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    progress: Callable[[RecognitionJob], object] | None = None,
    filters: Filters | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    idempotency_key: str | None = None,
) -> Steps[RecognitionResult]:
    """What is in a photo: makes a job and waits for it. Raises JobFailed, WaitTimeout, ProblemError."""
    job = yield from create_recognition(
        photo,
        gallery,
        options,
        name=name,
        filters=filters,
        metadata=metadata,
        priority=priority,
        idempotency_key=idempotency_key,
    )
    ended = yield from RECOGNITIONS.wait(job, timeout_s=timeout_s, progress=progress)
    if ended["result"] is None:
        raise JobFailed(ended)
    return ended["result"]


def compare(
    job: Ref,
    *,
    gallery: str | None = None,
    version: int | None = None,
    filters: Filters | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[RecognitionJob]:
    """Has the photo of a succeeded job looked up again, in another gallery or version: `result["difference"]` of the new job.

    Neither named: in the version in force. `filters`: instead of the old job's; empty: all items. Raises Conflict if the old job has not succeeded.
    """
    hook = None if webhook_url is None else {"url": webhook_url}
    only = None if filters is None else filters_sent(filters)
    report = {"gallery": gallery, "version": version, "filter": only, "webhook": hook}
    body = {name: value for name, value in report.items() if value is not None}
    found: RecognitionJob = yield from call(
        "POST", f"/recognitions/{id_of(job)}/compare", json=body, headers=once(idempotency_key)
    )
    return found


def create_detection(
    photo: Picture | Mapping[str, Any],
    *,
    detection_threshold: float | None = None,
    max_detections: int = 100,
    metadata: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[DetectionJob]:
    """Has the main objects of a photo detected, nothing else."""
    terms = Terms(metadata, None, webhook_url, None, idempotency_key)
    options = {"detection_threshold": detection_threshold, "max_detections": max_detections}
    found: DetectionJob = yield from send_photo("/detections", photo, None, options, [], terms)
    return found


def create_embedding(
    photo: Picture | Mapping[str, Any],
    *,
    boxes: Sequence[Box] | None = None,
    embedder: str | None = None,
    metadata: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[EmbeddingJob]:
    """Has a photo, or each of its boxes, turned into a unit vector, by one of the workers' embedders; None: the default."""
    terms = Terms(metadata, None, webhook_url, None, idempotency_key)
    options = {"boxes": _boxes(boxes)}
    found: EmbeddingJob = yield from send_photo("/embeddings", photo, None, options, [], terms, embedder=embedder)
    return found


def create_classification(
    photo: Picture | Mapping[str, Any],
    *,
    boxes: Sequence[Box] | None = None,
    top_k: int = 5,
    metadata: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[ClassificationJob]:
    """Has a photo, or each of its boxes, classified."""
    terms = Terms(metadata, None, webhook_url, None, idempotency_key)
    options = {"boxes": _boxes(boxes), "top_k": top_k}
    found: ClassificationJob = yield from send_photo("/classifications", photo, None, options, [], terms)
    return found


def give_feedback(
    job: Ref,
    verdict: Verdict,
    *,
    box: Box | None = None,
    label: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[Feedback]:
    """Says what an answer is worth: that of `box`, None for the whole photo; `label` is the right one, if it is known."""
    body = {"box": box, "verdict": verdict, **({} if label is None else {"label": label})}
    path = f"/recognitions/{id_of(job)}/feedback"
    found: Feedback = yield from call("POST", path, json=body, headers=once(idempotency_key))
    return found


def feedback_of(job: Ref) -> Steps[Sequence[Feedback]]:
    """What was said of a recognition's answers."""
    found = yield from call("GET", f"/recognitions/{id_of(job)}/feedback")
    said: Sequence[Feedback] = found["feedback"]
    return said


def _boxes(boxes: Sequence[Box] | None) -> list[list[int]] | None:
    return None if boxes is None else [list(box) for box in boxes]
