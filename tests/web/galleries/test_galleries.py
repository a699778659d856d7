"""Galleries over HTTP: made, filled, looked at, changed, gone back on."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.galleries.store import item_id
from infra.runtime.settings import Settings
from tests.openapi_checks import check
from tests.web.conftest import fill_gallery
from tests.web.pictures import picture
from tests.web.refusals import open_jobs, refused
from web.app import create_app
from web.routes import description
from web.services import Services

URL = "/v1/galleries"


def add(client: FlaskClient, name: str, pictures: list[bytes], **fields: Any) -> TestResponse:
    images = [(io.BytesIO(data), f"{position}.jpg") for position, data in enumerate(pictures)]
    return client.post(f"{URL}/{name}/items", data={"images": images, **fields}, content_type="multipart/form-data")


def test_a_gallery_is_made_listed_shown_and_deleted(client: FlaskClient) -> None:
    made = client.post(URL, json={"name": "drinks"})
    assert made.status_code == 201
    assert made.headers["Location"] == f"{URL}/drinks"
    assert made.get_json()["item_count"] == 0
    assert [gallery["name"] for gallery in client.get(URL).get_json()["galleries"]] == ["drinks"]
    assert client.get(f"{URL}/drinks").get_json() == made.get_json()
    refused(client.post(URL, json={"name": "drinks"}), 409, "gallery_exists")
    deleted = client.delete(f"{URL}/drinks")
    assert (deleted.status_code, deleted.data) == (204, b"")
    problem = refused(client.get(f"{URL}/drinks"), 404, "gallery_not_found")
    assert problem["detail"].endswith("GET /v1/galleries lists those there are, POST /v1/galleries creates one.")
    assert client.get(URL).get_json() == {"galleries": []}


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 300, "with space"])
def test_a_bad_name_is_refused(client: FlaskClient, name: str) -> None:
    refused(client.post(URL, json={"name": name}), 422, "gallery_name_invalid")


@pytest.mark.parametrize("body", [{}, {"title": "drinks"}, {"name": 5}, [], {"name": "drinks", "size": 1}])
def test_a_bad_body_is_refused(client: FlaskClient, body: object) -> None:
    refused(client.post(URL, json=body), 400, "invalid_request")


def test_every_view_of_an_unknown_gallery_is_404(client: FlaskClient) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/items"),
        ("DELETE", "/items?label=tea"),
        ("DELETE", "/items/itm_0"),
        ("GET", "/items/itm_0/image"),
        ("GET", "/versions"),
        ("POST", "/versions/1/activate"),
    ):
        refused(client.open(f"{URL}/nothing{path}", method=method), 404, "gallery_not_found")
    refused(add(client, "nothing", [picture()], labels="tea"), 404, "gallery_not_found")


def test_pictures_become_an_enrolment_job(client: FlaskClient, service: Services) -> None:
    client.post(URL, json={"name": "drinks"})
    response = add(client, "drinks", [picture(seed=1), picture(seed=2)], labels=["tea", "cola"], crop="main_body")
    assert response.status_code == 202
    job = response.get_json()
    assert job["kind"] == "enrollment"
    assert response.headers["Location"] == f"/v1/enrollments/{job['id']}"
    assert client.get(response.headers["Location"]).get_json()["id"] == job["id"]
    request = service.ledger.get(job["id"]).request
    assert request["gallery"] == "drinks"
    assert request["crop"] == "main_body"
    assert [(item["name"], item["label"]) for item in request["items"]] == [("0.jpg", "tea"), ("1.jpg", "cola")]
    assert service.objects.get(request["items"][1]["image_key"]) == picture(seed=2)
    assert service.redis.llen("shitu:queue:enroll") == 1


def test_one_label_serves_for_all_pictures(client: FlaskClient, service: Services, drinks: str) -> None:
    job = add(client, drinks, [picture(seed=1), picture(seed=2)], labels=" tea ").get_json()
    request = service.ledger.get(job["id"]).request
    assert [item["label"] for item in request["items"]] == ["tea", "tea"]
    assert request["crop"] == "whole"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"labels": ["tea", "cola", "milk"]},
        {"labels": ""},
        {"labels": ["tea", "  "]},
        {"labels": "x" * 201},
        {"labels": "tea", "crop": "half"},
        {"label": "tea"},
    ],
)
def test_bad_labels_are_refused(client: FlaskClient, service: Services, drinks: str, fields: dict[str, Any]) -> None:
    refused(add(client, drinks, [picture(seed=1), picture(seed=2)], **fields), 400, "invalid_request")
    assert open_jobs(service) == 0


def test_bad_pictures_are_reported_in_their_places_and_the_good_ones_accepted(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    response = add(client, drinks, [picture(seed=9), b"", b"text", picture(seed=10)], labels=["a", "b", "c", "d"])
    assert response.status_code == 202
    items = response.get_json()["request"]["items"]
    assert [(item["name"], item["label"]) for item in items] == [(f"{n}.jpg", "abcd"[n]) for n in range(4)]
    assert [item.get("error", {}).get("code") for item in items] == [None, "image_empty", "image_not_an_image", None]
    assert [service.objects.get(items[n]["image_key"]) for n in (0, 3)] == [picture(seed=9), picture(seed=10)]


def test_pictures_of_which_none_can_be_used_are_refused_and_all_named(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    before = sorted(service.objects.list("images/"))
    problem = refused(add(client, drinks, [b"", b"text"], labels="tea"), 422, "image_rejected")
    assert [(error["pointer"], error["name"]) for error in problem["errors"]] == [
        ("/images/0", "0.jpg"),
        ("/images/1", "1.jpg"),
    ]
    assert open_jobs(service) == 0
    assert sorted(service.objects.list("images/")) == before


def test_too_many_pictures_are_refused(settings: Settings, client: FlaskClient, drinks: str) -> None:
    small = create_app(replace(settings, web=replace(settings.web, max_files=2))).test_client()
    problem = refused(add(small, drinks, [picture()] * 3, labels="tea"), 413, "too_many_files")
    assert problem["max_files"] == 2
    refused(add(small, drinks, [picture()], labels=["tea"] * 1100), 413, "too_many_files")


def test_items_come_in_pages_of_one_version(client: FlaskClient, service: Services, drinks: str) -> None:
    ids = [item.id for item in service.galleries.items(drinks)]
    first = client.get(f"{URL}/{drinks}/items?limit=3").get_json()
    assert (first["total"], [item["label"] for item in first["items"]]) == (4, ["tea", "tea", "cola"])
    client.delete(f"{URL}/{drinks}/items/{ids[0]}")  # a change between pages hides nothing
    second = client.get(f"{URL}/{drinks}/items", query_string={"limit": 3, "after": first["next_after"]}).get_json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids
    assert second["next_after"] is None
    assert second["version"] == first["version"]
    assert client.get(f"{URL}/{drinks}/items").get_json()["total"] == 3


def test_items_are_filtered_by_label(client: FlaskClient, drinks: str) -> None:
    page = client.get(f"{URL}/{drinks}/items?label=cola").get_json()
    assert [item["label"] for item in page["items"]] == ["cola", "cola"]
    assert page["total"] == 2
    assert client.get(f"{URL}/{drinks}/items?label=milk").get_json()["items"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=0", "invalid_request"), ("colour=red", "invalid_request"), ("after=7", "invalid_cursor")],
)
def test_a_bad_query_is_refused(client: FlaskClient, drinks: str, query: str, code: str) -> None:
    refused(client.get(f"{URL}/{drinks}/items?{query}"), 400, code)


def test_an_items_picture_is_shown(client: FlaskClient, drinks: str) -> None:
    (item, *_) = client.get(f"{URL}/{drinks}/items").get_json()["items"]
    response = client.get(item["links"]["image"])
    assert response.data == picture(seed=0)
    assert response.content_type == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    refused(client.get(f"{URL}/{drinks}/items/itm_9/image"), 404, "item_not_found")


def test_items_are_deleted_by_id_and_by_label(client: FlaskClient, service: Services, drinks: str) -> None:
    version = client.get(f"{URL}/{drinks}").get_json()["version"]
    path = f"{URL}/{drinks}/items/{service.galleries.items(drinks)[0].id}"
    after_one = client.delete(path).get_json()
    assert (after_one["version"], after_one["item_count"]) == (version + 1, 3)
    after_label = client.delete(f"{URL}/{drinks}/items?label=cola").get_json()
    assert (after_label["version"], after_label["item_count"]) == (version + 2, 1)
    refused(client.delete(path), 404, "item_not_found")
    refused(client.get(f"{path}/image"), 404, "item_not_found")
    refused(client.delete(f"{URL}/{drinks}/items?label=milk"), 404, "item_not_found")


@pytest.mark.parametrize("query", ["", "?all=true", "?label=tea&all=true"])
def test_nothing_is_deleted_without_saying_what(client: FlaskClient, drinks: str, query: str) -> None:
    refused(client.delete(f"{URL}/{drinks}/items{query}"), 400, "invalid_request")
    assert client.get(f"{URL}/{drinks}").get_json()["item_count"] == 4


def test_versions_can_be_gone_back_to(client: FlaskClient, drinks: str) -> None:
    full = client.get(f"{URL}/{drinks}").get_json()
    client.delete(f"{URL}/{drinks}/items?label=cola")
    listed = client.get(f"{URL}/{drinks}/versions").get_json()
    assert listed["current"] == full["version"] + 1
    assert full["version"] in [version["version"] for version in listed["versions"]]
    back = client.post(f"{URL}/{drinks}/versions/{full['version']}/activate").get_json()
    assert back["item_count"] == 4
    assert client.get(f"{URL}/{drinks}/items").get_json()["total"] == 4
    refused(client.post(f"{URL}/{drinks}/versions/99/activate"), 404, "gallery_version_not_found")
    refused(client.post(f"{URL}/{drinks}/versions/last/activate"), 404, "route_not_found")


def test_staged_versions_are_named_and_listed(client: FlaskClient, service: Services, drinks: str) -> None:
    items = service.galleries.items(drinks)
    new = replace(items[0], id=item_id(items[0].sha256, "milk"), label="milk")
    row = np.eye(1, 8, dtype=np.float32)
    service.galleries.add(drinks, [new], row, "a" * 64, activate=False)
    url = f"/v1/galleries/{drinks}/versions"
    listed = client.get(url).get_json()
    check(listed, "VersionList", description())
    assert [(one["version"], one["staged"]) for one in listed["versions"]] == [(1, False), (2, False), (3, True)]
    assert listed["current"] == 2
    for sent, expected in (("true", [3]), ("false", [1, 2])):
        assert [one["version"] for one in client.get(f"{url}?staged={sent}").get_json()["versions"]] == expected
    client.post(f"{url}/3/activate")
    assert client.get(f"{url}?staged=true").get_json()["versions"] == []
    refused(client.get(f"{url}?staged=perhaps"), 400, "invalid_request")


def test_an_old_version_can_be_looked_at(client: FlaskClient, service: Services) -> None:
    fill_gallery(service, "shelf", ["a", "b"])
    version = client.get(f"{URL}/shelf").get_json()["version"]
    client.delete(f"{URL}/shelf/items?label=a")
    assert client.get(f"{URL}/shelf/items?version={version}").get_json()["total"] == 2


def test_labels_are_held_to_one_rule_and_queried_in_any_form(client: FlaskClient, service: Services) -> None:
    fill_gallery(service, "coffee", ["caf\u00e9", "tea"])
    job = add(client, "coffee", [picture(seed=5)], labels=" cafe\u0301 ").get_json()
    assert [item["label"] for item in job["request"]["items"]] == ["caf\u00e9"]
    for label in ("cafe\u0301", " caf\u00e9"):
        assert client.get(f"{URL}/coffee/items", query_string={"label": label}).get_json()["total"] == 1
    assert client.delete(f"{URL}/coffee/items", query_string={"label": "cafe\u0301"}).get_json()["item_count"] == 1


@pytest.mark.parametrize("label", ["a\nb", "a\0", "\u200b", "te\u200ba", "\ufffd\ufffd", "x" * 201])
def test_labels_that_break_the_rule_are_refused(client: FlaskClient, drinks: str, label: str) -> None:
    problem = refused(add(client, drinks, [picture(seed=1)], labels=["tea", label]), 400, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["/labels/1"]


@pytest.mark.parametrize("form", ["surrogate", "bytes"])
def test_a_label_from_before_the_rule_is_shown_and_removed(client: FlaskClient, service: Services, form: str) -> None:
    old = "cafe\u0301" if form == "bytes" else "\udcbf\udcc9\udcc0\udcd6"
    shown = "caf\u00e9" if form == "bytes" else "可乐"
    fill_gallery(service, "old", [old, "tea"])
    page = client.get(f"{URL}/old/items")
    assert page.get_json()["items"][0]["label"] == shown
    page.data.decode()
    assert client.get(f"{URL}/old/items", query_string={"label": shown}).get_json()["total"] == 1
    assert client.delete(f"{URL}/old/items", query_string={"label": shown}).get_json()["item_count"] == 1


def test_a_file_name_in_gbk_does_not_hide_the_file(client: FlaskClient, service: Services, drinks: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="' + "可乐.jpg".encode("gbk") + b'"\r\n\r\n'
    labels = b'\r\n--b\r\nContent-Disposition: form-data; name="labels"\r\n\r\ncola\r\n--b--\r\n'
    body = head + picture(seed=3) + labels
    answer = client.post(f"{URL}/{drinks}/items", data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 202, answer.text
    (item,) = answer.get_json()["request"]["items"]
    assert (item["name"], item["label"]) == ("可乐.jpg", "cola")
    assert service.objects.get(item["image_key"]) == picture(seed=3)


def test_half_a_character_in_json_is_refused_not_a_500(client: FlaskClient, drinks: str) -> None:
    for body in (
        '{"name": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"gallery": "drinks", "image": {"url": "http://a/\\udcbf"}}',
    ):
        path = URL if "gallery" not in body else "/v1/recognitions"
        refused(client.post(path, data=body, content_type="application/json"), 400, "invalid_request")


def test_a_picture_of_an_earlier_version_is_had_of_that_version(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    item = service.galleries.items(drinks)[0]
    assert client.delete(f"/v1/galleries/{drinks}/items/{item.id}").status_code == 200
    for route in ("image", "preview"):
        url = f"/v1/galleries/{drinks}/items/{item.id}/{route}"
        refused(client.get(url), 404, "item_not_found")
        assert client.get(f"{url}?version=2").status_code == 200
        refused(client.get(f"{url}?version=9"), 404, "gallery_version_not_found")
        refused(client.get(f"{url}?version=0"), 400, "invalid_request")


@pytest.mark.parametrize(("sent", "kept"), [("true", True), ("1", True), ("false", None), ("0", None)])
def test_near_duplicates_are_left_out_on_request(client: FlaskClient, sent: str, kept: bool | None) -> None:
    client.post(URL, json={"name": "drinks"})
    response = add(client, "drinks", [picture()], labels="tea", skip_near_duplicates=sent)
    assert response.get_json()["request"].get("skip_near_duplicates") == kept


def test_a_flag_that_is_none_is_refused(client: FlaskClient) -> None:
    client.post(URL, json={"name": "drinks"})
    problem = refused(
        add(client, "drinks", [picture()], labels="tea", skip_near_duplicates="yes"), 400, "invalid_request"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/skip_near_duplicates"]


@pytest.mark.parametrize(("sent", "kept"), [("false", False), ("0", False), ("true", None)])
def test_a_staged_enrolment_is_requested_by_the_form(client: FlaskClient, sent: str, kept: bool | None) -> None:
    client.post(URL, json={"name": "drinks"})
    response = add(client, "drinks", [picture()], labels="tea", activate=sent)
    assert response.get_json()["request"].get("activate") == kept
