"""How fast galleries are searched, and what an index costs: 1e3 to 1e6 vectors, with and without filters and removals.

    python -m benchmarks.search --sizes 1000,10000,100000,1000000 --out search.json

The vectors are made from a seed: items of a label around its centre, labels in clusters, all unit vectors of 512
dimensions. Queries are noisy views of stored items, of cosine 0.8 to them. What is compared is measured in turns within one
run (index, index after removals, filter), exact search by itself; times are medians of one query on one thread, in
milliseconds. `search` is the nearest item, `labels` what a recognition asks for: 100 items and their labels' scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.indexes import FLAT_BELOW, BuiltKind
from models.galleries.built_index import build, noisy_views, open_index
from models.galleries.gallery import Gallery
from models.galleries.parted import PartedGallery
from models.galleries.parts import Labelled, LabelTable, Part
from models.vectors import unit_rows

DIM, PER_LABEL, QUERIES = 512, 5, 64
REMOVED = 0.01
CHUNK = 65_536


@dataclass(frozen=True)
class Item:
    """What a gallery knows of an item."""

    id: str
    label: str
    metadata: dict[str, str] = field(default_factory=dict, hash=False)


def vectors(count: int, seed: int, path: Path, dim: int = DIM) -> NDArray[np.float32]:
    """(N, D) unit rows, mapped from a file as a worker maps them."""
    rng = np.random.default_rng(seed)
    labels = -(-count // PER_LABEL)
    clusters = rng.normal(size=(max(1, labels // 50), dim)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    for start in range(0, labels, CHUNK // PER_LABEL):
        some = min(CHUNK // PER_LABEL, labels - start)
        centres = clusters[rng.integers(0, len(clusters), some)] + rng.normal(size=(some, dim)).astype(np.float32)
        noise = 0.7 * rng.normal(size=(some * PER_LABEL, dim)).astype(np.float32)
        made = unit_rows(np.repeat(centres, PER_LABEL, axis=0) + noise)
        at = start * PER_LABEL
        rows[at : at + len(made)] = made[: count - at]
    rows.flush()
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]  # an array of float embeddings


def items_of(start: int, count: int) -> list[Item]:
    return [
        Item(f"itm_{at}", f"label {at // PER_LABEL}", {"tenth": str(at % 10), "hundredth": str(at % 100)})
        for at in range(start, start + count)
    ]


def in_turns(calls: dict[str, Callable[[NDArray[np.float32]], Any]], queries: NDArray[np.float32]) -> dict[str, float]:
    """The median milliseconds of each call, one query at a time, the calls in turns."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(queries[:1])
    for at in range(len(queries)):
        for name, call in calls.items():
            began = time.perf_counter()
            call(queries[at : at + 1])
            spent[name].append(1000 * (time.perf_counter() - began))
    return {name: round(float(np.median(each)), 4) for name, each in spent.items()}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = call()
    return found, time.perf_counter() - began


def measured(count: int, kind: BuiltKind | None, seed: int, folder: Path) -> dict[str, Any]:
    """One size, by one index; None: exact search alone."""
    rows = vectors(count, seed, folder / f"{count}.npy")
    rng = np.random.default_rng(seed + 1)
    query_rows = np.sort(rng.choice(count, min(QUERIES, count), replace=False))
    queries = noisy_views(np.asarray(rows[query_rows]), rng)
    table = LabelTable()
    labelled, load_s = timed(lambda: Labelled(items_of(0, count), rows, table))
    gone = np.ones(count, bool)
    gone[rng.choice(count, max(1, int(REMOVED * count)), replace=False)] = False
    record: dict[str, Any] = {"vectors": count, "index": kind or "Flat", "label_codes_s": round(load_s, 3)}
    index = None
    if kind is not None:
        built, build_s = timed(lambda: build(rows, kind))
        path = folder / f"{count}.{kind}.faiss"
        path.write_bytes(built.data)
        index, open_s = timed(lambda: open_index(path, kind, built.depth))
        record |= {
            "build_s": round(build_s, 2), "open_s": round(open_s, 4), "bytes_a_vector": round(len(built.data) / count, 1),
            "depth": built.depth, "recall_at_1_at_build": round(built.recall_at_1, 4),
        }  # fmt: skip
    flat = PartedGallery([Part(labelled)], table)
    whole = PartedGallery([Part(labelled, index)], table)
    less, remove_s = timed(lambda: PartedGallery([Part(labelled, index, gone)], table))
    tenth, first_tenth_s = timed(lambda: whole.filtered((("tenth", "3"),)))
    hundredth, first_hundredth_s = timed(lambda: whole.filtered((("hundredth", "3"),)))
    best = [matches[0].item.id for matches in flat.search(queries, 1)]
    found = [matches[0].item.id for matches in whole.search(queries, 1)]
    record["recall_at_1"] = float(np.mean([one == other for one, other in zip(best, found, strict=True)]))
    # Exact search of a large gallery empties the processor's cache for whatever comes next, so it takes no turns with others.
    record["ms"] = in_turns({"exact": lambda query: flat.search(query, 1)}, queries) | in_turns(
        {
            "search": lambda query: whole.search(query, 1),
            "search, 1 % removed": lambda query: less.search(query, 1),
            "labels": lambda query: whole.search_labels(query, 5),
            "labels, 1 % removed": lambda query: less.search_labels(query, 5),
            "search, filter met by 10 %": lambda query: tenth.search(query, 1),
            "search, filter met by 1 %": lambda query: hundredth.search(query, 1),
        },
        queries,
    )
    new = unit_rows(rng.normal(size=(20, DIM)).astype(np.float32))

    def added() -> Gallery:
        parts = [Part(labelled, index), Part(Labelled(items_of(count, 20), new, table))]
        return PartedGallery(parts, table)

    more, add_s = timed(added)
    (matches,), seen_s = timed(lambda: more.search(new[7:8], 1))
    if matches[0].item.id != f"itm_{count + 7}":
        raise RuntimeError("an item that was added is not found")
    record |= {
        "add_20_visible_ms": round(1000 * (add_s + seen_s), 2),
        "remove_visible_ms": round(1000 * remove_s, 2),
        "removal_costs": round(record["ms"]["search, 1 % removed"] / record["ms"]["search"], 3),
        "first_filter_ms": {"10 %": round(1000 * first_tenth_s, 1), "1 %": round(1000 * first_hundredth_s, 1)},
    }
    return record


def main() -> None:
    """Prints JSON, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--indexes", default="PQ", help="of sizes from 20,000 on: PQ, HNSW32, IVF")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    kinds: list[BuiltKind] = chosen.indexes.split(",")
    found = []
    for count in map(int, chosen.sizes.split(",")):
        for kind in kinds if count >= FLAT_BELOW else [None]:
            with tempfile.TemporaryDirectory() as folder:
                found.append(measured(count, kind, chosen.seed, Path(folder)))
            print(json.dumps(found[-1]), flush=True)
    record = {"dimensions": DIM, "queries": QUERIES, "seed": chosen.seed, "threads": 1, "sizes": found}
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
