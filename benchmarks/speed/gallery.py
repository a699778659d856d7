"""A large gallery: what a process that searches it has to itself, and how long a change takes until it is searched.

    python -m benchmarks.speed.gallery FOLDER

is a process that has the gallery of that folder open and loads no networks: it says when it has searched, and waits.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.speed.rows import Context, Row, median

if TYPE_CHECKING:
    from infra.galleries.store import GalleryStore, Item
    from worker.gallery_cache import GalleryCache

DIM = 512
NAME = "bench"
DIGEST = "d" * 64
FILES = 4  # the gallery is of so many segments at first
SHADES = ("red", "green", "blue", "black")


def run(context: Context) -> list[Row]:
    """Both sizes, or the smaller one."""
    sizes = (100_000,) if context.quick else (100_000, 1_000_000)
    return [row for items in sizes for row in measured(items, rounds=9)]


def measured(items: int, rounds: int) -> list[Row]:
    """One gallery in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder), items)
        opened_s, one, two = held_by_two(folder)
        name = f"{items:,} items"
        return [
            Row(f"{name}: opened and searched", opened_s, "s", note="by a new process, without networks"),
            Row(f"{name}: a process' own", two["uss"] / 1e6, "MB", note=f"of {two['rss'] / 1e6:.0f} MB resident"),
            Row(
                f"{name}: a process' own, written",
                two["dirty"] / 1e6,
                "MB",
                note=f"without a gallery {one['dirty'] / 1e6:.0f} MB",
            ),
            *changes(Path(folder), name, rounds),
        ]


def changes(folder: Path, name: str, rounds: int) -> list[Row]:
    """Additions, removals and filters of a process that has the gallery open, and the milliseconds of each."""
    from infra.galleries.store import GalleryStore
    from infra.objects.local import LocalStore
    from worker.gallery_cache import GalleryCache

    store = GalleryStore(LocalStore(folder / "objects"))  # as an enroller has it
    searching = GalleryCache(GalleryStore(LocalStore(folder / "objects")), 1 << 34)
    searched(searching, unit(0))
    times: dict[str, list[float]] = {}

    def timed(what: str, do: Any) -> Any:
        started = perf_counter()
        result = do()
        times.setdefault(what, []).append(1e3 * (perf_counter() - started))
        return result

    for number in range(rounds):
        item, row = new_item(10_000_000 + number), unit(10_000_000 + number)
        turn = "the first " if not number else ""
        timed(f"{turn}picture added", lambda item=item, row=row: store.add(NAME, [item], row, DIGEST))
        found = timed(f"{turn}picture added: taken over", lambda: searching.current(NAME).gallery)
        if found.search(row, 1)[0][0].item.id != item.id:
            raise RuntimeError("what was added is not found")
        gone = old_item(item, number)
        timed(f"{turn}picture removed", lambda gone=gone: store.remove(NAME, item_ids=[gone]))
        timed(f"{turn}picture removed: taken over", lambda: searching.current(NAME))
    for turn, what in enumerate(("all files, for an item was removed of the oldest", "small files")):
        in_force_ms, whole_ms = joining(store, turn)
        times[f"the addition that joins {what}: in force"] = [in_force_ms]
        times[f"the addition that joins {what}: done"] = [whole_ms]
        timed(f"the addition that joins {what}: the joined file taken over", lambda: searching.current(NAME))
    gallery = searching.current(NAME).gallery
    timed("first filter on metadata", lambda: gallery.filtered([("shade", "red")]))
    timed("another filter", lambda: gallery.filtered([("shade", "blue")]))
    return [
        Row(
            f"{name}: {what}",
            median(taken),
            "ms",
            *((100.0, "at most") if what.startswith("picture added") or what.endswith("in force") else ()),
            note="median, " + f"{min(taken):.3g} to {max(taken):.3g}" if len(taken) > 1 else "",
        )
        for what, taken in times.items()
    ]


def joining(store: "GalleryStore", turn: int) -> tuple[float, float]:
    """Of the first addition of a picture that joins files the milliseconds until it is in force, and until it returns."""
    number = 20_000_000 * (turn + 1)
    reader = type(store)(store.objects)
    while True:
        number += 1
        before = store.manifest(NAME)
        seen: list[float] = []
        started = perf_counter()

        def watch(version: int = before.version, seen: list[float] = seen, started: float = started) -> None:
            while reader.manifest(NAME).version == version:
                time.sleep(0.001)
            seen.append(1e3 * (perf_counter() - started))

        watching = threading.Thread(target=watch)
        watching.start()
        added = store.add(NAME, [new_item(number)], unit(number), DIGEST)
        took = 1e3 * (perf_counter() - started)
        watching.join()
        if len(added.manifest.segments) <= len(before.segments):
            return seen[0], took


def old_item(item: "Item", number: int) -> str:
    """The id of an item from the gallery's beginning, or of the one just added, in turns."""
    return new_item(number * 7).id if number % 2 == 0 else item.id


def searched(cache: "GalleryCache", row: Any) -> None:
    """The gallery opened, and one query answered by it."""
    cache.current(NAME).gallery.search_labels(row, 5)


def made(folder: Path, items: int) -> "GalleryStore":
    """A gallery of random unit vectors in a store, of FILES segments; every tenth item has metadata."""
    from infra.galleries.store import GalleryStore
    from infra.objects.local import LocalStore

    store = GalleryStore(LocalStore(folder / "objects"))
    store.create(NAME)
    rng = np.random.default_rng(0)
    for start in range(0, items, items // FILES):
        vectors = rng.normal(size=(items // FILES, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.add(NAME, [new_item(start + at) for at in range(len(vectors))], vectors, DIGEST)
    return store


def new_item(number: int) -> "Item":
    """The item of this number: each of a picture of its own, twenty to a label."""
    from infra.galleries.store import Item, item_id

    label, sha256 = f"product {number // 20}", f"{number * 0x9E3779B97F4A7C15 % (1 << 256):064x}"
    metadata = {"shade": SHADES[number // 10 % len(SHADES)]} if number % 10 == 0 else {}
    key = f"images/{sha256[:2]}/{sha256}"
    return Item(item_id(sha256, label), label, key, sha256, None, "2026-01-01T00:00:00.000Z", metadata)


def unit(seed: int) -> Any:
    """(1, D): a unit vector."""
    row = np.random.default_rng(seed).normal(size=(1, DIM)).astype(np.float32)
    return row / np.linalg.norm(row)


def held_by_two(folder: str) -> tuple[float, dict[str, int], dict[str, int]]:
    """Seconds until the first of two processes has searched; what one holds before it opens the gallery, and after."""
    first, second = probe(folder), probe(folder)
    try:
        for process in (first, second):
            line(process)
        empty = memory_of(second.pid)
        opened = []
        for process in (first, second):
            started = perf_counter()
            assert process.stdin is not None
            process.stdin.write("open\n")
            process.stdin.flush()
            line(process)
            opened.append(perf_counter() - started)
        return opened[1], empty, memory_of(second.pid)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def probe(folder: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed.gallery", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> None:
    """Waits until it is ready. Raises RuntimeError if it ended."""
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("a probe ended early")


def memory_of(process_id: int) -> dict[str, int]:
    """Bytes: resident, what only this process has (a file's pages too), and those of them that it wrote itself."""
    read = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kb = {one.split()[0].rstrip(":"): int(one.split()[1]) for one in read[1:]}
    own = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"rss": kb["Rss"] * 1024, "uss": own * 1024, "dirty": kb["Private_Dirty"] * 1024}


def main() -> None:
    """A probe: opens the gallery when a line comes in, and waits."""
    from infra.galleries.store import GalleryStore
    from infra.objects.local import LocalStore
    from models.galleries.gallery import faiss_module
    from worker.gallery_cache import GalleryCache

    faiss_module()
    cache = GalleryCache(GalleryStore(LocalStore(Path(sys.argv[1]) / "objects")), 1 << 34)
    print("ready", flush=True)
    sys.stdin.readline()
    searched(cache, unit(0))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
