"""The items of a gallery: added, listed, shown and deleted. Adding pictures makes an enrolment job."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from contracts.filters import filters_of, meets
from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.names import readable_label
from contracts.results import EnrollmentJob
from infra.errors.galleries import ItemNotFound, MilvusUnavailable, VersionNotFound
from infra.errors.requests import InvalidCursor, InvalidFilter, InvalidRequest
from infra.runtime import audit
from web.access.scopes import needs
from web.answers import Gallery, Item, ItemPage
from web.galleries import erasures
from web.galleries.galleries import describe
from web.galleries.item_search import like
from web.galleries.named_items import enroll_json
from web.jobs import jobs
from web.jobs.photos import FROM_JOB
from web.openapi.operations import GALLERY, RENDERING, UPLOAD, WRITE, Form, operation
from web.pictures import ANY_IMAGE, PictureLink, by_link, shown, stored
from web.requests.filters import checked_filters
from web.requests.gallery_schemas import ItemsQuery
from web.requests.images import Refusal
from web.requests.members import FILE
from web.requests.parsing import parse
from web.requests.schemas import EnrollmentFields, EnrollmentRequest, ItemsRequest, PictureQuery, StoredQuery
from web.requests.terms import read_terms
from web.requests.uploads import read_enrollment
from web.services import services

if TYPE_CHECKING:
    import infra.galleries.store
    from contracts.results import RequestedItem


MANY_IMAGES = {"images": {"type": "array", "items": FILE, "description": "The pictures, many files."}}
CURSOR = re.compile(r"v(\d{1,12})\.(\d{1,12})")

blueprint = Blueprint("items", __name__, url_prefix="/v1/galleries")


class ItemPictureQuery(PictureQuery):
    """Which picture of an item, of which version; numbers arrive as text."""

    version: int | None = Field(
        None, ge=1, description="A version other than the current one: what was removed is there."
    )


class ItemImageQuery(StoredQuery):
    """The query of an item's picture as it is stored."""

    version: int | None = Field(
        None, ge=1, description="A version other than the current one: what was removed is there."
    )


@blueprint.post("/<name>/items")
@needs(Scope.MANAGE)
@operation(
    "addItems",
    "Add labelled pictures, or a part of a recognised photo; an enrolment job.",
    {202: EnrollmentJob, 200: EnrollmentJob},
    (*UPLOAD, *FROM_JOB),
    body={
        "multipart/form-data": Form(EnrollmentFields, MANY_IMAGES),
        "application/json": (ItemsRequest, EnrollmentRequest),
    },
    headers=("Prefer", "Cancel-After"),
)
def add_items(name: str) -> Response:
    """Pictures and labels become an enrolment job; they are searchable once it has succeeded."""
    if request.mimetype == "application/json":
        return enroll_json(name)
    service = services()
    sent = read_enrollment(service.settings)
    terms = read_terms(sent.metadata, sent.priority, units=len(sent.uploads))
    service.galleries.manifest(name)
    items: list[RequestedItem] = []
    for upload, header, label, metadata in zip(
        sent.uploads, sent.headers, sent.labels, sent.item_metadata, strict=True
    ):
        item: RequestedItem = {"name": upload.name, "label": label}
        if metadata:
            item["metadata"] = metadata
        if isinstance(header, Refusal):  # the job's result repeats it in its place
            item["error"] = {"code": header.code, "message": header.detail, "retryable": False}
        else:
            item["image_key"] = service.objects.put_image(upload.data)
            item["sha256"] = hashlib.sha256(upload.data).hexdigest()
        items.append(item)
    requested: dict[str, Any] = {"gallery": name, "items": items, "crop": sent.crop}
    if sent.skip_near_duplicates:
        requested["skip_near_duplicates"] = True
    if not sent.activate:
        requested["activate"] = False
    job = jobs.create(JobKind.ENROLLMENT, requested, sent.webhook_url, terms=terms)
    audit.accepted(name, job.id, len(items))
    return jobs.accept(job)


@blueprint.get("/<name>/items")
@needs(Scope.READ)
@operation(
    "listItems",
    "The items, by pages: in the order of their adding, or those like one of them first.",
    {200: ItemPage},
    (*GALLERY, VersionNotFound, ItemNotFound, InvalidRequest, InvalidCursor, InvalidFilter),
    query=ItemsQuery,
    repeatable=frozenset({"filter"}),
)
def items(name: str) -> Response:
    """One page of a version's items. The cursor holds on to the version, so that a change between pages hides nothing."""
    query = parse(ItemsQuery, {**request.args.to_dict(), "filter": request.args.getlist("filter")})
    filters = filters_of(checked_filters(query.filter))
    version, start = read_cursor(query.after) if query.after is not None else (query.version, 0)
    store = services().galleries
    manifest = store.manifest(name, version)
    end = start + query.limit
    if query.like is not None:
        wanted = None if query.label is None else readable_label(query.label)
        near = like(manifest, query.like, end, wanted, filters)
        return jsonify(
            gallery=name,
            version=manifest.version,
            total=near.total,
            items=[
                {**describe_item(name, item), "similarity": round(value, 6)} for item, value in near.items[start:end]
            ],
            next_after=f"v{manifest.version}.{end}" if end < near.total else None,
        )
    found = store.items(name, manifest.version)
    if query.label is not None:
        wanted = readable_label(query.label)
        found = tuple(item for item in found if item.label == wanted)
    if filters:
        found = tuple(item for item in found if meets(item.metadata, filters))
    return jsonify(
        gallery=name,
        version=manifest.version,
        total=len(found),
        items=[describe_item(name, item) for item in found[start:end]],
        next_after=f"v{manifest.version}.{end}" if end < len(found) else None,
    )


@blueprint.get("/<name>/items/<item_id>/image")
@needs(Scope.READ)
@operation(
    "getItemImage",
    "The picture of an item, or a smaller one of it.",
    {200: (ANY_IMAGE, PictureLink), 304: None},
    (*GALLERY, *RENDERING, VersionNotFound, ItemNotFound),
    query=ItemImageQuery,
    headers=("If-None-Match",),
)
def item_image(name: str, item_id: str) -> Response:
    """The picture of an item, as it was enrolled."""
    query = parse(ItemImageQuery, request.args.to_dict())
    key = services().items.find(name, item_id, query.version).image_key
    return by_link(key, query) if query.link else stored(key, query.width)


@blueprint.get("/<name>/items/<item_id>/preview")
@needs(Scope.READ)
@operation(
    "getItemPreview",
    "The picture as a browser can show it.",
    {200: ANY_IMAGE, 304: None},
    (*GALLERY, *RENDERING, VersionNotFound, ItemNotFound),
    query=ItemPictureQuery,
    headers=("If-None-Match",),
)
def item_preview(name: str, item_id: str) -> Response:
    """The picture of an item as it was looked at, for browsers."""
    query = parse(ItemPictureQuery, request.args.to_dict())
    return shown(services().items.find(name, item_id, query.version).image_key, query.width)


@blueprint.delete("/<name>/items/<item_id>")
@needs(Scope.MANAGE)
@operation(
    "deleteItem",
    "Delete one item, or erase it for good.",
    {200: (Gallery, erasures.Erasure)},
    (*WRITE, ItemNotFound, InvalidRequest, MilvusUnavailable),
    query=erasures.EraseQuery,
)
def delete_item(name: str, item_id: str) -> Response:
    """A new version without this item."""
    if erasures.wanted():
        return erasures.receipt(erasures.eraser().erase_items(name, item_ids=(item_id,)))
    return jsonify(describe(services().galleries.remove(name, item_ids=(item_id,))))


@blueprint.delete("/<name>/items")
@needs(Scope.MANAGE)
@operation(
    "deleteItemsByLabel",
    "Delete all items of a label, or erase them for good.",
    {200: (Gallery, erasures.Erasure)},
    (*WRITE, ItemNotFound, InvalidRequest, MilvusUnavailable),
    query=erasures.EraseLabelQuery,
    repeatable=frozenset({"label"}),
)
def delete_label(name: str) -> Response:
    """A new version without the items of these labels; without a label nothing is deleted."""
    labels = sent_labels("delete")
    if erasures.wanted():
        return erasures.receipt(erasures.eraser().erase_items(name, labels=labels))
    return jsonify(describe(services().galleries.remove(name, labels=labels)))


def describe_item(gallery: str, item: infra.galleries.store.Item) -> Item:
    """An item as JSON."""
    link = url_for("items.item_image", name=gallery, item_id=item.id)
    return {
        "id": item.id,
        "label": item.label,
        "sha256": item.sha256,
        "box": None if item.box is None else list(item.box),
        "added_at": item.added_at,
        "metadata": dict(item.metadata),
        "links": {"image": link},
    }


def sent_labels(verb: str) -> tuple[str, ...]:
    """The labels that the query names. Raises InvalidRequest if it names none, with what they are wanted for."""
    labels = tuple(request.args.getlist("label"))
    if not labels:
        detail = f"name what to {verb}: ?label=… (it may be repeated)"
        raise InvalidRequest(detail, errors=[{"pointer": "/label", "detail": detail}])
    return labels


def read_cursor(after: str) -> tuple[int, int]:
    """The version and the place in it that a page ended with. Raises InvalidCursor."""
    found = CURSOR.fullmatch(after)
    if found is None:
        raise InvalidCursor("This is no cursor: send the `next_after` of the page before.")
    return int(found[1]), int(found[2])
