"""What /openapi.json has besides its routes: tags, servers, and the messages that the service sends (webhooks, callbacks)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from contracts.events import ENDS, TEST
from contracts.jobs import JobKind
from web.openapi.operations import Form

if TYPE_CHECKING:
    from web.openapi.operations import Operation

SCHEMA_PATH = "#/components/schemas/"
SERVERS = [{"url": "/", "description": "The service that this description comes from."}]
PAGES = "Pages"
SERVICE = "The service"
PROBES = frozenset({"healthz", "readyz", "metrics", "openapi.json"})
# the first part of a path below /v1 -> its tag, in the order of the reference, and its description
TAGS = {
    "recognitions": ("Recognitions", "A photo and a gallery in, a job out; its answer, its photo, and what people say of it."),
    "galleries": ("Galleries", "Named sets of labelled pictures. Every change makes a version that can be gone back to."),
    "enrollments": ("Enrolments", "The jobs that add pictures to galleries."),
    "imports": ("Imports", "The jobs that bring many pictures at once into galleries, and their reports."),
    "evaluations": ("Evaluations", "The jobs that compare a gallery's version with another before it is activated."),
    "reembeddings": ("Re-embeddings", "The jobs that embed galleries again, with another embedder."),
    "lints": ("Lints", "The jobs that check galleries; the gallery's own route returns their findings."),
    "batches": ("Batches", "Many photos in one request, one recognition each."),
    "detections": ("Detections", "A detector alone."),
    "embeddings": ("Embeddings", "An embedder alone."),
    "classifications": ("Classifications", "A classifier alone."),
    "uploads": ("Uploads", "Pictures that are sent by a link, past the request that names them."),
    "links": ("Links", "Pictures by links that need no key."),
    "webhooks": ("Webhooks", "Registered endpoints, and the messages to them."),
    "deliveries": ("Deliveries", "Messages to whichever receiver."),
    "events": ("Events", "The feed of what happens, in order."),
    "erasures": ("Erasures", "What was erased for good, and its receipt."),
    "keys": ("Keys", "API keys; for keys with the scope admin."),
}  # fmt: skip
PADDLEX, PADDLE_SERVING = "PaddleX serving", "Paddle Serving"
OTHER_TAGS = {
    PADDLEX: "The routes of PaddleX serving, for its clients.",
    PADDLE_SERVING: "The route of Paddle Serving's PP-ShiTu pipeline, for its clients.",
    SERVICE: "Probes, metrics, and this description.",
    PAGES: "For people, in a browser.",
}
# of headers, what is refused by its form; of the others what is not understood is ignored, as their RFCs require
FORMS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "minLength": 1,
        "maxLength": 255,
        "pattern": r"""^("([ !#-\[\]-~]|\\["\\])+"|[!#-+\--:<-\[\]-~]+)$""",
    },
    "Cancel-After": {"pattern": "^(([0-9]{1,9}[smhd])+|[0-9]{1,9})$"},
}
SIGNED = {
    "webhook-id": "The same for every attempt: keep it, to ignore what comes twice.",
    "webhook-timestamp": "Of the attempt, in Unix seconds.",
    "webhook-signature": "One or more signatures of `id.timestamp.body`, separated by spaces (Standard Webhooks 1.0.0).",
}
TAKEN = {
    "2XX": {"description": "Taken."},
    "410": {"description": "Not wanted any more: a registered endpoint is disabled."},
    "default": {"description": "Tried again for three days; a redirect is not followed."},
}


def tag_of(path: str) -> str:
    """The one tag of a route."""
    below, _, rest = path.removeprefix("/").partition("/")
    if below.startswith("shitu-") or below == "image-classification":
        return PADDLEX
    if below == "recognition":
        return PADDLE_SERVING
    name = rest.partition("/")[0]
    if below == "v1" and name in TAGS:
        return TAGS[name][0]
    return SERVICE if below in {"v1", *PROBES} else PAGES


def tags(used: set[str]) -> list[dict[str, str]]:
    """Those that routes have, each with what it is about."""
    report = {**dict(TAGS.values()), **OTHER_TAGS}
    return [{"name": name, "description": about} for name, about in report.items() if name in used]


def events() -> dict[str, Any]:
    """The schemas of messages, by the name of each: one for a kind of job, and that of a test."""
    found = {_event(kind): _message([f"{kind}.{end}" for end in ENDS], _reference(_job(kind))) for kind in JobKind}
    return {**found, "TestEvent": _message([TEST], {"type": "object"})}


def webhooks() -> dict[str, Any]:
    """What is sent to registered endpoints."""
    about = {kind: f"A job of the kind {kind} has ended." for kind in JobKind}
    found = {kind.value: {"post": _post(_event(kind), report, kind.value)} for kind, report in about.items()}
    return {**found, "test": {"post": _post("TestEvent", "POST /v1/webhooks/{webhook_id}/test was called.", "test")}}


def callbacks(operation: Operation) -> dict[str, Any]:
    """What a request brings about at the address that it names; empty for one that can't name any."""
    kinds = [kind for kind in JobKind for answer in operation.answer.values() if getattr(answer, "__name__", "") == _job(kind)]  # fmt: skip
    batch = any(getattr(answer, "__name__", "") == "Batch" for answer in operation.answer.values())
    places = []
    for body in itertools.chain.from_iterable(
        one if isinstance(one, tuple) else (one,) for one in operation.body.values()
    ):
        if isinstance(body, type):
            places += ["{$request.body#/webhook/url}"] * ("webhook" in body.model_fields)
        elif isinstance(body, Form):
            places += ["{$request.body#/webhook_url}"] * ("webhook_url" in body.fields.model_fields)
    if not places or not (kinds or batch):
        return {}
    kind = kinds[0] if kinds else JobKind.RECOGNITION
    report = "Each job of the batch, when it has ended." if batch else "The job has ended."
    return {"ended": {place: {"post": _post(_event(kind), report, f"{operation.name}Ended")} for place in places}}


def _post(event: str, summary: str, name: str) -> dict[str, Any]:
    return {
        "operationId": f"on{name[0].upper()}{name[1:]}",
        "summary": summary,
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
            for header, about in SIGNED.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference(event)}}},
        "responses": TAKEN,
    }


def _message(types: list[str], data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "What happened: the same at every attempt, for every receiver and in the feed.",
        "properties": {
            "type": {"type": "string", "enum": types},
            "timestamp": {"type": "string", "description": "Of the event, ISO 8601."},
            "data": data,
        },
        "required": ["type", "timestamp", "data"],
        "additionalProperties": True,
    }


def _job(kind: JobKind) -> str:
    return f"{kind.capitalize()}Job"


def _event(kind: JobKind) -> str:
    return f"{kind.capitalize()}Event"


def _reference(name: str) -> dict[str, str]:
    return {"$ref": SCHEMA_PATH + name}
