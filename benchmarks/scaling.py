"""Compares the scaling policy with others in a simulation: `python -m benchmarks.scaling [--recorded worker.log] [--out FOLDER]`.

A discrete-event simulation of one queue, first in, first out, in front of workers that take a while to start, cost from
their start to their end, and end what they run before they go. The policy is the code that runs (infra.jobs.scaling), the
others are what KEDA offers: replicas by the length of the queue. Arrivals are synthetic, and recorded ones: a job's id has
the time at which it was accepted, so each worker's log (JSON lines) is a recording, with what the jobs took.

Writes benchmarks/scaling.json and docs/images/scaling.png (with matplotlib, of the extra `train`).
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infra.jobs.records import ALPHABET
from infra.jobs.scaling import Load, Policy, Settled, wanted_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "docs" / "images" / "scaling.png"
JOB_S = 0.5  # of the synthetic jobs, on average; lognormal
SLOTS = 2
MOST = 12
TARGET_S = 10.0
STARTUPS = {"laptop": 6.0, "cluster": 45.0}  # a process with its models; a machine, an image and that
IDLE_S = 60.0
HEARTBEAT_S = 5.0
Jobs = list[tuple[float, float]]  # (when it arrives, how long it takes), in seconds, by arrival


@dataclass
class Worker:
    """One worker of the simulation."""

    started_at: float
    ready: bool = False
    retired: bool = False
    running: int = 0


class _Average:
    """How many jobs ran on average since the heartbeat before the last one, as the workers report it."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._at = every_s, 0.0
        self._since, self._busy_s, self._reported = 0.0, 0.0, 0.0

    def note(self, now: float, running: int) -> None:
        """`running` jobs until `now`."""
        self._busy_s += running * (now - self._at)
        self._at = now
        if now - self._since >= self._every_s:
            self._reported, self._busy_s, self._since = self._busy_s / (now - self._since), 0.0, now

    def reported(self) -> float:
        """What was reported last."""
        return self._reported


@dataclass
class Rule:
    """A way to choose: `wanted(load)` every `poll_s` seconds, and the largest of the last `idle_s` seconds in force."""

    name: str
    wanted: Callable[[Load], int]
    poll_s: float
    idle_s: float


@dataclass
class Outcome:
    """Waits in seconds, in the order of the starts; `worker_s`: what the workers cost; `trace`: (time, workers)."""

    waits: list[float] = field(default_factory=list)
    worker_s: float = 0.0
    starts: int = 0
    trace: list[tuple[float, int]] = field(default_factory=list)

    @property
    def p95_s(self) -> float:
        """The wait that 95 of a hundred jobs do not exceed."""
        return float(np.quantile(self.waits, 0.95))


def simulate(jobs: Jobs, rule: Rule, startup_s: float, most: int = MOST) -> Outcome:
    """All jobs done, by workers that the rule starts and retires; jobs are retired from, never cut."""
    outcome, settled = Outcome(), Settled(rule.idle_s)
    workers: list[Worker] = []
    queue: deque[tuple[float, float]] = deque()
    order = count()  # of events at one moment
    events: list[tuple[float, int, str, object]] = [(at, next(order), "job", (at, took)) for at, took in jobs]
    heapq.heapify(events)
    heapq.heappush(events, (0.0, next(order), "look", None))
    left, until = len(jobs), jobs[-1][0] + IDLE_S + startup_s
    now, job_s = 0.0, None
    busy = _Average(HEARTBEAT_S)

    def leave(worker: Worker) -> None:
        workers.remove(worker)
        outcome.worker_s += now - worker.started_at

    def take() -> None:
        for worker in workers:
            while queue and worker.ready and not worker.retired and worker.running < SLOTS:
                arrived, took = queue.popleft()
                outcome.waits.append(now - arrived)
                worker.running += 1
                heapq.heappush(events, (now + took, next(order), "end", (worker, took)))

    def look() -> None:
        running = sum(worker.running for worker in workers)
        load = Load(
            waiting=len(queue),
            running=busy.reported(),
            opened=len(queue) + running,
            oldest_age_s=now - queue[0][0] if queue else 0.0,
            job_s=job_s,
            workers=sum(worker.ready and not worker.retired for worker in workers),
            slots=SLOTS,
            startup_s=startup_s,
        )
        target = settled(now, min(most, rule.wanted(load)))
        serving = [worker for worker in workers if not worker.retired]
        for _ in range(len(serving), target):
            workers.append(Worker(now))
            outcome.starts += 1
            heapq.heappush(events, (now + startup_s, next(order), "ready", workers[-1]))
        for worker in reversed(serving[target:]):
            worker.retired = True
            if not worker.running:
                leave(worker)
        outcome.trace.append((now, len(workers)))

    while events and (left or now < until):
        now, _, what, about = heapq.heappop(events)
        busy.note(now, sum(worker.running for worker in workers))
        if what == "job":
            queue.append(about)  # type: ignore[arg-type]
        elif what == "ready":
            about.ready = True  # type: ignore[attr-defined]
        elif what == "end":
            worker, took = about  # type: ignore[misc]
            worker.running -= 1
            left -= 1
            job_s = took if job_s is None else job_s + 0.1 * (took - job_s)
            if worker.retired and not worker.running:
                leave(worker)
        else:
            look()
            heapq.heappush(events, (now + rule.poll_s, next(order), "look", None))
        take()
    for worker in list(workers):
        leave(worker)
    return outcome


def arrivals(rate: Callable[[float], float], for_s: float, seed: int) -> Jobs:
    """A Poisson process of `rate(t)` jobs a second, by thinning; jobs of lognormal length."""
    chance, now, most, found = random.Random(seed), 0.0, max(rate(float(t)) for t in range(int(for_s))), []
    while (now := now + chance.expovariate(most)) < for_s:
        if chance.random() * most < rate(now):
            found.append((now, chance.lognormvariate(math.log(JOB_S) - 0.125, 0.5)))
    return found


def synthetic() -> dict[str, Jobs]:
    """The four shapes, of an hour each (diurnal: a day in two hours)."""
    return {
        "burst": arrivals(lambda t: 20.0 if 600 <= t % 1800 < 660 else 0.2, 3600, 1),
        "step": arrivals(lambda t: 12.0 if t >= 1200 else 1.0, 3600, 2),
        "diurnal": arrivals(lambda t: 6.0 * (1 - math.cos(2 * math.pi * t / 7200)) + 0.1, 7200, 3),
        "trickle": arrivals(lambda _t: 1 / 100, 3600, 4),
    }


def recorded(lines: Sequence[str]) -> Jobs:
    """The jobs of a worker's log: when each was accepted, from its id, and what its last attempt took."""
    found = {}
    for line in lines:
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("outcome") == "succeeded" and "job_id" in said:
            time_ms = 0
            for letter in said["job_id"].partition("_")[2][:10]:
                time_ms = 32 * time_ms + ALPHABET.index(letter)
            found[said["job_id"]] = (time_ms / 1000, said["duration_ms"] / 1000)
    jobs = sorted(found.values())
    return [(at - jobs[0][0], took) for at, took in jobs]


def rules(startup_s: float, job_s: float) -> list[Rule]:
    """Ours, and KEDA's count of the queue and of the open jobs: as many as one worker does in the wanted wait each."""
    each = max(1.0, SLOTS * TARGET_S / job_s)
    policy = Policy(TARGET_S, startup_s)
    return [
        Rule("policy", lambda load: wanted_workers(load, policy), 1.0, IDLE_S),
        Rule("policy by KEDA", lambda load: wanted_workers(load, policy), 5.0, IDLE_S),
        Rule("KEDA queue length", lambda load: math.ceil(load.waiting / each), 5.0, IDLE_S),
        Rule("KEDA open jobs", lambda load: math.ceil(load.opened / each), 5.0, IDLE_S),
        Rule("KEDA queue, defaults", lambda load: math.ceil(load.waiting / each), 30.0, 300.0),
    ]


def fixed(workers: int) -> Rule:
    """A pool that does not scale."""
    return Rule(f"fixed {workers}", lambda _load: workers, 10.0, 0.0)


def best_fixed(jobs: Jobs, startup_s: float) -> Rule:
    """The smallest fixed pool whose p95 keeps the wanted wait: known only afterwards."""
    for workers in range(1, MOST):
        if simulate(jobs, fixed(workers), startup_s).p95_s <= TARGET_S:
            return fixed(workers)
    return fixed(MOST)


def compare(shapes: dict[str, Jobs]) -> list[dict[str, object]]:
    """A row for each place, shape and rule."""
    rows: list[dict[str, object]] = []
    for place, startup_s in STARTUPS.items():
        for shape, jobs in shapes.items():
            job_s = sum(took for _, took in jobs) / len(jobs)
            for rule in (*rules(startup_s, job_s), best_fixed(jobs, startup_s)):
                outcome = simulate(jobs, rule, startup_s)
                assert len(outcome.waits) == len(jobs)
                rows.append(
                    {
                        "place": place,
                        "arrivals": shape,
                        "jobs": len(jobs),
                        "rule": rule.name,
                        "p95_wait_s": round(outcome.p95_s, 1),
                        "worker_minutes": round(outcome.worker_s / 60, 1),
                        "starts": outcome.starts,
                    }
                )
    return rows


def draw(shapes: dict[str, Jobs], rows: list[dict[str, object]], path: Path) -> None:
    """Cost against p95 wait for each place and shape."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(STARTUPS), len(shapes), figsize=(3.1 * len(shapes), 6.4), squeeze=False)
    marks = "o^sDvX"
    for (place, startup_s), line in zip(STARTUPS.items(), axes, strict=True):
        for shape, axis in zip(shapes, line, strict=True):
            chosen = [row for row in rows if (row["place"], row["arrivals"]) == (place, shape)]
            for row, mark in zip(chosen, marks, strict=True):
                label = "best fixed pool (in hindsight)" if str(row["rule"]).startswith("fixed") else str(row["rule"])
                axis.plot(
                    row["worker_minutes"], max(0.05, float(str(row["p95_wait_s"]))), mark, label=label, ms=8, alpha=0.8
                )
            axis.axhline(TARGET_S, color="grey", lw=0.7, ls=":")
            axis.set_yscale("log")
            axis.set_ylim(0.03, 150)
            axis.yaxis.set_major_formatter("{x:g}")
            axis.set_xlim(left=0)
            axis.set_title(f"{shape}, start {startup_s:g} s", fontsize=10)
            axis.set_xlabel("worker minutes", fontsize=8)
            axis.tick_params(labelsize=8)
        line[0].set_ylabel("p95 wait, s")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, fontsize=9)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=110)


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown: p95 wait in seconds / worker minutes, a column for each rule."""
    names = ["policy", "policy by KEDA", "KEDA queue length", "KEDA open jobs", "KEDA queue, defaults", "best fixed"]
    lines = [f"| start, arrivals | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    keys = dict.fromkeys((row["place"], row["arrivals"]) for row in rows)
    for place, shape in keys:
        chosen = [row for row in rows if (row["place"], row["arrivals"]) == (place, shape)]
        cells = [f"{row['p95_wait_s']} / {row['worker_minutes']}" for row in chosen]
        cells[-1] += f" ({chosen[-1]['rule']})"
        lines.append(f"| {STARTUPS[str(place)]:g} s, {shape} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compares, prints the table, writes figures and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recorded", type=Path, default=HERE / "scaling_recorded.jsonl", help="a worker's log, JSON lines"
    )
    parser.add_argument("--out", type=Path, default=HERE / "scaling.json")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    words = parser.parse_args()
    shapes = synthetic()
    if words.recorded.is_file():
        shapes["recorded"] = recorded(words.recorded.read_text(encoding="utf-8").splitlines())
    rows = compare(shapes)
    words.out.write_text(json.dumps({"target_wait_s": TARGET_S, "slots": SLOTS, "rows": rows}, indent=1) + "\n")
    draw(shapes, rows, words.picture)
    print(table(rows))


if __name__ == "__main__":
    main()
