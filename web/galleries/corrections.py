"""Corrections of a gallery: an item or a label under another name, labels merged, items moved to another gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify

from contracts.keys import Scope
from infra.errors.galleries import EmbedderMismatch, ItemNotFound, LabelExists
from infra.errors.requests import InvalidRequest
from infra.galleries.corrections import move, rename_item, rename_labels
from web.access.scopes import needs
from web.answers import MovedItems, RenamedGallery, RenamedItem
from web.galleries.galleries import describe
from web.galleries.items import sent_labels
from web.jobs.photos import label_at
from web.openapi.operations import BODY, WRITE, operation
from web.requests.gallery_schemas import ItemCorrection, LabelCorrection, LabelQuery, MoveRequest
from web.requests.json_body import sent_json
from web.services import services

if TYPE_CHECKING:
    from infra.galleries.corrections import Renamed

blueprint = Blueprint("corrections", __name__, url_prefix="/v1/galleries")


@blueprint.patch("/<name>/items/<item_id>")
@needs(Scope.MANAGE)
@operation(
    "correctItem",
    "Give an item another label.",
    {200: RenamedItem},
    (*WRITE, *BODY, ItemNotFound),
    body={"application/json": ItemCorrection},
)
def correct_item(name: str, item_id: str) -> Response:
    """A new version with the item under another label."""
    label = label_at(sent_json(ItemCorrection).label, "/label")
    done = rename_item(services().galleries, name, item_id, label)
    return jsonify(RenamedItem(**_renamed(done), item_id=done.changed[item_id]))


@blueprint.patch("/<name>/items")
@needs(Scope.MANAGE)
@operation(
    "correctLabel",
    "Give a label another name, or make several labels one.",
    {200: RenamedGallery},
    (*WRITE, *BODY, ItemNotFound, LabelExists),
    body={"application/json": LabelCorrection},
    query=LabelQuery,
    repeatable=frozenset({"label"}),
)
def correct_label(name: str) -> Response:
    """A new version with all items of these labels under another."""
    labels = sent_labels("rename")
    sent = sent_json(LabelCorrection)
    label = label_at(sent.label, "/label")
    return jsonify(_renamed(rename_labels(services().galleries, name, labels, label, merge=sent.merge)))


@blueprint.post("/<name>/items/move")
@needs(Scope.MANAGE)
@operation(
    "moveItems",
    "Move items to another gallery.",
    {200: MovedItems},
    (*WRITE, *BODY, ItemNotFound, EmbedderMismatch),
    body={"application/json": MoveRequest},
    headers=("Idempotency-Key",),
)
def move_items(name: str) -> Response:
    """New versions of both galleries."""
    sent = sent_json(MoveRequest)
    if (sent.item_ids is None) == (sent.label is None):
        detail = "give exactly one of 'item_ids' and 'label'"
        raise InvalidRequest(f"body: {detail}", errors=[{"pointer": "", "detail": detail}])
    labels = () if sent.label is None else (sent.label,)
    done = move(services().galleries, name, sent.to, sent.item_ids or (), labels)
    report: MovedItems = {
        "source": describe(done.source),
        "target": describe(done.target),
        "moved": done.moved,
        "duplicates": done.duplicates,
    }
    return jsonify(report)


def _renamed(done: Renamed) -> RenamedGallery:
    return {**describe(done.manifest), "changed": len(done.changed), "duplicates": done.duplicates}
