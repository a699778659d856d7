"""Reads what is to be imported: files, kept part by part as they are (they may be larger than memory), or the name of a place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from flask import request
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from contracts.imports import LIST_ENDINGS, kind_of_file, kinds_of_files
from contracts.jobs import Priority
from contracts.names import clean_name
from contracts.options import Crop
from infra.errors.requests import InvalidRequest, UnsupportedMediaType
from infra.galleries.staging import PART_BYTES, Stage
from web.requests.members import PRIORITY, JobMetadata, Strict, Webhook
from web.requests.named_urls import parse_with_urls
from web.requests.parsing import parse_json, unknown_name
from web.requests.uploads import read_body
from web.services import services

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.datastructures import FileStorage

    from contracts.imports import ImportFile
    from infra.runtime.settings import Settings

ENDPOINT = "gallery_imports.create"
FILES = "files"


def _spoken(value: Any) -> Any:
    """A form has only text."""
    return {"true": True, "1": True, "false": False, "0": False}.get(value, value) if isinstance(value, str) else value


def _delimiter(value: Any) -> Any:
    if isinstance(value, str):
        value = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "blank": " ", "space": " "}.get(value, value)
        if not value:
            raise PydanticCustomError("delimiter", "a delimiter has at least one character")
    return value


Delimiter = Annotated[str | None, BeforeValidator(_delimiter)]
ACTIVATE: Any = Field(
    True,
    description="Whether the version that is made is put in force at once; false: it is staged, for activation later.",
)
CROP: Any = Field("whole", description="As of an enrolment: `main_body` cuts each picture to its most certain object.")
DELIMITER: Any = Field(
    None,
    description="Between a list's columns: any text, or `tab`, `comma`, `semicolon`, `blank`; null: it is found out.",
)


class ImportFields(Strict):
    """The text fields of a multipart import; what is imported are the files `files`."""

    activate: Annotated[bool, BeforeValidator(_spoken)] = ACTIVATE
    crop: Crop = CROP
    delimiter: Delimiter = DELIMITER
    webhook_url: str | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


class ImportRequest(Strict):
    """An import from a place that the workers can read and a setting allows."""

    source: str = Field(min_length=1, description="s3://bucket/prefix, or an absolute folder of the workers' machines.")
    list: str | None = Field(
        None, description="A list in it that says which pictures have which labels; without it its folders say it."
    )
    activate: bool = ACTIVATE
    crop: Crop = CROP
    delimiter: Delimiter = DELIMITER
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


@dataclass(frozen=True)
class Import:
    """What was sent: the files (not kept yet), or a place."""

    files: list[FileStorage]
    names: list[str]
    source: str | None
    list: str | None
    activate: bool
    crop: str
    delimiter: str | None
    webhook_url: str | None
    metadata: dict[str, str] = field(default_factory=dict)
    priority: Priority = "normal"


def register(app: Flask) -> None:
    """Lets the bodies of imports be larger than others."""

    @app.before_request
    def widen() -> None:
        if request.endpoint == ENDPOINT and request.mimetype == "multipart/form-data":
            request.max_content_length = services().settings.galleries.import_max_bytes


def read_import(settings: Settings) -> Import:
    """The current request. Raises InvalidRequest, BodyTooLarge, UnsupportedMediaType, and for its webhook as all do."""
    if request.mimetype == "application/json":
        sent = parse_with_urls(ImportRequest, parse_json(read_body()), settings)
        url = sent.webhook.url if sent.webhook else None
        if sent.list is not None and kind_of_file(sent.list) != "list":
            detail = f"a list's name ends with {', '.join(LIST_ENDINGS)}"
            raise InvalidRequest(f"list: {detail}.", errors=[{"pointer": "/list", "detail": detail}])
        return Import(
            [], [], sent.source, sent.list, sent.activate, sent.crop, sent.delimiter, url, sent.metadata, sent.priority
        )
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send the files as multipart/form-data, or a place as application/json.")
    files = request.files.getlist(FILES)
    names = [clean_name(file.filename) for file in files]
    read = parse_with_urls(ImportFields, _fields(names), settings)
    return Import(
        files,
        names,
        None,
        None,
        read.activate,
        read.crop,
        read.delimiter,
        read.webhook_url,
        read.metadata,
        read.priority,
    )


def _fields(names: list[str]) -> dict[str, Any]:
    """The text fields, once all names are right. Raises InvalidRequest that names every mistake."""
    allowed = [FILES, *ImportFields.model_fields]
    errors = [
        {"pointer": f"/{name}", "detail": unknown_name(name, allowed)}
        for name in dict.fromkeys([*request.files, *request.form])
        if name not in allowed
    ]
    errors += [
        {"pointer": f"/{name}", "detail": "this is a text field, not a file"}
        for name in request.files
        if name in ImportFields.model_fields
    ]
    if FILES in request.form:
        errors.append({"pointer": f"/{FILES}", "detail": "send this as a file: its part needs a filename"})
    elif not names:
        errors.append({"pointer": f"/{FILES}", "detail": "this file is required"})
    else:
        try:
            kinds_of_files(names)
        except ValueError as error:
            errors.append({"pointer": f"/{FILES}", "detail": str(error)})
    errors += [
        {"pointer": f"/{name}", "detail": "this field is given more than once"}
        for name in request.form
        if len(request.form.getlist(name)) > 1
    ]
    if errors:
        raise InvalidRequest(
            "; ".join(f"{one['pointer'].removeprefix('/')}: {one['detail']}" for one in errors), errors=errors
        )
    fields: dict[str, Any] = dict(request.form)
    if "metadata" in fields:
        fields["metadata"] = parse_json(fields["metadata"], "/metadata")
    return fields


def keep(stage: Stage, sent: Import) -> list[ImportFile]:
    """Keeps the files part by part, and gives what they are. Raises StorageUnavailable."""
    kept: list[ImportFile] = []
    for number, (file, name) in enumerate(zip(sent.files, sent.names, strict=True)):
        digest, size, part = hashlib.sha256(), 0, 0
        while data := file.stream.read(PART_BYTES):
            stage.put_part(number, part, data)
            digest.update(data)
            size, part = size + len(data), part + 1
        kept.append({"name": name, "bytes": size, "sha256": digest.hexdigest()})
    return kept
