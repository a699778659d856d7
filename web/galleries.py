"""Galleries: create, list, show, delete; their items, versions, and the enrolment jobs that add pictures to them."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request, url_for

from contracts.names import readable_label
from infra.errors import GalleryNotFound, InvalidCursor, InvalidRequest, UnsupportedMediaType
from infra.runtime import audit
from web.images import Refusal
from web.jobs import accept, add_job_routes
from web.recognitions import picture, shown
from web.schemas import GalleryRequest, ItemsQuery, parse, parse_json
from web.services import services
from web.uploads import read_body, read_enrollment

if TYPE_CHECKING:
    from infra.galleries.store import GalleryManifest, Item

KIND = "enrollment"
CURSOR = re.compile(r"v(\d{1,12})\.(\d{1,12})")

blueprint = Blueprint("galleries", __name__, url_prefix="/v1/galleries")
enrollments = Blueprint("enrollments", __name__, url_prefix="/v1/enrollments")
add_job_routes(enrollments, KIND)


@blueprint.post("")
def create() -> tuple[Response, int, dict[str, str]]:
    """An empty gallery; its first pictures decide which embedder it belongs to."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the gallery's name as application/json.")
    sent = parse(GalleryRequest, parse_json(read_body()))
    manifest = services().galleries.create(sent.name)
    return jsonify(describe(manifest)), 201, {"Location": url_for(".show", name=manifest.name)}


@blueprint.get("")
def index() -> Response:
    """All galleries by name."""
    store = services().galleries
    found = []
    for name in store.names():
        with suppress(GalleryNotFound):  # deleted in this moment
            found.append(describe(store.manifest(name)))
    return jsonify(galleries=found)


@blueprint.get("/<name>")
def show(name: str) -> Response:
    """The current version of one gallery."""
    return jsonify(describe(services().galleries.manifest(name)))


@blueprint.delete("/<name>")
def delete(name: str) -> tuple[str, int]:
    """Removes the gallery with all its versions."""
    services().galleries.delete(name)
    return "", 204


@blueprint.post("/<name>/items")
def add_items(name: str) -> Response:
    """Pictures and labels become an enrolment job; they are searchable once it has succeeded."""
    service = services()
    sent = read_enrollment(service.settings)
    service.galleries.manifest(name)
    items: list[dict[str, Any]] = []
    for upload, header, label in zip(sent.uploads, sent.headers, sent.labels, strict=True):
        told: dict[str, Any] = {"name": upload.name, "label": label}
        if isinstance(header, Refusal):  # the job's result repeats it in its place
            told["error"] = {"code": header.code, "message": header.detail, "retryable": False}
        else:
            told["image_key"] = service.objects.put_image(upload.data)
            told["sha256"] = hashlib.sha256(upload.data).hexdigest()
        items.append(told)
    job = service.ledger.create(KIND, {"gallery": name, "items": items, "crop": sent.crop}, sent.webhook_url)
    audit.accepted(name, job.id, len(items))
    return accept(job, service.queue.enroll)


@blueprint.get("/<name>/items")
def items(name: str) -> Response:
    """One page of a version's items. The cursor holds on to the version, so that a change between pages hides nothing."""
    query = parse(ItemsQuery, _single_values())
    version, start = _read_cursor(query.after) if query.after is not None else (query.version, 0)
    store = services().galleries
    manifest = store.manifest(name, version)
    found = store.items(name, manifest.version)
    if query.label is not None:
        wanted = readable_label(query.label)
        found = tuple(item for item in found if item.label == wanted)
    end = start + query.limit
    return jsonify(
        gallery=name,
        version=manifest.version,
        total=len(found),
        items=[describe_item(name, item) for item in found[start:end]],
        next_after=f"v{manifest.version}.{end}" if end < len(found) else None,
    )


@blueprint.get("/<name>/items/<item_id>/image")
def item_image(name: str, item_id: str) -> Response:
    """The picture of an item, as it was enrolled."""
    service = services()
    return picture(service.objects.get(service.items.find(name, item_id).image_key))


@blueprint.get("/<name>/items/<item_id>/preview")
def item_preview(name: str, item_id: str) -> Response:
    """The picture of an item as it was looked at, for browsers."""
    return shown(services().items.find(name, item_id).image_key)


@blueprint.delete("/<name>/items/<item_id>")
def delete_item(name: str, item_id: str) -> Response:
    """A new version without this item."""
    return jsonify(describe(services().galleries.remove(name, item_ids=(item_id,))))


@blueprint.delete("/<name>/items")
def delete_label(name: str) -> Response:
    """A new version without the items of these labels; without a label nothing is deleted."""
    labels = tuple(request.args.getlist("label"))
    unknown = [name for name in request.args if name != "label"]
    if unknown or not labels:
        detail = "name what to delete: ?label=… (it may be repeated); nothing else is understood here"
        raise InvalidRequest(detail, errors=[{"pointer": "/label", "detail": detail}])
    return jsonify(describe(services().galleries.remove(name, labels=labels)))


@blueprint.get("/<name>/versions")
def versions(name: str) -> Response:
    """All versions that can be gone back to, oldest first."""
    store = services().galleries
    current = store.manifest(name).version
    known = [describe(store.manifest(name, version)) for version in sorted(store.versions(name))]
    return jsonify(gallery=name, current=current, versions=known)


@blueprint.post("/<name>/versions/<int:version>/activate")
def activate(name: str, version: int) -> Response:
    """Goes back (or forth) to a version: searched from the next job on."""
    return jsonify(describe(services().galleries.activate(name, version)))


def describe(manifest: GalleryManifest) -> dict[str, Any]:
    """A version of a gallery as JSON."""
    link = url_for("galleries.show", name=manifest.name)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "item_count": manifest.item_count,
        "created_at": manifest.created_at,
        "embedder_digest": manifest.embedder_digest,
        "dim": manifest.dim,
        "links": {"self": link, "items": f"{link}/items", "versions": f"{link}/versions"},
    }


def describe_item(gallery: str, item: Item) -> dict[str, Any]:
    """An item as JSON."""
    link = url_for("galleries.item_image", name=gallery, item_id=item.id)
    return {
        "id": item.id,
        "label": item.label,
        "sha256": item.sha256,
        "box": item.box,
        "added_at": item.added_at,
        "links": {"image": link},
    }


def _single_values() -> dict[str, Any]:
    """The query's values; whole numbers stay text for pydantic to read."""
    return {name: values[-1] for name, values in request.args.lists()}


def _read_cursor(after: str) -> tuple[int, int]:
    found = CURSOR.fullmatch(after)
    if found is None:
        raise InvalidCursor("This is no cursor: send the `next_after` of the page before.")
    return int(found[1]), int(found[2])
