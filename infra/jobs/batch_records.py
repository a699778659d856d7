"""The records of batches: their pictures, their state, what is sent of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.jobs.records import FINISHED, isoformat

if TYPE_CHECKING:
    from contracts import batches
    from contracts.jobs import JobError


PREFIX = "bat"


@dataclass(frozen=True)
class Entry:
    """One picture of a batch: its job, or why it has none."""

    name: str
    job_id: str | None = None
    status: str = "rejected"
    error: JobError | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status == "rejected" or self.status in FINISHED


@dataclass(frozen=True)
class Batch:
    """A batch as it is. Times are seconds since 1970."""

    id: str
    request: dict[str, Any]
    entries: tuple[Entry, ...]
    created_at: float
    completed_at: float | None = None
    expires_at: float | None = None
    cancel_requested: bool = False

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended."""
        return self.completed_at is not None

    @property
    def status(self) -> batches.BatchStatus:
        """queued until its first job is started, processing, then completed, or canceled if that was requested."""
        if self.finished:
            return "canceled" if self.cancel_requested else "completed"
        return "queued" if all(one.status in {"queued", "rejected"} for one in self.entries) else "processing"

    def summary(self, root: str = "") -> batches.BatchSummary:
        """The batch as JSON without its jobs; `root` as of a job's."""
        link = f"{root}/v1/batches/{self.id}"
        counts = Counter(one.status for one in self.entries)
        return {
            "id": self.id,
            "status": self.status,
            "created_at": str(isoformat(self.created_at)),
            "completed_at": isoformat(self.completed_at),
            "expires_at": isoformat(self.expires_at),
            "cancel_requested": self.cancel_requested,
            "request": self.request,  # type: ignore[typeddict-item]  # as web.jobs.batches wrote it
            "counts": {
                "total": len(self.entries),
                "queued": counts["queued"],
                "processing": counts["processing"],
                "succeeded": counts["succeeded"],
                "failed": counts["failed"],
                "canceled": counts["canceled"],
                "rejected": counts["rejected"],
            },
            "links": {
                "self": link,
                "cancel": f"{link}/cancel",
                "events": f"{link}/events",
                "results": f"{link}/results",
            },
        }

    def to_dict(self, root: str = "") -> batches.Batch:
        """The batch as JSON."""
        return {
            **self.summary(root),  # type: ignore[typeddict-item]  # `queue` is the web's to add
            "jobs": [
                {
                    "index": index,
                    "name": one.name,
                    "id": one.job_id,
                    "status": one.status,  # type: ignore[typeddict-item]  # the ledger's
                    "error": one.error,
                    "links": {"self": f"{root}/v1/recognitions/{one.job_id}"} if one.job_id else None,
                }
                for index, one in enumerate(self.entries)
            ],
        }


@dataclass(frozen=True)
class Planned:
    """A picture to be recognised in a batch: its job's request, or why there will be none.

    `source_url`: where the picture must be fetched before a worker can have the job.
    """

    name: str
    request: dict[str, Any] | None = None
    error: JobError | None = None
    source_url: str | None = None


@dataclass(frozen=True)
class BatchEvent:
    """A change of one job, or with `job_id` None the end of all. `id` resumes the stream after it."""

    id: str
    job_id: str | None
    status: str


def parse_batch(record: dict[str, str], gone_at: float) -> Batch:
    """A batch of its record, which expires at `gone_at` as things stand."""
    completed_at = float(record["completed_at"]) if "completed_at" in record else None
    return Batch(
        id=record["id"],
        request=json.loads(record["request"]),
        entries=tuple(_entry(one, record) for one in json.loads(record["entries"])),
        created_at=float(record["created_at"]),
        completed_at=completed_at,
        expires_at=None if completed_at is None else gone_at,
        cancel_requested="cancel_requested" in record,
    )


def _entry(sent: dict[str, Any], record: dict[str, str]) -> Entry:
    status = record.get(f"job:{sent['job_id']}")
    if sent["job_id"] is None or status is None:
        lost: JobError = {
            "code": "upload_too_slow",
            "message": "The photo took too long to arrive and is not kept any more; send it again.",
            "retryable": True,
        }
        return Entry(sent["name"], error=sent["error"] or lost)
    return Entry(sent["name"], sent["job_id"], status)
