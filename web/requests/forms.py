"""A multipart form as files by field and text fields; every name is checked first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from contracts.names import clean_name
from infra.errors.requests import InvalidRequest, TooManyFiles, UnsupportedMediaType
from web.requests.images import Upload
from web.requests.parsing import parse_json, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from werkzeug.datastructures import FileStorage


def read_json(fields: dict[str, Any], *names: str) -> None:
    """Text fields of a form that hold JSON. Raises InvalidRequest."""
    for name in names:
        if name in fields:
            fields[name] = parse_json(fields[name], f"/{name}")


def read_form(
    file_limits: dict[str, int],
    text_names: Collection[str],
    lists: tuple[str, ...] = (),
    *,
    json_too: bool = False,
    once: dict[str, str] | None = None,
) -> tuple[dict[str, list[Upload]], dict[str, Any]]:
    """The files by field and the text fields of the current request; every name is checked first.

    `once`: what is said of a field that is given more than once, where there is more to say.
    """
    if request.mimetype != "multipart/form-data":
        ways = "multipart/form-data or as application/json" if json_too else "multipart/form-data"
        raise UnsupportedMediaType(f"Send the body as {ways}.")
    files = _files()
    allowed = [*file_limits, *text_names]
    errors = [
        {"pointer": f"/{name}", "detail": unknown_name(name, allowed)}
        for name in [*files, *request.form]
        if name not in allowed
    ]
    errors += [
        {"pointer": f"/{name}", "detail": "this is a text field, not a file"} for name in files if name in text_names
    ]
    for name in file_limits:
        if name in request.form:
            errors.append({"pointer": f"/{name}", "detail": "send this as a file: its part needs a filename"})
        elif not files.get(name):
            errors.append({"pointer": f"/{name}", "detail": "this file is required"})
    for name in request.form:
        if name not in lists and len(request.form.getlist(name)) > 1:
            errors.append(
                {"pointer": f"/{name}", "detail": (once or {}).get(name, "this field is given more than once")}
            )
    if errors:
        raise InvalidRequest(
            "; ".join(f"{e['pointer'].removeprefix('/')}: {e['detail']}" for e in errors), errors=errors
        )
    for name, limit in file_limits.items():
        if len(files[name]) > limit:
            raise TooManyFiles(f"{len(files[name])} files in {name!r}, at most {limit} are allowed.", max_files=limit)
    uploads = {name: [Upload(file.read(), clean_name(file.filename)) for file in files[name]] for name in file_limits}
    fields = {name: request.form.getlist(name) if name in lists else request.form[name] for name in request.form}
    return uploads, fields


def _files() -> dict[str, list[FileStorage]]:
    """The request's files. A form of too many parts looks to werkzeug like a body that is too large."""
    try:
        return {name: request.files.getlist(name) for name in request.files}
    except RequestEntityTooLarge:
        limit = request.max_content_length
        if limit is not None and request.content_length is not None and request.content_length <= limit:
            raise TooManyFiles("The form has too many parts, or a text field in it is too long.") from None
        raise
