"""Builds /openapi.json (OpenAPI 3.1) from the application's rules, what stands above each view, and the typed records.

Tests hold the answers of the views to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

from contracts.errors import ServiceError
from infra.errors.jobs import JobErased, JobExpired
from infra.errors.keys import (
    BytesLimited,
    CrossSite,
    HostUnknown,
    KeyExpired,
    KeyInvalid,
    KeyMissing,
    KeysRequired,
    OpenJobsLimited,
    RateLimited,
    ScopeMissing,
)
from infra.errors.requests import (
    BodyTooLarge,
    HeadersTooLarge,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    InvalidRequest,
    RequestLineTooLong,
    UnreadableRequest,
)
from infra.errors.service import Overloaded, RedisUnavailable, StorageUnavailable
from infra.version import VERSION
from web import answers
from web.access.scopes import scope_of
from web.openapi import parts as openapi_parts
from web.openapi.examples import add_examples
from web.openapi.operations import Form, Operation, Raw, operation_of, takes_idempotency_key
from web.requests import members

if TYPE_CHECKING:
    from flask import Flask

    from contracts.keys import Scope
    from web.openapi.operations import Body, Errors

SCHEMA_PATH = "#/components/schemas/"
KEY = "An API key, `shitu_…`; where the service requires one. The name in each operation is the scope that it needs."
DOCUMENT = "openapi"  # in the application's extensions
EVERYWHERE: Errors = (
    ServiceError,
    InvalidRequest,
    BodyTooLarge,
    RequestLineTooLong,
    HeadersTooLarge,
    UnreadableRequest,
    RedisUnavailable,
    StorageUnavailable,
)
WITH_KEY: Errors = (
    KeyMissing,
    KeyInvalid,
    KeyExpired,
    ScopeMissing,
    KeysRequired,
    HostUnknown,
    CrossSite,
    RateLimited,
    BytesLimited,
    OpenJobsLimited,
)
NEW_JOB: Errors = (Overloaded,)
IDEMPOTENCY: Errors = (IdempotencyKeyReused, IdempotencyInProgress, JobExpired, JobErased)
HEADERS = {
    "Prefer": (
        "string",
        "`wait=10` waits so many seconds for the job to end (RFC 7240), `wait` as long as is allowed; `respond-async` does not wait.",
    ),
    "Cancel-After": ("string", "Cancels the job if it has not ended by then: `15s`, `1m`, `2h`, `1h30m`; 1s to 7d."),
    "Idempotency-Key": (
        "string",
        "A quoted string, best a UUID, that names this request: its repetition within a day gets the same answer and makes nothing new.",
    ),
    "If-None-Match": ("string", "The ETag seen last: 304 if nothing changed."),
    "traceparent": (
        "string",
        "W3C Trace Context: the trace that the job and its webhook continue; without it a new one.",
    ),
    "Last-Event-ID": ("string", "The id of the last event seen; the stream continues after it."),
}


IMAGES = (members.ImageBase64, members.ImageUrl, members.ImageUpload)


@dataclass(frozen=True)
class Route:
    """One method at one path, as OpenAPI writes it: /v1/galleries/{name}."""

    method: str
    path: str
    operation: Operation
    scope: Scope | None


def openapi_path(rule: str) -> str:
    """A rule of Flask's as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def routes(app: Flask) -> list[Route]:
    """All described routes of an application."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is not None:
            methods = sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"})
            found += [Route(method.lower(), openapi_path(rule.rule), operation, scope_of(view)) for method in methods]
    return found


def describe(app: Flask) -> dict[str, Any]:
    """The whole OpenAPI document of an application, made once."""
    kept: dict[str, Any] | None = app.extensions.get(DOCUMENT)
    if kept is None:
        kept = app.extensions[DOCUMENT] = _document(routes(app))
    return kept


def _document(found: list[Route]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in found:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ShiTu",
            "version": VERSION,
            "summary": "Visual recognition as an asynchronous service",
            "description": "Every error is a problem document (RFC 9457) with a stable `code`. Every answer carries X-Request-Id.",
        },
        "servers": openapi_parts.SERVERS,
        "tags": openapi_parts.tags({openapi_parts.tag_of(route.path) for route in found}),
        "paths": paths,
        "webhooks": openapi_parts.webhooks(),
        "components": {
            "schemas": {**_schemas([route.operation for route in found]), **openapi_parts.events()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": KEY}},
        },
    }
    add_examples(document)
    return document


def _operation(route: Route) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [openapi_parts.tag_of(route.path)],
        "parameters": _parameters(route),
        "security": [{"key": [route.scope.value]}] if route.scope else [],
        "responses": _responses(operation, _also(route)),
    }
    if route.scope and operation.answer.get(200) == "text/html":
        described["responses"]["303"] = {"description": "To the sign-in, where keys are required."}
    if operation.body:
        content = {media: {"schema": _body(body)} for media, body in operation.body.items()}
        described["requestBody"] = {"required": not operation.optional_body, "content": content}
    if called := openapi_parts.callbacks(operation):
        described["callbacks"] = called
    return described


def _also(route: Route) -> Errors:
    """What a route may be refused with because of what all routes of its kind have."""
    key = WITH_KEY if route.scope else ()
    admitted = NEW_JOB if 202 in route.operation.answer else ()
    return (*key, *admitted, *(IDEMPOTENCY if "Idempotency-Key" in _headers(route) else ()))


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if name == "version" else "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    in_headers = [
        {
            "name": name,
            "in": "header",
            "description": HEADERS[name][1],
            "schema": {"type": HEADERS[name][0], **openapi_parts.FORMS.get(name, {})},
        }
        for name in _headers(route)
    ]
    return in_path + in_headers + (_query(route.operation.query) if route.operation.query else [])


def _headers(route: Route) -> tuple[str, ...]:
    """Of the request; those that belong to every route of a kind need not stand above each view."""
    found = dict.fromkeys(route.operation.headers)
    if route.method == "post" and takes_idempotency_key(route.operation):
        found["Idempotency-Key"] = None
        found["traceparent"] = None
    return tuple(found)


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    families = getattr(model, "PREFIXES", {})  # of names that the client chooses the rest of
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": member}
        for name, member in schema["properties"].items()
    ] + [
        {"name": f"{prefix}KEY", "in": "query", "required": False, "description": report, "schema": {"type": "string"}}
        for prefix, report in families.items()
    ]


def _responses(operation: Operation, more: Errors) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in operation.answer.items():
        responses[str(status)] = {"description": _meaning(status)}
        for one in answers_of(answer):
            media = one if isinstance(one, str) else "application/json"
            schema = {} if isinstance(one, str) else _reference(one)
            content = responses[str(status)].setdefault("content", {})
            content[media] = {"schema": {"anyOf": [content[media]["schema"], schema]} if media in content else schema}
        if status == 202:
            responses["202"]["headers"] = {
                "Location": {"description": "The job.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds until the next look.", "schema": {"type": "integer"}},
                "Idempotent-Replayed": {
                    "description": "`true`: the answer to an earlier request with the same Idempotency-Key.",
                    "schema": {"type": "string"},
                },
            }
    codes: dict[int, set[str]] = {}
    for error in (*operation.errors, *more, *EVERYWHERE):
        codes.setdefault(error.http_status, set()).add(error.code)
    if operation.error_form is None:
        problem = {"application/problem+json": {"schema": _reference(answers.Problem)}}
    else:
        problem = {"application/json": {"schema": _reference(operation.error_form)}}
    for status, names in sorted(codes.items()):
        response = responses.setdefault(str(status), {"description": "", "content": {}})
        response["description"] = (
            f"{response['description']} {', '.join(f'`{name}`' for name in sorted(names))}".strip()
        )
        response["content"].update(problem)
    return responses


def answers_of(answer: type | str | tuple[type | str, ...] | None) -> tuple[type | str, ...]:
    """The records and media types of one status: none, one or several."""
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _meaning(status: int) -> str:
    return {
        200: "Done.",
        201: "Created.",
        303: "Go there.",
        401: "Refused, with the form again.",
        202: "Accepted: the job is kept and will be done.",
        204: "Nothing to say.",
        304: "Not changed since the ETag.",
        503: "Not ready, and why.",
    }[status]


def _body(body: Body) -> dict[str, Any]:
    if isinstance(body, Raw):
        return {"description": body.about}
    if isinstance(body, Form):
        schema = {"type": "object", "properties": body.files, "required": list(body.files)}
        return {"allOf": [_reference(body.fields), schema]}
    if isinstance(body, tuple):
        return {"oneOf": [_reference(one) for one in body]}
    return _reference(body)


def _reference(record: type) -> dict[str, str]:
    return {"$ref": SCHEMA_PATH + record.__name__}


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    sent = [body for operation in operations for body in operation.body.values()]
    models = [one for body in sent for one in (body if isinstance(body, tuple) else (body,))]
    forms = {body.fields for body in models if isinstance(body, Form)}
    records: set[type] = {*IMAGES, answers.Problem, *forms}
    records |= {one.error_form for one in operations if one.error_form is not None}
    records |= {body for body in models if isinstance(body, type)}
    report = [answer for one in operations for several in one.answer.values() for answer in answers_of(several)]
    records |= {answer for answer in report if isinstance(answer, type)}
    _, definitions = TypeAdapter.json_schemas(
        [(one, "validation", TypeAdapter(one)) for one in sorted(records, key=lambda record: record.__name__)],
        ref_template=SCHEMA_PATH + "{model}",
    )
    found: dict[str, Any] = definitions["$defs"]
    for name in ("RecognitionRequest", "DetectionRequest", "EmbeddingRequest", "ClassificationRequest"):
        found[name]["properties"]["image"] = {"oneOf": [_reference(image) for image in IMAGES]}
    found["PhotosRequest"]["properties"]["images"]["items"] = {"oneOf": [_reference(image) for image in IMAGES]}
    found["NamedItem"]["properties"]["image"] = {"oneOf": [_reference(image) for image in IMAGES]}
    for form in forms:
        found[form.__name__].pop("additionalProperties", None)  # a form has its files next to these fields
    return found
