"""Evaluations: jobs that compare a version of a gallery, a staged one perhaps, with the one in force, before it is activated."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from contracts.jobs import JobKind, Priority
from contracts.keys import Scope
from contracts.versions import EvaluationJob, EvaluationPage
from infra.errors.galleries import VersionNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.routes import JobRoutes
from web.openapi.operations import BODY, GALLERY, WEBHOOK, operation
from web.requests.json_body import sent_json
from web.requests.members import PRIORITY, JobMetadata, Strict, Webhook
from web.requests.terms import read_terms
from web.services import services

KIND = JobKind.EVALUATION

blueprint = Blueprint("evaluations", __name__, url_prefix=KIND.path)
of_version = Blueprint("version_evaluations", __name__, url_prefix="/v1/galleries")


class EvaluationRequest(Strict):
    """What a version is compared with."""

    against: int | None = Field(None, ge=1, description="A version that is kept; without it the one in force.")
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


@of_version.post("/<name>/versions/<int:version>/evaluate")
@needs(Scope.MANAGE)
@operation(
    "evaluateVersion",
    "Compare a version's answers with those of another, before it is activated; an evaluation job.",
    {202: EvaluationJob, 200: EvaluationJob},
    (*BODY, *WEBHOOK, *GALLERY, VersionNotFound),
    body={"application/json": EvaluationRequest},
    headers=("Prefer", "Cancel-After"),
    optional_body=True,
)
def create(name: str, version: int) -> Response:
    """The comparison reads the whole gallery, so that a worker does it."""
    service = services()
    sent = sent_json(EvaluationRequest, optional=True, urls_by=service.settings)
    asked: dict[str, Any] = {"gallery": name, "version": service.galleries.manifest(name, version).version}
    if sent.against is not None:
        asked["against"] = service.galleries.manifest(name, sent.against).version
    terms = read_terms(sent.metadata, sent.priority)
    url = sent.webhook.url if sent.webhook else None
    return jobs.accept(jobs.create(KIND, asked, url, terms=terms))


routes = JobRoutes(
    blueprint,
    KIND,
    EvaluationJob,
    Scope.MANAGE,
    "an evaluation",
    {"get": "How far an evaluation is, and its result.", "replay": "Try an evaluation that failed again."},
)
routes.add_list(EvaluationPage)
routes.add_job()
routes.add_replays()
