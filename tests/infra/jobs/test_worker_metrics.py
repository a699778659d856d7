"""What workers say of themselves, as Prometheus reads it."""

from __future__ import annotations

from infra.jobs.presence import WorkerInfo
from infra.jobs.worker_metrics import worker_metrics

MODEL = {"name": "e", "digest": "d1", "engine": "openvino", "precision": "int8"}


def worker(name: str, **info: object) -> WorkerInfo:
    return WorkerInfo(name, dict(info), 1.0)


def test_processes_of_one_host_are_reported_as_one_and_places_are_weighed() -> None:
    one = worker(
        "a:1",
        busy_ratio=1.0,
        concurrency=3,
        rss_bytes=100,
        memory_limit_bytes=900,
        models={"embedder": MODEL, "detector": None},
    )
    two = worker("a:2", busy_ratio=0.0, concurrency=1, rss_bytes=50, memory_limit_bytes=900, models={"embedder": MODEL})
    three = worker("b:1", models={"embedder": MODEL | {"digest": "d2"}})  # an older version's heartbeat
    report = {
        (sample.name, *sample.labels.values()): sample.value
        for family in worker_metrics([one, two, three])
        for sample in family.samples
    }
    assert report == {
        ("shitu_worker_busy_ratio",): 0.75,
        ("shitu_model_rss_bytes", "a"): 150,
        ("shitu_model_memory_limit_bytes", "a"): 900,
        ("shitu_model_info", "embedder", "e", "d1", "openvino", "int8"): 2,
        ("shitu_model_info", "embedder", "e", "d2", "openvino", "int8"): 1,
    }


def test_without_workers_there_is_no_ratio() -> None:
    assert [sample for family in worker_metrics([]) for sample in family.samples] == []
