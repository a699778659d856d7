"""Reads the JSON body of a request that is nothing but JSON."""

from __future__ import annotations

from flask import request

from infra.errors.requests import UnsupportedMediaType
from web.schemas import Model, parse, parse_json
from web.uploads import read_body


def sent_json(model: type[Model], *, optional: bool = False) -> Model:
    """The body of the current request; nothing sent is `{}` where it is `optional`. Raises the errors of BODY."""
    data = read_body()
    if optional and not data.strip():
        return parse(model, {})
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    return parse(model, parse_json(data))
