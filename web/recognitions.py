"""Recognitions: a photo and a gallery's name in, a job out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from infra.errors import ObjectNotFound, PhotoNotFetched
from infra.objects.store import preview_key
from web.images import media_type
from web.jobs import accept, add_job_routes, find, publisher
from web.services import services
from web.uploads import read_recognition

if TYPE_CHECKING:
    from infra.jobs.records import Job

KIND = "recognition"
IMAGE_MAX_AGE_S = 3600

blueprint = Blueprint("recognitions", __name__, url_prefix="/v1/recognitions")
add_job_routes(blueprint, KIND)


@blueprint.post("")
def create() -> Response:
    """Steps 1 to 4 of the walk: check, keep the bytes, promise, hand over."""
    service = services()
    sent = read_recognition(service.settings)
    service.galleries.manifest(sent.gallery)
    if sent.upload is None or sent.header is None:  # the couriers fetch it: a request waits for no stranger
        image: dict[str, Any] = {"key": None, "name": sent.name, "width": None, "height": None, "format": None}
    else:
        image = {
            "key": service.photos.keep(sent.upload.data),
            "name": sent.upload.name,
            "width": sent.header.width,
            "height": sent.header.height,
            "format": sent.header.format,
        }
    request = {"gallery": sent.gallery, "image": image, "options": sent.options}
    job = service.ledger.create(KIND, request, sent.webhook_url, sent.source_url)
    return accept(job, publisher(job))


@blueprint.get("/<job_id>/image")
def image(job_id: str) -> Response:
    """The photo as it was uploaded or fetched. Raises PhotoNotFetched while it is not there."""
    return picture(services().objects.get(_photo_key(find(KIND, job_id))))


@blueprint.get("/<job_id>/preview")
def preview(job_id: str) -> Response:
    """The photo as it was looked at, for browsers. Raises PhotoNotFetched as `image` does."""
    return shown(_photo_key(find(KIND, job_id)))


def shown(key: str) -> Response:
    """The worker's rendering of a stored picture, or the picture itself where browsers show that as it is."""
    objects = services().objects
    try:
        return picture(objects.get(preview_key(key)))
    except ObjectNotFound:
        response = picture(objects.get(key))
        response.headers["Cache-Control"] = "private, no-cache"  # the rendering may be made yet
        return response


def _photo_key(job: Job) -> str:
    if job.source_url is not None:
        raise PhotoNotFetched(
            "The photo could not be fetched from its URL; the job's error says why."
            if job.finished
            else "The photo is still to be fetched from its URL."
        )
    return str(job.request["image"]["key"])


def picture(data: bytes) -> Response:
    """Stored bytes as a picture: never as anything that a browser would run."""
    response = Response(data, content_type=media_type(data))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = f"private, max-age={IMAGE_MAX_AGE_S}"
    return response
