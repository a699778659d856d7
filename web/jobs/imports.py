"""Imports: jobs that bring many pictures at once into a gallery as one version, and the reports of their lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field

from contracts.imports import ImportJob, ImportPage, ImportReport, LineStatus
from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.names import without_surrogates
from infra.errors.galleries import GalleryNotFound, ImportForbidden, InvalidGalleryName
from infra.errors.jobs import JobFinished, ResultNotReady
from infra.errors.requests import InvalidCursor, InvalidRequest, UploadTooSlow
from infra.errors.webhooks import DeliveryNotFound
from infra.galleries.staging import Stage
from infra.jobs.terms import Terms
from infra.runtime import audit
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.lists import JobsQuery, page
from web.openapi.operations import BODY, JOB, WEBHOOK, Form, operation
from web.requests import idempotency
from web.requests.import_uploads import ImportFields, ImportRequest, keep, read_import
from web.requests.members import FILE
from web.requests.parsing import parse
from web.requests.terms import read_terms
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.galleries.staging import Line

NDJSON = "application/x-ndjson"
MANY_FILES = {
    "files": {
        "type": "array",
        "items": FILE,
        "description": "A zip of pictures in folders by label; a list with or without a zip; vector.index with id_map.pkl or "
        "id_map.yaml, with or without a zip; or a file of `shitu gallery export`.",
    }
}

blueprint = Blueprint("imports", __name__, url_prefix=JobKind.IMPORT.path)
of_gallery = Blueprint("gallery_imports", __name__, url_prefix="/v1/galleries")


class ReportQuery(BaseModel):
    """Which lines of a report; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: LineStatus | None = Field(None, description="Only lines that became this.")
    limit: int = Field(1000, ge=1, le=10_000, description="Lines in one page.")
    after: int = Field(0, ge=0, description="The `next_after` of the page before.")
    format: Literal["json", "ndjson"] = Field(
        "json", description="`ndjson`: all lines that fit, one JSON object a line."
    )


@of_gallery.post("/<name>/imports")
@needs(Scope.MANAGE)
@operation(
    "createImport",
    "Import pictures: an archive, a list, an index, a bundle, or a place; an import job.",
    {202: ImportJob, 200: ImportJob},
    (*BODY, *WEBHOOK, UploadTooSlow, ImportForbidden, GalleryNotFound, InvalidGalleryName),
    body={"multipart/form-data": Form(ImportFields, MANY_FILES), "application/json": ImportRequest},
    headers=("Prefer", "Cancel-After"),
)
def create(name: str) -> Response:
    """What was sent is kept, then the job promised: whoever dies between leaves files that the keeper removes."""
    service = services()
    sent = read_import(service.settings)
    terms: Terms = read_terms(sent.metadata, sent.priority)
    service.galleries.manifest(name)
    if sent.source is not None:
        require_allowed(sent.source, service.settings.galleries.import_roots)
    job_id = idempotency.new_id_of(JobKind.IMPORT.prefix)
    files = keep(Stage(service.objects, job_id), sent)
    requested = {
        "gallery": name, "files": files, "source": sent.source, "list": sent.list, "delimiter": sent.delimiter,
        "crop": sent.crop, "activate": sent.activate,
    }  # fmt: skip
    job = jobs.create(JobKind.IMPORT, requested, sent.webhook_url, terms=terms, job_id=job_id)
    audit.accepted(name, job.id, len(files))
    return jobs.accept(job)


def require_allowed(source: str, roots: tuple[str, ...]) -> None:
    """What a worker would refuse anyway, at once. It alone knows where its links lead. Raises ImportForbidden, InvalidRequest."""
    if not source.startswith(("/", "s3://")) or ".." in source.split("/"):
        detail = "give s3://bucket/prefix, or an absolute folder of the workers' machines"
        raise InvalidRequest(f"source: {detail}.", errors=[{"pointer": "/source", "detail": detail}])
    place = source.rstrip("/")
    if not any(place == root or place.startswith(root.rstrip("/") + "/") for root in roots):
        raise ImportForbidden(
            f"{source!r} is not below a place that this service may import from; SHITU_GALLERIES__IMPORT_ROOTS names those."
        )


@blueprint.get("")
@needs(Scope.READ)
@operation("listImports", "Imports, the newest first.", {200: ImportPage}, (InvalidCursor,), query=JobsQuery)
def index() -> Response:
    """A page of them."""
    return page(JobKind.IMPORT, "imports")


@blueprint.get("/<job_id>")
@needs(Scope.READ)
@operation(
    "getImport",
    "How far an import is, and its result.",
    {200: ImportJob, 304: None},
    JOB,
    headers=("Prefer", "If-None-Match"),
)
def show(job_id: str) -> Response:
    """The job as it is."""
    return jobs.show(JobKind.IMPORT, job_id)


@blueprint.post("/<job_id>/cancel")
@needs(Scope.MANAGE)
@operation("cancelImport", "Give an import up: no version is made.", {200: ImportJob}, (*JOB, JobFinished))
def cancel(job_id: str) -> Response:
    """Gives the job up."""
    return jobs.cancel(JobKind.IMPORT, job_id)


@blueprint.get("/<job_id>/events")
@needs(Scope.READ)
@operation(
    "followImport",
    "The changes of an import as they happen, its progress too.",
    {200: "text/event-stream", 204: None},
    (*JOB, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(job_id: str) -> Response:
    """The job's changes as server-sent events."""
    return jobs.follow(JobKind.IMPORT, job_id)


@blueprint.post("/<job_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayImport",
    "Resume an import that failed; what was done is not done again.",
    {202: ImportJob, 200: ImportJob},
    (*JOB, JobFinished),
    headers=("Prefer",),
)
def replay(job_id: str) -> Response:
    """Tries a failed job again."""
    return jobs.replay(JobKind.IMPORT, job_id)


@blueprint.post("/<job_id>/webhook/replay")
@needs(Scope.MANAGE)
@operation(
    "replayImportWebhook",
    "Send the webhook of an import that ended again.",
    {202: ImportJob},
    (*JOB, DeliveryNotFound),
)
def replay_webhook(job_id: str) -> Response:
    """Sends the job's webhook again."""
    return jobs.replay_webhook(JobKind.IMPORT, job_id)


@blueprint.get("/<job_id>/report")
@needs(Scope.READ)
@operation(
    "getImportReport",
    "What became of each line.",
    {200: (ImportReport, NDJSON)},
    (*JOB, ResultNotReady, InvalidRequest),
    query=ReportQuery,
)
def report(job_id: str) -> Response:
    """A page of the report, or all of it as lines."""
    query = parse(ReportQuery, request.args.to_dict())
    job = jobs.find(JobKind.IMPORT, job_id)
    jobs.result_of(job, "to report of")
    lines = Stage(services().objects, job_id).report() or []
    fitting = [line for line in lines if query.status in (None, line["status"])]
    if query.format == "ndjson":
        return Response(_as_lines(fitting), content_type=f"{NDJSON}; charset=utf-8")
    end = query.after + query.limit
    reported: ImportReport = {
        "lines": fitting[query.after : end],  # type: ignore[typeddict-item]  # read back from JSON
        "total": len(fitting),
        "next_after": str(end) if end < len(fitting) else None,
    }
    return Response(without_surrogates(json.dumps(reported, ensure_ascii=False)), content_type="application/json")


def _as_lines(lines: list[Line]) -> Iterator[str]:
    for line in lines:
        yield without_surrogates(json.dumps(line, ensure_ascii=False)) + "\n"
