"""How many workers are wanted: one function of what the ledger holds, without I/O.

`shitu up --workers 0..4` starts and stops processes by it, and the metric `shitu_workers_wanted` hands the same number to
KEDA or any other autoscaler. benchmarks/scaling.py simulates it next to the usual rules.

It counts places, not for a queue's length: what runs keeps its place (under a steady load that is the load itself), and
what waits gets as many as end it within the wanted wait. A worker that would only be ready after the others have done the
work is not wanted: that is where the start-up time counts.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

UNMEASURED_JOB_S = 1.0  # until the first job has been measured
UNMEASURED_STARTUP_S = 10.0  # until the first worker has been
SHORTEST_SHARE = 0.25  # of the wanted wait: work that is late already is hurried by this factor at most


@dataclass(frozen=True)
class Load:
    """The ledger at one moment. Times are seconds.

    `waiting`: jobs that a worker could take now; `running`: jobs in workers' hands, on average
    since their last heartbeats, for a moment's chance must hire nobody; `opened`: all that have not ended,
    those too that wait for a retry or for a courier. `oldest_age_s`: of the longest waiting one. `job_s`: what a job of
    those that wait takes, `startup_s`: a worker from its start to its first job; None: nothing was measured yet.
    `workers`: ready now; `slots`: jobs at a time of one of them.
    """

    waiting: int = 0
    running: float = 0
    opened: int = 0
    oldest_age_s: float = 0.0
    job_s: float | None = None
    workers: int = 0
    slots: int = 1
    startup_s: float | None = None


@dataclass(frozen=True)
class Policy:
    """What is wanted: a job begins within about `target_wait_s` seconds; `startup_s`: instead of the measured one."""

    target_wait_s: float = 10.0
    startup_s: float | None = None


def wanted_workers(load: Load, policy: Policy) -> int:
    """How many workers there should be for `load`: 0 only if no job is open."""
    if not load.opened:
        return 0
    slots = max(1, load.slots)
    job_s = load.job_s or UNMEASURED_JOB_S
    startup_s = policy.startup_s or load.startup_s or UNMEASURED_STARTUP_S
    most = math.ceil((load.running + load.waiting) / slots)  # more places than jobs help nobody
    work_s = load.waiting * job_s
    if load.workers and work_s <= load.workers * slots * startup_s:
        # Those that are there will have done it before another one could begin.
        places = load.running + work_s / policy.target_wait_s
        return max(1, math.ceil(load.running / slots), min(load.workers, math.ceil(places / slots), most))
    # No worker can begin before it has started: what has waited for that alone is not late.
    late_s = max(0.0, load.oldest_age_s - startup_s)
    within_s = max(policy.target_wait_s - late_s, SHORTEST_SHARE * policy.target_wait_s)
    places = load.running + work_s / within_s
    return max(1, min(math.ceil(places / slots), most))


class Settled:
    """The largest number wanted within the last `idle_s` seconds: more at once, fewer only when they were idle so long.

    The rule of Kubernetes' autoscaler (`stabilizationWindowSeconds`). Not for several threads.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._wanted: deque[tuple[float, int]] = deque()  # falling numbers: only these can still be the largest

    def __call__(self, now: float, wanted: int) -> int:
        """The number in force at `now` (seconds of any clock that never goes back)."""
        while self._wanted and self._wanted[-1][1] <= wanted:
            self._wanted.pop()
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self._idle_s:
            self._wanted.popleft()
        return self._wanted[0][1]
