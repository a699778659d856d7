"""Classifications: jobs that run the classifier alone on a photo."""

from __future__ import annotations

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.photo_results import ClassificationJob
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
from web.requests.photo_schemas import ClassificationFields, ClassificationRequest
from web.requests.schemas import PhotoQuery, PictureQuery
from web.requests.uploads import read_photo
from web.services import services

blueprint = Blueprint("classifications", __name__, url_prefix=JobKind.CLASSIFICATION.path)


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createClassification",
    "Classify a photo or parts of it.",
    {202: ClassificationJob, 200: ClassificationJob},
    (*PHOTO_UPLOAD, ModelNotConfigured),
    body={"multipart/form-data": Form(ClassificationFields, ONE_IMAGE), "application/json": ClassificationRequest},
    headers=("Prefer", "Cancel-After"),
)
def create() -> Response:
    """Checks what was sent, keeps the photo and makes the job."""
    sent = read_photo(services().settings, ClassificationFields, ClassificationRequest)
    photo_jobs.require_model("classifier")
    return photo_jobs.accept(JobKind.CLASSIFICATION, sent)


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getClassification",
    "How far a classification is, and its answer.",
    {200: ClassificationJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.CLASSIFICATION, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.RECOGNIZE)
@operation("cancelClassification", "Give a classification up.", {200: ClassificationJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.CLASSIFICATION, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followClassification",
    "The changes of a classification as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.CLASSIFICATION, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayClassification",
    "Try a classification that failed again, from the start.",
    {202: ClassificationJob, 200: ClassificationJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.CLASSIFICATION, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayClassificationWebhook",
    "Send the webhook of a classification that ended again.",
    {202: ClassificationJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.CLASSIFICATION, job_id)


@blueprint.get("/<job_id>/image")
@needs(Scope.READ)
@operation(
    "getClassificationImage",
    "The photo as it was uploaded or fetched, smaller, or with what was found drawn over it.",
    {200: (ANY_IMAGE, PictureLink), 304: None},
    (*JOB, *RENDERING, PhotoNotFetched, ResultNotReady),
    query=PhotoQuery,
    headers=("If-None-Match",),
)
def image(job_id: str) -> Response:
    """The job's photo as the query wants it."""
    return jobs.photo(JobKind.CLASSIFICATION, job_id)


@blueprint.get("/<job_id>/preview")
@needs(Scope.READ)
@operation(
    "getClassificationPreview",
    "The photo as a browser can show it.",
    {200: ANY_IMAGE, 304: None},
    (*JOB, *RENDERING, PhotoNotFetched),
    query=PictureQuery,
    headers=("If-None-Match",),
)
def preview(job_id: str) -> Response:
    """The job's photo as a browser can show it."""
    return jobs.preview(JobKind.CLASSIFICATION, job_id)
