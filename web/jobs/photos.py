"""The photo of a recognition, after its job: what corrections are made of.

A job's photo goes when the job's retention ends. So whatever is to outlast that (an item, feedback) keeps a copy of its own
below `images/`, where nothing is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Response

from contracts.jobs import JobKind
from contracts.names import LabelRefused, clean_label
from contracts.pictures import PictureRefusedError, look
from infra.errors.jobs import JobErased, JobExpired, JobNotFound, JobUnfinished
from infra.errors.photos import ObjectNotFound, PhotoNotFetched
from infra.errors.requests import InvalidBox, InvalidRequest
from infra.objects.store import image_digest, preview_key
from infra.runtime import audit
from web.jobs import jobs
from web.requests.named_urls import parse_with_urls
from web.requests.schemas import EnrollmentRequest
from web.requests.terms import read_terms
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.results import RequestedItem
    from infra.jobs.records import Job

FROM_JOB = (JobNotFound, JobExpired, JobErased, JobUnfinished, ObjectNotFound, PhotoNotFetched, InvalidBox)
RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class JobPhoto:
    """The photo of a job that has ended. `size`: width and height, upright; None where they are unknown."""

    job: Job
    data: bytes
    size: tuple[int, int] | None


def photo_of(job_id: str) -> JobPhoto:
    """The photo of a recognition that has ended.

    Raises JobNotFound, JobExpired, PhotoNotFetched, JobUnfinished, ObjectNotFound.
    """
    job = jobs.find(JobKind.RECOGNITION, job_id)
    key = jobs.photo_key(job)
    if not job.finished:
        raise JobUnfinished(
            f"The job {job_id} has not ended; it is {job.status}.", retry_after_s=RETRY_AFTER_S, status=str(job.status)
        )
    try:
        data = services().objects.get(key)
    except ObjectNotFound:
        jobs.find(JobKind.RECOGNITION, job_id)  # if it has just been retired, that is what is reported
        raise
    return JobPhoto(job, data, _size(job, data))


def require_box(box: Sequence[int], photo: JobPhoto, pointer: str, min_side_px: int = 1) -> None:
    """Raises InvalidBox unless `box` has `min_side_px` a side, all of them within the photo."""
    x1, y1, x2, y2 = box
    problem = ""
    if x1 >= x2 or y1 >= y2:
        problem = f"the box {list(box)} holds no pixel; expected x1, y1, x2, y2 with x1 < x2 and y1 < y2"
    elif min(x2 - x1, y2 - y1) < min_side_px:
        problem = f"the box {list(box)} has {x2 - x1} x {y2 - y1} pixels; each side needs at least {min_side_px}"
    elif photo.size is not None and (min(x1, y1) < 0 or x2 > photo.size[0] or y2 > photo.size[1]):
        problem = f"the box {list(box)} reaches out of the photo, which has {photo.size[0]} x {photo.size[1]} pixels"
    elif min(x1, y1) < 0:
        problem = f"the box {list(box)} begins before the photo does"
    if problem:
        size = {} if photo.size is None else {"width": photo.size[0], "height": photo.size[1]}
        error = {"pointer": pointer, "detail": problem}
        raise InvalidBox(f"{problem[0].upper()}{problem[1:]}.", errors=[error], **size)


def keep(photo: JobPhoto) -> str:
    """The key of a copy of the photo that outlasts its job, made once; its rendering for browsers is copied too."""
    objects = services().objects
    key = objects.put_image(photo.data)
    try:
        rendering = objects.get(preview_key(jobs.photo_key(photo.job)))
    except ObjectNotFound:
        return key
    if not objects.exists(preview_key(key)):
        objects.put(preview_key(key), rendering)
    return key


def label_at(text: str, pointer: str) -> str:
    """`text` as a label. Raises InvalidRequest."""
    try:
        return clean_label(text)
    except LabelRefused as error:
        where = pointer.removeprefix("/").replace("/", ".")
        raise InvalidRequest(f"{where}: {error}", errors=[{"pointer": pointer, "detail": str(error)}]) from None


def enroll_from_job(name: str, data: object) -> Response:
    """The current request's JSON as an enrolment of a part of a recognition's photo. Raises what FROM_JOB names."""
    service = services()
    sent = parse_with_urls(EnrollmentRequest, data, service.settings)
    label = label_at(sent.label, "/label")
    webhook_url = sent.webhook.url if sent.webhook else None
    terms = read_terms(sent.metadata, sent.priority)
    service.galleries.manifest(name)
    photo = photo_of(sent.from_.job)
    if sent.from_.box is not None:
        require_box(sent.from_.box, photo, "/from/box", service.settings.images.min_side_px)
    item: RequestedItem = {
        "name": str(photo.job.request["image"]["name"]),
        "label": label,
        "image_key": keep(photo),
        "sha256": image_digest(photo.data),
        "job": photo.job.id,
        "box": sent.from_.box,
    }
    if sent.item_metadata:
        item["metadata"] = sent.item_metadata
    requested: dict[str, Any] = {"gallery": name, "items": [item], "crop": "whole"}
    if sent.skip_near_duplicates:
        requested["skip_near_duplicates"] = True
    if not sent.activate:
        requested["activate"] = False
    job = jobs.create(JobKind.ENROLLMENT, requested, webhook_url, terms=terms)
    audit.accepted(name, job.id, 1)
    return jobs.accept(job)


def _size(job: Job, data: bytes) -> tuple[int, int] | None:
    """Of the upright photo, from the answer. Without one only a square's is known: a header does not say which way others are turned."""
    if job.result is not None:
        return int(job.result["image"]["width"]), int(job.result["image"]["height"])
    try:
        seen = look(data)
    except PictureRefusedError:
        return None
    return seen.size if seen.width == seen.height else None
