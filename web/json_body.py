"""Reads the JSON body of a request that is nothing but JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from infra.errors.requests import UnsupportedMediaType
from web.named_urls import parse_with_urls
from web.schemas import Model, parse, parse_json
from web.uploads import read_body

if TYPE_CHECKING:
    from infra.runtime.settings import Settings


def sent_json(model: type[Model], *, optional: bool = False, urls_by: Settings | None = None) -> Model:
    """The body of the current request; nothing sent is `{}` where it is `optional`. Raises the errors of BODY.

    With `urls_by` also the address errors, by these settings, for URLs that it names.
    """
    data = read_body()
    if optional and not data.strip():
        return parse(model, {})
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    sent = parse_json(data)
    return parse(model, sent) if urls_by is None else parse_with_urls(model, sent, urls_by)
