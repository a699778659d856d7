"""What galleries of a million to a hundred million pictures need, on paper: from measured bytes and seconds a row, and published sizes.

Everything is a product of a size with a figure a row. The figures that nobody measured here are Milvus' own: of its
documentation and configuration (https://milvus.io/docs, configs/milvus.yaml) and of the papers that are named.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.speed.rows import RESULTS
from infra.galleries.key_files import MOST_BYTES
from infra.galleries.merges import MAX_SEGMENTS, MOST_JOINED
from worker.milvus_rows import MOST_SUMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES = (1_000_000, 10_000_000, 100_000_000)
GB, HOUR_S, DAY_S = 1e9, 3600, 86_400

HNSW_M = 18  # Milvus' AUTOINDEX as it comes: HNSW with M 18
LINK_BYTES = 4
# Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs", 2018, section 4.2.3:
# 2 M links on the ground layer and M on each of 1 / ln(M) further ones on average.
HNSW_BYTES = (2 * HNSW_M + HNSW_M / math.log(HNSW_M)) * LINK_BYTES
# Subramanya et al., "DiskANN", 2019: a node is its vector, its degree and its neighbours, and is not spread over sectors.
# The ratios are Milvus' defaults: PQ codes and cached nodes in memory, as parts of the vectors.
DISKANN_DEGREE, SECTOR, PQ_RATIO, CACHE_RATIO = 56, 4096, 0.125, 0.10
# key, label, item (8 each), timestamp and row id (8 each), one facet with its array (16), the primary key's index (16), two
# inverted indexes of numbers (12 each), a string's header (16)
SCALAR_BYTES = 24 + 16 + 16 + 16 + 24 + 16
SEGMENT_BYTES = 1 << 30  # Milvus' dataCoord.segment.maxSize
REMOVED, REMOVED_BYTES = 0.01, 32  # items removed and not erased; of an id in a manifest


def assumed(default: float, what: str) -> float:
    """A number that the reader may replace."""
    return field(default=default, metadata={"what": what})  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Assumed:
    """What the plan takes for granted. The prices are round numbers for the arithmetic, and nobody's offer."""

    node_memory_gb: float = assumed(64, "memory of a query node")
    load: float = assumed(0.7, "how full it may be; Milvus refuses to load beyond 0.9")
    replicas: float = assumed(2, "copies in memory: one may be lost")
    memory_price: float = assumed(4, "of a GB of a node's memory, with the cores that come with it, a month")
    disk_price: float = assumed(0.1, "of a GB of a node's NVMe, a month")
    store_price: float = assumed(0.02, "of a GB of object storage, a month")
    picture_kb: float = assumed(200, "of a stored picture")


@dataclass(frozen=True)
class Index:
    """What an index needs for a row of `dim` dimensions, without the scalar fields."""

    name: str
    memory: Callable[[int], float]  # of a query node
    disk: Callable[[int], float]  # of a query node: what is not in memory
    stored: Callable[[int], float]  # in the server's bucket


def sectors(dim: int) -> float:
    """Bytes of a node of DISKANN on a disk."""
    node = 4 * dim + LINK_BYTES * (DISKANN_DEGREE + 1)
    return SECTOR / (SECTOR // node) if node <= SECTOR else SECTOR * math.ceil(node / SECTOR)


INDEXES = (
    Index("HNSW", lambda dim: 4 * dim + HNSW_BYTES, lambda _: 0.0, lambda dim: 4 * dim + HNSW_BYTES),
    Index("HNSW, 8 bits", lambda dim: dim + HNSW_BYTES, lambda dim: 4 * dim, lambda dim: dim + HNSW_BYTES),
    Index("DISKANN", lambda dim: 4 * dim * (PQ_RATIO + CACHE_RATIO), sectors, lambda dim: sectors(dim) + 4 * dim * PQ_RATIO),
)  # fmt: skip


def largest(record: dict[str, Any]) -> dict[str, Any]:
    """The measured size that the plan goes by: the most rows of the most dimensions."""
    found: dict[str, Any] = max(record["sizes"], key=lambda one: (one["dimensions"], one["rows"]))
    return found


def memory_gb(rows: int, index: Index, one: dict[str, Any]) -> float:
    """Of one replica: the index and all scalar fields."""
    return rows * (index.memory(one["dimensions"]) + SCALAR_BYTES + one["item_line_bytes"]) / GB


def nodes(rows: int, index: Index, one: dict[str, Any], given: Assumed) -> int:
    """Query nodes for all replicas."""
    each = math.ceil(memory_gb(rows, index, one) / (given.node_memory_gb * given.load))
    return int(given.replicas) * each


def store_gb(rows: int, one: dict[str, Any]) -> float:
    """Our own object store, without the pictures."""
    return rows * sum(one["object_store_bytes_a_row"].values()) / GB


def bucket_gb(rows: int, index: Index, one: dict[str, Any]) -> float:
    """The server's bucket: its log of rows, and the index."""
    return rows * (one["log_bytes_a_row"] + index.stored(one["dimensions"])) / GB


def cost(rows: int, index: Index, one: dict[str, Any], given: Assumed) -> float:
    """Of a month: query nodes with their disks, the server's bucket, and our object store without the pictures."""
    memory = nodes(rows, index, one, given) * given.node_memory_gb * given.memory_price
    disk = given.replicas * rows * index.disk(one["dimensions"]) / GB * given.disk_price
    return memory + disk + (bucket_gb(rows, index, one) + store_gb(rows, one)) * given.store_price


def read_again_gb(key_bytes: float) -> float:
    """What an addition reads of so many bytes of keys in a bucket: nothing where a process keeps them, else all, for they go in turn."""
    return 0.0 if key_bytes <= MOST_BYTES else key_bytes / GB


def plan_rows(record: dict[str, Any], given: Assumed) -> list[tuple[str, list[str]]]:
    """What the plan says: a line's name, and a value for each of SIZES."""
    one = largest(record)
    dim, files = one["dimensions"], one["object_store_bytes_a_row"]
    enrolment = json.loads((RESULTS / "enrol.json").read_bytes())
    whole, embedding = (
        row["value"] / enrolment["machine"]["cores"] for row in enrolment["rows"][:2]
    )  # pictures/s of a core

    def line(name: str, value: Callable[[int], float | str]) -> tuple[str, list[str]]:
        return name, [said(value(rows)) for rows in SIZES]

    found = [
        line("**our object store:** embeddings, GB", lambda rows: rows * files[".npy"] / GB),
        line("item lines, GB", lambda rows: rows * files[".jsonl"] / GB),
        line("keys of items and labels, GB", lambda rows: rows * files[".bin"] / GB),
        line(f"pictures of {given.picture_kb:g} kB, TB", lambda rows: rows * given.picture_kb / 1e9),
        line("**the server:** partitions of our collection", lambda rows: f"{rows // MOST_JOINED} to {2 * rows // MOST_JOINED + MAX_SEGMENTS}"),
        line("Milvus' own segments of 1 GiB", lambda rows: math.ceil(rows * (4 * dim + SCALAR_BYTES + one["item_line_bytes"]) / SEGMENT_BYTES)),
    ]  # fmt: skip
    for index in INDEXES:
        found += [
            line(f"**{index.name}:** memory of one replica, GB", lambda rows, index=index: memory_gb(rows, index, one)),
            line(
                f"query nodes of {given.node_memory_gb:g} GB, {given.replicas:g} replicas",
                lambda rows, index=index: nodes(rows, index, one, given),
            ),
            *(
                [line("NVMe of one replica, GB", lambda rows, index=index: rows * index.disk(dim) / GB)]
                if index.disk(dim)
                else []
            ),
            line("the server's bucket, GB", lambda rows, index=index: bucket_gb(rows, index, one)),
            line("cost of a month, at the assumed prices", lambda rows, index=index: cost(rows, index, one, given)),
        ]
    return [
        *found,
        line("**with us:** memory of a worker for it, MB at most", lambda _: MOST_SUMS * 4 * dim / 1e6),
        line("filling: hours of one process of the keeper's", lambda rows: rows * one["keeper_cpu_us_a_row"] / 1e6 / HOUR_S),
        line("filling: its disk, GB, if all is filled within a day", lambda rows: rows * (files[".npy"] + files[".jsonl"]) / GB),
        line("rows and graphs: core-hours of the server's, by Milvus Lite", lambda rows: rows * one["server_cpu_us_a_row"] / 1e6 / HOUR_S),
        line("decoding and embedding the pictures, core-days", lambda rows: rows / embedding / DAY_S),
        line("all of their enrolment over HTTP, core-days", lambda rows: rows / whole / DAY_S),
        line("keys that each addition reads from a bucket, GB", lambda rows: read_again_gb(rows * files[".bin"])),
        line("the manifest with 1 % removed, MB", lambda rows: REMOVED * rows * REMOVED_BYTES / 1e6),
    ]  # fmt: skip


def plan_table(record: dict[str, Any], given: Assumed) -> str:
    """The plan as Markdown."""
    head = ["", *(f"{rows:,} pictures" for rows in SIZES)]
    return markdown(head, [[name, *values] for name, values in plan_rows(record, given)])


MEASURED = (
    ("written into Milvus, rows a second", "rows_a_second"),
    ("processor time of the process that fills, µs a row", "keeper_cpu_us_a_row"),
    ("the server's for rows and graph, µs a row", "server_cpu_us_a_row"),
    ("the server's disk, bytes a row: rows alone", "log_bytes_a_row"),
    ("rows and graph", "disk_bytes_a_row"),
    ("the server's memory after filling, bytes a row", "server_bytes_a_row"),
    ("after searches", "server_bytes_a_row_after_searches"),
    ("an item's line, bytes", "item_line_bytes"),
    ("what a worker holds of it, bytes", "worker_bytes"),
    ("a gallery loaded by a worker, ms", "load_ms"),
    ("100 nearest of 1 query, ms", "search_1_ms"),
    ("the same by Faiss", "faiss_search_1_ms"),
    ("100 nearest of 6 queries, ms", "search_6_ms"),
    ("the same by Faiss", "faiss_search_6_ms"),
    ("a photo's 6 queries with labels scored, ms", "photo_ms"),
    ("the same by Faiss", "faiss_photo_ms"),
    ("6 queries with a filter that 1 % meet, ms", "filtered_6_ms"),
    ("the same by Faiss", "faiss_filtered_6_ms"),
    ("the first time with a filter, ms more", "first_filter_ms"),
    ("the same by Faiss", "faiss_first_filter_ms"),
    ("recall@1 against exact search", "recall_at_1"),
    ("the same by Faiss", "faiss_recall_at_1"),
    ("sums of the rows of 20 labels, ms", "sums_of_20_ms"),
    ("again, as remembered", "sums_of_20_again_ms"),
    ("an item added, until it is found, ms", "added_ms"),
    ("1 % removed, until they are found no more, ms", "removed_1_percent_ms"),
    ("100 nearest of 6 queries after that, ms", "search_6_after_removal_ms"),
)


def measured_table(record: dict[str, Any]) -> str:
    """What was measured, as Markdown, with its command and machine above it."""
    machine, sizes = record["machine"], record["sizes"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    about = (
        f"`{record['command']}` on {machine['cores']} cores of {machine['processor']}, {packages}; "
        f"load average before it {machine['load_before']:g}."
    )
    head = ["", *(f"{one['rows']:,} rows of {one['dimensions']}" for one in sizes)]
    lines = [[name, *(said(one[key]) for one in sizes)] for name, key in MEASURED]
    return f"{about}\n\n{markdown(head, lines)}"


def assumed_table(given: Assumed) -> str:
    """What the plan takes for granted, by the options that change it."""
    rows = [
        [f"`--{name.replace('_', '-')}`", said(getattr(given, name)), one.metadata["what"]]
        for name, one in Assumed.__dataclass_fields__.items()
    ]
    return markdown(["option", "assumed", ""], rows)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def said(value: float | str) -> str:
    """A number for people: three digits, thousands parted."""
    if isinstance(value, str):
        return value
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def written(page: str, record: dict[str, Any]) -> str:
    """The page with the tables in their places. Raises ValueError for one without a place."""
    tables = {
        "measured": measured_table(record),
        "assumed": assumed_table(Assumed()),
        "plan": plan_table(record, Assumed()),
    }
    for name, table in tables.items():
        begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"the page has no {begin} ... {end}")
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page
