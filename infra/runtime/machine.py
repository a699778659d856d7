"""How much of this machine the process may use: cores and memory, with the reason of each.

A container sees all cores and all memory of its host in os.cpu_count and /proc/meminfo; what it may use is in its control
groups. Both versions are read, and all groups above the process's own as far as they can be seen: each limits those below.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.runtime.settings import Settings, WorkerSettings

MIB = 1 << 20
# Of a worker with the bundled models (measured: docs/runbook.md, "Scaling"): what it holds before its first job, ...
BASE_BYTES = 300 * MIB
JOB_BYTES = 110 * MIB  # ... and each job at a time besides its photo: programs, crops, features
PHOTO_BYTES_A_PIXEL = (
    16  # at the peak of decoding a WebP; JPEG, PNG, HEIC and TIFF take 3 to 8 (measured with 50 megapixels)
)
UNLIMITED_BYTES = 1 << 60  # version 1 writes "no limit" as a number close to 2^63


@dataclass(frozen=True)
class Limits:
    """What may be used. `memory_bytes` is None where it is unknown; `*_reason` is for people."""

    cores: int
    cores_reason: str
    memory_bytes: int | None
    memory_reason: str


@dataclass(frozen=True)
class Plan:
    """How many jobs a worker runs at a time, and why so many."""

    concurrency: int
    reason: str


def read_limits(root: Path = Path("/"), affinity: int | None = None, memory_bytes: int | None = None) -> Limits:
    """The limits of this process. Tests give another `root` (with proc/ and sys/), cores and physical memory.

    A share of a core counts as a whole one: 1.5 cores run two jobs at a time and use all of what they may.
    """
    affinity = affinity or usable_cores()
    memory_bytes = memory_bytes or _physical_bytes()
    cores, cores_reason = affinity, f"affinity: {affinity} cores"
    memory_reason = "physical memory" if memory_bytes else "unknown"
    for folder in _groups(root):
        quota = _quota(folder)
        if quota is not None and max(1, math.ceil(quota)) < cores:
            cores = max(1, math.ceil(quota))
            cores_reason = f"cgroup CPU quota: {quota:.3g} of {affinity} cores"
        limit = _memory_limit(folder)
        if limit is not None and (memory_bytes is None or limit < memory_bytes):
            memory_bytes, memory_reason = limit, f"cgroup memory limit: {limit // MIB} MiB"
    return Limits(cores, cores_reason, memory_bytes, memory_reason)


def usable_cores() -> int:
    """The cores that the scheduler may give this process, whatever share of their time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def planned_jobs(
    limits: Limits, max_pixels: int, *, workers: int = 1, copies: bool = False, further_bytes: int = 0
) -> Plan:
    """The default concurrency of each of `workers` workers: one job a core, fewer where memory does not last for them.

    A job is counted with a photo of `max_pixels`. With `copies` each job is a process with models of its own. A process
    may take `further_bytes` for further embedders than its default one.
    """
    cores = max(1, limits.cores // workers)
    if limits.memory_bytes is None:
        return Plan(cores, limits.cores_reason)
    share = limits.memory_bytes // workers
    job = JOB_BYTES + PHOTO_BYTES_A_PIXEL * max_pixels
    base = BASE_BYTES + further_bytes
    fits = share // (base + job) if copies else (share - base) // job
    if fits >= cores:
        return Plan(cores, limits.cores_reason)
    return Plan(max(1, fits), f"{limits.memory_reason}, {job // MIB} MiB a job")


def pool_for(worker: WorkerSettings) -> str:
    """Celery's name of the pool: OpenVINO shares one process among threads, Paddle holds the GIL while it runs."""
    if worker.pool != "auto":
        return worker.pool
    serves_openvino = worker.engine != "paddle" and find_spec("openvino") is not None
    return "threads" if serves_openvino else "prefork"


def planned(settings: Settings, *, workers: int = 1) -> Plan:
    """How many jobs each of `workers` workers runs at a time, and why: by the settings, or by what cores and memory allow."""
    if settings.worker.concurrency:
        return Plan(settings.worker.concurrency, "SHITU_WORKER__CONCURRENCY")
    copies = pool_for(settings.worker) == "prefork"
    further = settings.worker.embedders_mb * MIB if settings.worker.embedders else 0
    return planned_jobs(
        read_limits(), settings.images.max_pixels, workers=workers, copies=copies, further_bytes=further
    )


def limit_math_threads() -> None:
    """Keeps math libraries from starting a thread for each core of the host, where this process may use fewer.

    They read these variables once, when they are loaded; what is set already stays.
    """
    cores = read_limits().cores
    if cores < usable_cores():
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(variable, str(cores))


def resident_bytes() -> int | None:
    """How much memory this process has now; None where the system does not report it as Linux does."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def process_age_s() -> float | None:
    """How long ago this process was started, before Python itself; None where the system does not report it as Linux does."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, up_s - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the process's control groups and of all groups above them, of every mounted hierarchy."""
    own = _own_groups(root)
    for names, mount_root, mount_point in _mounts(root):
        for name in names:
            path = own.get(name)
            if path is None:
                continue
            mounted = root / mount_point.lstrip("/")
            yield mounted
            folder = mounted
            # Without a namespace of its own a container's path is the host's, and what is mounted begins inside it.
            relative = path.relative_to(mount_root) if path.is_relative_to(mount_root) else PurePosixPath()
            for part in relative.parts:
                if part == "..":  # a group outside of the namespace: nothing of it can be seen
                    break
                folder /= part
                yield folder


def _own_groups(root: Path) -> dict[str, PurePosixPath]:
    """Controller ("" for version 2) -> the path of the process's group, as the kernel reports it."""
    own: dict[str, PurePosixPath] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon:
            for name in controllers.split(","):
                own[name] = PurePosixPath(path.strip() or "/")
    return own


def _mounts(root: Path) -> Iterator[tuple[tuple[str, ...], PurePosixPath, str]]:
    """Controllers, root and mount point of each mounted hierarchy that may hold limits."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not dash or len(fields) < 5 or len(rest) < 3 or rest[0] not in {"cgroup", "cgroup2"}:
            continue
        mount_root, mount_point = (_unescaped(field) for field in fields[3:5])
        wanted = {"cpu", "memory"} & set(rest[2].strip().split(","))
        names = ("",) if rest[0] == "cgroup2" else tuple(sorted(wanted))
        yield names, PurePosixPath(mount_root), mount_point


def _unescaped(field: str) -> str:
    """mountinfo writes spaces and the like as \\040."""
    for code in ("040", "011", "012", "134"):
        field = field.replace(f"\\{code}", chr(int(code, 8)))
    return field


def _quota(folder: Path) -> float | None:
    """The cores' worth of time that the group gets; None for no limit."""
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    if not quota.isdecimal():  # "max", "-1", or no such file
        return None
    period = period or "100000"
    if not period.isdecimal() or int(period) == 0 or int(quota) == 0:
        return None
    return int(quota) / int(period)


def _memory_limit(folder: Path) -> int | None:
    """The bytes that the group may use; `memory.high` counts, for above it the kernel slows the group down."""
    found = [
        int(text)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (text := _read(folder / name).strip()).isdecimal()
    ]
    return min((limit for limit in found if 0 < limit < UNLIMITED_BYTES), default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
