"""The labels of a gallery over HTTP: counted, in pages, and found while somebody types."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.openapi_checks import check
from tests.web.conftest import fill_gallery
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

LABELS = ["Green tea", "cola", "Café", "Cola Light", "cola", "CAFÉ noir", "绿茶", "ＣＯＬＡ wide", "한국차"]


@pytest.fixture
def many(service: Services) -> str:
    fill_gallery(service, "many", LABELS)
    return "many"


def found(client: FlaskClient, name: str, **query: object) -> list[str]:
    answer = client.get(f"/v1/galleries/{name}/labels", query_string=query)
    assert answer.status_code == 200, answer.text
    check(answer.get_json(), "LabelPage", description())
    return [one["label"] for one in answer.get_json()["labels"]]


def test_labels_are_counted_and_lead_to_an_item(client: FlaskClient, service: Services, drinks: str) -> None:
    answer = client.get(f"/v1/galleries/{drinks}/labels").get_json()
    ids = [item.id for item in service.galleries.items(drinks)]
    assert answer == {
        "gallery": drinks,
        "version": 2,
        "labels": [
            {"label": "cola", "item_count": 2, "item_id": ids[2]},
            {"label": "tea", "item_count": 2, "item_id": ids[0]},
        ],
        "next_after": None,
    }


@pytest.mark.parametrize(
    ("prefix", "labels"),
    [
        ("co", ["cola", "Cola Light", "ＣＯＬＡ wide"]),
        ("COLA L", ["Cola Light"]),
        (" cola ", ["Cola Light", "ＣＯＬＡ wide"]),  # a blank at the end belongs to what is typed
        ("cafe", ["Café", "CAFÉ noir"]),
        ("cafe\u0301", ["Café", "CAFÉ noir"]),
        ("CAFÉ", ["Café", "CAFÉ noir"]),
        ("绿", ["绿茶"]),
        ("하", ["한국차"]),  # a syllable half typed
        ("tea", []),
        ("", ["Café", "CAFÉ noir", "cola", "Cola Light", "ＣＯＬＡ wide", "Green tea", "한국차", "绿茶"]),
    ],
)
def test_a_prefix_finds_any_case_and_unicode_form(
    client: FlaskClient, many: str, prefix: str, labels: list[str]
) -> None:
    assert found(client, many, prefix=prefix) == labels


def test_labels_come_in_pages_of_one_version(client: FlaskClient, many: str) -> None:
    first = client.get(f"/v1/galleries/{many}/labels?prefix=c&limit=2").get_json()
    assert client.delete(f"/v1/galleries/{many}/items?label=cola").status_code == 200  # hides nothing
    query = {"prefix": "c", "limit": 2, "after": first["next_after"]}
    second = client.get(f"/v1/galleries/{many}/labels", query_string=query).get_json()
    third = client.get(f"/v1/galleries/{many}/labels", query_string={**query, "after": second["next_after"]}).get_json()
    pages = [[one["label"] for one in page["labels"]] for page in (first, second, third)]
    assert pages == [["Café", "CAFÉ noir"], ["cola", "Cola Light"], ["ＣＯＬＡ wide"]]
    assert third["next_after"] is None
    assert second["version"] == third["version"] == first["version"]
    assert "cola" not in found(client, many)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 400, "invalid_request"),
        ("limit=1001", 400, "invalid_request"),
        ("limit=x", 400, "invalid_request"),
        ("perfix=a", 400, "invalid_request"),
        ("prefix=a&prefix=b", 400, "invalid_request"),
        ("after=nothing", 400, "invalid_cursor"),
        ("after=v99.0", 404, "gallery_version_not_found"),
    ],
)
def test_a_bad_query_is_refused(client: FlaskClient, drinks: str, query: str, status: int, code: str) -> None:
    refused(client.get(f"/v1/galleries/{drinks}/labels?{query}"), status, code)


def test_an_unknown_gallery_has_no_labels_and_an_empty_one_none(client: FlaskClient) -> None:
    refused(client.get("/v1/galleries/nothing/labels"), 404, "gallery_not_found")
    client.post("/v1/galleries", json={"name": "empty"})
    assert found(client, "empty") == []
