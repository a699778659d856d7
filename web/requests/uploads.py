"""Reads the two kinds of upload, as multipart/form-data or JSON, into frozen requests that have been checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from contracts.names import LabelRefused, clean_label
from infra.errors.requests import InvalidRequest, TooManyFiles, UnsupportedMediaType
from web.requests.filters import checked_filters
from web.requests.forms import read_form, read_json
from web.requests.given_boxes import check_boxes
from web.requests.images import Refusal, Upload, check_image, check_images, read_header
from web.requests.json_images import Link, json_image
from web.requests.named_urls import parse_with_urls
from web.requests.parsing import parse_json
from web.requests.schemas import BatchFields, EnrollmentFields, PhotosRequest, RecognitionFields, RecognitionRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.jobs import Priority
    from contracts.pictures import Seen
    from infra.runtime.settings import Settings

ONE_GALLERY = "a batch takes one gallery; a request to /v1/recognitions takes several"


@dataclass(frozen=True)
class Recognition:
    """One photo to recognise: an `upload` with its `header`, or one that is to be fetched from `source_url` under `name`.

    `options` holds only what the client named.
    """

    gallery: str
    upload: Upload | None
    header: Seen | None
    options: dict[str, Any]
    webhook_url: str | None
    source_url: str | None = None
    name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    priority: Priority = "normal"
    galleries: tuple[str, ...] = ()  # all of them, if they are several
    filter: tuple[str, ...] = ()
    embedder: str | None = None  # of an embedding alone


@dataclass(frozen=True)
class Enrollment:
    """Pictures to add to a gallery; `headers` and `labels` have one for each of `uploads`."""

    uploads: list[Upload]
    headers: list[Seen | Refusal]
    labels: list[str]
    crop: str
    webhook_url: str | None
    metadata: dict[str, str] = field(default_factory=dict)  # of the job
    item_metadata: list[dict[str, str]] = field(default_factory=list)  # one for each of `uploads`
    priority: Priority = "normal"
    skip_near_duplicates: bool = False
    activate: bool = True


@dataclass(frozen=True)
class Batch:
    """Photos to recognise alike; `headers` has one for each of `photos`: None for one that is to be fetched."""

    photos: list[Upload | Link]
    headers: list[Seen | Refusal | None]
    gallery: str
    options: dict[str, Any]
    webhook_url: str | None
    metadata: dict[str, str]
    priority: Priority
    filter: tuple[str, ...] = ()


def read_recognition(settings: Settings) -> Recognition:
    """The current request as a recognition. Raises InvalidRequest, InvalidOptions, TooManyFiles, RejectedImage, and the
    address errors for a webhook or image URL, as far as they show without waiting for anybody.
    """
    if request.mimetype == "application/json":
        sent = parse_with_urls(RecognitionRequest, parse_json(read_body()), settings)
        webhook_url = sent.webhook.url if sent.webhook else None
        names, options = sent.galleries or [str(sent.gallery)], sent.options
        filters = tuple(checked_filters(sent.filter))
        image = json_image(sent.image)
        if isinstance(image, Link):
            chosen = options.model_dump(exclude_unset=True)
            check_boxes(chosen, None)
            return Recognition(
                names[0],
                None,
                None,
                chosen,
                webhook_url,
                image.url,
                image.name,
                sent.metadata,
                sent.priority,
                several_of(names),
                filters,
            )
        upload, metadata, priority = image, sent.metadata, sent.priority
    else:
        files, fields = read_form(
            {"image": 1}, RecognitionFields.model_fields, lists=("gallery", "filter"), json_too=True
        )
        read_json(fields, "options", "metadata")
        read = parse_with_urls(RecognitionFields, fields, settings)
        webhook_url = read.webhook_url
        upload = files["image"][0]
        names, options, metadata, priority = read.gallery, read.options, read.metadata, read.priority
        filters = tuple(checked_filters(read.filter))
    header = check_image(upload, settings.images)
    chosen = options.model_dump(exclude_unset=True)
    check_boxes(chosen, header)
    return Recognition(
        names[0],
        upload,
        header,
        chosen,
        webhook_url,
        metadata=metadata,
        priority=priority,
        galleries=several_of(names),
        filter=filters,
    )


def several_of(names: Sequence[str]) -> tuple[str, ...]:
    """The galleries that are searched as one; none if there is but one."""
    return tuple(names) if len(names) > 1 else ()


def read_photo(settings: Settings, fields_model: type[Any], request_model: type[Any]) -> Recognition:
    """The current request as one photo with options and a webhook, without a gallery. Raises as `read_recognition`."""
    if request.mimetype == "application/json":
        sent = parse_with_urls(request_model, parse_json(read_body()), settings)
        webhook_url = sent.webhook.url if sent.webhook else None
    else:
        lists = ("filter",) if "filter" in fields_model.model_fields else ()
        files, fields = read_form({"image": 1}, fields_model.model_fields, lists, json_too=True)
        read_json(fields, "options", "metadata")
        sent = parse_with_urls(fields_model, fields, settings)
        webhook_url = sent.webhook_url
    image = json_image(sent.image) if request.mimetype == "application/json" else files["image"][0]
    options = sent.options.model_dump(exclude_unset=True)
    filters = tuple(checked_filters(getattr(sent, "filter", ())))
    header = None if isinstance(image, Link) else check_image(image, settings.images)
    check_boxes(options, header)
    read = Recognition(
        "",
        None,
        header,
        options,
        webhook_url,
        metadata=sent.metadata,
        priority=sent.priority,
        filter=filters,
        embedder=getattr(sent, "embedder", None),
    )
    if isinstance(image, Link):
        return replace(read, source_url=image.url, name=image.name)
    return replace(read, upload=image)


def read_batch(settings: Settings) -> Batch:
    """The current request as a batch. Raises as `read_recognition`, for photos only if none can be used."""
    if request.mimetype == "application/json":
        return _json_batch(settings)
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send the body as multipart/form-data or application/json.")
    files, fields = read_form(
        {"images": settings.web.max_files}, BatchFields.model_fields, ("filter",), once={"gallery": ONE_GALLERY}
    )
    read_json(fields, "options", "metadata")
    read = parse_with_urls(BatchFields, fields, settings)
    filters = tuple(checked_filters(read.filter))
    photos: list[Upload | Link] = list(files["images"])
    headers = _headers(photos, settings)
    chosen = read.options.model_dump(exclude_unset=True)
    check_boxes(chosen, None)  # a box outside of some photo fails that photo's job alone
    return Batch(photos, headers, read.gallery, chosen, read.webhook_url, read.metadata, read.priority, filters)


def _json_batch(settings: Settings) -> Batch:
    sent = parse_with_urls(PhotosRequest, parse_json(read_body()), settings)
    if (count := len(sent.images)) > (most := settings.web.max_files):
        raise TooManyFiles(f"{count} entries in 'images', at most {most} are allowed.", max_files=most)
    filters = tuple(checked_filters(sent.filter))
    chosen = sent.options.model_dump(exclude_unset=True)
    check_boxes(chosen, None)
    photos = [json_image(image, f"/images/{place}") for place, image in enumerate(sent.images)]
    hook = sent.webhook.url if sent.webhook else None
    headers = _headers(photos, settings)
    return Batch(photos, headers, sent.gallery, chosen, hook, sent.metadata, sent.priority, filters)


def _headers(photos: Sequence[Upload | Link], settings: Settings) -> list[Seen | Refusal | None]:
    """Of each photo that is here. Raises RejectedImage if none can be used, and none is to be fetched."""
    here = {place: photo for place, photo in enumerate(photos) if isinstance(photo, Upload)}
    if len(here) < len(photos):  # what is fetched may be of use
        seen = {place: read_header(photo.data, settings.images) for place, photo in here.items()}
        return [seen.get(place) for place in range(len(photos))]
    return list(check_images(list(here.values()), settings.images, [f"/images/{place}" for place in here]))


def read_body() -> bytes:
    """The body of the current request. Raises RequestEntityTooLarge.

    werkzeug cuts a body without a Content-Length off at the limit and says nothing; whether more would come shows it.
    """
    data = request.get_data(cache=False)
    limit = request.max_content_length
    cut = request.content_length is None and limit is not None and len(data) >= limit
    if cut and request.input_stream.read(1):
        raise RequestEntityTooLarge
    return data


def read_enrollment(settings: Settings) -> Enrollment:
    """The current request as an enrolment. Raises as `read_recognition`, for pictures only if none can be used."""
    allowed = {"images": settings.web.max_files}
    files, fields = read_form(allowed, EnrollmentFields.model_fields, lists=("labels",))
    uploads = files["images"]
    read_json(fields, "metadata", "item_metadata")
    if isinstance(fields.get("item_metadata"), dict):
        fields["item_metadata"] = [fields["item_metadata"]] * len(uploads)
    read = parse_with_urls(EnrollmentFields, fields, settings)
    if "item_metadata" in fields and len(read.item_metadata) != len(uploads):
        detail = f"{len(read.item_metadata)} objects for {len(uploads)} pictures: send one object for all, or a list of one for each"
        raise InvalidRequest(f"item_metadata: {detail}.", errors=[{"pointer": "/item_metadata", "detail": detail}])
    labels = _clean_labels(read.labels)
    if len(labels) == 1:
        labels *= len(uploads)
    if len(labels) != len(uploads):
        detail = f"{len(labels)} labels for {len(uploads)} pictures: send one label for all, or one for each"
        raise InvalidRequest(detail + ".", errors=[{"pointer": "/labels", "detail": detail}])
    headers = check_images(uploads, settings.images, [f"/images/{position}" for position in range(len(uploads))])
    metadata_of = read.item_metadata or [{}] * len(uploads)
    return Enrollment(
        uploads,
        headers,
        labels,
        read.crop,
        read.webhook_url,
        read.metadata,
        metadata_of,
        read.priority,
        read.skip_near_duplicates,
        read.activate,
    )


def _clean_labels(sent: Sequence[str]) -> list[str]:
    """By the one rule for labels. Raises InvalidRequest that names all which break it."""
    labels, errors = [], []
    for position, label in enumerate(sent):
        try:
            labels.append(clean_label(label))
        except LabelRefused as error:
            errors.append({"pointer": f"/labels/{position}", "detail": str(error)})
    if errors:
        message = "; ".join(
            f"{error['pointer'].removeprefix('/').replace('/', '.')}: {error['detail']}" for error in errors
        )
        raise InvalidRequest(message, errors=errors)
    return labels
