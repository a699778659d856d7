"""The calls that jobs of every kind have: their state, their end, lists, pictures. Steps without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shitu.client.exchange import Pages, Ref, Steps, by_pages, call, id_of, once, read
from shitu.client.sending import moment
from shitu.client.waiting import Event, Watch

if TYPE_CHECKING:
    from datetime import datetime

    from contracts.imports import ImportJob
    from contracts.jobs import Status
    from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
    from contracts.reembeddings import ReembeddingJob
    from contracts.results import EnrollmentJob, RecognitionJob
    from contracts.versions import EvaluationJob
    from web.galleries.erasures import Erasure


J = TypeVar("J")  # a job's TypedDict


class Kind(Generic[J]):
    """The calls that jobs of one kind have; `path` is that of their routes."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, job: Ref) -> Steps[J]:
        """The job as it is now. Raises NotFound."""
        found: J = yield from call("GET", f"{self.path}/{id_of(job)}")
        return found

    def wait(
        self, job: Ref, *, timeout_s: float | None = None, progress: Callable[[J], object] | None = None
    ) -> Steps[J]:
        """The job when it has ended, however it ended; `progress` is called with each state that is seen, the last one too.

        Raises WaitTimeout after `timeout_s` seconds; None: never.
        """
        report: Any = job
        seen: J = (yield from self.get(job)) if isinstance(job, str) else report
        watch = Watch(f"{self.path}/{id_of(job)}", seen, _as_sent, progress)
        return (yield from watch.wait(timeout_s))

    def cancel(self, job: Ref) -> Steps[J]:
        """Gives the job up. Raises Conflict if it has ended otherwise."""
        found: J = yield from call("POST", f"{self.path}/{id_of(job)}/cancel")
        return found

    def replay(self, job: Ref, *, idempotency_key: str | None = None) -> Steps[J]:
        """Tries a failed job again, under the same id. Raises Conflict if it has not failed."""
        found: J = yield from call("POST", f"{self.path}/{id_of(job)}/replay", headers=once(idempotency_key))
        return found

    def replay_webhook(self, job: Ref) -> Steps[J]:
        """Sends the webhook of a job that has ended again. Raises NotFound if it has none."""
        found: J = yield from call("POST", f"{self.path}/{id_of(job)}/webhook/replay", headers=once(None))
        return found

    def erase(self, job: Ref) -> Steps[Erasure]:
        """Erases the job with its photo, its answer and the messages about it, for good: the receipt."""
        found: Erasure = yield from call("DELETE", f"{self.path}/{id_of(job)}", {"erase": True}, repeatable=False)
        return found

    def list(
        self,
        *,
        status: Status | None = None,
        gallery: str | None = None,
        label: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 50,
    ) -> Pages[J]:
        """The jobs that are kept and fit, the newest first."""
        query = {
            "status": status,
            "gallery": gallery,
            "label": label,
            "created_after": moment(created_after),
            "created_before": moment(created_before),
            "limit": page_size,
            **{f"metadata.{name}": value for name, value in (metadata or {}).items()},
        }
        return by_pages(self.path, self.path.removeprefix("/"), query)

    def photo(self, job: Ref, *, annotated: bool = False, width: int | None = None) -> Steps[bytes]:
        """The job's photo; `annotated`: with the answer drawn over it; `width`: a JPEG of at most so many pixels across."""
        return (
            yield from read(f"{self.path}/{id_of(job)}/image", {"annotated": int(annotated) or None, "width": width})
        )

    def preview(self, job: Ref, *, width: int | None = None) -> Steps[bytes]:
        """The job's photo as a browser can show it."""
        return (yield from read(f"{self.path}/{id_of(job)}/preview", {"width": width}))


RECOGNITIONS: Kind[RecognitionJob] = Kind("/recognitions")
ENROLLMENTS: Kind[EnrollmentJob] = Kind("/enrollments")
IMPORTS: Kind[ImportJob] = Kind("/imports")
EVALUATIONS: Kind[EvaluationJob] = Kind("/evaluations")
REEMBEDDINGS: Kind[ReembeddingJob] = Kind("/reembeddings")
DETECTIONS: Kind[DetectionJob] = Kind("/detections")
EMBEDDINGS: Kind[EmbeddingJob] = Kind("/embeddings")
CLASSIFICATIONS: Kind[ClassificationJob] = Kind("/classifications")


def _as_sent(_seen: J, event: Event) -> J | None:
    report: J = event.data
    return report
