"""What /openapi.json says of a view stands above the view: `@operation(...)`, below its `@blueprint.get(...)`.

Method and path are the rule's own, so that they are written once. `web.openapi.description` makes the document of it, and
`web.requests.unknown_names` refuses what is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from contracts.errors import ServiceError
from infra.errors.galleries import GalleryBusy, GalleryCorrupt, GalleryNotFound, InvalidGalleryName
from infra.errors.jobs import JobErased, JobExpired, JobNotFound
from infra.errors.photos import (
    AddressForbidden,
    BucketForbidden,
    InvalidUrl,
    ObjectNotFound,
    PictureNotRenderable,
    RenderingBusy,
)
from infra.errors.requests import (
    BodyTooLarge,
    InvalidOptions,
    InvalidRequest,
    RejectedImage,
    TooManyFiles,
    UnsupportedMediaType,
    UploadTooSlow,
)
from infra.errors.uploads import UploadExpired, UploadIncomplete, UploadMismatch, UploadNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

Errors = tuple[type[ServiceError], ...]
Answers = Mapping[int, type | str | tuple[type | str, ...] | None]
View = TypeVar("View", bound="Callable[..., Any]")

BODY: Errors = (InvalidRequest, BodyTooLarge, UnsupportedMediaType)
WEBHOOK: Errors = (InvalidUrl, AddressForbidden)
NAMED_UPLOAD: Errors = (UploadNotFound, UploadIncomplete, UploadMismatch, UploadExpired)
UPLOAD: Errors = (
    *BODY,
    UploadTooSlow,
    TooManyFiles,
    RejectedImage,
    InvalidOptions,
    *WEBHOOK,
    BucketForbidden,
    *NAMED_UPLOAD,
    GalleryNotFound,
    InvalidGalleryName,
)
RENDERING: Errors = (InvalidRequest, ObjectNotFound, PictureNotRenderable, RenderingBusy)
JOB: Errors = (JobNotFound, JobExpired, JobErased)
GALLERY: Errors = (GalleryNotFound, InvalidGalleryName, GalleryCorrupt)
WRITE: Errors = (*GALLERY, GalleryBusy)


@dataclass(frozen=True)
class Form:
    """A multipart body: its text fields, and its files as JSON schemas by name."""

    fields: type[BaseModel]
    files: dict[str, Any]


@dataclass(frozen=True)
class Raw:
    """A body of plain bytes."""

    about: str


Body: TypeAlias = "type[BaseModel] | tuple[type[BaseModel], ...] | Form | Raw"  # of several models one


@dataclass(frozen=True)
class Operation:
    """What is said of a view. `answer`: status -> its record, or media type, several of them, or None for no body."""

    name: str
    summary: str
    answer: Answers
    errors: Errors = ()
    body: Mapping[str, Body] = field(default_factory=dict)  # by media type
    query: type[BaseModel] | None = None
    repeatable: frozenset[str] = frozenset()  # parameters of the query that may be given more than once
    headers: tuple[str, ...] = ()  # of the request, keys of web.openapi.description.HEADERS
    optional_body: bool = False
    error_form: type | None = None  # the record of errors where they are no problem documents


def operation(
    name: str,
    summary: str,
    answer: Answers,
    errors: Errors = (),
    *,
    body: Mapping[str, Body] | None = None,
    query: type[BaseModel] | None = None,
    repeatable: frozenset[str] = frozenset(),
    headers: tuple[str, ...] = (),
    optional_body: bool = False,
    error_form: type | None = None,
) -> Callable[[View], View]:
    """Describes the view below it; the view itself is left as it is."""

    def describe(view: View) -> View:
        view.operation = Operation(  # type: ignore[attr-defined]  # a function takes any attribute
            name, summary, answer, errors, body or {}, query, repeatable, headers, optional_body, error_form
        )
        return view

    return describe


def takes_idempotency_key(operation: Operation) -> bool:
    """Whether a POST makes something that must not be made twice: whatever answers 202, and what says so itself."""
    return 202 in operation.answer or "Idempotency-Key" in operation.headers


def operation_of(view: object) -> Operation | None:
    """What is said of a view; None: nothing is, as of the page's files."""
    found = getattr(view, "operation", None)
    return found if isinstance(found, Operation) else None
