"""What was done to a gallery, taken back: a change of its items, or its deletion."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from contracts.keys import Scope
from infra.errors.galleries import EmbedderMismatch, GalleryExists, ItemNotFound, VersionNotFound
from infra.errors.requests import InvalidRequest
from infra.galleries.corrections import bring_back
from infra.galleries.deleted import restore
from web.access.scopes import needs
from web.answers import Gallery, RestoredItems
from web.galleries.deleted import RestoreQuery
from web.galleries.galleries import describe
from web.openapi.operations import BODY, WRITE, operation
from web.requests.gallery_schemas import RestoreItemsRequest
from web.requests.json_body import sent_json
from web.requests.parsing import parse
from web.services import services

blueprint = Blueprint("undo", __name__, url_prefix="/v1/galleries")


@blueprint.post("/<name>/restore")
@needs(Scope.MANAGE)
@operation(
    "restoreGallery",
    "Restore a deleted gallery.",
    {200: Gallery},
    (*WRITE, GalleryExists, InvalidRequest),
    query=RestoreQuery,
)
def restore_gallery(name: str) -> Response:
    """The gallery is there again, as it was."""
    query = parse(RestoreQuery, request.args.to_dict())
    return jsonify(describe(restore(services().galleries, name, query.generation)))


@blueprint.post("/<name>/undo")
@needs(Scope.MANAGE)
@operation(
    "undoGallery",
    "Take the last change of a gallery's items or labels back.",
    {200: Gallery},
    (*WRITE, VersionNotFound),
)
def undo(name: str) -> Response:
    """The version that the current one was made from is the current one again."""
    return jsonify(describe(services().galleries.undo(name)))


@blueprint.post("/<name>/versions/<int:version>/restore")
@needs(Scope.MANAGE)
@operation(
    "restoreItems",
    "Bring items or a label of a kept version back into the one in force.",
    {200: RestoredItems},
    (*WRITE, *BODY, VersionNotFound, ItemNotFound, EmbedderMismatch),
    body={"application/json": RestoreItemsRequest},
    headers=("Idempotency-Key",),
)
def restore_items(name: str, version: int) -> Response:
    """A new version with them, next to all that came since."""
    sent = sent_json(RestoreItemsRequest)
    if (sent.item_ids is None) == (sent.label is None):
        detail = "give exactly one of 'item_ids' and 'label'"
        raise InvalidRequest(f"body: {detail}", errors=[{"pointer": "", "detail": detail}])
    labels = () if sent.label is None else (sent.label,)
    done = bring_back(services().galleries, name, version, sent.item_ids or (), labels)
    report: RestoredItems = {
        **describe(done.manifest),
        "restored": len(done.added_ids),
        "duplicates": len(done.duplicate_ids),
    }
    return jsonify(report)
