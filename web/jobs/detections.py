"""Detections: jobs that run the detector alone on a photo."""

from __future__ import annotations

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.photo_results import DetectionJob
from infra.errors.jobs import JobFinished, ModelNotConfigured, ResultNotReady
from infra.errors.photos import PhotoNotFetched
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs, photo_jobs
from web.jobs.photo_jobs import PHOTO_UPLOAD
from web.openapi.operations import JOB, RENDERING, Form, operation
from web.pictures import ANY_IMAGE, PictureLink
from web.requests.members import ONE_IMAGE
from web.requests.photo_schemas import DetectionFields, DetectionRequest
from web.requests.schemas import PhotoQuery, PictureQuery
from web.requests.uploads import read_photo
from web.services import services

blueprint = Blueprint("detections", __name__, url_prefix=JobKind.DETECTION.path)


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createDetection",
    "Detect the main objects of a photo.",
    {202: DetectionJob, 200: DetectionJob},
    (*PHOTO_UPLOAD, ModelNotConfigured),
    body={"multipart/form-data": Form(DetectionFields, ONE_IMAGE), "application/json": DetectionRequest},
    headers=("Prefer", "Cancel-After"),
)
def create() -> Response:
    """Checks what was sent, keeps the photo and makes the job."""
    sent = read_photo(services().settings, DetectionFields, DetectionRequest)
    photo_jobs.require_model("detector")
    return photo_jobs.accept(JobKind.DETECTION, sent)


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getDetection",
    "How far a detection is, and its answer.",
    {200: DetectionJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.DETECTION, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.RECOGNIZE)
@operation("cancelDetection", "Give a detection up.", {200: DetectionJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.DETECTION, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followDetection",
    "The changes of a detection as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.DETECTION, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayDetection",
    "Try a detection that failed again, from the start.",
    {202: DetectionJob, 200: DetectionJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.DETECTION, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayDetectionWebhook",
    "Send the webhook of a detection that ended again.",
    {202: DetectionJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.DETECTION, job_id)


@blueprint.get("/<job_id>/image")
@needs(Scope.READ)
@operation(
    "getDetectionImage",
    "The photo as it was uploaded or fetched, smaller, or with what was found drawn over it.",
    {200: (ANY_IMAGE, PictureLink), 304: None},
    (*JOB, *RENDERING, PhotoNotFetched, ResultNotReady),
    query=PhotoQuery,
    headers=("If-None-Match",),
)
def image(job_id: str) -> Response:
    """The job's photo as the query wants it."""
    return jobs.photo(JobKind.DETECTION, job_id)


@blueprint.get("/<job_id>/preview")
@needs(Scope.READ)
@operation(
    "getDetectionPreview",
    "The photo as a browser can show it.",
    {200: ANY_IMAGE, 304: None},
    (*JOB, *RENDERING, PhotoNotFetched),
    query=PictureQuery,
    headers=("If-None-Match",),
)
def preview(job_id: str) -> Response:
    """The job's photo as a browser can show it."""
    return jobs.preview(JobKind.DETECTION, job_id)
