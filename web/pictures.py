"""Stored pictures as answers: as they were sent, as a browser can show them, smaller, or with answers drawn over them.

Whatever is decoded here is bounded: a few pictures at a time, large ones at a fraction of their size
(infra.pictures.thumbnails). Keys name contents, so that an ETag needs no reading.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import Response, jsonify, request, url_for
from typing_extensions import TypedDict

from contracts.jobs import described
from contracts.pictures import MEDIA_TYPES
from infra.errors.photos import ObjectNotFound, RenderingBusy
from infra.errors.requests import InvalidRequest
from infra.jobs.records import isoformat
from infra.objects.store import LinkingStore, preview_key
from infra.pictures import fonts
from infra.pictures.drawing import Mark, drawn
from infra.pictures.thumbnails import as_jpeg, small, thumbnail
from web.requests.images import media_type
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from web.requests.schemas import StoredQuery

IMAGE_MAX_AGE_S = 3600
ANY_IMAGE = "image/*"
ANNOTATED_PX = 2048  # across: annotated pictures are no larger
ANNOTATED_QUALITY = 90  # tags are sharp
WAITS_S = 10.0  # for one of the few places where pictures are decoded
DRAWING = "1"  # changed when the same answer is drawn differently


def stored(key: str, width: int | None = None) -> Response:
    """The stored picture itself, or a smaller JPEG of it."""
    if width is not None:
        return _smaller(key, width)
    objects = services().objects
    return _conditional(key, "whole", lambda: objects.get(key))


@described
class PictureLink(TypedDict):
    """A link to one picture."""

    url: str
    """It needs no key: whoever has it sees the picture until it expires."""
    expires_at: str


def by_link(key: str, query: StoredQuery, picture_format: str | None = None) -> Response:
    """A link to the stored picture itself. Raises ObjectNotFound; InvalidRequest where another rendering is requested too."""
    service = services()
    for name in ("width", "annotated"):
        if getattr(query, name, None):
            detail = "a link leads to the picture as it is stored; leave this out"
            raise InvalidRequest(f"{name}: {detail}.", errors=[{"pointer": f"/{name}", "detail": detail}])
    if not service.objects.exists(key):
        raise ObjectNotFound("The picture is gone.")
    if service.settings.objects.direct_links and isinstance(service.objects, LinkingStore):
        valid_s = int(service.settings.objects.link_s)
        until = service.ledger.time() + valid_s
        url = service.objects.link_to_get(key, MEDIA_TYPES.get(picture_format or ""), valid_s)
    else:
        token, until = service.uploads.link(key)
        url = url_for("links.linked", token=token, _external=True)
    report: PictureLink = {"url": url, "expires_at": str(isoformat(until))}
    response = jsonify(report)
    response.headers["Cache-Control"] = "no-store"
    return response


def shown(key: str, width: int | None = None) -> Response:
    """The worker's rendering of a stored picture, or the picture itself where browsers show that as it is; or smaller."""
    if width is not None:
        return _smaller(key, width)
    objects = services().objects
    if objects.exists(preview_key(key)):
        return _conditional(preview_key(key), "whole", lambda: objects.get(preview_key(key)))
    response = _conditional(key, "whole", lambda: objects.get(key))
    response.headers["Cache-Control"] = "private, no-cache"  # the rendering may be made yet
    return response


def annotated(key: str, result: Mapping[str, Any], width: int | None = None) -> Response:
    """The photo with a job's answers drawn over it, at most ANNOTATED_PX across.

    A label that no font has is drawn as the number of its entry, from 1 on.
    """
    across = min(width or ANNOTATED_PX, ANNOTATED_PX)
    found: Sequence[Mapping[str, Any]] = result.get("recognitions") or result.get("detections") or ()
    report = [(one["box"], one.get("label", ""), one.get("probability", one.get("confidence"))) for one in found]
    said = hashlib.sha256(json.dumps([DRAWING, report]).encode()).hexdigest()

    def draw() -> bytes:
        with _place():
            photo = small(services().objects, key, across)
            scale = photo.width / max(1, int(result["image"]["width"]))
            numbers = {
                label: number
                for number, (_, label, _) in enumerate(report, start=1)
                if fonts.runs(label, fonts.PROBE_PX) is None
            }
            marks = [
                Mark((scale * x1, scale * y1, scale * x2, scale * y2), label, sure)
                for (x1, y1, x2, y2), label, sure in report
            ]
            return as_jpeg(drawn(photo, marks, numbers), ANNOTATED_QUALITY)

    return _conditional(key, f"annotated {across} {said}", draw)


def _smaller(key: str, width: int) -> Response:
    def make() -> bytes:
        with _place():
            return thumbnail(services().objects, key, width)

    return _conditional(key, f"width {width}", make)


@contextmanager
def _place() -> Iterator[None]:
    """One of the few in which pictures are decoded. Raises RenderingBusy."""
    places = services().renderings
    if not places.acquire(timeout=WAITS_S):
        raise RenderingBusy("Too many pictures are being made smaller at the moment.", retry_after_s=1)
    try:
        yield
    finally:
        places.release()


def _conditional(key: str, variant: str, make: Callable[[], bytes]) -> Response:
    """The picture that `make` gives, or 304 for a client that has it. Raises ObjectNotFound for one that is gone."""
    etag = hashlib.sha256(f"{key} {variant}".encode()).hexdigest()[:32]
    if request.if_none_match.contains_weak(etag):
        if not services().objects.exists(key):
            raise ObjectNotFound("The picture is gone.")
        response = Response(status=304)
    else:
        response = picture(make())
    response.set_etag(etag)
    response.headers["Cache-Control"] = f"private, max-age={IMAGE_MAX_AGE_S}"
    return response


def picture(data: bytes) -> Response:
    """Bytes as a picture: never as anything that a browser would run."""
    response = Response(data, content_type=media_type(data))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = f"private, max-age={IMAGE_MAX_AGE_S}"
    return response
