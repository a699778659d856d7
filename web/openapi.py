"""Builds /openapi.json (OpenAPI 3.1) from one table of operations and the pydantic models.

The table is the description, the views are the truth: tests compare its paths with the application's rules, and the
answers of the views with its schemas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from infra import errors as e
from infra.errors import ServiceError
from infra.version import VERSION
from web import answers, schemas

SCHEMA_PATH = "#/components/schemas/"
FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
Errors = tuple[type[ServiceError], ...]

EVERYWHERE: Errors = (ServiceError, e.InvalidRequest, e.BodyTooLarge, e.RedisUnavailable, e.StorageUnavailable)
BODY: Errors = (e.InvalidRequest, e.BodyTooLarge, e.UnsupportedMediaType)
WEBHOOK: Errors = (e.InvalidUrl, e.AddressForbidden)
UPLOAD: Errors = (
    *BODY,
    e.UploadTooSlow,
    e.TooManyFiles,
    e.RejectedImage,
    e.InvalidOptions,
    *WEBHOOK,
    e.GalleryNotFound,
)
JOB: Errors = (e.JobNotFound, e.JobExpired)
GALLERY: Errors = (e.GalleryNotFound, e.InvalidGalleryName, e.GalleryCorrupt)
WRITE: Errors = (*GALLERY, e.GalleryBusy)


@dataclass(frozen=True)
class Operation:
    """One method at one path. `answer`: status -> model, or media type, or None for no body."""

    method: str
    path: str  # as OpenAPI writes it: /v1/galleries/{name}
    name: str
    summary: str
    answer: dict[int, type[BaseModel] | str | None]
    errors: Errors = ()
    body: dict[str, Any] | None = None
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()  # of the request, keys of HEADERS


HEADERS = {
    "Prefer": (
        "string",
        "`wait=10` waits so many seconds for the job to end (RFC 7240); `respond-async` does not wait.",
    ),
    "If-None-Match": ("string", "The ETag seen last: 304 if nothing changed."),
    "Last-Event-ID": ("string", "The id of the last event seen; the stream goes on behind it."),
}


class LabelQuery(BaseModel):
    """Which items to delete."""

    label: list[str]


def _multipart(fields: type[BaseModel], files: dict[str, Any]) -> dict[str, Any]:
    return {"multipart/form-data": (fields, files)}


ONE_IMAGE = {"image": FILE | {"description": "The photo, one file."}}
MANY_IMAGES = {"images": {"type": "array", "items": FILE, "description": "The pictures, many files."}}

OPERATIONS = (
    Operation(
        "post", "/v1/recognitions", "createRecognition", "Recognise what is in a photo.",
        {202: answers.RecognitionJob, 200: answers.RecognitionJob}, (*UPLOAD, e.InvalidGalleryName),
        {**_multipart(schemas.RecognitionFields, ONE_IMAGE), "application/json": schemas.RecognitionRequest},
        headers=("Prefer",),
    ),
    Operation(
        "get", "/v1/recognitions/{job_id}", "getRecognition", "How far a recognition is, and its answer.",
        {200: answers.RecognitionJob, 304: None}, JOB, headers=("Prefer", "If-None-Match"),
    ),
    Operation(
        "post", "/v1/recognitions/{job_id}/cancel", "cancelRecognition", "Give a recognition up.",
        {200: answers.RecognitionJob}, (*JOB, e.JobFinished),
    ),
    Operation(
        "post", "/v1/recognitions/{job_id}/replay", "replayRecognition", "Try a recognition that failed again, from the start.",
        {202: answers.RecognitionJob, 200: answers.RecognitionJob}, (*JOB, e.JobFinished), headers=("Prefer",),
    ),
    Operation(
        "post", "/v1/recognitions/{job_id}/webhook/replay", "replayRecognitionWebhook", "Send the webhook of a recognition that ended again.",
        {202: answers.RecognitionJob}, (*JOB, e.DeliveryNotFound),
    ),
    Operation(
        "get", "/v1/recognitions/{job_id}/events", "followRecognition", "The changes of a recognition as they happen.",
        {200: "text/event-stream", 204: None}, (*JOB, e.InvalidCursor), headers=("Last-Event-ID",),
    ),
    Operation(
        "get", "/v1/recognitions/{job_id}/image", "getRecognitionImage", "The photo as it was uploaded or fetched.",
        {200: "image/*"}, (*JOB, e.ObjectNotFound, e.PhotoNotFetched),
    ),
    Operation(
        "get", "/v1/recognitions/{job_id}/preview", "getRecognitionPreview", "The photo as a browser can show it.",
        {200: "image/*"}, (*JOB, e.ObjectNotFound, e.PhotoNotFetched),
    ),
    Operation(
        "post", "/v1/galleries", "createGallery", "Create an empty gallery.",
        {201: answers.Gallery}, (*BODY, e.InvalidGalleryName, e.GalleryExists, e.GalleryBusy),
        {"application/json": schemas.GalleryRequest},
    ),
    Operation("get", "/v1/galleries", "listGalleries", "All galleries.", {200: answers.GalleryList}, (e.GalleryCorrupt,)),
    Operation("get", "/v1/galleries/{name}", "getGallery", "One gallery.", {200: answers.Gallery}, GALLERY),
    Operation("delete", "/v1/galleries/{name}", "deleteGallery", "Delete a gallery with all its versions.", {204: None}, WRITE),
    Operation(
        "post", "/v1/galleries/{name}/items", "addItems", "Add labelled pictures; an enrolment job.",
        {202: answers.EnrollmentJob, 200: answers.EnrollmentJob}, (*UPLOAD, e.InvalidGalleryName),
        _multipart(schemas.EnrollmentFields, MANY_IMAGES), headers=("Prefer",),
    ),
    Operation(
        "get", "/v1/galleries/{name}/items", "listItems", "The items, by pages.",
        {200: answers.ItemPage}, (*GALLERY, e.VersionNotFound, e.InvalidRequest, e.InvalidCursor), query=schemas.ItemsQuery,
    ),
    Operation(
        "delete", "/v1/galleries/{name}/items", "deleteItemsByLabel", "Delete all items of a label.",
        {200: answers.Gallery}, (*WRITE, e.ItemNotFound, e.InvalidRequest), query=LabelQuery,
    ),
    Operation(
        "delete", "/v1/galleries/{name}/items/{item_id}", "deleteItem", "Delete one item.",
        {200: answers.Gallery}, (*WRITE, e.ItemNotFound),
    ),
    Operation(
        "get", "/v1/galleries/{name}/items/{item_id}/image", "getItemImage", "The picture of an item.",
        {200: "image/*"}, (*GALLERY, e.ItemNotFound, e.ObjectNotFound),
    ),
    Operation(
        "get", "/v1/galleries/{name}/items/{item_id}/preview", "getItemPreview", "The picture as a browser can show it.",
        {200: "image/*"}, (*GALLERY, e.ItemNotFound, e.ObjectNotFound),
    ),
    Operation(
        "get", "/v1/galleries/{name}/versions", "listVersions", "The versions that can be gone back to.",
        {200: answers.VersionList}, GALLERY,
    ),
    Operation(
        "post", "/v1/galleries/{name}/versions/{version}/activate", "activateVersion", "Make a version the current one.",
        {200: answers.Gallery}, (*WRITE, e.VersionNotFound),
    ),
    Operation(
        "get", "/v1/enrollments/{job_id}", "getEnrollment", "How far an enrolment is, and what became of each picture.",
        {200: answers.EnrollmentJob, 304: None}, JOB, headers=("Prefer", "If-None-Match"),
    ),
    Operation(
        "post", "/v1/enrollments/{job_id}/cancel", "cancelEnrollment", "Give an enrolment up.",
        {200: answers.EnrollmentJob}, (*JOB, e.JobFinished),
    ),
    Operation(
        "post", "/v1/enrollments/{job_id}/replay", "replayEnrollment", "Try an enrolment that failed again, from the start.",
        {202: answers.EnrollmentJob, 200: answers.EnrollmentJob}, (*JOB, e.JobFinished), headers=("Prefer",),
    ),
    Operation(
        "post", "/v1/enrollments/{job_id}/webhook/replay", "replayEnrollmentWebhook", "Send the webhook of an enrolment that ended again.",
        {202: answers.EnrollmentJob}, (*JOB, e.DeliveryNotFound),
    ),
    Operation(
        "get", "/v1/enrollments/{job_id}/events", "followEnrollment", "The changes of an enrolment as they happen.",
        {200: "text/event-stream", 204: None}, (*JOB, e.InvalidCursor), headers=("Last-Event-ID",),
    ),
    Operation("get", "/healthz", "getHealth", "The process lives.", {200: answers.Health}),
    Operation(
        "get", "/readyz", "getReadiness", "Whether jobs are accepted and worked on.",
        {200: answers.Readiness, 503: answers.Readiness},
    ),
    Operation("get", "/metrics", "getMetrics", "Numbers for Prometheus.", {200: "text/plain"}),
    Operation("get", "/openapi.json", "getDescription", "This description.", {200: "application/json"}),
    Operation("get", "/", "getPage", "The page for people.", {200: "text/html"}),
)  # fmt: skip


@cache
def description() -> dict[str, Any]:
    """The whole OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ShiTu",
            "version": VERSION,
            "summary": "Visual recognition as an asynchronous service",
            "description": "Every error is a problem document (RFC 9457) with a stable `code`. Every answer carries X-Request-Id.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body:
        content = {media: {"schema": _body(body)} for media, body in operation.body.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if name == "version" else "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    in_headers = [
        {"name": name, "in": "header", "description": HEADERS[name][1], "schema": {"type": HEADERS[name][0]}}
        for name in operation.headers
    ]
    return in_path + in_headers + (_query(operation.query) if operation.query else [])


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": member}
        for name, member in schema["properties"].items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in operation.answer.items():
        responses[str(status)] = {"description": _meaning(status)}
        if isinstance(answer, str):
            responses[str(status)]["content"] = {answer: {"schema": {}}}
        elif answer is not None:
            responses[str(status)]["content"] = {"application/json": {"schema": _reference(answer)}}
        if status == 202:
            responses["202"]["headers"] = {
                "Location": {"description": "The job.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds until the next look.", "schema": {"type": "integer"}},
            }
    codes: dict[int, set[str]] = {}
    for error in (*operation.errors, *EVERYWHERE):
        codes.setdefault(error.http_status, set()).add(error.code)
    for status, names in sorted(codes.items()):
        problem = {"application/problem+json": {"schema": _reference(answers.Problem)}}
        response = responses.setdefault(str(status), {"description": "", "content": {}})
        response["description"] = (
            f"{response['description']} {', '.join(f'`{name}`' for name in sorted(names))}".strip()
        )
        response["content"].update(problem)
    return responses


def _meaning(status: int) -> str:
    return {
        200: "Done.",
        201: "Created.",
        202: "Accepted: the job is kept and will be done.",
        204: "Nothing to say.",
        304: "Not changed since the ETag.",
        503: "Not ready, and why.",
    }[status]


def _body(body: Any) -> dict[str, Any]:
    if isinstance(body, tuple):
        fields, files = body
        schema = {
            "type": "object",
            "properties": files,
            "required": list(files),
        }
        return {"allOf": [_reference(fields), schema]}
    return _reference(body)


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": SCHEMA_PATH + model.__name__}


def _schemas() -> dict[str, Any]:
    models: set[type[BaseModel]] = {
        schemas.RecognitionRequest,
        schemas.RecognitionFields,
        schemas.EnrollmentFields,
        schemas.GalleryRequest,
        schemas.ImageBase64,
        schemas.ImageUrl,
        answers.Problem,
    }
    models |= {answer for op in OPERATIONS for answer in op.answer.values() if isinstance(answer, type)}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=SCHEMA_PATH + "{model}",
    )
    found: dict[str, Any] = definitions["$defs"]
    found["RecognitionRequest"]["properties"]["image"] = {
        "oneOf": [_reference(schemas.ImageBase64), _reference(schemas.ImageUrl)]
    }
    for form in ("RecognitionFields", "EnrollmentFields"):
        found[form].pop("additionalProperties", None)  # a form has its files beside these fields
    return found
