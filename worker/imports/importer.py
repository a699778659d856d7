"""One import: batch after batch is staged, then one version is made of all.

Running it again resumes after the batches that are done, and a version that it had made is found by its id. So a worker
may die at any moment: what it costs is the batch that it worked on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.galleries import EmbedderMismatch, ImportRefused
from infra.galleries.store import MOST_WITH_FEATURES, Item
from models.enrolment import calibrator
from models.errors import ImageError
from models.pictures.image import decode
from worker.imports.batch_maker import BatchMaker, Wanted, batched
from worker.imports.lines import Line, LineRefused
from worker.imports.sources import Carried, Index

if TYPE_CHECKING:
    from contracts.imports import CheckedVectors, ImportResult
    from infra.galleries.calibration import Calibrate
    from infra.galleries.staging import Stage
    from worker.imports.sources import Source
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

BATCH_LINES = 64
SHOWN = 100  # rejected lines in the result itself
CHECKED_PICTURES = 16
SAME_EMBEDDER = 0.95  # least similarity of the median picture to its own vector; decoders differ a little
UNIT_TOLERANCE = 1e-2


class Importer:
    """`run` does the import, or what is left of it."""

    def __init__(self, wanted: Wanted, source: Source, stage: Stage, runtime: Runtime, checkpoint: Checkpoint) -> None:
        self._wanted, self._source, self._stage = wanted, source, stage
        self._runtime, self._checkpoint = runtime, checkpoint
        self._digest = runtime.default_digest  # of the embedder; the gallery's, once it is known
        self._contents: dict[tuple[str, str, Any], str] = {}  # what the gallery has already, and its ids

    def run(self, give_way: Callable[[], None] = lambda: None) -> ImportResult:
        """The result. `give_way` is called after each batch; it raises to stop there.

        Raises GalleryNotFound, EmbedderMismatch, ImportRefused, StorageUnavailable, GalleryBusy; StopWork by the checkpoint.
        """
        manifest = self._runtime.store.manifest(self._wanted.gallery)
        made = self._runtime.store.made_by(self._wanted.gallery, self._wanted.id)
        self._digest = self._runtime.embedder_of(made or manifest)
        if made is None:
            self._stage.begin(self._digest)
            self._require_embedder()
        lines = self._planned()
        checked = self._checked(lines) if isinstance(self._source, Index) else None
        items = self._runtime.store.items(self._wanted.gallery, manifest.version)
        self._contents = {(item.sha256, item.label, item.box): item.id for item in items}
        maker = BatchMaker(self._wanted, self._source, self._runtime, self._checkpoint, self._contents, self._digest)
        finished = self._stage.done()
        chunks = list(batched(lines, BATCH_LINES))
        rejected = sum(_rejected(self._stage.batch(number, with_features=False).lines) for number in finished)
        done = sum(len(chunk) for number, chunk in enumerate(chunks) if number in finished)
        self._notify(done, len(lines), rejected)
        for number, chunk in enumerate(chunks):
            if number in finished:
                continue
            batch = maker.make(chunk)
            self._stage.put_batch(number, batch)
            done, rejected = done + len(chunk), rejected + _rejected(batch.lines)
            self._notify(done, len(lines), rejected)
            if done < len(lines):
                give_way()
        result = self._added(len(chunks))
        if checked is not None:
            result["checked"] = checked
        return result

    def _notify(self, done: int, total: int, rejected: int) -> None:
        self._checkpoint({"done": done, "total": total, "rejected": rejected})

    def _planned(self) -> list[Line]:
        kept = self._stage.plan()
        if kept is not None:
            return [Line(**line) for line in kept]
        lines = self._source.lines()
        self._stage.put_plan([line.to_dict() for line in lines])
        return lines

    # Embedders

    def _require_embedder(self) -> None:
        source, digest = self._source, self._digest
        if isinstance(source, Carried) and source.bundle.embedder_digest not in (None, digest):
            raise EmbedderMismatch(
                "The file's gallery was made with another embedder than the gallery that it goes to."
            )
        if isinstance(source, Index):
            with self._runtime.programs(self._digest) as programs:
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
                image = decode(
                    source.made(line, self._wanted.item()).picture or b"",
                    max_pixels=self._runtime.settings.images.max_pixels,
                )
            except (LineRefused, ImageError):
                continue
            with self._runtime.programs(self._digest) as programs:
                similar.append(float(programs.embedder([image])[0] @ source.rows[line.row or 0]))
        if similar and float(np.median(similar)) < SAME_EMBEDDER:
            raise EmbedderMismatch(
                f"This service's embedder did not build the index: pictures are only {np.median(similar):.2f} like their vectors."
            )
        return {"pictures": len(similar), "similarity": round(float(np.median(similar)), 4) if similar else None}

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
            digest = self._digest
            with self._calibrate(len(items)) as calibrate:
                done = store.add(
                    wanted.gallery, items, np.stack(embeddings), digest, np.stack(views), kept, calibrate,
                    activate=wanted.activate, made_by=wanted.id, stand_ins=self._stand_ins(),
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
            "models": {"embedder": self._runtime.models_with(self._digest)["embedder"]},
        }  # fmt: skip

    def _stand_ins(self) -> set[str]:
        return self._source.stand_ins() if isinstance(self._source, Index) else set()

    @contextmanager
    def _calibrate(self, count: int) -> Iterator[Calibrate]:
        """What fits the version: a carried gallery's own probabilities if the version is of nothing else."""
        with self._runtime.programs(self._digest) as programs:
            fit = calibrator(programs.embedder)
        carried = self._source.bundle if isinstance(self._source, Carried) else None
        empty = not self._contents

        def fitted(labels: Any, embeddings: Any, views: Any, things: Any) -> Any:
            if carried is not None and empty and len(labels) == len(carried.items) == count:
                return carried.calibration
            return fit(labels, embeddings, views, things)

        yield fitted


def _rejected(lines: Sequence[dict[str, Any]]) -> int:
    return sum(line["status"] == "rejected" for line in lines)
