"""Evaluations: jobs that compare a version of a gallery, a staged one perhaps, with the one in force, before it is activated."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from contracts.jobs import JobKind, Priority
from contracts.keys import Scope
from contracts.versions import EvaluationJob, EvaluationPage
from infra.errors.galleries import VersionNotFound
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

blueprint = Blueprint("evaluations", __name__, url_prefix=JobKind.EVALUATION.path)
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
    requested: dict[str, Any] = {"gallery": name, "version": service.galleries.manifest(name, version).version}
    if sent.against is not None:
        requested["against"] = service.galleries.manifest(name, sent.against).version
    terms = read_terms(sent.metadata, sent.priority)
    url = sent.webhook.url if sent.webhook else None
    return jobs.accept(jobs.create(JobKind.EVALUATION, requested, url, terms=terms))


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listEvaluations",
    "Evaluations, the newest first.",
    {200: EvaluationPage},
    (InvalidCursor,),
    query=JobsQuery,
)
def index() -> Response:
    """A page of them."""
    return page(JobKind.EVALUATION, "evaluations")


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getEvaluation",
    "How far an evaluation is, and its result.",
    {200: EvaluationJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.EVALUATION, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.MANAGE)
@operation("cancelEvaluation", "Give an evaluation up.", {200: EvaluationJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.EVALUATION, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followEvaluation",
    "The changes of an evaluation as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.EVALUATION, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayEvaluation",
    "Try an evaluation that failed again.",
    {202: EvaluationJob, 200: EvaluationJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.EVALUATION, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.MANAGE)
@operation(
    "replayEvaluationWebhook",
    "Send the webhook of an evaluation that ended again.",
    {202: EvaluationJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.EVALUATION, job_id)
