"""The nearest item among 1e3 to 1e6 vectors: exact, by the index that a gallery builds, after removals and with filters.

All of a size take turns in one run (benchmarks.search makes the vectors and measures). One query at a time on one thread.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.search import DIM, measured
from benchmarks.speed.floors import bandwidth_gb_s
from benchmarks.speed.rows import Context, Row
from contracts.indexes import FLAT_BELOW

TARGET_MS = {100_000: 0.3, 1_000_000: 5.0}
RECALL = 0.99
REMOVAL_COSTS = 1.1
ADDED_MS = 100
SEED = 0
OUT_OF_CACHE = 100_000  # vectors; fewer may stay in the processor's cache, which is faster than memory


def run(context: Context) -> list[Row]:
    """All sizes; those of a million take minutes to index."""
    sizes = (1000, 10_000, 100_000) if context.quick else (1000, 10_000, 100_000, 1_000_000)
    bandwidth = bandwidth_gb_s()
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows += of_size(size, measured(size, "PQ" if size >= FLAT_BELOW else None, SEED, Path(folder)), bandwidth)
    return rows


def of_size(size: int, record: dict[str, Any], bandwidth: float) -> list[Row]:
    """What `measured` found, as rows; `bandwidth` in GB/s."""
    ms, name = record["ms"], f"{size:,} vectors"
    rows = [
        Row(
            f"{name}: exact search",
            ms["exact"],
            "ms",
            floor=size * DIM * 4 / bandwidth / 1e6 if size >= OUT_OF_CACHE else None,
            note="floor: the vectors read once" if size >= OUT_OF_CACHE else "",
        )
    ]
    if record["index"] != "Flat":
        codes = record["bytes_a_vector"]
        rows += [
            Row(
                f"{name}: search by the index",
                ms["search"],
                "ms",
                TARGET_MS.get(size),
                "at most" if size in TARGET_MS else "",
                floor=size * codes / bandwidth / 1e6,
                note=f"{record['index']}, {codes} bytes a vector; floor: its codes read once",
            ),
            Row(f"{name}: recall@1 against exact search", record["recall_at_1"], "", RECALL, "at least"),
            Row(f"{name}: index built", record["build_s"], "s"),
        ]
    rows += [
        Row(
            f"{name}: a query after 1 % were removed, against none",
            ms["labels, 1 % removed"] / ms["labels"],
            "x",
            REMOVAL_COSTS,
            "at most",
            note=f"its labels scored; the nearest item alone {record['removal_costs']:.2f} x",
        ),
        Row(f"{name}: 1 % removed", record["remove_visible_ms"], "ms", note="until they are found no more"),
        Row(f"{name}: 20 added", record["add_20_visible_ms"], "ms", ADDED_MS, "at most", note="until they are found"),
        Row(f"{name}: labels of 100 items scored", ms["labels"], "ms", note="what a recognition does"),
    ]
    for share in ("10 %", "1 %"):
        rows.append(
            Row(
                f"{name}: with a filter that {share} meet",
                ms[f"search, filter met by {share}"],
                "ms",
                note=f"compared one by one; the first time {record['first_filter_ms'][share]:.0f} ms more",
            )
        )
    return rows
