"""No route ignores a name that it does not know: in the query, in the form or JSON, or in a body that nobody would read."""

from __future__ import annotations

import json
import re

import pytest
from flask.testing import FlaskClient

from web.openapi.description import Route, routes
from web.routes import bare

ROUTES = [route for route in routes(bare()) if "text/html" not in route.operation.answer.values()]
WITHOUT_BODY = [route for route in ROUTES if not route.operation.body]
PLACES = {"name": "drinks", "job_id": "rec_0", "version": "1"}  # of a path; ids of other things are made up
TAKES_JSON = [route for route in ROUTES if "application/json" in route.operation.body]


def name_of(route: Route) -> str:
    return route.operation.name


def address(route: Route) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: PLACES.get(name[1], "x_0"), route.path)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_refuses_unknown_query_parameters(client: FlaskClient, route: Route) -> None:
    answer = client.open(f"{address(route)}?limti=2&x=", method=route.method.upper())
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")
    assert {error["pointer"] for error in answer.get_json()["errors"]} == {"/limti", "/x"}


@pytest.mark.parametrize("route", WITHOUT_BODY, ids=name_of)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_every_route_that_reads_no_body_refuses_one(client: FlaskClient, route: Route, content_type: str) -> None:
    answer = client.open(address(route), method=route.method.upper(), data='{"force": true}', content_type=content_type)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("route", TAKES_JSON, ids=name_of)
@pytest.mark.parametrize("body", ['{"nothing": 1}', '{"name": "a", "name": "b"}'])
def test_every_route_that_reads_json_refuses_unknown_and_repeated_names(
    client: FlaskClient, route: Route, body: str
) -> None:
    answer = client.open(address(route), method=route.method.upper(), data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def test_galleries_have_no_pages(client: FlaskClient) -> None:
    answer = client.get("/v1/galleries?limit=2")
    assert answer.status_code == 400
    assert "limit" in answer.get_json()["detail"]


def test_a_parameter_given_twice_is_refused_but_labels_to_delete(client: FlaskClient, drinks: str) -> None:
    assert client.get(f"/v1/galleries/{drinks}/items?limit=2&limit=3").status_code == 400
    assert client.delete(f"/v1/galleries/{drinks}/items?label=tea&label=cola").status_code == 200


def test_an_empty_object_is_no_body(client: FlaskClient, drinks: str) -> None:
    path = f"/v1/galleries/{drinks}/versions/1/activate"
    for body in ("", "{}", " {} "):
        assert client.post(path, data=body, content_type="application/json").status_code == 200


def test_what_is_close_is_named(client: FlaskClient, drinks: str) -> None:
    answer = client.get(f"/v1/galleries/{drinks}/items?limti=2")
    assert "did you mean 'limit'?" in json.dumps(answer.get_json(), ensure_ascii=False)


@pytest.mark.parametrize("path", ["/v1/recognitions", "/v1/enrollments"])
def test_filters_by_metadata_are_among_those_allowed(client: FlaskClient, path: str) -> None:
    (error,) = client.get(f"{path}?metadata=x").get_json()["errors"]
    assert "did you mean 'metadata.KEY'?" in error["detail"]
    assert error["detail"].endswith("limit, after, metadata.KEY")


@pytest.mark.parametrize("path", ["/?gallery=drinks", "/static/api.js?v=2"])
def test_the_page_is_for_people_and_ignores_them(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        assert answer.status_code == 200


def test_head_and_options_are_as_get(client: FlaskClient) -> None:
    assert client.head("/healthz").status_code == 200
    assert client.head("/healthz?x=1").status_code == 400
    assert client.options("/v1/galleries?x=1").status_code == 200
