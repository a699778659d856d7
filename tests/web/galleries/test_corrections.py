"""Items and labels get other names, and other galleries, over HTTP; each is a version that can be gone back on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from tests.openapi_checks import check
from tests.web.conftest import fill_gallery
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

URL = "/v1/galleries"


def labels(service: Services, name: str) -> list[str]:
    return sorted(item.label for item in service.galleries.items(name))


def done(answer: Any, schema: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.get_json()
    check(report, schema, description())
    return report


def test_an_item_gets_another_label_and_back(client: FlaskClient, service: Services, drinks: str) -> None:
    old = service.galleries.items(drinks)[0]
    report = done(client.patch(f"{URL}/{drinks}/items/{old.id}", json={"label": " Cafe\u0301 "}), "RenamedItem")
    assert (report["version"], report["changed"], report["duplicates"]) == (3, 1, 0)
    assert report["item_id"] == item_id(old.sha256, "Café")
    assert labels(service, drinks) == ["Café", "cola", "cola", "tea"]
    assert client.get(f"{URL}/{drinks}/items/{report['item_id']}/image").status_code == 200
    done(client.patch(f"{URL}/{drinks}/items/{report['item_id']}", json={"label": "cola"}), "RenamedItem")
    client.post(f"{URL}/{drinks}/versions/2/activate")
    assert labels(service, drinks) == ["cola", "cola", "tea", "tea"]


def test_a_label_gets_another_name_and_merging_must_be_said(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    report = done(client.patch(f"{URL}/{drinks}/items?label=tea", json={"label": "Green tea"}), "RenamedGallery")
    assert (report["version"], report["changed"], report["item_count"]) == (3, 2, 4)
    url = f"{URL}/{drinks}/items?label=Green%20tea"
    problem = refused(client.patch(url, json={"label": "cola"}), 409, "label_exists")
    assert '"merge": true' in problem["detail"]
    refused(client.patch(url, json={"label": "cola", "merge": False}), 409, "label_exists")
    refused(client.patch(f"{url}&label=cola", json={"label": "drink"}), 409, "label_exists")
    assert service.galleries.manifest(drinks).version == 3
    report = done(client.patch(url, json={"label": "cola", "merge": True}), "RenamedGallery")
    assert (report["version"], labels(service, drinks)) == (4, ["cola"] * 4)
    client.post(f"{URL}/{drinks}/versions/3/activate")
    assert labels(service, drinks) == ["Green tea", "Green tea", "cola", "cola"]
    report = done(client.patch(f"{url}&label=cola", json={"label": "drink", "merge": True}), "RenamedGallery")
    assert (report["version"], labels(service, drinks)) == (5, ["drink"] * 4)


def test_items_move_and_come_back(client: FlaskClient, service: Services, drinks: str) -> None:
    client.post(URL, json={"name": "hot"})
    report = done(client.post(f"{URL}/{drinks}/items/move", json={"to": "hot", "label": "tea"}), "MovedItems")
    assert (report["moved"], report["duplicates"]) == (2, 0)
    assert [
        (report[side]["name"], report[side]["version"], report[side]["item_count"]) for side in ("source", "target")
    ] == [
        (drinks, 3, 2),
        ("hot", 2, 2),
    ]
    ids = [item.id for item in service.galleries.items("hot")]
    refused(client.post(f"{URL}/{drinks}/items/move", json={"to": "hot", "item_ids": ids}), 404, "item_not_found")
    done(client.post(f"{URL}/hot/items/move", json={"to": drinks, "item_ids": ids}), "MovedItems")
    assert labels(service, drinks) == ["cola", "cola", "tea", "tea"]
    for name, version in ((drinks, 2), ("hot", 1)):
        client.post(f"{URL}/{name}/versions/{version}/activate")
    assert (labels(service, drinks), labels(service, "hot")) == (["cola", "cola", "tea", "tea"], [])


def test_a_gallery_of_another_embedder_takes_nothing(client: FlaskClient, service: Services, drinks: str) -> None:
    service.galleries.create("other")
    sha256 = "0" * 64
    item = Item(item_id(sha256, "x"), "x", f"images/00/{sha256}", sha256, None, "2026-01-01T00:00:00Z")
    service.galleries.add("other", [item], np.eye(1, 8, dtype=np.float32), "b" * 64)
    problem = client.post(f"{URL}/{drinks}/items/move", json={"to": "other", "label": "tea"})
    refused(problem, 409, "embedder_mismatch")
    assert labels(service, drinks) == ["cola", "cola", "tea", "tea"]
    assert service.galleries.manifest("other").item_count == 1


def test_what_the_target_has_already_is_no_second_item(client: FlaskClient, service: Services, drinks: str) -> None:
    fill_gallery(service, "more", ["tea", "milk"])  # the same first picture
    report = done(client.post(f"{URL}/{drinks}/items/move", json={"to": "more", "label": "tea"}), "MovedItems")
    assert (report["moved"], report["duplicates"], labels(service, "more")) == (2, 1, ["milk", "tea", "tea"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PATCH", "nothing/items/itm_0", {"label": "x"}, 404, "gallery_not_found"),
        ("PATCH", "nothing/items?label=tea", {"label": "x"}, 404, "gallery_not_found"),
        ("POST", "nothing/items/move", {"to": "drinks", "label": "x"}, 404, "gallery_not_found"),
        ("POST", "drinks/items/move", {"to": "nothing", "label": "tea"}, 404, "gallery_not_found"),
        ("POST", "drinks/items/move", {"to": "No such", "label": "tea"}, 422, "gallery_name_invalid"),
        ("POST", "drinks/items/move", {"to": "drinks", "label": "tea"}, 400, "invalid_request"),
        ("POST", "drinks/items/move", {"to": "hot"}, 400, "invalid_request"),
        ("POST", "drinks/items/move", {"to": "hot", "label": "tea", "item_ids": ["x"]}, 400, "invalid_request"),
        ("POST", "drinks/items/move", {"to": "hot", "item_ids": []}, 400, "invalid_request"),
        ("POST", "drinks/items/move", {"to": "hot", "item_ids": ["itm_0"]}, 404, "item_not_found"),
        ("POST", "drinks/items/move", {"to": "hot", "label": "milk"}, 404, "item_not_found"),
        ("PATCH", "drinks/items/itm_0", {"label": "x"}, 404, "item_not_found"),
        ("PATCH", "drinks/items?label=milk", {"label": "x"}, 404, "item_not_found"),
        ("PATCH", "drinks/items?label=tea&label=milk", {"label": "x", "merge": True}, 404, "item_not_found"),
        ("PATCH", "drinks/items", {"label": "x"}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", {}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", {"label": " "}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", {"label": "a\u202eb"}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", {"label": "x", "merge": "yes"}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", {"label": 5}, 400, "invalid_request"),
        ("PATCH", "drinks/items?label=tea", [], 400, "invalid_request"),
        ("PATCH", "drinks/items?lable=tea", {"label": "x"}, 400, "invalid_request"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    client: FlaskClient, service: Services, drinks: str, method: str, path: str, body: Any, status: int, code: str
) -> None:
    client.post(URL, json={"name": "hot"})
    refused(client.open(f"{URL}/{path}", method=method, json=body), status, code)
    assert service.galleries.manifest(drinks).version == 2
    assert service.galleries.manifest("hot").version == 1


def test_only_json_is_taken(client: FlaskClient, drinks: str) -> None:
    for method, path in (("PATCH", "items?label=tea"), ("PATCH", "items/itm_0"), ("POST", "items/move")):
        answer = client.open(f"{URL}/{drinks}/{path}", method=method, data=b"label=x", content_type="text/plain")
        refused(answer, 415, "unsupported_media_type")


def test_a_move_repeated_by_its_key_gets_the_first_answer(client: FlaskClient, service: Services, drinks: str) -> None:
    client.post(URL, json={"name": "hot"})
    url, body, headers = f"{URL}/{drinks}/items/move", {"to": "hot", "label": "tea"}, {"Idempotency-Key": "one"}
    first, again = (client.post(url, json=body, headers=headers) for _ in range(2))
    assert done(again, "MovedItems") == done(first, "MovedItems")
    assert labels(service, "hot") == ["tea", "tea"]
