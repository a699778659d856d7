"""The routes that kinds of jobs share, each with its OpenAPI entry: list, show, cancel, replay, follow, and those of a photo.

A kind's own module says which of them it has, next to the view that makes its jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.keys import Scope
from infra.errors.jobs import JobFinished, ResultNotReady
from infra.errors.photos import PhotoNotFetched
from infra.errors.requests import InvalidCursor
from infra.errors.webhooks import DeliveryNotFound
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.lists import JobsQuery, page
from web.openapi.operations import JOB, RENDERING, operation
from web.pictures import ANY_IMAGE, PictureLink
from web.requests.schemas import PhotoQuery, PictureQuery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Blueprint, Response

    from contracts.jobs import JobKind


@dataclass(frozen=True)
class JobRoutes:
    """Adds routes of one kind of job to a blueprint.

    `job`: the record of one; `scope`: who may cancel and replay it; `noun`: "an evaluation"; `summaries`: what /openapi.json
    says instead of the usual, by the first word of the operation's name.
    """

    blueprint: Blueprint
    kind: JobKind
    job: type
    scope: Scope
    noun: str
    summaries: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As operations have it: `Evaluation` of `getEvaluation`."""
        return self.kind.value.capitalize()

    def add_list(self, record: type) -> None:
        """`GET /`: a page of jobs, which is a `record`."""
        kind, plural = self.kind, f"{self.kind.value}s"
        summary = self.summaries.get("list", f"{plural.capitalize()}, the newest first.")

        @self.blueprint.get("")
        @needs(Scope.READ)
        @operation(f"list{self.name}s", summary, {200: record}, (InvalidCursor,), query=JobsQuery)
        def index() -> Response:
            return page(kind, plural)

    def add_job(self) -> None:
        """`GET /JOB`, `POST /JOB/cancel` and `GET /JOB/events`."""
        kind, job, name = self.kind, self.job, self.name

        @self.blueprint.get("/<job_id>")
        @needs(Scope.READ)
        @operation(
            f"get{name}",
            self.summaries.get("get", f"How far {self.noun} is, and its answer."),
            {200: job, 304: None},
            JOB,
            headers=("Prefer", "If-None-Match"),
        )
        def show(job_id: str) -> Response:
            return jobs.show(kind, job_id)

        @self.blueprint.post("/<job_id>/cancel")
        @needs(self.scope)
        @operation(
            f"cancel{name}",
            self.summaries.get("cancel", f"Give {self.noun} up."),
            {200: job},
            (*JOB, JobFinished),
        )
        def cancel(job_id: str) -> Response:
            return jobs.cancel(kind, job_id)

        @self.blueprint.get("/<job_id>/events")
        @needs(Scope.READ)
        @operation(
            f"follow{name}",
            self.summaries.get("follow", f"The changes of {self.noun} as they happen."),
            {200: "text/event-stream", 204: None},
            (*JOB, InvalidCursor),
            headers=("Last-Event-ID",),
        )
        def events(job_id: str) -> Response:
            return jobs.follow(kind, job_id)

    def add_replays(self) -> None:
        """`POST /JOB/replay` and `POST /JOB/webhook/replay`."""
        kind, job, name = self.kind, self.job, self.name

        @self.blueprint.post("/<job_id>/replay")
        @needs(self.scope)
        @operation(
            f"replay{name}",
            self.summaries.get("replay", f"Try {self.noun} that failed again, from the start."),
            {202: job, 200: job},
            (*JOB, JobFinished),
            headers=("Prefer",),
        )
        def replay(job_id: str) -> Response:
            return jobs.replay(kind, job_id)

        @self.blueprint.post("/<job_id>/webhook/replay")
        @needs(self.scope)
        @operation(
            f"replay{name}Webhook",
            self.summaries.get("webhook", f"Send the webhook of {self.noun} that ended again."),
            {202: job},
            (*JOB, DeliveryNotFound),
        )
        def replay_webhook(job_id: str) -> Response:
            return jobs.replay_webhook(kind, job_id)

    def add_photo(self, drawn: str) -> None:
        """`GET /JOB/image` and `GET /JOB/preview`; `drawn`: what stands over the photo."""
        kind, name = self.kind, self.name

        @self.blueprint.get("/<job_id>/image")
        @needs(Scope.READ)
        @operation(
            f"get{name}Image",
            f"The photo as it was uploaded or fetched, smaller, or with {drawn} drawn over it.",
            {200: (ANY_IMAGE, PictureLink), 304: None},
            (*JOB, *RENDERING, PhotoNotFetched, ResultNotReady),
            query=PhotoQuery,
            headers=("If-None-Match",),
        )
        def image(job_id: str) -> Response:
            return jobs.photo(kind, job_id)

        @self.blueprint.get("/<job_id>/preview")
        @needs(Scope.READ)
        @operation(
            f"get{name}Preview",
            "The photo as a browser can show it.",
            {200: ANY_IMAGE, 304: None},
            (*JOB, *RENDERING, PhotoNotFetched),
            query=PictureQuery,
            headers=("If-None-Match",),
        )
        def preview(job_id: str) -> Response:
            return jobs.preview(kind, job_id)
