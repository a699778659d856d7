"""Refuses what a route would never look at: unknown or repeated query parameters, and a body where none is read.

A misspelt name that is silently ignored costs its user a day. What a route takes is what /openapi.json says of it. The
page and its files are for people, whose links gather parameters on the way: there they are ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import current_app, request

from infra.errors.requests import InvalidRequest
from web.openapi.operations import operation_of
from web.requests.parsing import parse_json, unknown_name
from web.requests.uploads import read_body

if TYPE_CHECKING:
    from flask import Flask

    from web.openapi.operations import Operation

PAGES = "page"  # the blueprint of all of them
FOR_PEOPLE = frozenset({"reference.show", "static"})


def register(app: Flask) -> None:
    """Checks every request of `app` before its view."""
    app.before_request(check)


def check() -> None:
    """Raises InvalidRequest with every unknown name of the current request, RequestEntityTooLarge."""
    if request.url_rule is None or request.endpoint in FOR_PEOPLE or request.blueprint == PAGES:
        return
    if request.method == "OPTIONS":
        return
    operation = operation_of(current_app.view_functions[request.url_rule.endpoint])
    if operation is None:
        return
    errors = _of_query(operation)
    if not operation.body:
        errors += _of_body()
    if errors:
        raise InvalidRequest(
            "; ".join(f"{e['pointer'].removeprefix('/') or 'body'}: {e['detail']}" for e in errors), errors=errors
        )


def _of_query(operation: Operation) -> list[dict[str, str]]:
    allowed = list(operation.query.model_fields) if operation.query else []
    prefixes = tuple(getattr(operation.query, "PREFIXES", ()))
    errors = []
    for name in request.args:
        pointer = f"/{name}"
        if name not in allowed and not name.startswith(prefixes):
            nothing = f"there is no query parameter {name!r} here; this route takes none"
            takes = [*allowed, *(f"{prefix}KEY" for prefix in prefixes)]
            errors.append({"pointer": pointer, "detail": unknown_name(name, takes) if takes else nothing})
        elif len(request.args.getlist(name)) > 1 and name not in operation.repeatable:
            errors.append({"pointer": pointer, "detail": "this query parameter is given more than once"})
    return errors


def _of_body() -> list[dict[str, str]]:
    """An empty JSON object is what many clients send for nothing; whatever else is sent would be ignored."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return []
    data = read_body()
    if not data.strip():
        return []
    detail = "this route takes no body; leave it out"
    if request.mimetype == "application/json":
        sent = parse_json(data)
        names = list(sent) if isinstance(sent, dict) else [json.dumps(sent)[:40]]
        return [{"pointer": f"/{name}", "detail": f"there is no field {name!r} here; {detail}"} for name in names]
    return [{"pointer": "", "detail": detail}]
