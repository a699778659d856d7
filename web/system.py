"""The service as it is now, for people and programs that look after it: workers with their networks, queues, jobs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from contracts.keys import Scope
from infra.version import VERSION
from web.access.scopes import needs
from web.answers import FinishedJobs, QueueState, System, WorkerState
from web.galleries.embedders import embedders_of
from web.openapi.operations import operation
from web.services import services

blueprint = Blueprint("system", __name__)


@blueprint.get("/v1/system")
@needs(Scope.READ)
@operation("getSystem", "Workers, networks, queues and jobs as they are now.", {200: System})
def show() -> Response:
    """What the page of the service shows; of two requests, the difference of `finished` is the throughput."""
    ledger = services().ledger
    stats = ledger.stats()
    workers: list[WorkerState] = [
        {
            "name": worker.name,
            "queues": list(worker.info.get("queues", ())),
            "models": worker.info.get("models") or {},
            "embedders": [{"name": name, "digest": digest} for digest, name in embedders_of(worker).items()],
        }
        for worker in ledger.presence.workers()
    ]
    queues: list[QueueState] = [
        {"name": name, "messages": stats.messages.get(name, 0), "consumed_age_s": stats.consumed_age_s.get(name)}
        for name in sorted({*stats.messages, *stats.consumed_age_s})
    ]
    finished: list[FinishedJobs] = [
        {"kind": kind, "status": status, "count": count} for (kind, status), count in sorted(stats.finished.items())
    ]
    report: System = {
        "version": VERSION,
        "workers": workers,
        "queues": queues,
        "queued": stats.queued,
        "processing": stats.processing,
        "oldest_queued_age_s": stats.oldest_queued_age_s,
        "finished": finished,
        "webhooks_pending": stats.deliveries_pending,
    }
    response = jsonify(report)
    response.headers["Cache-Control"] = "no-store"
    return response
