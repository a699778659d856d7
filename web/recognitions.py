"""Recognitions: a photo and a gallery's name in, a job out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from infra.errors import PhotoNotFetched
from web.images import media_type
from web.jobs import accept, add_job_routes, find, publisher
from web.services import services
from web.uploads import read_recognition

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
    job = find(KIND, job_id)
    if job.source_url is not None:
        raise PhotoNotFetched(
            "The photo could not be fetched from its URL; the job's error says why."
            if job.finished
            else "The photo is still to be fetched from its URL."
        )
    return picture(services().objects.get(job.request["image"]["key"]))


def picture(data: bytes) -> Response:
    """Stored bytes as a picture: never as anything that a browser would run."""
    response = Response(data, content_type=media_type(data))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = f"private, max-age={IMAGE_MAX_AGE_S}"
    return response
