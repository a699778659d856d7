"""What was done to a gallery, taken back: a change of its items, or its deletion."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from contracts.keys import Scope
from infra.errors.galleries import GalleryExists, VersionNotFound
from infra.errors.requests import InvalidRequest
from infra.galleries.deleted import restore
from web.access.scopes import needs
from web.answers import Gallery
from web.galleries.deleted import RestoreQuery
from web.galleries.galleries import describe
from web.openapi.operations import WRITE, operation
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
