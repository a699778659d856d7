"""Erasures: what a deletion with `?erase=true` started, and its receipt."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

import infra.erasure.records
from contracts.jobs import JobKind, described
from contracts.keys import Scope
from infra.erasure.eraser import Eraser, erased_digests, kept_pictures, pending_digests
from infra.errors.galleries import ErasureNotFound, GalleryBusy, GalleryCorrupt
from infra.errors.requests import InvalidRequest
from web.access.scopes import needs
from web.jobs import jobs
from web.openapi.operations import JOB, Errors, operation
from web.requests.parsing import parse
from web.services import services

ERASE_JOB = "Erase the job with its photo, its answer, its feedback and the messages about it."
ERASE_JOB_ERRORS: Errors = (*JOB, InvalidRequest, GalleryBusy, GalleryCorrupt)

blueprint = Blueprint("erasures", __name__, url_prefix="/v1")


class KeptPicture(TypedDict):
    """A picture whose bytes stay."""

    sha256: str
    galleries: list[str]
    """Those whose items or feedback show them."""
    photo: bool
    """A recognition's photo has them, until its record goes."""


class ErasurePictures(TypedDict):
    """The pictures of an erasure, by their SHA-256."""

    erased: list[str]
    """Gone, previews too."""
    kept: list[KeptPicture]
    pending: list[str]
    """Uploaded just now, or named by a job that is open or failed: they go when that is over."""


class ErasureLinks(TypedDict):
    """Where to see how far it has come."""

    self: str


@described
class Erasure(TypedDict):
    """What was erased; digests and ids alone are kept."""

    id: str
    kind: Literal["items", "gallery", "recognition", "detection", "embedding", "classification"]
    status: Literal["done", "pending"]
    requested_at: str
    completed_at: str | None
    gallery: str | None
    item_ids: list[str]
    job_id: str | None
    vectors: int
    """Embeddings, with their views and local features; of a gallery, those of its current version."""
    feedback: list[str]
    messages: int
    """Events and messages to webhooks."""
    pictures: ErasurePictures
    links: ErasureLinks


class EraseQuery(BaseModel):
    """Whether a deletion is for good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    erase: bool = Field(False, description="Erase it for good, wherever it lies, and answer with the receipt.")


class EraseJobQuery(EraseQuery):
    """Of a job: it goes by itself when its retention ends, so there is no other deletion."""

    erase: bool = Field(description="Always `true`.", json_schema_extra={"const": True})


class EraseLabelQuery(EraseQuery):
    """Which items to delete, and whether for good."""

    label: list[str]


def wanted() -> bool:
    """Whether the current request is for erasure. Raises InvalidRequest."""
    given = request.args.get("erase")
    return parse(EraseQuery, {} if given is None else {"erase": given}).erase


def eraser() -> Eraser:
    """This application's."""
    one = services()
    settings = one.settings
    return Eraser(one.galleries, one.redis, one.ledger, settings.galleries.picture_grace_s, settings.jobs.tombstone_s)


def receipt(one: infra.erasure.records.Erasure) -> Response:
    """The erasure as JSON."""
    report: Erasure = {
        "id": one.id,
        "kind": "gallery" if one.kind == "purge" else one.kind,
        "status": "pending" if one.completed_at is None else "done",
        "requested_at": one.requested_at,
        "completed_at": one.completed_at,
        "gallery": one.gallery,
        "item_ids": list(one.item_ids),
        "job_id": one.job_id,
        "vectors": one.vectors,
        "feedback": list(one.feedback),
        "messages": one.messages,
        "pictures": {
            "erased": erased_digests(one),
            "kept": [
                {"sha256": kept.sha256, "galleries": list(kept.galleries), "photo": kept.photo}
                for kept in kept_pictures(one)
            ],
            "pending": pending_digests(one),
        },
        "links": {"self": url_for("erasures.show", erasure_id=one.id)},
    }
    return jsonify(report)


def erase_job(kind: JobKind, job_id: str) -> Response:
    """Erases a job of this kind for good, for without that its record goes by itself in time. Raises InvalidRequest."""
    job = jobs.find(kind, job_id)
    if not wanted():
        detail = "a job goes by itself when its retention ends; to erase it now, say ?erase=true"
        raise InvalidRequest(detail, errors=[{"pointer": "/erase", "detail": detail}])
    return receipt(eraser().erase_job(job.id))


@blueprint.delete("/recognitions/<job_id>")
@needs(Scope.MANAGE)
@operation("eraseRecognition", ERASE_JOB, {200: Erasure}, ERASE_JOB_ERRORS, query=EraseJobQuery)
def erase_recognition(job_id: str) -> Response:
    """Erases the job for good."""
    return erase_job(JobKind.RECOGNITION, job_id)


@blueprint.delete("/detections/<job_id>")
@needs(Scope.MANAGE)
@operation("eraseDetection", ERASE_JOB, {200: Erasure}, ERASE_JOB_ERRORS, query=EraseJobQuery)
def erase_detection(job_id: str) -> Response:
    """Erases the job for good."""
    return erase_job(JobKind.DETECTION, job_id)


@blueprint.delete("/embeddings/<job_id>")
@needs(Scope.MANAGE)
@operation("eraseEmbedding", ERASE_JOB, {200: Erasure}, ERASE_JOB_ERRORS, query=EraseJobQuery)
def erase_embedding(job_id: str) -> Response:
    """Erases the job for good."""
    return erase_job(JobKind.EMBEDDING, job_id)


@blueprint.delete("/classifications/<job_id>")
@needs(Scope.MANAGE)
@operation("eraseClassification", ERASE_JOB, {200: Erasure}, ERASE_JOB_ERRORS, query=EraseJobQuery)
def erase_classification(job_id: str) -> Response:
    """Erases the job for good."""
    return erase_job(JobKind.CLASSIFICATION, job_id)


@blueprint.get("/erasures/<erasure_id>")
@needs(Scope.READ)
@operation("getErasure", "How far an erasure has come, and its receipt.", {200: Erasure}, (ErasureNotFound,))
def show(erasure_id: str) -> Response:
    """The receipt, kept for good."""
    return receipt(eraser().records.get(erasure_id))
