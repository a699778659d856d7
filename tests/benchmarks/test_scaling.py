"""The simulation of scaling: every job is done, costs are counted from start to end, logs are read as recordings."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.scaling import HERE, Rule, best_fixed, fixed, recorded, simulate, synthetic, table
from infra.jobs.records import new_id

EVENLY = [(float(at), 1.0) for at in range(60)]


def test_a_fixed_pool_costs_its_time_and_waits_for_its_start() -> None:
    outcome = simulate(EVENLY, fixed(1), startup_s=5)
    assert len(outcome.waits) == len(EVENLY)
    assert outcome.waits[0] == pytest.approx(5)
    assert outcome.waits[-1] == 0, "two places, one job a second: it has caught up"
    assert (outcome.starts, outcome.worker_s) == (1, pytest.approx(59 + 60 + 5, abs=10)), "to the end of the scene"


def test_a_retired_worker_ends_what_it_runs() -> None:
    jobs = [(0.0, 100.0), (0.0, 1.0)]
    forgetful = Rule("none while nothing waits", lambda load: math.ceil(load.waiting), 1.0, 0.0)
    outcome = simulate(jobs, forgetful, startup_s=2)
    assert len(outcome.waits) == len(jobs)
    assert outcome.worker_s >= 102


def test_the_best_fixed_pool_is_the_smallest_that_is_fast_enough() -> None:
    jobs = [(at / 4, 1.0) for at in range(400)]  # four places are busy
    assert best_fixed(jobs, startup_s=1).name == "fixed 2"


def test_the_same_arrivals_every_time_and_of_every_shape() -> None:
    first, again = synthetic(), synthetic()
    assert first == again
    assert first.keys() == {"burst", "step", "diurnal", "trickle"}


def test_a_workers_log_is_a_recording() -> None:
    ended = [
        {"job_id": new_id("rec", 1_800_000_000.0 + at), "outcome": "succeeded", "duration_ms": took}
        for at, took in ((3.0, 250.0), (1.0, 500.0))
    ]
    lines = [json.dumps(line) for line in (*ended, {**ended[0], "outcome": "retried"}, {"message": "x"})]
    assert recorded(["Traceback", *lines]) == [(0.0, 0.5), (pytest.approx(2.0, abs=0.002), 0.25)]


def test_the_runbook_has_the_figures_that_were_written() -> None:
    rows = json.loads((HERE / "scaling.json").read_text(encoding="utf-8"))["rows"]
    runbook = (HERE.parent / "docs/runbook.md").read_text(encoding="utf-8")
    assert [line for line in table(rows).splitlines() if line not in runbook] == []
