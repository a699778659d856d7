"""From an HTTP upload to the result, against the bare pipeline on the same cores; photos of which no two have the same bytes.

One core (two of four or more) has web, Redis, worker, courier and keeper, the client has another one. Rounds of the bare
pipeline and of the service take turns; both processes stay loaded meanwhile.
"""

import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Any

import numpy as np
import redis
import requests

from benchmarks.speed.bare import SCENES
from benchmarks.speed.photos import distinct, item, scene
from benchmarks.speed.rows import Context, Row, median
from benchmarks.speed.stack import GALLERY, Measured, bare, receiver, running, until

VERIFY = "never"  # a second look costs both alike, and hides what the service adds
WINDOW = 4  # uploads under way in a closed loop
FOLLOWERS = 100

_numbers = itertools.count(1)
_local = threading.local()


def run(context: Context) -> list[Row]:
    """Throughput, latency under load, what an idle service adds, and what watchers cost."""
    every = sorted(os.sched_getaffinity(0))
    cores = set(every[: max(1, len(every) // 2)])
    with (
        running(cores, SHITU_WEB__ALLOWED_HOSTS="127.0.0.1", SHITU_WEB__URL_TIMEOUT_S="120") as service,
        bare(service, VERIFY) as recognized,
        receiver() as hooks,
    ):
        photos = 12 if context.quick else 80
        rounds = 3 if context.quick else 12
        closed_loop(service, 8)
        recognized(4)
        alone, plain, hooked = [], [], []
        under_watch: dict[str, list[float]] = {"retry-after": [], "each-second": []}
        polls: dict[str, list[int]] = {pace: [] for pace in under_watch}
        watched_s = dict.fromkeys(under_watch, 0.0)
        spent: dict[str, float] = {}
        trips = 0.0
        for _ in range(rounds):
            alone.append(photos / recognized(photos))
            before, trips_before = service.cpu_s(), round_trips(service)
            plain.append(photos / closed_loop(service, photos))
            for name, used in service.cpu_s().items():
                spent[name] = spent.get(name, 0.0) + used - before.get(name, 0.0)
            trips += round_trips(service) - trips_before
            hooked.append(photos / closed_loop(service, photos, hooks.url))
            for pace, rates in under_watch.items():
                with watched(service, pace, polls[pace]):
                    before_s = perf_counter()
                    rates.append(photos / closed_loop(service, photos))
                    watched_s[pace] += perf_counter() - before_s
        until(lambda: hooks.taken >= rounds * photos)
        per_photo = ", ".join(f"{name} {1e3 * used / photos / rounds:.1f}" for name, used in spent.items())
        rows = [
            Row("bare pipeline", median(alone), "photos/s", note=f"{len(cores)} core(s), verification apart"),
            Row("service, uploads to results", median(plain), "photos/s", note=f"ms of processor a photo: {per_photo}"),
            Row("service: share of the bare pipeline", percentage(plain, alone), "%", 95, "at least"),
            Row("service with webhooks: share of the bare pipeline", percentage(hooked, alone), "%", 95, "at least"),
            *(
                Row(
                    f"what {FOLLOWERS} event streams and {FOLLOWERS} clients that poll {how} cost",
                    100 - percentage(under_watch[pace], plain),
                    "%",
                    *(5, "at most"),
                    note=f"{sum(polls[pace]) / watched_s[pace]:.0f} polls a second were answered",
                )
                for pace, how in (("retry-after", "as Retry-After says"), ("each-second", "each second"))
            ),
            Row(
                "Redis: requests a photo",
                trips / photos / rounds,
                "trips",
                note="all processes, polls of brokers included",
            ),
        ]
        rows += idle_rows(service, 20 if context.quick else 60)
        rows += again_rows(service, 4 if context.quick else 12)
        rows += loaded_rows(service, median(plain), 6.0 if context.quick else 30.0)
        return rows


def idle_rows(service: Measured, photos: int) -> list[Row]:
    """What the service adds to a photo that comes alone."""
    added, whole = [], []
    for _ in range(photos):
        sleep(0.02)
        began = perf_counter()
        job = submit(service, distinct(scene(0), next(_numbers)))
        whole.append(1e3 * (perf_counter() - began))
        added.append(whole[-1] - pipeline_ms(job))
    return [
        Row("idle, submit to result: p50", median(whole), "ms", note=f"p95 {np.quantile(whole, 0.95):.1f}"),
        Row(
            "idle: what the service adds, p50",
            median(added),
            "ms",
            5,
            "at most",
            note="submit to result, minus the pipeline of the same photo",
        ),
    ]


def again_rows(service: Measured, rounds: int) -> list[Row]:
    """The same bytes again, on the same version of the gallery and on a new one: what the worker takes for it."""
    again, searched, first = [], [], []
    for number in range(rounds):
        photo = distinct(scene(0), next(_numbers))
        first.append(submit(service, photo)["result"]["timings_ms"]["total"])
        again.append(submit(service, photo)["result"]["timings_ms"]["total"])
        service.enroll(GALLERY, [("another", distinct(item(0, 0), 10**9 + number))])
        searched.append(submit(service, photo)["result"]["timings_ms"]["total"])
    return [
        Row(
            "the same photo again: in the worker, p50",
            median(again),
            "ms",
            5,
            "at most",
            note=f"the first time {median(first):.0f} ms",
        ),
        Row(
            "the same photo on a changed gallery: in the worker, p50",
            median(searched),
            "ms",
            note="with loading the gallery's new version",
        ),
    ]


def pipeline_ms(job: Any) -> float:
    """What the job's own pipeline took: decoding to deciding."""
    laps = job["result"]["timings_ms"]
    return float(sum(laps.get(stage, 0.0) for stage in ("decode", "detect", "crop", "embed", "search", "verify")))


def loaded_rows(service: Measured, capacity: float, seconds: float) -> list[Row]:
    """Latencies where photos come at random moments, at a fraction of what the service can do."""
    rows = []
    for load in (0.5, 0.9):
        rate = load * capacity
        rng = np.random.default_rng(3)
        gaps = rng.exponential(1 / rate, max(8, int(rate * seconds)))
        took: list[float] = []

        def one(photo: bytes, due: float, took: list[float] = took) -> None:
            submit(service, photo)
            took.append(1e3 * (perf_counter() - due))

        with ThreadPoolExecutor(24) as pool:
            due = perf_counter()
            for gap in gaps:
                due += gap
                sleep(max(0.0, due - perf_counter()))
                pool.submit(one, distinct(scene(len(took) % SCENES), next(_numbers)), due)
        p50, p95, p99 = np.quantile(took, (0.5, 0.95, 0.99))
        rows.append(
            Row(
                f"{load:.0%} load: p50",
                float(p50),
                "ms",
                note=f"p95 {p95:.0f}, p99 {p99:.0f}; {len(took)} photos, {rate:.1f} a second",
            )
        )
    return rows


def closed_loop(service: Measured, photos: int, webhook_url: str | None = None) -> float:
    """The seconds that so many photos take, WINDOW of them at a time."""
    sent = [distinct(scene(number % SCENES), next(_numbers)) for number in range(photos)]
    window = WINDOW * len(service.cores)
    started = perf_counter()
    with ThreadPoolExecutor(window) as pool:
        list(pool.map(lambda photo: submit(service, photo, webhook_url), sent))
    return perf_counter() - started


def submit(service: Measured, photo: bytes, webhook_url: str | None = None) -> dict[str, Any]:
    """Uploads a photo and waits for its result."""
    if not hasattr(_local, "http"):
        _local.http = requests.Session()
    fields = {"gallery": GALLERY, "options": f'{{"verify": "{VERIFY}"}}'}
    if webhook_url is not None:
        fields["webhook_url"] = webhook_url
    answer = _local.http.post(
        f"{service.url}/v1/recognitions",
        data=fields,
        files={"image": ("photo.jpg", photo)},
        headers={"Prefer": "wait=20"},
        timeout=60,
    )
    answer.raise_for_status()
    job: dict[str, Any] = answer.json()
    while job["status"] in {"queued", "processing"}:
        job = _local.http.get(service.url + job["links"]["self"], headers={"Prefer": "wait=20"}, timeout=60).json()
    if job["status"] != "succeeded":
        raise RuntimeError(f"a job ended otherwise: {job['error']}")
    return job


@contextmanager
def watched(service: Measured, pace: str, polls: list[int]) -> Iterator[None]:
    """FOLLOWERS event streams on a job that does not end, for its photo never comes, and as many clients that poll it.

    `pace`: of benchmarks.speed.watchers, a process of its own next to the client; `polls` gets how many were answered.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/photo.jpg"
        answer = service.http.post(
            f"{service.url}/v1/recognitions", json={"gallery": GALLERY, "image": {"url": url}}, timeout=30
        )
        answer.raise_for_status()
        links = answer.json()["links"]
        command = [sys.executable, "-m", "benchmarks.speed.watchers"]
        command += [service.url + links["events"], service.url + links["self"], str(FOLLOWERS), pace]
        watchers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if watchers.stdout is None or watchers.stdout.readline() != "watching\n":
                raise RuntimeError("the watchers ended early")
            yield
            polls.append(int(watchers.communicate(timeout=30)[0]))
        finally:
            watchers.kill()
            watchers.wait()
            service.http.post(service.url + links["cancel"], timeout=30)


def round_trips(service: Measured) -> int:
    """Requests that the server has read so far: a pipeline counts once."""
    client = redis.Redis.from_url(str(service.stack.settings.redis_url))
    return int(client.info("stats")["total_reads_processed"])


def percentage(part: list[float], whole: list[float]) -> float:
    """In per cent, the median over the rounds."""
    return 100 * median([one / other for one, other in zip(part, whole, strict=True)])
