"""What detections, embeddings and classifications share: jobs that run one network on a photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.errors.galleries import GalleryNotFound, InvalidGalleryName
from infra.errors.jobs import ModelNotConfigured
from web.jobs import jobs
from web.openapi.operations import UPLOAD, Errors
from web.requests.terms import read_terms
from web.services import services

if TYPE_CHECKING:
    from flask import Response

    from contracts.jobs import JobKind
    from web.requests.uploads import Recognition

NO_MODEL = "none"
PHOTO_UPLOAD: Errors = tuple(error for error in UPLOAD if error not in (GalleryNotFound, InvalidGalleryName))


def require_model(name: str) -> None:
    """Raises ModelNotConfigured if the workers' setting of this name says that there is none."""
    if getattr(services().settings.worker, name) == NO_MODEL:
        variable = f"SHITU_WORKER__{name.upper()}"
        raise ModelNotConfigured(f"This service runs without a {name}; {variable} names one.")


def accept(kind: JobKind, sent: Recognition) -> Response:
    """Keeps the photo that was sent, makes its job and answers with it."""
    request: dict[str, Any] = {
        "image": jobs.kept_photo(sent.upload, sent.header, sent.name),
        "options": sent.options,
        **({} if sent.embedder is None else {"embedder": sent.embedder}),
    }
    terms = read_terms(sent.metadata, sent.priority)
    return jobs.accept(jobs.create(kind, request, sent.webhook_url, sent.source_url, terms=terms))
