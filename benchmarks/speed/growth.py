"""How each part grows: searching with a gallery's items and with items a label, the ledger with its open jobs, photos kept."""

import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import redis

from benchmarks.speed.floors import bandwidth_gb_s
from benchmarks.speed.photos import distinct, scene
from benchmarks.speed.pipeline import Item, unit_rows
from benchmarks.speed.rows import Context, Row, interleaved, median

DIM = 512


def run(context: Context) -> list[Row]:
    """All sizes, in turns."""
    rounds = 10 if context.quick else 40
    return [*searching(context, rounds), *labels(rounds), *ledger(context, rounds), *photos(context, rounds)]


def searching(context: Context, rounds: int) -> list[Row]:
    """A photo's six queries in galleries of more and more items."""
    from models.galleries.gallery import Gallery

    sizes = (1000, 10_000, 100_000) if context.quick else (1000, 10_000, 100_000, 1_000_000)
    queries = unit_rows(6, DIM)
    galleries = {
        size: Gallery([Item(str(n), str(n // 4)) for n in range(size)], unit_rows(size, DIM)) for size in sizes
    }
    times = interleaved(
        {str(size): lambda size=size: galleries[size].search_labels(queries, 5) for size in sizes}, rounds
    )
    return [
        Row(
            f"search of 6 queries, {size:,} items",
            median(times[str(size)]),
            "ms",
            floor=size * DIM * 4 / bandwidth_gb_s() / 1e6,
            note="floor: the vectors read once",
        )
        for size in sizes
    ]


def labels(rounds: int) -> list[Row]:
    """The same 10,000 items with more and more of them to a label."""
    from models.galleries.gallery import Gallery

    queries, rows = unit_rows(6, DIM), unit_rows(10_000, DIM)
    each = (1, 10, 100, 1000)
    galleries = {many: Gallery([Item(str(n), str(n // many)) for n in range(len(rows))], rows) for many in each}
    times = interleaved(
        {str(many): lambda many=many: galleries[many].search_labels(queries, 5) for many in each}, rounds
    )
    return [Row(f"search, 10,000 items, {many:,} a label", median(times[str(many)]), "ms") for many in each]


def ledger(context: Context, rounds: int) -> list[Row]:
    """What accepting, starting and ending a job costs where many are open."""
    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import new_id
    from infra.jobs.terms import USUAL
    from infra.redis.client import connect
    from infra.redis.server import RedisServer

    found = []
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        client = connect(server.url)
        jobs = JobLedger(client)
        request = {"gallery": "bench", "image": {"key": "images/none"}, "options": {}}
        opened = 0
        for size in (0, 1000, 10_000) if context.quick else (0, 1000, 10_000, 100_000):
            while opened < size:
                with client.pipeline(transaction=True) as pipe:
                    for _ in range(500):
                        jobs.create_in(pipe, "recognition", request, None, new_id("rec", 0), USUAL)
                    pipe.execute()
                opened += 500

            def life() -> None:
                job = jobs.create("recognition", request)
                lease = jobs.start(job.id)
                if lease is None or not jobs.succeed(lease, {"recognitions": [], "dropped": []}):
                    raise RuntimeError("a job could not be had")

            times = interleaved(
                {"life": life, "snapshot": jobs.forecast.snapshot, "page": lambda: seen(client)}, rounds
            )
            found += [
                Row(f"a job accepted, started and ended, {size:,} others open", median(times["life"]), "ms"),
                Row(f"where a job stands, {size:,} open", median(times["snapshot"]), "ms"),
            ]
            memory = client.info("memory")["used_memory"]
            found.append(Row(f"Redis with {size:,} open jobs", memory / 1e6, "MB"))
    return found


def seen(client: redis.Redis) -> None:
    """A round trip that does nothing, for comparison."""
    client.ping()


def photos(context: Context, rounds: int) -> list[Row]:
    """What keeping a photo costs where many are kept."""
    from infra.jobs.photos import Photos
    from infra.objects.local import LocalStore
    from infra.redis.client import connect
    from infra.redis.server import RedisServer

    found = []
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        kept = Photos(connect(server.url), LocalStore(Path(folder) / "objects"))
        number = 0
        for size in (0, 1000) if context.quick else (0, 1000, 20_000):
            while number < size:
                number += 1
                kept.keep(f"{number}".encode())
            times = []
            for _ in range(rounds):
                number += 1
                photo = distinct(scene(0), number)
                started = perf_counter()
                kept.keep(photo)
                times.append(1e3 * (perf_counter() - started))
            found.append(
                Row(
                    f"a photo kept, {size:,} others kept",
                    float(np.median(times)),
                    "ms",
                    note="written through to the disk",
                )
            )
    return found
