"""The URLs that a request names, of a photo to fetch or of a webhook: what is wrong with them is reported with all else that is.

Only what their spelling shows: no name is resolved (`infra.net.addresses.check_spelling`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.errors.photos import AddressForbidden, InvalidUrl
from infra.errors.requests import InvalidRequest
from infra.net.addresses import check_spelling
from infra.objects.inputs import check_location, is_s3
from web.requests.parsing import Model, parse

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

PHOTOS, WEBHOOKS = "SHITU_WEB__ALLOWED_HOSTS", "SHITU_WEBHOOKS__ALLOWED_HOSTS"
PLACES = (("image", "url"), ("webhook", "url"), ("webhook_url",), ("url",))


def parse_with_urls(model: type[Model], data: object, settings: Settings) -> Model:
    """As `web.requests.parsing.parse`; also raises InvalidUrl or AddressForbidden, with `errors`, for what is wrong with URLs alone.

    A URL that could never be fetched or delivered is refused now, not when its job is done.
    """
    found = _mistakes(model, data, settings)
    report = "; ".join(f"{pointer.removeprefix('/').replace('/', '.')}: {_detail(error)}" for pointer, error in found)
    errors = [{"pointer": pointer, "detail": _detail(error)} for pointer, error in found]
    try:
        sent = parse(model, data)
    except InvalidRequest as error:
        if not found:
            raise
        raise InvalidRequest(f"{error.detail}; {report}", errors=[*error.extra["errors"], *errors]) from None
    if found:
        raise type(found[0][1])(report, errors=errors)
    return sent


def _mistakes(model: type[Model], data: object, settings: Settings) -> list[tuple[str, InvalidUrl | AddressForbidden]]:
    """With their pointers. What is no text, or empty, the model refuses."""
    found: list[tuple[str, InvalidUrl | AddressForbidden]] = []
    for path in (*PLACES, *_many(data, "images", "url"), *_many(data, "items", "image", "url")):
        at_photo = path[0] in {"image", "images", "items"}
        url = data if path[0] in model.model_fields else None
        for step in path:
            url = _member(url, step) if not (at_photo and isinstance(url, dict) and "base64" in url) else None
        if not isinstance(url, str) or not url:
            continue
        allowed = settings.web.allowed_hosts if at_photo else settings.webhooks.allowed_hosts
        try:
            if at_photo and is_s3(url):
                check_location(url, settings.objects)
            else:
                check_spelling(url, allowed)
        except AddressForbidden as error:
            found.append(("/" + "/".join(map(str, path)), error.with_remedy(PHOTOS if at_photo else WEBHOOKS)))
        except InvalidUrl as error:
            found.append(("/" + "/".join(map(str, path)), error))
    return found


def _many(data: Any, name: str, *below: str) -> list[tuple[str | int, ...]]:
    """The places of the URLs in a list of pictures."""
    several = data.get(name) if isinstance(data, dict) else None
    return [(name, place, *below) for place in range(len(several))] if isinstance(several, list) else []


def _member(data: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return data[step] if isinstance(data, list) else None
    return data.get(step) if isinstance(data, dict) else None


def _detail(error: InvalidUrl | AddressForbidden) -> str:
    detail = error.detail.removesuffix(".")
    return detail[0].lower() + detail[1:]
