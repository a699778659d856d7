"""Galleries: create, list, show, delete; their versions."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request, url_for

from contracts.keys import Scope
from infra.errors.galleries import (
    EmbedderUnknown,
    GalleryBusy,
    GalleryCorrupt,
    GalleryExists,
    GalleryNotFound,
    InvalidGalleryName,
    MilvusNotConfigured,
    MilvusUnavailable,
    VersionNotFound,
)
from infra.errors.requests import InvalidRequest
from infra.galleries.deleted import all_deleted
from infra.galleries.files import check_name
from infra.galleries.indexes import described
from web.access.scopes import needs
from web.answers import Gallery, GalleryList, GalleryVersion, VersionList
from web.galleries import erasures
from web.galleries.deleted import DeletedGalleryList, GalleriesQuery, describe_deleted
from web.galleries.embedders import digest_named
from web.openapi.operations import BODY, GALLERY, WRITE, operation
from web.requests import idempotency
from web.requests.gallery_schemas import GalleryChange, GalleryRequest, VersionsQuery
from web.requests.json_body import sent_json
from web.requests.parsing import parse
from web.services import services

if TYPE_CHECKING:
    from infra.galleries.store import GalleryManifest


blueprint = Blueprint("galleries", __name__, url_prefix="/v1/galleries")


@blueprint.post("")
@needs(Scope.MANAGE)
@operation(
    "createGallery",
    "Create an empty gallery.",
    {201: Gallery},
    (*BODY, InvalidGalleryName, GalleryExists, GalleryBusy, EmbedderUnknown, MilvusNotConfigured),
    body={"application/json": GalleryRequest},
    headers=("Idempotency-Key",),
)
def create() -> tuple[Response, int, dict[str, str]]:
    """An empty gallery; if none is named, its first pictures decide which embedder it belongs to."""
    sent = sent_json(GalleryRequest)
    digest = None if sent.embedder is None else digest_named(services().ledger, sent.embedder)
    made = idempotency.new_id_of("gal")
    generation = hashlib.sha256(made.encode()).hexdigest()[:12]
    index = None if sent.index is None else sent.index.choice().to_dict()
    manifest = services().galleries.create(sent.name, digest, generation=generation, index=index)
    return jsonify(describe(manifest)), 201, {"Location": url_for(".show", name=manifest.name)}


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listGalleries",
    "All galleries, or those that were deleted.",
    {200: (GalleryList, DeletedGalleryList)},
    (GalleryCorrupt, InvalidRequest),
    query=GalleriesQuery,
)
def index() -> Response:
    """All galleries by name."""
    store = services().galleries
    if parse(GalleriesQuery, request.args.to_dict()).deleted:
        return jsonify(galleries=[describe_deleted(one) for one in all_deleted(store)])
    found = []
    for name in store.names():
        with suppress(GalleryNotFound):  # deleted in this moment
            found.append(describe(store.manifest(name)))
    return jsonify(galleries=found)


@blueprint.get("/<name>")
@needs(Scope.READ)
@operation("getGallery", "One gallery.", {200: Gallery}, GALLERY)
def show(name: str) -> Response:
    """The current version of one gallery."""
    return jsonify(describe(services().galleries.manifest(name)))


@blueprint.patch("/<name>")
@needs(Scope.MANAGE)
@operation(
    "changeGallery",
    "Choose how a gallery is searched.",
    {200: Gallery},
    (*WRITE, *BODY, MilvusNotConfigured),
    body={"application/json": GalleryChange},
)
def change(name: str) -> Response:
    """A new version with the choice; until its index is built, the search is exact."""
    sent = sent_json(GalleryChange)
    return jsonify(describe(services().galleries.choose_index(name, sent.index.choice().to_dict())))


@blueprint.delete("/<name>")
@needs(Scope.MANAGE)
@operation(
    "deleteGallery",
    "Delete a gallery; it can be restored for a while, unless it is erased.",
    {204: None, 200: erasures.Erasure},
    (*WRITE, InvalidRequest, MilvusUnavailable),
    query=erasures.EraseQuery,
)
def delete(name: str) -> Response | tuple[str, int]:
    """The gallery is there no more; until it is purged it can be restored."""
    if erasures.wanted():
        return erasures.receipt(erasures.eraser().erase_gallery(check_name(name)))
    services().galleries.delete(name)
    return "", 204


@blueprint.get("/<name>/versions")
@needs(Scope.READ)
@operation(
    "listVersions",
    "The versions that can be gone back to, and those that are staged.",
    {200: VersionList},
    (*GALLERY, InvalidRequest),
    query=VersionsQuery,
)
def versions(name: str) -> Response:
    """All versions that are kept, oldest first; by `staged` those that never were in force, or the others."""
    query = parse(VersionsQuery, request.args.to_dict())
    store = services().galleries
    current, staged = store.manifest(name).version, store.staged(name)
    known = [
        GalleryVersion(**describe(store.manifest(name, version)), staged=version in staged)
        for version in sorted(store.versions(name))
        if query.staged in (None, version in staged)
    ]
    return jsonify(gallery=name, current=current, versions=known)


@blueprint.post("/<name>/versions/<int:version>/activate")
@needs(Scope.MANAGE)
@operation("activateVersion", "Make a version the current one.", {200: Gallery}, (*WRITE, VersionNotFound))
def activate(name: str, version: int) -> Response:
    """Goes back (or forth) to a version: searched from the next job on."""
    return jsonify(describe(services().galleries.activate(name, version)))


def describe(manifest: GalleryManifest) -> Gallery:
    """A version of a gallery as JSON."""
    link = url_for("galleries.show", name=manifest.name)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "item_count": manifest.item_count,
        "created_at": manifest.created_at,
        "embedder_digest": manifest.embedder_digest,
        "dim": manifest.dim,
        "index": described(services().galleries, manifest),
        "links": {"self": link, "items": f"{link}/items", "versions": f"{link}/versions"},
    }
