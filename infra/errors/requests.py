"""A request that cannot be understood or is too large. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class InvalidRequest(ServiceError):
    """The request cannot be understood; `errors=[{"pointer", "detail"}]` in `extra` says where."""

    code = "invalid_request"
    title = "Invalid request"
    http_status = 400


class InvalidCursor(InvalidRequest):
    """A page cursor or event id that this service did not give out."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class InvalidOptions(InvalidRequest):
    """Well-formed, but a value is out of its range or an option does not exist."""

    code = "invalid_options"
    title = "Invalid options"
    http_status = 422


class InvalidFeedback(InvalidRequest):
    """What is said of an answer contradicts itself or the answer."""

    code = "feedback_invalid"
    title = "Invalid feedback"
    http_status = 422


class InvalidFilter(InvalidRequest):
    """A filter of items is not `name:value`."""

    code = "filter_invalid"
    title = "Invalid filter"


class InvalidBox(InvalidRequest):
    """A box holds no pixel of the photo, or reaches out of it; `width` and `height` in `extra` are the photo's, if known."""

    code = "box_invalid"
    title = "Invalid box"
    http_status = 422


class UnsupportedMediaType(ServiceError):
    """The body is neither multipart/form-data nor JSON."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    http_status = 415


class BodyTooLarge(ServiceError):
    """The body is over the limit of bytes."""

    code = "body_too_large"
    title = "Request body too large"
    http_status = 413


class TooManyFiles(ServiceError):
    """More files in one request than are allowed."""

    code = "too_many_files"
    title = "Too many files"
    http_status = 413


class UploadTooSlow(ServiceError):
    """The request came more slowly than an upload may, or stopped on its way."""

    code = "upload_too_slow"
    title = "Upload too slow"
    http_status = 408
    retryable = True


class RequestLineTooLong(ServiceError):
    """The path with its query is longer than the server reads."""

    code = "request_line_too_long"
    title = "Request line too long"
    http_status = 414


class HeadersTooLarge(ServiceError):
    """There are too many header fields, or one is too long."""

    code = "headers_too_large"
    title = "Headers too large"
    http_status = 431


class UnreadableRequest(ServiceError):
    """What came is no HTTP/1.1."""

    code = "request_unreadable"
    title = "Unreadable request"
    http_status = 400


class RouteNotFound(ServiceError):
    """No such path."""

    code = "route_not_found"
    title = "No such path"
    http_status = 404


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    title = "Method not allowed"
    http_status = 405


class RejectedImage(ServiceError):
    """The upload's header says already that it can never be recognised; `reason` in `extra` is the image error's code."""

    code = "image_rejected"
    title = "Image rejected"
    http_status = 422


class IdempotencyKeyReused(ServiceError):
    """The Idempotency-Key came with another payload before."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"
    http_status = 422


class IdempotencyInProgress(ServiceError):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "idempotency_in_progress"
    title = "Request in progress"
    http_status = 409
    retryable = True
