"""Enrolments: the jobs that add pictures to a gallery. `web.galleries.items.add_items` makes them."""

from __future__ import annotations

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.results import EnrollmentJob, EnrollmentPage
from infra.errors.jobs import JobFinished
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.lists import JobsQuery, page
from web.openapi.operations import JOB, operation

blueprint = Blueprint("enrollments", __name__, url_prefix=JobKind.ENROLLMENT.path)


@blueprint.get("")
@needs(Scope.READ)
@operation("listEnrollments", "Enrolments, the newest first.", {200: EnrollmentPage}, (InvalidCursor,), query=JobsQuery)
def index() -> Response:
    """A page of them."""
    return page(JobKind.ENROLLMENT, "enrollments")


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getEnrollment",
    "How far an enrolment is, and what became of each picture.",
    {200: EnrollmentJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.ENROLLMENT, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.MANAGE)
@operation("cancelEnrollment", "Give an enrolment up.", {200: EnrollmentJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.ENROLLMENT, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayEnrollment",
    "Try an enrolment that failed again, from the start.",
    {202: EnrollmentJob, 200: EnrollmentJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.ENROLLMENT, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.MANAGE)
@operation(
    "replayEnrollmentWebhook",
    "Send the webhook of an enrolment that ended again.",
    {202: EnrollmentJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.ENROLLMENT, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followEnrollment",
    "The changes of an enrolment as they happen.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.ENROLLMENT, job_id)
