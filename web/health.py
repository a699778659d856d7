"""Whether the process lives, whether the service works, its metrics, and its description."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import redis.exceptions
from flask import Blueprint, Response, current_app, jsonify, request

from contracts.errors import ServiceError
from contracts.jobs import JobKind
from contracts.keys import Scope
from infra.errors.keys import HostUnknown
from infra.jobs.load import policy_of, read_load
from infra.jobs.metrics import render_metrics
from infra.jobs.scaling import UNMEASURED_STARTUP_S, wanted_workers
from infra.redis.check import explained, unready
from infra.runtime.telemetry import CONTENT_TYPE
from web.access.scopes import needs, open_to_all
from web.answers import Check, Health, Readiness
from web.openapi.description import describe
from web.openapi.operations import operation
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_KEY = "health/probe"
PROBE = b"written and read by the readiness check\n"
STALE_HEARTBEATS = 6
LEAST_STALE_S = 30.0
STARTS_PATIENTLY = 3.0  # times the usual start-up
ANOTHER_STORE = "Redis belongs, under this prefix, to another object store; the log at the start names both."

blueprint = Blueprint("health", __name__)
log = logging.getLogger("shitu.web")


@blueprint.get("/healthz")
@open_to_all
@operation("getHealth", "The process lives.", {200: Health})
def live() -> Response:
    """The process answers; nothing else is checked, so that a broken Redis does not get it restarted."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@open_to_all
@operation("getReadiness", "Whether jobs are accepted and worked on.", {200: Readiness, 503: Readiness})
def ready() -> tuple[Response, int]:
    """Jobs are kept, pictures are kept, and a worker with loaded models takes tasks."""
    checks = {"redis": _check(_redis), "objects": _check(_objects), "workers": _check(_workers)}
    failed = [check["detail"] for check in checks.values() if not check["ok"]]
    status, code = ("not_ready", 503) if failed else ("ready", 200)
    detail = " ".join(failed) or "Everything that a job needs is there."
    return jsonify(status=status, detail=detail, checks=checks), code


@blueprint.get("/metrics")
@needs(Scope.READ)
@operation("getMetrics", "Metrics for Prometheus.", {200: "text/plain"})
def metrics() -> Response:
    """Metrics for Prometheus: this process's, and the ledger's as they are now."""
    return Response(render_metrics(services().ledger, services().collectors), content_type=CONTENT_TYPE)


@blueprint.get("/openapi.json")
@open_to_all
@operation("getDescription", "This description.", {200: "application/json"}, (HostUnknown,))
def openapi() -> Response:
    """The description of this API."""
    document = describe(current_app)
    if request.script_root:  # the service has a path of its host, which the paths below do not name
        document = {**document, "servers": [{"url": request.script_root}]}
    return jsonify(document)


def _check(probe: Callable[[], tuple[bool, str]]) -> Check:
    try:
        ok, detail = probe()
    except ServiceError as error:
        return {"ok": False, "detail": error.detail, "code": error.code}
    except redis.exceptions.RedisError as error:
        known = explained(error)
        return {"ok": False, "detail": known.detail, "code": known.code}
    except OSError:
        log.warning("readiness check failed", exc_info=True)
        ok, detail = False, "A store does not answer."
    return {"ok": ok, "detail": detail}


def _redis() -> tuple[bool, str]:
    problem = unready(services().redis)
    return problem is None, problem or "Redis answers and takes writes."


def _objects() -> tuple[bool, str]:
    objects = services().objects
    if services().ownership.foreign() is not None:
        return False, f"The installation: {ANOTHER_STORE}"
    objects.put(PROBE_KEY, PROBE)
    if objects.get(PROBE_KEY) != PROBE:
        return False, "The object store does not give back what it was given."
    return True, "The object store takes and gives."


def _scaled_to_zero() -> tuple[bool, str]:
    """No worker is no fault while there is nothing to do, nor while the first one starts."""
    scaling = services().settings.scaling
    load = read_load(services().ledger)
    if not wanted_workers(load, policy_of(scaling)):
        return True, "No worker runs, for no job is open; the next job starts one."
    patience_s = LEAST_STALE_S + STARTS_PATIENTLY * (scaling.startup_s or load.startup_s or UNMEASURED_STARTUP_S)
    if load.oldest_age_s <= patience_s:
        return True, "A worker is being started."
    return False, f"Jobs have waited for {load.oldest_age_s:.0f} s, and no worker was started."


def _workers() -> tuple[bool, str]:
    """A heartbeat alone does not count: a worker can live and take nothing. A canary proves that tasks are taken."""
    service = services()
    workers = service.ledger.presence.workers()
    if not workers and service.settings.scaling.least == 0:
        return _scaled_to_zero()
    if not workers:
        return False, "No worker with loaded models has been heard of."
    stale_s = max(LEAST_STALE_S, STALE_HEARTBEATS * service.settings.worker.heartbeat_s)
    age_s = service.ledger.presence.consumed_age_s().get(JobKind.RECOGNITION.queue)
    if age_s is None or age_s > stale_s:
        return False, f"{len(workers)} workers say they are ready, but none has taken a task for {stale_s:g} s."
    return True, f"{len(workers)} ready; the last task was taken {age_s:.1f} s ago."
