"""Pictures that requests name as `s3://bucket/key`, in buckets that the settings open to them.

They are read with the service's own credentials, so a request may name only what SHITU_OBJECTS__INPUT_BUCKETS does, and
never the service's own bucket: else whoever can send a job could read every picture in it. A key is taken as it is
written: nothing in it is decoded, and `?` and `#` belong to it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from infra.errors.photos import (
    BucketForbidden,
    FetchFailed,
    FetchTimeout,
    FetchTooLarge,
    InvalidUrl,
    ObjectNotFound,
    S3AccessDenied,
    S3BucketMissing,
    S3KeyMissing,
)
from infra.errors.service import BucketMissing, StorageRefused, StorageUnavailable, StorageUnreachable

if TYPE_CHECKING:
    from infra.runtime.settings import ObjectSettings

SCHEME = "s3://"
SETTING = "SHITU_OBJECTS__INPUT_BUCKETS"
MAX_KEY_BYTES = 1024  # S3's own limit
READ_BYTES = 65_536
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}


@dataclass(frozen=True)
class Location:
    """An object in somebody's bucket."""

    bucket: str
    key: str

    @property
    def name(self) -> str:
        """What is shown of it: the last part of its key."""
        return self.key.rpartition("/")[2]


def is_s3(url: str) -> bool:
    """Whether `url` means an object in a bucket."""
    return url[: len(SCHEME)].lower() == SCHEME


def parse_location(url: str) -> Location:
    """The bucket and key of `s3://bucket/key`. Raises InvalidUrl."""
    bucket, slash, key = url[len(SCHEME) :].partition("/")
    if not BUCKET.fullmatch(bucket):
        raise InvalidUrl("The address must be s3://bucket/key, with the bucket's name alone before the slash.")
    if not slash or not key or key.endswith("/"):
        raise InvalidUrl("The address must be s3://bucket/key; this one names no object.")
    if len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise InvalidUrl(f"The key is longer than the {MAX_KEY_BYTES} bytes that S3 allows.")
    if any(not character.isprintable() for character in key):
        raise InvalidUrl("The key has a control or an invisible character in it.")
    if {".", ".."} & set(key.split("/")):  # some servers and proxies would go to another folder
        raise InvalidUrl("The key has a part that is a dot or two dots.")
    return Location(bucket, key)


def check_location(url: str, settings: ObjectSettings) -> Location:
    """`url`, if the settings let requests read there; asks nobody. Raises InvalidUrl, BucketForbidden."""
    found = parse_location(url)
    if found.bucket == settings.own_bucket:
        raise BucketForbidden("This is the bucket of the service itself, which no request may read.")
    for entry in settings.input_buckets:
        bucket, _, below = entry.partition("/")
        if found.bucket == bucket and (not below or found.key.startswith(f"{below}/")):
            return found
    raise BucketForbidden(f"The service may not read there for requests; the setting {SETTING} can allow it.")


class Inputs:
    """Reads such objects. May be used by many threads; makes no client before it is used."""

    def __init__(self, settings: ObjectSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s

    @cached_property
    def _client(self) -> Any:
        from infra.objects.s3 import s3_client  # boto3 takes a quarter of a second that others need not pay

        # One attempt: the job has attempts of its own, with pauses.
        return s3_client(self._settings.endpoint_url, self._settings.region, read_timeout_s=self._timeout_s, attempts=1)

    def read(self, url: str, max_bytes: int) -> bytes:
        """The object's bytes. Raises InvalidUrl, BucketForbidden, S3AccessDenied, S3KeyMissing, S3BucketMissing,
        FetchTooLarge, FetchTimeout, FetchFailed, and StorageRefused where the service's credentials are no good at all.
        """
        from infra.objects.s3 import translated

        where = check_location(url, self._settings)
        client, until = self._client, time.monotonic() + self._timeout_s
        try:
            with translated():
                answer = client.get_object(Bucket=where.bucket, Key=where.key)
                length, body = answer["ContentLength"], answer["Body"]
                try:
                    if length > max_bytes:
                        raise FetchTooLarge(f"The object is {length} bytes, more than the {max_bytes} allowed.")
                    content = bytearray()
                    while piece := body.read(READ_BYTES):
                        content += piece
                        if time.monotonic() > until:
                            raise FetchTimeout("The object did not come completely in time.")
                    return bytes(content)
                finally:
                    body.close()
        except ObjectNotFound:
            raise S3KeyMissing("The bucket has no such object.") from None
        except BucketMissing as error:
            raise S3BucketMissing("There is no such bucket, or it is in another region.") from error
        except StorageRefused as error:
            if _code(error) in DENIED:
                report = "The service may not read this object; where it may not list the bucket, S3 says so of missing ones too."
                raise S3AccessDenied(report) from error
            raise
        except StorageUnreachable as error:
            if "in time" in error.detail:
                raise FetchTimeout("The S3 server did not answer in time.") from error
            raise FetchFailed("The S3 server could not be reached.") from error
        except StorageUnavailable as error:
            if _code(error) == "InvalidObjectState":
                failed = FetchFailed("The object is archived and must be restored before it can be read.")
                failed.retryable = False
                raise failed from error
            raise FetchFailed("The S3 server answered with an error.") from error


def _code(error: StorageUnavailable) -> str:
    """S3's own code, of the error that was translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
