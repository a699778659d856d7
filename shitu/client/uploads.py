"""Pictures sent by a link, past the request that names them: straight into the bucket, where the service has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shitu.client.errors import ConnectionFailed, ProblemError, UnexpectedAnswer
from shitu.client.exchange import Answer, Request, Steps, call, checked, id_of
from shitu.client.pictures import Upload, upload_of

if TYPE_CHECKING:
    from shitu.client.exchange import Ref
    from shitu.client.pictures import Picture

BIG_BYTES = 16 * 1024 * 1024  # what makes one job is sent by a link from this size on
STATUS_OF_CONFLICT = 409


def create_upload(picture: Picture, *, name: str | None = None) -> Steps[Mapping[str, Any]]:
    """Sends a picture by a link and gives the upload; `recognitions.create` and the like take it as their photo.

    It may be named in several requests until its `expires_at`. Raises ProblemError, ConnectionFailed, and UnexpectedAnswer
    where the bucket refuses the bytes.
    """
    return (yield from _sent(upload_of(picture, name)))


def get_upload(upload: Ref) -> Steps[Mapping[str, Any]]:
    """Whether its bytes have come, and until when it can be named."""
    found: Mapping[str, Any] = yield from call("GET", f"/uploads/{id_of(upload)}")
    return found


def by_link_if_big(upload: Upload) -> Steps[str | None]:
    """The id of an upload, for a picture that is big; None: it is to be sent with its request, as where no link works from here."""
    if len(upload.data) < BIG_BYTES:
        return None
    try:
        sent = yield from _sent(upload)
    except (ProblemError, ConnectionFailed, UnexpectedAnswer):
        return None  # an older service, or a bucket that this machine can't reach
    return str(sent["id"])


def _sent(upload: Upload) -> Steps[Mapping[str, Any]]:
    made = yield from call("POST", "/uploads", json={"size": len(upload.data), "name": upload.name})
    to = made["send"]
    answer: Answer = yield Request(to["method"], "", headers=to["headers"], content=upload.data, link=to["url"])
    if answer.status != STATUS_OF_CONFLICT:  # else an attempt whose answer was lost had brought the bytes
        checked(answer)
    return {**{name: value for name, value in made.items() if name != "send"}, "status": "received"}
