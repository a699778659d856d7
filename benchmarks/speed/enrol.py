"""Pictures a second that an enrolment adds, against decoding and embedding them alone on the same cores."""

import os
from time import perf_counter

from benchmarks.speed.photos import PRODUCTS, distinct, item
from benchmarks.speed.rows import Context, Row, median
from benchmarks.speed.stack import running

VIEWS = 3


def run(context: Context) -> list[Row]:
    """Enrolments of the service and of the networks alone, by turns."""
    from infra.runtime.settings import WorkerSettings
    from models.pictures.image import decode
    from worker.runtime import load_programs

    every = sorted(os.sched_getaffinity(0))
    cores = set(every[: max(1, len(every) // 2)])
    pictures, rounds = (24, 3) if context.quick else (96, 8)
    number = 0
    served, alone = [], []
    with running(cores) as service:
        embedder = load_programs(WorkerSettings(detector="none")).embedder
        for _ in range(rounds):
            sent = []
            for _ in range(pictures):
                number += 1
                sent.append(
                    (f"p{number % PRODUCTS}", distinct(item(number % PRODUCTS, number % VIEWS), 10**6 + number))
                )
            served.append(pictures / service.enroll("bench", sent))
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cores)
            started = perf_counter()
            embedder([decode(data) for _, data in sent])
            alone.append(pictures / (perf_counter() - started))
            os.sched_setaffinity(0, before)
    fraction = 100 * median([one / other for one, other in zip(served, alone, strict=True)])
    return [
        Row(
            "enrolment over HTTP, a job of many pictures",
            median(served),
            "pictures/s",
            floor=None,
            note="with local features and a new calibration",
        ),
        Row("decoding and embedding alone", median(alone), "pictures/s"),
        Row("share of decoding and embedding", fraction, "%"),
    ]
