"""Enrolments whose version is staged: nothing is answered by it before it is activated, and no attempt makes it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.worker.test_enroll import embedder, ignore, job, runtime, statuses
from tests.worker.test_enroll_near import picture
from worker.enroll import enroll

if TYPE_CHECKING:
    from infra.jobs.records import Job
    from worker.process import Process
    from worker.runtime import Runtime

__all__ = ["embedder", "runtime"]  # the fixtures


def staging(process: Process, runtime: Runtime, *seeds: int) -> Job:
    made = job(process, runtime, [(f"label {seed}", picture(seed)) for seed in seeds])
    return process.ledger.create("enrollment", {**made.request, "activate": False})


def test_the_version_in_force_stays_in_force(process: Process, runtime: Runtime) -> None:
    first = enroll(job(process, runtime, [("label 1", picture(1))]), runtime, ignore)
    assert first["activated"] is True
    result = enroll(staging(process, runtime, 1, 2), runtime, ignore)
    assert statuses(result) == ["duplicate", "added"]  # type: ignore[arg-type]  # a result is a dict
    assert (result["activated"], result["gallery"]["items"]) == (False, 2)
    staged = result["gallery"]["version"]
    assert runtime.store.manifest("drinks").version == first["gallery"]["version"] != staged
    assert runtime.store.activate("drinks", staged).item_count == 2


def test_a_second_attempt_finds_the_version_that_the_first_one_staged(process: Process, runtime: Runtime) -> None:
    enroll(job(process, runtime, [("label 1", picture(1))]), runtime, ignore)
    enrollment = staging(process, runtime, 2, 3)
    first = enroll(enrollment, runtime, ignore)  # and the worker dies before the end is written
    assert enroll(enrollment, runtime, ignore) == first
    versions = runtime.store.versions("drinks")
    assert max(versions) == first["gallery"]["version"]


def test_where_all_is_there_already_nothing_is_staged(process: Process, runtime: Runtime) -> None:
    first = enroll(job(process, runtime, [("label 1", picture(1))]), runtime, ignore)
    result = enroll(staging(process, runtime, 1), runtime, ignore)
    assert statuses(result) == ["duplicate"]  # type: ignore[arg-type]  # as above
    assert (result["activated"], result["gallery"]) == (True, first["gallery"])
