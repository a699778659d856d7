"""What Prometheus should know of the process that it asks: which build it is, its memory, and the disks that it writes to."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.runtime.machine import resident_bytes
from infra.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class MachineCollector(Collector):
    """`folders`: what is kept in which, by the name that the metrics give it; one that cannot be measured has no sample."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        build = GaugeMetricFamily("shitu_build_info", "Always 1: which build answers.", labels=["version", "python"])
        build.add_metric([VERSION, platform.python_version()], 1)
        yield build
        memory = GaugeMetricFamily("shitu_web_rss_bytes", "Resident memory of the web process that answers.")
        if (resident := resident_bytes()) is not None:
            memory.add_metric([], resident)
        yield memory
        free = GaugeMetricFamily("shitu_disk_free_bytes", "Free space where this is kept.", labels=["folder"])
        size = GaugeMetricFamily("shitu_disk_size_bytes", "Size of the disk where this is kept.", labels=["folder"])
        for name, folder in self._folders.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:  # not made yet, or its disk is gone: readiness reports that
                continue
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield free
        yield size
