"""What a gallery in Milvus costs, by a real Milvus Lite server, next to the same gallery searched by Faiss in the process.

    python -m benchmarks.milvus [--quick|--sizes …] measures, and writes benchmarks/results/milvus.json and docs/scaling.md
    python -m benchmarks.milvus --plan [OPTION ...] prints what larger galleries need, from what was measured

Each gallery is one file of the object store, and so one partition, filled, loaded and searched by the code that a keeper and a
worker run. Items are five to a label, every hundredth of a brand; queries are noisy views of stored rows. Milvus Lite is a
server for trying: Python, which loops over keys where a cluster does not. Its times are not a cluster's; its bytes a row and
our own part are what the plan (benchmarks.milvus_plan) takes from here.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import TYPE_CHECKING, Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402 - after the variables

from benchmarks.milvus_plan import Assumed, plan_table, written  # noqa: E402
from benchmarks.search import PER_LABEL, vectors  # noqa: E402
from benchmarks.speed.rows import RESULTS, Runs, interleaved, machine, median  # noqa: E402
from contracts.indexes import IndexChoice  # noqa: E402
from infra.galleries.files import Item, item_line  # noqa: E402
from infra.galleries.milvus import MilvusServer  # noqa: E402
from infra.galleries.segments import SegmentFiles  # noqa: E402
from infra.galleries.store import GalleryStore, item_id  # noqa: E402
from infra.objects.local import LocalStore  # noqa: E402
from infra.runtime.settings import MilvusSettings  # noqa: E402
from models.galleries.built_index import EPSILON, noisy_views  # noqa: E402
from models.galleries.gallery import faiss_module  # noqa: E402
from tests.milvus_server import MilvusLite  # noqa: E402
from worker.gallery_cache import GalleryCache  # noqa: E402
from worker.index_builder import build_missing  # noqa: E402
from worker.milvus_rows import MilvusRows  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
RESULT = RESULTS / "milvus.json"
NAME, DIGEST = "bench", "d" * 64
SIZES = ((10_000, 512), (100_000, 512), (100_000, 64))
QUICK = ((2_000, 512), (10_000, 512))
QUERIES, NEAR, PHOTO, LABELS = 256, 100, 6, 20
ROUNDS, FEWEST, ROUNDS_S = 15, 3, 90.0
TIMEOUT_S = 3600.0  # a flush builds the graph, and Milvus Lite answers nothing meanwhile
REMOVED = 0.01
IDLE_S, IDLE_CPU_S = 5.0, 0.1


class TimedServer(MilvusServer):
    """Knows what the last filling took, by itself: seconds, and seconds of this process' processor."""

    fill_s = fill_cpu_s = 0.0

    def fill(self, *about: Any) -> None:
        """As its base."""
        started, cpu = perf_counter(), process_time()
        super().fill(*about)
        self.fill_s, self.fill_cpu_s = perf_counter() - started, process_time() - cpu


def measured(count: int, dim: int, folder: Path) -> dict[str, Any]:
    """One size, by a server and a store of its own."""
    rows = vectors(count, 0, folder / "rows.npy", dim)
    items = items_of(0, count)
    lite = MilvusLite(folder / "milvus" / "data")
    (folder / "milvus").mkdir()
    lite.start()
    try:
        empty = resident(lite.pid)
        server = TimedServer(MilvusSettings(uri=lite.uri, timeout_s=TIMEOUT_S))
        store = GalleryStore(LocalStore(folder / "objects"), milvus=server)
        store.create(NAME, DIGEST, index=IndexChoice(index_method="Milvus").to_dict())
        _, enrolled_s = timed(lambda: store.add(NAME, items, rows, DIGEST))
        line_bytes = float(np.mean([len(item_line(item)) for item in items[:1000]]))
        record: dict[str, Any] = {
            "rows": count, "dimensions": dim,
            "object_store_bytes_a_row": bytes_a_row(folder / "objects", count), "item_line_bytes": line_bytes,
            "object_store_rows_a_second": count / enrolled_s,
        }  # fmt: skip
        cpu = cpu_s(lite.pid)
        build_missing(store, SegmentFiles(store, folder / "files"), NAME)
        record |= {
            "rows_a_second": count / server.fill_s,
            "keeper_cpu_us_a_row": 1e6 * server.fill_cpu_s / count,
            "log_bytes_a_row": size_of(folder / "milvus") / count,
        }
        wait_until_idle(lite.pid)  # the graph is built behind
        record |= {
            "server_cpu_us_a_row": 1e6 * (cpu_s(lite.pid) - cpu) / count,
            "disk_bytes_a_row": size_of(folder / "milvus") / count,
            "server_bytes_a_row": (resident(lite.pid) - empty) / count,
            "server_empty_bytes": empty,
        }
        cache = GalleryCache(store, 1 << 40, folder=folder / "cache")
        cached, load_s = timed(lambda: cache.current(NAME))
        record |= {"load_ms": 1e3 * load_s, "worker_bytes": cached.size_bytes}
        record |= asked(store, cached.gallery, rows, folder)
        record |= {"server_bytes_a_row_after_searches": (resident(lite.pid) - empty) / count}
        record |= changed(store, cache, rows)
        return {name: rounded(value) for name, value in record.items()}
    finally:
        lite.stop()


def asked(store: GalleryStore, remote: Any, rows: NDArray[np.float32], folder: Path) -> dict[str, Any]:
    """Searches, sums and filters of the server, and the same of Faiss (index method auto), in turns."""
    rng = np.random.default_rng(1)
    chosen = np.sort(rng.choice(len(rows), QUERIES, replace=False))
    queries = noisy_views(np.ascontiguousarray(rows[chosen]), rng)
    (source,) = (one for one in remote.sources if isinstance(one, MilvusRows))
    names = [f"label {at}" for at in rng.choice(len(rows) // PER_LABEL, 2 * LABELS, replace=False)]
    sums_ms = [1e3 * timed(lambda part=part: source.sums_of(part))[1] for part in (names[:LABELS], names[LABELS:])]
    _, remembered_s = timed(lambda: source.sums_of(names[:LABELS]))
    some, first_filter_s = timed(lambda: remote.filtered([("brand", "brand 7")]))
    store.choose_index(NAME, IndexChoice().to_dict())
    _, build_s = timed(lambda: build_missing(store, SegmentFiles(store, folder / "files"), NAME))
    local = GalleryCache(store, 1 << 40, folder=folder / "cache").current(NAME).gallery
    store.choose_index(NAME, IndexChoice(index_method="Milvus").to_dict())
    local_some, local_filter_s = timed(lambda: local.filtered([("brand", "brand 7")]))
    turn = iter(range(1 << 30))

    def photo(gallery: Any) -> Callable[[], object]:
        """Six queries and their labels' scores: those of labels that were not asked for before."""
        return lambda: gallery.search_labels(some_of(queries, PHOTO * next(turn), PHOTO), 5)

    times = in_turns(
        {
            "search_1_ms": lambda: source.nearest(queries[:1], NEAR),
            "search_6_ms": lambda: source.nearest(queries[:PHOTO], NEAR),
            "filtered_6_ms": lambda: some.search(queries[:PHOTO], NEAR),
            "photo_ms": photo(remote),
            "faiss_search_1_ms": lambda: local.search(queries[:1], NEAR),
            "faiss_search_6_ms": lambda: local.search(queries[:PHOTO], NEAR),
            "faiss_filtered_6_ms": lambda: local_some.search(queries[:PHOTO], NEAR),
            "faiss_photo_ms": photo(local),
        }
    )
    faiss = faiss_module()
    best = faiss.knn(queries, np.ascontiguousarray(rows), 1, metric=faiss.METRIC_INNER_PRODUCT)[0][:, 0]
    return {
        "recall_at_1": recall(source.nearest(queries, 1), best),
        "sums_of_20_ms": median(sums_ms), "sums_of_20_again_ms": 1e3 * remembered_s,
        "first_filter_ms": 1e3 * first_filter_s,
        **{name: median(taken) for name, taken in times.items()},
        "faiss_recall_at_1": recall(local.search(queries, 1), best),
        "faiss_build_s": build_s, "faiss_first_filter_ms": 1e3 * local_filter_s,
    }  # fmt: skip


def changed(store: GalleryStore, cache: GalleryCache, rows: NDArray[np.float32]) -> dict[str, Any]:
    """An item added and found, in milliseconds, and one of a hundred removed and found no more."""
    rng, count, added_ms = np.random.default_rng(2), len(rows), []
    cache.current(NAME)
    for number in range(5):
        new = noisy_views(np.ascontiguousarray(rows[number : number + 1]), rng)
        (item,) = items_of(count + number, 1)
        started = perf_counter()
        store.add(NAME, [item], new, DIGEST)
        found = cache.current(NAME).gallery.search(new, 1)[0][0].item
        added_ms.append(1e3 * (perf_counter() - started))
        if found.id != item.id:
            raise RuntimeError("an item that was added is not found")
    gone = np.sort(rng.choice(count, int(REMOVED * count), replace=False)).tolist()
    ids = [items_of(at, 1)[0].id for at in gone]
    query = np.ascontiguousarray(rows[gone[:1]])
    started = perf_counter()
    store.remove(NAME, item_ids=ids)
    near = cache.current(NAME).gallery.search(query, NEAR)[0]
    removed_ms = 1e3 * (perf_counter() - started)
    if {match.item.id for match in near} & set(ids):
        raise RuntimeError("an item that was removed is found")
    gallery = cache.current(NAME).gallery
    queries = noisy_views(np.ascontiguousarray(rows[: PHOTO * 7 : 7]), rng)
    later = in_turns({"search": lambda: gallery.search(queries, NEAR)})["search"]
    return {
        "added_ms": median(added_ms),
        "removed_1_percent_ms": removed_ms,
        "search_6_after_removal_ms": median(later),
    }


def in_turns(variants: Runs) -> dict[str, list[float]]:
    """Milliseconds of each, turn by turn: ROUNDS of them, fewer where they take longer than ROUNDS_S, but three."""
    started, times = perf_counter(), {name: list[float]() for name in variants}
    interleaved(variants, 1, warm_up=0)
    while len(next(iter(times.values()))) < (ROUNDS if perf_counter() - started < ROUNDS_S else FEWEST):
        for name, taken in interleaved(variants, 1, warm_up=0).items():
            times[name] += taken
    return times


def some_of(queries: NDArray[np.float32], start: int, count: int) -> NDArray[np.float32]:
    """So many of them from a place on, around the end."""
    return queries[np.arange(start, start + count) % len(queries)]


def recall(found: Sequence[Sequence[Any]], best: NDArray[np.float32]) -> float:
    """How often the first match is as near as the nearest row."""
    return float(np.mean([near[0].similarity >= like - EPSILON for near, like in zip(found, best, strict=True)]))


def items_of(start: int, count: int) -> list[Item]:
    """Items from a number on, PER_LABEL to a label, each hundredth of a brand."""
    made = []
    for at in range(start, start + count):
        label, sha256 = f"label {at // PER_LABEL}", f"{at * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 256):064x}"
        key = f"images/{sha256[:2]}/{sha256}"
        about = {"brand": f"brand {at % 100}"}
        made.append(Item(item_id(sha256, label), label, key, sha256, None, "2026-01-01T00:00:00.000Z", about))
    return made


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds it took."""
    started = perf_counter()
    return call(), perf_counter() - started


def resident(pid: int) -> int:
    """The bytes of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def cpu_s(pid: int) -> float:
    """The seconds of processor time that a process has taken."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pid: int) -> None:
    """Returns when the process has done nothing for some seconds."""
    before = -1.0
    while cpu_s(pid) - before > IDLE_CPU_S:
        before = cpu_s(pid)
        sleep(IDLE_S)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bytes_a_row(objects: Path, count: int) -> dict[str, float]:
    """The object store's files of the gallery by their endings."""
    found: dict[str, float] = {}
    for path in objects.rglob("*"):
        if path.is_file() and path.stat().st_size >= count:  # a byte a row: neither manifests nor locks
            found[path.suffix] = found.get(path.suffix, 0.0) + path.stat().st_size / count
    return found


def rounded(value: Any) -> Any:
    """Four significant digits, more would be noise."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def sizes_of(text: str) -> list[tuple[int, int]]:
    """`1000000x512,100000x64` as rows and dimensions. Raises ValueError."""
    return [(int(count), int(dim)) for count, _, dim in (one.partition("x") for one in text.split(","))]


def main() -> None:
    """Measures and writes, or prints the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, printed and not kept")
    parser.add_argument("--sizes", type=sizes_of, metavar="ROWSxDIMENSIONS,...", help="others, printed and not kept")
    parser.add_argument("--plan", action="store_true", help="print the plan by benchmarks/results/milvus.json")
    for one in fields(Assumed):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=float, default=one.default, help="of the plan")
    chosen = parser.parse_args()
    if chosen.plan:
        assumed = Assumed(**{one.name: getattr(chosen, one.name) for one in fields(Assumed)})
        print(plan_table(json.loads(RESULT.read_bytes()), assumed))
        return
    about = machine()
    about["packages"] |= {name: version(name) for name in ("milvus-lite", "pymilvus")}
    sizes = []
    for count, dim in chosen.sizes or (QUICK if chosen.quick else SIZES):
        with tempfile.TemporaryDirectory() as folder:
            sizes.append(measured(count, dim, Path(folder)))
        print(json.dumps(sizes[-1]), flush=True)
    if not (chosen.quick or chosen.sizes):
        record = {"suite": "milvus", "command": "python -m benchmarks.milvus", "machine": about, "sizes": sizes}
        RESULT.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


if __name__ == "__main__":
    main()
