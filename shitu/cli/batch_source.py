"""Where the photos of `shitu batch` are: a folder, or the objects below an S3 prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif"}


@dataclass(frozen=True)
class Photo:
    """A photo by its path below the source, and its size in bytes."""

    path: str
    size: int


class Source(Protocol):
    """Photos to be listed once and read one by one, by many threads."""

    def photos(self) -> Iterator[Photo]:
        """All of them, in a fixed order. Raises click.ClickException."""

    def read(self, path: str) -> bytes:
        """The bytes of one. Raises OSError if it is gone or cannot be read."""


class Folder:
    """A folder of this machine with all below it; hidden files and folders are left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def photos(self) -> Iterator[Photo]:
        for path in sorted(self._folder.rglob("*")):
            below = path.relative_to(self._folder)
            hidden = any(part.startswith(".") for part in below.parts)
            if not hidden and path.suffix.lower() in ENDINGS and path.is_file():
                yield Photo(below.as_posix(), path.stat().st_size)

    def read(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()


class Bucket:
    """The objects below `s3://bucket/prefix`; credentials, region and AWS_ENDPOINT_URL by boto3's own chain."""

    def __init__(self, url: str) -> None:
        import boto3
        from botocore.config import Config

        parts = urlsplit(url)
        self._bucket, self._prefix = parts.netloc, parts.path.lstrip("/")
        retries: Any = {"max_attempts": 8, "mode": "standard"}
        self._client = boto3.client("s3", config=Config(retries=retries, max_pool_connections=32))

    def photos(self) -> Iterator[Photo]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            ):
                for one in page.get("Contents", ()):
                    if Path(one["Key"]).suffix.lower() in ENDINGS:
                        yield Photo(one["Key"].removeprefix(self._prefix).lstrip("/"), one["Size"])
        except (BotoCoreError, ClientError) as error:
            raise click.ClickException(f"s3://{self._bucket} cannot be listed: {error}") from error

    def read(self, path: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        prefix = self._prefix if not self._prefix or self._prefix.endswith("/") else f"{self._prefix}/"
        try:
            found: bytes = self._client.get_object(Bucket=self._bucket, Key=prefix + path)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"{path}: {error}") from error
        return found


def open_source(source: str) -> Source:
    """The folder or the bucket. Raises click.UsageError for neither."""
    if source.startswith("s3://"):
        if not urlsplit(source).netloc:
            raise click.UsageError(f"{source!r} names no bucket: s3://bucket/prefix")
        return Bucket(source)
    if not Path(source).is_dir():
        raise click.UsageError(f"{source!r} is neither a folder nor s3://bucket/prefix")
    return Folder(Path(source))
