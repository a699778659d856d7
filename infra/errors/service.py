"""The service itself: its settings, its stores, Redis. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class ConfigurationError(ServiceError):
    """One or more settings are wrong; `problems` holds one readable line for each."""

    code = "configuration_invalid"
    title = "Invalid configuration"

    def __init__(self, problems: list[str]) -> None:
        report = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"The configuration is not valid:{report}")
        self.problems = problems


class InvalidObjectKey(ServiceError):
    """A key that could leave its folder, or that no store accepts."""

    code = "object_key_invalid"
    title = "Invalid object key"
    http_status = 400


class StorageUnavailable(ServiceError):
    """The object store cannot be reached, refuses the credentials, or is full."""

    code = "storage_unavailable"
    title = "Storage unavailable"
    http_status = 503
    retryable = True


class StorageUnreachable(StorageUnavailable):
    """Nothing answers where the object store should be: a name that does not resolve, no connection, no answer in time."""

    code = "storage_unreachable"
    title = "Storage unreachable"


class StorageRefused(StorageUnavailable):
    """The object store answers, but not to us: the credentials are missing, wrong, expired, or may not do this."""

    code = "storage_refused"
    title = "Storage refused"
    retryable = False


class BucketMissing(StorageRefused):
    """The object store has no bucket of the name that the settings give, or has it in another region."""

    code = "bucket_missing"
    title = "No such bucket"


class NotReady(ServiceError):
    """No worker with loaded models consumes jobs at the moment."""

    code = "not_ready"
    title = "Not ready"
    http_status = 503
    retryable = True


class Overloaded(ServiceError):
    """The backlog is so long that a new job would wait longer than is acceptable; `wait_s` in `extra` is how long."""

    code = "overloaded"
    title = "Overloaded"
    http_status = 503
    retryable = True


class RedisUnavailable(ServiceError):
    """Redis cannot be reached, found or started."""

    code = "redis_unavailable"
    title = "Redis unavailable"
    http_status = 503
    retryable = True


class RedisMisconfigured(RedisUnavailable):
    """What answers cannot serve until somebody changes a setting: no Redis, a cluster, another password or certificate."""

    code = "redis_misconfigured"
    title = "Redis misconfigured"
    retryable = False
