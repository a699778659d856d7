"""What an import has done so far, in the object store, until one version of a gallery is made of it.

    imports/<id>/files/<n>/<part>    the files that were sent, in parts
    imports/<id>/embedder            the digest of the embedder of the batches
    imports/<id>/plan.jsonl          the lines of the source, in their order: written once, before the first batch
    imports/<id>/batches/<n>.zip     a batch that is done: its lines, items, embeddings, views and features, whole or not at all
    imports/<id>/report.jsonl        what became of each line, at the end

A worker that dies loses the batch that it works on. What is left when the job is over `clear` removes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.galleries import GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.galleries.files import encode_features, encode_items, read_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import Item
    from infra.objects.store import ObjectStore

IMPORTS = "imports/"
PART_BYTES = 16 * 1024 * 1024
Line = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some lines with what became of them, and what is to be added: rows belong to `items` in their order."""

    lines: Sequence[Line]
    items: Sequence[Item]
    embeddings: NDArray[np.float32]  # (N, D)
    views: NDArray[np.float32]  # (N, D), zeros where there is none
    features: Sequence[bytes]


class Stage:
    """The files of one import. Every method raises StorageUnavailable where it applies."""

    def __init__(self, objects: ObjectStore, import_id: str) -> None:
        self._objects = objects
        self._prefix = f"{IMPORTS}{import_id}/"

    def put_part(self, file: int, part: int, data: bytes) -> None:
        """Keeps a part of a file that was sent."""
        self._objects.put(f"{self._prefix}files/{file:03d}/{part:06d}", data)

    def parts(self, file: int) -> Iterator[bytes]:
        """A file that was sent, part by part."""
        for key in list(self._objects.list(f"{self._prefix}files/{file:03d}/")):
            yield self._objects.get(key)

    def begin(self, embedder_digest: str) -> None:
        """The batches from now on are of this embedder; those of another one, from before, are removed."""
        key = f"{self._prefix}embedder"
        try:
            before = self._objects.get(key).decode("utf-8", "replace")
        except ObjectNotFound:
            before = None
        if before is not None and before != embedder_digest:
            for batch in list(self._objects.list(f"{self._prefix}batches/")):
                self._objects.delete(batch)
        if before != embedder_digest:  # written last: who dies before it begins again
            self._objects.put(key, embedder_digest.encode())

    def put_plan(self, lines: Sequence[Line]) -> None:
        """Keeps the lines of the source."""
        self._objects.put(f"{self._prefix}plan.jsonl", _jsonl(lines))

    def plan(self) -> list[Line] | None:
        """The lines, if they are known already."""
        return self._lines("plan.jsonl")

    def done(self) -> set[int]:
        """The numbers of the batches that are done."""
        keys = self._objects.list(f"{self._prefix}batches/")
        return {int(key.rpartition("/")[2].partition(".")[0]) for key in keys}

    def put_batch(self, number: int, batch: Batch) -> None:
        """Keeps a batch."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
            file.writestr("lines.jsonl", _jsonl(batch.lines))
            file.writestr("items.jsonl", encode_items(batch.items))
            for name, rows in (("embeddings.npy", batch.embeddings), ("views.npy", batch.views)):
                kept = io.BytesIO()
                np.save(kept, np.ascontiguousarray(rows, "<f4"), allow_pickle=False)
                file.writestr(name, kept.getvalue())
            file.writestr("features.bin", encode_features(batch.features))
        self._objects.put(f"{self._prefix}batches/{number:08d}.zip", buffer.getvalue())

    def batch(self, number: int, *, with_features: bool = True) -> Batch:
        """A batch that is done. Raises GalleryCorrupt."""
        data = self._objects.get(f"{self._prefix}batches/{number:08d}.zip")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                lines = [json.loads(line) for line in file.read("lines.jsonl").splitlines()]
                items = read_items(file.read("items.jsonl"))
                embeddings, views = (
                    np.load(io.BytesIO(file.read(name)), allow_pickle=False) for name in ("embeddings.npy", "views.npy")
                )
                features = _features(file.read("features.bin")) if with_features else [b""] * len(items)
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
            raise GalleryCorrupt("A staged batch of an import cannot be read.") from error
        return Batch(lines, items, embeddings, views, features)

    def put_report(self, lines: Sequence[Line]) -> None:
        """Keeps what became of each line."""
        self._objects.put(f"{self._prefix}report.jsonl", _jsonl(lines))

    def report(self) -> list[Line] | None:
        """What became of each line, once that is known."""
        return self._lines("report.jsonl")

    def clear(self, *, keep_report: bool = False) -> int:
        """Removes all that is not needed any more; the number of objects."""
        keys = [key for key in self._objects.list(self._prefix) if not (keep_report and key.endswith("/report.jsonl"))]
        for key in keys:
            self._objects.delete(key)
        return len(keys)

    def _lines(self, name: str) -> list[Line] | None:
        try:
            data = self._objects.get(f"{self._prefix}{name}")
        except ObjectNotFound:
            return None
        return [json.loads(line) for line in data.splitlines()]


def staged(objects: ObjectStore) -> set[str]:
    """The ids of the imports that have files."""
    return {key.removeprefix(IMPORTS).partition("/")[0] for key in objects.list(IMPORTS)}


def pictures_of(objects: ObjectStore) -> set[str]:
    """The keys of the pictures that staged batches will bring."""
    found: set[str] = set()
    for import_id in staged(objects):
        stage = Stage(objects, import_id)
        for number in stage.done():
            try:
                found.update(item.image_key for item in stage.batch(number, with_features=False).items)
            except ObjectNotFound:  # the import has just ended: its version shows them
                continue
    return found


def _jsonl(lines: Sequence[Line]) -> bytes:
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    return text.encode("utf-8", "replace")


def _features(data: bytes) -> list[bytes]:
    found, start = [], 0
    while start + 4 <= len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        found.append(data[start + 4 : end])
        start = end
    return found
