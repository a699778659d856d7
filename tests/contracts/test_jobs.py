"""A kind of job is one member of JobKind: whoever works with kinds has something for each of them."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from celery import Celery

from contracts.jobs import JobKind, JobState
from infra.jobs.records import JOB_ID, QUEUES, new_id
from web.openapi.description import routes
from web.routes import bare
from worker import tasks

SHARED = {"", "/cancel", "/replay", "/webhook/replay", "/events"}


def test_no_two_kinds_share_anything() -> None:
    for members in zip(*[(kind.value, kind.prefix, kind.path, kind.queue) for kind in JobKind], strict=True):
        assert len(set(members)) == len(JobKind)


@pytest.mark.parametrize("kind", JobKind)
def test_a_kind_has_ids_a_queue_a_task_and_its_routes(kind: JobKind) -> None:
    job_id = new_id(kind.prefix, 1.0)
    assert JOB_ID.fullmatch(job_id)
    assert JobKind.of(job_id) is kind
    assert JobKind(str(kind)) is kind
    assert kind.queue in QUEUES
    app = Celery("kinds", set_as_current=False)
    app.finalize()
    assert kind.task in app.tasks, tasks.__name__
    paths = {route.path for route in routes(bare())}
    assert {f"{kind.path}/{{job_id}}{end}" for end in SHARED} <= paths


def test_the_json_knows_all_kinds() -> None:
    assert set(get_args(get_type_hints(JobState)["kind"])) == {kind.value for kind in JobKind}


@pytest.mark.parametrize("text", ["", "job_1", "recognition"])
def test_what_is_no_id_has_no_kind(text: str) -> None:
    with pytest.raises(ValueError, match="no id of a job"):
        JobKind.of(text)
