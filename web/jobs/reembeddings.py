"""Re-embeddings: jobs that embed a gallery's pictures again with another embedder, into a staged and evaluated version."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from contracts.jobs import JobKind, Priority
from contracts.keys import Scope
from contracts.reembeddings import ReembeddingJob, ReembeddingPage
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.routes import JobRoutes
from web.openapi.operations import BODY, GALLERY, WEBHOOK, operation
from web.requests.json_body import sent_json
from web.requests.members import PRIORITY, JobMetadata, Strict, Webhook
from web.requests.terms import read_terms
from web.services import services

KIND = JobKind.REEMBEDDING

blueprint = Blueprint("reembeddings", __name__, url_prefix=KIND.path)
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
    return jobs.accept(jobs.create(KIND, wanted, url, terms=terms))


routes = JobRoutes(
    blueprint,
    KIND,
    ReembeddingJob,
    Scope.MANAGE,
    "a re-embedding",
    {
        "list": "Re-embeddings, the newest first.",
        "get": "How far a re-embedding is, and its result.",
        "replay": "Try a re-embedding that failed again: it resumes where it was.",
    },
)
routes.add_list(ReembeddingPage)
routes.add_job()
routes.add_replays()
