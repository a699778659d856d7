"""Searches an old photo again, in another gallery or version, and compares: `POST /v1/recognitions/{job_id}/compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from contracts.comparisons import galleries_of, standings_of
from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.results import RecognitionJob
from infra.errors.galleries import EmbedderMismatch, VersionNotFound
from infra.errors.jobs import JobExpired, ResultNotReady
from infra.errors.photos import ObjectNotFound
from infra.errors.requests import InvalidFilter, InvalidRequest, UploadTooSlow
from web.access.scopes import needs
from web.galleries.embedders import require_embedders
from web.jobs import jobs
from web.openapi.operations import BODY, GALLERY, JOB, WEBHOOK, operation
from web.requests.filters import checked_filters
from web.requests.json_body import sent_json
from web.requests.schemas import ComparisonRequest
from web.services import services

if TYPE_CHECKING:
    from contracts.comparisons import Compared

blueprint = Blueprint("comparisons", __name__, url_prefix=JobKind.RECOGNITION.path)


@blueprint.post("/<job_id>/compare")
@needs(Scope.RECOGNIZE)
@operation(
    "compareRecognition",
    "Look the photo of a recognition up again, in another gallery or version, and list what is different.",
    {202: RecognitionJob, 200: RecognitionJob},
    (*JOB, *BODY, *WEBHOOK, *GALLERY, VersionNotFound, EmbedderMismatch, ResultNotReady, ObjectNotFound, InvalidFilter),
    body={"application/json": ComparisonRequest},
    headers=("Prefer", "Cancel-After"),
)
def compare(job_id: str) -> Response:
    """A new job with the photo and options of the old one. The old answer is kept in it, for the old job may expire."""
    service = services()
    sent = sent_json(ComparisonRequest, optional=True, urls_by=service.settings)
    chosen = None if sent.filter is None else checked_filters(sent.filter)
    old = jobs.find(JobKind.RECOGNITION, job_id)
    filters = old.request.get("filter", []) if chosen is None else chosen
    result = jobs.result_of(old, "to compare with")
    names = [sent.gallery] if sent.gallery else jobs.galleries_of(old)
    if sent.version is not None and len(names) > 1:
        detail = "the old job searched several galleries; name the one that this is a version of"
        raise InvalidRequest(f"version: {detail}.", errors=[{"pointer": "/version", "detail": detail}])
    require_embedders(service.ledger, [service.galleries.manifest(name, sent.version) for name in names])
    image = old.request["image"]
    if not service.objects.exists(image["key"]):
        raise ObjectNotFound("The photo of the old job is gone.")
    compared: Compared = {"job": old.id, "galleries": galleries_of(result), "parts": standings_of(result)}
    requested: dict[str, Any] = {
        "gallery": names[0],
        "image": image,
        "options": old.request.get("options", {}),
        "compared": compared,
    }
    if len(names) > 1:
        requested["galleries"] = names
    if filters:
        requested["filter"] = filters
    if sent.version is not None:
        requested["version"] = sent.version
    url = sent.webhook.url if sent.webhook else None
    try:
        return jobs.accept(jobs.create(JobKind.RECOGNITION, requested, url))
    except UploadTooSlow:  # of this photo: it is on its way out with the old job
        raise JobExpired(f"The job {job_id} has just expired, and its photo with it.") from None
