"""What a worker process says about itself, and how it notices that it lives without working."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import worker.process
from infra.jobs.load import SLOTS, STARTUP
from infra.jobs.queue import Queue, make_celery
from infra.runtime.settings import Settings
from tests.infra.processes import eventually
from worker.embedders import Embedders
from worker.process import Process


def test_a_process_that_takes_nothing_while_messages_wait_is_stalled(settings: Settings) -> None:
    clock = [0.0]
    process = Process(settings, Queue(make_celery(settings)), {"recognize"}, None, clock=lambda: clock[0])
    with process.working("recognize"):
        clock[0] = 100.0
        assert not process.stalled(waiting=5)  # it works on a long one
    clock[0] = 150.0
    assert not process.stalled(waiting=5)
    clock[0] = 161.0
    assert process.stalled(waiting=5)
    assert not process.stalled(waiting=0)  # nothing waits: nothing to take
    assert not process.stalled(waiting=5)  # and from now on it has its time again


def test_a_process_says_how_busy_it_was_since_its_last_heartbeat(settings: Settings) -> None:
    clock = [0.0]
    queue = Queue(make_celery(settings))
    process = Process(settings, queue, {"recognize"}, None, clock=lambda: clock[0], concurrency=2)
    with process.working("recognize"):
        clock[0] = 4.0
        assert process.busy_ratio() == 0.5  # of two places one, all the time: also of a job that has not ended
        clock[0] = 6.0
    clock[0] = 8.0
    assert process.busy_ratio() == 0.25
    assert process.busy_ratio() == 0.0


FROZEN = """
import ctypes, time
from infra.jobs.queue import Queue, make_celery
from infra.runtime.settings import load_settings
from worker.embedders import Embedders
from worker.process import Process

settings = load_settings()
process = Process(settings, Queue(make_celery(settings)), {"recognize"}, None, frozen_s=1.0)
process.announce()
time.sleep(2.5)
print("well", flush=True)
ctypes.PyDLL(None).sleep(60)  # a call that keeps the GIL, as native code does that waits for another thread
"""


def test_a_frozen_process_ends_itself_and_says_where_it_stood(settings: Settings) -> None:
    """No thread of it runs any more, so that neither its leases nor its heartbeat nor a signal handler could notice."""
    short = dataclasses.replace(settings, worker=dataclasses.replace(settings.worker, heartbeat_s=0.5))
    done = subprocess.run(
        [sys.executable, "-c", FROZEN],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **short.to_env()},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "well\n"  # it slept for longer than it may be frozen, with its heart beating
    assert done.returncode == 1
    assert "most recent call first" in done.stderr
    assert "<module>" in done.stderr


def test_every_task_stamps_its_queue(process: Process) -> None:
    with process.working("enroll"):
        assert "enroll" in process.ledger.presence.consumed_age_s()


def test_tasks_need_an_open_process() -> None:
    with pytest.raises(RuntimeError, match="no worker process is open"):
        worker.process.current()


def test_a_courier_has_no_models(process: Process) -> None:
    with pytest.raises(RuntimeError, match="without models"):
        _ = process.runtime


def test_a_drained_process_is_counted_on_no_more_though_it_works_on(settings: Settings) -> None:
    quick = dataclasses.replace(settings, worker=dataclasses.replace(settings.worker, heartbeat_s=0.05))
    runtime: Any = SimpleNamespace(models={}, embedders=Embedders())
    drained = Process(quick, Queue(make_celery(quick)), {"recognize"}, runtime, concurrency=2)
    drained.announce()
    eventually(drained.ledger.presence.workers)
    eventually(lambda: drained.ledger.forecast.snapshot().service.get(STARTUP, 0) > 0)
    assert drained.ledger.forecast.snapshot().service[SLOTS] == 2
    drained.drain(math.inf)
    eventually(lambda: not drained.ledger.presence.workers())
    assert not drained.must_stop()
