"""One evaluation job: a version of a gallery compared with another one, by queries whose answer is known.

The queries are the galleries' own items, each searched without itself, and what people said of earlier answers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.indexes import choice_of, things_of
from infra.errors.photos import ObjectNotFound
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.neighbours import Found, search
from models.errors import ImageError, ModelError
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.galleries.left_out import answers
from models.pictures.image import crop, decode, with_margin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from contracts.versions import AnswerChange, Compared, EvaluationResult, QueryKind, Score
    from infra.galleries.feedback import Feedback
    from infra.galleries.store import GalleryManifest, Item
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

TURN_S = 5.0  # of searching between two checkpoints
BATCH = 16  # crops embedded at a time
SHOWN = 1000
NEAREST = 100  # items from which the ones of the photo itself are left out


@dataclass(frozen=True)
class Version:
    """A version with its vectors (N, D)."""

    manifest: GalleryManifest
    items: tuple[Item, ...]
    embeddings: NDArray[np.float32]

    def used(self) -> Any:
        """For the result."""
        return {"name": self.manifest.name, "version": self.manifest.version, "items": self.manifest.item_count}


@dataclass(frozen=True)
class Query:
    """A query: its right label, and what both versions answer; None: nothing."""

    query: QueryKind
    id: str
    label: str
    before: str | None
    after: str | None


def evaluate_version(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> EvaluationResult:
    """The `result` of `job`. Raises GalleryNotFound, VersionNotFound, EmbedderMismatch, StorageUnavailable."""
    name = job.request["gallery"]
    current = runtime.store.manifest(name).version
    return compared(runtime, name, job.request["version"], job.request.get("against") or current, checkpoint)


def compared(runtime: Runtime, name: str, number: int, other: int, checkpoint: Checkpoint) -> EvaluationResult:
    """Version `number` of the gallery compared with another one, of another embedder perhaps. Raises as `evaluate_version`.

    Items are searched by the embeddings that are stored. Feedback is embedded for each version with its own embedder;
    where that of the other version is not here any more, none of it can be used.
    """
    version, against = _loaded(runtime, name, number), _loaded(runtime, name, other)
    digest = runtime.embedder_of(version.manifest)
    everything = GalleryFeedback(runtime.objects, runtime.store).latest(name)
    feedback = [one for one in everything if _label(one) is not None]
    total = len(version.items) + len(against.items) + len(feedback)
    new = _left_out(version, 0, total, checkpoint)
    old = _left_out(against, len(version.items), total, checkpoint)
    mine = [
        Query("item", item.id, item.label, old[item.id], new[item.id])
        for item in version.items
        if item.id in old and item.id in new
    ]
    judged, unusable = _judged(feedback, version, against, runtime, checkpoint, total - len(feedback), total)
    changes = sorted((one for one in (*mine, *judged) if _effect(one)), key=lambda one: _effect(one) == "gained")
    return {
        "version": version.used(),
        "against": against.used(),
        "leave_one_out": _compared(mine),
        "feedback": _compared(judged),
        "unusable_feedback": unusable,
        "changes": [_reported(one) for one in changes[:SHOWN]],
        "models": {"embedder": runtime.models_with(digest)["embedder"]},
    }


def _loaded(runtime: Runtime, name: str, version: int) -> Version:
    return Version(*runtime.store.load(name, version))


def _left_out(version: Version, before: int, total: int, checkpoint: Checkpoint) -> dict[str, str | None]:
    """What each item with another one of its label is taken for without itself, by its id."""
    labels = [item.label for item in version.items]
    things = things_of(choice_of(version.manifest.index), version.items)
    if things is not None:
        return _left_out_of_things(version, labels, things, before, total, checkpoint)
    found = Found.nothing(len(labels))
    while not found.complete:
        search(labels, version.embeddings, found, TURN_S)
        checkpoint({"done": before + int(found.done.sum()), "total": total})
    report: dict[str, str | None] = {}
    for place, item in enumerate(version.items):
        if found.own_place[place] >= 0:
            own = found.own_score[place] >= found.other_score[place]
            report[item.id] = item.label if own else labels[int(found.other_place[place])]
    return report


def _left_out_of_things(
    version: Version, labels: list[str], things: list[int], before: int, total: int, checkpoint: Checkpoint
) -> dict[str, str | None]:
    """The same where pictures are fused: the thing of an item is fused without it."""
    found: dict[str, str | None] = {}
    for some in answers(labels, version.embeddings, things):
        found |= {version.items[place].id: answer for place, answer in some.items()}
        checkpoint({"done": before + max(some), "total": total})
    return found


def _judged(
    feedback: Sequence[Feedback],
    version: Version,
    against: Version,
    runtime: Runtime,
    checkpoint: Checkpoint,
    before: int,
    total: int,
) -> tuple[list[Query], int]:
    """The judgements as queries, and how many cannot be used. Items of the judged photo itself answer none."""
    galleries = [_gallery(one) for one in (version, against)]
    known = [{item.label for item in one.items} for one in (version, against)]
    queries: list[Query] = []
    unusable = 0
    digests = [one.manifest.embedder_digest or runtime.default_digest for one in (version, against)]
    for start in range(0, len(feedback), BATCH):
        checkpoint({"done": before + start, "total": total})
        some = [
            one for one in feedback[start : start + BATCH] if any(_label(one) in labels for labels in known)
        ]  # of the others no version can know the label
        if not all(runtime.has(digest) for digest in digests):
            unusable += len(some)
            continue
        views: list[tuple[Feedback, NDArray[np.uint8]]] = []
        for one in some:
            try:
                image = decode(runtime.objects.get(one.image_key), max_pixels=runtime.settings.images.max_pixels)
                views.append((one, image if one.box is None else crop(image, with_margin(one.box, *image.shape[:2]))))
            except (ImageError, ObjectNotFound, ValueError):
                unusable += 1
        rows = {digest: _embedded(runtime, digest, [view for _, view in views]) for digest in dict.fromkeys(digests)}
        for at, (one, _) in enumerate(views):
            both = [rows[digest][at] for digest in digests]
            if any(row is None for row in both):
                unusable += 1
                continue
            after, was = (
                _answer(gallery, row, one) for gallery, row in zip(galleries, both, strict=True) if row is not None
            )
            queries.append(Query("feedback", one.id, str(_label(one)), was, after))
    return queries, unusable


def _embedded(runtime: Runtime, digest: str, views: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32] | None]:
    """(D,) of each view by the embedder of `digest`; None for one that has no usable embedding."""
    rows: list[NDArray[np.float32] | None] = []
    with runtime.programs(digest) as programs:
        for view in views:
            try:
                rows.append(programs.embedder([view])[0])
            except (ModelError, ValueError):
                rows.append(None)
    return rows


def _gallery(version: Version) -> Gallery:
    made = Gallery(version.items, version.embeddings, version.manifest.name, version.manifest.version)
    choice = choice_of(version.manifest.index)
    return FusedGallery(made, choice) if choice.fuse and version.items else made


def _answer(gallery: Gallery, row: NDArray[np.float32], one: Feedback) -> str | None:
    """The best label by the items of other photos."""
    if not len(gallery.items):
        return None
    sha256 = one.image_key.rpartition("/")[2]
    (found,) = gallery.search_labels(row[None], min(NEAREST, len(gallery.items)))
    (matches,) = gallery.by_pictures().search(row[None], min(NEAREST, len(gallery.items)))
    own = {match.item.label for match in matches if match.item.sha256 == sha256}  # type: ignore[attr-defined]
    if not own:
        return found.labels[0].label if found.labels else None
    nearest = next((match for match in matches if match.item.sha256 != sha256), None)  # type: ignore[attr-defined]
    return None if nearest is None else nearest.item.label


def _label(one: Feedback) -> str | None:
    """The right label, if the judgement says it."""
    if one.verdict == "ignore":
        return None
    return one.label or (one.answer if one.verdict == "right" else None)


def _compared(queries: Sequence[Query]) -> Compared:
    effects: dict[str, int] = defaultdict(int)
    for one in queries:
        effects[_effect(one)] += 1
    return {
        "version": _score(len(queries), sum(one.after == one.label for one in queries)),
        "against": _score(len(queries), sum(one.before == one.label for one in queries)),
        "gained": effects["gained"],
        "lost": effects["lost"],
    }


def _score(queries: int, right: int) -> Score:
    return {"queries": queries, "right": right, "recall_at_1": round(right / queries, 4) if queries else None}


def _effect(one: Query) -> str:
    was, now = one.before == one.label, one.after == one.label
    return "" if was == now else "gained" if now else "lost"


def _reported(one: Query) -> AnswerChange:
    return {
        "query": one.query,
        "id": one.id,
        "label": one.label,
        "effect": "gained" if _effect(one) == "gained" else "lost",
        "before": one.before,
        "after": one.after,
    }
