"""Stored pictures as answers: as they were sent, or as a browser can show them."""

from __future__ import annotations

from flask import Response

from infra.errors import ObjectNotFound
from infra.objects.store import preview_key
from web.images import media_type
from web.services import services

IMAGE_MAX_AGE_S = 3600
ANY_IMAGE = "image/*"


def shown(key: str) -> Response:
    """The worker's rendering of a stored picture, or the picture itself where browsers show that as it is."""
    objects = services().objects
    try:
        return picture(objects.get(preview_key(key)))
    except ObjectNotFound:
        response = picture(objects.get(key))
        response.headers["Cache-Control"] = "private, no-cache"  # the rendering may be made yet
        return response


def picture(data: bytes) -> Response:
    """Stored bytes as a picture: never as anything that a browser would run."""
    response = Response(data, content_type=media_type(data))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = f"private, max-age={IMAGE_MAX_AGE_S}"
    return response
