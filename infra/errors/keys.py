"""Who asks, whether they may, and how much. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class KeyMissing(ServiceError):
    """No API key was sent where one is required."""

    code = "key_missing"
    title = "API key missing"
    http_status = 401


class KeyInvalid(ServiceError):
    """What was sent is no key of this service, or one that was revoked."""

    code = "key_invalid"
    title = "API key not valid"
    http_status = 401


class KeyExpired(KeyInvalid):
    """The key was valid until a time that is past."""

    code = "key_expired"
    title = "API key expired"


class ScopeMissing(ServiceError):
    """The key is valid, but may not do this; `scope` in `extra` is what it would take."""

    code = "scope_missing"
    title = "Scope missing"
    http_status = 403


class KeysRequired(ServiceError):
    """The request comes from another machine, and nobody said whether those need a key."""

    code = "keys_required"
    title = "Keys required"
    http_status = 403


class RateLimited(ServiceError):
    """The key has made all the requests that it may make for now."""

    code = "rate_limited"
    title = "Too many requests"
    http_status = 429
    retryable = True


class BytesLimited(ServiceError):
    """The key has sent all the bytes that it may send for now; not retryable where the body is larger than all of them."""

    code = "bytes_limited"
    title = "Too many bytes"
    http_status = 429
    retryable = True


class OpenJobsLimited(ServiceError):
    """The key has all the open jobs that it may have."""

    code = "open_jobs_limited"
    title = "Too many open jobs"
    http_status = 429
    retryable = True


class CrossSite(ServiceError):
    """Another site's page asks for a change with what the browser adds by itself: a cookie, or being on this machine."""

    code = "cross_site_request"
    title = "Request of another site"
    http_status = 403


class HostUnknown(ServiceError):
    """Without keys, the request names a host that is not known as the service's own: any site could have that name lead here."""

    code = "host_unknown"
    title = "Not a name of this service"
    http_status = 421


class KeyNotFound(ServiceError):
    """No API key has this id."""

    code = "key_not_found"
    title = "No such key"
    http_status = 404
