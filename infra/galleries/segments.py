"""Segments of galleries as they are searched: large ones mapped from files, so that the processes of a node share them.

A local store's own files are mapped. From a bucket they are kept as files below `folder`, by their content's hash; a file
there that nobody opened for KEPT_S is removed, which hurts nobody who has it mapped.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

from infra.errors.galleries import GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.galleries.files import decode_embeddings
from infra.galleries.indexes import read_record
from infra.galleries.item_keys import made_keys
from infra.galleries.key_files import checked_keys, mapped_file
from infra.galleries.keys import KEYS, extra_key, index_keys, segment_keys
from infra.galleries.lines import ItemLines
from infra.objects.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from contracts.indexes import BuiltKind
    from infra.galleries.files import GalleryManifest, Item, Segment
    from infra.galleries.indexes import IndexRecord
    from infra.galleries.item_keys import ItemKeys
    from infra.galleries.reader import GalleryReader

MAPPED = "cache/galleries"  # below the data folder: what is mapped from a bucket
MAPPED_FROM = 2_500  # items: smaller files are read
KEPT_S = 86_400.0


@dataclass(frozen=True, eq=False)
class StoredSegment:
    """All items of a segment and their embeddings (N, D), the removed ones too; `mapped`: both are files'."""

    items: Sequence[Item]
    embeddings: NDArray[np.float32]
    mapped: bool

    @cached_property
    def keys(self) -> ItemKeys:
        """What finds the items by their ids; read when something was removed, and kept for what will be."""
        return self.items.keys if isinstance(self.items, ItemLines) else made_keys(self.items)

    def alive(self, removed: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which rows (N,) are those of items that were not removed; None if all are."""
        if not removed:
            return None
        alive = np.ones(len(self.items), bool)
        gone = self.keys.rows_of(removed)
        alive[gone[gone >= 0]] = False
        return alive


class SegmentFiles:
    """The segments of a store's galleries; may be used by many threads. What somebody holds is not read again."""

    def __init__(self, store: GalleryReader, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._held: WeakValueDictionary[tuple[str, ...], StoredSegment] = WeakValueDictionary()
        self._guard = threading.Lock()

    def segment(self, manifest: GalleryManifest, segment: Segment) -> StoredSegment:
        """Raises ObjectNotFound if the version has gone, GalleryCorrupt, StorageUnavailable."""
        key = (manifest.name, manifest.generation, segment.id, segment.embeddings_sha256)
        with self._guard:
            if (held := self._held.get(key)) is not None:
                return held
        items_key, rows_key = segment_keys(manifest.name, manifest.generation, segment.id)
        mapped = segment.item_count >= MAPPED_FROM
        items: Sequence[Item]
        if mapped:
            items = self._lines(manifest, segment, items_key)
            path = self._file(rows_key, segment.embeddings_sha256, f"The embeddings of the gallery {manifest.name!r}")
            rows = _mapped(path, manifest, segment)
        else:
            items = self._store.segment_items(manifest, segment)
            rows = decode_embeddings(manifest.name, segment, manifest.dim, self._store.objects.get(rows_key))
        found = StoredSegment(items, rows, mapped)
        with self._guard:
            return self._held.setdefault(key, found)

    def index(self, manifest: GalleryManifest, segment: Segment, kind: BuiltKind) -> tuple[IndexRecord, Path] | None:
        """The record and the file of a segment's index; None until it is built. Raises GalleryCorrupt, StorageUnavailable."""
        record = read_record(self._store, manifest, segment, kind)
        if record is None:
            return None
        key = index_keys(manifest.name, manifest.generation, segment.id, kind)[0]
        try:
            return record, self._file(key, record.sha256, f"An index of the gallery {manifest.name!r}")
        except ObjectNotFound as error:
            raise GalleryCorrupt(f"An index of the gallery {manifest.name!r} is missing.") from error

    def _lines(self, manifest: GalleryManifest, segment: Segment, key: str) -> ItemLines:
        path = self._file(key, segment.items_sha256, f"The items of the gallery {manifest.name!r}")
        try:
            return ItemLines(path, segment.item_count, manifest.name, partial(self._keys, manifest, segment))
        except FileNotFoundError:
            raise ObjectNotFound("The object store has no such object.") from None
        except OSError as error:
            raise StorageUnavailable(f"The folder of mapped galleries can't be used: {error.strerror}.") from error

    def _keys(self, manifest: GalleryManifest, segment: Segment, lines: ItemLines) -> ItemKeys:
        """From their file where there is a sound one; else of the items."""
        if KEYS in segment.files:
            key = extra_key(manifest.name, manifest.generation, segment.id, KEYS)
            what = f"The keys of the gallery {manifest.name!r}"
            with suppress(ObjectNotFound, GalleryCorrupt, OSError, ValueError):
                data = mapped_file(self._file(key, segment.files[KEYS], what))
                if (keys := checked_keys(data, manifest, segment)) is not None:
                    return keys
        return made_keys(lines)

    def _file(self, key: str, sha256: str, what: str) -> Path:
        """A file of this machine with the object's content, checked. Raises ObjectNotFound, GalleryCorrupt."""
        objects = self._store.objects
        try:
            if isinstance(objects, LocalStore):
                path = objects.folder / key
                _check(path, sha256, what)
                return path
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_old()
            path = self._folder / sha256
            if not path.is_file():
                self._fetch(key, sha256, what, path)
            os.utime(path)
        except FileNotFoundError:
            raise ObjectNotFound("The object store has no such object.") from None
        except OSError as error:
            raise StorageUnavailable(f"The folder of mapped galleries can't be used: {error.strerror}.") from error
        return path

    def _fetch(self, key: str, sha256: str, what: str, path: Path) -> None:
        data = self._store.objects.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise GalleryCorrupt(f"{what} are not what its manifest says.")
        part = self._folder / f".{secrets.token_hex(8)}.part"
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _remove_old(self) -> None:
        until = time.time() - KEPT_S
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process removed it
                if path.stat().st_mtime < until:
                    path.unlink()


def _check(path: Path, sha256: str, what: str) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise GalleryCorrupt(f"{what} are not what its manifest says.")


def _mapped(path: Path, manifest: GalleryManifest, segment: Segment) -> NDArray[np.float32]:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ObjectNotFound("The object store has no such object.") from None
    except (ValueError, EOFError, OSError) as error:
        raise GalleryCorrupt(f"The embeddings of the gallery {manifest.name!r} cannot be read.") from error
    if rows.dtype != np.dtype("<f4") or rows.shape != (segment.item_count, manifest.dim):
        raise GalleryCorrupt(f"The gallery {manifest.name!r} has embeddings of another shape than its manifest says.")
    return np.asarray(rows)  # the map itself lives on below it
