"""The scaling policy: what it wants of each load, and when it lets workers go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.jobs.scaling import Load, Policy, Settled, wanted_workers

POLICY = Policy(target_wait_s=10)
MEASURED = Load(job_s=0.5, slots=2, startup_s=5)


def load(waiting: int = 0, running: int = 0, **changes: float) -> Load:
    return replace(MEASURED, waiting=waiting, running=running, opened=waiting + running, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (load(), 0),
        (load(waiting=1), 1),
        (replace(MEASURED, opened=1), 1),  # it waits for its retry, but it is open
        (load(waiting=100), 3),  # 50 s of work in 10 s: five places
        (load(waiting=100, oldest_age_s=4), 3),  # no worker could have been there yet
        (load(waiting=100, oldest_age_s=10), 5),  # five seconds late: five are left
        (load(waiting=100, oldest_age_s=600), 10),  # hurried, but with a bound
        (load(running=5), 3),  # a steady load keeps its places
        (load(waiting=10, running=2, workers=1), 1),  # done in five seconds by who is there
        (load(waiting=100, running=2, workers=1), 4),
        (load(waiting=100, running=2, workers=8), 4),
        (load(waiting=3, job_s=60), 2),  # long jobs: a place for each, and no more
        (load(waiting=11, workers=14, job_s=12), 6),  # nor where more are there already
        (Load(waiting=5, opened=5), 1),  # nothing was measured
    ],
)
def test_what_a_load_asks_for(given: Load, wanted: int) -> None:
    assert wanted_workers(given, POLICY) == wanted


def test_a_worker_that_comes_too_late_is_not_asked_for() -> None:
    waiting = load(waiting=60, running=2, workers=1)  # 15 s of work for the one that is there
    assert wanted_workers(waiting, POLICY) > 1
    assert wanted_workers(waiting, Policy(10, startup_s=20)) == 1


loads = st.builds(
    lambda waiting, running, extra, **rest: Load(waiting, running, waiting + running + extra, **rest),
    *(st.integers(0, 10_000), st.integers(0, 100), st.integers(0, 10)),
    oldest_age_s=st.floats(0, 1e6),
    job_s=st.none() | st.floats(0.001, 600),
    workers=st.integers(0, 100),
    slots=st.integers(0, 64),
    startup_s=st.none() | st.floats(0.1, 600),
)


@given(loads)
def test_it_is_zero_only_without_open_jobs_and_never_more_than_the_jobs_fill(load: Load) -> None:
    wanted = wanted_workers(load, POLICY)
    assert (wanted == 0) == (load.opened == 0)
    assert wanted <= max(1, load.waiting + load.running)
    assert load.running <= wanted * max(1, load.slots) or not load.opened


@given(loads, st.integers(1, 1000))
def test_more_waiting_jobs_never_want_fewer_workers(load: Load, more: int) -> None:
    longer = replace(load, waiting=load.waiting + more, opened=load.opened + more)
    assert wanted_workers(longer, POLICY) >= wanted_workers(load, POLICY)


def test_more_are_in_force_at_once_and_fewer_when_they_were_idle_for_long_enough() -> None:
    settled = Settled(idle_s=10)
    steps = [(0, 1), (1, 4), (2, 2), (5, 3), (11, 0), (12, 0), (15, 0), (16, 0), (21, 0), (22, 0)]
    assert [settled(at, wanted) for at, wanted in steps] == [1, 4, 4, 4, 4, 3, 3, 0, 0, 0]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 9)), min_size=1, max_size=60))
def test_settled_is_the_largest_of_the_window(steps: list[tuple[float, int]]) -> None:
    settled, now, seen = Settled(idle_s=7), 0.0, []
    for pause, wanted in steps:
        now += pause
        seen.append((now, wanted))
        assert settled(now, wanted) == max(number for at, number in seen if at >= now - 7)
