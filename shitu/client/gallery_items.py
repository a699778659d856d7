"""The items of a gallery: added, listed, corrected, deleted. Steps without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shitu.client.exchange import Pages, Ref, Steps, by_pages, call, id_of, named, once, read
from shitu.client.pictures import upload_of
from shitu.client.sending import Terms, filters_sent, named_photos, send_photo

if TYPE_CHECKING:
    from contracts.jobs import Priority
    from contracts.options import Crop
    from contracts.photo_results import EmbeddingJob
    from contracts.results import EnrollmentJob
    from contracts.usage import Box
    from shitu.client.pictures import Picture
    from shitu.client.sending import Filters
    from web.answers import Gallery, Item, Label, MovedItems, RenamedGallery, RenamedItem
    from web.galleries.erasures import Erasure


def add_pictures(
    gallery: str,
    pictures: Sequence[Picture | Mapping[str, Any]],
    labels: str | Sequence[str],
    *,
    crop: Crop | None = None,
    skip_near_duplicates: bool = False,
    activate: bool = True,
    item_metadata: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[EnrollmentJob]:
    """Adds pictures, each under its label of `labels`, or all under one: the job as it was accepted.

    They are searched once it has succeeded. A picture may be a URL (http, https, s3), which the service fetches, or an upload
    of `uploads.create`. `crop` "main_body": the detector finds the product first.
    `skip_near_duplicates`: a picture that is nearly one of its label is left out. `activate` False: the version that is made
    is staged. `item_metadata`: of all items, or of each.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    images = named_photos(pictures)
    if images is not None:
        body: dict[str, Any] = {
            "items": _each(images, labels, item_metadata),
            **({} if crop is None else {"crop": crop}),
            "skip_near_duplicates": skip_near_duplicates,
            "activate": activate,
            **terms.members(),
        }
        made: EnrollmentJob = yield from call("POST", f"{named(gallery)}/items", json=body, headers=terms.headers)
        return made
    fields: dict[str, Any] = {**terms.fields(), "labels": labels if isinstance(labels, str) else list(labels)}
    if crop is not None:
        fields["crop"] = crop
    if skip_near_duplicates:
        fields["skip_near_duplicates"] = "true"
    if not activate:
        fields["activate"] = "false"
    if item_metadata is not None:
        report = dict(item_metadata) if isinstance(item_metadata, Mapping) else [dict(one) for one in item_metadata]
        fields["item_metadata"] = json.dumps(report, ensure_ascii=False)
    files = [("images", upload_of(picture)) for picture in pictures]  # type: ignore[arg-type]  # none is an upload's record
    found: EnrollmentJob = yield from call(
        "POST", f"{named(gallery)}/items", fields=fields, files=files, headers=terms.headers
    )
    return found


def _each(
    images: Sequence[Mapping[str, str]],
    labels: str | Sequence[str],
    metadata: Mapping[str, str] | Sequence[Mapping[str, str]] | None,
) -> list[dict[str, Any]]:
    """The pictures with their labels and metadata. Raises ValueError where there are not as many of each."""
    count = len(images)
    each_label = [labels] * count if isinstance(labels, str) else list(labels)
    each_label = each_label * count if len(each_label) == 1 else each_label
    each = [dict(metadata or {})] * count if metadata is None or isinstance(metadata, Mapping) else list(metadata)
    if len(each_label) != count or len(each) != count:
        raise ValueError(f"{count} pictures have {len(each_label)} labels and {len(each)} metadata: give one of each for all, or one for each")  # fmt: skip
    return [
        {"image": dict(image), "label": label, **({"metadata": dict(own)} if own else {})}
        for image, label, own in zip(images, each_label, each, strict=True)
    ]


def enroll_box(
    gallery: str,
    job: Ref,
    label: str,
    *,
    box: Box | None = None,
    activate: bool = True,
    item_metadata: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[EnrollmentJob]:
    """Adds a part of a recognised photo under `label`: that is how an answer is corrected. `box` None: the whole photo."""
    terms = Terms(metadata, priority, webhook_url, None, idempotency_key)
    source = {"job": job if isinstance(job, str) else job["id"], "box": None if box is None else list(box)}
    body = {"from": source, "label": label, "activate": activate, **terms.members()}
    if item_metadata is not None:
        body["item_metadata"] = dict(item_metadata)
    found: EnrollmentJob = yield from call("POST", f"{named(gallery)}/items", json=body, headers=terms.headers)
    return found


def list_items(
    gallery: str,
    *,
    label: str | None = None,
    filters: Filters | None = None,
    like: Ref | None = None,
    version: int | None = None,
    page_size: int = 1000,
) -> Pages[Item]:
    """The items, all of one version; `filters`: only those with this metadata. `like` an item: the most similar to it first."""
    query: dict[str, Any] = {"label": label, "version": version, "limit": page_size}
    if like is not None:
        query["like"] = id_of(like)
    if report := filters_sent(filters):
        query["filter"] = report
    pages = by_pages(f"{named(gallery)}/items", "items", query)

    def page(after: str | None) -> Steps[tuple[Sequence[Item], str | None]]:
        if after is None:
            return (yield from pages.page(None))
        rest = by_pages(f"{named(gallery)}/items", "items", {**query, "version": None})  # the cursor holds the version
        return (yield from rest.page(after))

    return Pages(page)


def search_items(
    gallery: str,
    photo: Picture | Mapping[str, Any],
    *,
    limit: int | None = None,
    filters: Filters | None = None,
    version: int | None = None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[EmbeddingJob]:
    """Finds the items nearest to a picture, of one that is sent, uploaded, or by URL: the job as it was accepted.

    Its end, of `embeddings.wait`, has them in `result["items"]`.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    options = {key: value for key, value in (("limit", limit), ("version", version)) if value is not None}
    found: EmbeddingJob = yield from send_photo(
        f"{named(gallery)}/search", photo, name, options, (), terms, filters_sent(filters)
    )
    return found


def item_picture(gallery: str, item: Ref, *, width: int | None = None) -> Steps[bytes]:
    """An item's picture as it was enrolled; `width`: a JPEG of at most so many pixels across."""
    return (yield from read(f"{named(gallery)}/items/{id_of(item)}/image", {"width": width}))


def list_labels(gallery: str, *, prefix: str = "", page_size: int = 1000) -> Pages[Label]:
    """The labels in alphabetical order, those that begin with `prefix`."""
    return by_pages(f"{named(gallery)}/labels", "labels", {"prefix": prefix, "limit": page_size})


def rename_item(gallery: str, item: Ref, label: str) -> Steps[RenamedItem]:
    """Gives one item another label; its id changes."""
    path = f"{named(gallery)}/items/{id_of(item)}"
    found: RenamedItem = yield from call("PATCH", path, json={"label": label}, repeatable=False)
    return found


def rename_label(gallery: str, label: str | Sequence[str], new: str, *, merge: bool = False) -> Steps[RenamedGallery]:
    """Gives a label another name. `merge`: it, or several, may become one with what is there; else that raises Conflict."""
    body = {"label": new, **({"merge": True} if merge else {})}
    query = {"label": label if isinstance(label, str) else list(label)}
    found: RenamedGallery = yield from call("PATCH", f"{named(gallery)}/items", query, json=body, repeatable=False)
    return found


def move_items(
    gallery: str,
    to: str,
    *,
    item_ids: Sequence[str] | None = None,
    label: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[MovedItems]:
    """Moves items, or those of a label, to another gallery."""
    body: dict[str, Any] = {"to": to}
    if item_ids is not None:
        body["item_ids"] = list(item_ids)
    if label is not None:
        body["label"] = label
    found: MovedItems = yield from call(
        "POST", f"{named(gallery)}/items/move", json=body, headers=once(idempotency_key)
    )
    return found


def delete_item(gallery: str, item: Ref) -> Steps[Gallery]:
    """Deletes one item: the new version."""
    found: Gallery = yield from call("DELETE", f"{named(gallery)}/items/{id_of(item)}", repeatable=False)
    return found


def delete_labels(gallery: str, labels: str | Sequence[str]) -> Steps[Gallery]:
    """Deletes all items of these labels: the new version."""
    query = {"label": labels if isinstance(labels, str) else list(labels)}
    found: Gallery = yield from call("DELETE", f"{named(gallery)}/items", query, repeatable=False)
    return found


def erase_item(gallery: str, item: Ref) -> Steps[Erasure]:
    """Erases one item with its picture, for good: the receipt."""
    path = f"{named(gallery)}/items/{id_of(item)}"
    found: Erasure = yield from call("DELETE", path, {"erase": True}, repeatable=False)
    return found


def erase_labels(gallery: str, labels: str | Sequence[str]) -> Steps[Erasure]:
    """Erases all items of these labels with their pictures, for good: the receipt."""
    query = {"label": labels if isinstance(labels, str) else list(labels), "erase": True}
    found: Erasure = yield from call("DELETE", f"{named(gallery)}/items", query, repeatable=False)
    return found


def item_preview(gallery: str, item: Ref, *, width: int | None = None) -> Steps[bytes]:
    """An item's picture as a browser can show it."""
    return (yield from read(f"{named(gallery)}/items/{id_of(item)}/preview", {"width": width}))
