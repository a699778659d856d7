"""Jobs of every kind: made, asked for, waited for, listed, given up, tried again. Steps without I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from shitu.client.errors import JobFailed
from shitu.client.exchange import Pages, Ref, Steps, ask, by_pages, id_of, once, read
from shitu.client.pictures import upload_of, url_of
from shitu.client.uploads import by_link_if_big
from shitu.client.waiting import Event, Watch

if TYPE_CHECKING:
    from datetime import datetime

    from contracts.imports import ImportJob
    from contracts.jobs import Priority, Status
    from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
    from contracts.results import EnrollmentJob, RecognitionJob, RecognitionResult
    from contracts.usage import Box
    from contracts.versions import EvaluationJob
    from shitu.client.options import RecognitionOptions
    from shitu.client.pictures import Picture
    from web.answers import Feedback
    from web.galleries.erasures import Erasure

J = TypeVar("J")  # a job's TypedDict

Verdict = Literal["right", "wrong", "ignore"]
Filters = Mapping[str, str] | Sequence[str]  # {"brand": "x"}, or ["brand:x"]


class Kind(Generic[J]):
    """What jobs of one kind can be asked; `path` is that of their routes."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, job: Ref) -> Steps[J]:
        """The job as it is now. Raises NotFound."""
        found: J = yield from ask("GET", f"{self.path}/{id_of(job)}")
        return found

    def wait(
        self, job: Ref, *, timeout_s: float | None = None, progress: Callable[[J], object] | None = None
    ) -> Steps[J]:
        """The job when it has ended, however it ended; `progress` is called with each state that is seen on the way.

        Raises WaitTimeout after `timeout_s` seconds; None: never.
        """
        told: Any = job
        seen: J = (yield from self.get(job)) if isinstance(job, str) else told
        watch = Watch(f"{self.path}/{id_of(job)}", seen, _as_told, progress)
        return (yield from watch.wait(timeout_s))

    def cancel(self, job: Ref) -> Steps[J]:
        """Gives the job up. Raises Conflict if it has ended otherwise."""
        found: J = yield from ask("POST", f"{self.path}/{id_of(job)}/cancel")
        return found

    def replay(self, job: Ref, *, idempotency_key: str | None = None) -> Steps[J]:
        """Tries a failed job again, under the same id. Raises Conflict if it has not failed."""
        found: J = yield from ask("POST", f"{self.path}/{id_of(job)}/replay", headers=once(idempotency_key))
        return found

    def replay_webhook(self, job: Ref) -> Steps[J]:
        """Sends the webhook of a job that has ended again. Raises NotFound if it has none."""
        found: J = yield from ask("POST", f"{self.path}/{id_of(job)}/webhook/replay", headers=once(None))
        return found

    def erase(self, job: Ref) -> Steps[Erasure]:
        """Erases the job with its photo, its answer and the messages about it, for good: the receipt."""
        found: Erasure = yield from ask("DELETE", f"{self.path}/{id_of(job)}", {"erase": True}, repeatable=False)
        return found

    def list(
        self,
        *,
        status: Status | None = None,
        gallery: str | None = None,
        label: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 50,
    ) -> Pages[J]:
        """The jobs that are kept and fit, the newest first."""
        query = {
            "status": status,
            "gallery": gallery,
            "label": label,
            "created_after": moment(created_after),
            "created_before": moment(created_before),
            "limit": page_size,
            **{f"metadata.{name}": value for name, value in (metadata or {}).items()},
        }
        return by_pages(self.path, self.path.removeprefix("/"), query)

    def photo(self, job: Ref, *, annotated: bool = False, width: int | None = None) -> Steps[bytes]:
        """The job's photo; `annotated`: with the answer drawn over it; `width`: a JPEG of at most so many pixels across."""
        return (
            yield from read(f"{self.path}/{id_of(job)}/image", {"annotated": int(annotated) or None, "width": width})
        )

    def preview(self, job: Ref, *, width: int | None = None) -> Steps[bytes]:
        """The job's photo as a browser can show it."""
        return (yield from read(f"{self.path}/{id_of(job)}/preview", {"width": width}))


RECOGNITIONS: Kind[RecognitionJob] = Kind("/recognitions")
ENROLLMENTS: Kind[EnrollmentJob] = Kind("/enrollments")
IMPORTS: Kind[ImportJob] = Kind("/imports")
EVALUATIONS: Kind[EvaluationJob] = Kind("/evaluations")
DETECTIONS: Kind[DetectionJob] = Kind("/detections")
EMBEDDINGS: Kind[EmbeddingJob] = Kind("/embeddings")
CLASSIFICATIONS: Kind[ClassificationJob] = Kind("/classifications")


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
    found: RecognitionJob = yield from _create(
        "/recognitions", photo, name, options, galleries, terms, filters_told(filters)
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
    only = None if filters is None else filters_told(filters)
    told = {"gallery": gallery, "version": version, "filter": only, "webhook": hook}
    body = {name: value for name, value in told.items() if value is not None}
    found: RecognitionJob = yield from ask(
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
    found: DetectionJob = yield from _create("/detections", photo, None, options, [], terms)
    return found


def create_embedding(
    photo: Picture | Mapping[str, Any],
    *,
    boxes: Sequence[Box] | None = None,
    metadata: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[EmbeddingJob]:
    """Has a photo, or each of its boxes, turned into a unit vector."""
    terms = Terms(metadata, None, webhook_url, None, idempotency_key)
    found: EmbeddingJob = yield from _create("/embeddings", photo, None, {"boxes": _boxes(boxes)}, [], terms)
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
    found: ClassificationJob = yield from _create("/classifications", photo, None, options, [], terms)
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
    found: Feedback = yield from ask("POST", path, json=body, headers=once(idempotency_key))
    return found


def feedback_of(job: Ref) -> Steps[Sequence[Feedback]]:
    """What was said of a recognition's answers."""
    found = yield from ask("GET", f"/recognitions/{id_of(job)}/feedback")
    said: Sequence[Feedback] = found["feedback"]
    return said


def filters_told(filters: Filters | None) -> list[str]:
    """As requests name them."""
    if isinstance(filters, Mapping):
        return [f"{name}:{value}" for name, value in filters.items()]
    return [filters] if isinstance(filters, str) else list(filters or ())


class Terms:
    """What a request says of the job that it makes."""

    def __init__(
        self,
        metadata: Mapping[str, str] | None,
        priority: str | None,
        webhook_url: str | None,
        cancel_after_s: float | None,
        idempotency_key: str | None,
    ) -> None:
        self.metadata, self.priority, self.webhook_url = metadata, priority, webhook_url
        self.headers = once(idempotency_key)
        if cancel_after_s is not None:
            self.headers["Cancel-After"] = f"{math.ceil(cancel_after_s)}s"

    def fields(self) -> dict[str, Any]:
        """For a form."""
        found = {
            "metadata": None if self.metadata is None else json.dumps(dict(self.metadata), ensure_ascii=False),
            "priority": self.priority,
            "webhook_url": self.webhook_url,
        }
        return {name: value for name, value in found.items() if value is not None}

    def members(self) -> dict[str, Any]:
        """For JSON."""
        found = {
            "metadata": None if self.metadata is None else dict(self.metadata),
            "priority": self.priority,
            "webhook": None if self.webhook_url is None else {"url": self.webhook_url},
        }
        return {name: value for name, value in found.items() if value is not None}


def _create(
    path: str,
    photo: Picture | Mapping[str, Any],
    name: str | None,
    options: Mapping[str, Any] | None,
    galleries: Sequence[str],
    terms: Terms,
    filters: Sequence[str] = (),
) -> Steps[Any]:
    sent = dict(options or {})
    only = {"filter": list(filters)} if filters else {}
    url = url_of(photo)
    named, files = _named(photo, url), []
    if named is None:
        upload = upload_of(photo, name)  # type: ignore[arg-type]  # an upload was named
        sent_by_link = yield from by_link_if_big(upload)
        named = None if sent_by_link is None else {"upload": sent_by_link}
        files = [("image", upload)]
    if named is not None:
        image = {**named, **({} if name is None else {"name": name})}
        where = {} if not galleries else {"gallery": galleries[0]} if len(galleries) == 1 else {"galleries": galleries}
        body = {"image": image, "options": sent, **where, **only, **terms.members()}
        return (yield from ask("POST", path, json=body, headers=terms.headers))
    fields = {
        **terms.fields(),
        **({"options": json.dumps(sent)} if sent else {}),
        **({"gallery": galleries} if galleries else {}),
        **only,
    }
    return (yield from ask("POST", path, fields=fields, files=files, headers=terms.headers))


def _named(photo: Picture | Mapping[str, Any], url: str | None) -> dict[str, str] | None:
    """How JSON names a picture that is not sent with it."""
    if url is not None:
        return {"url": url}
    return {"upload": str(photo["id"])} if isinstance(photo, Mapping) else None


def _as_told(_seen: J, event: Event) -> J | None:
    told: J = event.data
    return told


def _boxes(boxes: Sequence[Box] | None) -> list[list[int]] | None:
    return None if boxes is None else [list(box) for box in boxes]


def moment(told: datetime | str | None) -> str | None:
    """A time as it is sent."""
    return told if told is None or isinstance(told, str) else told.isoformat()
