"""What a worker process holds: resident, and what it has to itself where several run.

Each probe is a process that loads the networks and a gallery as a worker does, recognises a photo, and says what it holds.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.photos import scene
from benchmarks.speed.rows import Context, Row

DIM = 512


def run(context: Context) -> list[Row]:
    """A small gallery, two processes on the same one, and a large one."""
    large = 100_000 if context.quick else 1_000_000
    rows = []
    for items in (1000, large):
        with tempfile.TemporaryDirectory() as folder:
            made(Path(folder), items)
            first, second = probe(folder), probe(folder)
            try:
                one, two = memory_of(first), memory_of(second)
                alone_mb, shared_mb = one["rss"] / 1e6, (two["rss"] - two["uss"]) / 1e6
            finally:
                for process in (first, second):
                    process.kill()
                    process.wait()
        goal: tuple[Any, ...] = (350.0, "at most") if items == 1000 else ()
        floor = items * DIM * 4 / 1e6
        rows.append(
            Row(
                f"a worker's models and a gallery of {items:,} items: resident",
                alone_mb,
                "MB",
                *goal,
                floor=floor,
                note="floor: the vectors in fp32",
            )
        )
        rows.append(
            Row(
                f"a second process on the same {items:,} items: its own",
                two["uss"] / 1e6,
                "MB",
                note=f"{shared_mb:.0f} MB are shared",
            )
        )
    return rows


def made(folder: Path, items: int) -> None:
    """A gallery of random unit vectors in a store, as an enrolment leaves it."""
    from infra.galleries.store import GalleryStore, Item, item_id
    from infra.objects.local import LocalStore
    from models.artifacts.folders import load_manifest, resolve

    digest = load_manifest(resolve("shitu-embedder")).digest
    store = GalleryStore(LocalStore(folder / "objects"))
    store.create("bench")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(items, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    content = [f"{number:064x}" for number in range(items)]
    listed = []
    for number, one in enumerate(content):
        label = f"p{number % 5000}"
        listed.append(
            Item(item_id(one, label), label, f"images/{one[:2]}/{one}", one, None, "2026-01-01T00:00:00.000Z")
        )
    store.add("bench", listed, vectors, digest)


def probe(folder: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed.memory", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def memory_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a probe holds, once it has answered."""
    import psutil

    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("a probe ended early")
    info = psutil.Process(process.pid).memory_full_info()
    return {"rss": info.rss, "uss": info.uss}


def main() -> None:
    """A probe: answers one photo, and waits."""
    from infra.galleries.store import GalleryStore
    from infra.objects.local import LocalStore
    from infra.runtime.settings import WorkerSettings
    from models.pictures.image import decode
    from worker.gallery_cache import GalleryCache
    from worker.runtime import load_programs

    gallery = GalleryCache(GalleryStore(LocalStore(Path(sys.argv[1]) / "objects")), 1 << 33).current("bench").gallery
    programs = load_programs(WorkerSettings())
    programs.recognizer(decode(scene(0)), gallery).to_dict()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
