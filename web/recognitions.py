"""Recognitions: a photo and a gallery's name in, a job out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.results import RecognitionJob, RecognitionPage
from infra.errors import DeliveryNotFound, InvalidCursor, JobFinished, ObjectNotFound, PhotoNotFetched
from web import jobs
from web.job_lists import JobsQuery, page
from web.job_photos import photo_key
from web.operations import JOB, UPLOAD, Form, operation
from web.pictures import ANY_IMAGE, picture, shown
from web.schemas import FILE, RecognitionFields, RecognitionRequest
from web.scopes import needs
from web.services import services
from web.terms import read_terms
from web.uploads import read_recognition

if TYPE_CHECKING:
    from contracts.results import KeptPhoto

ONE_IMAGE = {"image": FILE | {"description": "The photo, one file."}}

blueprint = Blueprint("recognitions", __name__, url_prefix=JobKind.RECOGNITION.path)


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createRecognition",
    "Recognise what is in a photo.",
    {202: RecognitionJob, 200: RecognitionJob},
    UPLOAD,
    body={"multipart/form-data": Form(RecognitionFields, ONE_IMAGE), "application/json": RecognitionRequest},
    headers=("Prefer", "Cancel-After"),
)
def create() -> Response:
    """Steps 1 to 4 of the walk: check, keep the bytes, promise, hand over."""
    service = services()
    sent = read_recognition(service.settings)
    terms = read_terms(sent.metadata, sent.priority)
    service.galleries.manifest(sent.gallery)
    if sent.upload is None or sent.header is None:  # the couriers fetch it: a request waits for no other server
        image: KeptPhoto = {"key": None, "name": sent.name, "width": None, "height": None, "format": None}
    else:
        image = {
            "key": service.photos.keep(sent.upload.data),
            "name": sent.upload.name,
            "width": sent.header.width,
            "height": sent.header.height,
            "format": sent.header.format,
        }
    request: dict[str, Any] = {"gallery": sent.gallery, "image": image, "options": sent.options}
    return jobs.accept(jobs.create(JobKind.RECOGNITION, request, sent.webhook_url, sent.source_url, terms=terms))


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listRecognitions", "Recognitions, the newest first.", {200: RecognitionPage}, (InvalidCursor,), query=JobsQuery
)
def index() -> Response:
    """A page of them."""
    return page(JobKind.RECOGNITION, "recognitions")


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getRecognition",
    "How far a recognition is, and its answer.",
    {200: RecognitionJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.RECOGNITION, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.RECOGNIZE)
@operation("cancelRecognition", "Give a recognition up.", {200: RecognitionJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.RECOGNITION, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayRecognition",
    "Try a recognition that failed again, from the start.",
    {202: RecognitionJob, 200: RecognitionJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.RECOGNITION, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.RECOGNIZE)
@operation(
    "replayRecognitionWebhook",
    "Send the webhook of a recognition that ended again.",
    {202: RecognitionJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.RECOGNITION, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followRecognition",
    "The changes of a recognition as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.RECOGNITION, job_id)


@blueprint.get("/<job_id>/image")
@needs(Scope.READ)
@operation(
    "getRecognitionImage",
    "The photo as it was uploaded or fetched.",
    {200: ANY_IMAGE},
    (*JOB, ObjectNotFound, PhotoNotFetched),
)
def image(job_id: str) -> Response:
    """The photo as it was uploaded or fetched. Raises PhotoNotFetched while it is not there."""
    return picture(services().objects.get(photo_key(jobs.find(JobKind.RECOGNITION, job_id))))


@blueprint.get("/<job_id>/preview")
@needs(Scope.READ)
@operation(
    "getRecognitionPreview",
    "The photo as a browser can show it.",
    {200: ANY_IMAGE},
    (*JOB, ObjectNotFound, PhotoNotFetched),
)
def preview(job_id: str) -> Response:
    """The photo as it was looked at, for browsers. Raises PhotoNotFetched as `image` does."""
    return shown(photo_key(jobs.find(JobKind.RECOGNITION, job_id)))
