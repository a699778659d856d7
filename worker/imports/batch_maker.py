"""One batch of an import: its lines become items with their embeddings, or say why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from contracts.pictures import PictureRefusedError, look
from infra.galleries.staging import Batch
from infra.galleries.store import Item, item_id
from infra.objects.store import image_key_of
from models.enrolment import packed_features
from models.errors import ImageError
from models.pictures.image import decode
from worker.enroll import BATCH_PICTURES, BATCH_PIXELS, Picture, embed, main_body
from worker.errors import JobError, job_error
from worker.imports.lines import Line, LineRefused
from worker.imports.sources import Listed, Made
from worker.previews import keep_preview

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.imports.sources import Source
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Programs, Runtime

T = TypeVar("T")

AT_ONCE = 8  # pictures that are fetched at a time


@dataclass(frozen=True)
class Wanted:
    """What is imported where. `id` and `added_at` are the same in every attempt."""

    id: str
    gallery: str
    added_at: str  # ISO 8601
    crop: str = "whole"
    activate: bool = True

    def item(self) -> Item:
        """An item without a picture yet, of this import."""
        return Item("", "", "", "", None, self.added_at)


@dataclass
class _Done:
    """The lines of one batch with what became of them, in their order, and what is to be added."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    embeddings: list[NDArray[np.float32]] = field(default_factory=list)
    views: list[NDArray[np.float32] | None] = field(default_factory=list)
    features: list[bytes] = field(default_factory=list)

    def refuse(self, line: Line, error: JobError) -> None:
        self.lines.append(_reported(line, None, error))

    def take(self, line: Line, item: Item, embedding: Any, view: Any, features: bytes) -> None:
        self.lines.append(_reported(line, item.id, None))
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


class BatchMaker:
    """Makes batches of lines; `contents` is what the gallery has already, and its ids, `digest` that of its embedder."""

    def __init__(
        self,
        wanted: Wanted,
        source: Source,
        runtime: Runtime,
        checkpoint: Checkpoint,
        contents: dict[tuple[str, str, Any], str],
        digest: str,
    ) -> None:
        self._wanted, self._source, self._runtime = wanted, source, runtime
        self._checkpoint, self._contents, self._digest = checkpoint, contents, digest

    def make(self, chunk: Sequence[Line]) -> Batch:
        """The batch of these lines. Raises StopWork by the checkpoint, StorageUnavailable."""
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
            made: Made = source.made(line, self._wanted.item())
            if made.picture is not None:
                look(made.picture)
        except LineRefused as error:
            done.refuse(line, JobError(error.code, error.message, error.retryable))
            return
        except PictureRefusedError as error:
            done.refuse(line, JobError(error.code, error.detail, retryable=False))
            return
        if (known := self._contents.get((made.item.sha256, made.item.label, made.item.box))) is not None:
            done.lines.append({**_reported(line, known, None), "status": "duplicate"})
            return
        if made.picture is not None:
            self._runtime.objects.put_image(made.picture)
        done.take(line, made.item, made.embedding, made.view, made.features)

    def _embedded(self, chunk: Sequence[Line], done: _Done) -> None:
        report: dict[int, Any] = {}  # line's place in the chunk -> what is reported of it, or its Picture
        waiting: list[tuple[int, Picture]] = []
        with self._runtime.programs(self._digest) as programs:
            for place, line, data in self._read(chunk):
                self._checkpoint()
                found = self._seen(line, data, programs)
                if isinstance(found, Picture) and found.view is not None:
                    waiting.append((place, found))
                    pixels = sum(one.view.shape[0] * one.view.shape[1] for _, one in waiting if one.view is not None)
                    if len(waiting) == BATCH_PICTURES or pixels >= BATCH_PIXELS:
                        report.update(_embed(waiting, programs))
                        waiting = []
                else:
                    report[place] = found
            report.update(_embed(waiting, programs))
        for place, line in enumerate(chunk):
            one = report[place]
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
        """The picture of a line ready to be embedded, or refused; or what is reported of one that is there already."""
        picture = Picture(line.source, line.label)
        if isinstance(data, LineRefused):
            return replace(picture, error=JobError(data.code, data.message, data.retryable))
        key = image_key_of(digest := _digest(data))
        if self._wanted.crop == "whole" and (known := self._contents.get((digest, line.label, None))) is not None:
            return {**_reported(line, known, None), "status": "duplicate"}
        try:
            image = decode(data, max_pixels=self._limits.max_pixels, min_side_px=self._limits.min_side_px)
        except ImageError as error:
            return replace(picture, error=job_error(error))
        self._runtime.objects.put_image(data)
        keep_preview(self._runtime.objects, key, data, image)
        box, view = main_body(image, programs) if self._wanted.crop == "main_body" else (None, image)
        if (known := self._contents.get((digest, line.label, box))) is not None:
            return {**_reported(line, known, None), "status": "duplicate"}
        item = Item(item_id(digest, line.label, box), line.label, key, digest, box, self._wanted.added_at)
        return replace(picture, item=item, view=view, features=packed_features(view))

    @property
    def _limits(self) -> Any:
        return self._runtime.settings.images


def batched(these: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """They in groups of `size`, as itertools has it from Python 3.12 on."""
    left = iter(these)
    while group := tuple(islice(left, size)):
        yield group


def _embed(waiting: Sequence[tuple[int, Picture]], programs: Programs) -> dict[int, Picture]:
    if not waiting:
        return {}
    return dict(zip([place for place, _ in waiting], embed([one for _, one in waiting], programs), strict=True))


def _reported(line: Line, known_id: str | None, error: JobError | None) -> dict[str, Any]:
    return {
        "line": line.line, "source": line.source, "label": line.label, "status": "added" if error is None else "rejected",
        "item_id": known_id, "error": None if error is None else error.to_dict(),
    }  # fmt: skip


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
