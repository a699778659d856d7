"""The labels of a gallery: listed, and searched while somebody types one."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from contracts.keys import Scope
from infra.errors.galleries import VersionNotFound
from infra.errors.requests import InvalidCursor, InvalidRequest
from web.access.scopes import needs
from web.answers import LabelPage
from web.galleries.items import read_cursor
from web.openapi.operations import GALLERY, operation
from web.requests.gallery_schemas import LabelsQuery
from web.requests.parsing import parse
from web.services import services

blueprint = Blueprint("labels", __name__, url_prefix="/v1/galleries")


@blueprint.get("/<name>/labels")
@needs(Scope.READ)
@operation(
    "listLabels",
    "The labels, by pages; those that begin with a prefix.",
    {200: LabelPage},
    (*GALLERY, VersionNotFound, InvalidRequest, InvalidCursor),
    query=LabelsQuery,
)
def labels(name: str) -> Response:
    """One page of a version's labels. The cursor holds on to the version, as that of items does."""
    query = parse(LabelsQuery, request.args.to_dict())
    version, start = read_cursor(query.after) if query.after is not None else (None, 0)
    service = services()
    manifest = service.galleries.manifest(name, version)
    found = service.items.labels(manifest, query.prefix)
    end = start + query.limit
    return jsonify(
        gallery=name,
        version=manifest.version,
        labels=[{"label": one.label, "item_count": one.item_count, "item_id": one.item_id} for one in found[start:end]],
        next_after=f"v{manifest.version}.{end}" if end < len(found) else None,
    )
