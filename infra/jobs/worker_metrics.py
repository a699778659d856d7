"""What the workers say of themselves in their heartbeats, as metrics: how busy they are, their memory, their models."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.jobs.presence import WorkerInfo

MODEL_LABELS = ("role", "name", "digest", "engine", "precision")


def worker_metrics(workers: Iterable[WorkerInfo]) -> Iterator[Metric]:
    """Of the workers that are ready. One that says nothing of a number, of an older version, is left out of it.

    A host is a machine or a container; its processes are reported as one, so that a restart is no new series.
    """
    infos = [(worker.name.partition(":")[0], worker.info) for worker in workers]
    slots = sum(_number(info, "concurrency") for _, info in infos if "busy_ratio" in info)
    busy = sum(_number(info, "concurrency") * _number(info, "busy_ratio") for _, info in infos)
    ratio = GaugeMetricFamily(
        "shitu_worker_busy_ratio", "Share of the workers' places that were busy since their last heartbeat, 0 to 1."
    )
    if slots:
        ratio.add_metric([], busy / slots)
    yield ratio
    resident, limits = Counter[str](), dict[str, float]()
    for host, info in infos:
        resident[host] += int(_number(info, "rss_bytes"))
        if _number(info, "memory_limit_bytes"):
            limits[host] = _number(info, "memory_limit_bytes")
    yield _by_host("shitu_model_rss_bytes", "Resident memory of the processes that hold models.", resident)
    yield _by_host("shitu_model_memory_limit_bytes", "Memory that these processes together may use.", limits)
    models: Counter[tuple[str, ...]] = Counter()
    for _, info in infos:
        for role, model in (info.get("models") or {}).items():
            if model:
                models[(role, *(str(model.get(label, "")) for label in MODEL_LABELS[1:]))] += 1
    running = GaugeMetricFamily("shitu_model_info", "How many workers have this network loaded.", labels=MODEL_LABELS)
    for labels, count in sorted(models.items()):
        running.add_metric(labels, count)
    yield running


def _by_host(name: str, text: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["host"])
    for host, value in sorted(values.items()):
        if value:
            family.add_metric([host], value)
    return family


def _number(info: dict[str, Any], field: str) -> float:
    value = info.get(field)
    return float(value) if isinstance(value, int | float) else 0.0
