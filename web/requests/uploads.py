"""Reads the two kinds of upload, as multipart/form-data or JSON, into frozen requests that have been checked."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from contracts.names import LabelRefused, clean_label, clean_name, decode_name
from infra.errors.requests import InvalidRequest, TooManyFiles, UnsupportedMediaType
from infra.objects.inputs import is_s3, parse_location
from web.access import auth
from web.requests.filters import checked_filters
from web.requests.given_boxes import check_boxes
from web.requests.images import Refusal, Upload, check_image, check_images
from web.requests.members import ImageBase64, ImageUpload, ImageUrl
from web.requests.named_urls import parse_with_urls
from web.requests.parsing import parse, parse_json, unknown_name
from web.requests.schemas import BatchFields, EnrollmentFields, RecognitionFields, RecognitionRequest
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from werkzeug.datastructures import FileStorage

    from contracts.jobs import Priority
    from contracts.pictures import Seen
    from infra.runtime.settings import Settings

ONE_GALLERY = "a batch takes one gallery; a request to /v1/recognitions takes several"
DATA_URL = re.compile(r"data:[\w/+.-]*;base64,")


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


@dataclass(frozen=True)
class Batch:
    """Photos to recognise alike; `headers` has one for each of `uploads`."""

    uploads: list[Upload]
    headers: list[Seen | Refusal]
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
        image = _json_image(sent.image)
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
        files, fields = _multipart(
            {"image": 1}, RecognitionFields.model_fields, lists=("gallery", "filter"), json_too=True
        )
        _read_json(fields, "options", "metadata")
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
        files, fields = _multipart({"image": 1}, fields_model.model_fields, json_too=True)
        _read_json(fields, "options", "metadata")
        sent = parse_with_urls(fields_model, fields, settings)
        webhook_url = sent.webhook_url
    image = _json_image(sent.image) if request.mimetype == "application/json" else files["image"][0]
    options = sent.options.model_dump(exclude_unset=True)
    if isinstance(image, Link):
        check_boxes(options, None)
        return Recognition("", None, None, options, webhook_url, image.url, image.name, sent.metadata, sent.priority)
    header = check_image(image, settings.images)
    check_boxes(options, header)
    return Recognition("", image, header, options, webhook_url, metadata=sent.metadata, priority=sent.priority)


def read_batch(settings: Settings) -> Batch:
    """The current request as a batch. Raises as `read_recognition`, for photos only if none can be used."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send the body as multipart/form-data.")
    files, fields = _multipart(
        {"images": settings.web.max_files}, BatchFields.model_fields, ("filter",), once={"gallery": ONE_GALLERY}
    )
    _read_json(fields, "options", "metadata")
    read = parse_with_urls(BatchFields, fields, settings)
    filters = tuple(checked_filters(read.filter))
    uploads = files["images"]
    headers = check_images(uploads, settings.images, [f"/images/{position}" for position in range(len(uploads))])
    chosen = read.options.model_dump(exclude_unset=True)
    check_boxes(chosen, None)  # a box outside of some photo fails that photo's job alone
    return Batch(uploads, headers, read.gallery, chosen, read.webhook_url, read.metadata, read.priority, filters)


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
    files, fields = _multipart(allowed, EnrollmentFields.model_fields, lists=("labels",))
    uploads = files["images"]
    _read_json(fields, "metadata", "item_metadata")
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
    )


def _read_json(fields: dict[str, Any], *names: str) -> None:
    """Text fields of a form that hold JSON. Raises InvalidRequest."""
    for name in names:
        if name in fields:
            fields[name] = parse_json(fields[name], f"/{name}")


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


def _multipart(
    file_limits: dict[str, int],
    text_names: Collection[str],
    lists: tuple[str, ...] = (),
    *,
    json_too: bool = False,
    once: dict[str, str] | None = None,
) -> tuple[dict[str, list[Upload]], dict[str, Any]]:
    """The files by field and the text fields of the current request; every name is checked first.

    `once`: what is said of a field that is given more than once, where there is more to say.
    """
    if request.mimetype != "multipart/form-data":
        ways = "multipart/form-data or as application/json" if json_too else "multipart/form-data"
        raise UnsupportedMediaType(f"Send the body as {ways}.")
    files = _files()
    allowed = [*file_limits, *text_names]
    errors = [
        {"pointer": f"/{name}", "detail": unknown_name(name, allowed)}
        for name in [*files, *request.form]
        if name not in allowed
    ]
    errors += [
        {"pointer": f"/{name}", "detail": "this is a text field, not a file"} for name in files if name in text_names
    ]
    for name in file_limits:
        if name in request.form:
            errors.append({"pointer": f"/{name}", "detail": "send this as a file: its part needs a filename"})
        elif not files.get(name):
            errors.append({"pointer": f"/{name}", "detail": "this file is required"})
    for name in request.form:
        if name not in lists and len(request.form.getlist(name)) > 1:
            errors.append(
                {"pointer": f"/{name}", "detail": (once or {}).get(name, "this field is given more than once")}
            )
    if errors:
        raise InvalidRequest(
            "; ".join(f"{e['pointer'].removeprefix('/')}: {e['detail']}" for e in errors), errors=errors
        )
    for name, limit in file_limits.items():
        if len(files[name]) > limit:
            raise TooManyFiles(f"{len(files[name])} files in {name!r}, at most {limit} are allowed.", max_files=limit)
    uploads = {name: [Upload(file.read(), clean_name(file.filename)) for file in files[name]] for name in file_limits}
    fields = {name: request.form.getlist(name) if name in lists else request.form[name] for name in request.form}
    return uploads, fields


def _files() -> dict[str, list[FileStorage]]:
    """The request's files. A form of too many parts looks to werkzeug like a body that is too large."""
    try:
        return {name: request.files.getlist(name) for name in request.files}
    except RequestEntityTooLarge:
        limit = request.max_content_length
        if limit is not None and request.content_length is not None and request.content_length <= limit:
            raise TooManyFiles("The form has too many parts, or a text field in it is too long.") from None
        raise


@dataclass(frozen=True)
class Link:
    """A picture to be fetched, and the name to show with it."""

    url: str
    name: str


def _json_image(image: dict[str, Any]) -> Upload | Link:
    """A URL has been checked by `parse_with_urls`."""
    if len({"base64", "url", "upload"} & image.keys()) != 1:
        detail = "give exactly one of 'base64', 'url' and 'upload'"
        raise InvalidRequest(f"image: {detail}.", errors=[{"pointer": "/image", "detail": detail}])
    if "base64" in image:
        sent = parse(ImageBase64, image, "/image")
        return Upload(_from_base64(sent.base64), clean_name(sent.name))
    if "upload" in image:
        named = parse(ImageUpload, image, "/image")
        return uploaded(named.upload, named.name)
    linked = parse(ImageUrl, image, "/image")
    return Link(linked.url, clean_name(linked.name or _name_in(linked.url)))


def uploaded(upload_id: str, name: str) -> Upload:
    """What the current request's key uploaded by a link. Raises the errors of NAMED_UPLOAD."""
    service = services()
    found = service.uploads.find(upload_id, auth.owner())
    data = service.uploads.read(found, service.settings.web.max_body_bytes)
    return Upload(data, clean_name(name or found.name), found.id)


def _name_in(url: str) -> str:
    """The name that a URL gives its picture."""
    return parse_location(url).name if is_s3(url) else decode_name(unquote_to_bytes(urlsplit(url).path))


def _from_base64(text: str) -> bytes:
    prefix = DATA_URL.match(text)
    try:
        return base64.b64decode("".join(text[prefix.end() if prefix else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        detail = "not valid base64"
        raise InvalidRequest(
            f"image.base64 is {detail}.", errors=[{"pointer": "/image/base64", "detail": detail}]
        ) from None
