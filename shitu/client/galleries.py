"""Galleries: made, filled, listed, corrected. Steps without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shitu.client.exchange import Pages, Ref, Steps, ask, by_pages, id_of, named, once, read
from shitu.client.pictures import upload_of
from shitu.client.sending import Terms, filters_told

if TYPE_CHECKING:
    from contracts.indexes import DistType, IndexMethod
    from contracts.jobs import Priority
    from contracts.lint import Lint
    from contracts.options import Crop
    from contracts.results import EnrollmentJob
    from contracts.usage import Box
    from contracts.versions import ChangeKind, EvaluationJob, VersionChange
    from shitu.client.jobs import Verdict
    from shitu.client.pictures import Picture
    from shitu.client.sending import Filters
    from web.answers import Feedback, Gallery, Item, Label, MovedItems, RenamedGallery, RenamedItem, VersionList
    from web.galleries.deleted import DeletedGallery
    from web.galleries.erasures import Erasure


def create_gallery(
    name: str,
    *,
    index_method: IndexMethod | None = None,
    dist_type: DistType | None = None,
    rerank: int | None = None,
    idempotency_key: str | None = None,
) -> Steps[Gallery]:
    """Makes an empty gallery, searched as `choose_index` says. Raises Conflict if there is one of that name."""
    index = _index(index_method, dist_type, rerank)
    body = {"name": name, **({"index": index} if index else {})}
    found: Gallery = yield from ask("POST", "/galleries", json=body, headers=once(idempotency_key))
    return found


def choose_index(
    gallery: str,
    *,
    index_method: IndexMethod | None = None,
    dist_type: DistType | None = None,
    rerank: int | None = None,
) -> Steps[Gallery]:
    """Chooses how a gallery is searched: the new version. What is left out takes its default ("auto", "IP").

    `rerank` goes with the `dist_type` "hamming" alone.
    """
    body = {"index": _index(index_method, dist_type, rerank)}
    found: Gallery = yield from ask("PATCH", named(gallery), json=body, repeatable=False)
    return found


def _index(index_method: IndexMethod | None, dist_type: DistType | None, rerank: int | None) -> dict[str, Any]:
    told = {"index_method": index_method, "dist_type": dist_type, "rerank": rerank}
    return {name: value for name, value in told.items() if value is not None}


def list_galleries() -> Steps[Sequence[Gallery]]:
    """All galleries by name."""
    found = yield from ask("GET", "/galleries")
    galleries: Sequence[Gallery] = found["galleries"]
    return galleries


def get_gallery(name: str) -> Steps[Gallery]:
    """One gallery. Raises NotFound."""
    found: Gallery = yield from ask("GET", named(name))
    return found


def delete_gallery(name: str) -> Steps[None]:
    """Deletes a gallery with all its versions. Raises NotFound."""
    yield from ask("DELETE", named(name), repeatable=False)


def erase_gallery(name: str) -> Steps[Erasure]:
    """Erases a gallery with its pictures and feedback, for good: the receipt."""
    found: Erasure = yield from ask("DELETE", named(name), {"erase": True}, repeatable=False)
    return found


def list_deleted() -> Steps[Sequence[DeletedGallery]]:
    """The galleries that were deleted and can be restored."""
    found = yield from ask("GET", "/galleries", {"deleted": True})
    galleries: Sequence[DeletedGallery] = found["galleries"]
    return galleries


def restore_gallery(name: str, generation: str | None = None) -> Steps[Gallery]:
    """Restores the gallery of this name that was deleted last, or another `generation`. Raises Conflict, NotFound."""
    query = {"generation": generation}
    found: Gallery = yield from ask("POST", f"{named(name)}/restore", query, repeatable=False)
    return found


def export(gallery: str, version: int | None = None) -> Steps[bytes]:
    """A version, None: the current one, as one file that an import takes."""
    return (yield from read(f"{named(gallery)}/export", {"version": version}))


def undo(gallery: str) -> Steps[Gallery]:
    """Takes the last change of items or labels back: the version that is in force again."""
    found: Gallery = yield from ask("POST", f"{named(gallery)}/undo", repeatable=False)
    return found


def lint(
    gallery: str,
    *,
    level: str | None = None,
    kind: str | None = None,
    version: int | None = None,
    limit: int = 1000,
    after: str | None = None,
) -> Steps[Lint]:
    """What makes the gallery answer worse, the worst first, each with the one request that mends it.

    A worker looks the version through when it is first asked for, which is waited for some seconds: where `complete` is
    False ask again.
    """
    query = {"level": level, "kind": kind, "version": version, "limit": limit, "after": after}
    found: Lint = yield from ask("GET", f"{named(gallery)}/lint", query, headers={"Prefer": "wait=20"})
    return found


def add_pictures(
    gallery: str,
    pictures: Sequence[Picture],
    labels: str | Sequence[str],
    *,
    crop: Crop | None = None,
    skip_near_duplicates: bool = False,
    item_metadata: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[EnrollmentJob]:
    """Adds pictures, each under its label of `labels`, or all under one: the job as it was accepted.

    They are searched once it has succeeded. `crop` "main_body": the detector finds the product first.
    `skip_near_duplicates`: a picture that is nearly one of its label is left out. `item_metadata`: of all items, or of each.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    fields: dict[str, Any] = {**terms.fields(), "labels": labels if isinstance(labels, str) else list(labels)}
    if crop is not None:
        fields["crop"] = crop
    if skip_near_duplicates:
        fields["skip_near_duplicates"] = "true"
    if item_metadata is not None:
        told = dict(item_metadata) if isinstance(item_metadata, Mapping) else [dict(one) for one in item_metadata]
        fields["item_metadata"] = json.dumps(told, ensure_ascii=False)
    files = [("images", upload_of(picture)) for picture in pictures]
    found: EnrollmentJob = yield from ask(
        "POST", f"{named(gallery)}/items", fields=fields, files=files, headers=terms.headers
    )
    return found


def enroll_box(
    gallery: str,
    job: Ref,
    label: str,
    *,
    box: Box | None = None,
    item_metadata: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[EnrollmentJob]:
    """Adds a part of a recognised photo under `label`: that is how an answer is corrected. `box` None: the whole photo."""
    terms = Terms(metadata, priority, webhook_url, None, idempotency_key)
    source = {"job": job if isinstance(job, str) else job["id"], "box": None if box is None else list(box)}
    body = {"from": source, "label": label, **terms.members()}
    if item_metadata is not None:
        body["item_metadata"] = dict(item_metadata)
    found: EnrollmentJob = yield from ask("POST", f"{named(gallery)}/items", json=body, headers=terms.headers)
    return found


def list_items(
    gallery: str,
    *,
    label: str | None = None,
    filters: Filters | None = None,
    version: int | None = None,
    page_size: int = 1000,
) -> Pages[Item]:
    """The items, all of one version; `filters`: only those with this metadata."""
    query: dict[str, Any] = {"label": label, "version": version, "limit": page_size}
    if told := filters_told(filters):
        query["filter"] = told
    pages = by_pages(f"{named(gallery)}/items", "items", query)

    def page(after: str | None) -> Steps[tuple[Sequence[Item], str | None]]:
        if after is None:
            return (yield from pages.page(None))
        rest = by_pages(f"{named(gallery)}/items", "items", {**query, "version": None})  # the cursor holds the version
        return (yield from rest.page(after))

    return Pages(page)


def item_picture(gallery: str, item: Ref, *, width: int | None = None) -> Steps[bytes]:
    """An item's picture as it was enrolled; `width`: a JPEG of at most so many pixels across."""
    return (yield from read(f"{named(gallery)}/items/{id_of(item)}/image", {"width": width}))


def list_labels(gallery: str, *, prefix: str = "", page_size: int = 1000) -> Pages[Label]:
    """The labels in alphabetical order, those that begin with `prefix`."""
    return by_pages(f"{named(gallery)}/labels", "labels", {"prefix": prefix, "limit": page_size})


def list_versions(gallery: str) -> Steps[VersionList]:
    """The versions that can be gone back to, and the current one."""
    found: VersionList = yield from ask("GET", f"{named(gallery)}/versions")
    return found


def diff(
    gallery: str, version: int, to: int | None = None, *, kind: ChangeKind | None = None, page_size: int = 1000
) -> Pages[VersionChange]:
    """What is different in version `to`, None: in the current one."""
    path = f"{named(gallery)}/versions/{version}/diff"
    query = {"to": to, "kind": kind, "limit": page_size}
    return by_pages(path, "changes", query)


def evaluate(
    gallery: str,
    version: int,
    against: int | None = None,
    *,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[EvaluationJob]:
    """Has a version's answers compared with those of another, None: of the current one. The job as it was accepted."""
    hook = None if webhook_url is None else {"url": webhook_url}
    body = {name: value for name, value in (("against", against), ("webhook", hook)) if value is not None}
    path = f"{named(gallery)}/versions/{version}/evaluate"
    found: EvaluationJob = yield from ask("POST", path, json=body, headers=once(idempotency_key))
    return found


def activate(gallery: str, version: int) -> Steps[Gallery]:
    """Makes a version the current one."""
    found: Gallery = yield from ask("POST", f"{named(gallery)}/versions/{version}/activate")
    return found


def rename_item(gallery: str, item: Ref, label: str) -> Steps[RenamedItem]:
    """Gives one item another label; its id changes."""
    path = f"{named(gallery)}/items/{id_of(item)}"
    found: RenamedItem = yield from ask("PATCH", path, json={"label": label}, repeatable=False)
    return found


def rename_label(gallery: str, label: str | Sequence[str], new: str, *, merge: bool = False) -> Steps[RenamedGallery]:
    """Gives a label another name. `merge`: it, or several, may become one with what is there; else that raises Conflict."""
    body = {"label": new, **({"merge": True} if merge else {})}
    query = {"label": label if isinstance(label, str) else list(label)}
    found: RenamedGallery = yield from ask("PATCH", f"{named(gallery)}/items", query, json=body, repeatable=False)
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
    found: MovedItems = yield from ask("POST", f"{named(gallery)}/items/move", json=body, headers=once(idempotency_key))
    return found


def delete_item(gallery: str, item: Ref) -> Steps[Gallery]:
    """Deletes one item: the new version."""
    found: Gallery = yield from ask("DELETE", f"{named(gallery)}/items/{id_of(item)}", repeatable=False)
    return found


def delete_labels(gallery: str, labels: str | Sequence[str]) -> Steps[Gallery]:
    """Deletes all items of these labels: the new version."""
    query = {"label": labels if isinstance(labels, str) else list(labels)}
    found: Gallery = yield from ask("DELETE", f"{named(gallery)}/items", query, repeatable=False)
    return found


def erase_item(gallery: str, item: Ref) -> Steps[Erasure]:
    """Erases one item with its picture, for good: the receipt."""
    path = f"{named(gallery)}/items/{id_of(item)}"
    found: Erasure = yield from ask("DELETE", path, {"erase": True}, repeatable=False)
    return found


def erase_labels(gallery: str, labels: str | Sequence[str]) -> Steps[Erasure]:
    """Erases all items of these labels with their pictures, for good: the receipt."""
    query = {"label": labels if isinstance(labels, str) else list(labels), "erase": True}
    found: Erasure = yield from ask("DELETE", f"{named(gallery)}/items", query, repeatable=False)
    return found


def get_erasure(erasure: Ref) -> Steps[Erasure]:
    """How far an erasure has come."""
    found: Erasure = yield from ask("GET", f"/erasures/{id_of(erasure)}")
    return found


def item_preview(gallery: str, item: Ref, *, width: int | None = None) -> Steps[bytes]:
    """An item's picture as a browser can show it."""
    return (yield from read(f"{named(gallery)}/items/{id_of(item)}/preview", {"width": width}))


def feedback_photo(gallery: str, feedback: Ref, *, width: int | None = None) -> Steps[bytes]:
    """The photo that was judged."""
    return (yield from read(f"{named(gallery)}/feedback/{id_of(feedback)}/image", {"width": width}))


def list_feedback(gallery: str, *, verdict: Verdict | None = None, page_size: int = 1000) -> Pages[Feedback]:
    """What was said of the gallery's answers, oldest first."""
    return by_pages(f"{named(gallery)}/feedback", "feedback", {"verdict": verdict, "limit": page_size})


def feedback_list(gallery: str, form: Literal["train", "eval", "coco"], *, holdout: bool | None = None) -> Steps[bytes]:
    """What feedback teaches, as a list for training or evaluation, or as COCO JSON."""
    return (yield from read(f"{named(gallery)}/feedback", {"format": form, "holdout": holdout}))
