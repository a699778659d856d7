"""The two files of a PaddleClas gallery, `vector.index` and `id_map.pkl`: read without running anything, and written.

Indexes are those of their `build_gallery`: Flat, IVF and HNSW32 of embeddings compared by inner product or L2, and the same
of binary codes. Writing never leaves half of a gallery: see `write`.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.errors import GalleryError
from models.galleries.gallery import faiss_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

INDEX, ID_MAP, NEW = "vector.index", "id_map.pkl", ".new"
METHODS, DISTANCES = ("Flat", "IVF", "HNSW32"), ("IP", "L2", "hamming")
MOST_LISTS = 65536  # of an IVF index: one for 8 pictures, as their builder has it
UNIT = 1e-3  # how far a unit vector's squared length may be from 1

Distance = Literal["IP", "L2", "hamming"]


@dataclass(frozen=True)
class TheirIndex:
    """The vectors of an index, row by row, and the id of each: (N, D) float32, or (N, D / 8) uint8 where `distance` is hamming."""

    ids: tuple[int, ...]
    rows: NDArray[Any]
    distance: Distance


def read_index(data: bytes) -> TheirIndex:
    """What `vector.index` holds. Raises GalleryError: no such index, NaN, or L2 over vectors that are not of unit length."""
    if data[:2] == b"IB":  # Faiss' mark of binary indexes
        return _read_codes(data)
    faiss = faiss_module()
    try:
        whole = index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        ids = list(range(whole.ntotal))
        if isinstance(whole, faiss.IndexIDMap):
            ids = [int(number) for number in faiss.vector_to_array(whole.id_map)]
            index = faiss.downcast_index(whole.index)  # lives only as long as `whole`
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()
        rows = np.asarray(index.reconstruct_n(0, index.ntotal), np.float32).reshape(index.ntotal, index.d)
    except (RuntimeError, MemoryError) as error:
        raise GalleryError("vector.index is no Faiss index of embeddings that can be read back.") from error
    if not np.isfinite(rows).all():
        raise GalleryError("vector.index holds NaN or infinite values.")
    if index.metric_type == faiss.METRIC_INNER_PRODUCT:
        return TheirIndex(tuple(ids), rows, "IP")
    if index.metric_type != faiss.METRIC_L2:
        raise GalleryError("vector.index is compared neither by inner product nor by L2 (dist_type IP, L2).")
    if len(rows) and np.abs(np.square(rows).sum(axis=1) - 1).max() > UNIT:
        detail = "vector.index is compared by L2, and its vectors are not of unit length: their order is no cosine's."
        raise GalleryError(detail)
    return TheirIndex(tuple(ids), rows, "L2")


def _read_codes(data: bytes) -> TheirIndex:
    faiss = faiss_module()
    try:
        index = faiss.deserialize_index_binary(np.frombuffer(data, np.uint8))
        ids = list(range(index.ntotal))
        if isinstance(index, faiss.IndexBinaryIDMap):
            ids = [int(number) for number in faiss.vector_to_array(index.id_map)]
            kept, index = index, faiss.downcast_IndexBinary(index.index)
            index.kept = kept  # `index` lives only as long as the map around it
        if isinstance(index, faiss.IndexBinaryIVF):
            index.make_direct_map()
        rows = [np.asarray(index.reconstruct(at), np.uint8) for at in range(index.ntotal)]
    except (RuntimeError, MemoryError) as error:
        raise GalleryError("vector.index is no Faiss index of binary codes that can be read back.") from error
    return TheirIndex(tuple(ids), np.array(rows, np.uint8).reshape(len(rows), index.d // 8), "hamming")


def build(rows: NDArray[Any], ids: Sequence[int], method: str, distance: Distance) -> bytes:
    """The bytes of `vector.index`, as their builder makes it. Raises GalleryError for a method that there is not.

    Float embeddings stand in an id map (IndexIDMap2). Codes do not: their ids are their places, 0 to N - 1.
    """
    if method not in METHODS:
        raise GalleryError(f"There is no index_method {method!r}; there are {', '.join(METHODS)}.")
    faiss = faiss_module()
    lists = f"IVF{max(1, min(len(rows) // 8, MOST_LISTS))}"
    if distance == "hamming":
        kind = {"Flat": "BFlat", "HNSW32": "BHNSW32", "IVF": f"B{lists}"}[method]
        binary = faiss.index_binary_factory(rows.shape[1] * 8, kind)
        if method == "IVF":
            binary.train(rows)
        binary.add(rows)
        return bytes(faiss.serialize_index_binary(binary))
    metric = faiss.METRIC_INNER_PRODUCT if distance == "IP" else faiss.METRIC_L2
    inner = faiss.index_factory(rows.shape[1], f"{lists},Flat" if method == "IVF" else method, metric)
    if method == "IVF":
        inner.cp.min_points_per_centroid = 1  # few pictures a list is their choice, and no cause for a warning
        inner.train(rows)
    index = faiss.IndexIDMap2(inner)
    index.add_with_ids(rows, np.asarray(ids, np.int64))
    return bytes(faiss.serialize_index(index))


def write(folder: Path, index: bytes, lines: Mapping[int, str]) -> None:
    """Writes both files so that a reader after `recover` finds the old gallery or the new one, whenever the process dies.

    Both are written next to the old ones and synced, the map first, so that a new index without a new map is whole. The
    rename of the map is the moment from which the new gallery counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in ((ID_MAP, pickle.dumps(dict(lines), protocol=4)), (INDEX, index)):
        with (folder / (name + NEW)).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    (folder / (ID_MAP + NEW)).replace(folder / ID_MAP)
    (folder / (INDEX + NEW)).replace(folder / INDEX)


def recover(folder: Path) -> None:
    """Ends or takes back what an interrupted `write` began."""
    index, id_map = folder / (INDEX + NEW), folder / (ID_MAP + NEW)
    if id_map.exists():  # nothing was renamed yet
        index.unlink(missing_ok=True)
        id_map.unlink()
    elif index.exists():  # the map is the new one already
        index.replace(folder / INDEX)
