"""Objects in an S3 bucket, by boto3: time limits, retries, and S3's errors in the service's own words."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    TokenRetrievalError,
)

from infra.errors.photos import ObjectNotFound
from infra.errors.service import (
    BucketMissing,
    ConfigurationError,
    StorageRefused,
    StorageUnavailable,
    StorageUnreachable,
)
from infra.objects.store import check_key, check_prefix, image_key

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 20
ATTEMPTS = 4
PAGE_KEYS = 1000
MULTIPART_BYTES, PART_BYTES = 64 << 20, 16 << 20  # from what size on an object is sent in parts, and theirs
PARTS_AT_ONCE = 4
DEFAULT_REGION = "us-east-1"  # what servers other than Amazon's expect when none is set

MISSING = {"NoSuchKey", "404", "NotFound"}
# Trying again changes nothing about these: someone has to change the settings. What is reported, by S3's code.
NO_BUCKET = {
    "NoSuchBucket": "The object store has no such bucket.",
    "InvalidBucketName": "The name of the bucket is none that an object store takes.",
    "PermanentRedirect": "The bucket is in another region, or at another endpoint.",
    "AuthorizationHeaderMalformed": "The bucket is in another region.",
}
REFUSED = {
    "AccessDenied": "The object store's credentials may not do this.",
    "403": "The object store's credentials are wrong, or may not do this.",
    "Forbidden": "The object store's credentials are wrong, or may not do this.",
    "InvalidAccessKeyId": "The object store does not know the access key.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key.",
    "ExpiredToken": "The object store's credentials have expired.",
    "InvalidToken": "The session token of the object store's credentials is not valid.",
    "RequestTimeTooSkewed": "This machine's clock differs too much from the object store's.",
}
UNREACHABLE = (HTTPClientError, EndpointConnectionError)  # no name, no connection, a broken one, no answer in time


def s3_client(
    endpoint_url: str | None, region: str | None, *, read_timeout_s: float = READ_TIMEOUT_S, attempts: int = ATTEMPTS
) -> Any:
    """boto3's client for a server and region; credentials by its own chain. Asks nobody.

    Raises ConfigurationError for an endpoint, region, profile or AWS file that cannot be used.
    """
    try:
        session = boto3.session.Session()
        return session.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region or session.region_name or DEFAULT_REGION,
            config=Config(
                signature_version="s3v4",
                connect_timeout=min(CONNECT_TIMEOUT_S, read_timeout_s),
                read_timeout=read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=50,
                # Other S3 servers know neither host names made of bucket names nor the newer checksum trailers.
                s3={"addressing_style": "path" if endpoint_url else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except (ValueError, BotoCoreError) as error:  # nothing was sent yet: it is what the environment says
        report = " ".join(str(error).split())
        raise ConfigurationError([f"SHITU_OBJECTS__*, AWS_*: no S3 client can be made: {report}"]) from error


class _BrokenOffError(Exception):
    """An answer whose head came, and not all of its body."""


class S3Store:
    """Objects of `bucket` whose keys begin with `prefix`. Credentials come by boto3's own chain (AWS_*)."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        public_endpoint_url: str | None = None,
    ) -> None:
        """Asks nobody. Raises ConfigurationError for an endpoint, region, profile or AWS file that cannot be used."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = s3_client(endpoint_url, region)
        # A signature is for one host: links are signed for the one that clients ask.
        self._signer = s3_client(public_endpoint_url, region) if public_endpoint_url else self._client

    def put(self, key: str, data: bytes) -> None:
        with translated():
            if len(data) < MULTIPART_BYTES:
                self._client.put_object(Bucket=self._bucket, Key=self._full(key), Body=data)
                return
            # In parts, each with attempts of its own; the object appears whole when the last has come, or not at all.
            self._client.upload_fileobj(
                io.BytesIO(data),
                self._bucket,
                self._full(key),
                Config=TransferConfig(MULTIPART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PARTS_AT_ONCE),
            )

    def get(self, key: str) -> bytes:
        try:
            return self._get(key)
        except _BrokenOffError:  # boto3 repeats a request that got no answer, but not one whose bytes break off
            pass
        try:
            return self._get(key)
        except _BrokenOffError as error:
            raise StorageUnreachable("The object store cannot be reached: its answer broke off.") from error

    def _get(self, key: str) -> bytes:
        with translated():
            body = self._client.get_object(Bucket=self._bucket, Key=self._full(key))["Body"]
            try:
                data: bytes = body.read()
            except (ResponseStreamingError, ReadTimeoutError) as error:
                raise _BrokenOffError from error
            return data

    def read(self, name: str, most: int) -> bytes:
        """The first `most` bytes of an object that others put there, whatever its name is. Raises ObjectNotFound."""
        with translated():
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read(most)
            return data

    def exists(self, key: str) -> bool:
        try:
            with translated():
                self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        except ObjectNotFound:
            return False
        return True

    def size(self, key: str) -> int:
        with translated():
            return int(self._client.head_object(Bucket=self._bucket, Key=self._full(key))["ContentLength"])

    def link_to_put(self, key: str, size: int, media_type: str, valid_s: float) -> str:
        """As LinkingStore. Both are signed: the server refuses a body of another length or type."""
        return self._link("put_object", key, valid_s, ContentLength=size, ContentType=media_type)

    def link_to_get(self, key: str, media_type: str | None, valid_s: float) -> str:
        """As LinkingStore."""
        return self._link("get_object", key, valid_s, **({"ResponseContentType": media_type} if media_type else {}))

    def _link(self, method: str, key: str, valid_s: float, **signed: Any) -> str:
        place = {"Bucket": self._bucket, "Key": self._full(key)}
        with translated():
            link = self._signer.generate_presigned_url(method, Params={**place, **signed}, ExpiresIn=int(valid_s))
        return str(link)

    def delete(self, key: str) -> None:
        with translated():
            self._client.delete_object(Bucket=self._bucket, Key=self._full(key))

    def list(self, prefix: str = "") -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + check_prefix(prefix), PaginationConfig={"PageSize": PAGE_KEYS}
        )
        with translated():
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self._prefix)

    def put_image(self, image_bytes: bytes) -> str:
        key = image_key(image_bytes)
        self.put(key, image_bytes)  # also if it is there: its time counts
        return key

    def delete_idle(self, key: str, since: float) -> bool:
        # S3 knows no conditional deletion that every server has: a put between the two requests is lost.
        try:
            with translated():
                found = self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        except ObjectNotFound:
            return True
        if found["LastModified"].timestamp() > since:
            return False
        self.delete(key)
        return True

    def _full(self, key: str) -> str:
        return self._prefix + check_key(key)


@contextmanager
def translated() -> Iterator[None]:
    """Raises the service's own errors for boto3's; the details of a bucket are nothing for a client."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING:
            raise ObjectNotFound("The object store has no such object.") from error
        if code in NO_BUCKET:
            raise BucketMissing(NO_BUCKET[code]) from error
        if code in REFUSED:
            raise StorageRefused(REFUSED[code]) from error
        raise StorageUnavailable(f"The object store answered with an error ({code or 'no code'}).") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageRefused("There are no credentials for the object store.") from error
    except (TokenRetrievalError, CredentialRetrievalError) as error:
        raise StorageRefused("The credentials for the object store cannot be had.") from error
    except UNREACHABLE as error:
        slow = isinstance(error, ConnectTimeoutError | ReadTimeoutError)
        why = "it does not answer in time" if slow else "there is no connection to it"
        raise StorageUnreachable(f"The object store cannot be reached: {why}.") from error
    except BotoCoreError as error:
        raise StorageUnavailable("The request to the object store failed.") from error
