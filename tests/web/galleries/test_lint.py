"""The linter over HTTP: described answers, and fixes that mend what they stand beside when they are sent as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.infra.galleries.lint_cases import Pictures, clean, near, view
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER
from tests.web.refusals import refused
from web.galleries.linter import Linter
from web.routes import description
from web.services import EXTENSION, Services


def fill(service: Services, made: Pictures, name: str = "shelf") -> str:
    service.galleries.create(name)
    service.galleries.add(name, made.items, made.embeddings, EMBEDDER)
    return name


def lint(client: FlaskClient, name: str, **query: object) -> dict[str, Any]:
    answer = client.get(f"/v1/galleries/{name}/lint", query_string=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    check(told, "Lint", description())
    return told


def mistaken() -> Pictures:
    made = clean()
    made.add("tea", view(0, 9))  # cola
    made.add("milk", view(40, 1))  # nothing of the kind
    made.add("milk", made.rows[0], content="0")
    made.add("Coca & Cola", near(made.rows[1], 0.98))
    made.add("tea", near(made.rows[4], 0.99))
    return made


def test_each_fix_mends_its_finding(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    told = lint(client, name)
    assert told["kinds"] == {
        "same_picture": 1,
        "two_labels": 1,
        "mislabelled": 1,
        "outlier": 1,
        "near_duplicate": 1,
        "few_pictures": 1,
    }
    assert (told["checked_items"], told["item_count"], told["complete"]) == (17, 17, True)
    assert [one["kind"] for one in told["skipped"]] == ["several_objects"]
    left = told["findings"]
    while left := [one for one in left if one["fix"]["content_type"] != "multipart/form-data"]:
        fix = left[0]["fix"]
        answer = client.open(fix["path"], method=fix["method"], json=fix["body"])
        assert answer.status_code == 200, answer.text
        left = lint(client, name)["findings"]
    assert lint(client, name)["findings"] == []
    assert {item.label for item in service.galleries.items(name)} == {"cola", "tea", "milk"}


def test_the_picture_of_each_item_is_named(client: FlaskClient, service: Services, drinks: str) -> None:
    """Two pictures a label that are nothing alike: nothing is sure, and nothing is an error."""
    told = lint(client, drinks)
    assert told["levels"]["error"] == 0
    made = [item for item in service.galleries.items(drinks) if item.label == "tea"]
    service.galleries.remove(drinks, [made[0].id])
    (few,) = lint(client, drinks, kind="few_pictures")["findings"]
    assert [item["id"] for item in few["items"]] == [made[1].id]
    assert client.get(few["items"][0]["links"]["image"]).status_code == 200


def test_findings_come_in_pages_by_level_and_kind(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    whole = lint(client, name)
    first = lint(client, name, limit=2)
    assert client.delete(f"/v1/galleries/{name}/items?label=milk").status_code == 200  # hides nothing
    pages = [first]
    while (after := pages[-1]["next_after"]) is not None:
        pages.append(lint(client, name, limit=2, after=after))
    assert [one for page in pages for one in page["findings"]] == whole["findings"]
    assert len(pages) == 3
    assert lint(client, name)["version"] == 3
    assert lint(client, name, version=2) == whole
    errors = lint(client, name, version=2, level="error")
    assert {one["level"] for one in errors["findings"]} == {"error"}
    assert errors["kinds"] == whole["kinds"]
    outliers = lint(client, name, version=2, kind="outlier")
    assert [one["kind"] for one in outliers["findings"]] == ["outlier"]


def test_what_did_not_change_is_not_sent_again(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    first = client.get(f"/v1/galleries/{name}/lint")
    again = client.get(f"/v1/galleries/{name}/lint", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    client.delete(f"/v1/galleries/{name}/items?label=milk")
    changed = client.get(f"/v1/galleries/{name}/lint", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_a_request_searches_for_a_while_and_the_next_one_goes_on(
    app: Flask, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.galleries.neighbours.LARGEST_BLOCK", 7)
    app.extensions[EXTENSION] = replace(service, linter=Linter(service.galleries, seconds=0))
    name = fill(service, mistaken())
    turns = [lint(app.test_client(), name) for _ in range(4)]
    checked = [turn["checked_items"] for turn in turns]
    assert checked[0] < checked[1] < checked[2] == checked[3] == 17
    assert [turn["complete"] for turn in turns] == [False, False, True, True]
    assert turns[0]["kinds"]["same_picture"] == 1  # what needs no search is known at once
    assert turns[2] == turns[3]


def test_while_another_gallery_is_searched_one_asks_again(
    client: FlaskClient, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.galleries.linter.PATIENCE_S", 0.01)
    name = fill(service, clean())
    with service.linter._searching:
        refused(client.get(f"/v1/galleries/{name}/lint"), 409, "gallery_busy")
    assert lint(client, name)["findings"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 400, "invalid_request"),
        ("level=bad", 400, "invalid_request"),
        ("kind=bad", 400, "invalid_request"),
        ("kind=outlier&kind=confusion", 400, "invalid_request"),
        ("lebel=error", 400, "invalid_request"),
        ("after=nothing", 400, "invalid_cursor"),
        ("after=v99.0", 404, "gallery_version_not_found"),
        ("version=99", 404, "gallery_version_not_found"),
    ],
)
def test_a_bad_query_is_refused(client: FlaskClient, drinks: str, query: str, status: int, code: str) -> None:
    refused(client.get(f"/v1/galleries/{drinks}/lint?{query}"), status, code)


def test_an_unknown_gallery_has_no_findings_and_an_empty_one_none(client: FlaskClient) -> None:
    refused(client.get("/v1/galleries/nothing/lint"), 404, "gallery_not_found")
    client.post("/v1/galleries", json={"name": "empty"})
    told = lint(client, "empty")
    assert (told["findings"], told["complete"], told["item_count"]) == ([], True, 0)
