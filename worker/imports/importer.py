"""One import: batch after batch is staged, then one version is made of all.

Running it again goes on behind the batches that are done, and a version that it had made is found by its id. So a worker
may die at any moment: what it costs is the batch that it worked on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from contracts.pictures import PictureRefusedError, look
from infra.errors.galleries import EmbedderMismatch, ImportRefused
from infra.galleries.staging import Batch
from infra.galleries.store import MOST_WITH_FEATURES, Item, item_id
from infra.objects.store import image_key_of
from models.enrolment import calibrator, packed_features
from models.errors import ImageError
from models.pictures.image import decode
from worker.enroll import BATCH_PICTURES, BATCH_PIXELS, Picture, embed, main_body
from worker.errors import JobError, job_error
from worker.imports.lines import Line, LineRefused
from worker.imports.sources import Carried, Index, Listed, Made
from worker.previews import keep_preview

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from contracts.imports import CheckedVectors, ImportResult
    from infra.galleries.calibration import Calibrate
    from infra.galleries.staging import Stage
    from infra.galleries.store import GalleryManifest
    from worker.imports.sources import Source
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Programs, Runtime

T = TypeVar("T")

BATCH_LINES = 64
AT_ONCE = 8  # pictures that are fetched at a time
SHOWN = 100  # rejected lines in the result itself
CHECKED_PICTURES = 16
SAME_EMBEDDER = 0.95  # least similarity of the median picture to its own vector; decoders differ a little
UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Wanted:
    """What is imported where. `id` and `added_at` are the same in every attempt."""

    id: str
    gallery: str
    added_at: str  # ISO 8601
    crop: str = "whole"
    activate: bool = True


@dataclass
class _Done:
    """The lines of one batch with what became of them, in their order, and what is to be added."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    embeddings: list[NDArray[np.float32]] = field(default_factory=list)
    views: list[NDArray[np.float32] | None] = field(default_factory=list)
    features: list[bytes] = field(default_factory=list)

    def refuse(self, line: Line, error: JobError) -> None:
        self.lines.append(_told(line, None, error))

    def take(self, line: Line, item: Item, embedding: Any, view: Any, features: bytes) -> None:
        self.lines.append(_told(line, item.id, None))
        self.items.append(item)
        self.embeddings.append(embedding)
        self.views.append(view)
        self.features.append(features)

    def batch(self, dim: int) -> Batch:
        embeddings = np.array(self.embeddings, np.float32).reshape(len(self.items), -1 if self.items else dim)
        views = np.zeros_like(embeddings)
        for row, view in enumerate(self.views):
            if view is not None:
                views[row] = view
        return Batch(self.lines, self.items, embeddings, views, self.features)


class Importer:
    """`run` does the import, or what is left of it."""

    def __init__(self, wanted: Wanted, source: Source, stage: Stage, runtime: Runtime, checkpoint: Checkpoint) -> None:
        self._wanted, self._source, self._stage = wanted, source, stage
        self._runtime, self._checkpoint = runtime, checkpoint
        self._contents: dict[tuple[str, str, Any], str] = {}  # what the gallery has already, and its ids

    def run(self, give_way: Callable[[], None] = lambda: None) -> ImportResult:
        """The result. `give_way` is called after each batch; it raises to stop there.

        Raises GalleryNotFound, EmbedderMismatch, ImportRefused, StorageUnavailable, GalleryBusy; StopWork by the checkpoint.
        """
        manifest = self._runtime.store.manifest(self._wanted.gallery)
        self._require_embedder(manifest)
        lines = self._planned()
        checked = self._checked(lines) if isinstance(self._source, Index) else None
        items = self._runtime.store.items(self._wanted.gallery, manifest.version)
        self._contents = {(item.sha256, item.label, item.box): item.id for item in items}
        finished = self._stage.done()
        chunks = list(batched(lines, BATCH_LINES))
        rejected = sum(_rejected(self._stage.batch(number, with_features=False).lines) for number in finished)
        done = sum(len(chunk) for number, chunk in enumerate(chunks) if number in finished)
        self._tell(done, len(lines), rejected)
        for number, chunk in enumerate(chunks):
            if number in finished:
                continue
            batch = self._batch(chunk)
            self._stage.put_batch(number, batch)
            done, rejected = done + len(chunk), rejected + _rejected(batch.lines)
            self._tell(done, len(lines), rejected)
            if done < len(lines):
                give_way()
        result = self._added(len(chunks))
        if checked is not None:
            result["checked"] = checked
        return result

    def _tell(self, done: int, total: int, rejected: int) -> None:
        self._checkpoint({"done": done, "total": total, "rejected": rejected})

    def _planned(self) -> list[Line]:
        kept = self._stage.plan()
        if kept is not None:
            return [Line(**line) for line in kept]
        lines = self._source.lines()
        self._stage.put_plan([line.to_dict() for line in lines])
        return lines

    # Embedders

    def _require_embedder(self, manifest: GalleryManifest) -> None:
        self._runtime.require_same_model(manifest)
        source, digest = self._source, self._runtime.models["embedder"]["digest"]
        if isinstance(source, Carried) and source.bundle.embedder_digest not in (None, digest):
            raise EmbedderMismatch("The file's gallery was made with another embedder than this service runs.")
        if isinstance(source, Index):
            with self._runtime.programs() as programs:
                dim = programs.embedder.dim
            if source.rows.shape[1] != dim:
                raise EmbedderMismatch(
                    f"The index has vectors of {source.rows.shape[1]} dimensions, the embedder gives {dim}."
                )
            if len(source.rows) and np.abs(np.linalg.norm(source.rows, axis=1) - 1).max() > UNIT_TOLERANCE:
                raise ImportRefused("The index's vectors are not of length 1: build it with feature_normalize.")

    def _checked(self, lines: Sequence[Line]) -> CheckedVectors:
        """Vectors of another embedder would be found by nothing and say so nowhere. Raises EmbedderMismatch."""
        source = self._source
        assert isinstance(source, Index)  # noqa: S101 - by its only caller
        usable = [line for line in lines if line.at and not line.code]
        similar = []
        for place in np.unique(np.linspace(0, len(usable) - 1, CHECKED_PICTURES).astype(int)) if usable else ():
            line = usable[place]
            self._checkpoint()
            try:
                image = decode(source.made(line, self._item()).picture or b"", max_pixels=self._limits.max_pixels)
            except (LineRefused, ImageError):
                continue
            with self._runtime.programs() as programs:
                similar.append(float(programs.embedder([image])[0] @ source.rows[line.row or 0]))
        if similar and float(np.median(similar)) < SAME_EMBEDDER:
            raise EmbedderMismatch(
                f"This service's embedder did not build the index: pictures are only {np.median(similar):.2f} like their vectors."
            )
        return {"pictures": len(similar), "similarity": round(float(np.median(similar)), 4) if similar else None}

    @property
    def _limits(self) -> Any:
        return self._runtime.settings.images

    def _item(self) -> Item:
        return Item("", "", "", "", None, self._wanted.added_at)

    # One batch

    def _batch(self, chunk: Sequence[Line]) -> Batch:
        done = _Done()
        if isinstance(self._source, Listed):
            self._embedded(chunk, done)
        else:
            for line in chunk:
                self._checkpoint()
                self._carried(line, done)
        return done.batch(0)

    def _carried(self, line: Line, done: _Done) -> None:
        source = self._source
        assert not isinstance(source, Listed)  # noqa: S101 - by its only caller
        if line.code:
            done.refuse(line, JobError(line.code, line.message, retryable=False))
            return
        try:
            made: Made = source.made(line, self._item())
            if made.picture is not None:
                look(made.picture)
        except LineRefused as error:
            done.refuse(line, JobError(error.code, error.message, error.retryable))
            return
        except PictureRefusedError as error:
            done.refuse(line, JobError(error.code, error.detail, retryable=False))
            return
        if (known := self._contents.get((made.item.sha256, made.item.label, made.item.box))) is not None:
            done.lines.append({**_told(line, known, None), "status": "duplicate"})
            return
        if made.picture is not None:
            self._runtime.objects.put_image(made.picture)
        done.take(line, made.item, made.embedding, made.view, made.features)

    def _embedded(self, chunk: Sequence[Line], done: _Done) -> None:
        told: dict[int, Any] = {}  # line's place in the chunk -> what is told of it, or its Picture
        waiting: list[tuple[int, Picture]] = []
        with self._runtime.programs() as programs:
            for place, line, data in self._read(chunk):
                self._checkpoint()
                found = self._seen(line, data, programs)
                if isinstance(found, Picture) and found.view is not None:
                    waiting.append((place, found))
                    pixels = sum(one.view.shape[0] * one.view.shape[1] for _, one in waiting if one.view is not None)
                    if len(waiting) == BATCH_PICTURES or pixels >= BATCH_PIXELS:
                        told.update(_embed(waiting, programs))
                        waiting = []
                else:
                    told[place] = found
            told.update(_embed(waiting, programs))
        for place, line in enumerate(chunk):
            one = told[place]
            if isinstance(one, dict):
                done.lines.append(one)
            elif one.error is not None or one.item is None:
                done.refuse(line, one.error)
            else:
                done.take(line, one.item, one.embedding, one.augmented, one.features)

    def _read(self, chunk: Sequence[Line]) -> Iterator[tuple[int, Line, bytes | LineRefused]]:
        """The bytes of each line's picture, or why there are none; those of other machines several at a time."""
        source = self._source
        assert isinstance(source, Listed)  # noqa: S101 - by its only caller

        def read(line: Line) -> bytes | LineRefused:
            if line.code:
                return LineRefused(line.code, line.message)
            try:
                return source.read(line)
            except LineRefused as error:
                return error

        if not source.remote:
            for place, line in enumerate(chunk):
                yield place, line, read(line)
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="import") as pool:
            for group in batched(enumerate(chunk), AT_ONCE):
                self._checkpoint()
                for (place, line), data in zip(group, pool.map(read, [line for _, line in group]), strict=True):
                    yield place, line, data

    def _seen(self, line: Line, data: bytes | LineRefused, programs: Programs) -> Picture | dict[str, Any]:
        """The picture of a line ready to be embedded, or refused; or what is told of one that is there already."""
        picture = Picture(line.source, line.label)
        if isinstance(data, LineRefused):
            return replace(picture, error=JobError(data.code, data.message, data.retryable))
        key = image_key_of(digest := _digest(data))
        if self._wanted.crop == "whole" and (known := self._contents.get((digest, line.label, None))) is not None:
            return {**_told(line, known, None), "status": "duplicate"}
        try:
            image = decode(data, max_pixels=self._limits.max_pixels, min_side_px=self._limits.min_side_px)
        except ImageError as error:
            return replace(picture, error=job_error(error))
        self._runtime.objects.put_image(data)
        keep_preview(self._runtime.objects, key, data, image)
        box, view = main_body(image, programs) if self._wanted.crop == "main_body" else (None, image)
        if (known := self._contents.get((digest, line.label, box))) is not None:
            return {**_told(line, known, None), "status": "duplicate"}
        item = Item(item_id(digest, line.label, box), line.label, key, digest, box, self._wanted.added_at)
        return replace(picture, item=item, view=view, features=packed_features(view))

    # The version

    def _added(self, batches: int) -> ImportResult:
        """Makes one version of all that is staged, writes the report, and says what was done."""
        store, wanted = self._runtime.store, self._wanted
        lines: list[dict[str, Any]] = []
        parts: dict[str, tuple[Item, Any, Any, bytes]] = {}
        featured = True
        for number in range(batches):
            self._checkpoint()
            batch = self._stage.batch(number, with_features=featured)
            lines += batch.lines
            for row, item in enumerate(batch.items):
                parts.setdefault(item.id, (item, batch.embeddings[row], batch.views[row], batch.features[row]))
            featured = featured and len(parts) <= MOST_WITH_FEATURES  # the store would drop them anyway
        manifest = store.made_by(wanted.gallery, wanted.id)
        if manifest is not None:  # made by an attempt that died afterwards
            added = {one.id for one in store.items(wanted.gallery, manifest.version) if one.added_at == wanted.added_at}
        elif parts:
            items, embeddings, views, features = zip(*parts.values(), strict=True)
            kept = features if featured else [b""] * len(items)
            digest = self._runtime.models["embedder"]["digest"]
            with self._calibrate(len(items)) as calibrate:
                done = store.add(
                    wanted.gallery, items, np.stack(embeddings), digest, np.stack(views), kept, calibrate,
                    activate=wanted.activate, made_by=wanted.id,
                )  # fmt: skip
            manifest, added = done.manifest, set(done.added_ids)
        else:
            manifest, added = store.manifest(wanted.gallery), set()
        for line in lines:
            if line["status"] == "added" and line["item_id"] not in added:
                line["status"] = "duplicate"
            added.discard(line["item_id"])  # the same again is a duplicate
        self._stage.put_report(lines)
        current = store.manifest(wanted.gallery).version
        counts = Counter(line["status"] for line in lines)
        refused = [line for line in lines if line["status"] == "rejected"]
        return {
            "gallery": {"name": wanted.gallery, "version": manifest.version, "items": manifest.item_count},
            "activated": manifest.version == current,
            "counts": {
                "total": len(lines), "added": counts["added"], "duplicate": counts["duplicate"], "rejected": counts["rejected"],
            },
            "reasons": dict(sorted(Counter(line["error"]["code"] for line in refused).items())),
            "rejected": refused[:SHOWN],  # type: ignore[typeddict-item]  # read back from JSON
            "models": {"embedder": self._runtime.models["embedder"]},
        }  # fmt: skip

    @contextmanager
    def _calibrate(self, count: int) -> Iterator[Calibrate]:
        """What fits the version: a carried gallery's own probabilities if the version is of nothing else."""
        with self._runtime.programs() as programs:
            fit = calibrator(programs.embedder)
        carried = self._source.bundle if isinstance(self._source, Carried) else None
        empty = not self._contents

        def fitted(labels: Any, embeddings: Any, views: Any, things: Any) -> Any:
            if carried is not None and empty and len(labels) == len(carried.items) == count:
                return carried.calibration
            return fit(labels, embeddings, views, things)

        yield fitted


def batched(these: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """They in groups of `size`, as itertools has it from Python 3.12 on."""
    left = iter(these)
    while group := tuple(islice(left, size)):
        yield group


def _embed(waiting: Sequence[tuple[int, Picture]], programs: Programs) -> dict[int, Picture]:
    if not waiting:
        return {}
    return dict(zip([place for place, _ in waiting], embed([one for _, one in waiting], programs), strict=True))


def _told(line: Line, known_id: str | None, error: JobError | None) -> dict[str, Any]:
    return {
        "line": line.line, "source": line.source, "label": line.label, "status": "added" if error is None else "rejected",
        "item_id": known_id, "error": None if error is None else error.to_dict(),
    }  # fmt: skip


def _rejected(lines: Sequence[dict[str, Any]]) -> int:
    return sum(line["status"] == "rejected" for line in lines)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
