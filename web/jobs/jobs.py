"""What all kinds of jobs share over HTTP: accept, show, wait, cancel, replay, follow. Each kind has its own views."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis.exceptions
from flask import Response, request, stream_with_context

from contracts.errors import ServiceError
from contracts.names import without_surrogates
from infra.errors.jobs import JobExpired, JobNotFound, ResultNotReady
from infra.errors.photos import PhotoNotFetched
from infra.errors.webhooks import DeliveryNotFound
from web import pictures
from web.access import admission, auth, limits
from web.requests import idempotency
from web.requests.parsing import parse
from web.requests.schemas import PhotoQuery, PictureQuery
from web.requests.terms import read_terms
from web.requests.waiting import applied, held, preferred_s
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contracts.jobs import JobKind
    from contracts.pictures import Seen
    from contracts.results import KeptPhoto
    from infra.jobs.ledger import Job, JobEvent
    from infra.jobs.terms import Terms
    from web.requests.images import Upload

POLL_AFTER_S, LONGEST_POLL_S = 1, 10
HEARTBEAT_S = 15.0
AT_ONCE_S = 0.05  # nothing will come any more: no reason to listen long
RECONNECT_MS = 2000
BUSY_RECONNECT_MS = 3000
ETA = re.compile(rb'"eta_s": (?:null|[\d.]+)\}\}$')  # at the end of an open job's JSON, where `as_json` puts it

log = logging.getLogger("shitu.web")


def show(kind: JobKind, job_id: str) -> Response:
    """The job as it is, or after the time that the client prefers to wait; 304 if nothing changed."""
    job = find(kind, job_id)
    waited = None
    if not job.finished:
        job, waited = _wait(job)
    response = answer(job, 200, waited)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(hashlib.sha256(_without_eta(response.get_data())).hexdigest()[:32])
    response.make_conditional(request)
    return response


def cancel(kind: JobKind, job_id: str) -> Response:
    """Gives the job up. Raises JobFinished."""
    find(kind, job_id)
    return answer(services().ledger.cancel(job_id), 200)


def replay(kind: JobKind, job_id: str) -> Response:
    """Tries a failed job again. Raises JobFinished if it has not failed."""
    job = find(kind, job_id)
    if job.status == "failed":
        admission.admit(kind, job.priority, services().ledger.forecast.snapshot(owner=job.owner))
    return accept(services().ledger.replay(job_id))


def replay_webhook(kind: JobKind, job_id: str) -> Response:
    """Sends the webhook of a job that has ended again. Raises DeliveryNotFound."""
    job = find(kind, job_id)
    if job.webhook is None or job.webhook.delivery_id is None:
        raise DeliveryNotFound(f"The job {job_id} has no webhook, or has not ended.")
    delivery = services().ledger.deliveries.replay(job.webhook.delivery_id)
    if not services().queue.deliver(delivery.id):
        log.warning("delivery %s could not be published; the keeper will", delivery.id)
    return answer(find(kind, job_id), 202)


def follow(kind: JobKind, job_id: str) -> Response:
    """The job's changes as server-sent events; 204 for a client that has seen the end. Raises InvalidCursor."""
    job = find(kind, job_id)
    last_id = request.headers.get("Last-Event-ID", "0-0")
    history = services().ledger.events(job_id, last_id, AT_ONCE_S if job.finished else HEARTBEAT_S)
    if job.finished and last_id != "0-0":
        rest = list(history)  # the job is over, so this ends at once
        if not rest:
            return Response(status=204)  # an EventSource that has seen the end does not come back then
        history = iter(rest)
    name = "completed" if job.finished else "status"
    return streamed(_stream(kind, job_id, history), lambda: event_text(name, as_json(job)))


def streamed(pieces: Iterator[str], glimpse: Callable[[], str]) -> Response:
    """Server-sent events; where too many are followed, only how things stand: an EventSource comes back for more by itself."""
    holds = services().holds
    if holds.acquire(blocking=False):
        response = Response(stream_with_context(pieces))
        response.call_on_close(holds.release)
    else:
        response = Response(f"retry: {BUSY_RECONNECT_MS}\n\n{glimpse()}")
    response.content_type = "text/event-stream; charset=utf-8"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def event_text(name: str, data: str, event_id: str | None = None) -> str:
    """One server-sent event."""
    identified = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{identified}data: {data}\n\n"


def find(kind: JobKind, job_id: str) -> Job:
    """The job, if it is of this kind. Raises JobNotFound, JobExpired."""
    job = services().ledger.get(job_id)
    if job.kind != kind:
        raise JobNotFound(f"There is no {kind} {job_id}.")
    return job


def create(
    kind: JobKind,
    request: dict[str, Any],
    webhook_url: str | None = None,
    source_url: str | None = None,
    *,
    terms: Terms | None = None,
    job_id: str | None = None,
) -> Job:
    """Every job that a request makes is made here: with an Idempotency-Key once, whatever dies. For `accept` to answer.

    `job_id`: what `idempotency.new_id_of` gave, where it was needed before. `terms`: what `read_terms` gave, None: what it gives now. Raises InvalidRequest for a header that is none.
    """
    terms = terms or read_terms()
    snapshot = services().ledger.forecast.snapshot(owner=auth.owner())
    admission.admit(kind, terms.priority, snapshot)
    if source_url is None:  # how long another server takes nobody knows
        place = snapshot.of_new(kind, terms.priority, terms.units)
        terms = replace(terms, eta_s=place["eta_s"])
    job_id = job_id or idempotency.new_id_of(kind.prefix)
    return services().ledger.create(kind, request, webhook_url, source_url, job_id=job_id, terms=limits.owned(terms))


def kept_photo(upload: Upload | None, header: Seen | None, name: str = "") -> KeptPhoto:
    """An uploaded photo, kept; of one that the couriers are still to fetch (a request waits for no other server), its name."""
    if upload is None or header is None:
        return {"key": None, "name": name, "width": None, "height": None, "format": None}
    key = services().photos.keep(upload.data)
    if upload.upload_id:  # held for long enough: who dies from here on finds it under this key
        services().uploads.used(upload.upload_id, key)
    return {
        "key": key,
        "name": upload.name,
        "width": header.width,
        "height": header.height,
        "format": header.format,
    }


def galleries_of(job: Job) -> list[str]:
    """The galleries that a recognition searches."""
    return list(job.request.get("galleries") or [job.request["gallery"]])


def result_of(job: Job, purpose: str) -> dict[str, Any]:
    """The job's answer. Raises ResultNotReady, which says what it was wanted for."""
    if job.result is None:
        report = "ended without an answer" if job.finished else "has no answer yet"
        raise ResultNotReady(f"The job {job.id} {report} {purpose}.", retryable=not job.finished)
    return job.result


def photo(kind: JobKind, job_id: str) -> Response:
    """The job's photo as its query wants it. Raises PhotoNotFetched, ResultNotReady."""
    query = parse(PhotoQuery, request.args.to_dict())
    job = find(kind, job_id)
    key = photo_key(job)
    if query.link:
        return pictures.by_link(key, query, job.request["image"].get("format"))
    if not query.annotated:
        return pictures.stored(key, query.width)
    return pictures.annotated(key, result_of(job, "to draw over its photo"), query.width)


def preview(kind: JobKind, job_id: str) -> Response:
    """The job's photo as a browser can show it. Raises PhotoNotFetched."""
    query = parse(PictureQuery, request.args.to_dict())
    return pictures.shown(photo_key(find(kind, job_id)), query.width)


def photo_key(job: Job) -> str:
    """Where a recognition's photo is kept. Raises PhotoNotFetched while it is not there."""
    if job.source_url is not None:
        raise PhotoNotFetched(
            "The photo could not be fetched from its URL; the job's error says why."
            if job.finished
            else "The photo is still to be fetched from its URL."
        )
    return str(job.request["image"]["key"])


def publish(job: Job) -> bool:
    """Hands the job over: to those who fetch its photo, or to a worker."""
    queue = services().queue
    return queue.fetch(job.id) if job.source_url is not None else queue.publish(job.kind, job.id)


def accepted_again(job: Job) -> Response:
    """The 202 of a job that was accepted before, as it is by now; 200 if it has ended and the client waits for that."""
    waited = None
    if job.status == "queued":
        publish(job)  # whoever accepted it may have died before
    if not job.finished:
        job, waited = _wait(job)
    elif preferred_s() is not None:
        waited = 0.0
    response = answer(job, 200 if job.finished and waited is not None else 202, waited)
    response.headers["Location"] = job.to_dict(request.script_root)["links"]["self"]
    return response


def accept(job: Job) -> Response:
    """Hands a kept job over and answers 202, or 200 if the client waits long enough.

    The ledger has the job: a publish that fails is repeated by the sweeper, and waiting that fails becomes polling.
    """
    waited = None
    try:
        if not publish(job):
            log.warning("job %s could not be published; the sweeper will", job.id)
        job, waited = _wait(job)
    except (ServiceError, redis.exceptions.RedisError, OSError):
        log.warning("job %s is kept, but could not be followed", job.id, exc_info=True)
    response = answer(job, 200 if job.finished else 202, waited)
    response.headers["Location"] = job.to_dict(request.script_root)["links"]["self"]
    return response


def answer(job: Job, status: int, waited: float | None = None) -> Response:
    """The job as JSON; while it is open, with the time after which to look again."""
    shown = _shown(job)
    response = Response(_json(shown), status=status, content_type="application/json")
    return report(response, finished=job.finished, waited=waited, eta_s=shown.get("queue", {}).get("eta_s"))


def report(response: Response, *, finished: bool, waited: float | None, eta_s: float | None = None) -> Response:
    """`response` with the headers about waiting: `waited` seconds were granted, None: the client did not want to wait.

    Who follows Retry-After polls again after half of the time that is left, so that a long queue is not polled every second.
    """
    if not finished:
        response.headers["Retry-After"] = str(poll_after_s(eta_s))
    return applied(response, waited)


def poll_after_s(eta_s: float | None) -> int:
    """Seconds until the next look at a job that ends in `eta_s` seconds; None: nobody knows."""
    return POLL_AFTER_S if eta_s is None else min(LONGEST_POLL_S, max(POLL_AFTER_S, round(eta_s / 2)))


def _wait(job: Job) -> tuple[Job, float | None]:
    """The job after the time that the client prefers to wait, and that time; at once if too many wait already."""
    with held(preferred_s()) as waited:
        return (job, None) if waited is None else (services().ledger.wait(job.id, waited, job), waited)


def as_json(job: Job) -> str:
    """The job, an open one with where it stands."""
    return _json(_shown(job))


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = {**job.to_dict(request.script_root)}
    if not job.finished:
        try:
            shown["queue"] = services().ledger.forecast.of(job)
        except redis.exceptions.RedisError:  # the job is accepted all the same
            log.warning("the position of %s could not be read", job.id, exc_info=True)
    return shown


def _json(shown: dict[str, Any]) -> str:
    """Labels of galleries from before there was a rule for them must not make an answer impossible."""
    return without_surrogates(json.dumps(shown, ensure_ascii=False))


def _without_eta(body: bytes) -> bytes:
    """What the ETag is of: seconds that merely pass are no change."""
    return ETA.sub(b"", body)


def _stream(kind: JobKind, job_id: str, history: Iterator[JobEvent | None]) -> Iterator[str]:
    """The job's history in the format of server-sent events, each with the whole job; `completed` is the last."""
    yield f"retry: {RECONNECT_MS}\n\n"
    try:
        for event in history:
            if event is None:
                yield ": still here\n\n"
                continue
            job = find(kind, job_id)
            if job.finished and not event.status.finished:
                continue  # what is past is not sent as news
            yield event_text("completed" if event.status.finished else "status", as_json(job), event.id)
    except (JobNotFound, JobExpired, redis.exceptions.RedisError):
        log.warning("the stream of %s ended early; the client may come back", job_id, exc_info=True)
