"""A photo as it is sent with what the client says of its job. Steps without I/O."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shitu.client.exchange import Steps, call, once
from shitu.client.pictures import upload_of, url_of
from shitu.client.uploads import by_link_if_big

if TYPE_CHECKING:
    from datetime import datetime

    from shitu.client.pictures import Picture


Filters = Mapping[str, str] | Sequence[str]  # {"brand": "x"}, or ["brand:x"]


def filters_sent(filters: Filters | None) -> list[str]:
    """As requests name them."""
    if isinstance(filters, Mapping):
        return [f"{name}:{value}" for name, value in filters.items()]
    return [filters] if isinstance(filters, str) else list(filters or ())


class Terms:
    """What a request says of the job that it makes."""

    def __init__(
        self,
        metadata: Mapping[str, str] | None,
        priority: str | None,
        webhook_url: str | None,
        cancel_after_s: float | None,
        idempotency_key: str | None,
    ) -> None:
        self.metadata, self.priority, self.webhook_url = metadata, priority, webhook_url
        self.headers = once(idempotency_key)
        if cancel_after_s is not None:
            self.headers["Cancel-After"] = f"{math.ceil(cancel_after_s)}s"

    def fields(self) -> dict[str, Any]:
        """For a form."""
        found = {
            "metadata": None if self.metadata is None else json.dumps(dict(self.metadata), ensure_ascii=False),
            "priority": self.priority,
            "webhook_url": self.webhook_url,
        }
        return {name: value for name, value in found.items() if value is not None}

    def members(self) -> dict[str, Any]:
        """For JSON."""
        found = {
            "metadata": None if self.metadata is None else dict(self.metadata),
            "priority": self.priority,
            "webhook": None if self.webhook_url is None else {"url": self.webhook_url},
        }
        return {name: value for name, value in found.items() if value is not None}


def send_photo(
    path: str,
    photo: Picture | Mapping[str, Any],
    name: str | None,
    options: Mapping[str, Any] | None,
    galleries: Sequence[str],
    terms: Terms,
    filters: Sequence[str] = (),
    embedder: str | None = None,
) -> Steps[Any]:
    sent = dict(options or {})
    only: dict[str, Any] = {"filter": list(filters)} if filters else {}
    if embedder is not None:
        only["embedder"] = embedder
    named, files = named_photo(photo), []
    if named is None:
        upload = upload_of(photo, name)  # type: ignore[arg-type]  # an upload was named
        sent_by_link = yield from by_link_if_big(upload)
        named = None if sent_by_link is None else {"upload": sent_by_link}
        files = [("image", upload)]
    if named is not None:
        image = {**named, **({} if name is None else {"name": name})}
        where = {} if not galleries else {"gallery": galleries[0]} if len(galleries) == 1 else {"galleries": galleries}
        body = {"image": image, "options": sent, **where, **only, **terms.members()}
        return (yield from call("POST", path, json=body, headers=terms.headers))
    fields = {
        **terms.fields(),
        **({"options": json.dumps(sent)} if sent else {}),
        **({"gallery": galleries} if galleries else {}),
        **only,
    }
    return (yield from call("POST", path, fields=fields, files=files, headers=terms.headers))


def named_photo(photo: Picture | Mapping[str, Any]) -> dict[str, str] | None:
    """How JSON names a picture that is not sent with it; None: it is sent."""
    if (url := url_of(photo)) is not None:
        return {"url": url}
    return {"upload": str(photo["id"])} if isinstance(photo, Mapping) else None


def named_photos(photos: Sequence[Picture | Mapping[str, Any]]) -> list[dict[str, str]] | None:
    """How JSON names several, those that are sent within it, too; None: none needs JSON, all are sent as files."""
    named = [named_photo(photo) for photo in photos]
    if all(one is None for one in named):
        return None
    return [one or _in_json(photo) for one, photo in zip(named, photos, strict=True)]  # type: ignore[arg-type]  # a picture


def _in_json(photo: Picture) -> dict[str, str]:
    upload = upload_of(photo)
    return {"base64": base64.b64encode(upload.data).decode(), "name": upload.name}


def moment(report: datetime | str | None) -> str | None:
    """A time as it is sent."""
    return report if report is None or isinstance(report, str) else report.isoformat()
