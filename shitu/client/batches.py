"""Batches: many photos in one request, one recognition each. Steps without I/O."""

from __future__ import annotations

import http
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shitu.client.errors import UnexpectedAnswer
from shitu.client.exchange import Pages, Ref, Steps, by_pages, call, id_of, read
from shitu.client.pictures import upload_of
from shitu.client.sending import Terms, filters_sent, moment, named_photos
from shitu.client.waiting import Event, Watch

if TYPE_CHECKING:
    from datetime import datetime

    from contracts.batches import Batch, BatchResult, BatchStatus, BatchSummary
    from contracts.jobs import Priority
    from shitu.client.options import RecognitionOptions
    from shitu.client.pictures import Picture
    from shitu.client.sending import Filters

STATUSES = ("queued", "processing", "succeeded", "failed", "canceled", "rejected")


def create_batch(
    photos: Sequence[Picture | Mapping[str, Any]],
    gallery: str,
    options: RecognitionOptions | None = None,
    *,
    filters: Filters | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[Batch]:
    """Has many photos recognised, all accepted or none: the batch as it was accepted.

    A photo may be a URL (http, https, s3), which the service fetches, or an upload of `uploads.create`.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    images = named_photos(photos)
    if images is not None:
        only = {"filter": list(sent)} if (sent := filters_sent(filters)) else {}
        body = {"gallery": gallery, "images": images, "options": dict(options or {}), **only, **terms.members()}
        made: Batch = yield from call("POST", "/batches", json=body, headers=terms.headers)
        return made
    fields: dict[str, Any] = {
        **terms.fields(),
        "gallery": gallery,
        **({"options": json.dumps(dict(options))} if options else {}),
    }
    if report := filters_sent(filters):
        fields["filter"] = report
    files = [("images", upload_of(photo)) for photo in photos]  # type: ignore[arg-type]  # none is an upload's record
    found: Batch = yield from call("POST", "/batches", fields=fields, files=files, headers=terms.headers)
    return found


def list_batches(
    *,
    status: BatchStatus | None = None,
    gallery: str | None = None,
    created_after: datetime | str | None = None,
    created_before: datetime | str | None = None,
    page_size: int = 50,
) -> Pages[BatchSummary]:
    """The batches that are kept and fit, the newest first, without their jobs."""
    query = {
        "status": status,
        "gallery": gallery,
        "created_after": moment(created_after),
        "created_before": moment(created_before),
        "limit": page_size,
    }
    return by_pages("/batches", "batches", query)


def get_batch(batch: Ref) -> Steps[Batch]:
    """The batch as it is now. Raises NotFound."""
    found: Batch = yield from call("GET", f"/batches/{id_of(batch)}")
    return found


def wait_for_batch(
    batch: Ref, *, timeout_s: float | None = None, progress: Callable[[Batch], object] | None = None
) -> Steps[Batch]:
    """The batch when all its jobs have ended, however; `progress` is called with each state that is seen, the last one too.

    Raises WaitTimeout after `timeout_s` seconds; None: never.
    """
    report: Any = batch
    seen: Batch = (yield from get_batch(batch)) if isinstance(batch, str) else report
    watch = Watch(f"/batches/{id_of(batch)}", seen, _with_job, progress)
    return (yield from watch.wait(timeout_s))


def cancel_batch(batch: Ref) -> Steps[Batch]:
    """Gives all its open jobs up."""
    found: Batch = yield from call("POST", f"/batches/{id_of(batch)}/cancel")
    return found


def batch_results(batch: Ref) -> Pages[BatchResult]:
    """The answers so far, in the order of the photos."""

    def page(_after: str | None) -> Steps[tuple[Sequence[BatchResult], str | None]]:
        lines = yield from read(f"/batches/{id_of(batch)}/results", {"format": "ndjson"})
        try:
            return [json.loads(line) for line in lines.split(b"\n") if line], None
        except ValueError:
            raise UnexpectedAnswer("The results are broken: a line is no JSON.", http.HTTPStatus.OK) from None

    return Pages(page)


def batch_csv(batch: Ref) -> Steps[bytes]:
    """The answers so far as CSV: a row for each recognised object."""
    return (yield from read(f"/batches/{id_of(batch)}/results", {"format": "csv"}))


def _with_job(seen: Batch, event: Event) -> Batch | None:
    """The batch after an event: all of it at the end, before that the status of one job."""
    if event.name == "completed":
        whole: Batch = event.data
        return whole
    job = event.data
    jobs: Any = [{**one, "status": job["status"]} if one["id"] == job["id"] else one for one in seen["jobs"]]
    counted = Counter(one["status"] for one in jobs)
    counts: Any = {**seen["counts"], **{name: counted.get(name, 0) for name in STATUSES}}
    return {**seen, "jobs": jobs, "counts": counts}
