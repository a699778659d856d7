"""Detections, embeddings and classifications: jobs that run one network on a photo. All three have the same routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
from infra.errors.galleries import GalleryNotFound, InvalidGalleryName
from infra.errors.jobs import ModelNotConfigured
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.recognitions import ONE_IMAGE
from web.jobs.routes import JobRoutes
from web.openapi.operations import UPLOAD, Form, operation
from web.requests.photo_schemas import (
    ClassificationFields,
    ClassificationRequest,
    DetectionFields,
    DetectionRequest,
    EmbeddingFields,
    EmbeddingRequest,
)
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
    noun: str
    does: str
    model: str = ""  # the worker's setting without which it cannot be done


DETECTIONS = About(
    JobKind.DETECTION,
    DetectionJob,
    DetectionFields,
    DetectionRequest,
    "a detection",
    "Detect the main objects of a photo.",
    "detector",
)
EMBEDDINGS = About(
    JobKind.EMBEDDING,
    EmbeddingJob,
    EmbeddingFields,
    EmbeddingRequest,
    "an embedding",
    "Turn a photo or parts of it into unit vectors.",
)
CLASSIFICATIONS = About(
    JobKind.CLASSIFICATION,
    ClassificationJob,
    ClassificationFields,
    ClassificationRequest,
    "a classification",
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

    routes = JobRoutes(blueprint, kind, job, Scope.RECOGNIZE, about.noun)
    routes.add_job()
    routes.add_replays()
    routes.add_photo("what was found")
    return blueprint


BLUEPRINTS = (photo_jobs(DETECTIONS), photo_jobs(EMBEDDINGS), photo_jobs(CLASSIFICATIONS))
