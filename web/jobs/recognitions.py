"""Recognitions: a photo and a gallery's name in, a job out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.results import RecognitionJob, RecognitionPage
from infra.errors.galleries import EmbedderMismatch
from infra.errors.jobs import JobFinished, ResultNotReady
from infra.errors.photos import PhotoNotFetched
from infra.errors.requests import InvalidCursor, InvalidFilter
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.galleries.embedders import require_embedders
from web.jobs import jobs
from web.jobs.lists import JobsQuery, page
from web.openapi.operations import JOB, RENDERING, UPLOAD, Form, operation
from web.pictures import ANY_IMAGE, PictureLink
from web.requests.members import ONE_IMAGE
from web.requests.schemas import PhotoQuery, PictureQuery, RecognitionFields, RecognitionRequest
from web.requests.terms import read_terms
from web.requests.uploads import read_recognition
from web.services import services

blueprint = Blueprint("recognitions", __name__, url_prefix=JobKind.RECOGNITION.path)


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createRecognition",
    "Recognise what is in a photo.",
    {202: RecognitionJob, 200: RecognitionJob},
    (*UPLOAD, InvalidFilter, EmbedderMismatch),
    body={"multipart/form-data": Form(RecognitionFields, ONE_IMAGE), "application/json": RecognitionRequest},
    headers=("Prefer", "Cancel-After"),
)
def create() -> Response:
    """Steps 1 to 4 of the walk: check, keep the bytes, promise, hand over."""
    service = services()
    sent = read_recognition(service.settings)
    terms = read_terms(sent.metadata, sent.priority)
    named = [service.galleries.manifest(name) for name in sent.galleries or (sent.gallery,)]
    require_embedders(service.ledger, named)
    image = jobs.kept_photo(sent.upload, sent.header, sent.name)
    request: dict[str, Any] = {"gallery": sent.gallery, "image": image, "options": sent.options}
    if sent.galleries:
        request["galleries"] = list(sent.galleries)
    if sent.filter:
        request["filter"] = list(sent.filter)
    return jobs.accept(jobs.create(JobKind.RECOGNITION, request, sent.webhook_url, sent.source_url, terms=terms))


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listRecognitions",
    "Recognitions, the newest first.",
    {200: RecognitionPage},
    (InvalidCursor,),
    query=JobsQuery,
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


@blueprint.get("/<job_id>/image")
@needs(Scope.READ)
@operation(
    "getRecognitionImage",
    "The photo as it was uploaded or fetched, smaller, or with the answers drawn over it.",
    {200: (ANY_IMAGE, PictureLink), 304: None},
    (*JOB, *RENDERING, PhotoNotFetched, ResultNotReady),
    query=PhotoQuery,
    headers=("If-None-Match",),
)
def image(job_id: str) -> Response:
    """The job's photo as the query wants it."""
    return jobs.photo(JobKind.RECOGNITION, job_id)


@blueprint.get("/<job_id>/preview")
@needs(Scope.READ)
@operation(
    "getRecognitionPreview",
    "The photo as a browser can show it.",
    {200: ANY_IMAGE, 304: None},
    (*JOB, *RENDERING, PhotoNotFetched),
    query=PictureQuery,
    headers=("If-None-Match",),
)
def preview(job_id: str) -> Response:
    """The job's photo as a browser can show it."""
    return jobs.preview(JobKind.RECOGNITION, job_id)
