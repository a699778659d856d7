"""Photos: where they come from, and stored pictures. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from typing import Any

from contracts.errors import ServiceError

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})  # of a server that may answer better later


class InvalidUrl(ServiceError):
    """Not an http or https URL that can be fetched."""

    code = "url_invalid"
    title = "Invalid URL"
    http_status = 422


class AddressForbidden(ServiceError):
    """The URL leads to a private, loopback, link-local or otherwise internal address."""

    code = "address_forbidden"
    title = "Address not allowed"
    http_status = 422

    def __init__(self, detail: str, *, by_setting: bool = False, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.by_setting = by_setting  # a list of allowed hosts could name it

    def with_remedy(self, setting: str) -> AddressForbidden:
        """The same, naming the setting that allows such hosts, if one can."""
        if not self.by_setting:
            return self
        return AddressForbidden(f"{self.detail.removesuffix('.')}; the setting {setting} can allow it.", **self.extra)


class BucketForbidden(AddressForbidden):
    """An `s3://` address in a bucket, or a part of one, that the settings do not open to requests."""

    code = "bucket_forbidden"
    title = "Bucket not allowed"


class FetchFailed(ServiceError):
    """The other server could not be reached, redirected, or did not answer 2xx.

    Not retryable with the `status` of an answer that will be the same tomorrow: 404, 403, 410 …
    """

    code = "fetch_failed"
    title = "Could not fetch the URL"
    http_status = 422
    retryable = True

    def __init__(self, detail: str, *, status: int | None = None, **extra: Any) -> None:
        super().__init__(detail, **extra)
        if status is not None:
            self.extra["status"] = status
            self.retryable = status in TRANSIENT_STATUSES


class FetchTimeout(FetchFailed):
    """The other server was too slow."""

    code = "fetch_timeout"
    title = "Fetching the URL took too long"


class FetchTooLarge(FetchFailed):
    """The other server sent more bytes than allowed."""

    code = "fetch_too_large"
    title = "The URL's content is too large"
    retryable = False


class S3AccessDenied(FetchFailed):
    """The service's own credentials may not read that object."""

    code = "bucket_access_denied"
    title = "Access to the object denied"
    retryable = False


class S3KeyMissing(FetchFailed):
    """The bucket has no such object."""

    code = "bucket_key_missing"
    title = "No such object in the bucket"
    retryable = False


class S3BucketMissing(FetchFailed):
    """There is no such bucket, or it is in another region."""

    code = "bucket_not_found"
    title = "No such bucket"
    retryable = False


class ObjectNotFound(ServiceError):
    """The object store has no such key."""

    code = "object_not_found"
    title = "No such object"
    http_status = 404


class PhotoNotFetched(ObjectNotFound):
    """A job's photo is requested before it was fetched from its URL, or it could not be."""

    code = "photo_not_fetched"
    title = "Photo not fetched"
    retryable = True


class PictureNotRenderable(ObjectNotFound):
    """A picture of which no smaller one can be made: broken, or (then retryable) still to be looked at by a worker."""

    code = "picture_not_renderable"
    title = "Picture cannot be rendered"

    def __init__(self, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.retryable = retryable


class RenderingBusy(ServiceError):
    """Too many pictures are being made smaller at once."""

    code = "rendering_busy"
    title = "Too many pictures at once"
    http_status = 503
    retryable = True
