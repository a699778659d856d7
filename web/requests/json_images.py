"""A picture that a JSON request names: its base64, a URL to fetch it from, or what was uploaded by a link."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from contracts.names import clean_name, decode_name
from infra.errors.requests import InvalidRequest
from infra.objects.inputs import is_s3, parse_location
from web.access import auth
from web.requests.images import Upload
from web.requests.members import ImageBase64, ImageUpload, ImageUrl
from web.requests.parsing import parse
from web.services import services

DATA_URL = re.compile(r"data:[\w/+.-]*;base64,")


@dataclass(frozen=True)
class Link:
    """A picture to be fetched, and the name to show with it."""

    url: str
    name: str


def json_image(image: dict[str, Any], pointer: str = "/image") -> Upload | Link:
    """The picture that stands at `pointer` in the body. A URL has been checked by `parse_with_urls`."""
    if len({"base64", "url", "upload"} & image.keys()) != 1:
        detail = "give exactly one of 'base64', 'url' and 'upload'"
        where = pointer.removeprefix("/").replace("/", ".")
        raise InvalidRequest(f"{where}: {detail}.", errors=[{"pointer": pointer, "detail": detail}])
    if "base64" in image:
        sent = parse(ImageBase64, image, pointer)
        return Upload(_from_base64(sent.base64, pointer), clean_name(sent.name))
    if "upload" in image:
        named = parse(ImageUpload, image, pointer)
        return uploaded(named.upload, named.name)
    linked = parse(ImageUrl, image, pointer)
    return Link(linked.url, clean_name(linked.name or _name_in(linked.url)))


def uploaded(upload_id: str, name: str) -> Upload:
    """What the current request's key uploaded by a link. Raises the errors of NAMED_UPLOAD."""
    service = services()
    found = service.uploads.find(upload_id, auth.owner())
    data = service.uploads.read(found, service.settings.web.max_body_bytes)
    return Upload(data, clean_name(name or found.name), found.id)


def _name_in(url: str) -> str:
    """The name that a URL gives its picture."""
    return parse_location(url).name if is_s3(url) else decode_name(unquote_to_bytes(urlsplit(url).path))


def _from_base64(text: str, pointer: str) -> bytes:
    prefix = DATA_URL.match(text)
    try:
        return base64.b64decode("".join(text[prefix.end() if prefix else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        detail = "not valid base64"
        where = pointer.removeprefix("/").replace("/", ".")
        raise InvalidRequest(
            f"{where}.base64 is {detail}.", errors=[{"pointer": f"{pointer}/base64", "detail": detail}]
        ) from None
