"""Re-embeddings: jobs that embed a gallery's pictures again with another embedder, into a staged and evaluated version."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from contracts.jobs import JobKind, Priority
from contracts.keys import Scope
from contracts.reembeddings import ReembeddingJob, ReembeddingPage
from infra.errors.jobs import JobFinished
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.lists import JobsQuery, page
from web.openapi.operations import BODY, GALLERY, JOB, WEBHOOK, operation
from web.requests.json_body import sent_json
from web.requests.members import PRIORITY, JobMetadata, Strict, Webhook
from web.requests.terms import read_terms
from web.services import services

blueprint = Blueprint("reembeddings", __name__, url_prefix=JobKind.REEMBEDDING.path)
of_gallery = Blueprint("gallery_reembeddings", __name__, url_prefix="/v1/galleries")


class ReembeddingRequest(Strict):
    """Which embedder the gallery's pictures are embedded with."""

    embedder: str = Field(
        min_length=1,
        max_length=1024,
        description="The name or the digest of one of the workers' embedders, as the settings have it.",
    )
    activate: bool = Field(
        False,
        description="Whether the new version is put in force: only if it has all items, answers no fewer of them right, and the gallery did not change meanwhile.",
    )
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


@of_gallery.post("/<name>/reembed")
@needs(Scope.MANAGE)
@operation(
    "reembedGallery",
    "Embed a gallery's pictures again with another embedder, into a staged and evaluated version; a job.",
    {202: ReembeddingJob, 200: ReembeddingJob},
    (*BODY, *WEBHOOK, *GALLERY),
    body={"application/json": ReembeddingRequest},
    headers=("Prefer", "Cancel-After"),
)
def create(name: str) -> Response:
    """Which embedders there are, the workers know."""
    service = services()
    sent = sent_json(ReembeddingRequest, urls_by=service.settings)
    service.galleries.manifest(name)
    wanted: dict[str, Any] = {"gallery": name, "embedder": sent.embedder, "activate": sent.activate}
    terms = read_terms(sent.metadata, sent.priority)
    url = sent.webhook.url if sent.webhook else None
    return jobs.accept(jobs.create(JobKind.REEMBEDDING, wanted, url, terms=terms))


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listReembeddings",
    "Re-embeddings, the newest first.",
    {200: ReembeddingPage},
    (InvalidCursor,),
    query=JobsQuery,
)
def index() -> Response:
    """A page of them."""
    return page(JobKind.REEMBEDDING, "reembeddings")


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getReembedding",
    "How far a re-embedding is, and its result.",
    {200: ReembeddingJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.REEMBEDDING, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.MANAGE)
@operation("cancelReembedding", "Give a re-embedding up.", {200: ReembeddingJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.REEMBEDDING, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followReembedding",
    "The changes of a re-embedding as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.REEMBEDDING, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayReembedding",
    "Try a re-embedding that failed again: it resumes where it was.",
    {202: ReembeddingJob, 200: ReembeddingJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.REEMBEDDING, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.MANAGE)
@operation(
    "replayReembeddingWebhook",
    "Send the webhook of a re-embedding that ended again.",
    {202: ReembeddingJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.REEMBEDDING, job_id)
