"""One job that embeds a gallery again: its pictures and another embedder in, a staged and evaluated version out.

Batches are staged as an import's are, and the version names the job. So a worker may die at any moment: it costs the
batch that it worked on, and the next attempt finds a version that was made. What is added to the gallery meanwhile is
embedded too, before the version is made.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.galleries import GalleryBusy, NothingToReembed, VersionNotFound
from infra.errors.photos import ObjectNotFound
from infra.galleries.reembedding import stage_reembedded
from infra.galleries.staging import Batch, Stage
from models.enrolment import calibrator
from models.errors import ImageError
from models.pictures.image import crop, decode
from worker.enroll import BATCH_PICTURES, BATCH_PIXELS, Picture, embed
from worker.errors import JobError, job_error
from worker.evaluate_version import compared
from worker.lease_keeper import GIVES_WAY, StopWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from contracts.reembeddings import LeftOut, NotActivated, ReembeddingResult
    from contracts.usage import GalleryUsed
    from contracts.versions import EvaluationResult
    from infra.galleries.store import GalleryManifest, Item
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Programs, Runtime

BATCH_ITEMS = 64
TURN_S = 20.0  # of work, after which other jobs that wait come first
ROUNDS = 8  # of embedding what was added meanwhile
SHOWN = 100
MISSING = JobError("picture_missing", "The item's picture is not kept.", retryable=False)


def reembed(
    job: Job,
    runtime: Runtime,
    checkpoint: Checkpoint,
    waits: Callable[[], bool] = lambda: False,
    stage: Stage | None = None,
) -> ReembeddingResult:
    """The `result` of `job`. `waits` as in worker.import_gallery; `stage` is where its batches are, if not in the store.

    Raises EmbedderUnknown, GalleryNotFound, NothingToReembed if no item has a picture, GalleryBusy for a gallery that
    changes all the time, StorageUnavailable; StopWork by the checkpoint.
    """
    name, digest = job.request["gallery"], runtime.named(job.request["embedder"])
    work = _Reembedding(job, digest, runtime, checkpoint, stage or Stage(runtime.objects, job.id), waits)
    made = runtime.store.made_by(name, job.id)  # by an attempt that died afterwards
    if made is None:
        made = work.staged()
    base = runtime.store.manifest(name, made.parent)
    there = {item.id for item in runtime.store.items(name, made.version)}
    gone = [item for item in runtime.store.items(name, base.version) if item.id not in there]
    refused = work.refused()
    left_out: list[LeftOut] = [
        {"item_id": item.id, "label": item.label, "error": refused.get(item.id, MISSING.to_dict())} for item in gone
    ]

    def report(progress: dict[str, Any] | None = None) -> None:
        checkpoint(None if progress is None else {**progress, "stage": "evaluate"})

    evaluation = compared(runtime, name, made.version, base.version, report)
    not_activated = _activated(job, runtime, made, base, evaluation, bool(gone))
    return {
        "gallery": _used(made),
        "base": _used(base),
        "activated": not_activated is None,
        "not_activated": not_activated,
        "left_out": left_out[:SHOWN],
        "left_out_count": len(left_out),
        "evaluation": evaluation,
        "models": {"embedder": runtime.models_with(digest)["embedder"]},
    }


class _Reembedding:
    """The embedding itself, batch by batch."""

    def __init__(
        self,
        job: Job,
        digest: str,
        runtime: Runtime,
        checkpoint: Checkpoint,
        stage: Stage,
        waits: Callable[[], bool],
    ) -> None:
        self._job, self._digest, self._runtime = job, digest, runtime
        self._name: str = job.request["gallery"]
        self._checkpoint, self._stage, self._waits = checkpoint, stage, waits
        self._held: dict[int, Batch] = {}  # what was read or made of the stage: each batch is read once
        self._began = time.monotonic()

    def staged(self) -> GalleryManifest:
        """The new version, of the items of the version in force. Raises as `reembed`."""
        self._stage.begin(self._digest)
        for _ in range(ROUNDS):
            base = self._runtime.store.manifest(self._name)
            items = self._runtime.store.items(self._name, base.version)
            self._embed_missing(items)
            places, embeddings, views = self._rows()
            if items and not any(item.id in places for item in items):
                raise NothingToReembed(
                    f"None of the {len(items)} items of {self._name!r} has a picture that can be embedded again."
                )
            with self._runtime.programs(self._digest) as programs:
                calibrate = calibrator(programs.embedder)
            made = stage_reembedded(
                self._runtime.store, base, places, embeddings, views, self._digest, calibrate, self._job.id
            )
            if made is not None:
                return made
        raise GalleryBusy(f"The gallery {self._name!r} changed again and again while it was embedded.")

    def refused(self) -> dict[str, Any]:
        """Why items have no embedding, by their ids."""
        lines = [line for batch in self._batches() for line in batch.lines] or self._stage.report() or []
        refused = {line["item_id"]: line["error"] for line in lines if line["error"] is not None}
        # For a later run that finds the version made and the batches cleared away.
        self._stage.put_report([{"item_id": item_id, "error": error} for item_id, error in refused.items()])
        return refused

    def _embed_missing(self, items: Sequence[Item]) -> None:
        """Embeds and stages what is not staged yet. Raises StopWork to give way, after a batch."""
        known = {line["item_id"] for batch in self._batches() for line in batch.lines}
        missing = [item for item in items if item.id not in known]
        number = max(self._stage.done(), default=-1) + 1
        done = len(items) - len(missing)
        self._report(done, len(items))
        for start in range(0, len(missing), BATCH_ITEMS):
            chunk = missing[start : start + BATCH_ITEMS]
            batch = self._batch(chunk)
            self._stage.put_batch(number, batch)
            self._held[number] = batch
            number, done = number + 1, done + len(chunk)
            self._report(done, len(items))
            if done < len(items) and time.monotonic() - self._began > TURN_S and self._waits():
                raise StopWork(GIVES_WAY)

    def _batch(self, chunk: Sequence[Item]) -> Batch:
        waiting: list[Picture] = []
        done: list[Picture] = []
        with self._runtime.programs(self._digest) as programs:
            for item in chunk:
                waiting.append(self._read(item))
                self._checkpoint()
                pixels = sum(one.view.shape[0] * one.view.shape[1] for one in waiting if one.view is not None)
                if len(waiting) == BATCH_PICTURES or pixels >= BATCH_PIXELS:
                    done += _embedded(waiting, programs)
                    waiting = []
            done += _embedded(waiting, programs)
            dim = programs.embedder.dim
        lines = [
            {"item_id": item.id, "error": None if one.error is None else one.error.to_dict()}
            for item, one in zip(chunk, done, strict=True)
        ]
        usable = [(item, one) for item, one in zip(chunk, done, strict=True) if one.error is None]
        rows = np.array([one.embedding for _, one in usable], np.float32).reshape(-1, dim)
        views = np.array([one.augmented for _, one in usable], np.float32).reshape(-1, dim)
        # Without the picture's key: a staged import keeps its pictures from being erased, this must not.
        items = [replace(item, image_key="") for item, _ in usable]
        return Batch(lines, items, rows, views, [b""] * len(items))

    def _read(self, item: Item) -> Picture:
        picture = Picture("", item.label, item)
        if not item.image_key:
            return replace(picture, error=MISSING)
        try:
            data = self._runtime.objects.get(item.image_key)
            image = decode(data, max_pixels=self._runtime.settings.images.max_pixels)
            view = image if item.box is None else crop(image, item.box).copy()
        except ObjectNotFound:
            return replace(picture, error=MISSING)
        except ImageError as error:
            return replace(picture, error=job_error(error))
        return replace(picture, view=view)

    def _batches(self) -> Iterator[Batch]:
        for number in sorted(self._stage.done()):
            if number not in self._held:
                self._held[number] = self._stage.batch(number, with_features=False)
            yield self._held[number]

    def _rows(self) -> tuple[dict[str, int], NDArray[np.float32], NDArray[np.float32]]:
        """The place of each item's row, the embeddings (N, D) and the views (N, D)."""
        places: dict[str, int] = {}
        embeddings: list[NDArray[np.float32]] = []
        views: list[NDArray[np.float32]] = []
        for batch in self._batches():
            start = sum(len(rows) for rows in embeddings)
            places.update({item.id: start + row for row, item in enumerate(batch.items)})
            if len(batch.items):
                embeddings.append(batch.embeddings)
                views.append(batch.views)
        if not embeddings:
            return {}, np.empty((0, 0), np.float32), np.empty((0, 0), np.float32)
        return places, np.concatenate(embeddings), np.concatenate(views)

    def _report(self, done: int, total: int) -> None:
        self._checkpoint({"done": done, "total": total, "stage": "embed"})


def _embedded(pictures: Sequence[Picture], programs: Programs) -> list[Picture]:
    """In their order; one without a view keeps its error."""
    return embed(pictures, programs) if pictures else []


def _activated(
    job: Job,
    runtime: Runtime,
    made: GalleryManifest,
    base: GalleryManifest,
    evaluation: EvaluationResult,
    left_out: bool,
) -> NotActivated | None:
    """Puts the version in force, if that is wanted and nothing speaks against it; else why not."""
    current = runtime.store.manifest(made.name)
    if made.version in (current.version, current.parent):  # by an attempt that died afterwards
        return None
    if not job.request.get("activate"):
        return "not_requested"
    if left_out:
        return "items_left_out"
    one_out = evaluation["leave_one_out"]
    if one_out["version"]["right"] < one_out["against"]["right"]:
        return "recall_lower"
    try:
        runtime.store.activate(made.name, made.version, instead_of=base)
    except VersionNotFound:
        return "gallery_changed"
    return None


def _used(manifest: GalleryManifest) -> GalleryUsed:
    return {"name": manifest.name, "version": manifest.version, "items": manifest.item_count}
