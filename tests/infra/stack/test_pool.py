"""The pool: by the policy, between its bounds, as it was while Redis is away; and processes that are retired."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import redis

from infra.jobs.scaling import Load, Policy
from infra.stack.pool import WorkerPool
from infra.stack.supervisor import ChildProcess, Supervisor
from tests.infra.processes import eventually, gone

if TYPE_CHECKING:
    from pathlib import Path

DRAINING = """
import signal, sys, time
def drain(*_):
    print("draining", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    open(sys.argv[1]).read()  # a fifo: until the test says that the work is done
    sys.exit(0)
signal.signal(signal.SIGUSR2, drain)
print("ready", flush=True)
while True:
    time.sleep(600)
"""


class Hands:
    """Counts, where a stack starts processes."""

    def __init__(self, serving: int = 0) -> None:
        self.count = serving

    def serving(self) -> int:
        return self.count

    def start_one(self) -> None:
        self.count += 1

    def retire_one(self) -> None:
        self.count -= 1


class Scene:
    """A pool between 0 and 4, whose ledger and clock are the test's."""

    def __init__(self, bounds: tuple[int, int] = (0, 4)) -> None:
        self.hands, self.load, self.now = Hands(bounds[0]), Load(), 0.0
        self.reported: list[str] = []
        policy = Policy(target_wait_s=10, startup_s=5)
        self.pool = WorkerPool(self.hands, self.read, policy, bounds, 30, self.reported.append, lambda: self.now)

    def read(self) -> Load:
        if self.load.opened < 0:
            raise redis.ConnectionError("away")
        return self.load

    def at(self, now: float, waiting: int, running: int = 0) -> int:
        self.now = now
        self.load = Load(waiting, running, waiting + running, job_s=1, workers=self.hands.count)
        self.pool.step()
        return self.hands.count


def test_workers_come_at_once_and_go_when_they_were_idle() -> None:
    scene = Scene()
    assert scene.at(0, 0) == 0
    assert scene.at(1, 1) == 1
    assert scene.at(2, 1000) == 4, "no more than at most"
    assert scene.at(20, 0, running=2) == 4
    assert scene.at(33, 0, running=2) == 2
    assert scene.at(40, 0) == 2
    assert scene.at(71, 0) == 0
    assert scene.reported[0] == "1 jobs wait, 0.0 run: 1 workers instead of 0"
    assert len(scene.reported) == 4


def test_the_least_stay() -> None:
    scene = Scene((1, 2))
    assert scene.at(0, 0) == 1
    assert scene.at(1, 100) == 2
    assert scene.at(100, 0) == 1


def test_without_redis_all_stays_as_it_is() -> None:
    scene = Scene()
    scene.at(0, 20)
    count = scene.hands.count
    scene.load, scene.now = Load(opened=-1), 1000.0
    scene.pool.step()
    assert scene.hands.count == count > 0


def test_a_retired_process_ends_by_itself_and_is_forgotten(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda name, line: said.append(f"{name}: {line}"))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = (sys.executable, "-c", DRAINING, str(gate))
    child = ChildProcess("worker", command, dict(os.environ), tmp_path / "log", lambda _name, line: said.append(line))
    try:
        pid = supervisor.add("worker", child, stop_timeout_s=5).pid
        assert pid is not None
        eventually(lambda: "ready" in said)
        supervisor.retire("worker")
        eventually(lambda: "draining" in said)
        assert not gone(pid)
        assert supervisor.processes["worker"].retired
        gate.write_text("done")
        eventually(lambda: not supervisor.processes)
        assert "worker: retired: exit code 0" in said
    finally:
        supervisor.kill()
        supervisor.close()


def test_a_process_that_cannot_hear_yet_just_ends_and_is_not_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _name, _line: None)
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    child = ChildProcess("worker", command, dict(os.environ), tmp_path / "log", lambda _name, _line: None)
    try:
        pid = supervisor.add("worker", child, stop_timeout_s=5).pid
        assert pid is not None
        supervisor.retire("worker")
        eventually(lambda: gone(pid) and not supervisor.processes)
        assert child.ended() == f"killed by {signal.SIGUSR2.name}"
    finally:
        supervisor.kill()
        supervisor.close()


@pytest.mark.parametrize("error", [OSError("no process"), ValueError("whatever")])
def test_a_look_that_fails_is_not_the_last(error: Exception) -> None:
    scene = Scene()
    looks: list[int] = []

    def fail() -> Load:
        looks.append(1)
        raise error

    pool = WorkerPool(scene.hands, fail, Policy(), (0, 1), 1, scene.reported.append, poll_s=0.01)
    pool.start()
    eventually(lambda: len(looks) > 2)
    pool.close()
