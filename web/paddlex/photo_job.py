"""A picture as old clients send it, and a job about it that is waited for."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from infra.errors.jobs import AnswerLate, JobWithoutAnswer
from infra.errors.requests import InvalidRequest
from infra.net.addresses import check_spelling
from infra.objects.inputs import check_location, is_s3
from web.jobs import jobs
from web.requests.images import Upload, check_image
from web.requests.waiting import held
from web.services import services

if TYPE_CHECKING:
    from contracts.jobs import JobKind
    from infra.jobs.ledger import Job

URLS = ("http://", "https://", "s3://")


def bytes_of(text: str) -> bytes | None:
    """What base64 stands for, line breaks allowed; None: it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def photo_job(kind: JobKind, image: str, request: dict[str, Any], pointer: str = "/image") -> dict[str, Any]:
    """The result of a job about one photo, a URL or base64, which stands at `pointer` of what was sent.

    Raises InvalidRequest, what uploads and addresses raise, and those of `ended`.
    """
    if image.startswith(URLS):
        settings = services().settings
        if is_s3(image):
            check_location(image, settings.objects)
        else:
            check_spelling(image, settings.web.allowed_hosts)
        kept, source = jobs.kept_photo(None, None, image.rpartition("/")[2]), image
    else:
        data = bytes_of(image)
        if data is None:
            detail = "is neither a URL nor base64"
            name = pointer.removeprefix("/")
            raise InvalidRequest(f"{name}: {detail}.", errors=[{"pointer": pointer, "detail": detail}])
        upload = Upload(data, "")
        kept, source = jobs.kept_photo(upload, check_image(upload, services().settings.images)), None
    return ended(jobs.create(kind, {**request, "image": kept}, source_url=source))


def ended(job: Job) -> dict[str, Any]:
    """The job's result, once it has ended. Raises AnswerLate, JobWithoutAnswer."""
    jobs.publish(job)
    with held(services().settings.web.max_wait_s) as wait_s:
        job = services().ledger.wait(job.id, wait_s or 0.0)
    if not job.finished:
        where = job.to_dict("")["links"]["self"]
        raise AnswerLate(f"The job continues and its answer will be at {where}; nothing is lost.")
    if job.result is None:
        raise JobWithoutAnswer(job.error["message"] if job.error else f"The job was {job.status}.")
    return dict(job.result)
