"""Batches of recognitions: many photos in one request, one job each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import redis.exceptions
from flask import Blueprint, Response, request, stream_with_context
from pydantic import BaseModel, ConfigDict, Field

from contracts.batches import Batch
from contracts.errors import ServiceError
from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.names import without_surrogates
from infra.errors.jobs import BatchExpired, BatchNotFound, JobExpired, JobFinished, JobNotFound
from infra.errors.requests import InvalidCursor, InvalidFilter
from infra.jobs.batch_records import PREFIX, Planned
from web.access import admission, auth, limits
from web.access.scopes import needs
from web.jobs import jobs
from web.openapi.operations import UPLOAD, Errors, Form, operation
from web.requests import idempotency
from web.requests.images import Refusal
from web.requests.json_images import Link
from web.requests.members import FILE
from web.requests.parsing import parse
from web.requests.schemas import BatchFields, PhotosRequest
from web.requests.terms import read_terms
from web.requests.uploads import read_batch
from web.requests.waiting import held, preferred_s
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import infra.jobs.batch_records
    from contracts.batches import BatchResult
    from contracts.results import RecognitionResult
    from infra.jobs.records import Job

MANY = {"images": {"type": "array", "items": FILE, "description": "The photos, many files."}}
NDJSON, CSV = "application/x-ndjson", "text/csv"
COLUMNS = (
    "index",
    "name",
    "job_id",
    "status",
    "label",
    "probability",
    "similarity",
    "x1",
    "y1",
    "x2",
    "y2",
    "error",
    "reason",
    "candidate",
)
FOUND: Errors = (BatchNotFound, BatchExpired)

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")

log = logging.getLogger("shitu.web")


class ResultsQuery(BaseModel):
    """How the results are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["ndjson", "csv"] = Field("ndjson", description="A line of JSON a photo, or CSV, a row an object.")


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createBatch",
    "Recognise what is in many photos, one job each.",
    {202: Batch, 200: Batch},
    (*UPLOAD, InvalidFilter, BatchExpired),
    body={"multipart/form-data": Form(BatchFields, MANY), "application/json": PhotosRequest},
    headers=("Prefer", "Cancel-After"),
)
def create() -> Response:
    """Keeps all photos, then promises all jobs in one transaction; a photo that cannot be used does not stop the others."""
    service = services()
    sent = read_batch(service.settings)
    terms = read_terms(sent.metadata, sent.priority)
    service.galleries.manifest(sent.gallery)
    snapshot = service.ledger.forecast.snapshot(owner=auth.owner())
    usable = sum(not isinstance(header, Refusal) for header in sent.headers)
    admission.admit(JobKind.RECOGNITION, terms.priority, snapshot, jobs=usable)
    terms = limits.owned(terms)
    planned = []
    for photo, header in zip(sent.photos, sent.headers, strict=True):
        if isinstance(header, Refusal):
            error: Any = {"code": header.code, "message": header.detail, "retryable": False}
            planned.append(Planned(photo.name, error=error))
            continue
        url = photo.url if isinstance(photo, Link) else None
        image = jobs.kept_photo(None if isinstance(photo, Link) else photo, header, photo.name)
        wanted: dict[str, Any] = {"gallery": sent.gallery, "image": image, "options": sent.options}
        if sent.filter:
            wanted["filter"] = list(sent.filter)
        planned.append(Planned(photo.name, wanted, source_url=url))
    batch_id = idempotency.new_id_of(PREFIX)
    each, behind = [], 0
    for one in planned:
        report = snapshot.of_new(JobKind.RECOGNITION, terms.priority, behind=behind)
        each.append(replace(terms, batch=batch_id, eta_s=None if one.source_url else report["eta_s"]))
        behind += one.request is not None
    requested = {
        "gallery": sent.gallery,
        "options": sent.options,
        "metadata": sent.metadata,
        "priority": sent.priority,
        **({"filter": list(sent.filter)} if sent.filter else {}),
    }
    batch = service.ledger.batches.create(batch_id, JobKind.RECOGNITION, requested, planned, sent.webhook_url, each)
    return accepted(batch, always_202=False, to_fetch={at for at, one in enumerate(planned) if one.source_url})


def accepted(batch: infra.jobs.batch_records.Batch, *, always_202: bool, to_fetch: Collection[int] = ()) -> Response:
    """Hands the jobs over and answers 202, or 200 if the client waits long enough (`always_202`: only if it waits).

    `to_fetch`: the places of those whose photos are to be fetched first.
    """
    waited = None
    try:
        queue = services().queue
        for at, one in enumerate(batch.entries):
            if one.status != "queued" or not one.job_id:
                continue
            if not (queue.fetch(one.job_id) if at in to_fetch else queue.publish(JobKind.RECOGNITION, one.job_id)):
                log.warning("batch %s could not be published whole; the sweeper will", batch.id)
                break  # the next would fail as slowly
        batch, waited = _wait(batch)
    except (ServiceError, redis.exceptions.RedisError, OSError):
        log.warning("batch %s is kept, but could not be followed", batch.id, exc_info=True)
    done = batch.finished and (waited is not None or not always_202)
    response = _answer(batch, 200 if done else 202, waited)
    response.headers["Location"] = batch.to_dict(request.script_root)["links"]["self"]
    return response


@blueprint.get("/<batch_id>")
@needs(Scope.READ)
@operation(
    "getBatch",
    "How far a batch is.",
    {200: Batch, 304: None},
    FOUND,
    headers=("Prefer", "If-None-Match"),
)
def show(batch_id: str) -> Response:
    """The batch as it is, or after the time that the client prefers to wait; 304 if nothing changed."""
    batch, waited = _wait(services().ledger.batches.get(batch_id))
    response = _answer(batch, 200, waited)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(hashlib.sha256(json.dumps(batch.to_dict()["jobs"]).encode()).hexdigest()[:32] + str(batch.status))
    response.make_conditional(request)
    return response


@blueprint.post("/<batch_id>/cancel")
@needs(Scope.RECOGNIZE)
@operation("cancelBatch", "Give all open jobs of a batch up.", {200: Batch}, (*FOUND, JobFinished))
def cancel(batch_id: str) -> Response:
    """Gives all its open jobs up."""
    return _answer(services().ledger.batches.cancel(batch_id), 200, None)


@blueprint.get("/<batch_id>/events")
@needs(Scope.READ)
@operation(
    "followBatch",
    "The changes of all jobs of a batch as they happen.",
    {200: "text/event-stream", 204: None},
    (*FOUND, InvalidCursor),
    headers=("Last-Event-ID",),
)
def events(batch_id: str) -> Response:
    """The changes of its jobs as server-sent events; 204 for a client that has seen the end."""
    service = services()
    batch = service.ledger.batches.get(batch_id)
    last_id = request.headers.get("Last-Event-ID", "0-0")
    heartbeat_s = jobs.AT_ONCE_S if batch.finished else jobs.HEARTBEAT_S
    history = service.ledger.batches.events(batch_id, last_id, heartbeat_s)
    if batch.finished and last_id != "0-0":
        rest = list(history)
        if not rest:
            return Response(status=204)
        history = iter(rest)
    name = "completed" if batch.finished else "status"
    return jobs.streamed(_stream(batch_id, history), lambda: jobs.event_text(name, _json(batch)))


@blueprint.get("/<batch_id>/results")
@needs(Scope.READ)
@operation(
    "getBatchResults", "The answers of a batch, photo by photo.", {200: (NDJSON, CSV)}, FOUND, query=ResultsQuery
)
def results(batch_id: str) -> Response:
    """The answers so far, in the order of the photos."""
    query = parse(ResultsQuery, request.args.to_dict())
    ledger = services().ledger
    batch = ledger.batches.get(batch_id)
    rows = (_result(index, *one) for index, one in enumerate(ledger.batches.jobs(batch)))
    lines = csv_of(rows) if query.format == "csv" else _ndjson(rows)
    media = CSV if query.format == "csv" else NDJSON
    response = Response(stream_with_context(lines), content_type=f"{media}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{batch_id}.{query.format}"'
    return response


def _wait(batch: infra.jobs.batch_records.Batch) -> tuple[infra.jobs.batch_records.Batch, float | None]:
    """The batch after the time that the client prefers to wait, and that time."""
    wanted = preferred_s()
    if batch.finished:
        return batch, wanted
    with held(wanted) as waited:
        return (batch, None) if waited is None else (services().ledger.batches.wait(batch.id, waited), waited)


def _answer(batch: infra.jobs.batch_records.Batch, status: int, waited: float | None) -> Response:
    response = Response(_json(batch), status=status, content_type="application/json")
    return jobs.report(response, finished=batch.finished, waited=waited)


def _json(batch: infra.jobs.batch_records.Batch) -> str:
    report = batch.to_dict(request.script_root)
    last = next((one for one in reversed(batch.entries) if one.job_id and not one.finished), None)
    if not batch.finished and last is not None and last.job_id is not None:
        try:
            ledger = services().ledger
            job = ledger.get(last.job_id)
            if not job.finished:
                report["queue"] = ledger.forecast.of(job)
        except (JobNotFound, JobExpired, redis.exceptions.RedisError):
            log.warning("the position of %s could not be read", batch.id, exc_info=True)
    return without_surrogates(json.dumps(report, ensure_ascii=False))


def _stream(batch_id: str, history: Iterator[infra.jobs.batch_records.BatchEvent | None]) -> Iterator[str]:
    """`job` events, each with the whole job, and `completed` with the batch as the last."""
    ledger = services().ledger
    yield f"retry: {jobs.RECONNECT_MS}\n\n"
    try:
        for event in history:
            if event is None:
                yield ": still here\n\n"
            elif event.job_id is None:
                batch = ledger.batches.get(batch_id)
                if batch.finished:  # else a job was replayed meanwhile
                    yield jobs.event_text("completed", _json(batch), event.id)
            else:
                try:
                    job = ledger.get(event.job_id)
                except (JobNotFound, JobExpired):
                    continue
                if job.status == event.status:  # what is past is not sent as news
                    yield jobs.event_text("job", jobs.as_json(job), event.id)
    except (BatchNotFound, BatchExpired, redis.exceptions.RedisError):
        log.warning("the stream of %s ended early; the client may come back", batch_id, exc_info=True)


def _result(index: int, entry: infra.jobs.batch_records.Entry, job: Job | None) -> BatchResult:
    report = None if job is None else job.to_dict(request.script_root)
    return {
        "index": index,
        "name": entry.name,
        "id": entry.job_id,
        "status": entry.status if report is None else report["status"],  # type: ignore[typeddict-item]  # the ledger's
        "result": None if report is None else report["result"],  # type: ignore[typeddict-item]  # a recognition's
        "error": entry.error if report is None else report["error"],
    }


def _ndjson(rows: Iterable[BatchResult]) -> Iterator[str]:
    for row in rows:
        yield without_surrogates(json.dumps(row, ensure_ascii=False)) + "\n"


def csv_of(rows: Iterable[BatchResult]) -> Iterator[str]:
    """A row for each object recognised, and one for a photo without any."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        head = [row["index"], _cell(row["name"]), row["id"] or "", row["status"]]
        code = row["error"]["code"] if row["error"] else ""
        found = row["result"]["recognitions"] if row["result"] else []
        for one in found:
            place = [_cell(one["label"]), one["probability"], one["similarity"], *one["box"]]
            writer.writerow([*head, *place, code, "", ""])
        if not found:
            writer.writerow([*head, *[""] * 7, code, *_nearest(row["result"])])
        yield without_surrogates(buffer.getvalue())
        buffer.seek(0)
        buffer.truncate()


def _nearest(result: RecognitionResult | None) -> tuple[str, str]:
    """Why nothing was recognised, and the likeliest guess."""
    if result is None:
        return "", ""
    guessed = [one for one in result["dropped"] if one["candidates"]]
    best = max(guessed, key=lambda one: one["candidates"][0]["probability"], default=None)
    if best is None:
        return result["reason"] or next((str(one["reason"]) for one in result["dropped"]), ""), ""
    return result["reason"] or best["reason"], _cell(best["candidates"][0]["label"])


def _cell(text: str) -> str:
    """As text also in a spreadsheet, which would reckon a cell that begins with `=`, `+`, `-` or `@`."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
