"""What the tests of the ledger share: a request, short settings, a queue that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.jobs import JobKind
from infra.jobs.ledger import Job, JobEvent, JobLedger, Lease
from infra.runtime.settings import JobSettings

JOBS = JobSettings(lease_s=30, queued_deadline_s=120, max_attempts=3, retention_s=1000, tombstone_s=5000)
REQUEST = {"gallery": "drinks", "image": {"key": "images/ab/abc"}, "options": {}}


@dataclass
class RecordingQueue:
    """Remembers what was published, where Celery would carry it."""

    published: list[tuple[str, str]] = field(default_factory=list)

    def publish(self, kind: JobKind, job_id: str) -> bool:
        self.published.append((kind.queue, job_id))
        return True

    def fetch(self, job_id: str) -> bool:
        self.published.append(("fetch", job_id))
        return True


def started(ledger: JobLedger, job: Job) -> Lease:
    lease = ledger.start(job.id)
    assert lease is not None
    return lease


def events(ledger: JobLedger, job_id: str, last_id: str = "0-0") -> list[JobEvent]:
    return [event for event in ledger.events(job_id, last_id) if event is not None]
