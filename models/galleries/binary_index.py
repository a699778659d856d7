"""A Hamming index over packed codes under int64 ids: Faiss' BFlat, BHNSW32 and IVF, each with add and remove; one file on disk."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import GalleryError
from models.galleries.binary import checked
from models.galleries.gallery import THREADS, faiss_module

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

KINDS = ("BFlat", "BHNSW32", "BIVF")
SCHEMA = 1
MOST_LISTS = 65536
ITEMS_A_LIST = 8
LEAST_PROBES = 16
LEAST_SEARCH = 64  # HNSW's efSearch
OUTGROWN = 4  # times the number of codes that IVF's lists were made for


class BinaryIndex:
    """Codes of `bits` bits under ids of the caller's. Each method is safe next to others in other threads.

    "BFlat" is exact. "BHNSW32" is a graph, "BIVF" searches some of n / 8 lists (at most 65536) that the first codes shaped;
    both may miss some. Faiss can take nothing out of a graph: codes removed from these two stay in them, are passed over in
    every search, and go when they are as many as the living, with the index made again. So are lists outgrown four times.
    """

    def __init__(self, bits: int, kind: str = "BFlat") -> None:
        """An empty index. Raises GalleryError for bits that do not fill bytes, and other kinds."""
        if bits < 8 or bits % 8:
            raise GalleryError(f"A binary index needs a multiple of 8 bits, not {bits}.")
        if kind not in KINDS:
            raise GalleryError(f"There is no binary index {kind!r}; take one of {', '.join(KINDS)}.")
        self.bits, self.kind = bits, kind
        # Row by row what the Faiss index holds at that position. Faiss' own ids would do for two of the three kinds only.
        self._codes: NDArray[np.uint8] = np.zeros((0, bits // 8), np.uint8)
        self._ids: Ids = np.zeros(0, np.int64)
        self._alive: NDArray[np.bool_] = np.zeros(0, bool)
        self._made_for = 0
        self._faiss: Any = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def ids(self) -> Ids:
        """All ids, in the order in which they were added."""
        return self._ids[self._alive]

    def add(self, codes: NDArray[np.uint8], ids: Ids) -> None:
        """Add codes (N, bits / 8) under ids (N,). Raises GalleryError, and adds none, for an id that is there or comes twice."""
        rows, names = self._fitting(codes), np.asarray(ids)
        if names.dtype.kind not in "iu" or names.shape != (len(rows),) or (names < 0).any():
            raise GalleryError(f"{len(rows)} codes need as many whole numbers from 0 as ids.")
        names = names.astype(np.int64)
        with self._lock:
            if len(np.unique(names)) < len(names) or np.isin(names, self.ids).any():
                raise GalleryError("An id is in the index already, or comes twice.", "gallery_id_taken")
            if not len(rows):
                return
            self._codes, self._ids = np.concatenate([self._codes, rows]), np.concatenate([self._ids, names])
            self._alive = np.concatenate([self._alive, np.ones(len(rows), bool)])
            if self._faiss is None or (self.kind == "BIVF" and len(self._ids) > OUTGROWN * self._made_for):
                self._make()
            else:
                self._faiss.add(rows)

    def remove(self, ids: Ids) -> int:
        """Remove these ids, as far as they are there; returns how many were."""
        with self._lock:
            gone = np.isin(self._ids, np.asarray(ids, np.int64)) & self._alive
            self._alive &= ~gone
            if gone.any() and (self.kind == "BFlat" or 2 * len(self) <= len(self._alive)):
                self._drop_dead()
            return int(np.count_nonzero(gone))

    def codes_of(self, ids: Ids) -> NDArray[np.uint8]:
        """(M, bits / 8): the codes under these ids. Raises GalleryError for one that is not there."""
        with self._lock:
            order = np.argsort(self._ids, kind="stable")
            places = np.searchsorted(self._ids[order], ids)
            there = places < len(order)
            if not there.all() or (self._ids[order[places]] != ids).any() or not self._alive[order[places]].all():
                raise GalleryError("An id is not in the index.")
            return self._codes[order[places]]

    def search(self, queries: NDArray[np.uint8], k: int) -> tuple[NDArray[np.int32], Ids]:
        """(Q, bits / 8) -> Hamming distances and ids, both (Q, min(k, len)), nearest first, of equal distance by id.

        Where the k-th distance occurs more often than fits, any of its codes may be left out. The approximate kinds may
        miss some; distance and id are -1 where they found fewer than k.
        """
        rows = self._fitting(queries)
        if k < 1:
            raise GalleryError(f"k is {k}; it must be 1 or more.")
        with self._lock:
            alive, ids = self._alive, self._ids
            wanted = min(k, len(self))
            if not wanted or not len(rows):
                return np.zeros((len(rows), wanted), np.int32), np.zeros((len(rows), wanted), np.int64)
            depth = min(wanted + len(alive) - len(self), len(alive))
            faiss_module().omp_set_num_threads(THREADS)
            if self.kind == "BHNSW32":
                self._faiss.hnsw.efSearch = max(LEAST_SEARCH, 2 * depth)
            distances, places = self._faiss.search(rows, depth)
        found = (places >= 0) & alive[places]
        names = np.where(found, ids[places], -1)
        order = np.lexsort((names, np.where(found, distances, np.iinfo(np.int32).max)), axis=1)[:, :wanted]
        distances = np.where(found, distances, -1)
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(names, order, axis=1)

    def save(self, path: Path) -> None:
        """Write the index to one file: next to `path`, synced, then renamed over it, so that no reader sees a part of it."""
        with self._lock:
            header = {"schema": SCHEMA, "kind": self.kind, "bits": self.bits, "made_for": self._made_for}
            arrays: dict[str, NDArray[Any]] = {"codes": self._codes, "ids": self._ids, "alive": self._alive}
            arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
            if self._faiss is not None:
                arrays["faiss"] = faiss_module().serialize_index_binary(self._faiss)
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, **arrays)
        part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> BinaryIndex:
        """Read what `save` wrote; nothing in it is executed. Raises GalleryError: gallery_index_damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                header = json.loads(bytes(stored["header"]))
                if header["schema"] != SCHEMA:
                    raise ValueError(f"schema {header['schema']}")
                index = cls(int(header["bits"]), str(header["kind"]))
                index._made_for = int(header["made_for"])
                index._codes, index._ids = index._fitting(stored["codes"]), stored["ids"]
                index._alive = stored["alive"]
                if "faiss" in stored.files:
                    index._faiss = faiss_module().deserialize_index_binary(stored["faiss"])
            index._require_whole()
        except (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, GalleryError) as error:
            raise GalleryError(f"{path.name} is no binary index, or damaged.", "gallery_index_damaged") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise GalleryError(f"{path.name} is no binary index, or damaged.", "gallery_index_damaged") from error
        return index

    def _require_whole(self) -> None:
        count = len(self._codes)
        held = 0 if self._faiss is None else int(self._faiss.ntotal)
        width = self.bits if self._faiss is None else int(self._faiss.d)
        shapes = {self._ids.shape, self._alive.shape}
        kinds = [array.dtype.name for array in (self._ids, self._alive)]
        if shapes != {(count,)} or kinds != ["int64", "bool"] or held != count or width != self.bits:
            raise ValueError("the parts do not belong together")

    def _fitting(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows = checked(np.asarray(codes))
        if rows.shape[1] * 8 != self.bits:
            raise GalleryError(f"The codes have {rows.shape[1] * 8} bits, the index {self.bits}.")
        return rows

    def _drop_dead(self) -> None:
        self._codes, self._ids = self._codes[self._alive], self._ids[self._alive]
        self._alive = np.ones(len(self._ids), bool)
        self._make()

    def _make(self) -> None:
        """The Faiss index of all codes that are held, from nothing."""
        faiss, count = faiss_module(), len(self._codes)
        faiss.omp_set_num_threads(THREADS)
        self._made_for, self._faiss = count, None
        if not count:
            return
        if self.kind == "BFlat":
            self._faiss = faiss.IndexBinaryFlat(self.bits)
        elif self.kind == "BHNSW32":
            self._faiss = faiss.IndexBinaryHNSW(self.bits, 32)
        else:
            self._faiss = _lists(faiss, self.bits, count)
            self._faiss.train(self._codes)
        self._faiss.add(self._codes)


def _lists(faiss: Any, bits: int, count: int) -> Any:
    """An untrained IVF index for `count` codes."""
    lists = min(max(1, count // ITEMS_A_LIST), MOST_LISTS)
    quantizer = faiss.IndexBinaryFlat(bits)
    index = faiss.IndexBinaryIVF(quantizer, bits, lists)
    quantizer.this.disown()  # Faiss frees it with the index
    index.own_fields = True
    index.cp.min_points_per_centroid = 1  # eight a list are meant, not too few
    index.nprobe = min(lists, max(LEAST_PROBES, lists // 8))
    return index
