"""Fetches the pictures that an enrolment names by URL: each is kept as soon as it came, and one that does not holds up no other.

The job's request names a picture as soon as it is stored, so that an attempt after a kill, or after a server's bad
moment, asks for the rest alone. What cannot be had in the last attempt is rejected in its place.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.errors.photos import AddressForbidden, FetchFailed, FetchTimeout, InvalidUrl
from infra.jobs.sources import pack_sources, parse_sources
from infra.objects.store import image_digest
from worker.errors import job_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from contracts.errors import ServiceError
    from infra.jobs.ledger import JobLedger
    from infra.jobs.records import Job
    from infra.objects.store import ObjectStore
    from worker.lease_keeper import Checkpoint

SILENT = 3  # pictures of one server that did not come in time: in this attempt it is not waited for again


def fetch_items(
    job: Job,
    checkpoint: Checkpoint,
    download: Callable[[str], bytes],
    objects: ObjectStore,
    ledger: JobLedger,
    *,
    last: bool,
) -> dict[str, Any]:
    """The job's request, in which every picture has its key or its `error`. `last`: no attempt follows this one.

    Raises the fetch error of a picture that may be had later, once the others were tried; StorageUnavailable.
    """
    items = [dict(item) for item in job.request["items"]]
    request = {**job.request, "items": items}
    left = parse_sources(job.source_url)
    later: list[FetchFailed] = []
    silent: Counter[str] = Counter()
    for place, url in sorted(left.items()):
        host = urlsplit(url).netloc
        try:
            if silent[host] >= SILENT:
                raise FetchTimeout("The server did not answer in time for the pictures before this one.")
            data = download(url)
        except (FetchFailed, AddressForbidden, InvalidUrl) as error:
            silent[host] += isinstance(error, FetchTimeout)
            if isinstance(error, FetchFailed) and error.retryable and not last:
                later.append(error)
                checkpoint()
                continue
            items[place]["error"] = _final(error)
        else:
            checkpoint()
            items[place]["image_key"] = objects.put_image(data)
            items[place]["sha256"] = image_digest(data)
        del left[place]
        if left:
            ledger.fetched_one(job, request, pack_sources(left) or "")
        checkpoint()
    if later:
        raise max(later, key=lambda error: error.retry_after_s or 0.0)
    return request


def _final(error: ServiceError) -> dict[str, Any]:
    return {**job_error(error).to_dict()}
