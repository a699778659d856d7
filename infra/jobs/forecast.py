"""Where an open job stands and when it will have ended: from what jobs took lately, and the workers that live.

shitu:jobs:service   hash   {kind}:n, {kind}:job, {kind}:unit: jobs that succeeded, and the smoothed seconds that one
                            took, and one of its units (a picture of an enrolment); written with each success.
                            worker:startup, worker:slots: a worker's start in seconds, and its jobs at a time
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contracts.jobs import PRIORITIES, JobKind
from infra.jobs import scripts
from infra.jobs.lanes import AHEAD, lane_key, place
from infra.jobs.presence import ready

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from contracts.jobs import Priority, QueueState
    from infra.jobs.records import Job

SERVICE = "shitu:jobs:service"
LEAST_LEFT = 0.1  # of its usual time, for a job that has taken longer than usual


@dataclass(frozen=True)
class Snapshot:
    """The queues at one moment, `now`. `rank`: how many jobs stood before the given one in its lane;
    `ahead`: how many would stand before a new one of the given owner.
    """

    now: float
    waiting: Mapping[JobKind, Mapping[Priority, int]]
    rank: int | None
    processing: int
    slots: Mapping[JobKind, int]  # jobs at a time of the live workers that take this kind
    service: Mapping[str, float]
    ahead: Mapping[JobKind, Mapping[Priority, int]]

    def of_new(self, kind: JobKind, priority: Priority, units: int = 1, behind: int = 0) -> QueueState:
        """Of a job that is about to be created; `behind` others that are created before it."""
        return self._of_waiting(kind, priority, self.ahead[kind][priority] + behind, units)

    def of(self, job: Job) -> QueueState:
        """Of an open job."""
        if job.status == "queued":
            ahead = self.waiting[job.kind][job.priority] if self.rank is None else self.rank
            return self._of_waiting(job.kind, job.priority, ahead, job.units)
        usual_s = self._own_s(job.kind, job.units)
        if usual_s is None or job.started_at is None:
            return {"position": 0, "eta_s": None}
        left_s = max(usual_s - (self.now - job.started_at), LEAST_LEFT * usual_s)
        return {"position": 0, "eta_s": round(left_s, 2)}

    def _of_waiting(self, kind: JobKind, priority: Priority, ahead: int, units: int) -> QueueState:
        position = place(ahead, self.waiting[kind], priority)
        own_s, wait_s = self._own_s(kind, units), self._wait_s(kind, position, self.slots[kind])
        if own_s is None or wait_s is None:  # nothing was measured, or nobody works
            return {"position": position, "eta_s": None}
        return {"position": position, "eta_s": round(wait_s + own_s, 2)}

    def wait_s(self, kind: JobKind, priority: Priority, behind: int = 0) -> float | None:
        """How long a job that is about to be created would wait for its turn, `behind` others; None: nothing was measured.

        Where nobody works, as if one worker did.
        """
        position = place(self.ahead[kind][priority] + behind, self.waiting[kind], priority)
        return self._wait_s(kind, position, max(1, self.slots[kind]))

    def _wait_s(self, kind: JobKind, position: int, slots: int) -> float | None:
        job_s = self.service.get(f"{kind}:job")
        if job_s is None or not slots:
            return None
        before_s = (position - 1) * job_s
        for other in JobKind:  # queues of the same workers are served by turns
            if other is not kind and self.slots[other]:
                jobs = min(sum(self.waiting[other].values()), position)
                before_s += jobs * self.service.get(f"{other}:job", 0.0)
        free = max(0, slots - self.processing)
        return max(0.0, before_s + job_s - free * job_s) / slots

    def _own_s(self, kind: JobKind, units: int) -> float | None:
        unit_s = self.service.get(f"{kind}:unit")
        return None if unit_s is None else unit_s * max(1, units)


class Forecast:
    """The part of the ledger that looks ahead; may be used by many threads. `now` as in JobLedger."""

    def __init__(self, client: redis.Redis, now: Callable[[], float] | None) -> None:
        self._redis = client
        self._now = now

    def snapshot(self, job: Job | None = None, owner: str = "") -> Snapshot:
        """The queues now, with the place of `job` in its lane, or with those of new ones of `owner`."""
        lanes = [(kind, priority) for kind in JobKind for priority in PRIORITIES]
        keys = [lane_key(*lane) for lane in lanes]
        place_of = (owner, "", 0) if job is None else (job.owner, job.id, 1 + lanes.index((job.kind, job.priority)))
        with self._redis.pipeline(transaction=True) as pipe:  # every accepted job asks: one round trip
            pipe.zcard(scripts.OPEN)
            pipe.zcard(scripts.QUEUED)
            pipe.hgetall(SERVICE)
            pipe.eval(AHEAD, len(keys), *keys, *place_of)
            pipe.hgetall(scripts.WORKERS)
            pipe.time()
            answers: list[Any] = pipe.execute()
        opened, queued, service, (befores, counts), workers, (seconds, microseconds) = answers
        now = float(seconds + microseconds / 1e6) if self._now is None else self._now()
        waiting: dict[JobKind, dict[Priority, int]] = {kind: {} for kind in JobKind}
        ahead: dict[JobKind, dict[Priority, int]] = {kind: {} for kind in JobKind}
        for (kind, priority), count, before in zip(lanes, counts, befores, strict=True):
            waiting[kind][priority] = int(count)
            ahead[kind][priority] = before or 0
        slots = dict.fromkeys(JobKind, 0)
        for worker in ready(workers, now):
            for kind in JobKind:
                if kind.queue in worker.info.get("queues", ()):
                    slots[kind] += int(worker.info.get("concurrency", 1))
        return Snapshot(
            now=now,
            waiting=waiting,
            rank=None if job is None else befores[place_of[2] - 1],
            processing=max(0, opened - queued),
            slots=slots,
            service={str(name): float(value) for name, value in service.items()},
            ahead=ahead,
        )

    def note(self, name: str, value: float) -> None:
        """Smooths a measured `value` into the others of its name, as the jobs' times are."""
        old = self._redis.hget(SERVICE, name)
        smoothed = value if old is None else 0.7 * float(str(old)) + 0.3 * value
        self._redis.hset(SERVICE, name, f"{smoothed:.3f}")

    def of(self, job: Job) -> QueueState:
        """Snapshot.of, now."""
        return self.snapshot(job).of(job)
