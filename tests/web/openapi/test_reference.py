"""The reference page has all that /openapi.json has, links that lead somewhere, and nothing of another host."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.runtime.settings import Settings
from tests.web.keyed import with_keys
from web.app import create_app
from web.openapi.reference import coded, kind_of
from web.routes import description

DOCUMENT = description()


def page(client: FlaskClient) -> str:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    return answer.text


def test_every_route_message_and_record_is_there_once_and_every_link_leads_there(client: FlaskClient) -> None:
    report = page(client)
    places = re.findall(r'\bid="([^"]+)"', report)
    assert len(places) == len(set(places))
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            assert one["operationId"] in places
            shown = f'<span class="method {method}">{method.upper()}</span> <code>{html.escape(path)}</code>'
            assert report.count(shown) == 1
    assert {one["post"]["operationId"] for one in DOCUMENT["webhooks"].values()} <= set(places)
    assert set(DOCUMENT["components"]["schemas"]) <= set(places)
    assert set(re.findall(r'href="#([^"]+)"', report)) <= set(places)


def test_what_a_route_takes_answers_and_refuses_is_reported(client: FlaskClient) -> None:
    report = page(client)
    (article,) = re.findall(r'<article id="createRecognition".*?</article>', report, re.DOTALL)
    for part in (
        "<code>Idempotency-Key</code>", "<code>multipart/form-data</code>: <a href=\"#RecognitionFields\">", "<code>image</code>",
        '<a href="#RecognitionRequest">', "<b>202</b>", '<a href="#RecognitionJob">', "<code>image_rejected</code>", "<code>recognize</code>",
    ):  # fmt: skip
        assert part in article
    (record,) = re.findall(r'<article id="RecognizedObject".*?</article>', report, re.DOTALL)
    assert '[<a href="#Match">Match</a>]' in record
    (example,) = re.findall(r'<article id="GalleryRequest".*?</article>', report, re.DOTALL)
    assert html.escape('{\n  "name": "drinks"\n}', quote=True) in example.replace("&#34;", "&quot;")


def test_nothing_comes_from_another_host(client: FlaskClient) -> None:
    report = page(client)
    sources = re.findall(r'\b(?:src|href)="([^"#][^"]*)"', report)
    assert sources
    assert [one for one in sources if not one.startswith("/")] == []
    assert "<script>" not in report
    assert not re.search(r"\son\w+=", report)


def test_it_is_linked_and_open_to_who_has_no_key(client: FlaskClient, settings: Settings) -> None:
    assert 'href="/docs"' in client.get("/").text
    closed: Flask = create_app(with_keys(settings))
    without_key = closed.test_client()
    assert without_key.get("/docs").status_code == 200
    assert without_key.get("/").status_code == 303


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer (≥ 1, ≤ 9)"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"enum": ["a", None]}, "<code>&#34;a&#34;</code> | <code>null</code>"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Item"}}, '[<a href="#Item">Item</a>]'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "{…: number}"),
        ({}, "any"),
    ],
)
def test_schemas_are_read_as_types(schema: dict[str, object], kind: str) -> None:
    assert str(kind_of(schema)) == kind


def test_no_description_is_markup() -> None:
    assert str(coded("a <b> and `<c>`")) == "a &lt;b&gt; and <code>&lt;c&gt;</code>"
