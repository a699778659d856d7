"""Deletions and changes taken back over HTTP."""

from __future__ import annotations

from flask.testing import FlaskClient

from infra.galleries.deleted import purge_due
from tests.openapi_checks import check
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

URL = "/v1/galleries"


def test_a_deleted_gallery_is_listed_and_restored(client: FlaskClient, drinks: str, service: Services) -> None:
    before = client.get(f"{URL}/{drinks}").get_json()
    items = client.get(f"{URL}/{drinks}/items").get_json()["items"]
    assert client.get(f"{URL}?deleted=true").get_json() == {"galleries": []}
    assert client.delete(f"{URL}/{drinks}").status_code == 204
    refused(client.delete(f"{URL}/{drinks}"), 404, "gallery_not_found")
    (report,) = client.get(f"{URL}?deleted=true").get_json()["galleries"]
    assert (report["name"], report["item_count"], report["version"]) == (drinks, 4, before["version"])
    assert report["purge_at"] > report["deleted_at"]
    assert client.get(URL).get_json() == {"galleries": []}
    assert client.post(report["links"]["restore"]).get_json() == before
    assert client.get(f"{URL}/{drinks}/items").get_json()["items"] == items
    assert client.get(items[0]["links"]["image"]).status_code == 200
    assert client.post(report["links"]["restore"]).status_code == 200  # once more
    refused(client.post(f"{URL}/{drinks}/restore"), 409, "gallery_exists")
    client.delete(f"{URL}/{drinks}")
    assert client.post(URL, json={"name": drinks}).status_code == 201
    problem = refused(client.post(f"{URL}/{drinks}/restore"), 409, "gallery_exists")
    assert "Delete it first" in problem["detail"]
    client.delete(f"{URL}/{drinks}")
    assert [one["item_count"] for one in client.get(f"{URL}?deleted=true").get_json()["galleries"]] == [4, 0]
    purge_due(service.galleries, 0, service.ledger.time() + 1)
    assert client.get(f"{URL}?deleted=true").get_json() == {"galleries": []}
    refused(client.post(f"{URL}/{drinks}/restore"), 404, "gallery_not_found")


def test_bad_questions_are_refused(client: FlaskClient, drinks: str) -> None:
    refused(client.get(f"{URL}?deleted=perhaps"), 400, "invalid_request")
    refused(client.get(f"{URL}?removed=true"), 400, "invalid_request")
    refused(client.post(f"{URL}/none/restore"), 404, "gallery_not_found")
    refused(client.post(f"{URL}/NONE/restore"), 422, "gallery_name_invalid")
    client.delete(f"{URL}/{drinks}")
    refused(client.post(f"{URL}/{drinks}/restore?generation=0"), 404, "gallery_not_found")
    refused(client.post(f"{URL}/{drinks}/undo"), 404, "gallery_not_found")


def test_what_was_deleted_comes_back_next_to_what_came_since(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    before = {item.id for item in service.galleries.items(drinks)}
    vectors = {item.id: row for item, row in zip(*service.galleries.load(drinks)[1:], strict=True)}
    client.delete(f"/v1/galleries/{drinks}/items?label=tea")
    client.patch(f"/v1/galleries/{drinks}/items?label=cola", json={"label": "Cola"})
    since = {item.id for item in service.galleries.items(drinks)}
    url = f"/v1/galleries/{drinks}/versions/2/restore"
    answer = client.post(url, json={"label": "tea"})
    assert answer.status_code == 200, answer.text
    check(answer.get_json(), "RestoredItems", description())
    done = answer.get_json()
    assert (done["version"], done["restored"], done["duplicates"]) == (5, 2, 0)
    manifest, items, rows = service.galleries.load(drinks)
    assert {item.id for item in items} == since | {item.id for item in items if item.label == "tea"}
    assert {item.id for item in items if item.label == "tea"} <= before
    teas = [(item, row) for item, row in zip(items, rows, strict=True) if item.label == "tea"]
    assert len(teas) == 2
    for item, row in teas:
        assert (row == vectors[item.id]).all()
    again = client.post(url, json={"item_ids": [item.id for item, _ in teas]}).get_json()
    assert (again["version"], again["restored"], again["duplicates"]) == (manifest.version, 0, 2)
    refused(client.post(url, json={"label": "milk"}), 404, "item_not_found")
    refused(client.post(url.replace("/2/", "/99/"), json={"label": "tea"}), 404, "gallery_version_not_found")
    refused(client.post(url, json={}), 400, "invalid_request")
    refused(client.post(url, json={"label": "tea", "item_ids": ["itm_0"]}), 400, "invalid_request")


def test_a_change_is_undone(client: FlaskClient, drinks: str) -> None:
    client.delete(f"{URL}/{drinks}/items?label=tea")
    assert client.get(f"{URL}/{drinks}").get_json()["item_count"] == 2
    undone = client.post(f"{URL}/{drinks}/undo").get_json()
    assert (undone["version"], undone["item_count"]) == (2, 4)
    client.post(f"{URL}/{drinks}/undo")
    refused(client.post(f"{URL}/{drinks}/undo"), 404, "gallery_version_not_found")
