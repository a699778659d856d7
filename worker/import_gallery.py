"""One import job: the files or the place of its request in, one version of its gallery out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contracts.jobs import JobKind
from infra.galleries.staging import Stage
from infra.jobs.records import isoformat
from worker.imports.batch_maker import Wanted
from worker.imports.importer import Importer
from worker.imports.sources import opened_source, opened_stage
from worker.lease_keeper import GIVES_WAY, StopWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from contracts.imports import ImportResult
    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Runtime

TURN_S = 20.0  # of work, after which other jobs that wait come first: an import may take hours
QUICK = set(JobKind) - {JobKind.IMPORT, JobKind.EVALUATION, JobKind.LINT, JobKind.REEMBEDDING}


def import_gallery(
    job: Job, runtime: Runtime, checkpoint: Checkpoint, waits: Callable[[], bool] = lambda: False
) -> ImportResult:
    """The `result` of `job`. `waits`: whether other jobs wait for this worker; then it stops after a while, and resumes later."""
    request = job.request
    stage = Stage(runtime.objects, job.id)
    wanted = Wanted(job.id, request["gallery"], str(isoformat(job.created_at)), request["crop"], request["activate"])
    began = time.monotonic()

    def give_way() -> None:
        if time.monotonic() - began > TURN_S and waits():
            raise StopWork(GIVES_WAY)

    if request["source"] is not None:
        opened = opened_source(request["source"], request["list"], request["delimiter"], runtime.settings)
    else:
        opened = opened_stage(stage, request["files"], request["delimiter"], runtime.settings)
    with opened as source:
        return Importer(wanted, source, stage, runtime, checkpoint).run(give_way)


def others_wait(ledger: JobLedger) -> bool:
    """Whether quicker jobs wait for a worker."""
    waiting = ledger.forecast.snapshot().waiting
    return any(count for kind in QUICK for count in waiting[kind].values())
