"""Items of a gallery by their looks: those nearest to a picture, as an embedding job, and those like an item, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.photo_results import EmbeddingJob
from infra.errors.galleries import EmbedderMismatch, VersionNotFound
from infra.errors.requests import InvalidFilter
from infra.galleries.segments import MAPPED, SegmentFiles
from infra.galleries.similar import Similar, similar_items
from web.access.scopes import needs
from web.galleries.embedders import require_embedders
from web.jobs import jobs
from web.openapi.operations import GALLERY, UPLOAD, Form, operation
from web.requests.members import ONE_IMAGE
from web.requests.photo_schemas import ItemSearchFields, ItemSearchRequest
from web.requests.terms import read_terms
from web.requests.uploads import read_photo
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.filters import Filter
    from infra.galleries.store import GalleryManifest

blueprint = Blueprint("item_search", __name__, url_prefix="/v1/galleries")


@blueprint.post("/<name>/search")
@needs(Scope.RECOGNIZE)
@operation(
    "searchItems",
    "Find the items nearest to a picture; an embedding job.",
    {202: EmbeddingJob, 200: EmbeddingJob},
    (*UPLOAD, *GALLERY, VersionNotFound, InvalidFilter, EmbedderMismatch),
    body={"multipart/form-data": Form(ItemSearchFields, ONE_IMAGE), "application/json": ItemSearchRequest},
    headers=("Prefer", "Cancel-After"),
)
def search(name: str) -> Response:
    """The whole picture is embedded by the gallery's embedder, and its nearest items are the job's answer."""
    service = services()
    sent = read_photo(service.settings, ItemSearchFields, ItemSearchRequest)
    terms = read_terms(sent.metadata, sent.priority)
    require_embedders(service.ledger, [service.galleries.manifest(name, sent.options.get("version"))])
    image = jobs.kept_photo(sent.upload, sent.header, sent.name)
    request: dict[str, Any] = {"gallery": name, "image": image, "options": sent.options}
    if sent.filter:
        request["filter"] = list(sent.filter)
    return jobs.accept(jobs.create(JobKind.EMBEDDING, request, sent.webhook_url, sent.source_url, terms=terms))


def like(manifest: GalleryManifest, item_id: str, most: int, label: str | None, filters: Sequence[Filter]) -> Similar:
    """The items of a version that are most like one of them. Raises ItemNotFound."""
    service = services()
    store = service.galleries
    files = SegmentFiles(store, service.settings.data_dir / MAPPED)
    return store.reading(
        manifest.name,
        manifest.version,
        lambda one: similar_items(store, files, one, item_id, most, label=label, filters=filters),
    )
