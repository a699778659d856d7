"""Enrolments in JSON: of pictures that are named in it, or of a part of a recognised photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response

from contracts.jobs import JobKind
from infra.errors.requests import InvalidRequest, TooManyFiles
from infra.errors.uploads import UploadIncomplete
from infra.jobs.sources import pack_sources
from infra.objects.store import image_digest
from infra.runtime import audit
from web.access import auth
from web.jobs import jobs
from web.jobs.photos import enroll_from_job, label_at
from web.requests.images import Refusal, none_usable, read_header
from web.requests.json_images import Link, json_image
from web.requests.members import ImageUpload
from web.requests.named_urls import parse_with_urls
from web.requests.parsing import parse, parse_json
from web.requests.schemas import ItemsRequest
from web.requests.terms import read_terms
from web.requests.uploads import read_body
from web.services import services

if TYPE_CHECKING:
    from contracts.results import RequestedItem
    from web.requests.images import Upload

EITHER = "give either items, the pictures to add, or from, a recognised photo"


def enroll_json(name: str) -> Response:
    """The current request as an enrolment job."""
    data = parse_json(read_body())
    if isinstance(data, dict) and "from" not in data:
        if "items" in data:
            return enroll_items(name, data)
        raise InvalidRequest(
            f"{EITHER[0].upper()}{EITHER[1:]}.",
            errors=[{"pointer": at, "detail": EITHER} for at in ("/items", "/from")],
        )
    return enroll_from_job(name, data)


def enroll_items(name: str, data: object) -> Response:
    """Pictures that JSON names. One that cannot be used holds up no other; those by URL the couriers fetch after the answer.

    Nothing is stored before all that can be checked was. Uploads are read one after the other: together they may be
    larger than any body.
    """
    service = services()
    sent = parse_with_urls(ItemsRequest, data, service.settings)
    if (count := len(sent.items)) > (most := service.settings.web.max_files):
        raise TooManyFiles(f"{count} entries in 'items', at most {most} are allowed.", max_files=most)
    labels = _labels(sent)
    terms = read_terms(sent.metadata, sent.priority, units=count)
    service.galleries.manifest(name)
    images = [_image(item.image, f"/items/{place}/image") for place, item in enumerate(sent.items)]
    items: list[RequestedItem] = []
    sources: dict[int, str] = {}
    errors: list[dict[str, str]] = []
    for place, (item, label, image) in enumerate(zip(sent.items, labels, images, strict=True)):
        if isinstance(image, Link):
            made: RequestedItem = {"name": image.name, "label": label}
            sources[place] = image.url
        else:
            named = json_image(item.image, f"/items/{place}/image") if image is None else image
            made = _kept(named, label, place, errors)  # type: ignore[arg-type]  # an upload is no link
        if item.metadata:
            made["metadata"] = item.metadata
        items.append(made)
    if len(errors) == count:
        raise none_usable(errors)
    requested: dict[str, Any] = {"gallery": name, "items": items, "crop": sent.crop}
    if sent.skip_near_duplicates:
        requested["skip_near_duplicates"] = True
    if not sent.activate:
        requested["activate"] = False
    webhook_url = sent.webhook.url if sent.webhook else None
    job = jobs.create(JobKind.ENROLLMENT, requested, webhook_url, pack_sources(sources), terms=terms)
    audit.accepted(name, job.id, count)
    return jobs.accept(job)


def _labels(sent: ItemsRequest) -> list[str]:
    """Of each picture. Raises InvalidRequest that names all that are wrong."""
    labels, errors = [], []
    for place, item in enumerate(sent.items):
        own = item.label is not None
        text, pointer = (item.label, f"/items/{place}/label") if own else (sent.label, "/label")
        if text is None:
            errors.append(
                {
                    "pointer": f"/items/{place}/label",
                    "detail": "this field is required: the request has no label for all",
                }
            )
            continue
        try:
            labels.append(label_at(text, pointer))
        except InvalidRequest as error:
            errors += [one for one in error.extra["errors"] if one not in errors]
    if errors:
        report = "; ".join(f"{one['pointer'].removeprefix('/').replace('/', '.')}: {one['detail']}" for one in errors)
        raise InvalidRequest(f"{report}.", errors=errors)
    return labels


def _image(image: dict[str, Any], pointer: str) -> Upload | Link | None:
    """The picture, or where it is; None: an upload whose bytes have come, to be read later."""
    if "upload" not in image or {"base64", "url"} & image.keys():
        return json_image(image, pointer)
    uploads = services().uploads
    found = uploads.find(parse(ImageUpload, image, pointer).upload, auth.owner())
    if not uploads.has_bytes(found):
        raise UploadIncomplete(f"The bytes of the upload {found.id} have not come; PUT them to its url first.")
    return None


def _kept(upload: Upload, label: str, place: int, errors: list[dict[str, str]]) -> RequestedItem:
    """A picture that is here, stored; one that is refused is reported in `errors`, and in its place in the job."""
    service = services()
    header = read_header(upload.data, service.settings.images)
    made: RequestedItem = {"name": upload.name, "label": label}
    if isinstance(header, Refusal):
        made["error"] = {"code": header.code, "message": header.detail, "retryable": False}
        pointer = f"/items/{place}/image"
        errors.append({"pointer": pointer, "name": upload.name, "code": header.code, "detail": header.detail})
        return made
    made["image_key"] = service.objects.put_image(upload.data)
    made["sha256"] = image_digest(upload.data)
    if upload.upload_id:
        service.uploads.used(upload.upload_id, made["image_key"])
    return made
