"""Reads the JSON body of a request that is nothing but JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from infra.errors.requests import UnsupportedMediaType
from web.requests.named_urls import parse_with_urls
from web.requests.parsing import Model, parse, parse_json
from web.requests.uploads import read_body

if TYPE_CHECKING:
    from infra.runtime.settings import Settings


def sent_json(model: type[Model], *, optional: bool = False, urls_by: Settings | None = None) -> Model:
    """The body of the current request; nothing sent is `{}` where it is `optional`. Raises the errors of BODY.

    With `urls_by` also the address errors, by these settings, for URLs that it names.
    """
    is_json = request.mimetype == "application/json"
    data = read_body() if is_json or optional else b""
    nothing = optional and not data.strip()
    if not is_json and not nothing:
        raise UnsupportedMediaType(f"Send the body as application/json{', or none' if optional else ''}.")
    sent = {} if nothing else parse_json(data)
    return parse(model, sent) if urls_by is None else parse_with_urls(model, sent, urls_by)
