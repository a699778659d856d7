"""Uploads by link: bytes that come apart from a request. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class UploadNotFound(ServiceError):
    """No upload of the asking key has this id, or the link is none that the service gave."""

    code = "upload_not_found"
    title = "No such upload"
    http_status = 404


class UploadExpired(ServiceError):
    """The link's time is over, or what was uploaded is not kept any more."""

    code = "upload_expired"
    title = "Upload expired"
    http_status = 410


class UploadIncomplete(ServiceError):
    """A request names an upload whose bytes have not come, or they are coming at this moment."""

    code = "upload_incomplete"
    title = "Upload incomplete"
    http_status = 409
    retryable = True


class UploadFinished(ServiceError):
    """The bytes have come already: a link takes them once."""

    code = "upload_finished"
    title = "Upload finished"
    http_status = 409


class UploadMismatch(ServiceError):
    """What came has not the size or the media type that the link was made for."""

    code = "upload_mismatch"
    title = "Not what the link is for"
    http_status = 422
