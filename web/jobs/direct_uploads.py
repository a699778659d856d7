"""Uploads by link: where a client sends a picture's bytes, past the request that names them; and pictures by link.

Where the object store is an S3 server, links lead there and are signed for one object, size and media type. Elsewhere they
lead to the service itself and bear a secret of their own, of which only a hash is kept. Neither needs a key: a browser or
a phone that was handed the link sends to it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from contracts.jobs import described
from contracts.keys import Scope
from contracts.names import clean_name
from contracts.pictures import MEDIA_TYPES
from infra.errors.keys import BytesLimited, CrossSite, HostUnknown
from infra.errors.photos import ObjectNotFound
from infra.errors.requests import BodyTooLarge, InvalidRequest, UploadTooSlow
from infra.errors.uploads import UploadExpired, UploadFinished, UploadIncomplete, UploadMismatch, UploadNotFound
from infra.jobs.records import isoformat
from infra.jobs.uploads import UploadRecord
from infra.objects.store import LinkingStore
from web import pictures
from web.access import auth, limits
from web.access.scopes import needs, open_to_all
from web.openapi.operations import BODY, Raw, operation
from web.requests.json_body import sent_json
from web.requests.members import Strict
from web.requests.parsing import parse
from web.requests.uploads import read_body
from web.services import services

BYTES: Literal["application/octet-stream"] = "application/octet-stream"
TAKEN = (BYTES, *MEDIA_TYPES.values())

blueprint = Blueprint("uploads", __name__, url_prefix="/v1/uploads")
links = Blueprint("links", __name__, url_prefix="/v1/links")


class UploadRequest(Strict):
    """A picture that is to be sent by a link."""

    size: int = Field(ge=1, description="Its bytes, counted: the link takes exactly so many.")
    media_type: Literal[
        "application/octet-stream", "image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff",
        "image/heic", "image/avif",
    ] = Field(BYTES, description="The Content-Type that it is sent with.")  # fmt: skip
    name: Annotated[str, AfterValidator(clean_name)] = Field("", description="A name to show with it.")


class UploadTo(TypedDict):
    """How the bytes are sent."""

    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_at: str


class UploadLinks(TypedDict):
    """Where to go from an upload."""

    self: str


@described
class UploadShown(TypedDict):
    """An upload by link."""

    id: str
    status: Literal["open", "received"]
    size: int
    media_type: str
    name: str
    created_at: str
    expires_at: str
    """Until then requests may name it."""
    links: UploadLinks


@described
class UploadMade(UploadShown):
    """A new upload."""

    send: UploadTo
    """Where the bytes go, by a PUT with just these headers, without a key. Shown this once."""


class TokenQuery(BaseModel):
    """What a link of the service itself proves itself by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str = Field(min_length=1, description="As the link has it.")


@blueprint.post("")
@needs(Scope.RECOGNIZE)
@operation(
    "createUpload",
    "Get a link that takes a picture's bytes.",
    {201: UploadMade},
    (*BODY, BytesLimited),
    body={"application/json": UploadRequest},
)
def create() -> tuple[Response, int, dict[str, str]]:
    """A link for one picture. Its bytes count for the key from now on."""
    service = services()
    sent = sent_json(UploadRequest)
    most = service.settings.web.max_body_bytes
    if sent.size > most:
        raise BodyTooLarge(f"{sent.size} bytes are more than the {most} allowed.")
    limits.take_bytes(sent.size)
    made, token = service.uploads.create(auth.owner(), sent.size, sent.media_type, sent.name)
    if service.settings.objects.direct_links and isinstance(service.objects, LinkingStore):
        valid_s = service.settings.objects.link_s
        url = service.objects.link_to_put(made.object_key, made.size, made.media_type, valid_s)
    else:
        url = url_for("uploads.receive", upload_id=made.id, token=token, _external=True)
    link: UploadTo = {
        "method": "PUT",
        "url": url,
        "headers": {"Content-Type": made.media_type},
        "expires_at": str(isoformat(made.link_until)),
    }
    shown: UploadMade = {**describe(made, received=False), "send": link}
    return jsonify(shown), 201, {"Location": shown["links"]["self"], "Cache-Control": "no-store"}


@blueprint.get("/<upload_id>")
@needs(Scope.RECOGNIZE)
@operation("getUpload", "Whether an upload's bytes have come.", {200: UploadShown}, (UploadNotFound,))
def show(upload_id: str) -> Response:
    """The upload, for the key that made it."""
    service = services()
    found = service.uploads.find(upload_id, auth.owner())
    return jsonify(describe(found, received=service.uploads.has_bytes(found)))


@blueprint.put("/<upload_id>/content")
@open_to_all
@operation(
    "sendUpload",
    "Send the bytes of an upload, by its link.",
    {204: None},
    (
        *(InvalidRequest, BodyTooLarge, UploadTooSlow, HostUnknown, CrossSite),
        *(UploadNotFound, UploadExpired, UploadFinished, UploadIncomplete, UploadMismatch),
    ),
    query=TokenQuery,
    body={media: Raw("The picture's bytes.") for media in TAKEN},
)
def receive(upload_id: str) -> tuple[str, int]:
    """Takes the bytes, once."""
    service = services()
    query = parse(TokenQuery, request.args.to_dict())
    expected = service.uploads.expected(upload_id, query.token)
    if (request.content_length or 0) > expected.size:
        raise UploadMismatch(f"{request.content_length} bytes come, and the link is for {expected.size}.")
    if request.mimetype != expected.media_type:
        report = request.mimetype or "none"
        raise UploadMismatch(f"The link is for the Content-Type {expected.media_type}, not {report}.")
    service.uploads.receive(expected, read_body())
    return "", 204


@links.get("/<token>")
@open_to_all
@operation(
    "getLinked",
    "The picture that a link leads to.",
    {200: pictures.ANY_IMAGE, 304: None},
    (ObjectNotFound, HostUnknown),
)
def linked(token: str) -> Response:
    """The one picture that the link was made for."""
    return pictures.stored(services().uploads.linked(token))


def describe(upload: UploadRecord, *, received: bool) -> UploadShown:
    """An upload as JSON."""
    return {
        "id": upload.id,
        "status": "received" if received else "open",
        "size": upload.size,
        "media_type": upload.media_type,
        "name": upload.name,
        "created_at": str(isoformat(upload.created_at)),
        "expires_at": str(isoformat(upload.expires_at)),
        "links": {"self": url_for("uploads.show", upload_id=upload.id)},
    }
