"""Indexes that find candidates among many rows fast; the embeddings, which are stored next to them, put these in exact order.

"PQ": product quantisation in 4 bits, searched in registers (André et al., "Quicker ADC", 2019; Faiss' `PQx4fs`). "HNSW32":
a graph of 32 links a node over 8-bit rows. "IVF": lists of 8-bit rows around centroids. Measured in docs/galleries.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.indexes import FAISS_KINDS, SUBVECTOR
from models.errors import GalleryError
from models.galleries.gallery import THREADS, faiss_module
from models.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from contracts.indexes import BuiltKind

DEPTHS = (32, 64, 128, 256, 512, 1024, 2048)  # candidates of one query; twice the least that finds enough is kept
MARGIN = 2  # for queries that are less near to their items than the noisy views that are measured
WANTED_RECALL = 0.995
TRAINED_ON = 65_536  # rows at most: more change nothing and take longer
CHUNK = 65_536  # rows added at a time: mapped ones are never all in memory
MOST_LISTS, ROWS_A_LIST, PROBES, PROBED_DEPTH = 1024, 40, 32, 256  # more candidates are looked for in more lists
LEAST_SEARCH = 64  # HNSW's efSearch
QUERIES = 256
QUERY_COSINE = 0.8  # of a query to the row that it is a noisy view of
EPSILON = 1e-5


@dataclass(frozen=True)
class Built:
    """A new index as bytes, how many candidates it is searched for, and how often the best of them is the nearest row."""

    data: bytes
    depth: int
    recall_at_1: float
    queries: int


class BuiltIndex:
    """An opened index of `count` rows. Immutable; many threads may search it at a time."""

    def __init__(self, index: Any, kind: BuiltKind, depth: int) -> None:
        self._index, self._kind = index, kind
        self.depth = depth
        self.count, self.dim = int(index.ntotal), int(index.d)

    def candidates(self, queries: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
        """(Q, D) -> (Q, min(depth, count)) places of rows that may be near, in any order; -1 where there are fewer."""
        faiss = faiss_module()
        faiss.omp_set_num_threads(THREADS)
        depth = min(depth, self.count)
        how: dict[str, Any] = {}
        if self._kind == "HNSW32":
            how["params"] = faiss.SearchParametersHNSW(efSearch=max(LEAST_SEARCH, depth))
        elif self._kind == "IVF":
            lists = int(self._index.nlist)
            probes = min(lists, max(PROBES, PROBES * depth // PROBED_DEPTH))
            how["params"] = faiss.SearchParametersIVF(nprobe=probes)
        return np.asarray(self._index.search(queries, depth, **how)[1], np.int64)


def open_index(path: Path, kind: BuiltKind, depth: int) -> BuiltIndex:
    """The index in a file, mapped where Faiss can: processes share it. Raises GalleryError: gallery_index_damaged."""
    faiss = faiss_module()
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise GalleryError(f"{path.name} is no index, or damaged.", "gallery_index_damaged") from error
    return BuiltIndex(index, kind, depth)


def build(
    rows: NDArray[np.float32], kind: BuiltKind, seed: int = 0, checkpoint: Callable[[], object] = lambda: None
) -> Built:
    """The index of unit rows (N, D), which may be mapped. `checkpoint` is called between the steps and may raise.

    Raises GalleryError for other kinds and for "PQ" of dimensions that are no multiple of 4.
    """
    count, dim = rows.shape
    if kind not in FAISS_KINDS:
        raise GalleryError(f"There is no index {kind!r}; take one of {', '.join(FAISS_KINDS)}.")
    if not count or (kind == "PQ" and dim % SUBVECTOR):
        raise GalleryError(f"{count} rows of {dim} dimensions can't be indexed as {kind}.")
    faiss = faiss_module()
    faiss.omp_set_num_threads(THREADS)
    index = faiss.index_factory(dim, _spec(kind, dim, count), faiss.METRIC_INNER_PRODUCT)
    quiet = getattr(index, "cp", None) or getattr(getattr(index, "pq", None), "cp", None)
    if quiet is not None:
        quiet.min_points_per_centroid = 1  # small galleries are meant, too
    rng = np.random.default_rng(seed)
    index.train(_sample(rows, TRAINED_ON, rng))
    for start in range(0, count, CHUNK):
        checkpoint()
        index.add(np.ascontiguousarray(rows[start : start + CHUNK], np.float32))
    checkpoint()
    depth, recall, requested = _measured(BuiltIndex(index, kind, DEPTHS[0]), rows, rng)
    return Built(faiss.serialize_index(index).tobytes(), depth, recall, requested)


def _spec(kind: BuiltKind, dim: int, count: int) -> str:
    lists = max(1, min(MOST_LISTS, count // ROWS_A_LIST, int(4 * count**0.5)))
    return {"PQ": f"PQ{dim // SUBVECTOR}x4fs", "HNSW32": "HNSW32_SQ8", "IVF": f"IVF{lists},SQ8"}[kind]


def _sample(rows: NDArray[np.float32], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    if len(rows) <= most:
        return np.ascontiguousarray(rows, np.float32)
    return np.ascontiguousarray(rows[np.sort(rng.choice(len(rows), most, replace=False))], np.float32)


def _measured(index: BuiltIndex, rows: NDArray[np.float32], rng: np.random.Generator) -> tuple[int, float, int]:
    """The least depth that finds enough, its recall@1, and the number of queries: noisy views of stored rows."""
    queries = noisy_views(_sample(rows, QUERIES, rng), rng)
    best = faiss_module().knn(queries, rows, 1, metric=faiss_module().METRIC_INNER_PRODUCT)[0][:, 0]
    recall = 0.0
    for depth in DEPTHS:
        places = index.candidates(queries, depth)
        found = [
            float((rows[near[near >= 0]] @ query).max(initial=-1)) for query, near in zip(queries, places, strict=True)
        ]
        recall = float(np.mean(np.asarray(found) >= best - EPSILON))
        if recall >= WANTED_RECALL or depth >= len(rows):
            break
    return min(MARGIN * depth, DEPTHS[-1]), recall, len(queries)


def noisy_views(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors about QUERY_COSINE near to unit rows (N, D)."""
    noise = unit_rows(rng.normal(size=rows.shape).astype(np.float32))
    return unit_rows(QUERY_COSINE * rows + (1 - QUERY_COSINE**2) ** 0.5 * noise)
