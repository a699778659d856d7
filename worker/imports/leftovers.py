"""Removes what imports leave: all but the report once one has succeeded, the rest when its record has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors.jobs import JobExpired, JobNotFound
from infra.galleries.staging import Stage, staged
from infra.jobs.records import ALPHABET, JobStatus

if TYPE_CHECKING:
    from infra.jobs.ledger import JobLedger
    from infra.objects.store import ObjectStore

GRACE_S = 86_400.0  # from an upload's first byte to its job: an upload of gigabytes takes its time


def clear_imports(objects: ObjectStore, ledger: JobLedger) -> int:
    """The number of objects that were removed. May be repeated; a failed import keeps everything, for its replay."""
    removed = 0
    for import_id in staged(objects):
        stage = Stage(objects, import_id)
        try:
            job = ledger.get(import_id)
        except JobExpired:
            removed += stage.clear()
        except JobNotFound:  # its upload is under way, or nobody ever promised the job
            if made_at(import_id) + GRACE_S < ledger.time():
                removed += stage.clear()
        else:
            if job.status in {JobStatus.SUCCEEDED, JobStatus.CANCELED}:
                removed += stage.clear(keep_report=job.status is JobStatus.SUCCEEDED)
    return removed


def made_at(job_id: str) -> float:
    """When an id was made, in seconds since 1970: its first ten characters are milliseconds. 0: it is none."""
    number = 0
    for character in job_id.partition("_")[2][:10]:
        if character not in ALPHABET:
            return 0.0
        number = number << 5 | ALPHABET.index(character)
    return number / 1000
