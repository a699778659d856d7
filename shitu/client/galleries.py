"""Galleries: made, listed, compared, restored; their versions and what is said of their answers. Steps without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from shitu.client.exchange import Pages, Ref, Steps, by_pages, call, id_of, named, once, read

if TYPE_CHECKING:
    from contracts.indexes import DistType, IndexMethod
    from contracts.lint import Lint
    from contracts.reembeddings import ReembeddingJob
    from contracts.versions import ChangeKind, EvaluationJob, VersionChange
    from shitu.client.jobs import Verdict
    from web.answers import Feedback, Gallery, RestoredItems, VersionList
    from web.galleries.deleted import DeletedGallery
    from web.galleries.erasures import Erasure


def create_gallery(
    name: str,
    *,
    index_method: IndexMethod | None = None,
    dist_type: DistType | None = None,
    rerank: int | None = None,
    fuse: bool | None = None,
    fuse_by: str | None = None,
    embedder: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[Gallery]:
    """Makes an empty gallery, searched as `choose_index` says. Raises Conflict if there is one of that name.

    `embedder`: the name of one of the workers' embedders, which the gallery belongs to; None: the default.
    """
    index = _index(index_method, dist_type, rerank, fuse, fuse_by)
    body = {"name": name, **({"index": index} if index else {}), **({"embedder": embedder} if embedder else {})}
    found: Gallery = yield from call("POST", "/galleries", json=body, headers=once(idempotency_key))
    return found


def choose_index(
    gallery: str,
    *,
    index_method: IndexMethod | None = None,
    dist_type: DistType | None = None,
    rerank: int | None = None,
    fuse: bool | None = None,
    fuse_by: str | None = None,
) -> Steps[Gallery]:
    """Chooses how a gallery is searched: the new version. What is left out takes its default ("auto", "IP").

    `rerank` goes with the `dist_type` "hamming" alone. With `fuse` one vector is searched for each label, the mean of its
    pictures'; with `fuse_by` for the items of a label that have the same value of this metadata name.
    """
    body = {"index": _index(index_method, dist_type, rerank, fuse, fuse_by)}
    found: Gallery = yield from call("PATCH", named(gallery), json=body, repeatable=False)
    return found


def _index(
    index_method: IndexMethod | None,
    dist_type: DistType | None,
    rerank: int | None,
    fuse: bool | None,
    fuse_by: str | None,
) -> dict[str, Any]:
    report = {"index_method": index_method, "dist_type": dist_type, "rerank": rerank, "fuse": fuse, "fuse_by": fuse_by}
    return {name: value for name, value in report.items() if value is not None}


def list_galleries() -> Steps[Sequence[Gallery]]:
    """All galleries by name."""
    found = yield from call("GET", "/galleries")
    galleries: Sequence[Gallery] = found["galleries"]
    return galleries


def get_gallery(name: str) -> Steps[Gallery]:
    """One gallery. Raises NotFound."""
    found: Gallery = yield from call("GET", named(name))
    return found


def delete_gallery(name: str) -> Steps[None]:
    """Deletes a gallery with all its versions. Raises NotFound."""
    yield from call("DELETE", named(name), repeatable=False)


def erase_gallery(name: str) -> Steps[Erasure]:
    """Erases a gallery with its pictures and feedback, for good: the receipt."""
    found: Erasure = yield from call("DELETE", named(name), {"erase": True}, repeatable=False)
    return found


def list_deleted() -> Steps[Sequence[DeletedGallery]]:
    """The galleries that were deleted and can be restored."""
    found = yield from call("GET", "/galleries", {"deleted": True})
    galleries: Sequence[DeletedGallery] = found["galleries"]
    return galleries


def restore_gallery(name: str, generation: str | None = None) -> Steps[Gallery]:
    """Restores the gallery of this name that was deleted last, or another `generation`. Raises Conflict, NotFound."""
    query = {"generation": generation}
    found: Gallery = yield from call("POST", f"{named(name)}/restore", query, repeatable=False)
    return found


def export(gallery: str, version: int | None = None) -> Steps[bytes]:
    """A version, None: the current one, as one file that an import takes."""
    return (yield from read(f"{named(gallery)}/export", {"version": version}))


def undo(gallery: str) -> Steps[Gallery]:
    """Takes the last change of items or labels back: the version that is in force again."""
    found: Gallery = yield from call("POST", f"{named(gallery)}/undo", repeatable=False)
    return found


def lint(
    gallery: str,
    *,
    level: str | None = None,
    kind: str | None = None,
    version: int | None = None,
    objects: bool = False,
    limit: int = 1000,
    after: str | None = None,
) -> Steps[Lint]:
    """What makes the gallery answer worse, the worst first, each with the one request that mends it.

    A worker checks the version when its report is first requested, which is waited for some seconds: where `complete` is
    False, call again. `objects`: the detector looks at each picture, too, for those that show several objects.
    """
    query = {
        "objects": objects or None,
        "level": level,
        "kind": kind,
        "version": version,
        "limit": limit,
        "after": after,
    }
    found: Lint = yield from call("GET", f"{named(gallery)}/lint", query, headers={"Prefer": "wait=20"})
    return found


def restore_items(
    gallery: str,
    version: int,
    *,
    item_ids: Sequence[str] | None = None,
    label: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[RestoredItems]:
    """Brings items of a kept version, or those of a label, back into the one in force, added to all that came since."""
    chosen = {"item_ids": None if item_ids is None else list(item_ids), "label": label}
    body = {name: value for name, value in chosen.items() if value is not None}
    path = f"{named(gallery)}/versions/{version}/restore"
    found: RestoredItems = yield from call("POST", path, json=body, headers=once(idempotency_key))
    return found


def list_versions(gallery: str, *, staged: bool | None = None) -> Steps[VersionList]:
    """The versions that are kept, and the current one. `staged` True: only those that never were in force; False: the others."""
    query = {"staged": None if staged is None else str(staged).lower()}
    found: VersionList = yield from call("GET", f"{named(gallery)}/versions", query)
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
    found: EvaluationJob = yield from call("POST", path, json=body, headers=once(idempotency_key))
    return found


def reembed(
    gallery: str,
    embedder: str,
    *,
    activate: bool = False,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[ReembeddingJob]:
    """Has a gallery's pictures embedded again with another of the service's embedders, into a staged version.

    `activate`: it is put in force if it has all items and answers no fewer of them right. The job as it was accepted.
    """
    hook = {} if webhook_url is None else {"webhook": {"url": webhook_url}}
    body = {"embedder": embedder, "activate": activate, **hook}
    path = f"{named(gallery)}/reembed"
    found: ReembeddingJob = yield from call("POST", path, json=body, headers=once(idempotency_key))
    return found


def activate(gallery: str, version: int) -> Steps[Gallery]:
    """Makes a version the current one."""
    found: Gallery = yield from call("POST", f"{named(gallery)}/versions/{version}/activate")
    return found


def get_erasure(erasure: Ref) -> Steps[Erasure]:
    """How far an erasure has come."""
    found: Erasure = yield from call("GET", f"/erasures/{id_of(erasure)}")
    return found


def feedback_photo(gallery: str, feedback: Ref, *, width: int | None = None) -> Steps[bytes]:
    """The photo of one feedback."""
    return (yield from read(f"{named(gallery)}/feedback/{id_of(feedback)}/image", {"width": width}))


def list_feedback(gallery: str, *, verdict: Verdict | None = None, page_size: int = 1000) -> Pages[Feedback]:
    """What was said of the gallery's answers, oldest first."""
    return by_pages(f"{named(gallery)}/feedback", "feedback", {"verdict": verdict, "limit": page_size})


def feedback_list(gallery: str, form: Literal["train", "eval", "coco"], *, holdout: bool | None = None) -> Steps[bytes]:
    """The feedback, as a list for training or evaluation, or as COCO JSON."""
    return (yield from read(f"{named(gallery)}/feedback", {"format": form, "holdout": holdout}))
