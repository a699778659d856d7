"""The linter over HTTP: described answers, and fixes that mend what they stand next to when they are sent as they are."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.galleries.deleted import purge_due
from tests.infra.galleries.lint_cases import Pictures, clean, near, view
from tests.linting import lint_waiting
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER, Hand
from tests.web.refusals import refused
from web.app import create_app
from web.routes import description
from web.services import Services
from worker.lint_gallery import lint_gallery


def fill(service: Services, made: Pictures, name: str = "shelf") -> str:
    service.galleries.create(name)
    service.galleries.add(name, made.items, made.embeddings, EMBEDDER)
    return name


def lint(client: FlaskClient, name: str, service: Services, **query: object) -> dict[str, Any]:
    path = f"/v1/galleries/{name}/lint"
    answer = client.get(path, query_string=query)
    if answer.status_code == 202:
        assert lint_waiting(service.ledger, service.objects) == 1
        answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.get_json()
    check(report, "Lint", description())
    return report


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
    report = lint(client, name, service)
    assert report["kinds"] == {
        "same_picture": 1,
        "two_labels": 1,
        "mislabelled": 1,
        "outlier": 1,
        "near_duplicate": 1,
        "few_pictures": 1,
    }
    assert (report["checked_items"], report["item_count"], report["complete"]) == (17, 17, True)
    assert [one["kind"] for one in report["skipped"]] == ["several_objects"]
    left = report["findings"]
    while left := [one for one in left if one["fix"]["content_type"] != "multipart/form-data"]:
        fix = left[0]["fix"]
        answer = client.open(fix["path"], method=fix["method"], json=fix["body"])
        assert answer.status_code == 200, answer.text
        left = lint(client, name, service)["findings"]
    assert lint(client, name, service)["findings"] == []
    assert {item.label for item in service.galleries.items(name)} == {"cola", "tea", "milk"}


def test_the_picture_of_each_item_is_named(client: FlaskClient, service: Services, drinks: str) -> None:
    """Two pictures a label that are nothing alike: nothing is sure, and nothing is an error."""
    report = lint(client, drinks, service)
    assert report["levels"]["error"] == 0
    made = [item for item in service.galleries.items(drinks) if item.label == "tea"]
    service.galleries.remove(drinks, [made[0].id])
    (few,) = lint(client, drinks, service, kind="few_pictures")["findings"]
    assert [item["id"] for item in few["items"]] == [made[1].id]
    assert client.get(few["items"][0]["links"]["image"]).status_code == 200


def test_findings_come_in_pages_by_level_and_kind(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    whole = lint(client, name, service)
    first = lint(client, name, service, limit=2)
    assert client.delete(f"/v1/galleries/{name}/items?label=milk").status_code == 200  # hides nothing
    pages = [first]
    while (after := pages[-1]["next_after"]) is not None:
        pages.append(lint(client, name, service, limit=2, after=after))
    assert [one for page in pages for one in page["findings"]] == whole["findings"]
    assert len(pages) == 3
    assert lint(client, name, service)["version"] == 3
    assert lint(client, name, service, version=2) == whole
    errors = lint(client, name, service, version=2, level="error")
    assert {one["level"] for one in errors["findings"]} == {"error"}
    assert errors["kinds"] == whole["kinds"]
    outliers = lint(client, name, service, version=2, kind="outlier")
    assert [one["kind"] for one in outliers["findings"]] == ["outlier"]


def test_what_did_not_change_is_not_sent_again(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    lint(client, name, service)
    first = client.get(f"/v1/galleries/{name}/lint")
    again = client.get(f"/v1/galleries/{name}/lint", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    client.delete(f"/v1/galleries/{name}/items?label=milk")
    lint(client, name, service)
    changed = client.get(f"/v1/galleries/{name}/lint", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_the_first_question_makes_a_job_and_what_it_found_is_kept(
    app: Flask, client: FlaskClient, service: Services
) -> None:
    name = fill(service, mistaken())
    path = f"/v1/galleries/{name}/lint"
    first = client.get(path)
    assert first.status_code == 202
    check(first.get_json(), "Lint", description())
    assert (first.get_json()["complete"], first.get_json()["findings"]) == (False, [])
    assert first.headers["Retry-After"]
    job_id = first.get_json()["job"]
    assert client.get(path).get_json()["job"] == job_id  # no second one
    check(client.get(f"/v1/lints/{job_id}").get_json(), "LintJob", description())
    assert lint_waiting(service.ledger, service.objects) == 1
    job = client.get(f"/v1/lints/{job_id}").get_json()
    check(job, "LintJob", description())
    assert job["result"]["kinds"]["outlier"] == 1
    restarted = create_app(service.settings).test_client()
    assert restarted.get(path).get_json()["complete"]
    below = client.get(path, environ_overrides={"SCRIPT_NAME": "/shitu"}).get_json()["findings"][0]
    assert below["fix"]["path"].startswith("/shitu/v1/")
    assert below["items"][0]["links"]["image"].startswith("/shitu/v1/")


def test_a_search_that_dies_continues_where_it_was(service: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.neighbours.LARGEST_BLOCK", 7)
    monkeypatch.setattr("worker.lint_gallery.TURN_S", 0)
    monkeypatch.setattr("worker.lint_gallery.KEEP_S", -1)
    name = fill(service, mistaken())
    job = service.ledger.create("lint", {"gallery": name, "version": 2})
    runtime: Any = SimpleNamespace(store=service.galleries, objects=service.objects)
    report: list[int] = []

    def dies(progress: Any = None) -> None:
        report.append(progress["done"])
        if len(report) == 2:
            raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        lint_gallery(job, runtime, dies)
    lint_gallery(job, runtime, dies)
    assert report == sorted(report)
    assert (len(report), report[-1]) == (3, 17)


def test_a_job_that_failed_or_was_given_up_is_no_end(client: FlaskClient, service: Services, hand: Hand) -> None:
    name = fill(service, clean())
    path = f"/v1/galleries/{name}/lint"
    job_id = client.get(path).get_json()["job"]
    hand.fail(job_id, "storage_unavailable")
    assert client.get(path).get_json()["job"] == job_id  # tried again
    hand.fail(job_id, "storage_unavailable")
    client.get(path)
    assert client.post(f"/v1/lints/{job_id}/cancel").get_json()["status"] == "canceled"
    assert client.get(path).get_json()["job"] != job_id
    assert lint(client, name, service)["findings"] == []


def test_a_job_that_failed_is_replayed_by_its_id(client: FlaskClient, service: Services, hand: Hand) -> None:
    name = fill(service, mistaken())
    path = f"/v1/galleries/{name}/lint"
    job_id = client.get(path).get_json()["job"]
    replay = f"/v1/lints/{job_id}/replay"
    refused(client.post(replay), 409, "job_finished")
    hand.fail(job_id, "storage_unavailable")
    again = client.post(replay)
    assert (again.status_code, again.get_json()["id"], again.get_json()["status"]) == (202, job_id, "queued")
    check(again.get_json(), "LintJob", description())
    assert again.headers["Location"] == f"/v1/lints/{job_id}"
    assert lint_waiting(service.ledger, service.objects) == 1
    assert client.get(f"/v1/lints/{job_id}").get_json()["status"] == "succeeded"
    assert client.get(path).get_json()["complete"]
    refused(client.post(replay), 409, "job_finished")
    refused(client.post("/v1/lints/lnt_0/replay"), 404, "job_not_found")


def test_a_job_has_no_webhook_to_send_again(client: FlaskClient, service: Services, hand: Hand) -> None:
    job_id = client.get(f"/v1/galleries/{fill(service, mistaken())}/lint").get_json()["job"]
    hand.fail(job_id, "storage_unavailable")
    refused(client.post(f"/v1/lints/{job_id}/webhook/replay"), 404, "delivery_not_found")


def test_what_was_found_goes_with_what_it_was_found_of(client: FlaskClient, service: Services) -> None:
    name = fill(service, mistaken())
    report = lint(client, name, service)
    doubted = report["findings"][0]["items"][0]
    kept = list(service.objects.list("galleries/lint/"))
    assert len(kept) == 1
    assert client.delete(f"/v1/galleries/{name}/items/{doubted['id']}?erase=true").status_code == 200
    assert list(service.objects.list("galleries/lint/")) == []
    again = lint(client, name, service, version=2)
    assert doubted["id"] not in json.dumps(again)
    client.delete(f"/v1/galleries/{name}")
    purge_due(service.galleries, 0, service.ledger.time() + 1)
    assert list(service.objects.list("galleries/lint/")) == []


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


def test_an_unknown_gallery_has_no_findings_and_an_empty_one_none(client: FlaskClient, service: Services) -> None:
    refused(client.get("/v1/galleries/nothing/lint"), 404, "gallery_not_found")
    client.post("/v1/galleries", json={"name": "empty"})
    report = lint(client, "empty", service)
    assert (report["findings"], report["complete"], report["item_count"]) == ([], True, 0)
