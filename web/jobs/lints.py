"""Lints: the jobs that check galleries. `web.galleries.lint` makes them, and answers with what they found."""

from __future__ import annotations

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.lint import LintJob
from infra.errors.jobs import JobFinished
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.openapi.operations import JOB, operation

blueprint = Blueprint("lints", __name__, url_prefix=JobKind.LINT.path)


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getLint",
    "How far a version is checked.",
    {200: LintJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.LINT, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.MANAGE)
@operation("cancelLint", "Give it up; the next request begins again.", {200: LintJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.LINT, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followLint",
    "The changes of the job as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.LINT, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayLint",
    "Check a version again where that failed; a request for the findings does so, too.",
    {202: LintJob, 200: LintJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.LINT, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.MANAGE)
@operation(
    "replayLintWebhook",
    "Refused: the request for findings names no address. Its events go to registered endpoints, whose messages have replays.",
    {202: LintJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.LINT, job_id)
