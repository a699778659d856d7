"""The types of the settings' fields: what each environment variable may say, and how it is brought to one form."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from contracts.hosts import clean_host
from infra.runtime import redis_url


def _object_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return url
    if parts.scheme == "s3" and parts.netloc:
        return url
    raise ValueError("expected file:///absolute/folder or s3://bucket/prefix")


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("expected http://host:port or https://host:port, without a user, a query or a fragment")
    return url


def checked_secret(secrets: str) -> str:
    """`secrets`: one secret, or several separated by spaces while receivers change from one to the next. Raises ValueError."""
    for secret in secrets.split() or [""]:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
            raise ValueError("expected whsec_ followed by the base64 of 24 to 64 random bytes")
    return secrets


def _folder(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        raise ValueError("no such home folder") from None


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?", text):
        raise ValueError(
            "expected * or an origin as browsers send it: https://shop.example, without a slash at the end"
        )
    return text


def _root_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise ValueError("expected a path like /shitu, of letters, digits and . _ ~ -")
    if path.split("/")[1:2] in (["v1"], ["static"]):
        raise ValueError("the API's own paths begin so; choose another one")
    return path


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected addresses or networks, separated by commas: 127.0.0.1,10.0.0.0/8") from None
    return text


def _bucket(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/[^\s,/]+)*/?", text):
        raise ValueError("expected names of buckets, or of parts of them, separated by commas: photos,archive/shop-1")
    return text.rstrip("/")


def _root(text: str) -> str:
    parts = urlsplit(text)
    if (parts.scheme == "s3" and parts.netloc) or text.startswith("/"):
        return text.rstrip("/") or "/"
    raise ValueError("expected absolute folders or s3://bucket/prefix, separated by commas")


def _list(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Folder = Annotated[Path, AfterValidator(_folder)]
RedisUrl = Annotated[str, AfterValidator(redis_url.checked)]
ObjectUrl = Annotated[str, AfterValidator(_object_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Secret = Annotated[str, AfterValidator(checked_secret)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_list)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_list)]
RootPath = Annotated[str, AfterValidator(_root_path)]
Schedule = Annotated[
    tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1), BeforeValidator(_list)
]

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_list)]
Buckets = Annotated[tuple[Annotated[str, AfterValidator(_bucket)], ...], BeforeValidator(_list)]
Roots = Annotated[tuple[Annotated[str, AfterValidator(_root)], ...], BeforeValidator(_list)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(clean_host)], ...], BeforeValidator(_list)]
