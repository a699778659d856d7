"""The description is true: the application, /openapi.json and docs/api.md know the same routes, and answers fit."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from web.openapi.description import routes
from web.routes import bare, description

API_PAGE = Path(__file__).parents[3] / "docs" / "api.md"
ARCHITECTURE_PAGE = API_PAGE.with_name("architecture.md")
# What the page of the architecture names as a whole, by its first route.
GROUPS = ("/v1/detections/", "/v1/embeddings/", "/v1/classifications/", "/v1/webhooks", "/v1/deliveries/")
DOCUMENT = description()


def routes_of(app: Flask) -> set[tuple[str, str]]:
    routes = set()
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        routes |= {(method, path) for method in rule.methods or () if method not in {"HEAD", "OPTIONS"}}
    return routes


def test_the_description_has_exactly_the_applications_routes(app: Flask) -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == routes_of(app)


def test_every_view_is_a_function_of_its_module(app: Flask) -> None:
    """So that whoever looks for a route finds it, with its scope and its description, in the file that serves it."""
    hidden = [
        endpoint
        for endpoint, view in app.view_functions.items()
        if endpoint != "static" and getattr(sys.modules[view.__module__], view.__name__, None) is not view
    ]
    assert hidden == []


def test_the_page_has_exactly_the_applications_routes(app: Flask) -> None:
    headings = re.findall(
        r"^### (GET|POST|PUT|PATCH|DELETE) (\S+)$", API_PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(headings) == len(set(headings))
    assert set(headings) == routes_of(app)


def test_the_architecture_has_the_whole_surface(app: Flask) -> None:
    section = ARCHITECTURE_PAGE.read_text(encoding="utf-8").partition("\n## HTTP\n")[2]
    named = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`]*)`", section))
    assert {(method, path) for method, path in routes_of(app) if not path.startswith(GROUPS)} == named


def test_the_page_names_every_option_and_image_reason() -> None:
    text = API_PAGE.read_text(encoding="utf-8")
    for name in DOCUMENT["components"]["schemas"]["RecognizeOptions"]["properties"]:
        assert f"| `{name}` |" in text
    reasons = re.findall(
        r"\"(image_\w+)\"", (API_PAGE.parents[1] / "contracts" / "pictures.py").read_text(encoding="utf-8")
    )
    assert reasons
    for reason in reasons:
        assert f"`{reason}`" in text


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(inner) for inner in value.values()))
    return set().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in references(DOCUMENT)} <= set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_operations_are_whole() -> None:
    names = [route.operation.name for route in routes(bare())]
    assert len(names) == len(set(names))
    forms = {route.operation.name: route.operation.error_form for route in routes(bare())}
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            form = forms[operation["operationId"]]
            problem = "application/problem+json" if form is None else "application/json"
            in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
            statuses = set(operation["responses"])
            assert any(status.startswith(("2", "3")) for status in statuses)
            for status in statuses:
                response = operation["responses"][status]
                assert response["description"]
                if int(status) >= 400:
                    assert response["content"][problem]["schema"]["$ref"].endswith(
                        form.__name__ if form else "/Problem"
                    )


def test_what_is_said_of_suppression_is_what_happens() -> None:
    """It looks at boxes alone: two products on one spot are one, whatever their labels."""
    report = DOCUMENT["components"]["schemas"]["RecognizeOptions"]["properties"]["suppression_iou"]["description"]
    assert "whatever their labels" in report
    assert "the likeliest stays" in report
    page = next(line for line in API_PAGE.read_text(encoding="utf-8").splitlines() if "`suppression_iou`" in line)
    assert "the likeliest stays" in page


def test_the_document_is_served(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    assert document == DOCUMENT


@pytest.mark.parametrize("status", ["queued", "succeeded", "failed"])
def test_jobs_are_as_described(client: FlaskClient, hand: Hand, drinks: str, status: str) -> None:
    form = {"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg"), "webhook_url": "https://93.184.216.34/"}
    job = client.post("/v1/recognitions", data=form).get_json()
    if status == "succeeded":
        hand.finish(job["id"], recognition_result())
    elif status == "failed":
        hand.fail(job["id"], "image_truncated")
    answer = client.get(job["links"]["self"]).get_json()
    assert answer["status"] == status
    check(answer, "RecognitionJob", DOCUMENT)


def test_galleries_are_as_described(client: FlaskClient, drinks: str) -> None:
    client.post("/v1/galleries", json={"name": "empty"})
    check(client.get("/v1/galleries/empty").get_json(), "Gallery", DOCUMENT)
    check(client.get(f"/v1/galleries/{drinks}").get_json(), "Gallery", DOCUMENT)
    check(client.get("/v1/galleries").get_json(), "GalleryList", DOCUMENT)
    check(client.get(f"/v1/galleries/{drinks}/items?limit=2").get_json(), "ItemPage", DOCUMENT)
    check(client.get(f"/v1/galleries/{drinks}/items?limit=2").get_json()["items"][0], "Item", DOCUMENT)
    check(client.get(f"/v1/galleries/{drinks}/versions").get_json(), "VersionList", DOCUMENT)


def test_enrolments_are_as_described(client: FlaskClient, drinks: str) -> None:
    form = {"images": [(io.BytesIO(picture(seed=5)), "a.jpg")], "labels": "tea"}
    check(client.post(f"/v1/galleries/{drinks}/items", data=form).get_json(), "EnrollmentJob", DOCUMENT)


def test_problems_and_health_are_as_described(client: FlaskClient) -> None:
    check(client.get("/v1/galleries/nothing").get_json(), "Problem", DOCUMENT)
    check(client.post("/v1/galleries", json={}).get_json(), "Problem", DOCUMENT)
    check(client.get("/readyz").get_json(), "Readiness", DOCUMENT)
    check(client.get("/healthz").get_json(), "Health", DOCUMENT)
