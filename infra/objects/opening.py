"""Opens the object store that the settings name: a local folder or an S3 bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from infra.errors.service import ConfigurationError
from infra.objects.local import LocalStore
from infra.runtime import tracing

if TYPE_CHECKING:
    from pathlib import Path

    from infra.objects.store import ObjectStore
    from infra.runtime.settings import ObjectSettings


def open_store(settings: ObjectSettings, data_dir: Path) -> ObjectStore:
    """The store that the settings name; without a URL the folder `objects` in the data folder.

    Opens no connection. Raises ConfigurationError for a URL of neither kind.
    """
    if settings.url is None:
        return LocalStore(data_dir / "objects")
    parts = urlsplit(settings.url)
    if parts.scheme == "file" and not parts.netloc:
        return LocalStore(type(data_dir)(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from infra.objects.s3 import S3Store  # boto3 takes a quarter of a second that a local folder need not pay

        tracing.instrument_s3()
        return S3Store(
            parts.netloc, parts.path.strip("/"), settings.endpoint_url, settings.region, settings.public_endpoint_url
        )
    raise ConfigurationError(["SHITU_OBJECTS__URL: expected file:///absolute/folder or s3://bucket/prefix"])
