"""Recognitions: a photo and a gallery's name in, a job out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.results import RecognitionJob, RecognitionPage
from infra.errors.galleries import EmbedderMismatch
from infra.errors.requests import InvalidFilter
from web.access.scopes import needs
from web.galleries.embedders import require_embedders
from web.jobs import jobs
from web.jobs.routes import JobRoutes
from web.openapi.operations import UPLOAD, Form, operation
from web.requests.members import FILE
from web.requests.schemas import RecognitionFields, RecognitionRequest
from web.requests.terms import read_terms
from web.requests.uploads import read_recognition
from web.services import services

ONE_IMAGE = {"image": FILE | {"description": "The photo, one file."}}

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


routes = JobRoutes(blueprint, JobKind.RECOGNITION, RecognitionJob, Scope.RECOGNIZE, "a recognition")
routes.add_list(RecognitionPage)
routes.add_job()
routes.add_replays()
routes.add_photo("the answers")
