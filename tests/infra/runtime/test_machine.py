"""What a container may use, read from made-up trees of control groups, and once from a real quota."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.runtime.machine import BASE_BYTES, JOB_BYTES, MIB, PHOTO_BYTES_A_PIXEL, Limits, planned_jobs, read_limits

GIB = 1024 * MIB
V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 {root} /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
)


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system with these groups of the process, mounts, and files below sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text("22 1 0:20 / /proc rw - proc proc rw\n" + mounts)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def limits(root: Path, cores: int = 8) -> tuple[int, int | None]:
    found = read_limits(root, cores, 16 * GIB)
    return found.cores, found.memory_bytes


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("50000 25000", 2),
     ("6400000 100000", 8), ("", 8), ("max", 8), ("300000", 3), ("-1 100000", 8), ("nonsense", 8), ("100 0", 8)],
)  # fmt: skip
def test_a_quota_of_version_2(tmp_path: Path, cpu_max: str, cores: int) -> None:
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), {"cpu.max": cpu_max, "memory.max": "max"})
    assert limits(root) == (cores, 16 * GIB)


def test_the_narrowest_group_above_counts(tmp_path: Path) -> None:
    files = {
        "kubepods/cpu.max": "300000 100000",
        "kubepods/pod1/cpu.max": "max 100000",
        "kubepods/pod1/c/cpu.max": "500000 100000",
        "kubepods/pod1/memory.max": str(GIB),
        "kubepods/pod1/c/memory.max": "max",
        "kubepods/pod2/cpu.max": "100000 100000",
    }
    assert limits(tree(tmp_path, "0::/kubepods/pod1/c\n", V2.format(root="/"), files)) == (3, GIB)


def test_memory_high_counts(tmp_path: Path) -> None:
    files = {"memory.max": str(4 * GIB), "memory.high": str(2 * GIB)}
    assert limits(tree(tmp_path, "0::/\n", V2.format(root="/"), files)) == (8, 2 * GIB)


def test_version_1_with_a_namespace(tmp_path: Path) -> None:
    groups = "4:memory:/\n3:cpu,cpuacct:/\n0::/\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(3 * GIB),
        "devices/cpu.cfs_quota_us": "1",
    }
    assert limits(tree(tmp_path, groups, V1.format(root="/"), files)) == (3, 3 * GIB)


def test_version_1_without_a_namespace(tmp_path: Path) -> None:
    """The path is the host's, and the mount begins in the container's own group; a group inside it is found."""
    groups = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc/inner\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/inner/cpu.cfs_quota_us": "100000",
        "cpu,cpuacct/inner/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert limits(tree(tmp_path, groups, V1.format(root="/docker/abc"), files)) == (1, 16 * GIB)


@pytest.mark.parametrize("path", ["/elsewhere/x", "/../other"])
def test_a_group_that_cannot_be_seen_leaves_what_is_mounted(tmp_path: Path, path: str) -> None:
    root = tree(tmp_path, f"0::{path}\n", V2.format(root="/docker/abc"), {"cpu.max": "200000 100000"})
    assert limits(root) == (2, 16 * GIB)


def test_hybrid_hierarchies_are_both_read(tmp_path: Path) -> None:
    mounts = V1.format(root="/") + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    files = {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}
    assert limits(tree(tmp_path, "3:cpu,cpuacct:/a\n0::/\n", mounts, files)) == (2, 16 * GIB)


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    mounts = "31 23 0:28 / /sys/fs/cgroup/my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert limits(tree(tmp_path, "0::/\n", mounts, {"my groups/cpu.max": "100000 100000"})) == (1, 16 * GIB)


def test_no_groups_at_all(tmp_path: Path) -> None:
    found = read_limits(tmp_path, 4, GIB)
    assert found == Limits(4, "affinity: 4 cores", GIB, "physical memory")


def test_the_affinity_counts_where_it_is_narrower(tmp_path: Path) -> None:
    found = read_limits(tree(tmp_path, "0::/\n", V2.format(root="/"), {"cpu.max": "400000 100000"}), 2)
    assert (found.cores, found.cores_reason) == (2, "affinity: 2 cores")


def test_the_reasons_are_reported(tmp_path: Path) -> None:
    files = {"cpu.max": "150000 100000", "memory.max": str(2 * GIB)}
    found = read_limits(tree(tmp_path, "0::/\n", V2.format(root="/"), files), 8, 16 * GIB)
    assert found.cores_reason == "cgroup CPU quota: 1.5 of 8 cores"
    assert found.memory_reason == "cgroup memory limit: 2048 MiB"


@pytest.mark.parametrize(("fits", "concurrency"), [(0, 1), (1, 1), (3, 3), (9, 8)])
def test_memory_bounds_the_jobs(fits: int, concurrency: int) -> None:
    job = JOB_BYTES + PHOTO_BYTES_A_PIXEL * 10_000_000
    plan = planned_jobs(Limits(8, "all", BASE_BYTES + fits * job + job // 2, "little"), 10_000_000)
    assert plan.concurrency == concurrency
    assert plan.reason.startswith("little" if fits < 8 else "all")


def test_workers_share_the_machine_and_copies_cost_more() -> None:
    limits = Limits(8, "all", 64 * GIB, "much")
    assert planned_jobs(limits, 1000, workers=3).concurrency == 2
    assert planned_jobs(limits, 1000, workers=20).concurrency == 1
    small = Limits(8, "all", 2 * GIB, "little")
    assert planned_jobs(small, 1000, copies=True).concurrency < planned_jobs(small, 1000).concurrency
    job = JOB_BYTES + PHOTO_BYTES_A_PIXEL * 1000
    limits = Limits(8, "all", BASE_BYTES + 6 * job + job // 2, "little")
    assert [planned_jobs(limits, 1000, further_bytes=count * job).concurrency for count in (0, 3, 9)] == [6, 3, 1]


def test_a_real_quota_is_seen() -> None:
    """In a group of its own a process sees its share; needs the right to make one."""
    parents = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu,cpuacct"), Path("/sys/fs/cgroup")]
    group = next((parent for parent in parents if (parent / "cgroup.procs").exists()), parents[0]) / f"t{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        try:
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text("100000 100000")
            else:
                (group / "cpu.cfs_quota_us").write_text("100000")
        except OSError as error:
            pytest.skip(f"no quota can be set here: {error.strerror}")
        script = (
            f"import os, pathlib; pathlib.Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
            "from infra.runtime.machine import read_limits\nprint(read_limits(affinity=4).cores_reason)"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert said == "cgroup CPU quota: 1 of 4 cores\n"
    finally:
        group.rmdir()
