"""/docs: the API for people to read, made on the server from what /openapi.json says. It needs no script."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app
from markupsafe import Markup, escape

from infra.errors.keys import HostUnknown
from web.access.scopes import open_to_all
from web.openapi.description import SCHEMA_PATH, describe
from web.openapi.operations import operation
from web.pages.page import page

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = re.compile(r"`([^`]+)`")
LIMITS = {
    "minimum": "≥ {}", "maximum": "≤ {}", "exclusiveMinimum": "> {}", "minLength": "≥ {} chars", "maxLength": "≤ {} chars",
    "minItems": "≥ {} items", "maxItems": "≤ {} items", "format": "{}",
}  # fmt: skip
PARTS = "reference"  # in the application's extensions

blueprint = Blueprint("reference", __name__)


@dataclass(frozen=True)
class Member:
    """A parameter, or a member of a record. `kind` is its type, with links to records."""

    name: str
    kind: Markup
    required: bool
    about: Markup
    place: str = ""


@dataclass(frozen=True)
class Content:
    """What is sent or answered: of a media type, the record or its members."""

    media: str
    kind: Markup
    members: list[Member]


@dataclass(frozen=True)
class Answer:
    """A status, what it means, and what comes with it."""

    status: str
    about: Markup
    contents: list[Content]


@dataclass(frozen=True)
class Call:
    """One route, or one message that the service sends."""

    name: str
    method: str
    path: str
    summary: Markup
    scope: str
    parameters: list[Member]
    bodies: list[Content]
    answers: list[Answer]
    refusals: list[Answer]


@dataclass(frozen=True)
class Group:
    """The calls of a tag."""

    name: str
    about: Markup
    calls: list[Call]


@dataclass(frozen=True)
class Record:
    """A schema by its name, with an example where there is one."""

    name: str
    about: Markup
    members: list[Member]
    example: str


@blueprint.get("/docs")
@open_to_all
@operation("getReference", "The API for people to read, made of this description.", {200: "text/html"}, (HostUnknown,))
def show() -> Response:
    """Every route with its parameters, bodies and answers, and every record with its members and an example."""
    document = describe(current_app)
    parts = current_app.extensions.get(PARTS)
    if parts is None:
        parts = current_app.extensions[PARTS] = {"groups": groups(document), "messages_sent": messages(document), "records": records(document)}  # fmt: skip
    return page("reference.html", "docs", info=document["info"], **parts)


def groups(document: dict[str, Any]) -> list[Group]:
    """The routes by their tags, in the order of the description."""
    calls: dict[str, list[Call]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, report in methods.items():
            calls[report["tags"][0]].append(_call(method.upper(), path, report))
    return [Group(tag["name"], coded(tag["description"]), calls[tag["name"]]) for tag in document["tags"]]


def messages(document: dict[str, Any]) -> list[Call]:
    """What the service sends to webhooks."""
    return [_call("POST", name, report["post"]) for name, report in document["webhooks"].items()]


def records(document: dict[str, Any]) -> list[Record]:
    """All schemas by name."""
    examples = dict(_examples(document))
    found = []
    for name, schema in sorted(document["components"]["schemas"].items()):
        members = _members(schema)
        example = json.dumps(examples[name], ensure_ascii=False, indent=2) if name in examples else ""
        found.append(Record(name, coded(schema.get("description", "")), members, example))
    return found


def kind_of(schema: dict[str, Any]) -> Markup:
    """A schema as a type to read, each record a link."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMA_PATH)
        return Markup('<a href="#{0}">{0}</a>').format(name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema and "properties" not in schema:
            between = Markup(" & ") if several == "allOf" else Markup(" | ")
            return between.join(dict.fromkeys(kind_of(one) for one in schema[several]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(" | ").join(Markup("<code>{}</code>").format(json.dumps(value, ensure_ascii=False)) for value in values)  # fmt: skip
    limits = [shown.format(schema[name]) for name, shown in LIMITS.items() if name in schema]
    inner = schema.get("items")
    kind = Markup("[{}]").format(kind_of(inner)) if inner else escape(schema.get("type", "any"))
    if isinstance(schema.get("additionalProperties"), dict):
        kind = Markup("{{…: {}}}").format(kind_of(schema["additionalProperties"]))
    return kind + escape(f" ({', '.join(limits)})" if limits else "")


def coded(text: str) -> Markup:
    """`text` with what stands between backticks as code."""
    parts = enumerate(CODE.split(text))  # code is every second
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in parts
    )


def _call(method: str, path: str, report: dict[str, Any]) -> Call:
    answers = [
        Answer(status, coded(one["description"]), [_content(media, body) for media, body in one.get("content", {}).items()])
        for status, one in report["responses"].items()
    ]  # fmt: skip
    security = report.get("security") or [{}]
    return Call(
        name=report["operationId"],
        method=method,
        path=path,
        summary=coded(report["summary"]),
        scope=next(iter(security[0].get("key", [])), ""),
        parameters=[
            Member(one["name"], kind_of(one["schema"]), one.get("required", False), _about(one), one["in"])
            for one in report.get("parameters", [])
        ],
        bodies=[_content(media, body) for media, body in report.get("requestBody", {}).get("content", {}).items()],
        answers=[one for one in answers if not one.status.startswith(("4", "5"))],
        refusals=[one for one in answers if one.status.startswith(("4", "5"))],
    )


def _content(media: str, body: dict[str, Any]) -> Content:
    """A form's files stand in it, not in a record: they are listed here."""
    schema = body["schema"]
    own = [one for one in schema.get("allOf", ()) if "properties" in one]
    named = [one for one in schema.get("allOf", (schema,)) if "properties" not in one]
    kind = Markup(" & ").join(kind_of(one) for one in named) if schema else Markup()
    return Content(media, kind, [member for one in own for member in _members(one)])


def _members(schema: dict[str, Any]) -> list[Member]:
    required = set(schema.get("required", ()))
    return [
        Member(name, kind_of(one), name in required, _about(one)) for name, one in schema.get("properties", {}).items()
    ]


def _about(report: dict[str, Any]) -> Markup:
    """Its description; of a parameter that of its schema, too; and its default."""
    schema = report.get("schema", report)
    text = report.get("description") or schema.get("description", "")
    default = schema.get("default")
    usual = "" if default is None else f" Default: `{json.dumps(default, ensure_ascii=False)}`."
    return coded(text + usual)


def _examples(value: Any) -> Iterator[tuple[str, Any]]:
    """Those next to each record's uses."""
    if isinstance(value, list):
        for one in value:
            yield from _examples(one)
    elif isinstance(value, dict):
        if "examples" in value and "$ref" in value.get("schema", {}):
            yield value["schema"]["$ref"].removeprefix(SCHEMA_PATH), value["examples"]["example"]["value"]
        elif "examples" in value and "oneOf" in value.get("schema", {}):  # by the names of the records
            yield from ((name, one["value"]) for name, one in value["examples"].items())
        for one in value.values():
            yield from _examples(one)
