"""Detections, embeddings and classifications: jobs that run one network on a photo. All three have the same routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
from infra.errors.galleries import GalleryNotFound, InvalidGalleryName
from infra.errors.jobs import JobFinished, ModelNotConfigured, ResultNotReady
from infra.errors.photos import PhotoNotFetched
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.recognitions import ONE_IMAGE
from web.openapi.operations import JOB, RENDERING, UPLOAD, Form, operation
from web.pictures import ANY_IMAGE, PictureLink
from web.requests.photo_schemas import (
    ClassificationFields,
    ClassificationRequest,
    DetectionFields,
    DetectionRequest,
    EmbeddingFields,
    EmbeddingRequest,
)
from web.requests.schemas import PhotoQuery, PictureQuery
from web.requests.terms import read_terms
from web.requests.uploads import read_photo
from web.services import services

if TYPE_CHECKING:
    from pydantic import BaseModel

NO_MODEL = "none"
SEND = tuple(error for error in UPLOAD if error not in (GalleryNotFound, InvalidGalleryName))


@dataclass(frozen=True)
class About:
    """What differs between the three: the record of a job, the form and the JSON that are sent, and what is done."""

    kind: JobKind
    job: type
    fields: type[BaseModel]
    request: type[BaseModel]
    does: str
    model: str = ""  # the worker's setting without which it cannot be done


DETECTIONS = About(
    JobKind.DETECTION,
    DetectionJob,
    DetectionFields,
    DetectionRequest,
    "Detect the main objects of a photo.",
    "detector",
)
EMBEDDINGS = About(
    JobKind.EMBEDDING, EmbeddingJob, EmbeddingFields, EmbeddingRequest, "Turn a photo or parts of it into unit vectors."
)
CLASSIFICATIONS = About(
    JobKind.CLASSIFICATION,
    ClassificationJob,
    ClassificationFields,
    ClassificationRequest,
    "Classify a photo or parts of it.",
    "classifier",
)


def photo_jobs(about: About) -> Blueprint:
    """The routes of one kind."""
    kind, job, name = about.kind, about.job, about.kind.value.capitalize()
    blueprint = Blueprint(f"{kind.value}s", __name__, url_prefix=kind.path)
    body: dict[str, Any] = {"multipart/form-data": Form(about.fields, ONE_IMAGE), "application/json": about.request}
    refused = (*SEND, ModelNotConfigured) if about.model else SEND

    @blueprint.post("")
    @needs(Scope.RECOGNIZE)
    @operation(
        f"create{name}", about.does, {202: job, 200: job}, refused, body=body, headers=("Prefer", "Cancel-After")
    )
    def create() -> Response:
        service = services()
        sent = read_photo(service.settings, about.fields, about.request)
        if about.model and getattr(service.settings.worker, about.model) == NO_MODEL:
            variable = f"SHITU_WORKER__{about.model.upper()}"
            raise ModelNotConfigured(f"This service runs without a {about.model}; {variable} names one.")
        request: dict[str, Any] = {
            "image": jobs.kept_photo(sent.upload, sent.header, sent.name),
            "options": sent.options,
            **({} if sent.embedder is None else {"embedder": sent.embedder}),
        }
        terms = read_terms(sent.metadata, sent.priority)
        return jobs.accept(jobs.create(kind, request, sent.webhook_url, sent.source_url, terms=terms))

    @blueprint.get("/<job_id>")
    @needs(Scope.READ)
    @operation(
        f"get{name}",
        "How far the job is, and its answer.",
        {200: job, 304: None},
        JOB,
        headers=("Prefer", "If-None-Match"),
    )
    def show(job_id: str) -> Response:
        return jobs.show(kind, job_id)

    @blueprint.post("/<job_id>/cancel")
    @needs(Scope.RECOGNIZE)
    @operation(f"cancel{name}", "Give the job up.", {200: job}, (*JOB, JobFinished))
    def cancel(job_id: str) -> Response:
        return jobs.cancel(kind, job_id)

    @blueprint.post("/<job_id>/replay")
    @needs(Scope.RECOGNIZE)
    @operation(
        f"replay{name}",
        "Try a job that failed again, from the start.",
        {202: job, 200: job},
        (*JOB, JobFinished),
        headers=("Prefer",),
    )
    def replay(job_id: str) -> Response:
        return jobs.replay(kind, job_id)

    @blueprint.post("/<job_id>/webhook/replay")
    @needs(Scope.RECOGNIZE)
    @operation(
        f"replay{name}Webhook", "Send the webhook of a job that ended again.", {202: job}, (*JOB, DeliveryNotFound)
    )
    def replay_webhook(job_id: str) -> Response:
        return jobs.replay_webhook(kind, job_id)

    @blueprint.get("/<job_id>/events")
    @needs(Scope.READ)
    @operation(
        f"follow{name}",
        "The changes of the job as they happen.",
        {200: "text/event-stream", 204: None},
        (*JOB, InvalidCursor),
        headers=("Last-Event-ID",),
    )
    def events(job_id: str) -> Response:
        return jobs.follow(kind, job_id)

    @blueprint.get("/<job_id>/image")
    @needs(Scope.READ)
    @operation(
        f"get{name}Image",
        "The photo as it was uploaded or fetched, smaller, or with what was found drawn over it.",
        {200: (ANY_IMAGE, PictureLink), 304: None},
        (*JOB, *RENDERING, PhotoNotFetched, ResultNotReady),
        query=PhotoQuery,
        headers=("If-None-Match",),
    )
    def image(job_id: str) -> Response:
        return jobs.photo(kind, job_id)

    @blueprint.get("/<job_id>/preview")
    @needs(Scope.READ)
    @operation(
        f"get{name}Preview",
        "The photo as a browser can show it.",
        {200: ANY_IMAGE, 304: None},
        (*JOB, *RENDERING, PhotoNotFetched),
        query=PictureQuery,
        headers=("If-None-Match",),
    )
    def preview(job_id: str) -> Response:
        return jobs.preview(kind, job_id)

    return blueprint


BLUEPRINTS = (photo_jobs(DETECTIONS), photo_jobs(EMBEDDINGS), photo_jobs(CLASSIFICATIONS))
